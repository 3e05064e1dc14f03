//! Who is in a container's user namespace, whom it is in reach of there, and whose containers one sees.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::asked::{file, plain};
use common::{Place, next_uid};
use handover::request::{Joining, Start, Target};
use handover::{Handover, Part, ending};

const WAIT: &str = "echo ready; read x; true";

/// A program of `tests/attacks`.
fn compiled(place: &Place, name: &str, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/attacks").join(name);
    let made = place.path(name).with_extension("made");
    let done = Command::new("cc").args(options).arg("-o").arg(&made).arg(source).output();
    let done = done.expect("no C compiler");
    assert!(done.status.success(), "{done:?}");
    made
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: nothing for 60 s");
        sleep(Duration::from_millis(10));
    }
}

/// Only root can be somebody else.
fn needs_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test has to be run as root");
}

/// A directory of the user's, for a container and the host.
fn shared(place: &Place) -> (PathBuf, String) {
    let directory = place.path("shared");
    fs::create_dir(&directory).unwrap();
    place.give(&directory);
    let line = format!("{} /shared none x-create=dir,bind", directory.display());
    (directory, line)
}

/// Goes through all processes again and again, for one whose root has what only the host's has.
const SCAN: &str = "echo ready; n=0; while ! test -e /shared/stop; do \
    for p in /proc/[0-9]*; do test -e $p/root$SECRET && echo $p >> /shared/hits; done; \
    n=$((n + 1)); echo $n > /shared/scans; done 2>/dev/null";

#[test]
fn whoever_enters_a_running_container_is_out_of_its_reach() {
    let place = Place::new();
    place.image("image", |_| {});
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let window = compiled(&place, "window.c", &["-shared", "-fPIC"]);
    let (directory, mount) = shared(&place);
    let secret = place.path("home/secret");
    fs::write(&secret, "of the host\n").unwrap();
    let secret = format!("SECRET={}", secret.display());
    let spy = ["start", "-r", "-w", "-m", &mount, "-e", &secret, "c", "sh", "-c", SCAN];
    let spy = place.background(&spy);
    let table = place.ok(&["list", "-f"]);
    let pid = table.lines().find_map(|line| line.strip_prefix("c ")).unwrap();
    let pid = pid.split_whitespace().next().unwrap();
    let number = || fs::read_to_string(directory.join("scans")).ok()?.trim().parse::<u32>().ok();
    for verb in [
        &["start", "c", "true"][..],
        &["exec", pid, "true"],
        &["export", "-f", "-o", "c.sqsh", "c"],
    ] {
        let mut entering =
            place.pyxis(verb).env("LD_PRELOAD", &window).env("WINDOW", &directory).spawn().unwrap();
        wait_for("the window", || directory.join("open").exists());
        let before = number().unwrap_or(0);
        wait_for("two looks", || number().is_some_and(|now| now > before + 2));
        fs::write(directory.join("closed"), "").unwrap();
        assert!(entering.wait().unwrap().success(), "{verb:?}");
        let hits = fs::read_to_string(directory.join("hits")).unwrap_or_default();
        assert_eq!(hits, "", "{verb:?}");
        fs::remove_file(directory.join("open")).unwrap();
        fs::remove_file(directory.join("closed")).unwrap();
    }
    fs::write(directory.join("stop"), "").unwrap();
    assert!(spy.finish());
}

/// The container that was started after its entrypoint, and what that said.
fn entrypoint(place: &Place, variables: &[(&str, &str)]) -> (Option<Handover>, String) {
    let start = Start { entrypoint: true, ..plain(file("./image.sqsh")) };
    let (output, container) = place.started(start, variables);
    (container, String::from_utf8(output.stderr).unwrap())
}

/// Root inside, and a root file system that can be written.
const REMAPPED: (&str, &str) = ("ENROOT_REMAP_ROOT", "y");
const WRITABLE: (&str, &str) = ("ENROOT_ROOTFS_WRITABLE", "y");

#[test]
fn an_entrypoint_takes_nothing_of_who_waits_for_it() {
    let place = Place::new();
    let steal = compiled(&place, "steal.c", &["-static"]);
    place.image("image", |root| {
        fs::copy(&steal, root.join("bin/steal")).unwrap();
        fs::write(root.join("etc/rc"), "exec /bin/steal \"$@\"\n").unwrap();
    });
    for variables in [&[REMAPPED][..], &[], &[REMAPPED, WRITABLE]] {
        let (container, words) = entrypoint(&place, variables);
        assert_eq!(words, "looked yes, took 0\n", "{variables:?}");
        assert!(container.is_some());
    }
}

#[test]
fn what_is_handed_over_is_not_the_entrypoints_to_choose() {
    let place = Place::new();
    // It has capabilities in there: another /proc, whose process 1 is at home everywhere.
    let script = "echo $$ > /tmp/me\nmkdir -p /tmp/p/self/ns /tmp/p/$$\n\
        for n in user mnt cgroup; do echo > /tmp/p/self/ns/$n; done\n\
        cp /proc/$$/environ /tmp/p/$$/environ\nln -s / /tmp/p/$$/cwd\n\
        busybox mount --bind /tmp/p /proc || exit 1\nexec \"$@\"\n";
    place.image("image", |root| {
        std::os::unix::fs::symlink("busybox", root.join("bin/cp")).unwrap();
        fs::write(root.join("etc/rc"), script).unwrap();
    });
    let (container, words) = entrypoint(&place, &[REMAPPED]);
    if let Some(container) = container {
        for part in [Part::User, Part::Mount] {
            let given = format!("/proc/self/fd/{}", container.get(part).unwrap().as_raw_fd());
            let link = fs::read_link(given).unwrap();
            assert!(link.to_string_lossy().contains(":["), "{part:?} is {}", link.display());
        }
    } else {
        assert!(words.contains("cannot"), "{words}");
    }
}

#[test]
fn an_entrypoint_has_nobody_else_killed() {
    let place = Place::new();
    place.image("image", |root| fs::write(root.join("etc/rc"), "echo -1 >&8\nexit 3\n").unwrap());
    let mut other = place.command("/bin/sleep", ["60"]).spawn().unwrap();
    let (container, words) = entrypoint(&place, &[]);
    assert!(container.is_none() && words.contains("exit code 3"), "{words}");
    assert!(other.try_wait().unwrap().is_none(), "killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

/// A process of `uid` whose root looks like the running container `name`.
struct Forgery(Child);

impl Forgery {
    fn new(uid: u32, name: &str) -> Forgery {
        let script = format!(
            "mount -t tmpfs pyxis:{name} /mnt && mkdir /mnt/proc && cp /bin/busybox /mnt && \
             mount --rbind /proc /mnt/proc && exec chroot /mnt /busybox sh -c 'echo ready; exec /busybox sleep 60'"
        );
        let id = uid.to_string();
        let mut child = Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
            .args(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut word).unwrap();
        assert_eq!(&word, b"ready\n");
        Forgery(child)
    }
}

impl Drop for Forgery {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks for the running container `name`; what the command ended with, and what came of it.
fn join(place: &Place, name: &str) -> (i32, Option<Handover>) {
    let target = Target::Name(OsStr::new(name));
    let (output, container) =
        place.started(Start { joining: Joining::OnlyRunning, ..plain(target) }, &[]);
    (output.status.code().unwrap(), container)
}

/// A place of root's own.
fn roots_place() -> Place {
    needs_root();
    let mut place = Place::new();
    place.uid = 0;
    for own in ["data", "home", "run", "work"] {
        chown(place.path(own), Some(0), Some(0)).unwrap();
    }
    place
}

#[test]
fn a_forgery_of_another_user_is_not_joined() {
    needs_root();
    let (root, user) = (roots_place(), Place::new());
    let name = format!("pyxis_forged{}", user.uid);
    let _forgery = Forgery::new(user.uid + 50, &name);
    for place in [&root, &user] {
        let table = place.ok(&["list", "-f"]);
        assert!(!table.contains(&name), "uid {}: {table}", place.uid);
        let (code, container) = join(place, &name);
        assert_eq!((code, container.is_some()), (i32::from(ending::ABSENT), false));
    }
}

#[test]
fn roots_own_containers_are_seen_and_joined() {
    let place = roots_place();
    place.image("image", |_| {});
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    for superuser in ["n", "y"] {
        let mut running = place
            .pyxis(["start", "c", "sh", "-c", WAIT])
            .env("ENROOT_ALLOW_SUPERUSER", superuser)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 6];
        running.stdout.take().unwrap().read_exact(&mut word).unwrap();
        let (code, container) = join(&place, "c");
        let container = container.unwrap();
        assert_eq!(code, i32::from(ending::JOINED));
        assert_eq!(container.get(Part::User).is_some(), superuser == "n");
        // A further start shares its root.
        let mut more = place.pyxis(["start", "c", "true"]);
        assert!(more.env("ENROOT_ALLOW_SUPERUSER", superuser).status().unwrap().success());
        // And root executes in it.
        let pid = place.ok(&["list", "-f"]).lines().nth(1).unwrap().to_owned();
        place.ok(&["exec", pid.split_whitespace().nth(1).unwrap(), "true"]);
        drop((running.stdin.take(), container));
        running.wait().unwrap();
    }
}

#[test]
fn root_starts_nothing_where_others_can_change_it() {
    let place = roots_place();
    place.image("image", |_| {});
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    // Somebody has been there first, or may be any time.
    let (squatted, open) = (place.path("squatted"), place.path("open"));
    fs::create_dir(&squatted).unwrap();
    chown(&squatted, Some(next_uid()), None).unwrap();
    fs::create_dir_all(open.join("below")).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(&squatted, place.path("link")).unwrap();
    for (data, part) in [
        ("squatted", "squatted"),
        ("open/below", "open"),
        ("open/new", "open"),
        ("link/x", "squatted"),
    ] {
        for verb in [&["list"][..], &["start", "c", "true"], &["create", "-n", "d", "image.sqsh"]] {
            let mut refused = place.pyxis(verb);
            let done = refused.env("ENROOT_DATA_PATH", place.path(data)).output().unwrap();
            let text = String::from_utf8_lossy(&done.stderr);
            let part = format!("others than root can change {};", place.path(part).display());
            assert!(done.status.code() == Some(1) && text.contains(&part), "{data}: {text}");
        }
    }
    assert!(!open.join("new").exists());
    // As /tmp is, where what is root's is safe.
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut good = place.pyxis(["list"]);
    assert!(good.env("ENROOT_DATA_PATH", open.join("below")).status().unwrap().success());
}

#[test]
fn root_executes_as_the_containers_owner() {
    needs_root();
    let place = Place::new();
    place.image("image", |_| {});
    for options in [&[][..], &["-r"]] {
        let start = [&["start"], options, &["./image.sqsh", "sh", "-c", WAIT]].concat();
        let running = place.background(&start);
        let table = place.ok(&["list", "-f"]);
        let pid = table.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().to_owned();
        let script = "cat /proc/self/status; cat /proc/$$/root/etc/group > /dev/null && echo can";
        let done = Command::new(place.path("pyxis"))
            .args(["exec", &pid, "sh", "-c", script])
            .env("HOME", "/root")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        // Who it is outside is seen from outside: by what its id is inside.
        let text = String::from_utf8(done.stdout).unwrap();
        let inside = if options.is_empty() { place.uid } else { 0 };
        for name in ["Uid:", "Gid:"] {
            let ids = format!("{name}\t{inside}\t{inside}\t{inside}\t{inside}\n");
            assert!(text.contains(&ids), "{text}");
        }
        assert!(text.contains("Groups:\t \n") && text.ends_with("can\n"), "{text}");
        assert!(running.finish());
    }
    // A program of the user's outside of all containers is no way to root's rights either.
    let id = place.uid.to_string();
    let other = ["--reuid", &id, "--regid", &id, "--clear-groups", "/bin/sleep", "60"];
    let mut other = Command::new("setpriv").args(other).spawn().unwrap();
    let pid = other.id();
    let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    wait_for("sleep", || comm() == "sleep\n");
    let mut done = Command::new(place.path("pyxis"));
    let done = done.args(["exec", &pid.to_string(), "id", "-u"]).current_dir("/").output().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), format!("{}\n", place.uid));
}

#[test]
fn root_does_not_enter_for_somebody_elses_process() {
    needs_root();
    let place = Place::new();
    // Root's own process, led into namespaces of the user's.
    let forgery = Forgery::new(place.uid, "x");
    let pid = forgery.0.id().to_string();
    let mut led = Command::new("nsenter")
        .args(["-t", &pid, "-U", "-m", "-r", "--preserve-credentials", "/busybox", "sleep", "60"])
        .spawn()
        .unwrap();
    let exe = format!("/proc/{}/comm", led.id());
    wait_for("nsenter", || fs::read_to_string(&exe).is_ok_and(|name| name == "busybox\n"));
    let done = Command::new(place.path("pyxis"))
        .args(["exec", &led.id().to_string(), "/busybox", "true"])
        .output()
        .unwrap();
    led.kill().unwrap();
    led.wait().unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    let expected = format!("is of uid 0, in a user namespace of uid {}", place.uid);
    assert!(text.contains(&expected), "{text}");
}

/// As uid 0 of the node, without a capability: whatever is tried must fail, and with all that a
/// container's root may do to mounts.
const SWITCHES: &str = r#"
for p in /proc/sys /proc/irq /proc/sysrq-trigger /proc/fs; do busybox umount $p; busybox umount -l $p; done 2>/dev/null
for p in /proc/sys /proc/irq /proc/sysrq-trigger /proc/fs /sys /proc; do
    busybox mount -o remount,bind,rw $p; busybox mount -o remount,rw $p
done 2>/dev/null
tried=0
for f in /proc/sys/kernel/domainname /proc/sys/vm/swappiness /proc/sys/kernel/core_pattern /sys/kernel/uevent_seqnum /sys/kernel/mm/ksm/run; do
    test -e $f || continue
    tried=$((tried + 1))
    v=$(cat $f)
    (echo "$v" > $f) 2>/dev/null && echo "wrote $f"
done
(echo > /proc/sysrq-trigger) 2>/dev/null && echo "wrote /proc/sysrq-trigger"
busybox umount -l /proc; busybox umount -l /sys
busybox mkdir -p /tmp/p /tmp/s; busybox mount -t proc p /tmp/p 2>/dev/null && (cat /tmp/p/sys/vm/swappiness > /tmp/p/sys/vm/swappiness) 2>/dev/null && echo "wrote another"
busybox mount -t sysfs s /tmp/s 2>/dev/null && (cat /tmp/s/kernel/mm/ksm/run > /tmp/s/kernel/mm/ksm/run) 2>/dev/null && echo "wrote another /sys"
test $tried -gt 2 && echo tried
"#;

#[test]
fn roots_own_containers_cannot_turn_the_nodes_switches() {
    let place = roots_place();
    place.image("image", |_| {});
    for options in [&[][..], &["-w"], &["-r", "-w"], &["--pid", "-w"], &["--net"], &["--ipc"]] {
        let start = [&["start"], options, &["./image.sqsh", "sh", "-c", SWITCHES]].concat();
        assert_eq!(place.ok(&start), "tried\n", "{options:?}");
    }
    // And are processes among their own, where that was asked for.
    let processes = place.ok(&[
        "start",
        "--pid",
        "./image.sqsh",
        "sh",
        "-c",
        "echo $$; test -e /proc/1/comm && echo /proc/[0-9]*",
    ]);
    assert_eq!(processes, "1\n/proc/1\n");
}

#[test]
fn whatever_the_umask_is_a_container_can_be_used() {
    let place = Place::new();
    place.image("image", |_| {});
    fs::remove_dir(place.path("data")).unwrap();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let masked = |arguments: &[&str]| {
        let mut command = place.pyxis(arguments);
        // SAFETY: a system call on a number.
        unsafe {
            command.pre_exec(|| {
                nix::libc::umask(0o777);
                Ok(())
            });
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    // What the program has is the user's own.
    let script = "umask; ls / > /dev/null && cat /etc/passwd > /dev/null && stat -c %a /";
    assert_eq!(masked(&["start", "./image.sqsh", "sh", "-c", script]), "0777\n755\n");
    masked(&["create", "-n", "c", "image.sqsh"]);
    for _ in 0..2 {
        assert_eq!(masked(&["start", "-w", "c", "sh", "-c", script]), "0777\n755\n");
    }
    let running = place.background(&["start", "c", "sh", "-c", WAIT]);
    assert_eq!(masked(&["start", "c", "sh", "-c", "umask; ls / > /dev/null"]), "0777\n");
    assert!(masked(&["list", "-f"]).contains("c "));
    assert!(running.finish());
    masked(&["export", "-f", "-o", "out.sqsh", "c"]);
    assert_eq!(fs::metadata(place.path("work/out.sqsh")).unwrap().permissions().mode() & 0o777, 0);
    masked(&["remove", "-f", "c"]);
    assert!(fs::read_dir(place.path("data")).unwrap().next().is_none());
}

//! `pyxis exec` by root: what of root's goes along into somebody else's container, and whose program it may run.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Place;
use nix::libc;
use nix::unistd::geteuid;

const WAIT: &str = "echo ready; read x; true";

/// Root's command.
fn root(place: &Place, pid: &str, words: &[&str]) -> Command {
    assert!(geteuid().is_root(), "this test has to be run as root");
    let mut command = Command::new(place.path("pyxis"));
    command.args(["exec", pid]).args(words).stdin(Stdio::null());
    command
}

/// The process that a container has.
fn inside(place: &Place) -> String {
    let table = place.ok(&["list", "-f"]);
    table.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn printed(done: Output) -> String {
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// What is not listed in a user namespace is there for who possesses it.
const READS_KEY: &str = r#"
    #include <linux/keyctl.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(void) {
        char text[32] = "";
        long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "pyxis-key-of-root", 0);
        if (key < 0 || syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text - 1) < 0) return puts("no key") < 0;
        return puts(text) < 0;
    }
"#;

fn compile(place: &Place, program: &str, to: &Path) {
    let source = place.path("program.c");
    fs::write(&source, program).unwrap();
    let made = Command::new("cc").args(["-static", "-o"]).arg(to).arg(&source).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn no_key_of_roots_goes_along() {
    let place = Place::new();
    place.image("image", |root| compile(&place, READS_KEY, &root.join("bin/key")));
    let running = place.background(&["start", "./image.sqsh", "sh", "-c", WAIT]);
    let mut command = root(&place, &inside(&place), &["key"]);
    // SAFETY: system calls on constants.
    unsafe {
        command.pre_exec(|| {
            let (join, to_session) = (libc::KEYCTL_JOIN_SESSION_KEYRING, -3);
            let (kind, name) = (c"user".as_ptr(), c"pyxis-key-of-root".as_ptr());
            let joined = libc::syscall(libc::SYS_keyctl, join, 0);
            let added = libc::syscall(libc::SYS_add_key, kind, name, name, 4, to_session);
            if joined < 0 || added < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    assert_eq!(printed(command.output().unwrap()), "no key\n");
    assert!(running.finish());
}

/// cgroups of the test's own, for processes that end with it.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn new(pid: &str) -> Cgroups {
        let name = format!("pyxis-test-{pid}");
        let places = ["", "unified", "pids", "freezer", "devices"];
        let made = places.map(|place| Path::new("/sys/fs/cgroup").join(place).join(&name));
        let made = made.into_iter().filter(|path| {
            let hierarchy = path.with_file_name("cgroup.procs").exists();
            let made = hierarchy && fs::create_dir(path).is_ok();
            made && fs::write(path.join("cgroup.procs"), pid).is_ok()
        });
        Cgroups(made.collect())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for path in &self.0 {
            let began = Instant::now();
            while fs::remove_dir(path).is_err() && began.elapsed() < Duration::from_secs(10) {
                sleep(Duration::from_millis(10));
            }
        }
    }
}

const LIMITED: &str = "ulimit -Sn 100; ulimit -Hn 200; ulimit -c 0; ulimit -f 5000; echo 321 > /proc/self/oom_score_adj";

#[test]
fn what_root_executes_has_the_limits_and_the_cgroups_of_the_process() {
    let place = Place::new();
    place.image("image", |_| {});
    let running =
        place.background(&["start", "./image.sqsh", "sh", "-c", &format!("{LIMITED}; {WAIT}")]);
    let pid = inside(&place);
    let cgroups = Cgroups::new(&pid);
    for change in [&["renice", "-n", "19", "-p", &pid][..], &["taskset", "-pc", "0", &pid]] {
        printed(Command::new(change[0]).args(&change[1..]).output().unwrap());
    }
    // Both are looked at from inside: a cgroup namespace has a view of its own.
    let script = "for p in $0 $$; do cd /proc/$p; cat cgroup limits oom_score_adj; \
        grep Cpus_allowed_list status; busybox cut -d ' ' -f 19 stat; echo; done";
    let found = printed(root(&place, &pid, &["sh", "-c", script, &pid]).output().unwrap());
    let (process, program) = found.split_once("\n\n").unwrap();
    assert_eq!(process, program.trim_end());
    assert!(process.ends_with("\n321\nCpus_allowed_list:\t0\n19"), "{process}");
    assert_eq!(process.matches("/pyxis-test-").count(), cgroups.0.len(), "{process}");
    assert!(running.finish());
    drop(cgroups);
}

#[test]
fn what_root_has_less_of_it_does_not_get_back() {
    let place = Place::new();
    place.image("image", |_| {});
    let running = place.background(&["start", "./image.sqsh", "sh", "-c", WAIT]);
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=50:60").arg("nice").arg("-n").arg("3").arg(place.path("pyxis"));
    let script = "ulimit -Sn; ulimit -Hn; busybox cut -d ' ' -f 19 /proc/self/stat";
    let done = limited.args(["exec", &inside(&place), "sh", "-c", script]).output().unwrap();
    let nice = printed(Command::new("nice").args(["-n", "3", "nice"]).output().unwrap());
    assert_eq!(printed(done), format!("50\n60\n{nice}"));
    assert!(running.finish());
}

/// A program that becomes root for good, where it may, and waits.
const BECOMES_ROOT: &str = r#"
    #define _GNU_SOURCE
    #include <stdio.h>
    #include <unistd.h>
    int main(void) {
        if (setgid(0) || setresuid(0, 0, 0)) return 1;
        puts("ready");
        fflush(stdout);
        sleep(60);
        return 0;
    }
"#;

struct Running(Child);

impl Running {
    fn new(command: &mut Command) -> Running {
        use std::io::BufRead;
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_of_roots_that_is_in_no_container_is_not_entered() {
    let place = Place::new();
    let root_of_its_own = place.path("root");
    fs::create_dir_all(root_of_its_own.join("bin")).unwrap();
    let program = root_of_its_own.join("bin/suid");
    compile(&place, BECOMES_ROOT, &program);
    fs::copy("/bin/busybox", root_of_its_own.join("bin/sh")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let ids = format!("{0}:{0}", place.uid);
    let ready = "echo ready; read x; true";
    let chroot = |with: &[&str], words: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("--mount").arg("chroot").args(with).arg(&root_of_its_own).args(words);
        command.stdin(Stdio::piped());
        Running::new(&mut command)
    };
    let mut sh = Command::new("sh");
    let mut own = Command::new("unshare");
    let user = format!("--userspec={ids}");
    for (which, running, may) in [
        ("on the host", Running::new(sh.args(["-c", ready]).stdin(Stdio::piped())), false),
        (
            "with mounts of its own",
            Running::new(own.args(["--mount", "sh", "-c", ready]).stdin(Stdio::piped())),
            false,
        ),
        ("started by a user", chroot(&["--groups=", &user], &["/bin/suid"]), false),
        ("root's container", chroot(&[], &["/bin/sh", "-c", ready]), true),
    ] {
        let pid = running.0.id().to_string();
        let done = root(&place, &pid, &["/bin/sh", "-c", "echo ran"]).output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr);
        let expected = match may {
            true => (Some(0), &b"ran\n"[..], true),
            false => (
                Some(1),
                &b""[..],
                text.contains("in no container of root's") && text.lines().count() == 1,
            ),
        };
        assert_eq!(
            (done.status.code(), &done.stdout[..], expected.2),
            (expected.0, expected.1, true),
            "{which}: {text}"
        );
    }
}

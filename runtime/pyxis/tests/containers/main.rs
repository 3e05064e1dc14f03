//! Named containers: create, start, list, export, remove, and all of them at once.

#[path = "../common/mod.rs"]
mod common;

mod enroot;
mod nodes;
mod outside;
mod words;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use common::asked::{file, plain};
use common::{Done, Place};
use handover::request::{Joining, Request, Start, Target};
use handover::{Handover, Part, ending};
use linux::sys::{FlockKind, flock};

const WAIT: &str = "echo ready; cat >/dev/null";

fn place() -> Place {
    let place = Place::new();
    place.image("image", |_| {});
    place
}

#[test]
fn a_container_is_made_once_and_removed() {
    let place = place();
    assert_eq!(place.ok(&["create", "-n", "one", "image.sqsh"]), "");
    place.ok(&["create", "image.sqsh"]);
    assert_eq!(place.ok(&["list"]), "image\none\n");
    let exists = place.run(&["create", "-n", "one", "image.sqsh"]).fails(1);
    assert!(exists.contains("File already exists: ") && exists.contains("data/one"), "{exists}");
    place.ok(&["create", "-f", "-n", "one", "image.sqsh"]);

    for (name, problem) in [("a/b", "\"/\""), (".x", "start with"), ("", "empty")] {
        let error = place.run(&["create", "-n", name, "image.sqsh"]).fails(1);
        assert!(error.contains("Invalid argument") && error.contains(problem), "{error}");
    }
    let error = place.run(&["create", "-n", "two", "absent.sqsh"]).fails(1);
    assert!(error.contains("No such file or directory"), "{error}");

    let asked = place.run(&["remove", "image"]).fails(1);
    assert!(asked.contains("Do you really want to delete"), "{asked}");
    place.ok(&["remove", "-f", "image", "one"]);
    let absent = place.run(&["remove", "-f", "one"]).fails(1);
    assert!(absent.contains("No such file or directory: "), "{absent}");
    assert_eq!(place.ok(&["list"]), "");
    assert_eq!(place.leftovers(), [""; 0]);
}

#[test]
fn a_signal_while_an_image_is_unpacked_leaves_nothing() {
    use nix::sys::signal::{Signal, kill};
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    let unpacked = place.image("image", |root| {
        let mut noise = fs::File::open("/dev/urandom").unwrap().take(128 << 20);
        std::io::copy(&mut noise, &mut fs::File::create(root.join("noise")).unwrap()).unwrap();
    });
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut command = place.pyxis(["create", "-n", "c", "image.sqsh"]);
        let mut making = command.env("ENROOT_NATIVE_OVERLAYFS", "n").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(making.id() as i32);
        let begun = place.path("data/.pyxis.create.c/rootfs/noise");
        while !begun.exists() {
            assert_eq!(making.try_wait().unwrap(), None);
            thread::sleep(Duration::from_millis(1));
        }
        kill(pid, Signal::SIGSTOP).unwrap();
        assert!(begun.metadata().unwrap().len() < fs::metadata(&unpacked).unwrap().len());
        kill(pid, signal).unwrap();
        kill(pid, Signal::SIGCONT).unwrap();
        assert_eq!(making.wait().unwrap().signal(), Some(signal as i32));
        assert_eq!(place.leftovers(), [""; 0]);
    }
    assert_eq!(place.ok(&["list"]), "");
}

#[test]
fn a_signal_while_a_program_unpacks_an_image_leaves_nothing() {
    use nix::sys::signal::{Signal, kill};
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    place.packed("image", "xz", |_| {});
    let programs = place.path("run/programs");
    fs::create_dir(&programs).unwrap();
    let begun = place.path("run/begun");
    let slow = "#!/bin/sh\nmkdir -p \"$4/half\"\necho $$ > \"$BEGUN\"\nexec sleep 60\n";
    fs::write(programs.join("unsquashfs"), slow).unwrap();
    assert!(Command::new("chmod").arg("-R").arg("a+rx").arg(&programs).status().unwrap().success());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut command = place.pyxis(["create", "-n", "c", "image.sqsh"]);
        command.env("ENROOT_NATIVE_OVERLAYFS", "n").env("BEGUN", &begun);
        command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
        let mut making = command.spawn().unwrap();
        while !fs::read_to_string(&begun).is_ok_and(|pid| pid.ends_with('\n')) {
            assert_eq!(making.try_wait().unwrap(), None);
            thread::sleep(Duration::from_millis(5));
        }
        let unsquashfs: i32 = place.read("run/begun").trim().parse().unwrap();
        assert_ne!(place.leftovers(), [""; 0]);
        kill(nix::unistd::Pid::from_raw(making.id() as i32), signal).unwrap();
        assert_eq!(making.wait().unwrap().signal(), Some(signal as i32));
        assert_eq!(place.leftovers(), [""; 0]);
        assert!(!fs::exists(format!("/proc/{unsquashfs}")).unwrap());
        fs::remove_file(&begun).unwrap();
    }
    assert_eq!(place.ok(&["list"]), "");
    place.ok(&["create", "-n", "c", "image.sqsh"]);
}

/// Of a start: before the program, in whose place the command then is.
#[test]
fn it_is_said_where_the_time_of_a_start_goes() {
    let place = place();
    fs::write(place.path("work/slow"), "hooks() { sleep 1; }\n").unwrap();
    let mut command = place.pyxis(["start", "--conf", "slow", "image.sqsh", "echo", "ran"]);
    let done = command.env("PYXIS_TIMING", "yes").output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.stdout, b"ran\n", "{said}");
    let line = said.lines().find_map(|line| line.strip_prefix("[INFO] timing: {")).unwrap();
    let times: serde_json::Value = serde_json::from_str(&format!("{{{line}")).unwrap();
    assert_eq!(times["verb"], "start");
    let phases = times["milliseconds"].as_object().unwrap();
    for name in ["settings", "open", "namespaces", "mount", "configure", "hooks"] {
        assert!(phases[name].as_f64().unwrap() > 0.0, "{said}");
    }
    let (hooks, total) = (phases["hooks"].as_f64().unwrap(), times["total"].as_f64().unwrap());
    assert!(hooks > 990.0 && total - hooks < 900.0, "{said}");
}

#[test]
fn an_extracted_container_that_runs_keeps_its_files_until_it_ends() {
    let place = place();
    let done = place
        .pyxis(["create", "-n", "c", "image.sqsh"])
        .env("ENROOT_NATIVE_OVERLAYFS", "n")
        .output();
    assert!(done.unwrap().status.success());
    for options in [&["-w"][..], &[]] {
        let script = "echo ready; cat > /dev/null; test -s /etc/environment && ls / > /dev/null";
        let running = place.background(&[&["start"], options, &["c", "sh", "-c", script]].concat());
        let removed = place.run(&["remove", "-f", "c"]);
        let words = String::from_utf8_lossy(&removed.0.stderr).into_owned();
        assert!(removed.0.status.success() && words.contains("is running"), "{words}");
        assert_eq!(place.ok(&["list"]), "");
        assert_eq!(place.leftovers().len(), 1);
        assert!(running.finish(), "its files are gone");
        assert_eq!(place.ok(&["list"]), "");
        assert_eq!(place.leftovers(), [""; 0]);
        let again = place
            .pyxis(["create", "-n", "c", "image.sqsh"])
            .env("ENROOT_NATIVE_OVERLAYFS", "n")
            .output();
        assert!(again.unwrap().status.success());
    }
}

#[test]
fn an_image_outside_of_a_store_is_not_locked_while_it_is_used() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    for what in ["./image.sqsh", "c"] {
        let running = place.background(&["start", what, "sh", "-c", WAIT]);
        let image = File::open(place.path("work/image.sqsh")).unwrap();
        assert!(flock(&image, FlockKind::TryExclusive).unwrap(), "{what}");
        drop(image);
        assert!(running.finish());
    }
}

#[test]
fn changes_stay_and_only_where_asked_for() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    // The image may go: the container has its own link or copy.
    fs::remove_file(place.path("work/image.sqsh")).unwrap();
    place.run(&["start", "c", "touch", "/no"]).fails(1);
    place.ok(&["start", "-w", "c", "sh", "-c", "rm -r /root; mkdir /root; echo new > /root/new"]);
    assert_eq!(place.ok(&["start", "c", "ls", "-A", "/root"]), "new\n");
    assert_eq!(place.ok(&["start", "-r", "c", "id", "-u"]), "0\n");
    place.ok(&["start", "-r", "-w", "c", "rm", "/root/new"]);
    assert_eq!(place.ok(&["start", "c", "ls", "-A", "/root"]), "");
}

#[test]
fn an_image_changed_in_place_is_noticed() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let mut image = OpenOptions::new().append(true).open(place.path("work/image.sqsh")).unwrap();
    image.write_all(b"more").unwrap();
    let error = place.run(&["start", "c", "true"]).fails(1);
    assert!(error.contains("changed in place"), "{error}");
    place.ok(&["remove", "-f", "c"]);
}

/// A home that all nodes share is the usual place of mistake.
#[test]
fn a_name_that_another_node_has_taken_says_which_setting_is_to_change() {
    let place = place();
    let description = place.path("data/c/container.toml");
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let own = place.run(&["create", "-n", "c", "image.sqsh"]).fails(1);
    assert!(own.trim_end().ends_with("data/c"), "{own}");
    let text = fs::read_to_string(&description).unwrap();
    let line = text.lines().find(|line| line.starts_with("node = ")).unwrap();
    fs::write(&description, text.replace(line, "node = \"n77\"")).unwrap();
    for again in [&["create", "-n", "c", "image.sqsh"][..], &["load", "-n", "c", "docker://x"]] {
        let others = place.run(again).fails(1);
        assert!(
            others.contains("made on n77") && others.contains("set ENROOT_DATA_PATH"),
            "{others}"
        );
    }
    // One that says nothing of its node, as those of before, is as any other.
    fs::write(&description, text.replace(line, "")).unwrap();
    let none = place.run(&["create", "-n", "c", "image.sqsh"]).fails(1);
    assert!(none.trim_end().ends_with("data/c"), "{none}");
    place.ok(&["remove", "-f", "c"]);
}

/// Nodes that share the place for containers make one at once: those without layers can be used by all of them.
#[test]
fn a_step_is_content_with_what_another_node_has_made_meanwhile_unless_it_wants_a_new_one() {
    let place = place();
    let (image, name) = (place.path("work/image.sqsh"), OsStr::new("c"));
    let file = image.as_os_str();
    let asked =
        |request: Request<'_>| Done(place.asked(&request, &[]).output().unwrap(), "".into());
    let ensure = || asked(Request::Ensure { file, name });
    ensure().ok();
    ensure().ok();
    let error = asked(Request::Create { file, name }).fails(1);
    assert!(error.contains("File already exists: "), "{error}");
    // One with a layer that another node may be using is not taken.
    let description = place.path("data/c/container.toml");
    let text = fs::read_to_string(&description).unwrap();
    let line = text.lines().find(|line| line.starts_with("node = ")).unwrap();
    fs::write(&description, text.replace(line, "node = \"n77\"")).unwrap();
    let error = ensure().fails(1);
    assert!(error.contains("made on n77"), "{error}");
    place.ok(&["remove", "-f", "c"]);
    // A whole copy, as they are on NFS.
    fs::create_dir_all(place.path("data/c/bin")).unwrap();
    place.give(&place.path("data/c"));
    ensure().ok();
    let error = asked(Request::Create { file, name }).fails(1);
    assert!(error.contains("File already exists: "), "{error}");
    place.ok(&["remove", "-f", "c"]);
    assert_eq!(place.leftovers(), [""; 0]);
}

/// As a home that has been moved to NFS: here an overlay of an overlay, above which the kernel mounts none.
#[test]
#[ignore = "needs root: it mounts overlays"]
fn changes_on_a_file_system_that_takes_no_layer_are_refused_with_the_setting_to_change() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let script = "mount -t tmpfs layers run && mkdir run/1 run/2 run/3 run/4 run/below && chmod -R 777 run && \
                  mount -t overlay one -o lowerdir=data,upperdir=run/1,workdir=run/2 run/below && mount -t tmpfs again work && \
                  mkdir work/1 work/2 && mount -t overlay two -o lowerdir=run/below,upperdir=work/1,workdir=work/2 data && \
                  chown $PLACE_UID data && umount work && exec \"$@\"";
    let command = place.pyxis(["start", "c", "echo", "ran"]);
    let mut moved = Command::new("unshare");
    moved.args(["--mount", "/bin/sh", "-ec", script, "sh"]).arg(command.get_program());
    moved.args(command.get_args()).current_dir(place.path("")).env_clear();
    moved.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let error = Done(moved.output().unwrap(), "start c".into()).fails(1);
    assert!(error.contains("takes no overlay") && error.contains("ENROOT_DATA_PATH"), "{error}");
    assert!(error.contains(place.path("data/c").to_str().unwrap()), "{error}");
    // Where it is moved back it starts.
    assert_eq!(place.ok(&["start", "c", "echo", "ran"]), "ran\n");
}

/// Scratch file systems purge what nobody touches; store, import and containers are links to one
/// file.
#[test]
fn a_touched_image_is_the_same_image() {
    let place = place();
    let image = place.path("work/image.sqsh");
    let description = place.path("data/c/container.toml");
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let touch = |seconds| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        OpenOptions::new().append(true).open(&image).unwrap().set_modified(time).unwrap();
    };
    touch(1_700_000_000);
    place.ok(&["start", "c", "true"]);
    // It is noted, and no start has to read the image again.
    let noted = fs::read_to_string(&description).unwrap();
    assert!(noted.contains("image_mtime = 1700000000\n"), "{noted}");
    touch(1_700_000_001);
    place.ok(&["export", "-o", "out.sqsh", "c"]);

    // The same size and another image.
    touch(1_700_000_002);
    let table = {
        let mut superblock = [0; 96];
        File::open(&image).unwrap().read_exact(&mut superblock).unwrap();
        u64::from_le_bytes(superblock[64..72].try_into().unwrap())
    };
    let file = OpenOptions::new().read(true).write(true).open(&image).unwrap();
    let change = || {
        let mut byte = [0];
        file.read_exact_at(&mut byte, table + 10).unwrap();
        file.write_all_at(&[byte[0] ^ 1], table + 10).unwrap();
    };
    change();
    let error = place.run(&["start", "c", "true"]).fails(1);
    assert!(error.contains("changed in place"), "{error}");
    change();
    place.ok(&["start", "c", "true"]);

    // Of a container of the time before, nothing is known but the time.
    let noted = fs::read_to_string(&description).unwrap();
    let lines: Vec<&str> =
        noted.lines().filter(|line| !line.starts_with("image_tables = ")).collect();
    assert_ne!(lines.len(), noted.lines().count());
    fs::write(&description, lines.join("\n")).unwrap();
    place.ok(&["start", "c", "true"]);
    touch(1_700_000_003);
    let error = place.run(&["start", "c", "true"]).fails(1);
    assert!(error.contains("changed in place"), "{error}");
}

#[test]
fn of_many_creations_one_wins() {
    let place = place();
    let outcomes = at_once(8, |_| place.run(&["create", "-n", "c", "image.sqsh"]));
    let made = outcomes.iter().filter(|done| done.0.status.success()).count();
    assert_eq!(made, 1);
    for done in outcomes.iter().filter(|done| !done.0.status.success()) {
        assert!(done.fails(1).contains("File already exists"));
    }
    assert_eq!(place.leftovers(), [""; 0]);
    place.ok(&["start", "c", "true"]);
}

#[test]
fn many_first_starts_share_one_container() {
    let place = place();
    let script = "echo x >> /log; sleep 0.1; echo y >> /log";
    let start = ["start", "-w", "--name", "c", "image.sqsh", "sh", "-c", script];
    for done in at_once(8, |_| place.run(&start)) {
        done.ok();
    }
    assert_eq!(place.ok(&["list"]), "c\n");
    assert_eq!(place.ok(&["start", "c", "grep", "-c", "", "/log"]), "16\n");
}

#[test]
fn rounds_of_create_start_remove_never_fail_badly() {
    let place = place();
    for done in at_once(4, |_| {
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(place.run(&["start", "--name", "c", "image.sqsh", "true"]));
            all.push(place.run(&["remove", "-f", "c"]));
        }
        all
    })
    .into_iter()
    .flatten()
    {
        let words = String::from_utf8_lossy(&done.0.stderr).into_owned();
        // Somebody else removed it in between.
        let fine = done.0.status.success() || words.contains("No such file or directory: ");
        assert!(fine, "{:?}", done.0);
    }
    place.ok(&["create", "-n", "last", "image.sqsh"]);
    place.ok(&["remove", "-f", "last"]);
    assert_eq!(place.leftovers(), [""; 0]);
}

#[test]
fn what_a_crash_left_goes_with_the_next_create() {
    let place = place();
    for leftover in [".pyxis.create.c", ".pyxis.create.other", ".pyxis.trash.1.0.x"] {
        let directory = place.path("data").join(leftover);
        fs::create_dir_all(directory.join("upper/half")).unwrap();
        fs::write(directory.join("lock"), "").unwrap();
        place.give(&directory);
    }
    assert_eq!(place.ok(&["list"]), "");
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    assert_eq!(place.leftovers(), [""; 0]);
    place.ok(&["start", "c", "true"]);
}

#[test]
fn a_container_removed_while_running_runs_on() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let script = "echo ready; cat >/dev/null; test -e /bin/sh && echo late > /late";
    let running = place.background(&["start", "-w", "c", "sh", "-c", script]);
    let done = place.run(&["remove", "-f", "c"]);
    done.ok();
    assert!(String::from_utf8_lossy(&done.0.stderr).contains("is running"));
    assert_eq!(place.ok(&["list"]), "");
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    place.ok(&["start", "-w", "c", "touch", "/mine"]);
    assert!(running.finish());
    place.run(&["start", "c", "test", "-e", "/late"]).fails(1);
    // Its server clears up, and needs a moment.
    for _ in 0..1200 {
        if place.leftovers().is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("left: {:?}", place.leftovers());
}

#[test]
fn a_second_start_shares_the_root() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let first = place.background(&["start", "c", "sh", "-c", WAIT]);
    place.ok(&["start", "-w", "c", "sh", "-c", "echo two > /two"]);
    let second = place.background(&["start", "c", "sh", "-c", WAIT]);
    assert!(first.finish());
    assert_eq!(place.ok(&["start", "c", "cat", "/two"]), "two\n");
    assert!(second.finish());
    assert_eq!(place.ok(&["start", "c", "cat", "/two"]), "two\n");
}

#[test]
fn lists_what_runs_in_enroots_columns() {
    let place = place();
    place.ok(&["create", "-n", "busy", "image.sqsh"]);
    place.ok(&["create", "-n", "idle", "image.sqsh"]);
    let first = place.background(&["start", "busy", "sh", "-c", WAIT]);
    let second = place.background(&["start", "busy", "sh", "-c", WAIT]);
    let other = place.background(&["start", "./image.sqsh", "sh", "-c", WAIT]);
    let table = place.ok(&["list", "-f"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    let header: Vec<&str> =
        "NAME PID COMM STATE STARTED TIME MNTNS USERNS COMMAND".split(' ').collect();
    assert_eq!(rows[0], header);
    assert_eq!(rows[1][0], "<unknown>", "{table}");
    assert_eq!((rows[2][0], rows[2][2]), ("busy", "cat"), "{table}");
    assert!(table.lines().nth(3).unwrap().starts_with("    "), "{table}");
    assert_eq!(rows[4], ["idle"]);
    assert_eq!(rows.len(), 5, "{table}");
    assert!(first.finish() && second.finish() && other.finish());
}

#[test]
fn a_plain_root_filesystem_starts_too() {
    let place = place();
    let unpacked = Command::new("unsquashfs")
        .args(["-quiet", "-no-progress", "-dest"])
        .args([place.path("data/plain"), place.path("work/image.sqsh")])
        .status();
    assert!(unpacked.unwrap().success());
    place.give(&place.path("data/plain"));
    assert_eq!(place.ok(&["start", "plain", "sh", "-c", "echo $FROM_IMAGE"]), "yes\n");
    place.run(&["start", "plain", "touch", "/no"]).fails(1);
    place.ok(&["start", "-w", "plain", "touch", "/yes"]);
    assert!(place.path("data/plain/yes").exists());
    let running = place.background(&["start", "-w", "plain", "sh", "-c", WAIT]);
    let table = place.ok(&["list", "-f"]);
    assert!(table.lines().nth(1).unwrap().starts_with("plain  "), "{table}");
    assert!(running.finish());
    place.ok(&["export", "-o", "plain.sqsh", "plain"]);
    place.ok(&["remove", "-f", "plain"]);
    place.ok(&["start", "./plain.sqsh", "test", "-e", "/yes"]);
}

#[test]
fn an_export_is_the_merged_tree() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    place.ok(&[
        "start",
        "-w",
        "-m",
        "/etc:/added/etc",
        "c",
        "sh",
        "-c",
        "rm /bin/kill; rm -r /root; mkdir /root; echo 1 > /root/a; ln /root/a /root/b; \
         mkdir -p /deep/secret; echo s > /deep/secret/file; ln -s /nowhere /deep/link",
    ]);
    place.ok(&["export", "c"]);
    let again = place.run(&["export", "c"]).fails(1);
    assert!(again.contains("File already exists"), "{again}");
    place.ok(&["export", "-f", "-o", "c.sqsh", "c"]);
    let listing = Command::new("unsquashfs")
        .args(["-lln", "-no-progress"])
        .arg(place.path("work/c.sqsh"))
        .output()
        .unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    for there in ["root/b", "deep/secret/file", "deep/link", "/added\n", "bin/sh"] {
        assert!(listing.contains(there), "{there} not in {listing}");
    }
    // By our own writer: zstd, in the superblock.
    assert_eq!(fs::read(place.path("work/c.sqsh")).unwrap()[20..22], [6, 0]);
    let owner = place.uid.to_string();
    for gone in ["bin/kill", "added/etc", "var/run", "dev/", "etc/machine-id", &owner] {
        assert!(!listing.contains(gone), "{gone} in {listing}");
    }
    place.ok(&["create", "-n", "d", "c.sqsh"]);
    let back = place.ok(&["start", "d", "sh", "-c", "cat /root/b; stat -c %h /root/a; ls /root"]);
    assert_eq!(back, "1\n2\na\nb\n");
    let names: Vec<_> = fs::read_dir(place.path("work")).unwrap().collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_running_container_is_exported_as_it_is() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let script = format!("echo now > /now; {WAIT}");
    let running = place.background(&["start", "-w", "c", "sh", "-c", &script]);
    place.ok(&["export", "c"]);
    assert!(running.finish());
    assert_eq!(place.ok(&["start", "./c.sqsh", "cat", "/now"]), "now\n");
}

#[test]
fn joining_gives_the_running_containers_descriptors() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let join = |target, joining| {
        let (output, container) = place.started(Start { joining, ..plain(target) }, &[]);
        (output.status.code().unwrap(), container)
    };
    let named = |name: &'static str| Target::Name(OsStr::new(name));
    let (if_running, only_running) = (Joining::IfRunning, Joining::OnlyRunning);
    let ended = |code: u8, (ended, container): (i32, Option<Handover>)| {
        assert_eq!(ended, i32::from(code));
        container
    };
    let ns = |container: &Handover| {
        nix::sys::stat::fstat(container.get(Part::Mount).unwrap()).unwrap().st_ino
    };
    assert!(ended(ending::NOT_RUNNING, join(named("c"), only_running)).is_none());
    assert!(ended(ending::ABSENT, join(named("other"), if_running)).is_none());
    assert!(ended(1, join(file("./other.sqsh"), if_running)).is_none());
    let running = place.background(&["start", "-e", "MARK=1", "c", "sh", "-c", WAIT]);
    let joined = ended(ending::JOINED, join(named("c"), if_running)).unwrap();
    let table = place.ok(&["list", "-f"]);
    assert!(table.contains(&ns(&joined).to_string()), "{table}");
    let mut environ = fs::File::from(joined.get(Part::Environ).unwrap().try_clone().unwrap());
    let mut text = String::new();
    std::io::Seek::rewind(&mut environ).unwrap();
    std::io::Read::read_to_string(&mut environ, &mut text).unwrap();
    assert!(text.contains("MARK=1\0") && text.contains("FROM_IMAGE=yes\0"), "{text}");
    assert!(joined.get(Part::Cwd).is_some() && joined.get(Part::User).is_some());
    assert!(running.finish());
    drop(joined);
    // Nothing runs: it is started.
    let started = ended(0, join(named("c"), if_running)).unwrap();
    assert!(started.get(Part::Helpers).is_some());
}

fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

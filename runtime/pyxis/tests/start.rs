//! What a program finds in a started container, and how it gets there.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Place;
use common::asked::{file, plain};
use handover::request::Start;
use handover::{Handover, Part};

fn script(root: &Path, directory: &str, with: &str, without: &str) {
    let text = format!(
        "# label x\n\nmkdir -p \"{directory}\" 2> /dev/null\n\
         cd \"{directory}\" && unset OLDPWD || exit 1\n\n\
         if [ -s /etc/rc.local ]; then\n    . /etc/rc.local\nfi\n\n\
         if [ $# -gt 0 ]; then\n    exec {with} \"$@\"\nelse\n    exec {without}\nfi\n"
    );
    fs::write(root.join("etc/rc"), text).unwrap();
    fs::write(root.join("etc/rc.local"), "# sourced by /etc/rc\n").unwrap();
}

#[test]
fn programs_are_confined() {
    let place = Place::new();
    place.image("image", |_| {});
    let status = "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status";
    let user = place.ok(&["start", "./image.sqsh", "sh", "-c", status]);
    let none = "0".repeat(16);
    assert_eq!(user, format!("CapEff:\t{none}\nCapBnd:\t{none}\nNoNewPrivs:\t1\nSeccomp:\t2\n"));
    // Root inside: ownership changes pretend to work, as package managers need.
    place.ok(&["start", "-r", "-w", "./image.sqsh", "sh", "-c", "touch /f; chown 7:7 /f"]);
    let open = place.ok(&["start", "./image.sqsh", "ls", "/proc/self/fd"]);
    assert_eq!(open, "0\n1\n2\n3\n");
}

#[test]
fn namespaces_of_its_own() {
    let place = Place::new();
    place.image("image", |_| {});
    let start = |option: &str, script: &str| {
        place.ok(&["start", option, "./image.sqsh", "sh", "-c", script])
    };
    assert_eq!(start("--pid", "echo $$; ls -d /proc/[0-9]*"), "1\n/proc/1\n");
    assert_eq!(start("--net", "ls /sys/class/net; cat /sys/class/net/lo/flags"), "lo\n0x9\n");
    assert_eq!(start("-r", "hostname nobody 2>/dev/null || echo no"), "no\n");
    let named =
        place.ok(&["start", "-r", "--uts", "./image.sqsh", "sh", "-c", "hostname x; hostname"]);
    assert_eq!(named, "x\n");
    let devices = start("--ipc", "ls /dev; echo x > /dev/null; ls /dev/shm; ls -l /dev/fd");
    assert!(devices.starts_with("fd\nfull\n") && !devices.contains("fuse"), "{devices}");
    let exit = place.run(&["start", "--pid", "./image.sqsh", "sh", "-c", "exit 7"]);
    exit.fails(7);
    let trap = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let running = place.background(&["start", "--pid", "./image.sqsh", "sh", "-c", trap]);
    assert_eq!(running.terminate(), Some(9));
    // A lost terminal ends it, as without a namespace.
    let image = ["start", "--pid", "./image.sqsh", "sh", "-c", "echo ready; exec sleep 100"];
    assert_eq!(place.background(&image).hang_up(), Some(nix::libc::SIGHUP));
}

#[test]
fn a_minimal_dev_can_be_asked_for() {
    let place = Place::new();
    place.image("image", |_| {});
    let devices = place
        .pyxis(["start", "./image.sqsh", "ls", "/dev"])
        .env("ENROOT_RESTRICT_DEV", "yes")
        .output()
        .unwrap();
    let devices = String::from_utf8(devices.stdout).unwrap();
    assert!(devices.contains("urandom\n") && !devices.contains("fuse"), "{devices}");
}

#[test]
fn the_images_script_is_followed_without_a_shell() {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir(root.join("work dir")).unwrap();
        script(root, "/work dir", "'env' 'BY=entrypoint'", "'env' 'BY=default'");
        fs::remove_file(root.join("bin/sh")).unwrap();
    });
    let with = place.ok(&["start", "./image.sqsh", "pwd"]);
    assert_eq!(with, "/work dir\n");
    assert!(place.ok(&["start", "./image.sqsh", "env"]).contains("BY=entrypoint\n"));
    assert!(place.ok(&["start", "./image.sqsh"]).contains("BY=default\n"));
    let missing = place.run(&["start", "./image.sqsh", "nothing-such"]).fails(127);
    assert!(missing.contains("nothing-such"), "{missing}");
}

#[test]
fn other_scripts_run_in_the_images_shell() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(root.join("etc/rc"), "export FROM_RC=$((40 + 2))\nexec \"$@\"\n").unwrap();
        fs::write(root.join("etc/profile"), "export FROM_PROFILE=1\n").unwrap();
    });
    let show = ["start", "./image.sqsh", "sh", "-c", "echo $FROM_RC $FROM_PROFILE"];
    assert_eq!(place.ok(&show), "42\n");
    let enroot = place.command("enroot", show).output().unwrap();
    assert_eq!(String::from_utf8(enroot.stdout).unwrap(), "42 1\n");

    let rc = place.path("work/rc");
    fs::write(&rc, "echo instead \"$@\"\n").unwrap();
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(place.ok(&["start", "--rc", "rc", "./image.sqsh", "a", "b c"]), "instead a b c\n");
    place.run(&["start", "--rc", "absent", "./image.sqsh"]).fails(1);
}

#[test]
fn words_that_only_a_shell_understands() {
    let place = Place::new();
    place.image("image", |root| fs::write(root.join("script"), "echo ran $1\n").unwrap());
    assert_eq!(place.ok(&["start", "./image.sqsh", "--", "echo", "a"]), "a\n");
    // Without a command script both ways start in the home directory.
    for words in ["pwd", "pwd; :"] {
        assert_eq!(place.ok(&["start", "-r", "./image.sqsh", words]), "/root\n");
        // No login, no home directory: as with enroot's ENROOT_LOGIN_SHELL.
        let mut command = place.pyxis(["start", "-r", "./image.sqsh", words]);
        let without = command.env("ENROOT_LOGIN_SHELL", "no").output().unwrap();
        assert_eq!(String::from_utf8(without.stdout).unwrap(), "/\n");
    }
    let env = place.ok(&["start", "-r", "./image.sqsh", "env"]);
    assert!(env.contains("PWD=/root\n"), "{env}");
    assert_eq!(place.ok(&["start", "./image.sqsh", "echo one; echo two"]), "one\ntwo\n");
    assert_eq!(place.ok(&["start", "./image.sqsh", "/script", "x"]), "ran x\n");
    place.run(&["start", "./image.sqsh", "false"]).fails(1);
    let unknown = place.run(&["start", "--no-such", "./image.sqsh"]).fails(1);
    assert!(unknown.contains("--no-such"), "{unknown}");
    let bad = place.run(&["start", "-e", "1X=2", "./image.sqsh", "true"]).fails(1);
    assert!(bad.contains("Invalid argument: 1X=2"), "{bad}");
}

#[test]
fn a_running_container_takes_more_programs() {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir(root.join("here")).unwrap();
        script(root, "/here", "", "'/bin/sh'");
    });
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    for options in [vec!["-r", "-e", "A=1"], vec!["--pid", "-e", "A=1"]] {
        let wait = ["c", "sh", "-c", "echo ready; cat > /dev/null"];
        let running = place.background(&[vec!["start"], options, wait.to_vec()].concat());
        let table = place.ok(&["list", "-f"]);
        let pid = table.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
        let say = ["exec", "-e", "B=2", pid, "sh", "-c", "echo $A $B $(pwd) $(id -u) $FROM_IMAGE"];
        let said = place.ok(&say);
        let uid = if table.contains("--pid") { 0 } else { place.uid };
        let expected = [format!("1 2 /here {uid} yes\n"), "1 2 /here 0 yes\n".to_owned()];
        assert!(expected.contains(&said), "{said}");
        place.run(&["exec", pid, "sh", "-c", "exit 5"]).fails(5);
        assert!(running.finish());
    }
    let gone = place.run(&["exec", "999999999", "true"]).fails(1);
    assert!(gone.contains("Process not found: 999999999"), "{gone}");
}

fn entrypoint(place: &Place) -> (Result<Handover, String>, String) {
    let start =
        Start { entrypoint: true, env: vec![OsStr::new("GIVEN=1")], ..plain(file("./image.sqsh")) };
    let (output, container) = place.started(start, &[]);
    let words = String::from_utf8(output.stdout).unwrap();
    match container {
        Some(container) => (Ok(container), words),
        None => (Err(String::from_utf8(output.stderr).unwrap()), words),
    }
}

#[test]
fn an_entrypoint_is_run_for_its_effects() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(
            root.join("entry"),
            "#!/bin/sh\necho hello $GIVEN\nexport SET=by\\ entry\ncd /tmp\nexec \"$@\"\n",
        )
        .unwrap();
        fs::set_permissions(root.join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
        script(root, "/", "'/entry'", "'/entry'");
    });
    let (container, words) = entrypoint(&place);
    let container = container.unwrap();
    assert_eq!(words, "hello 1\n");
    let file = container.get(Part::Environ).unwrap().try_clone().unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let environ = fs::read_to_string(path).unwrap();
    assert!(environ.contains("SET=by entry\0") && environ.contains("PWD=/tmp\0"), "{environ}");
    assert!(environ.contains("FROM_IMAGE=yes\0") && !environ.contains("SHLVL"), "{environ}");
    assert!(container.get(Part::Cwd).is_some());
}

#[test]
fn an_entrypoint_that_never_comes_to_the_command_is_an_error() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(root.join("etc/rc"), "echo giving up\nexit 3\n").unwrap();
    });
    let (error, words) = entrypoint(&place);
    let error = error.unwrap_err();
    assert!(error.contains("ended before it ran the command (exit code 3)"), "{error}");
    assert_eq!(words, "giving up\n");
}

#[test]
fn comforts_of_the_host() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(root.join("etc/locale.conf"), "LANG=\"C.UTF-8\"\nX=1\n").unwrap();
        fs::write(root.join("etc/debian_version"), "12\n").unwrap();
    });
    let home = "--env=HOME=/home/someone";
    let script = "echo $LANG $X; test -d $HOME && echo home; readlink /etc/localtime || echo none; \
                  cat /etc/apt/apt.conf.d/pyxis 2>/dev/null || echo no apt";
    let said = place.ok(&["start", home, "./image.sqsh", "sh", "-c", script]);
    let zone = fs::read_link("/etc/localtime")
        .ok()
        .and_then(|link| link.into_os_string().into_string().ok());
    let zone = zone.unwrap_or_else(|| "none".to_owned());
    assert_eq!(said, format!("C.UTF-8\nhome\n{zone}\nno apt\n"));
    let said = place.ok(&["start", "-r", "./image.sqsh", "sh", "-c", script]);
    assert!(said.ends_with("APT::Sandbox::User \"root\";\n"), "{said}");
}

#[test]
fn a_step_finds_its_launcher() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(root.join("etc/environment"), "PYTORCH_VERSION=2\nWORLD_SIZE=9\n").unwrap();
    });
    fs::create_dir(place.path("pmix")).unwrap();
    fs::write(place.path("pmix/socket"), "here\n").unwrap();
    let script = "cat $PMIX_SERVER_TMPDIR/socket; \
                  echo $SLURM_STEP_ID $PMIX_MCA_gds $MASTER_ADDR:$MASTER_PORT $WORLD_SIZE";
    let mut command = place.pyxis(["start", "./image.sqsh", "sh", "-c", script]);
    for (name, value) in [
        ("SLURM_JOB_ID", "7"),
        ("SLURM_STEP_ID", "1"),
        ("SLURM_STEP_NODELIST", "n[2-3]"),
        ("SLURM_NTASKS", "4"),
        ("PMIX_GDS_MODULE", "hash"),
    ] {
        command.env(name, value);
    }
    let done = command.env("PMIX_SERVER_TMPDIR", place.path("pmix")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said, "here\n1 hash n2:61007 9\n", "{done:?}");
}

#[test]
fn a_mount_above_the_root_is_refused() {
    let place = Place::new();
    place.image("image", |_| {});
    for line in ["/usr ../mnt none x-create=dir,bind", "../mnt ../mnt none x-detach"] {
        let words = place.run(&["start", "-m", line, "./image.sqsh", "true"]).fails(1);
        assert!(words.to_lowercase().contains("cross-device link"), "{words}");
    }
}

#[test]
fn bundles_are_said_to_be_absent() {
    let place = Place::new();
    let words = place.run(&["bundle", "-o", "x", "y"]).fails(1);
    assert!(words.contains("not made here"), "{words}");
}

#[test]
fn a_squashfuse_of_libfuse_2_is_not_tried() {
    let place = Place::new();
    place.packed("image", "xz", |_| {});
    // Such as 0.1.103: it mounts by itself or by fusermount, both impossible in a user namespace.
    fs::create_dir(place.path("bin")).unwrap();
    let squashfuse = place.path("bin/squashfuse");
    fs::write(&squashfuse, "#!/bin/sh\nexit 1\n# libfuse.so.2\0").unwrap();
    fs::set_permissions(&squashfuse, fs::Permissions::from_mode(0o755)).unwrap();
    let mut start = place.pyxis(["start", "./image.sqsh", "sh", "-c", "echo $FROM_IMAGE"]);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.path("bin").display());
    let output = start.env("PATH", path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "yes\n", "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is linked with libfuse 2"), "{said}");
    assert!(said.contains("; extracting ./image.sqsh into memory"), "{said}");
}

#[test]
fn squashfuse_ll_is_preferred_where_it_can_give_files_an_owner() {
    let place = Place::new();
    place.packed("image", "xz", |_| {});
    fs::create_dir(place.path("bin")).unwrap();
    let program = place.path("bin/squashfuse_ll");
    let mark = place.path("work/used");
    let started_with = |option: &str| {
        let text =
            format!("#!/bin/sh\n: > {}\nexec squashfuse \"$@\"\n# {option}\n", mark.display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.path("bin").display());
        let start = ["start", "./image.sqsh", "stat", "-c", "%u", "/bin"];
        let output = place.pyxis(start).env("PATH", path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", place.uid));
        mark.exists()
    };
    assert!(!started_with("timeout=%u"));
    assert!(started_with("uid=%d"));
}

#[test]
fn no_shell_is_started() {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir(root.join("work")).unwrap();
        script(root, "/work", "'/bin/true'", "'/bin/true'");
    });
    // What enroot comes with costs nothing.
    for (list, text) in [
        ("mounts.d/10-system.fstab", common::ENROOT_SYSTEM),
        ("mounts.d/20-config.fstab", common::ENROOT_CONFIG),
        ("environ.d/10-terminal.env", "TERM=${TERM}\n"),
    ] {
        let path = place.path("etc").join(list);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    for what in ["./image.sqsh", "c"] {
        let pyxis = place.path("pyxis");
        let strace = ["-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o", "trace"];
        let start = [pyxis.to_str().unwrap(), "start", what];
        let mut tracer = place.command("/usr/bin/strace", strace.iter().chain(&start));
        let mut tracer = tracer.env("ENROOT_SYSCONF_PATH", place.path("etc")).spawn().unwrap();
        // The tracer cannot look into a process that has entered the user namespace: who executes
        // there has no name, and is the one that the image's program is.
        let executed = || -> Vec<String> {
            let trace = fs::read_to_string(place.path("work/trace")).unwrap_or_default();
            let done = trace.lines().filter(|line| line.ends_with("= 0"));
            let name = |line: &str| Some(line.split('"').nth(1)?.rsplit('/').next()?.to_owned());
            done.map(|line| name(line).unwrap_or("true".to_owned())).collect()
        };
        // The image's server ends by itself, and strace with it; that is not waited for.
        for _ in 0..1200 {
            if executed().iter().any(|name| name == "true") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        let mut names = executed();
        names.sort();
        assert_eq!(names, ["pyxis", "true"]);
    }
}

/// Each takes as long as a dozen system calls: most of the time that a start takes.
#[test]
fn the_images_server_is_asked_for_little() {
    let place = Place::new();
    place.image("image", |root| fs::remove_file(root.join("bin/cat")).unwrap());
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    place.ok(&["start", "c", "true"]);
    let pyxis = place.path("pyxis");
    for (what, most) in [("./image.sqsh", 39), ("c", 49)] {
        let strace = ["-f", "-qq", "-e", "trace=writev", "-o", "trace"];
        let start = [pyxis.to_str().unwrap(), "start", what, "true"];
        let mut tracer = place.command("/usr/bin/strace", strace.iter().chain(&start));
        assert!(tracer.status().unwrap().success());
        let answers = place.read("work/trace");
        // A header of 16 bytes and what is answered.
        let count = answers.lines().filter(|line| line.contains("iov_len=16}, {")).count();
        assert!((10..=most).contains(&count), "{what}: {count} answers");
    }
}

/// Before Linux 5.12 mounts are made where they belong, one after the other, and are the same but for
/// what is mounted below /sys, which stays writable.
#[test]
fn an_old_kernel_gets_the_same_mounts() {
    let place = Place::new();
    place.image("image", |_| {});
    let pyxis = place.path("pyxis");
    let table = "cut -d ' ' -f 4- /proc/self/mountinfo | grep -v ' /sys/' | sort";
    let with = |options: &[&str], calls: &str| {
        let start = [pyxis.to_str().unwrap(), "start"];
        let start = [&start, options, &["./image.sqsh", "sh", "-c", table]].concat();
        let inject = format!("inject={calls}");
        // Nothing of the image's server, which strace would stop and wait for.
        let trace = "trace=move_mount,open_tree,fsopen,mount_setattr,openat2";
        let strace = ["--seccomp-bpf", "-f", "-qq", "-e", trace, "-e", &inject, "-o", "trace"];
        let done = place.command("/usr/bin/strace", strace.iter().chain(&start)).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{calls}: {done:?}");
        (String::from_utf8(done.stdout).unwrap(), place.read("work/trace"))
    };
    let moved = |trace: &str| trace.lines().filter(|l| l.contains(" move_mount(")).count();
    for options in [&[][..], &["--pid", "--net", "--uts"]] {
        // The 99th, which is to say none: strace is there, and everything works.
        let (new, trace) = with(options, "mount_setattr:error=ENOSYS:when=99");
        assert!(moved(&trace) > 8, "{trace}");
        assert!(new.lines().count() > 10, "{new}");
        for old in ["mount_setattr", "open_tree,fsopen,move_mount,mount_setattr,openat2"] {
            let old = format!("{old}:error=ENOSYS");
            let (mounts, trace) = with(options, &old);
            assert_eq!(moved(&trace), 0, "{old}: {trace}");
            assert_eq!(mounts, new, "{old}");
        }
        // Somebody who has rules for the new call only.
        let (mounts, _) = with(options, "move_mount:error=EPERM");
        assert_eq!(mounts, new);
    }
}

/// It works for all tasks of a step; the one that starts it is bound to a part of the step's cores.
#[test]
fn the_images_server_has_the_cores_of_the_step() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(cores > 1, "there is nothing to be seen with one core");
    let look = "for p in /proc/[0-9]*; do \
        test \"$(cat $p/comm) $(stat -c %u $p)\" = \"pyxis-image $(id -u)\" && cat $p/status; \
        done 2>/dev/null | grep ^Cpus_allowed:; grep ^Cpus_allowed: /proc/self/status";
    // The server's, and the program's.
    let masks = |given: &str| {
        let place = Place::new();
        place.image("image", |_| {});
        let pyxis = place.path("pyxis");
        let start = ["-c", "0", pyxis.to_str().unwrap(), "start", "./image.sqsh", "sh", "-c", look];
        let mut command = place.command("/usr/bin/taskset", start);
        let output = command.env("SLURM_CPUS_ON_NODE", given).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let last = |line: &str| {
            line.rsplit(['\t', ',']).next().unwrap().trim_start_matches('0').to_owned()
        };
        lines.lines().map(last).collect::<Vec<_>>()
    };
    let all = format!("{:x}", (1u64 << cores.min(32)) - 1);
    assert_eq!(masks(&cores.to_string()), [all, "1".to_owned()]);
    // No cpuset: the other cores are another job's.
    assert_eq!(masks("1"), ["1", "1"]);
}

/// The program is read before it is executed.
#[test]
fn a_program_that_is_no_file_keeps_nobody_waiting() {
    let place = Place::new();
    place.image("image", |root| {
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = root.join("script");
        fs::write(&script, "#!/fifo\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    });
    for (program, code) in
        [("/fifo", 126), ("/script", 126), ("/loop", 126), ("/proc", 126), ("/no/such", 127)]
    {
        let words = place.run(&["start", "./image.sqsh", program]).fails(code);
        assert!(words.contains(program), "{words}");
    }
}

#[test]
fn what_is_made_beforehand_follows_the_image() {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir_all(root.join("var/tmp")).unwrap();
        fs::write(root.join("usr/lib/here"), "").unwrap();
        fs::write(root.join("dev/image"), "").unwrap();
        fs::remove_dir(root.join("tmp")).unwrap();
        for (target, link) in [("usr/lib", "lib"), ("/var/tmp", "tmp"), ("../run", "var/run")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        std::os::unix::fs::symlink("/run/nowhere", root.join("etc/resolv.conf")).unwrap();
        fs::set_permissions(root.join("etc"), fs::Permissions::from_mode(0o751)).unwrap();
    });
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let script = "for i in /lib /tmp /var/run; do readlink $i; done; ls /lib/; stat -f -c %T /var/tmp /run /proc /sys; \
                  test -e /dev/image || test ! -c /dev/null || echo dev; stat -c %a /etc /etc/passwd; \
                  echo x > /tmp/x; ls /var/tmp; test -r /etc/hosts && echo hosts";
    let expected = "usr/lib\n/var/tmp\n../run\nhere\ntmpfs\ntmpfs\nproc\nsysfs\n\
                    dev\n751\n644\nx\nhosts\n";
    for what in ["./image.sqsh", "c"] {
        assert_eq!(place.ok(&["start", what, "sh", "-c", script]), expected, "{what}");
    }
    let resolv = "cat /etc/resolv.conf";
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(place.ok(&["start", "./image.sqsh", "sh", "-c", resolv]), host);
}

#[test]
fn without_the_kernels_overlay_images_are_extracted() {
    let place = Place::new();
    place.image("image", |_| {});
    // Without fuse-overlayfs (tests/unpacked.rs).
    let few = place.few_programs();
    let run = |arguments: &[&str]| {
        let mut command = place.pyxis(arguments);
        command.env("ENROOT_NATIVE_OVERLAYFS", "n").env("PATH", &few).output().unwrap()
    };
    let script = "touch /x 2>/dev/null || echo ro; id -un; echo $FROM_IMAGE";
    let read_only = run(&["start", "./image.sqsh", "sh", "-c", script]);
    let words = String::from_utf8_lossy(&read_only.stderr).into_owned();
    assert!(words.contains("; extracting ./image.sqsh into memory"), "{words}");
    let text = String::from_utf8_lossy(&read_only.stdout).into_owned();
    assert_eq!(text, format!("ro\nuser{}\nyes\n", place.uid), "{words}");
    assert!(run(&["start", "-w", "./image.sqsh", "touch", "/x"]).status.success());
    assert!(run(&["create", "-n", "c", "image.sqsh"]).status.success());
    assert!(place.path("data/c/bin/busybox").exists(), "extracted, as enroot has it");
    assert!(run(&["start", "-w", "c", "touch", "/x"]).status.success());
    assert!(run(&["start", "c", "test", "-e", "/x"]).status.success());
}

#[test]
fn a_variable_without_a_value_is_empty_as_with_enroot() {
    let place = Place::new();
    place.image("image", |_| {});
    let script = "echo $SET,${EMPTY-unset},${NONE-unset},${FROM_IMAGE-unset}";
    let names = ["SET", "EMPTY", "NONE", "FROM_IMAGE"].map(|name| ["-e", name]).concat();
    let arguments = [&["start"], &names[..], &["./image.sqsh", "sh", "-c", script]].concat();
    let done = place.pyxis(&arguments).env("SET", "x").env("EMPTY", "").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "x,,,\n", "{done:?}");
}

#[test]
fn what_every_container_finds() {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir(root.join("volume")).unwrap();
        let lines = "tmpfs /scratch tmpfs x-create=dir,size=1m\n${HOME} /there x-create=dir,bind\n";
        fs::write(root.join("etc/fstab"), lines).unwrap();
    });
    fs::write(place.path("home/mine"), "mine\n").unwrap();
    let say = |options: &[&str], script: &str| {
        place.ok(&[&["start"], options, &["./image.sqsh", "sh", "-c", script]].concat())
    };
    // The user's account, also under the name of a root; the image's own lines stay.
    let account = "id -un; id -gn; grep -c ^root: /etc/passwd; echo $HOME $USER $SHELL";
    let user = format!("user{}", place.uid);
    let group = format!("group{}", place.uid);
    assert_eq!(say(&[], account), format!("{user}\n{group}\n1\n/ {user} /bin/sh\n"));
    assert_eq!(say(&["-r"], account), "root\nroot\n1\n/root root /bin/sh\n");
    // /etc/fstab of the image: what is its own.
    let scratch = "test -e /there || echo absent; stat -f -c %T /scratch";
    assert_eq!(say(&[], scratch), "absent\ntmpfs\n");
    // The home directory, where asked for, and below root's name for root.
    let home = place.path("home");
    assert_eq!(
        say(&["--mount-home"], "cat $HOME/mine; echo $HOME"),
        format!("mine\n{}\n", home.display())
    );
    assert_eq!(say(&["--mount-home", "-r"], "cat /root/mine; echo $HOME"), "mine\n/root\n");
    let absent = format!("test -e {}/mine || echo absent", home.display());
    assert_eq!(say(&[], &absent), "absent\n");
    // Its cgroup is the top of what it sees.
    assert_eq!(say(&[], "grep -v ':/$' /proc/self/cgroup || echo top"), "top\n");
    // The host's names, to be read only.
    let hosts = "cat /etc/hosts; echo x 2>/dev/null >> /etc/hosts || echo ro";
    let expected = format!("{}ro\n", fs::read_to_string("/etc/hosts").unwrap());
    assert_eq!(say(&["-w"], hosts), expected);
    // Nothing of the host's tree or of how the container was made.
    assert_eq!(
        say(&[], "ls -d /host /lower /upper /data /host/etc 2>/dev/null || echo none"),
        "none\n"
    );
    assert_eq!(say(&["-r"], "touch /sys/x 2>/dev/null || echo ro"), "ro\n");
}

//! The verbs under the name `enroot`: what is done, and in which words.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{WAIT, place};

#[test]
fn under_enroots_name_errors_look_like_enroots() {
    let place = place();
    let create = |name| place.command("enroot", ["create", "-n", name, "image.sqsh"]).output();
    assert!(create("c").unwrap().status.success());
    let exists = create("c").unwrap();
    let data = place.path("data/c");
    assert_eq!(exists.status.code(), Some(1));
    let words = String::from_utf8(exists.stderr).unwrap();
    assert_eq!(words, format!("[ERROR] File already exists: {}\n", data.display()));
    let usage = place.command("enroot", ["create"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(1));
}

/// What enroot 4.1.2 does with the same words, tried by hand; what it prints is compared where
/// it is more than an error's wording.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of verbs")]
fn verbs_end_as_enroots_do() {
    let place = place();
    fs::write(place.path("work/bad.sqsh"), "not an image").unwrap();
    let data = place.path("data").display().to_string();
    let work = place.path("work").canonicalize().unwrap().display().to_string();
    let table: &[(&str, i32, &str)] = &[
        ("create -n a image.sqsh", 0, "[INFO] Extracting squashfs filesystem..."),
        ("create -n a image.sqsh", 1, "[ERROR] File already exists: DATA/a"),
        ("create -n a/b image.sqsh", 1, "[ERROR] Invalid argument: a/b\n"),
        ("create absent.sqsh", 1, "[ERROR] No such file or directory: WORK/absent.sqsh\n"),
        ("create no/absent.sqsh", 1, "[ERROR] No such file or directory: no/absent.sqsh\n"),
        ("create -n q .", 1, "[ERROR] No such file or directory: WORK\n"),
        ("create bad.sqsh", 1, "[ERROR] Invalid image format: WORK/bad.sqsh\n"),
        ("create", 1, "IMAGE"),
        ("create --name=b image.sqsh", 0, ""),
        ("create -f --name b -- image.sqsh", 0, ""),
        ("list", 0, "a\nb\n"),
        ("start a id -u", 0, "UID\n"),
        ("start --root a id -u", 0, "0\n"),
        ("start a nosuch", 127, "nosuch"),
        ("start a touch /x", 1, "Read-only file system"),
        ("start -w a touch /x", 0, ""),
        ("start --rw a ls /x", 0, "/x\n"),
        ("start -w -- a rm /x", 0, ""),
        ("start absent true", 1, "[ERROR] No such file or directory: DATA/absent"),
        ("start ./image.sqsh true", 0, ""),
        ("start image.sqsh true", 0, ""),
        ("start x/y true", 1, "[ERROR] Invalid argument: x/y\n"),
        ("start ./bad.sqsh true", 1, "[ERROR] Invalid argument: ./bad.sqsh\n"),
        ("start -e A=1 --env=B=2 a env", 0, "B=2"),
        ("start -e 1A=1 a true", 1, "[ERROR] Invalid argument: 1A=1\n"),
        // Of enroot's after 4.1.2.
        ("start --net a ls /sys/class/net", 0, "lo\n"),
        ("start --pid --ipc --uts a readlink /proc/self", 0, "1\n"),
        ("start --mount /etc:/there a ls /there/passwd", 0, "/there/passwd\n"),
        ("start --rc nosuch a true", 1, "[ERROR] No such file or directory: WORK/nosuch\n"),
        ("start -c nosuch a true", 1, "[ERROR] No such file or directory: WORK/nosuch\n"),
        ("start", 1, "NAME|IMAGE"),
        ("start --bogus a", 1, "no such option: --bogus"),
        ("exec 999999999 true", 1, "[ERROR] Process not found: 999999999"),
        ("exec x true", 1, "[ERROR] Process not found: x\n"),
        ("exec 1 true", 1, "[ERROR] Process not found: 1\n"),
        ("exec", 1, "PID"),
        ("export -o e.sqsh a", 0, "[INFO] Creating squashfs filesystem..."),
        ("export a", 0, ""),
        ("export a", 1, "[ERROR] File already exists: WORK/a.sqsh\n"),
        ("export -o no/e.sqsh a", 1, "[ERROR] No such file or directory: no/e.sqsh\n"),
        ("export x/y", 1, "[ERROR] Invalid argument: x/y\n"),
        ("export nosuch", 1, "[ERROR] No such file or directory: DATA/nosuch"),
        ("remove a", 1, ""),
        ("remove -f nosuch", 1, "[ERROR] No such file or directory: DATA/nosuch"),
        ("remove", 1, "NAME"),
        ("remove --force a b", 0, ""),
        ("list", 0, ""),
        ("list -f", 0, "NAME  PID  COMM  STATE  STARTED  TIME  MNTNS  USERNS  COMMAND\n"),
        ("import bogus://x", 1, "[ERROR] Invalid argument: bogus://x\n"),
        ("digest bogus://x", 1, "[ERROR] Invalid argument: bogus://x\n"),
        ("load bogus://x", 1, "[ERROR] Invalid argument: bogus://x\n"),
        ("load -n a/b docker://x", 1, "[ERROR] Invalid argument: a/b\n"),
        ("batch nosuch", 1, "[ERROR] "),
        ("nosuch", 1, "no such command: nosuch"),
        ("create --help", 0, "--force"),
        ("version", 0, "4.1.2\n"),
        ("version of_nothing", 0, "4.1.2\n"),
        ("--version", 0, "4.1.2\n"),
    ];
    for (words, code, expected) in table {
        let done = place.command("enroot", words.split(' ')).output().unwrap();
        assert_eq!(done.status.code(), Some(*code), "{words}: {done:?}");
        let (text, words_of) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let expected = expected.replace("DATA", &data).replace("UID", &place.uid.to_string());
        let expected = expected.replace("WORK", &work);
        let listing = *code == 0 && (expected.ends_with('\n') || *words == "list");
        if listing {
            assert_eq!(text, expected, "{words}: {done:?}");
        } else {
            assert!(words_of.contains(&expected) || text.contains(&expected), "{words}: {done:?}");
        }
    }
}

#[test]
fn what_a_script_asks_and_looks_at_is_as_enroot_has_it() {
    let place = place();
    let enroot = |words: &[&str]| place.command("enroot", words);
    assert!(enroot(&["create", "-n", "c", "image.sqsh"]).status().unwrap().success());
    // No terminal, no question; and what is answered counts.
    let answer = |text: &str| {
        fs::write(place.path("answer"), text).unwrap();
        let answer = File::open(place.path("answer")).unwrap();
        enroot(&["remove", "c"]).stdin(answer).output().unwrap()
    };
    let (no, yes) = (answer("n\n"), answer("y\n"));
    assert_eq!((no.status.code(), &*no.stderr), (Some(0), &b""[..]), "{no:?}");
    assert_eq!((yes.status.code(), &*yes.stderr), (Some(0), &b""[..]), "{yes:?}");
    assert!(!place.path("data/c").exists());
    // One code for all that goes wrong in a container that was entered.
    let running = place.background(&["start", "./image.sqsh", "sh", "-c", WAIT]);
    let table = place.ok(&["list", "-f"]);
    let pid = table.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
    assert_eq!(enroot(&["exec", pid, "nosuch"]).status().unwrap().code(), Some(1));
    assert_eq!(enroot(&["exec", pid, "sh", "-c", "exit 3"]).status().unwrap().code(), Some(3));
    place.run(&["exec", pid, "nosuch"]).fails(127);
    assert!(running.finish());
}

#[test]
fn info_says_what_holds_as_enroot_writes_it() {
    let place = place();
    let mut command = place.command("enroot", ["info"]);
    command.env_remove("ENROOT_CACHE_PATH").env_remove("XDG_CACHE_HOME");
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("  {name}=")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    };
    let home = place.path("home");
    assert_eq!(value("ENROOT_CACHE_PATH"), home.join(".cache/enroot").display().to_string());
    assert_eq!(value("ENROOT_NATIVE_OVERLAYFS"), "true");
    assert_eq!(value("ENROOT_LOGIN_SHELL"), "true");
    assert_eq!(value("ENROOT_VERSION"), "4.1.2");
    assert!(value("ENROOT_MAX_PROCESSORS").parse::<u32>().unwrap() > 0);
    assert!(!text.contains("ENROOT_SQUASH_OPTIONS="), "{text}");
    let said = [
        ("ENROOT_CACHE_PATH", "/said"),
        ("ENROOT_LOGIN_SHELL", "no"),
        ("ENROOT_MAX_PROCESSORS", "3"),
    ];
    let text = String::from_utf8(command.envs(said).output().unwrap().stdout).unwrap();
    assert!(text.contains("  ENROOT_CACHE_PATH=/said\n"), "{text}");
    // In the words of the file that says so: hooks compare them.
    let sysconf = place.path("etc/enroot");
    fs::create_dir_all(&sysconf).unwrap();
    fs::write(sysconf.join("enroot.conf"), "ENROOT_MOUNT_HOME y\nENROOT_ROOTFS_WRITABLE true\n")
        .unwrap();
    let mut command = place.command("enroot", ["info"]);
    let done = command.env("ENROOT_SYSCONF_PATH", &sysconf).output().unwrap();
    let written = String::from_utf8(done.stdout).unwrap();
    assert!(written.contains("  ENROOT_MOUNT_HOME=y\n"), "{written}");
    assert!(written.contains("  ENROOT_ROOTFS_WRITABLE=true\n"), "{written}");
    assert!(text.contains("  ENROOT_MAX_PROCESSORS=3\n"), "{text}");
    assert!(!text.contains("ENROOT_LOGIN_SHELL"), "{text}");
}

#[test]
fn without_a_home_the_user_database_says_where_containers_are() {
    if !nix::unistd::geteuid().is_root() {
        panic!("this test has to be run as root");
    }
    let place = place();
    // In /etc/passwd of a mount namespace only.
    let (home, uid) = (place.path("home"), place.uid);
    let passwd = format!("x:x:{uid}:{uid}::{}:/bin/sh\n", home.display());
    fs::write(place.path("passwd"), fs::read_to_string("/etc/passwd").unwrap() + &passwd).unwrap();
    let script = "mount --bind \"$1/passwd\" /etc/passwd && shift && exec \"$@\"";
    for verb in [&["create", "-n", "c", "image.sqsh"][..], &["list"], &["remove", "-f", "c"]] {
        let inner = place.pyxis(verb);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(place.path(""));
        command.arg(inner.get_program()).args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env_remove("HOME").env_remove("ENROOT_DATA_PATH").current_dir(place.path(""));
        let done = command.output().unwrap();
        assert!(done.status.success(), "{verb:?}: {done:?}");
        let made = home.join(".local/share/enroot/c").is_dir();
        assert_eq!(made, verb[0] != "remove", "{verb:?}");
    }
}

/// What enroot 4.1.2 does with the same, tried by hand.
#[test]
fn what_start_is_told_reaches_hooks_and_programs() {
    let place = place();
    for folder in ["hooks.d", "mounts.d"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    let hook = place.path("hooks.d/10-told.sh");
    let told =
        "echo \"TOLD=${ENROOT_REMAP_ROOT-no} ${ENROOT_ROOTFS_WRITABLE-no}\" >> $ENROOT_ENVIRON\n";
    fs::write(&hook, format!("#!/bin/sh\n{told}")).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    // A line that only makes a directory, and a file whose target has a "/" at its end.
    let made = format!(
        "none /made none x-create=dir\n{} /file/ none bind,x-create=file\n",
        hook.display()
    );
    fs::write(place.path("mounts.d/10.fstab"), made).unwrap();
    fs::write(place.path("home/run.txt"), "echo script $1\n").unwrap();
    let started = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = place.command("enroot", [&["start"], words].concat());
        command.envs(variables.iter().copied());
        command.env("PYXIS_HOOKS_PATH", place.path("hooks.d"));
        let done = command.env("PYXIS_MOUNTS_PATH", place.path("mounts.d")).output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(
        place.command("enroot", ["create", "-n", "c", "image.sqsh"]).status().unwrap().success()
    );
    let show = ["c", "sh", "-c", "echo $TOLD"];
    assert_eq!(started(&[], &show), "no no\n");
    assert_eq!(started(&[], &[&["-r", "-w"][..], &show].concat()), "y y\n");
    assert_eq!(
        started(&[], &["c", "sh", "-c", "ls -d /made; test -s /file && echo bound"]),
        "/made\nbound\n"
    );
    // enroot takes quotes off, which pyxis leaves alone.
    let quoted = ["-e", "Q=\"a b\"", "c", "sh", "-c", "echo $Q"];
    assert_eq!(started(&[], &quoted), "a b\n");
    assert_eq!(place.ok(&[&["start"], &quoted[..]].concat()), "\"a b\"\n");
    // A script that cannot be executed is a shell's, wherever it is said to be.
    let home = [("ENROOT_MOUNT_HOME", "y")];
    for name in ["./run.txt", "run.txt"] {
        assert_eq!(started(&home, &["c", name, "x"]), "script x\n", "{name}");
    }
    // Without a login nobody has a home.
    let no_login = [("ENROOT_LOGIN_SHELL", "no")];
    assert_eq!(started(&no_login, &["c", "sh", "-c", "echo \"$HOME$USER$LOGNAME\""]), "\n");
}

//! Where images and containers are kept, and what is said where they cannot be.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use common::{Place, next_uid};

fn directory(path: &Path, mode: u32, owner: u32) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chown(path, Some(owner), None).expect("root runs this, to give directories away");
}

/// As a home on a server that is read-only, or over its quota.
#[test]
fn a_home_that_takes_nothing_is_named_with_the_setting_for_another_place() {
    let place = Place::new();
    place.image("image", |_| {});
    let home = place.path("closed");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o555)).unwrap();
    let said = |arguments: &[&str]| {
        let mut command = place.pyxis(arguments);
        for name in ["ENROOT_DATA_PATH", "XDG_DATA_HOME", "ENROOT_CACHE_PATH", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        let done = command.env_remove("PYXIS_STORE_PATH").env("HOME", &home).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        String::from_utf8(done.stderr).unwrap().replace(home.to_str().unwrap(), "~")
    };
    assert_eq!(
        said(&["create", "-n", "c", "image.sqsh"]),
        "pyxis: cannot create ~/.local/share/enroot: Permission denied (os error 13); another place for \
         containers: data in [paths] of pyxis.toml, or ENROOT_DATA_PATH\n"
    );
    assert_eq!(
        said(&["pull", "docker://localhost:1/x"]),
        "pyxis: cannot create ~/.cache/pyxis: Permission denied (os error 13); another place for images: \
         path in [store] of pyxis.toml, or PYXIS_STORE_PATH\n"
    );
}

/// As enroot.conf of many sites has it: `/tmp/enroot-data/user-$(id -u)`.
#[test]
fn a_data_path_that_somebody_else_has_made_first_is_not_used() {
    let (place, other) = (Place::new(), next_uid());
    place.image("image", |_| {});
    let (open, own) = (place.path("open"), place.path(format!("open/user-{}", place.uid)));
    let sysconf = place.path("sysconf");
    directory(&sysconf, 0o755, 0);
    let conf = |path: &str| {
        let text = format!("ENROOT_DATA_PATH {}/{path}\n", open.display());
        fs::write(sysconf.join("enroot.conf"), text).unwrap();
    };
    let run = |words: &[&str], chosen: Option<&Path>| {
        let mut command = place.pyxis(words);
        command.env_remove("ENROOT_DATA_PATH").env("ENROOT_SYSCONF_PATH", &sysconf);
        let done = command.envs(chosen.map(|path| ("ENROOT_DATA_PATH", path))).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    };
    let refused = |part: &Path| {
        let said = format!("{} is somebody else's, in a directory where", part.display());
        for words in [&["list"][..], &["start", "job", "/x"], &["create", "-n", "d", "image.sqsh"]]
        {
            let (code, _, told) = run(words, None);
            assert!(code == Some(1) && told.contains(&said), "{words:?}: {told}");
        }
    };
    let ours = |path: &str| {
        conf(path);
        let (code, _, told) = run(&["create", "-n", "c", "image.sqsh"], None);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(run(&["list"], None).1, "c\n");
        assert_eq!(run(&["remove", "-f", "c"], None).0, Some(0));
    };
    // Root has made what is open to all, with a sticky bit or without.
    directory(&open, 0o1777, 0);
    ours("user-$(id -u)");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    ours("user-$(id -u)");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    directory(&open.join("data"), 0o1777, 0);
    ours("data/user-$(id -u)");

    conf("user-$(id -u)");
    fs::remove_dir(&own).unwrap();
    directory(&own, 0o777, other);
    directory(&own.join("job"), 0o755, other);
    refused(&own);
    // A colleague's, if the user says so.
    assert_eq!(run(&["list"], Some(&own)).1, "job\n");
    // Somebody else's above it, and links of theirs, at once or later on the way.
    directory(&open.join("theirs"), 0o777, other);
    conf("theirs/user-$(id -u)");
    refused(&open.join("theirs"));
    symlink(place.path("data"), open.join("link")).unwrap();
    lchown(open.join("link"), Some(other), None).unwrap();
    conf("link");
    refused(&open.join("link"));
    conf("link/");
    refused(&open.join("link"));
    symlink(open.join("link"), place.path("roots")).unwrap();
    conf("../roots");
    refused(&open.join("link"));
}

#[test]
fn a_container_that_somebody_else_has_put_there_is_not_started() {
    let (place, other) = (Place::new(), next_uid());
    let sysconf = place.path("sysconf");
    directory(&sysconf, 0o755, 0);
    let open = place.path("open");
    fs::write(sysconf.join("enroot.conf"), format!("ENROOT_DATA_PATH {}\n", open.display()))
        .unwrap();
    directory(&open, 0o1777, 0);
    directory(&open.join("theirs"), 0o755, other);
    directory(&open.join("mine"), 0o755, place.uid);
    let run = |words: &[&str]| {
        let mut command = place.pyxis(words);
        command.env_remove("ENROOT_DATA_PATH").env("ENROOT_SYSCONF_PATH", &sysconf);
        command.output().unwrap()
    };
    assert_eq!(run(&["list"]).stdout, b"mine\n");
    for words in [&["start", "theirs", "/x"][..], &["export", "theirs"]] {
        let told = String::from_utf8(run(words).stderr).unwrap();
        assert!(told.contains("open/theirs is somebody else's"), "{told}");
    }
}

/// What is mounted there for hooks keeps nobody else from moving it away.
#[test]
fn hooks_work_where_nobody_can_move_their_directory_away() {
    let (place, other) = (Place::new(), next_uid());
    place.image("image", |_| {});
    fs::write(place.path("work/conf"), "environ() {\n\techo \"AT=$ENROOT_RUNTIME_PATH\"\n}\n")
        .unwrap();
    let at = |runtime: &Path| {
        let mut command =
            place.pyxis(["start", "--conf", "conf", "image.sqsh", "sh", "-c", "echo $AT"]);
        let done = command.env("ENROOT_RUNTIME_PATH", runtime).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    let is_elsewhere = |at: &str| ["/media", "/srv", "/mnt", "/tmp"].contains(&at);
    for (name, mode, owner, is_used) in [
        ("sticky", 0o1777, 0, true),
        ("open", 0o777, 0, false),
        ("theirs", 0o1777, other, false),
        ("closed", 0o755, 0, true),
    ] {
        directory(&place.path(name), mode, owner);
        let own = place.path(format!("{name}/user"));
        if mode & 0o002 == 0 {
            directory(&own, 0o700, place.uid);
        }
        let at = at(&own);
        assert!(if is_used { Path::new(&at) == own } else { is_elsewhere(&at) }, "{name}: {at}");
    }
    // Made first by somebody else.
    directory(&place.path("sticky/squatted"), 0o777, other);
    let at = at(&place.path("sticky/squatted"));
    assert!(is_elsewhere(&at), "{at}");
}

//! Images and programs that are after what is outside their container.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Place;

/// Everything below a directory, but for what the tests put there.
fn contents(directory: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    found
}

#[test]
fn links_by_proc_lead_nowhere() {
    let place = Place::new();
    let home = place.path("home");
    fs::write(home.join("bashrc"), "mine\n").unwrap();
    place.give(&home);
    // The descriptors that a starting container has.
    for fd in 3..=9 {
        for tree in ["/host", ""] {
            let there = format!("/proc/self/fd/{fd}{tree}{}", home.display());
            let name = format!("image{fd}{}", tree.len());
            place.image(&name, |root| {
                fs::remove_file(root.join("etc/passwd")).unwrap();
                symlink(format!("{there}/bashrc"), root.join("etc/passwd")).unwrap();
                symlink(format!("{there}/zone"), root.join("etc/localtime")).unwrap();
                symlink(&there, root.join("mnt")).unwrap();
                fs::create_dir(root.join("etc/skel")).unwrap();
                fs::write(root.join("etc/skel/keys"), "theirs\n").unwrap();
                let lines = format!("HOME={there}/.ssh\nMORE=$(echo)\n");
                fs::write(root.join("etc/environment"), lines).unwrap();
            });
            let image = format!("./{name}.sqsh");
            for options in [&["-w"][..], &[]] {
                place.run(&[&["start"], options, &[&image, "/bin/true"]].concat());
            }
            for line in [
                "/bin /mnt/below none x-create=dir,bind",
                "/bin/busybox /mnt/file none x-create=file,bind",
                "tmpfs /mnt tmpfs x-create=dir",
            ] {
                let refused = place.run(&["start", "-m", line, &image, "/bin/true"]).fails(1);
                assert!(refused.contains("mnt"), "{refused}");
            }
            assert_eq!(contents(&home), ["bashrc"], "{there}");
            assert_eq!(fs::read_to_string(home.join("bashrc")).unwrap(), "mine\n", "{there}");
        }
    }
}

#[test]
fn the_roots_of_helpers_are_out_of_reach() {
    let place = Place::new();
    place.image("image", |_| {});
    // Whatever is called so and is ours, seen from the container.
    let look = "n=0; for p in /nodes/[0-9]*; do case $(cat $p/comm 2>/dev/null) in pyxis*) \
        n=$((n + 1)); test -e $p/root/etc && echo $p open;; esac; done 2>/dev/null; test $n -gt 0 && echo looked";
    for options in [&[][..], &["-r"], &["--pid"], &["-r", "--pid"]] {
        let proc = ["-m", "/proc /nodes none x-create=dir,rbind"];
        let arguments = [&["start"], options, &proc, &["./image.sqsh", "sh", "-c", look]].concat();
        assert_eq!(place.ok(&arguments), "looked\n", "{options:?}");
    }
}

#[test]
fn a_command_script_that_is_none_keeps_nobody_waiting() {
    let place = Place::new();
    place.image("fifo", |root| {
        nix::unistd::mkfifo(&root.join("etc/rc"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    place.image("endless", |root| symlink("/dev/zero", root.join("etc/rc")).unwrap());
    for image in ["./fifo.sqsh", "./endless.sqsh"] {
        let mut started = place.pyxis(["start", image, "true"]).spawn().unwrap();
        let begin = Instant::now();
        while started.try_wait().unwrap().is_none() {
            if begin.elapsed() > Duration::from_secs(60) {
                started.kill().unwrap();
                started.wait().unwrap();
                panic!("{image} has been read for 60 seconds");
            }
            sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn an_images_fstab_gets_nothing_of_the_host() {
    let place = Place::new();
    let home = place.path("home");
    fs::write(home.join("secret"), "of the host\n").unwrap();
    place.give(&home);
    let home = home.display();
    let lines = [
        format!("{home} /h1 none x-create=dir,rbind"),
        format!("{home} x-create=dir,bind"),
        format!("{home}/secret /h2 none x-create=file,bind,nofail"),
        format!("o /h3 overlay x-create=dir,nofail,lowerdir={home}:/etc"),
        "/ /h4 none x-create=dir,rbind 0 -1".to_owned(),
        "none /sys none remount,rw".to_owned(),
        "x /proc/sys none x-detach,nofail".to_owned(),
        "tmpfs /own tmpfs x-create=dir,size=1m".to_owned(),
    ];
    place.image("image", |root| {
        fs::write(root.join("etc/fstab"), lines.join("\n") + "\n").unwrap();
    });
    let look = "for d in /h1 /h2 /h3 /h4 $SEEN; do test -e $d && echo $d; done; \
        stat -f -c %T /own; touch /sys/x 2>/dev/null || echo ro";
    let seen = format!("SEEN={home}");
    let start = ["start", "-r", "-e", &seen, "./image.sqsh", "sh", "-c", look];
    let done = place.run(&start);
    assert_eq!(done.ok(), "tmpfs\nro\n");
    // One line says it, and what allows it.
    let words = String::from_utf8(done.0.stderr.clone()).unwrap();
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains(", and 6 more; PYXIS_IMAGE_MOUNTS=y allows it"), "{words}");
    // The named container's own, which its programs may have changed, is no other.
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    assert_eq!(place.ok(&["start", "-r", "-e", &seen, "c", "sh", "-c", look]), "tmpfs\nro\n");
    // The user's word, or the site's.
    place.image("asking", |root| {
        fs::write(root.join("etc/fstab"), lines[0].clone() + "\n").unwrap();
    });
    let config = place.path("pyxis.toml");
    fs::write(&config, "[container]\nimage_mounts = true\n").unwrap();
    let config = config.to_str().unwrap();
    for (name, value) in [("PYXIS_IMAGE_MOUNTS", "y"), ("PYXIS_CONFIG", config)] {
        let mut allowed = place.pyxis(["start", "./asking.sqsh", "cat", "/h1/secret"]);
        let done = allowed.env(name, value).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "of the host\n", "{done:?}");
    }
}

/// A program of the container's may put a link in the place of a file that mksquashfs, which goes by
/// paths, is about to read.
#[test]
fn mksquashfs_reads_nothing_of_the_host_by_a_link() {
    let place = Place::new();
    let secret = place.path("home/secret");
    fs::write(&secret, "of the host").unwrap();
    let image = place.image("image", |root| {
        fs::write(root.join("file"), "its own").unwrap();
        symlink(&secret, root.join("link")).unwrap();
        symlink(place.path("home"), root.join("way")).unwrap();
    });
    let tools = place.path("tools");
    fs::create_dir(&tools).unwrap();
    let tool = tools.join("mksquashfs");
    let script = "#!/bin/sh\ncd /; for file in file link way/secret; do cat \"$1/$file\"; echo; done >&2\nexit 1\n";
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    place.ok(&["create", "-n", "layered", image.to_str().unwrap()]);
    // As enroot makes it.
    let plain = place.path("data/plain");
    let unpacked = Command::new("unsquashfs")
        .args(["-quiet", "-no-progress", "-dest"])
        .args([&plain, &image])
        .status();
    assert!(unpacked.unwrap().success());
    place.give(&plain);
    for name in ["layered", "plain"] {
        let mut command = place.pyxis(["export", "-o", "x.sqsh", name]);
        command.env("PATH", format!("{}:/usr/bin:/bin:/sbin:/usr/sbin", tools.display()));
        let output = command.env("ENROOT_SQUASH_OPTIONS", "-comp gzip").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("its own"), "{name}: {said}");
        assert!(!said.contains("of the host"), "{name}: {said}");
    }
}

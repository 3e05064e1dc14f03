//! Squashfs files that are mounted at directories of a container.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use common::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A place with an image to start, and two files with data.
fn place() -> Place {
    let place = Place::new();
    place.image("image", |_| {});
    for (name, with) in [("one", "gzip"), ("two", "zstd")] {
        place.packed(name, with, |root| {
            fs::create_dir_all(root.join("a/b c")).unwrap();
            fs::write(root.join("a/b c/file"), name).unwrap();
            fs::write(root.join("large"), vec![b'x'; 3 << 20]).unwrap();
        });
    }
    place
}

/// Processes of the place's user: their numbers and names.
fn processes(place: &Place) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let ours = process.metadata().is_ok_and(|stat| stat.uid() == place.uid);
        if let (true, Ok(name)) = (ours, fs::read_to_string(process.path().join("comm"))) {
            // One that has ended, and is not waited for yet, has no memory.
            if !fs::read_to_string(process.path().join("statm"))
                .unwrap_or_default()
                .starts_with("0 ")
            {
                found.push((pid, name.trim().to_owned()));
            }
        }
    }
    found
}

/// Waits until the user has no process any more.
fn nothing_is_left(place: &Place) {
    for _ in 0..6000 {
        if processes(place).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("left: {:?}", processes(place));
}

#[test]
fn what_is_in_the_file_is_there() {
    let place = place();
    let script = "cat '/data/a/b c/file' /mnt/x/a/b*/file; cat /data/large | wc -c; \
        touch /data/new 2>/dev/null || echo no; rm -f /data/large 2>/dev/null || echo no; \
        grep -c 'ro,.* fuse.squashfs' /proc/self/mountinfo";
    let image = ["--", "./image.sqsh", "sh", "-c", script];
    // As the plugin has it, and as fstab has it.
    for (one, two) in [
        (
            "./one.sqsh /data x-create=auto,rbind,sqsh",
            "./two.sqsh /mnt/x x-create=auto,rbind,sqsh,noexec",
        ),
        ("./one.sqsh:/data:squashfs:ro,x-create=dir", "two.sqsh:/mnt/x:squashfs:x-create=auto"),
    ] {
        for options in [&["start"][..], &["start", "-w"], &["start", "-r", "--pid", "--ipc"]] {
            let words = [options, &["-m", one, "-m", two], &image].concat();
            let mounts = if options.contains(&"-r") { "2" } else { "3" };
            let got = place.ok(&words);
            let got = got.replace(&format!("\n{mounts}\n"), "\n");
            assert!(got.starts_with("onetwo3145728\nno\n"), "{words:?}: {got}");
        }
    }
    nothing_is_left(&place);
}

#[test]
fn options_of_a_mount_hold() {
    let place = place();
    let run = |options: &str, script: &str| {
        let line = format!("./one.sqsh /data {options}");
        place.run(&["start", "-m", &line, "./image.sqsh", "sh", "-c", script])
    };
    let said = run("sqsh,x-create=dir,noexec", "/data/bin/busybox true").fails(126);
    assert!(said.contains("Permission denied"), "{said}");
    run("sqsh,x-create=dir", "/data/bin/busybox true").ok();
    // One below another one, and later ones above.
    let two = "./two.sqsh /data/a sqsh";
    let words = ["start", "-m", "./one.sqsh /data sqsh,x-create=dir", "-m", two, "./image.sqsh"];
    assert_eq!(place.ok(&[&words[..], &["cat", "/data/a/a/b c/file"]].concat()), "two");
    for (options, word) in
        [("sqsh,x-create=dir,subdir=a", "without such an option"), ("sqsh,remount", "at once")]
    {
        let said = run(options, "echo ran").fails(1);
        assert!(said.contains(word), "{said}");
    }
    nothing_is_left(&place);
}

#[test]
fn a_file_that_is_none_is_named() {
    let place = place();
    let work = |name: &str| place.path("work").join(name);
    fs::write(work("text.sqsh"), "text").unwrap();
    let whole = fs::read(work("one.sqsh")).unwrap();
    fs::write(work("cut.sqsh"), &whole[..whole.len() / 2]).unwrap();
    let mut broken = whole.clone();
    // The table of inodes.
    let at = u64::from_le_bytes(whole[64..72].try_into().unwrap()) as usize;
    broken[at..].fill(0xa5);
    fs::write(work("broken.sqsh"), broken).unwrap();
    fs::create_dir(work("folder")).unwrap();
    for name in ["text.sqsh", "cut.sqsh", "broken.sqsh", "absent.sqsh", "folder"] {
        let line = format!("./{name} /data x-create=auto,rbind,sqsh");
        let said = place.run(&["start", "-m", &line, "./image.sqsh", "echo", "ran"]).fails(1);
        assert!(said.contains(name) && said.trim_end().lines().count() == 1, "{said}");
        let optional = format!("{line},nofail");
        let done = place.run(&["start", "-m", &optional, "./image.sqsh", "echo", "ran"]);
        assert_eq!(done.ok(), "ran\n", "{name}");
    }
    // Nobody is there to serve a line of the image's own.
    place.image("own", |root| {
        fs::write(root.join("etc/fstab"), "/one.sqsh /mnt none sqsh,x-create=dir\n").unwrap();
    });
    let asked = place
        .pyxis(["start", "./own.sqsh", "echo", "ran"])
        .env("PYXIS_IMAGE_MOUNTS", "y")
        .output()
        .unwrap();
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(said.contains("mounted by --container-mounts and --mount alone"), "{said}");
    nothing_is_left(&place);
}

/// The end of a server is an error for who reads, and nothing else.
#[test]
fn nothing_hangs_and_nothing_stays_when_somebody_is_killed() {
    let place = place();
    let line = "./one.sqsh /data x-create=auto,rbind,sqsh";
    let script = "echo ready; read x; cat /data/large > /dev/null || echo failed; read x";
    let started = place.background(&["start", "-m", line, "./image.sqsh", "sh", "-c", script]);
    let servers: Vec<i32> = processes(&place)
        .into_iter()
        .filter(|(_, name)| name == "pyxis-image")
        .map(|(pid, _)| pid)
        .collect();
    assert_eq!(servers.len(), 2);
    let mounted: Vec<PathBuf> = servers
        .iter()
        .map(|pid| PathBuf::from(format!("/proc/{pid}/fd")))
        .filter(|fds| {
            let files = fs::read_dir(fds).unwrap().flatten();
            files.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to.ends_with("one.sqsh"))
        })
        .collect();
    assert_eq!(mounted.len(), 1, "each has its own file alone");
    let server = mounted[0].parent().unwrap().file_name().unwrap().to_str().unwrap();
    kill(Pid::from_raw(server.parse().unwrap()), Signal::SIGKILL).unwrap();
    drop(started);
    nothing_is_left(&place);

    // The program, by force.
    let started = place.background(&["start", "-m", line, "./image.sqsh", "sh", "-c", script]);
    let (program, _) = processes(&place).into_iter().find(|(_, name)| name == "sh").unwrap();
    kill(Pid::from_raw(program), Signal::SIGKILL).unwrap();
    nothing_is_left(&place);
    drop(started);
}

//! Containers that are started again, or entered, after what runs in them has turned against the one who starts them.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{Background, Place};

/// What a directory has, sorted.
fn contents(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut found: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    found
}

#[test]
fn links_that_a_program_has_left_lead_nowhere_at_the_next_start() {
    let place = Place::new();
    let home = place.path("home");
    fs::write(home.join("bashrc"), "mine\n").unwrap();
    place.give(&home);
    place.image("image", |_| {});
    let home_text = home.display();
    // By a descriptor that a start may have, by what is above the root, and by an absolute name.
    let mut ways = vec![format!("../../../../../../../..{home_text}"), home_text.to_string()];
    ways.extend((3..=9).map(|fd| format!("/proc/self/fd/{fd}/host{home_text}")));
    ways.extend((3..=9).map(|fd| format!("/proc/self/fd/{fd}{home_text}")));
    for way in ways {
        place.ok(&["create", "-f", "-n", "c", "image.sqsh"]);
        let script = format!(
            "cd /etc; rm passwd group environment; rm -f localtime hosts fstab; \
             ln -s {way}/bashrc passwd; ln -s {way}/bashrc group; ln -s {way}/zone localtime; \
             ln -s {way}/new hosts; ln -s {way} /mnt; rmdir /root /var; \
             ln -s {way} /root; ln -s {way} /var; \
             echo 'HOME={way}/.ssh' > environment; echo '/bin {way}/below none x-create=dir,bind' > fstab"
        );
        place.ok(&["start", "-w", "-r", "c", "sh", "-c", &script]);
        for options in [&[][..], &["-w", "-r"]] {
            // Whether it starts is its own affair; where it does not, it says so.
            let done = place.run(&[&["start"], options, &["c", "/bin/true"]].concat());
            assert!(done.0.status.success() || !done.0.stderr.is_empty(), "{way} {options:?}");
        }
        for line in [
            "/bin /mnt/below none x-create=dir,bind",
            "/bin/busybox /var/f none x-create=file,bind",
        ] {
            place.run(&["start", "-m", line, "c", "/bin/true"]);
        }
        assert_eq!(contents(&home), ["bashrc"], "{way}");
        assert_eq!(fs::read_to_string(home.join("bashrc")).unwrap(), "mine\n", "{way}");
    }
}

/// A container whose program looks, for as long as it runs, at every process of ours for a way to the host's files.
struct Watched {
    place: Place,
    program: Background,
    pid: String,
}

impl Watched {
    fn new(options: &[&str]) -> Watched {
        let place = Place::new();
        place.image("image", |_| {});
        place.ok(&["create", "-n", "c", "image.sqsh"]);
        std::os::unix::fs::symlink("/usr/bin/strace", place.path("strace")).unwrap();
        let shared = format!("{} /shared none x-create=dir,bind", place.path("work").display());
        let host = place.path("pyxis").display().to_string();
        let script = format!(
            "cd /shared; echo $$ > pid; echo ready; while test ! -e stop; do for p in /nodes/[0-9]*; do \
             read -r name < $p/comm || continue; case $name in pyxis*) echo $name >> seen; \
             test ! -e $p/root{host} || echo $name >> open;; esac; done; done 2> /dev/null; cat > /dev/null"
        );
        let mounts = ["-m", "/proc /nodes none x-create=dir,rbind", "-m", &shared];
        let program = place.background(
            &[&["start", "-r"], options, &mounts, &["c", "sh", "-c", &script]].concat(),
        );
        let pid = place.read("work/pid").trim().to_owned();
        Watched { place, program, pid }
    }

    /// Runs the command with each of its steps between namespaces held open for as long as the program needs to look
    /// at all processes several times.
    fn slowly(&self, arguments: &[&str]) {
        let _ = fs::remove_file(self.place.path("work/seen"));
        let calls = "setns,unshare,chroot,pivot_root,fchdir,clone,clone3,fork,vfork";
        let inject = "inject=setns,unshare,chroot,pivot_root,fchdir:delay_exit=250000";
        let pyxis = self.place.path("pyxis").display().to_string();
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", calls, "-e", inject, &pyxis];
        let done = self
            .place
            .command("strace", [&strace[..], arguments].concat())
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        assert_eq!(String::from_utf8_lossy(&done.stdout), "entered\n");
        let seen = self.place.read("work/seen");
        assert!(
            seen.lines().any(|name| name == "pyxis"),
            "the program has seen no process: {seen}"
        );
        let open = fs::read_to_string(self.place.path("work/open")).unwrap_or_default();
        assert_eq!(open, "", "{arguments:?}: of these the host's files could be reached");
    }

    fn finish(self) {
        fs::write(self.place.path("work/stop"), "").unwrap();
        assert!(self.program.finish());
    }
}

#[test]
fn a_further_start_cannot_be_followed_to_the_host() {
    let each: [(&[&str], &[&[&str]]); 2] = [(&[], &[&[], &["-r"]]), (&["-w"], &[&["-w", "-r"]])];
    for (options, further) in each {
        let watched = Watched::new(options);
        for further in further {
            watched.slowly(&[&["start"], *further, &["c", "echo", "entered"]].concat());
        }
        watched.finish();
    }
}

#[test]
fn who_enters_a_container_cannot_be_followed_to_the_host() {
    let watched = Watched::new(&[]);
    watched.slowly(&["exec", &watched.pid, "echo", "entered"]);
    watched.finish();
}

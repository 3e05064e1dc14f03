//! What a further start of a container that runs mounts, while a program in there moves the places: it lands, with all that was
//! asked for, where the start has put it, or nowhere.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Background, Place};

/// The program of `tests/attacks` by which a start waits in between.
fn between(place: &Place) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/attacks/between.c");
    let made = place.path("between.so");
    let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&made).arg(source).output();
    let done = done.expect("no C compiler");
    assert!(done.status.success(), "{done:?}");
    made
}

/// A container with a program that moves what is at `/NAME` away whenever a start waits for it, and puts a link there that
/// leads to another mount.
struct Moved {
    place: Place,
    program: Background,
    preloaded: PathBuf,
}

impl Moved {
    fn new() -> Moved {
        let place = Place::new();
        place.image("image", |root| {
            std::os::unix::fs::symlink("busybox", root.join("bin/mv")).unwrap();
        });
        place.ok(&["create", "-n", "c", "image.sqsh"]);
        let preloaded = between(&place);
        let shared = format!("{} /shared none x-create=dir,bind", place.path("work").display());
        let script = "cd /shared; echo ready; while test ! -e stop; do \
            if test -e open && test ! -e closed; then read -r name to < asked; \
            mv /$name /away-$name; ln -s $to /$name; : > closed; fi; sleep 0.01; done 2> /dev/null; cat > /dev/null";
        let program = place.background(&["start", "-w", "-m", &shared, "c", "sh", "-c", script]);
        Moved { place, program, preloaded }
    }

    /// One start for each moment in which the program can act, until there are no more; how many there were.
    fn at_every_moment(&self, kind: &str, to: &str, lines: &[&str]) -> u32 {
        let place = &self.place;
        for at in 0.. {
            let name = format!("{kind}{at}");
            for file in ["open", "closed"] {
                let _ = fs::remove_file(place.path("work").join(file));
            }
            fs::write(place.path("work/asked"), format!("{name} {to}\n")).unwrap();
            let precious = place.path("home").join(&name);
            let file = if kind.starts_with("file") { precious.clone() } else { precious.join("f") };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "mine\n").unwrap();
            place.give(&precious);
            let lines: Vec<String> = lines
                .iter()
                .map(|line| {
                    line.replace("SOURCE", precious.to_str().unwrap()).replace("NAME", &name)
                })
                .collect();
            let mut arguments = vec!["start".to_owned()];
            arguments.extend(lines.into_iter().flat_map(|line| ["-m".to_owned(), line]));
            let write = format!(
                "for to in /{name} /{name}/f /away-{name} /away-{name}/f; do echo theirs > $to; done 2> /dev/null; true"
            );
            arguments.extend(["c", "sh", "-c", &write].map(str::to_owned));
            let mut start = place.pyxis(&arguments);
            start.env("LD_PRELOAD", &self.preloaded).env("BETWEEN", place.path("work"));
            let done = start.env("AT", at.to_string()).env("NAME", &name).output().unwrap();
            // Whether it starts is its own affair; where it does not, it says so.
            assert!(done.status.success() || !done.stderr.is_empty(), "{kind} {at}: {done:?}");
            let now = fs::read_to_string(&file).unwrap();
            assert_eq!(now, "mine\n", "{kind}: written to at moment {at}; {done:?}");
            if !place.path("work/open").exists() {
                assert!(done.status.success(), "nobody was in its way: {done:?}");
                return at;
            }
            assert!(place.path("work/closed").exists(), "{kind} {at}: the program did not act");
        }
        unreachable!("there is an end of moments")
    }

    fn finish(self) {
        fs::write(self.place.path("work/stop"), "").unwrap();
        assert!(self.program.finish());
    }
}

#[test]
fn read_only_stays_with_the_mount_wherever_a_program_moves_it() {
    let moved = Moved::new();
    for (kind, to, lines) in [
        ("bound", "/tmp", &["SOURCE /NAME none x-create=dir,bind,ro,nosuid"][..]),
        ("below", "/tmp", &["SOURCE /NAME none x-create=dir,rbind,ro,rslave"]),
        ("file", "/etc/hostname", &["SOURCE /NAME none x-create=file,bind,ro"]),
        ("again", "/tmp", &["SOURCE /NAME none x-create=dir,bind", "none /NAME none remount,ro"]),
    ] {
        let moments = moved.at_every_moment(kind, to, lines);
        assert!(moments > 2, "{kind}: {moments} moments");
    }
    moved.finish();
}

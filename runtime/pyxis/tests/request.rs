//! What the plugin asks for, in a descriptor: it is done, and nobody else on the node reads it.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Place;
use common::asked::{plain, sockets};
use handover::MISMATCH;
use handover::request::{Joining, Mount, Request, Start, Target};
use handover::{Handover, Part, ending};

fn name(text: &str) -> Start<'_> {
    plain(Target::Name(OsStr::new(text)))
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: nothing for 60 s");
        sleep(Duration::from_millis(10));
    }
}

/// The arguments of all processes of the place's user.
fn arguments(place: &Place) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        use std::os::unix::fs::MetadataExt;
        let Ok(bytes) = fs::read(entry.path().join("cmdline")) else { continue };
        if entry.metadata().is_ok_and(|data| data.uid() == place.uid) {
            all.push(String::from_utf8_lossy(&bytes).replace('\0', " "));
        }
    }
    all
}

#[test]
fn a_start_does_what_it_is_asked_for_and_nobody_reads_it() {
    let place = Place::new();
    place.image("secret", |root| {
        let entry =
            "echo > /m\\ nt/begun\nwhile [ ! -e /m\\ nt/go ]; do sleep 0.02; done\nexec \"$@\"\n";
        fs::write(root.join("etc/rc"), entry).unwrap();
    });
    let shared = place.path("work/secret dir");
    fs::create_dir(&shared).unwrap();
    place.give(&shared);
    let image = place.path("work/secret.sqsh");
    let options = OsStr::new("x-create=auto,rbind");
    let (ours, theirs) = sockets();
    let request = Request::Start(Start {
        target: Target::File { path: image.as_os_str(), label: OsStr::new("secret_label") },
        joining: Joining::Never,
        entrypoint: true,
        mounts: vec![Mount { source: shared.as_os_str(), target: OsStr::new("/m nt"), options }],
        env: vec![OsStr::new("SECRET")],
    });
    let mut starting = place.asked(&request, &[&theirs, &theirs]);
    let mut starting = starting.env("SECRET", "value").spawn().unwrap();
    drop(theirs);
    wait_for("the entrypoint", || shared.join("begun").exists());
    let seen = arguments(&place);
    assert!(seen.iter().any(|words| words.contains("pyxis start --request=")), "{seen:?}");
    let told = seen.iter().find(|words| words.contains("secret") || words.contains("SECRET"));
    assert_eq!(told, None, "of {seen:?}");
    fs::write(shared.join("go"), "").unwrap();
    assert!(starting.wait().unwrap().success());
    let container = Handover::dequeue(ours.as_fd()).unwrap().unwrap();
    let environ = container.get(Part::Environ).unwrap();
    let environ = fs::read_to_string(format!("/proc/self/fd/{}", environ.as_raw_fd())).unwrap();
    assert!(
        environ.contains("SECRET=value\0") && environ.contains("FROM_IMAGE=yes\0"),
        "{environ}"
    );
}

#[test]
fn of_a_container_that_exists_each_way_to_join_is_one() {
    let place = Place::new();
    place.image("image", |_| {});
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    // In the working directory: what a name says is not asked of files.
    fs::copy(place.path("work/image.sqsh"), place.path("work/absent")).unwrap();
    let ended = |target, joining| {
        let (output, container) = place.started(Start { joining, ..name(target) }, &[]);
        (output.status.code().unwrap(), container.is_some())
    };
    assert_eq!(ended("absent", Joining::Never), (ending::ABSENT.into(), false));
    assert_eq!(ended("c", Joining::OnlyRunning), (ending::NOT_RUNNING.into(), false));
    assert_eq!(ended("c", Joining::IfRunning), (0, true));
    let wait = ["start", "c", "sh", "-c", "echo ready; cat > /dev/null"];
    let running = place.background(&wait);
    assert_eq!(ended("c", Joining::IfRunning), (ending::JOINED.into(), true));
    assert_eq!(ended("c", Joining::OnlyRunning), (ending::JOINED.into(), true));
    assert!(running.finish());
}

/// What `verb` says of a request of these bytes.
fn refused(place: &Place, verb: &str, bytes: &[u8]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    refused_of(place, verb, file.into())
}

fn refused_of(place: &Place, verb: &str, request: OwnedFd) -> String {
    let (_ours, theirs) = sockets();
    let with = [&theirs, &theirs];
    let with = if verb == "start" { &with[..] } else { &[] };
    let output = place.given(verb, request, with).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn bytes_of(request: &Request<'_>) -> Vec<u8> {
    let file = request.file().unwrap();
    fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

/// One of each.
fn all() -> Vec<Request<'static>> {
    let text = OsStr::new;
    let (uri, file, container) = (text("docker://127.0.0.1:1#x"), text("./f"), text("c"));
    vec![
        Request::Start(name("c")),
        Request::Pull { uri, digest: None },
        Request::Digest { uri },
        Request::Import { uri, file },
        Request::Load { uri, name: container },
        Request::Create { file, name: container },
        Request::Export { name: container, to: file },
        Request::MayPush { uri },
        Request::Remove { name: container },
        Request::List,
        Request::Processes,
        Request::Discard { file },
    ]
}

#[test]
fn what_is_asked_for_is_what_arguments_do() {
    let place = Place::new();
    place.image("image", |_| {});
    let text = OsStr::new;
    let asked = |request: Request<'_>| {
        let output = place.asked(&request, &[]).output().unwrap();
        assert!(output.status.success(), "{request:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    asked(Request::Create { file: text("image.sqsh"), name: text("c") });
    assert_eq!(place.ok(&["list"]), "c\n");
    assert_eq!(asked(Request::List), "c\n");
    let running = place.background(&["start", "c", "sh", "-c", "echo ready; cat > /dev/null"]);
    assert_eq!(
        asked(Request::Processes).lines().count(),
        place.ok(&["list", "-f"]).lines().count()
    );
    assert!(asked(Request::Processes).contains("c ") && running.finish());
    // It replaces what is there, and so it is asked again.
    fs::write(place.path("work/old.sqsh"), "").unwrap();
    place.give(&place.path("work/old.sqsh"));
    asked(Request::Export { name: text("c"), to: text("old.sqsh") });
    assert_eq!(place.ok(&["start", "./old.sqsh", "echo", "saved"]), "saved\n");
    for _ in 0..2 {
        asked(Request::Discard { file: text("old.sqsh") });
        assert!(!place.path("work/old.sqsh").exists());
    }
    asked(Request::Remove { name: text("c") });
    assert_eq!(asked(Request::List), "");
    let error = |request: Request<'_>| {
        let output = place.asked(&request, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{request:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let uri = text("docker://127.0.0.1:1#x");
    for request in all().into_iter().skip(1) {
        match request {
            Request::List | Request::Processes | Request::Discard { .. } => {}
            request => assert!(error(request).contains("pyxis: ")),
        }
    }
    let unreachable = place.run(&["import", "-o", "./f", "docker://127.0.0.1:1#x"]).fails(1);
    assert_eq!(error(Request::Import { uri, file: text("./f") }), unreachable);
    let absent = place.run(&["remove", "-f", "c"]).fails(1);
    assert_eq!(error(Request::Remove { name: text("c") }), absent);
    let directory = error(Request::Discard { file: text("/") });
    assert!(directory.contains("cannot remove /"), "{directory}");
}

/// What a failed start says is srun's one line of error.
#[test]
fn where_the_time_went_is_not_among_the_reasons() {
    let place = Place::new();
    let (ours, theirs) = sockets();
    let request = Request::Start(name("absent"));
    let done =
        place.asked(&request, &[&theirs, &theirs]).env("PYXIS_TIMING", "1").output().unwrap();
    drop(ours);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(
        (done.status.code(), said.lines().count()),
        (Some(ending::ABSENT.into()), 1),
        "{said}"
    );
    assert!(said.contains("absent") && !said.contains("timing"), "{said}");
}

#[test]
fn a_plugin_of_another_version_is_said_to_be_one() {
    let place = Place::new();
    let now = bytes_of(&Request::Start(name("c")));
    for version in ["0", "1", "3", "17"] {
        let end = now.iter().position(|byte| *byte == b'\n').unwrap();
        let other = [b"pyxis-request-", version.as_bytes(), &now[end..]].concat();
        for verb in all().iter().map(Request::verb) {
            assert_eq!(refused(&place, verb, &other), format!("pyxis: {MISMATCH}\n"), "{version}");
        }
    }
    // Those that had all in arguments, or some.
    for words in [
        &["start", "--handover=3", "--lease=4", "--", "c"][..],
        &["start", "--handover=3", "--lease=4", "--request=5", "--lender=6"],
        &["pull", "--broker=3", "--request=4"],
    ] {
        assert_eq!(place.run(words).fails(1), format!("pyxis: {MISMATCH}\n"), "{words:?}");
    }
}

#[test]
fn what_is_no_request_is_refused_and_not_waited_for() {
    let place = Place::new();
    let whole = bytes_of(&Request::Start(name("c")));
    let damaged = "pyxis: the plugin's request is damaged\n";
    assert_eq!(refused(&place, "start", &whole[..whole.len() - 1]), damaged);
    for request in all() {
        let verb = request.verb();
        let bytes = bytes_of(&request);
        assert_eq!(refused(&place, verb, &bytes[..bytes.len() - 1]), damaged, "{request:?}");
        assert_eq!(refused(&place, verb, &[&bytes[..], b"\0"].concat()), damaged, "{request:?}");
        let other = if verb == "remove" { "export" } else { "remove" };
        let words = refused(&place, other, &bytes);
        assert_eq!(words, "pyxis: the plugin's request is for another verb\n");
        // Too few descriptors, or too many.
        let (_ours, theirs) = sockets();
        let count = if verb == "start" { 1 } else { 2 };
        let with = vec![&theirs; count];
        let output = place.asked(&request, &with).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let words = String::from_utf8(output.stderr).unwrap();
        let expected = "pyxis: the plugin's request comes with other descriptors than it has to\n";
        assert_eq!(words, expected, "{request:?}");
    }
    let endless = File::open("/dev/zero").unwrap();
    let words = refused_of(&place, "start", endless.into());
    assert_eq!(words, "pyxis: the plugin's request is too long\n");
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let words = refused_of(&place, "pull", reader);
    assert!(words.contains("Illegal seek"), "{words}");
    let words = place.run(&["pull", "--request=99"]).fails(1);
    assert!(words.starts_with("pyxis: descriptor 99 is not usable"), "{words}");
}

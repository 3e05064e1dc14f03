//! What the plugin asks for, in a descriptor: it is done, and nobody else on the node reads it.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Place;
use handover::MISMATCH;
use handover::request::{Joining, Mount, Request, Start, Target};
use handover::{Handover, Part, ending};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

fn passed_on<T: AsFd>(fd: T) -> T {
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fd
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    (ours, passed_on(theirs))
}

/// `pyxis start` as the plugin calls it.
fn start(place: &Place, socket: &OwnedFd, request: &OwnedFd) -> Command {
    let (socket, request) = (socket.as_raw_fd(), request.as_raw_fd());
    place.pyxis(["start", &format!("--handover={socket}"), &format!("--request={request}")])
}

fn name(text: &str) -> Start<'_> {
    Start {
        target: Target::Name(OsStr::new(text)),
        joining: Joining::Never,
        entrypoint: false,
        mounts: vec![],
        env: vec![],
    }
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
    let request = passed_on(request.file().unwrap());
    let mut starting = start(&place, &theirs, &request).env("SECRET", "value").spawn().unwrap();
    drop((theirs, request));
    wait_for("the entrypoint", || shared.join("begun").exists());
    let seen = arguments(&place);
    assert!(seen.iter().any(|words| words.contains("pyxis start --handover=")), "{seen:?}");
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
        let (ours, theirs) = sockets();
        let request = Request::Start(Start { joining, ..name(target) });
        let request = passed_on(request.file().unwrap());
        let code = start(&place, &theirs, &request).stderr(Stdio::null()).status().unwrap().code();
        drop(theirs);
        (code.unwrap(), Handover::dequeue(ours.as_fd()).unwrap().is_some())
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
    refused_of(place, verb, &passed_on(file).into())
}

fn refused_of(place: &Place, verb: &str, request: &OwnedFd) -> String {
    let (_ours, theirs) = sockets();
    let mut command = match verb {
        "start" => start(place, &theirs, request),
        verb => place.pyxis([verb.to_owned(), format!("--request={}", request.as_raw_fd())]),
    };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn bytes_of(request: &Request<'_>) -> Vec<u8> {
    let file = request.file().unwrap();
    fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

#[test]
fn a_plugin_of_another_version_is_said_to_be_one() {
    let place = Place::new();
    let now = bytes_of(&Request::Start(name("c")));
    for version in ["0", "2", "17"] {
        let end = now.iter().position(|byte| *byte == b'\n').unwrap();
        let other = [b"pyxis-request-", version.as_bytes(), &now[end..]].concat();
        for verb in ["start", "pull", "digest"] {
            assert_eq!(refused(&place, verb, &other), format!("pyxis: {MISMATCH}\n"), "{version}");
        }
    }
    // One that has all in arguments.
    let (_ours, theirs) = sockets();
    let fd = theirs.as_raw_fd();
    let options = [format!("--handover={fd}"), format!("--lease={fd}")];
    let start = ["start", &options[0], &options[1], "--", "c"];
    assert_eq!(place.run(&start).fails(1), format!("pyxis: {MISMATCH}\n"));
}

#[test]
fn what_is_no_request_is_refused_and_not_waited_for() {
    let place = Place::new();
    let whole = bytes_of(&Request::Start(name("c")));
    let damaged = "pyxis: the plugin's request is damaged\n";
    assert_eq!(refused(&place, "start", &whole[..whole.len() - 1]), damaged);
    for (verb, of) in [
        ("start", Request::Digest { uri: OsStr::new("docker://x") }),
        ("pull", Request::Start(name("c"))),
        ("digest", Request::Pull { uri: OsStr::new("docker://x"), digest: None }),
    ] {
        let words = refused(&place, verb, &bytes_of(&of));
        assert_eq!(words, "pyxis: the plugin's request is for another verb\n");
    }
    let endless = File::open("/dev/zero").unwrap();
    let words = refused_of(&place, "start", &passed_on(endless).into());
    assert_eq!(words, "pyxis: the plugin's request is too long\n");
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let words = refused_of(&place, "pull", &passed_on(reader));
    assert!(words.contains("Illegal seek"), "{words}");
    let words = place.run(&["pull", "--request=99"]).fails(1);
    assert!(words.starts_with("pyxis: descriptor 99 is not usable"), "{words}");
}

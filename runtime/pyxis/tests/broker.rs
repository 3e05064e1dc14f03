//! `pyxis broker`, which works for anybody: whatever it is asked for, it takes no more than that is
//! worth, and nobody waits for it without an end.

mod fixtures;
mod hoard;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixtures::{Image, Layer, Place, hex, noise, text};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair,
};

/// A registry on a loopback port that gives images by digest, and what is slow of them in drops.
struct Server {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Default)]
struct Content {
    documents: HashMap<String, Vec<u8>>,
    /// Paths with this in them come one byte at a time.
    slow: Option<(String, Duration)>,
    /// No length is stated.
    chunked: bool,
}

impl Content {
    fn of(images: &[&Image]) -> Content {
        let mut content = Content::default();
        for image in images {
            content.documents.insert(hex(&image.manifest), image.manifest.clone());
            content.documents.extend(image.blobs.clone());
        }
        content
    }
}

impl Server {
    fn start(content: Content) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (content, asked) = (Arc::new(content), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&asked);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, log) = (Arc::clone(&content), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &content, &log));
            }
        });
        Server { host, asked }
    }

    fn uri(&self, image: &Image) -> String {
        format!("docker://{}/a@{}", self.host, image.digest())
    }
}

fn serve(stream: TcpStream, content: &Content, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let path = line.split_whitespace().nth(1)?.to_owned();
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).ok()?;
        }
        log.lock().unwrap().push(path.clone());
        let digest = path.rsplit_once("sha256:").map_or("", |(_, digest)| digest);
        let Some(body) = content.documents.get(digest) else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        };
        let blob = path.contains("/blobs/");
        if content.chunked && blob {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            write!(stream, "{head}{:x}\r\n", body.len()).ok()?;
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
        }
        match &content.slow {
            Some((what, pause)) if path.contains(what) => {
                for byte in body {
                    stream.write_all(&[*byte]).ok()?;
                    std::thread::sleep(*pause);
                }
            }
            _ => stream.write_all(body).ok()?,
        }
        if content.chunked && blob {
            stream.write_all(b"\r\n0\r\n\r\n").ok()?;
        }
    }
}

/// A broker that was asked for something.
struct Broker {
    child: Child,
    socket: OwnedFd,
}

/// What it said last, and what it took.
struct Outcome {
    said: String,
    memory: u64,
    processor: Duration,
}

impl Broker {
    fn ask(place: &Place, uri: &str) -> Broker {
        let broker = Broker::start(place);
        broker.send(uri);
        broker
    }

    fn send(&self, uri: &str) {
        send(self.socket.as_raw_fd(), uri.as_bytes(), MsgFlags::empty()).unwrap();
    }

    fn ask_bringing(place: &Place, uri: &str, files: &[fs::File]) -> Broker {
        let broker = Broker::start(place);
        let descriptors: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let text = [std::io::IoSlice::new(uri.as_bytes())];
        let socket = broker.socket.as_raw_fd();
        sendmsg::<()>(socket, &text, &rights, MsgFlags::empty(), None).unwrap();
        broker
    }

    fn start(place: &Place) -> Broker {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .unwrap();
        // As the plugin has it.
        nix::sys::socket::setsockopt(&theirs, nix::sys::socket::sockopt::PassCred, &true).unwrap();
        let mut command = place.command(&["broker"]);
        command.env("HOME", place.path("store")).stdout(Stdio::null()).stderr(Stdio::null());
        let fd = theirs.as_raw_fd();
        // SAFETY: dup2 between fork and exec touches no memory.
        unsafe {
            command.pre_exec(move || match libc::dup2(fd, 3) {
                3 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().unwrap();
        Broker { child, socket: ours }
    }

    fn wait(self) -> Outcome {
        let mut said = String::new();
        let mut message = [0; 8192];
        loop {
            match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(0) | Err(nix::errno::Errno::ECONNRESET) => break,
                Ok(count) => said = text(&message[..count]),
                Err(errno) => panic!("{errno}"),
            }
            if said == "done" || said.starts_with("failed: ") {
                break;
            }
        }
        // SAFETY: the numbers are plain data, for which zero is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        let mut status = 0;
        // SAFETY: both places outlive the call; the child is ours and was not waited for.
        unsafe { libc::wait4(self.child.id() as i32, &mut status, 0, &mut usage) };
        let time = |time: libc::timeval| {
            Duration::from_micros(
                time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs(),
            )
        };
        let memory = usage.ru_maxrss.unsigned_abs() * 1024;
        Outcome { said, memory, processor: time(usage.ru_utime) + time(usage.ru_stime) }
    }
}

fn public_store() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("store")).unwrap();
    place
}

/// A certificate that the account can read is shown at nobody's request.
#[test]
fn no_registry_is_shown_a_certificate_of_the_accounts() {
    let mut place = public_store();
    place.set("ENROOT_ALLOW_HTTP", "no");
    let made = place.path("made");
    let registry = fixtures::Registry::for_certificates(&made);
    let image = Image::new(&[Layer::new().file("f", "x").gzip()]);
    registry.push(&image, "a:1");
    registry.give_certificates(&made, &place.path("store"));
    let uri = format!("docker://{}/a@{}", registry.host, image.digest());
    let outcome = Broker::ask(&place, &uri).wait();
    assert!(outcome.said.starts_with("failed: "), "{}", outcome.said);
}

/// What users bring is taken if the manifest, which the registry gives, names it by its digest.
#[test]
fn what_is_brought_is_taken_by_its_digest_alone() {
    let place = public_store();
    let layers = [1, 2].map(|seed| Layer::new().file("f", &hex(&noise(seed, 4096))).gzip());
    let image = Image::new(&layers);
    let server = Server::start(Content::of(&[&image]));
    let (right, wrong) = (place.path("right"), place.path("wrong"));
    fs::write(&right, &layers[0]).unwrap();
    // As long as the second layer, and for some bytes the same.
    let mut content = layers[1].clone();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&wrong, content).unwrap();
    let pipe = nix::unistd::pipe().unwrap();
    let open = |path: &std::path::Path| fs::File::open(path).unwrap();
    let files = [
        fs::File::from(pipe.0),
        open("/".as_ref()),
        open("/dev/zero".as_ref()),
        fs::OpenOptions::new().write(true).open(&right).unwrap(),
        open(&wrong),
        open(&right),
        open(&right),
    ];
    let outcome = Broker::ask_bringing(&place, &server.uri(&image), &files).wait();
    assert_eq!(outcome.said, "done");
    let asked = server.asked.lock().unwrap();
    let times = |content: &[u8]| {
        let digest = images::digest::Digest::of(content).hex().to_owned();
        let kept = fs::read(place.path("store").join("blobs").join(&digest)).unwrap();
        assert!(kept == content, "{digest}");
        asked.iter().filter(|path| path.contains(&digest)).count()
    };
    assert_eq!((times(&layers[0]), times(&layers[1])), (0, 1));
    place.assert_clean();
}

#[test]
fn nothing_is_taken_that_the_registry_does_not_give_to_everybody() {
    let place = public_store();
    let layer = Layer::new().file("f", "x").gzip();
    let image = Image::new(std::slice::from_ref(&layer));
    // It is of no image of this registry's.
    let server = Server::start(Content::default());
    let file = place.path("layer");
    fs::write(&file, &layer).unwrap();
    let files = [fs::File::open(&file).unwrap()];
    let outcome = Broker::ask_bringing(&place, &server.uri(&image), &files).wait();
    assert!(outcome.said.starts_with("failed: "), "{}", outcome.said);
    assert_eq!(fs::read_dir(place.path("store/blobs")).unwrap().count(), 0);
    place.assert_clean();
}

const MIB: u64 = 1 << 20;

/// At most 64 MiB and 8 bytes for each byte of the layer.
#[test]
fn no_layer_takes_more_memory_than_its_size_allows() {
    let mut faults = Vec::new();
    for (name, make, count) in hoard::KINDS {
        let layer = hoard::gzip(&make(*count));
        let (place, image) = (public_store(), Image::new(std::slice::from_ref(&layer)));
        let server = Server::start(Content::of(&[&image]));
        let start = Instant::now();
        let outcome = Broker::ask(&place, &server.uri(&image)).wait();
        let size = layer.len() as u64;
        let allowed = 64 * MIB + 8 * size;
        eprintln!(
            "{name}: {size} bytes, {} MiB of {} MiB, {:?} in {:?}: {:.150}",
            outcome.memory / MIB,
            allowed / MIB,
            outcome.processor,
            start.elapsed(),
            outcome.said
        );
        if outcome.memory > allowed {
            faults.push(format!("{name}: {} MiB for {size} bytes", outcome.memory / MIB));
        }
        if outcome.processor > Duration::from_secs(20) {
            faults.push(format!("{name}: {:?} of processor for {size} bytes", outcome.processor));
        }
        place.assert_clean();
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A frame may ask for a window of any size, and fill it.
#[test]
fn a_window_larger_than_allowed_is_not_made() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.long_distance_matching(true).unwrap();
    let tar =
        Layer::new().entry(b"f", images::tarball::Kind::File, 0o644, &vec![1; 200 << 20]).tar();
    encoder.write_all(&tar).unwrap();
    let layer = encoder.finish().unwrap();
    // Else the child would have it, too, until it executes something.
    drop(tar);
    let (place, size) = (public_store(), layer.len() as u64);
    let image = Image::new(&[layer]);
    let server = Server::start(Content::of(&[&image]));
    let outcome = Broker::ask(&place, &server.uri(&image)).wait();
    assert!(outcome.said.starts_with("failed: layer sha256:"), "{}", outcome.said);
    assert!(outcome.memory <= 64 * MIB + 8 * size, "{} MiB", outcome.memory / MIB);
}

/// What a manifest and a configuration make of a few megabytes.
#[test]
fn no_document_takes_more_memory_than_its_size_allows() {
    let many = |one: &str, end: &str| format!("{}{end}", one.repeat((7 << 20) / one.len()));
    let mut labels = String::from(r#"{"Labels": {"#);
    for at in 0..600_000 {
        labels.push_str(&format!("\"{at}\":\"\","));
    }
    labels.push_str(r#""z":""}}"#);
    let configs = [
        ("variables", format!(r#"{{"Env": [{}]}}"#, many(r#""","#, r#""""#))),
        ("labels", labels),
        ("volumes", format!(r#"{{"Volumes": {{"/a": [{}]}}}}"#, many("[],", "[]"))),
        ("quotes", format!(r#"{{"Entrypoint": ["{}"]}}"#, many("'", ""))),
        ("directory", format!(r#"{{"WorkingDir": "{}"}}"#, many("/a", ""))),
    ];
    for (name, config) in configs {
        let layer = Layer::new().file("f", "x").gzip();
        let image = Image::with_config(&[layer], &config);
        let place = public_store();
        let server = Server::start(Content::of(&[&image]));
        let outcome = Broker::ask(&place, &server.uri(&image)).wait();
        let allowed = 64 * MIB + 8 * config.len() as u64;
        let (memory, processor) = (outcome.memory, outcome.processor);
        eprintln!(
            "{name}: {} MiB of {}, {processor:?}: {:.150}",
            memory / MIB,
            allowed / MIB,
            outcome.said
        );
        assert!(memory <= allowed, "{name}: {} MiB", memory / MIB);
    }
}

/// A small layer of large content, in a store that has no room for it.
#[test]
fn the_stores_limit_holds_while_an_image_is_made_and_afterwards() {
    let mut place = public_store();
    place.set("PYXIS_STORE_MAX_BYTES", &(20 * MIB).to_string());
    let layer = small_of_large(100);
    assert!((layer.len() as u64) < MIB);
    let image = Image::new(&[layer]);
    let server = Server::start(Content::of(&[&image]));
    let Broker { mut child, socket } = Broker::ask(&place, &server.uri(&image));
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(written(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(most > MIB, "the image was not seen");
    assert!(most <= 21 * MIB, "{} MiB were written", most / MIB);
    let said = Broker { child, socket }.wait().said;
    assert!(said.starts_with("failed: ") && said.contains("store"), "{said}");
    let left = place.ok(&["images"]);
    assert_eq!(left.lines().count(), 1, "{left}");
    place.assert_clean();

    // One that fits is made.
    let image = Image::new(&[Layer::new().file("f", "x").gzip()]);
    let server = Server::start(Content::of(&[&image]));
    assert_eq!(Broker::ask(&place, &server.uri(&image)).wait().said, "done");
}

/// A layer that unpacks to so many MiB: packed by what looks back further than a block of an image,
/// in which nothing can be packed, and no two files are the same.
fn small_of_large(mib: usize) -> Vec<u8> {
    let content = noise(1, 256 << 10).repeat(4 * mib);
    let tar = Layer::new().entry(b"f", images::tarball::Kind::File, 0o644, &content).tar();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(21).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap()
}

/// The largest file without a name that a process has open.
fn written(pid: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .filter(|data| data.is_file() && data.nlink() == 0)
        .map(|data| data.blocks() * 512)
        .max()
        .unwrap_or(0)
}

/// The sizes that a manifest states are not believed: neither one too small, nor one so large that
/// it would allow anything.
#[test]
fn a_manifest_is_not_believed() {
    let layer = hoard::gzip(&hoard::large_attributes(100));
    let size = layer.len() as u64;
    for stated in [1u64, 1 << 60] {
        let mut image = Image::new(std::slice::from_ref(&layer));
        let manifest = text(&image.manifest);
        let true_size = format!("\"size\": {size}}}");
        assert!(manifest.contains(&true_size));
        let manifest = manifest.replace(&true_size, &format!("\"size\": {stated}}}"));
        image.manifest = manifest.into_bytes();
        let content = Content { chunked: true, ..Content::of(&[&image]) };
        let mut place = public_store();
        // Nor would the store have place for it.
        place.set("PYXIS_STORE_MAX_BYTES", &u64::MAX.to_string());
        let outcome = Broker::ask(&place, &Server::start(content).uri(&image)).wait();
        let said = &outcome.said;
        assert!(said.starts_with("failed: "), "{stated}: {said}");
        assert!(outcome.memory <= 64 * MIB + 8 * size, "{stated}: {} MiB", outcome.memory / MIB);
        place.assert_clean();
    }
}

/// Whoever serves a public image drop by drop keeps nobody from it who has it from elsewhere.
#[test]
fn nobody_waits_for_what_another_has_of_a_slow_registry() {
    let place = public_store();
    let image = Image::new(&[Layer::new().file("f", "x").gzip()]);
    let slow = Content {
        slow: Some((image.layers[0].clone(), Duration::from_secs(15))),
        ..Content::of(&[&image])
    };
    let (slow, good) = (Server::start(slow), Server::start(Content::of(&[&image])));
    let mut attacker = Broker::ask(&place, &slow.uri(&image));
    let start = Instant::now();
    while !slow.asked.lock().unwrap().iter().any(|path| path.contains(&image.layers[0])) {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let victim = Broker::ask(&place, &good.uri(&image));
    let mut late = victim.socket.try_clone().map(fs::File::from).unwrap();
    let mut said = [0; 4096];
    nix::sys::socket::setsockopt(
        &victim.socket,
        nix::sys::socket::sockopt::ReceiveTimeout,
        &nix::sys::time::TimeVal::new(20, 0),
    )
    .unwrap();
    loop {
        let count = late.read(&mut said).expect("the victim waits");
        match text(&said[..count]).as_str() {
            "done" => break,
            said => assert!(said.starts_with("[INFO]"), "{said}"),
        }
    }
    victim.wait();
    attacker.child.kill().unwrap();
    attacker.child.wait().unwrap();
    // Its leavings are the next one's to clean up.
    place.ok(&["gc"]);
    place.assert_clean();
}

/// It ends with who asked, while it writes an image: what there is of it is nobody's.
#[test]
fn it_ends_with_who_asked() {
    let place = public_store();
    let image = Image::new(&[small_of_large(200)]);
    let server = Server::start(Content::of(&[&image]));
    let Broker { mut child, socket } = Broker::ask(&place, &server.uri(&image));
    wait_until("nothing is written", || written(child.id()) > 4 * MIB);
    // So that who asked is gone before the image is complete.
    let send = |signal| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
    };
    send(nix::sys::signal::Signal::SIGSTOP);
    assert!(written(child.id()) < 190 * MIB, "the window is over");
    drop(socket);
    send(nix::sys::signal::Signal::SIGCONT);
    wait_until("the broker stays", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let left = place.ok(&["images"]);
    assert_eq!(left.lines().count(), 1, "{left}");
    place.ok(&["gc"]);
    place.assert_clean();
}

/// Where a site has mksquashfs write images, it ends with them.
#[test]
fn mksquashfs_ends_with_who_asked() {
    let mut place = public_store();
    let script = "#!/bin/sh\ncase \"$*\" in\n-version) echo 'mksquashfs version 4.5.1 (2022/03/17)' ;;\n\
        *) echo $$ >begun.new; mv begun.new begun; exec sleep 1000 ;;\nesac\n";
    fs::create_dir(place.path("bin")).unwrap();
    fs::write(place.path("bin/mksquashfs"), script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path("bin/mksquashfs"), executable).unwrap();
    place.set("PATH", &format!("{}:/usr/bin:/bin", place.path("bin").display()));
    place.set("ENROOT_SQUASH_OPTIONS", "-comp gzip");
    let image = Image::new(&[Layer::new().file("f", "x").gzip()]);
    let server = Server::start(Content::of(&[&image]));
    let Broker { mut child, socket } = Broker::ask(&place, &server.uri(&image));
    wait_until("mksquashfs does not start", || place.path("begun").exists());
    let tool = fs::read_to_string(place.path("begun")).unwrap();
    drop(socket);
    wait_until("the broker stays", || child.try_wait().unwrap().is_some());
    let gone = format!("/proc/{}/stat", tool.trim());
    wait_until("mksquashfs stays", || {
        fs::read_to_string(&gone).map_or(true, |stat| stat.contains(") Z "))
    });
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The limits of who asks are those of who works for them.
#[test]
fn it_has_the_limits_of_who_asks() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let place = public_store();
    let image = Image::new(&[Layer::new().file("f", "x").gzip()]);
    let slow = Content {
        slow: Some((image.layers[0].clone(), Duration::from_secs(15))),
        ..Content::of(&[&image])
    };
    let server = Server::start(slow);
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let broker = Broker::start(&place);
    setrlimit(Resource::RLIMIT_FSIZE, 123 << 20, hard).unwrap();
    broker.send(&server.uri(&image));
    let start = Instant::now();
    let path = format!("/proc/{}/limits", broker.child.id());
    loop {
        let limits = fs::read_to_string(&path).unwrap();
        let of = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].split_whitespace().next().unwrap().to_owned()
        };
        if of("Max file size") == (123u64 << 20).to_string()
            && of("Max cpu time") != "unlimited"
            && of("Max data size") != "unlimited"
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{limits}");
        std::thread::sleep(Duration::from_millis(20));
    }
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    broker.finish_limits();
}

impl Broker {
    /// Ends it.
    fn finish_limits(self) {
        let Broker { mut child, socket } = self;
        drop(socket);
        let _ = child.kill();
        child.wait().unwrap();
    }
}

//! From an image file or a container to an image in a registry.

mod common;
mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use fixtures::{Place, Registry, noise, text};

/// A root file system with all that an image may have, as `image.sqsh`.
fn squash(place: &Place) {
    let root = place.path("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("bin/empty")).unwrap();
    fs::write(root.join("bin/tool"), noise(7, 3_000_000)).unwrap();
    fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("again")).unwrap();
    fs::write(root.join("bin/nothing"), "").unwrap();
    symlink("bin/tool", root.join("link")).unwrap();
    symlink("x".repeat(200), root.join("bin/long link")).unwrap();
    fs::write(root.join("n".repeat(255)), "long").unwrap();
    fs::set_permissions(root.join("bin/empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600))
        .unwrap();
    fs::write(root.join("etc/environment"), "PATH=/bin\nA=b c\n").unwrap();
    fs::write(root.join("etc/rc.local"), "").unwrap();
    let rc = "mkdir -p \"/work\" 2> /dev/null\ncd \"/work\" && unset OLDPWD || exit 1\n\n\
        if [ -s /etc/rc.local ]; then\n    . /etc/rc.local\nfi\n\n\
        if [ $# -gt 0 ]; then\n    exec '/bin/entry' \"$@\"\nelse\n    exec '/bin/entry' 'a' 'b c'\nfi\n";
    fs::write(root.join("etc/rc"), rc).unwrap();
    let made = Command::new("mksquashfs")
        .args([&root, &place.path("image.sqsh")])
        .args(["-all-root", "-noappend", "-quiet", "-no-progress"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
}

/// What is at each path: kind and permissions, time, names it has, and content or target.
fn listing(root: &Path) -> BTreeMap<String, (u32, i64, u64, Vec<u8>)> {
    let mut out = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let stat = path.symlink_metadata().unwrap();
        let below = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let content = if stat.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if stat.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if stat.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let links = if stat.is_dir() { 0 } else { stat.nlink() };
        out.insert(below, (stat.mode(), stat.mtime(), links, content));
    }
    out
}

#[test]
fn what_is_pushed_comes_back() {
    let place = Place::new();
    squash(&place);
    let registry = Registry::start();
    let uri = format!("docker://{}#team/app:1", registry.host);
    let pushed = place.ok(&["push", "./image.sqsh", &uri]);
    place.assert_clean();
    assert!(
        pushed.starts_with(&format!("docker://{}#team/app@sha256:", registry.host)),
        "{pushed}"
    );
    assert_eq!(place.ok(&["digest", &uri]).trim(), pushed.trim().rsplit_once('@').unwrap().1);
    place.ok(&["import", "-o", "back.sqsh", pushed.trim()]);
    let before = listing(&place.unpack("image.sqsh", "before"));
    let mut after = listing(&place.unpack("back.sqsh", "after"));
    // What import writes of the configuration: the same, and where it is from.
    let rc = after.remove("etc/rc").unwrap().3;
    let ours = text(&before["etc/rc"].3);
    assert!(text(&rc).ends_with(&ours), "{}", text(&rc));
    for made in ["etc/environment", "etc/rc.local", "etc/fstab", "etc", "work", ""] {
        after.remove(made);
    }
    for (path, wanted) in &before {
        if let Some(got) = after.remove(path) {
            assert!(got == *wanted, "{path}: {:?} and not {:?}", &got.0, &wanted.0);
        } else {
            assert!(path.is_empty() || path.starts_with("etc"), "{path} is gone");
        }
    }
    assert!(after.is_empty(), "{:?}", after.keys());

    let inspected = Command::new("skopeo")
        .args(["inspect", "--config", "--tls-verify=false"])
        .arg(format!("docker://{}/team/app:1", registry.host))
        .output()
        .unwrap();
    assert!(inspected.status.success(), "{}", text(&inspected.stderr));
    let said: String = text(&inspected.stdout).split_whitespace().collect();
    for word in [
        r#""Env":["PATH=/bin","A=bc"]"#,
        r#""Entrypoint":["/bin/entry"]"#,
        r#""Cmd":["a","bc"]"#,
        r#""WorkingDir":"/work""#,
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn what_the_registry_has_is_not_sent_again() {
    let place = Place::new();
    squash(&place);
    let registry = Registry::start();
    let uri = |name: &str| format!("docker://{}#{name}", registry.host);
    let first = place.ok(&["push", "./image.sqsh", &uri("a:1")]);
    let sent = registry.sent("PATCH");
    assert_eq!(sent, 2);
    let output = place.run(&["push", "./image.sqsh", &uri("a:2")]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), first);
    assert!(text(&output.stderr).matches("already").count() == 2, "{}", text(&output.stderr));
    assert_eq!(registry.sent("PATCH"), sent);
    assert_eq!(place.ok(&["digest", &uri("a:1")]), place.ok(&["digest", &uri("a:2")]));
}

#[test]
fn who_may_push_is_the_registrys_to_say() {
    let mut place = Place::new();
    squash(&place);
    let registry = Registry::private();
    let uri = format!("docker://{}#a:1", registry.host);
    let error = place.fails(&["push", "./image.sqsh", &uri]);
    let hint = format!("it needs credentials: add \"machine {} login USER", registry.host);
    assert!(error.contains("denies access to a") && error.contains(&hint), "{error}");
    let credentials = |password: &str| {
        let line = format!("machine {} login user password {password}\n", registry.host);
        fs::write(place.path("home/credentials"), line).unwrap();
    };
    credentials("wrong");
    let path = place.path("home").display().to_string();
    fs::rename(place.path("home/credentials"), place.path("home/.credentials")).unwrap();
    place.set("ENROOT_CONFIG_PATH", &path);
    let error = place.fails(&["push", "./image.sqsh", &uri]);
    assert!(error.contains("your credentials do not allow it"), "{error}");
    assert_eq!(place.fails(&["push", "--may", &uri]), error);
    let line = format!("machine {} login user password secret\n", registry.host);
    fs::write(place.path("home/.credentials"), line).unwrap();
    assert_eq!(place.ok(&["push", "--may", &uri]), "");
    place.ok(&["push", "./image.sqsh", &uri]);
    place.ok(&["import", "-o", "back.sqsh", &uri]);
}

#[test]
fn what_cannot_be_pushed_is_one_line() {
    let place = Place::new();
    squash(&place);
    fs::write(place.path("text"), "text").unwrap();
    let digest = format!("docker://127.0.0.1:1#a@sha256:{}", "a".repeat(64));
    for (source, uri, word) in [
        ("./absent", "docker://127.0.0.1:1#a", "./absent"),
        ("./text", "docker://127.0.0.1:1#a", "not a squashfs file"),
        ("nothing", "docker://127.0.0.1:1#a", "nothing"),
        ("./image.sqsh", "oci:x", "is pushed to docker://"),
        ("./image.sqsh", &digest, "without a digest"),
        ("./image.sqsh", "docker://127.0.0.1:1#a", "cannot send anything to 127.0.0.1:1"),
    ] {
        let error = place.fails(&["push", source, uri]);
        assert!(error.contains(word), "{error}");
    }
}

/// A registry that keeps what it takes, and takes no more at once than it likes.
struct Picky {
    host: String,
    blobs: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Methods, as they were used.
    log: Arc<Mutex<Vec<String>>>,
}

/// How a picky registry behaves.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Bytes of a piece.
    most: usize,
    /// So many pieces are cut off half-way, without an answer.
    cuts: usize,
    /// Every second one is, and then it has nothing of what it had taken.
    forgets: bool,
    /// What it says to a manifest.
    refusal: Option<&'static str>,
    /// Status, headers, an empty line and a body, in place of its own answer.
    odd: Option<Odd>,
    /// It does not say where to go on.
    mute: bool,
}

/// What is said to a method and a path, and to how many requests of that method before.
type Odd = fn(&str, &str, usize) -> Option<&'static str>;

fn picky(manner: Manner) -> Picky {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let blobs = Arc::default();
    let log = Arc::new(Mutex::new(Vec::new()));
    let picky = Picky { host, blobs: Arc::clone(&blobs), log: Arc::clone(&log) };
    let upload = Arc::new(Mutex::new(Vec::new()));
    let cuts = Arc::new(Mutex::new(manner.cuts));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let blobs = Arc::clone(&blobs);
            let (upload, cuts, log) = (Arc::clone(&upload), Arc::clone(&cuts), Arc::clone(&log));
            std::thread::spawn(move || {
                let _ = converse(stream, manner, &blobs, &upload, &cuts, &log);
            });
        }
    });
    picky
}

#[expect(clippy::too_many_lines, reason = "a protocol, request by request")]
fn converse(
    mut stream: TcpStream,
    manner: Manner,
    blobs: &Mutex<BTreeMap<String, Vec<u8>>>,
    upload: &Mutex<Vec<u8>>,
    cuts: &Mutex<usize>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut length, mut range) = (String::new(), 0, None);
        if input.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            input.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("content-range", value)) => {
                    range = value.split_once('-').map(|(start, _)| start.parse::<usize>().unwrap());
                }
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        let words: Vec<&str> = first.split(' ').collect();
        let mut answer = |status: &str, headers: &str, body: &str| {
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
        };
        // As proxies do: told before it is read, and cut.
        if words[0] == "PATCH" && length > manner.most {
            answer("413 Content Too Large", "connection: close\r\n", "")?;
            // What is not read would make the kernel throw the answer away.
            std::io::copy(&mut (&mut input).take(length as u64), &mut std::io::sink())?;
            return Ok(());
        }
        let mut body = vec![0; length];
        let cut = words[0] == "PATCH" && {
            let mut cuts = cuts.lock().unwrap();
            let cut = if manner.forgets { *cuts % 2 == 1 } else { *cuts > 0 };
            *cuts = cuts.saturating_sub(1);
            cut
        };
        if cut {
            body.truncate(length / 2);
        }
        input.read_exact(&mut body)?;
        let before = {
            let mut log = log.lock().unwrap();
            log.push(words[0].to_owned());
            log.iter().filter(|method| *method == words[0]).count() - 1
        };
        if let Some(odd) = manner.odd.and_then(|odd| odd(words[0], words[1], before)) {
            let (head, body) = odd.split_once("\n\n").unwrap_or((odd, ""));
            let (status, headers) = head.split_once('\n').unwrap_or((head, ""));
            let headers = headers.lines().map(|line| format!("{line}\r\n")).collect::<String>();
            answer(status, &headers, if words[0] == "HEAD" { "" } else { body })?;
            continue;
        }
        let done = |upload: &[u8]| format!("range: 0-{}\r\n", upload.len().saturating_sub(1));
        let place = "location: /v2/a/blobs/uploads/1?state=x\r\n";
        let mut upload = upload.lock().unwrap();
        match (words[0], words[1]) {
            ("HEAD", _) => answer("404 Not Found", "", "")?,
            ("POST", _) => {
                upload.clear();
                answer("202 Accepted", place, "")?;
            }
            ("DELETE", _) => answer("204 No Content", "", "")?,
            ("GET", _) => {
                if manner.forgets {
                    upload.clear();
                }
                answer("204 No Content", &(place.to_owned() + &done(&upload)), "")?;
            }
            ("PATCH", _) => {
                if range.unwrap_or(0) != upload.len() {
                    answer("416 Range Not Satisfiable", &done(&upload), "")?;
                    continue;
                }
                upload.extend(&body);
                if cut {
                    return Ok(());
                }
                let place = if manner.mute { "" } else { place };
                answer("202 Accepted", &(place.to_owned() + &done(&upload)), "")?;
            }
            ("PUT", path) if path.contains("/manifests/") => match manner.refusal {
                Some(words) => answer("403 Forbidden", "", words)?,
                None => answer("201 Created", "", "")?,
            },
            ("PUT", path) => {
                let digest = path.rsplit_once("digest=sha256:").unwrap().1.to_owned();
                upload.extend(&body);
                blobs.lock().unwrap().insert(digest, std::mem::take(&mut *upload));
                answer("201 Created", "", "")?;
            }
            _ => answer("405 Method Not Allowed", "", "")?,
        }
    }
}

#[test]
fn a_registry_that_takes_little_at_once_gets_pieces() {
    let place = Place::new();
    squash(&place);
    for manner in [
        Manner { most: usize::MAX, ..Manner::default() },
        Manner { most: 1 << 20, ..Manner::default() },
        Manner { most: usize::MAX, cuts: 3, ..Manner::default() },
        Manner { most: 200_000, cuts: 2, ..Manner::default() },
        Manner { most: usize::MAX, mute: true, ..Manner::default() },
    ] {
        let registry = picky(manner);
        place.ok(&["push", "./image.sqsh", &format!("docker://{}#a:1", registry.host)]);
        let blobs = registry.blobs.lock().unwrap();
        assert_eq!(blobs.len(), 2);
        for (digest, bytes) in &*blobs {
            assert_eq!(*digest, fixtures::hex(bytes));
        }
        place.assert_clean();
    }
}

/// Who answers a method so the first time.
macro_rules! first {
    ($method:literal, $below:literal, $answer:literal) => {
        Some(|method, path, before| {
            (method == $method && path.contains($below) && before == 0).then_some($answer)
        })
    };
}

/// Who always does, unless the address says that it was led there.
macro_rules! always {
    ($method:literal, $below:literal, $answer:literal) => {
        Some(|method, path, _| {
            (method == $method && path.contains($below) && !path.contains("moved"))
                .then_some($answer)
        })
    };
}

#[test]
fn an_upload_goes_on_whatever_the_registry_says_on_its_way() {
    let place = Place::new();
    squash(&place);
    let odd: [(&str, Option<Odd>); 12] = [
        ("later", first!("PATCH", "", "429 Too Many Requests\nretry-after: 1")),
        ("forgotten", first!("PATCH", "", "404 Not Found")),
        ("forgotten at its end", first!("PUT", "", "404 Not Found")),
        ("does not follow", first!("PATCH", "", "416 Range Not Satisfiable\nrange: 0-0")),
        ("no pieces", always!("PATCH", "", "405 Method Not Allowed")),
        ("no pieces yet", always!("PATCH", "", "501 Not Implemented")),
        ("beginnings are elsewhere", {
            always!("POST", "", "307 Temporary Redirect\nlocation: /v2/a/blobs/uploads/?moved")
        }),
        ("pieces are elsewhere", {
            always!("PATCH", "", "308 Permanent Redirect\nlocation: ?state=moved")
        }),
        ("ends are elsewhere", {
            first!("PUT", "", "307 Temporary Redirect\nlocation: /v2/b/manifests/1")
        }),
        ("manifests are elsewhere", {
            always!("PUT", "manifests", "307 Temporary Redirect\nlocation: /v2/b/manifests/moved")
        }),
        ("nobody may look", always!("HEAD", "", "403 Forbidden")),
        ("nobody can look", always!("HEAD", "", "405 Method Not Allowed")),
    ];
    for (what, odd) in odd {
        let registry = picky(Manner { most: usize::MAX, odd, ..Manner::default() });
        let uri = format!("docker://{}#a:1", registry.host);
        let done = place.run(&["push", "./image.sqsh", &uri]);
        assert!(done.status.success(), "{what}: {}", text(&done.stderr));
        let blobs = registry.blobs.lock().unwrap();
        for (digest, bytes) in &*blobs {
            assert_eq!(*digest, fixtures::hex(bytes), "{what}");
        }
        place.assert_clean();
    }
}

#[test]
fn a_registry_that_will_not_is_not_asked_for_ever() {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "1");
    squash(&place);
    let often = |registry: &Picky, wanted: &str| {
        registry.log.lock().unwrap().iter().filter(|method| *method == wanted).count()
    };
    let odd: [(&str, usize, &str, Option<Odd>); 7] = [
        // The first one asks whether there may be others.
        ("POST", 2, "not to be asked again for 86400 seconds", {
            Some(|method, _, before| {
                let often = "429 Too Many Requests\nretry-after: 86400";
                (method == "POST" && before > 0).then_some(often)
            })
        }),
        ("PATCH", 1, "not to be asked again for 86400 seconds", {
            always!("PATCH", "", "503 Service Unavailable\nretry-after: 86400")
        }),
        ("PUT", 1, "not to be asked again for 86400 seconds", {
            always!("PUT", "", "429 Too Many Requests\nretry-after: 86400")
        }),
        ("PUT", 1, "answered 507", always!("PUT", "uploads", "507 Insufficient Storage")),
        // Tried again once, and all of it not once more.
        ("PATCH", 2, "answered 500", always!("PATCH", "", "500 Internal Server Error")),
        ("PUT", 2, "answered 500", always!("PUT", "uploads", "500 Internal Server Error")),
        ("POST", 1, "sent a web page", {
            always!("POST", "", "200 OK\ncontent-type: text/html\n\n<html>Welcome")
        }),
    ];
    for (method, count, words, odd) in odd {
        let registry = picky(Manner { most: usize::MAX, odd, ..Manner::default() });
        let uri = format!("docker://{}#a:1", registry.host);
        let said = place.fails(&["push", "./image.sqsh", &uri]);
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(often(&registry, method), count, "{words}");
        place.assert_clean();
    }
}

/// Who takes it after sixty pieces all the same is not waited for so long.
#[test]
fn a_registry_that_never_gets_on_is_given_up() {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "1");
    squash(&place);
    let forgets = Manner { most: 200_000, cuts: 60, forgets: true, ..Manner::default() };
    let registry = picky(forgets);
    let error = place.fails(&["push", "./image.sqsh", &format!("docker://{}#a:1", registry.host)]);
    assert!(error.contains("cannot send"), "{error}");
    place.assert_clean();
}

#[test]
fn the_registrys_own_words_are_said() {
    let place = Place::new();
    squash(&place);
    let words = r#"{"errors": [{"code": "DENIED", "message": "the quota of team a is used up"}]}"#;
    let registry = picky(Manner { most: usize::MAX, refusal: Some(words), ..Manner::default() });
    let uri = format!("docker://{}#a:1", registry.host);
    let error = place.fails(&["push", "./image.sqsh", &uri]);
    assert!(error.contains("denies access to a (the quota of team a is used up)"), "{error}");
}

#[test]
fn a_container_is_pushed_with_its_changes() {
    let registry = Registry::start();
    let place = common::Place::new();
    place.image("image", |_| {});
    let run = |words: &[&str]| {
        let done = place.pyxis(words).env("ENROOT_ALLOW_HTTP", "yes").output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", text(&done.stderr));
        text(&done.stdout)
    };
    run(&["create", "-n", "one", "./image.sqsh"]);
    run(&["start", "-w", "one", "sh", "-c", "echo changed > /new; rm /bin/kill"]);
    let uri = |tag: &str| format!("docker://{}#saved:{tag}", registry.host);
    let pushed = run(&["push", "one", &uri("1")]);
    // As --container-save has it.
    assert_eq!(run(&["export", "-f", "-o", &uri("2"), "one"]), pushed);
    run(&["import", "-o", "back.sqsh", &uri("2")]);
    let script = "cat /new; ls /bin/kill 2>/dev/null || echo gone; echo $FROM_IMAGE";
    let said = run(&["start", "./back.sqsh", "sh", "-c", script]);
    assert_eq!(said, "changed\ngone\nyes\n");
}

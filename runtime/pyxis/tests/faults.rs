//! Registries that fail, lie or attack: one clear line, nothing left.

mod fixtures;

use std::collections::HashMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixtures::{Image, Layer, Place, gzip, noise, zstd};
use images::tarball::Kind;

/// A request, as far as it matters.
struct Request {
    path: String,
    range: Option<usize>,
    authorization: Option<String>,
    /// How often this path was asked for before.
    before: usize,
}

/// What to answer.
enum Reply {
    /// What a good registry would.
    Good,
    Status(&'static str, Vec<(&'static str, String)>),
    Body(Vec<u8>),
    /// The good body, ended too early.
    Cut(usize),
    /// The good body after a pause.
    Late(Duration),
}

/// A registry of one image with faults of its own.
struct Server {
    host: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(image: &Image, fault: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (image, fault, shared) = (image.clone(), Arc::new(fault), Arc::clone(&log));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (image, fault, log) = (image.clone(), Arc::clone(&fault), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &image, &*fault, &log));
            }
        });
        Server { host, log }
    }

    fn uri(&self) -> String {
        format!("docker://{}/a:1", self.host)
    }

    fn requests(&self, what: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|path| path.contains(what)).count()
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a server in one piece, answers by the faults that are asked for"
)]
fn serve(
    stream: TcpStream,
    image: &Image,
    fault: &dyn Fn(&Request) -> Reply,
    log: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(_) => {
                // No text: somebody expects TLS.
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                return None;
            }
        }
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let before = {
            let mut log = log.lock().unwrap();
            log.push(path.clone());
            log.iter().filter(|known| **known == path).count() - 1
        };
        let range = headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let range = range.and_then(|range| range.trim_end_matches('-').parse().ok());
        let authorization = headers.get("authorization").cloned();
        let request = Request { path, range, authorization, before };
        let good = || -> Vec<u8> {
            let name = request.path.rsplit('/').next().unwrap().trim_start_matches("sha256:");
            if request.path.contains("/manifests/") {
                image.manifest.clone()
            } else {
                image.blobs.get(name).cloned().unwrap_or_default()
            }
        };
        let mut send = |status: &str, headers: &str, body: &[u8], length: usize| {
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body))
        };
        match fault(&request) {
            Reply::Good => {
                let body = good();
                match request.range {
                    Some(start) => {
                        let last = body.len() - 1;
                        let headers =
                            format!("content-range: bytes {start}-{last}/{}\r\n", body.len());
                        let rest = &body[start..];
                        send("206 Partial Content", &headers, rest, rest.len()).ok()?;
                    }
                    None => send("200 OK", "", &body, body.len()).ok()?,
                }
            }
            Reply::Status(status, headers) => {
                let headers: String =
                    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let body = br#"{"errors": [{"code": "X", "message": "because\nof it"}]}"#;
                send(status, &headers, body, body.len()).ok()?;
            }
            Reply::Body(body) => send("200 OK", "", &body, body.len()).ok()?,
            Reply::Cut(at) => {
                let body = good();
                let start = request.range.unwrap_or(0);
                let end = body.len().min(start + at);
                let range =
                    format!("content-range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
                let (status, range) = if start > 0 {
                    ("206 Partial Content", range.as_str())
                } else {
                    ("200 OK", "")
                };
                let _ = send(status, range, &body[start..end], body.len() - start);
                return None; // closes the connection
            }
            Reply::Late(pause) => {
                std::thread::sleep(pause);
                let body = good();
                send("200 OK", "", &body, body.len()).ok()?;
            }
        }
    }
}

/// An image whose only layer does not compress.
fn image() -> Image {
    let layer = Layer::new().entry(b"noise", Kind::File, 0o644, &noise(1, 3 << 20));
    Image::new(&[layer.gzip()])
}

fn place() -> Place {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "2");
    place
}

/// What the import of `image` from such a registry says.
fn failure(image: &Image, fault: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let place = place();
    let server = Server::start(image, fault);
    let line = place.fails(&["import", "-o", "out.sqsh", &server.uri()]);
    assert!(!place.path("out.sqsh").exists());
    let blobs = place.path("store/blobs").join(&image.layers[0]);
    assert!(!blobs.exists(), "a layer that was not accepted is in the store");
    let line = line.strip_prefix("pyxis: ").unwrap().to_owned();
    line.replace(&server.host, "HOST")
}

fn status(status: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |_| Reply::Status(status, Vec::new())
}

#[test]
fn statuses_are_explained() {
    let image = image();
    assert_eq!(failure(&image, status("404 Not Found")), "HOST has no a:1 (becauseof it)");
    let denied = failure(&image, status("403 Forbidden"));
    assert!(
        denied.starts_with(
            "HOST denies access to a (becauseof it): the image does not exist or needs credentials"
        ),
        "{denied}"
    );
    let denied = failure(&image, status("401 Unauthorized"));
    assert!(denied.contains("machine HOST login USER password"), "{denied}");
    let busy = failure(&image, status("429 Too Many Requests"));
    assert!(
        busy.contains("429 Too Many Requests") && busy.contains("log in for a higher limit"),
        "{busy}"
    );
    let broken = failure(&image, status("500 Internal Server Error"));
    assert_eq!(
        broken,
        "HOST answered 500 Internal Server Error to the request for a:1 (becauseof it)"
    );
    let text = failure(&image, |_| Reply::Body(b"<html>captive portal</html>".to_vec()));
    assert!(text.contains("sent a web page for a:1: is this a registry"), "{text}");
    let text = failure(&image, |_| Reply::Body(b"captive portal".to_vec()));
    assert!(text.contains("is malformed"), "{text}");
}

#[test]
fn a_manifest_without_end_is_not_read_to_it() {
    let line = failure(&image(), |_| Reply::Body(vec![b' '; 9 << 20]));
    assert!(line.contains("HOST") && line.contains("a:1") && line.contains("8388608"), "{line}");
}

#[test]
fn what_passes_is_tried_again() {
    let (place, image) = (place(), image());
    let server = Server::start(&image, |request| match request.before {
        0 => Reply::Status("503 Service Unavailable", Vec::new()),
        1 => Reply::Status("429 Too Many Requests", Vec::new()),
        _ => Reply::Good,
    });
    place.ok(&["pull", &server.uri()]);
}

#[test]
fn a_registry_without_tls_or_nobody_there_is_told_at_once() {
    let mut place = place();
    place.set("ENROOT_TRANSFER_RETRIES", "9");
    let server = Server::start(&image(), |_| Reply::Good);
    let start = Instant::now();
    let nobody = place.fails(&["digest", "docker://127.0.0.1:1/a"]);
    assert!(nobody.contains("refused"), "{nobody}");
    place.set("ENROOT_ALLOW_HTTP", "no");
    let plain = place.fails(&["digest", &server.uri()]);
    assert!(plain.contains("ENROOT_ALLOW_HTTP=yes"), "{plain}");
    // Nine retries would take four minutes.
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let (place, image) = (place(), image());
    let layer = image.layers[0].clone();
    let server = Server::start(&image, move |request| {
        if request.path.contains(&layer) && request.before < 2 {
            return Reply::Cut(1 << 20);
        }
        let resumed = request.range.is_some_and(|start| start == 2 << 20);
        assert!(!request.path.contains(&layer) || resumed, "{:?}", request.range);
        Reply::Good
    });
    place.ok(&["pull", &server.uri()]);
    assert_eq!(server.requests(&image.layers[0]), 3);
}

#[test]
fn a_registry_that_does_not_resume_sends_everything_again() {
    let (place, image) = (place(), image());
    let (layer, blobs) = (image.layers[0].clone(), image.blobs.clone());
    let server = Server::start(&image, move |request| match request.before {
        0 if request.path.contains(&layer) => Reply::Cut(1 << 20),
        _ if request.path.contains(&layer) => Reply::Body(blobs[&layer].clone()),
        _ => Reply::Good,
    });
    place.ok(&["pull", &server.uri()]);
}

#[test]
fn a_download_that_is_always_cut_fails() {
    let line = failure(&image(), |request| {
        if request.path.contains("/blobs/") && request.before > 0 || request.range.is_some() {
            return Reply::Cut(0);
        }
        if request.path.contains("/blobs/") { Reply::Cut(900) } else { Reply::Good }
    });
    assert!(
        line.contains("HOST") && (line.contains("cut the download") || line.contains("cannot get")),
        "{line}"
    );
}

#[test]
fn a_stuck_registry_is_given_up() {
    let mut place = place();
    place.set("PYXIS_IDLE_TIMEOUT", "1");
    place.set("ENROOT_TRANSFER_RETRIES", "0");
    let server = Server::start(&image(), |request| {
        if request.path.contains("/blobs/") {
            Reply::Late(Duration::from_secs(600))
        } else {
            Reply::Good
        }
    });
    let start = Instant::now();
    let line = place.fails(&["pull", &server.uri()]);
    assert!(line.contains("timeout"), "{line}");
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_slow_download_says_how_far_it_is() {
    let (place, image) = (place(), image());
    let server = Server::start(&image, |request| {
        // Each connection brings a megabyte; the next one comes six seconds later.
        match (request.path.contains("/blobs/"), request.range) {
            (true, None) => Reply::Cut(1 << 20),
            (true, Some(start)) if start < 2 << 20 => Reply::Late(Duration::from_secs(6)),
            _ => Reply::Good,
        }
    });
    let output = place.run(&["pull", &server.uri()]);
    let said = fixtures::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = |line: &str| line.starts_with("[INFO] ") && line.contains(" % of 3.");
    assert!(said.lines().any(told), "{said}");
}

#[test]
fn content_is_what_its_digest_says_or_refused() {
    let image = image();
    let layer = image.layers[0].clone();
    let mut wrong = image.blobs[&layer].clone();
    *wrong.last_mut().unwrap() ^= 1;
    let (name, body) = (layer.clone(), wrong.clone());
    let line = failure(&image, move |request| {
        if request.path.contains(&name) { Reply::Body(body.clone()) } else { Reply::Good }
    });
    assert!(
        line.starts_with("HOST has the digest sha256:")
            && line.contains("damaged or tampered with"),
        "{line}"
    );

    let name = layer.clone();
    wrong.extend([0; 10]);
    let line = failure(&image, move |request| {
        if request.path.contains(&name) { Reply::Body(wrong.clone()) } else { Reply::Good }
    });
    assert!(line.contains("bytes for sha256:") && line.contains("its manifest says"), "{line}");

    let config = image.blobs.keys().find(|key| **key != layer).unwrap().clone();
    let line = failure(&image, move |request| {
        if request.path.contains(&config) { Reply::Body(b"{}".to_vec()) } else { Reply::Good }
    });
    assert!(line.contains("damaged or tampered with"), "{line}");

    let place = place();
    let server = Server::start(&image, |_| Reply::Good);
    let uri = format!("docker://{}/a@sha256:{}", server.host, "0".repeat(64));
    let line = place.fails(&["digest", &uri]);
    assert!(line.contains("damaged or tampered with"), "{line}");
}

#[test]
fn redirects_end_somewhere() {
    let line = failure(&image(), |request| {
        Reply::Status("307 Temporary Redirect", vec![("location", request.path.clone())])
    });
    assert!(line.contains("redirects"), "{line}");
}

fn log_in(place: &Place, machines: &[&str]) {
    std::fs::create_dir_all(place.path("home/.config/enroot")).unwrap();
    let file = place.path("home/.config/enroot/.credentials");
    let line = |machine: &&str| format!("machine {machine} login user password secret\n");
    std::fs::write(file, machines.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn a_redirect_to_another_host_gets_no_credentials() {
    let (mut place, image) = (place(), image());
    place.set("PYXIS_IDLE_TIMEOUT", "5");
    let leaked = Arc::new(Mutex::new(0));
    let (seen, blobs) = (Arc::clone(&leaked), image.blobs.clone());
    let elsewhere = Server::start(&image, move |request| {
        if request.authorization.is_some() {
            *seen.lock().unwrap() += 1;
        }
        Reply::Body(blobs[request.path.rsplit('/').next().unwrap()].clone())
    });
    // Another name for the same machine is another host.
    let other = elsewhere.host.replace("127.0.0.1", "localhost");
    let server = Server::start(&image, move |request| {
        if request.authorization.is_none() {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Reply::Status("401 Unauthorized", challenge);
        }
        match request.path.rsplit_once("/blobs/sha256:") {
            Some((_, hex)) => {
                let location = format!("http://{other}/{hex}");
                Reply::Status("307 Temporary Redirect", vec![("location", location)])
            }
            None => Reply::Good,
        }
    });
    log_in(&place, &[&server.host, &elsewhere.host, "127.0.0.1", "localhost"]);
    place.ok(&["pull", &server.uri()]);
    assert!(elsewhere.requests("/") >= 2);
    assert_eq!(*leaked.lock().unwrap(), 0);
}

/// Another program may listen there, perhaps another user's.
#[test]
fn a_redirect_to_another_port_gets_no_credentials() {
    let (place, image) = (place(), image());
    let leaked = Arc::new(Mutex::new(Vec::new()));
    let (seen, blobs) = (Arc::clone(&leaked), image.blobs.clone());
    let elsewhere = Server::start(&image, move |request| {
        seen.lock().unwrap().extend(request.authorization.clone());
        Reply::Body(blobs[request.path.rsplit('/').next().unwrap()].clone())
    });
    let other = elsewhere.host.clone();
    let token = Server::start(&image, |_| Reply::Body(br#"{"token": "abc"}"#.to_vec()));
    let realm = format!("Bearer realm=\"http://{}/token\"", token.host);
    let server = Server::start(&image, move |request| {
        if request.authorization.as_deref() != Some("Bearer abc") {
            return Reply::Status("401 Unauthorized", vec![("www-authenticate", realm.clone())]);
        }
        let location = match request.path.rsplit_once("/blobs/") {
            // Within the same place they are needed, also behind a relative path.
            Some((_, hex)) if !hex.contains("again") => format!("{hex}.again"),
            Some((_, hex)) => {
                let hex = hex.trim_start_matches("sha256:").trim_end_matches(".again");
                format!("http://{other}/{hex}")
            }
            None => return Reply::Good,
        };
        Reply::Status("307 Temporary Redirect", vec![("location", location)])
    });
    place.ok(&["pull", &server.uri()]);
    assert_eq!(server.requests(".again"), 2);
    assert_eq!(elsewhere.requests("/"), 2);
    assert_eq!(*leaked.lock().unwrap(), [""; 0]);
}

/// Another program may listen there, perhaps another user's, and ask for a password.
#[test]
fn a_password_is_for_one_port() {
    let (place, image) = (place(), image());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let server = Server::start(&image, move |request| match &request.authorization {
        None => {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            Reply::Status("401 Unauthorized", challenge)
        }
        Some(header) => {
            all.lock().unwrap().push(header.clone());
            Reply::Good
        }
    });
    log_in(&place, &["127.0.0.1", "127.0.0.1:1"]);
    let line = place.fails(&["pull", &server.uri()]);
    let hint = format!("machine {} login USER password", server.host);
    assert!(line.contains("denies access") && line.contains(&hint), "{line}");
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
    log_in(&place, &["127.0.0.1", &server.host]);
    place.ok(&["pull", &server.uri()]);
    assert!(!seen.lock().unwrap().is_empty());
}

/// A registry may be talked to without TLS, and name a token server that nobody said that of.
#[test]
fn a_password_does_not_go_over_plain_http_to_who_was_not_named() {
    let (mut place, image) = (place(), image());
    let seen = Arc::new(Mutex::new(0));
    let all = Arc::clone(&seen);
    let token = Server::start(&image, move |request| {
        *all.lock().unwrap() += usize::from(request.authorization.is_some());
        Reply::Body(br#"{"token": "abc"}"#.to_vec())
    });
    let realm = format!("Bearer realm=\"http://{}/token\"", token.host);
    let server = Server::start(&image, move |request| match request.authorization.as_deref() {
        Some("Bearer abc") => Reply::Good,
        _ => Reply::Status("401 Unauthorized", vec![("www-authenticate", realm.clone())]),
    });
    log_in(&place, &[&server.host]);
    place.set("ENROOT_ALLOW_HTTP", "no");
    place.set("PYXIS_HTTP_REGISTRIES", &server.host);
    let line = place.fails(&["pull", &server.uri()]);
    assert!(line.contains("plain http has to be allowed"), "{line}");
    assert_eq!((*seen.lock().unwrap(), token.requests("/")), (0, 0));
    place.set("PYXIS_HTTP_REGISTRIES", &format!("{},{}", server.host, token.host));
    place.ok(&["pull", &server.uri()]);
    assert!(*seen.lock().unwrap() > 0);
}

/// It could name a server of its own that asks for the user's password.
#[test]
fn who_is_redirected_to_is_not_logged_in_to() {
    let (mut place, image) = (place(), image());
    place.set("PYXIS_IDLE_TIMEOUT", "5");
    let token = Server::start(&image, |_| Reply::Body(br#"{"token": "abc"}"#.to_vec()));
    let realm = format!("Bearer realm=\"http://{}/token\"", token.host);
    let elsewhere = Server::start(&image, move |_| {
        Reply::Status("401 Unauthorized", vec![("www-authenticate", realm.clone())])
    });
    let other = elsewhere.host.clone();
    let server = Server::start(&image, move |request| match request.path.contains("/blobs/") {
        true => {
            Reply::Status("307 Temporary Redirect", vec![("location", format!("http://{other}/x"))])
        }
        false => Reply::Good,
    });
    log_in(&place, &[&server.host, &elsewhere.host, &token.host, "127.0.0.1"]);
    let line = place.fails(&["pull", &server.uri()]);
    let who = format!("{}, where {} redirects to, denies access", elsewhere.host, server.host);
    assert!(line.contains(&who) && line.contains("no credentials are sent there"), "{line}");
    assert_eq!(token.requests("/"), 0);
}

/// The manifest is remembered, the image is not to be had from where it is, and only the layer
/// takes credentials.
#[test]
fn an_image_made_again_is_as_private_as_what_it_took() {
    let (admin, mut user, image) = (place(), place(), image());
    let server = Server::start(&image, |request| {
        if request.authorization.is_none() && request.path.contains("/b/blobs/") {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Reply::Status("401 Unauthorized", challenge);
        }
        Reply::Good
    });
    let mode = |path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for place in [&admin, &user] {
        log_in(place, &[&server.host]);
        std::fs::create_dir(place.path("store")).unwrap();
        mode(place.path("store"), 0o755);
    }
    let digest = image.digest();
    let hex = digest.trim_start_matches("sha256:");
    admin.ok(&["pull", &server.uri()]);
    // It took credentials there, of another repository.
    let description = admin.path("store/images").join(format!("{hex}.json"));
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replace("\"private\":false", "\"private\":true")).unwrap();
    std::fs::remove_file(admin.path("store/blobs").join(&image.layers[0])).unwrap();

    user.set("PYXIS_STORE_LOWER", admin.path("store").to_str().unwrap());
    user.ok(&["pull", &format!("docker://{}/b@{digest}", server.host)]);
    assert_eq!(server.requests("/b/manifests/"), 0, "the manifest was there");
    let description = user.path("store/images").join(format!("{hex}.json"));
    let text = std::fs::read_to_string(&description).unwrap();
    assert!(text.contains("\"private\":true"), "{text}");
    let image = user.path("store/images").join(format!("{hex}.sqsh"));
    assert_eq!(std::fs::metadata(image).unwrap().permissions().mode() & 0o777, 0o400);
}

#[test]
fn a_token_is_asked_for_once_and_used() {
    let (place, image) = (place(), image());
    let server = Server::start(&image, |request| {
        if request.path.starts_with("/token?") {
            assert!(request.path.contains("scope=repository%3Aa%3Apull"), "{}", request.path);
            return Reply::Body(br#"{"token": "", "access_token": "abc"}"#.to_vec());
        }
        if request.authorization.as_deref() == Some("Bearer abc") {
            return Reply::Good;
        }
        Reply::Status(
            "401 Unauthorized",
            vec![("www-authenticate", "Bearer realm=\"REALM\",service=\"s\"".to_owned())],
        )
    });
    // The realm has to name the port, which is known only now.
    let host = server.host.clone();
    let front = Server::start(&image, move |request| {
        if request.authorization.as_deref() == Some("Bearer abc") {
            return Reply::Good;
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        Reply::Status("401 Unauthorized", vec![("www-authenticate", challenge)])
    });
    place.ok(&["pull", &front.uri()]);
    assert_eq!(server.requests("/token?"), 1);
}

/// What a layer with this content is refused with.
fn refusal(layer: Vec<u8>) -> String {
    let line = failure(&Image::new(&[layer]), |_| Reply::Good);
    line.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn names_that_point_outside_are_refused() {
    for name in ["../x", "a/../../x", "/../x", "..", "./../../etc/passwd"] {
        let line = refusal(Layer::new().file(name, "x").gzip());
        assert_eq!(line, format!("refused: the entry {name:?} points outside the image"));
    }
    let line = refusal(Layer::new().file("a", "").link("b", "../../etc/passwd").gzip());
    assert!(line.contains("points outside the image"), "{line}");
    let line = refusal(Layer::new().file(&"n".repeat(300), "").gzip());
    assert!(line.contains("a name that no file can have"), "{line}");
}

#[test]
fn entries_that_cannot_be_merged_are_named() {
    let refusal = |layer: Layer| {
        let (place, image) = (place(), Image::new(&[layer.tar()]));
        let server = Server::start(&image, |_| Reply::Good);
        place.fails(&["pull", &server.uri()]).split_once(": ").unwrap().1.to_owned()
    };
    let line = refusal(Layer::new().link("b", "/etc/passwd"));
    let want = "the entry \"b\" is a hard link to \"etc/passwd\", which is no file of the image";
    assert!(line.ends_with(want), "{line}");
    let line = refusal(Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", ""));
    assert!(line.contains("too many symbolic links"), "{line}");
}

#[test]
fn symbolic_links_lead_nowhere_but_into_the_image() {
    let place = place();
    let outside = place.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let layers = [
        Layer::new().symlink("absolute", target).symlink("up", "../../../../../../..").gzip(),
        Layer::new().file("absolute/a", "1").file("up/b", "2").file("/root", "3").gzip(),
    ];
    let server = Server::start(&Image::new(&layers), |_| Reply::Good);
    place.ok(&["import", "-o", "out.sqsh", &server.uri()]);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let root = place.unpack("out.sqsh", "root");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read(&format!("{}/a", &target[1..])), "1");
    assert_eq!((read("b"), read("root")), ("2".to_owned(), "3".to_owned()));
}

#[test]
fn bombs_do_not_go_off() {
    let mut place = place();
    place.set("PYXIS_MAX_UNPACKED", "10000000");
    let zeros = vec![0; 64 << 20];
    let bomb = zstd(&Layer::new().entry(b"zeros", Kind::File, 0o644, &zeros).tar());
    assert!(bomb.len() < 50_000, "{}", bomb.len());
    let server = Server::start(&Image::new(&[bomb]), |_| Reply::Good);
    let line = place.fails(&["import", "-o", "out.sqsh", &server.uri()]);
    assert!(line.contains("unpacks to more than") && line.contains("PYXIS_MAX_UNPACKED"), "{line}");
}

#[test]
fn damaged_archives_are_named() {
    let line = refusal(gzip(b"this is not an archive, and long enough to be a header block"));
    assert_eq!(line, "the archive ends in the middle of an entry");
    let line = refusal(gzip(&[b'x'; 2048]));
    assert!(line.contains("wrong header checksum"), "{line}");
    let whole = Layer::new().file("a", &"x".repeat(5000)).tar();
    assert_eq!(refusal(gzip(&whole[..2048])), "the archive ends in the middle of an entry");
    let mut broken = gzip(&whole);
    let middle = broken.len() / 2;
    broken.truncate(middle);
    assert!(refusal(broken).contains("cannot be decompressed"));
    assert!(refusal(b"BZh91AY&SY".to_vec()).contains("cannot be decompressed"));
    assert!(refusal(b"\x04\x22\x4d\x18....".to_vec()).contains("lz4"));
}

//! A registry of one image with faults of its own, and an import from it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use images::tarball::Kind;

use crate::fixtures::{Image, Layer, Place, headers, noise};

/// A request, as far as it matters.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<usize>,
    pub(crate) authorization: Option<String>,
    /// How often this path was asked for before.
    pub(crate) before: usize,
}

/// What to answer.
pub(crate) enum Reply {
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
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(
        image: &Image,
        fault: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
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

    pub(crate) fn uri(&self) -> String {
        format!("docker://{}/a:1", self.host)
    }

    pub(crate) fn requests(&self, what: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|path| path.contains(what)).count()
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a server in one piece, answers by the faults that are asked for"
)]
pub(crate) fn serve(
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
        let headers = headers(&mut reader)?;
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
pub(crate) fn image() -> Image {
    let layer = Layer::new().entry(b"noise", Kind::File, 0o644, &noise(1, 3 << 20));
    Image::new(&[layer.gzip()])
}

pub(crate) fn place() -> Place {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "2");
    place
}

/// What the import of `image` from such a registry says.
pub(crate) fn failure(
    image: &Image,
    fault: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> String {
    let place = place();
    let server = Server::start(image, fault);
    let line = place.fails(&["import", "-o", "out.sqsh", &server.uri()]);
    assert!(!place.path("out.sqsh").exists());
    let blobs = place.path("store/blobs").join(&image.layers[0]);
    assert!(!blobs.exists(), "a layer that was not accepted is in the store");
    let line = line.strip_prefix("pyxis: ").unwrap().to_owned();
    line.replace(&server.host, "HOST")
}

pub(crate) fn status(status: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |_| Reply::Status(status, Vec::new())
}

//! A registry of one image that answers as a test has it answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::fixtures::{Image, headers};

/// A request, as far as it matters.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: String,
    /// How often this path was asked for before.
    pub(crate) before: usize,
}

pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: &'static str, headers: &[String]) -> Reply {
        let headers = headers.iter().map(|header| format!("{header}\r\n")).collect();
        Reply { status, headers, body: Vec::new() }
    }

    pub(crate) fn body(body: impl Into<Vec<u8>>) -> Reply {
        Reply { body: body.into(), ..Reply::new("200 OK", &[]) }
    }

    pub(crate) fn challenge(text: &str) -> Reply {
        Reply::new("401 Unauthorized", &[format!("www-authenticate: {text}")])
    }
}

/// A registry of one image. It answers as it is told to, and well otherwise.
pub(crate) struct Server {
    pub(crate) host: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(
        image: &Image,
        odd: impl Fn(&str, &Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (image, odd) = (image.clone(), Arc::new(odd));
        let (own, shared) = (host.clone(), Arc::clone(&log));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (image, odd) = (image.clone(), Arc::clone(&odd));
                let (own, log) = (own.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &image, &own, &*odd, &log));
            }
        });
        Server { host, log }
    }

    pub(crate) fn uri(&self) -> String {
        format!("docker://{}/a:1", self.host)
    }

    /// The authorizations of requests for paths that contain this.
    pub(crate) fn seen(&self, what: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let those = log.iter().filter(|request| request.path.contains(what));
        those.map(|request| request.authorization.clone()).collect()
    }
}

fn serve(
    stream: TcpStream,
    image: &Image,
    own: &str,
    odd: &dyn Fn(&str, &Request) -> Option<Reply>,
    log: &Mutex<Vec<Request>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = headers(&mut reader)?;
        let authorization = headers.remove("authorization").unwrap_or_default();
        let before = log.lock().unwrap().iter().filter(|known| known.path == path).count();
        let request = Request { path, authorization, before };
        let reply = odd(own, &request).unwrap_or_else(|| good(image, &request.path));
        log.lock().unwrap().push(request);
        let Reply { status, headers, body } = reply;
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()?;
    }
}

fn good(image: &Image, path: &str) -> Reply {
    let name = path.rsplit('/').next().unwrap();
    if path.contains("/manifests/") {
        return Reply::body(image.manifest.clone());
    }
    match image.blobs.get(name.trim_start_matches("sha256:")) {
        Some(blob) => Reply::body(blob.clone()),
        None => Reply::new("404 Not Found", &[]),
    }
}

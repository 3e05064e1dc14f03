//! Blobs as streams that go on where a cut connection left them.

use std::io::{self, Read};

use ureq::BodyReader;
use ureq::http::{Method, StatusCode};

use super::answers::content_type;
use super::client::retry::backoff;
use super::paced::Measure;
use super::{Client, Descriptor, RegistryError};

/// So much progress makes up for a failure: then the connection is bad, not the registry.
const PROGRESS: u64 = 1 << 20;

/// So many addresses of a layer that is not in the registry are tried.
const ADDRESSES: usize = 8;

/// So much may come again, and the blob itself twice.
const REPEATED: u64 = 64 << 20;

/// The content of a blob, as many bytes as its descriptor says. Errors that no retry helps
/// against carry a [`RegistryError`].
pub struct Blob<'a> {
    /// Where its first byte came from.
    began: &'a Client,
    /// Where the last one did.
    client: &'a Client,
    descriptor: &'a Descriptor,
    body: Option<BodyReader<'static>>,
    at: u64,
    attempt: u32,
    last_failure: u64,
    measure: Measure,
    /// Bytes that came again.
    repeated: u64,
    /// Where it is, if it is not in the registry.
    elsewhere: Option<&'a str>,
}

impl std::fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} at {})", self.descriptor.digest, self.at)
    }
}

impl<'a> Blob<'a> {
    pub(super) fn open(
        client: &'a Client,
        descriptor: &'a Descriptor,
    ) -> Result<Blob<'a>, RegistryError> {
        let mut blob = Blob {
            began: client,
            client,
            descriptor,
            body: None,
            at: 0,
            attempt: 0,
            last_failure: 0,
            measure: Measure::new(client.settings.pace),
            repeated: 0,
            elsewhere: None,
        };
        blob.body = Some(blob.find()?.0);
        Ok(blob)
    }

    /// The place that is asked for it.
    pub(crate) fn host(&self) -> &'a str {
        self.client.host()
    }

    /// Who may have it as it should be, from its beginning, if what came is something else: who sent its end, unless that is who
    /// sent all of it.
    pub(crate) fn otherwise(&self) -> Option<&'a Client> {
        match std::ptr::eq(self.began, self.client) {
            true => self.client.following(),
            false => Some(self.client),
        }
    }

    /// Its body in the registry, or else where its manifest says that it is.
    fn find(&mut self) -> Result<(BodyReader<'static>, u64), RegistryError> {
        let client = self.client;
        self.elsewhere = None;
        let mut found = client.retry(|| self.connect());
        for url in self.descriptor.urls.iter().take(ADDRESSES) {
            // What a registry may not pass on it does not have, or gives to nobody.
            match found {
                Err(RegistryError::NotFound { .. } | RegistryError::Denied { .. }) => {}
                _ => break,
            }
            self.elsewhere = Some(url);
            found = client.retry(|| self.connect()).or(found);
        }
        found
    }

    /// The body from where it was cut, and how many bytes of it came again.
    fn connect(&self) -> Result<(BodyReader<'static>, u64), RegistryError> {
        let Descriptor { digest, size, .. } = self.descriptor;
        let range = (self.at > 0).then_some(self.at);
        let path = format!("blobs/{digest}");
        let response = match self.elsewhere {
            Some(url) => self.client.get_elsewhere(url, range, digest)?,
            None => self.client.request(Method::GET, &path, None, range, digest)?.response,
        };
        let length = |actual| RegistryError::Length {
            registry: self.client.host.clone(),
            what: digest.to_string(),
            expected: *size,
            actual,
        };
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let start = if partial {
            let range =
                response.headers().get("content-range").and_then(|value| value.to_str().ok());
            start_of(range.unwrap_or_default()).ok_or_else(|| length(0))?
        } else {
            0
        };
        if start > self.at {
            return Err(length(start));
        }
        if let Some(offered) = response.body().content_length() {
            let actual = start.saturating_add(offered);
            if actual != *size {
                self.client.check_page(content_type(&response), b"?", digest)?;
                return Err(length(actual));
            }
        }
        let mut body = response.into_body().into_reader();
        // A registry that does not resume sends everything again.
        let skip = self.at - start;
        let mut measure = Measure::new(self.client.settings.pace);
        let mut repeated = (&mut body).take(skip);
        let mut buffer = vec![0; 64 << 10];
        while repeated.limit() > 0 {
            let source = match measure.read(&mut repeated, &mut buffer, self.client, digest)? {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => source,
            };
            return Err(self.client.transport(ureq::Error::Io(source), digest));
        }
        Ok((body, skip))
    }

    fn reconnect(&mut self, source: io::Error) -> io::Result<()> {
        self.body = None;
        if self.at >= self.last_failure + PROGRESS {
            self.attempt = 0;
        }
        self.last_failure = self.at;
        let error = if self.attempt >= self.client.retries() {
            RegistryError::Cut {
                registry: self.client.host.clone(),
                what: self.descriptor.digest.to_string(),
                got: self.at,
                expected: self.descriptor.size,
                source,
            }
        } else {
            std::thread::sleep(backoff(self.attempt));
            self.attempt += 1;
            let client = self.client;
            match client.retry(|| self.connect()).and_then(|rest| self.go_on(rest)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            }
        };
        self.go_elsewhere(error)
    }

    /// Goes on at the next place that has the rest: its bytes are the same, or the whole has another digest.
    fn go_elsewhere(&mut self, mut error: RegistryError) -> io::Result<()> {
        self.body = None;
        while let Some(next) = self.client.following() {
            self.client.give_up(&error);
            (self.client, self.attempt, self.repeated) = (next, 0, 0);
            self.measure = Measure::new(next.settings.pace);
            if self.at == 0 {
                self.began = next;
            }
            match self.find().and_then(|rest| self.go_on(rest)) {
                Ok(()) => return Ok(()),
                Err(failed) => error = failed,
            }
        }
        Err(io::Error::other(error))
    }

    /// Takes the rest, some of which came again.
    fn go_on(&mut self, (body, repeated): (BodyReader<'static>, u64)) -> Result<(), RegistryError> {
        self.repeated += repeated;
        // Else whoever cuts often enough has it sent for ever.
        if self.repeated > REPEATED.saturating_add(self.descriptor.size.saturating_mul(2)) {
            let (registry, what) = (self.client.host.clone(), self.descriptor.digest.to_string());
            return Err(RegistryError::Repeated { registry, what });
        }
        self.body = Some(body);
        Ok(())
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.descriptor.size - self.at;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        loop {
            let body = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let what = &self.descriptor.digest;
            let read = match self.measure.read(body, &mut buffer[..count], self.client, what) {
                Ok(read) => read,
                Err(slow) => {
                    self.go_elsewhere(slow)?;
                    continue;
                }
            };
            match read {
                Ok(0) => self.reconnect(io::ErrorKind::UnexpectedEof.into())?,
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.reconnect(error)?,
            }
        }
    }
}

/// The first byte's place, of `bytes START-END/SIZE`.
fn start_of(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use super::super::rules::Endpoint;
    use super::super::settings::{Pace, Settings};
    use super::super::{Credentials, places};
    use super::*;
    use crate::digest::Digest;
    use crate::uri::Uri;

    const BYTES: &[u8] = b"more bytes than anybody sends one by one in that time";

    /// Somebody who has these bytes, a connection for each request.
    fn server(send: fn(&mut TcpStream, &[u8]) -> io::Result<()>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let mut at = 0;
                for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
                    let range = line.strip_prefix("range: bytes=");
                    at = range.map_or(at, |range| range.trim_end_matches('-').parse().unwrap());
                }
                let (size, rest) = (BYTES.len(), &BYTES[at..]);
                let status = if at > 0 { "206 Partial Content" } else { "200 OK" };
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\
                     content-range: bytes {at}-{}/{size}\r\n\r\n",
                    rest.len(),
                    size - 1
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| send(&mut stream, rest));
            }
        });
        host
    }

    #[test]
    fn what_a_mirror_hardly_sends_comes_from_the_next_and_it_is_not_asked_again() {
        let slow = server(|stream, bytes| {
            bytes.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(50));
                stream.write_all(&[*byte])
            })
        });
        let good = server(|stream, bytes| stream.write_all(bytes));
        let Ok(Uri::Registry(reference)) = format!("docker://{good}#a").parse() else { panic!() };
        let pace = Pace { bytes: 16, within: Duration::from_millis(300) };
        let settings = Settings { allow_http: true, pace, ..Settings::default() };
        let at = |host: &String, mirror| {
            let (host, repository) = (host.clone(), "a".to_owned());
            Endpoint { host, repository, insecure: false, mirror }
        };
        let endpoints = [at(&slow, true), at(&good, false)];
        let client = Client::new(&reference, &endpoints, &settings, &Credentials::default());
        let (digest, size) = (Digest::of(BYTES).to_string(), BYTES.len() as u64);
        let descriptor = Descriptor { digest, size, ..Descriptor::default() }.checked().unwrap();
        for from in [&slow, &good] {
            let mut blob = client.blob(&descriptor).unwrap();
            assert_eq!(blob.host(), from);
            let mut content = Vec::new();
            blob.read_to_end(&mut content).unwrap();
            assert_eq!((content.as_slice(), blob.host()), (BYTES, good.as_str()));
            assert!(places::is_late(&slow) && !places::is_late(&good));
        }
    }
}

//! Blobs as streams that go on where a cut connection left them.

use std::io::{self, Read};

use ureq::BodyReader;
use ureq::http::{Method, StatusCode};

use super::answers::content_type;
use super::client::backoff;
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
        let mut opened = client.retry(|| blob.connect());
        for url in descriptor.urls.iter().take(ADDRESSES) {
            // What a registry may not pass on it does not have, or gives to nobody.
            match opened {
                Err(RegistryError::NotFound { .. } | RegistryError::Denied { .. }) => {}
                _ => break,
            }
            blob.elsewhere = Some(url);
            opened = client.retry(|| blob.connect()).or(opened);
        }
        blob.body = Some(opened?.0);
        Ok(blob)
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
        if self.attempt >= self.client.retries() {
            // Bytes that come from elsewhere are the same, or have another digest.
            if let Some(next) = self.client.next() {
                (self.client, self.attempt) = (next, 0);
                return self.go_on();
            }
            return Err(io::Error::other(RegistryError::Cut {
                registry: self.client.host.clone(),
                what: self.descriptor.digest.to_string(),
                got: self.at,
                expected: self.descriptor.size,
                source,
            }));
        }
        std::thread::sleep(backoff(self.attempt));
        self.attempt += 1;
        self.go_on()
    }

    /// Asks for the rest.
    fn go_on(&mut self) -> io::Result<()> {
        let (body, repeated) = self.client.retry(|| self.connect()).map_err(io::Error::other)?;
        self.repeated += repeated;
        // Else whoever cuts often enough has it sent for ever.
        if self.repeated > REPEATED.saturating_add(self.descriptor.size.saturating_mul(2)) {
            let (registry, what) = (self.client.host.clone(), self.descriptor.digest.to_string());
            return Err(io::Error::other(RegistryError::Repeated { registry, what }));
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
            let read = self.measure.read(body, &mut buffer[..count], self.client, what);
            match read.map_err(io::Error::other)? {
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

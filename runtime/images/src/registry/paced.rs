//! Reading what a registry sends, but not at any pace.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::Response;

use super::answers::decoded;
use super::{Client, RegistryError, settings::Pace};

/// Measures how fast bytes come. Time that is spent on them elsewhere does not count.
#[derive(Debug)]
pub(super) struct Measure {
    pace: Pace,
    came: u64,
    waited: Duration,
}

impl Measure {
    pub(super) fn new(pace: Pace) -> Measure {
        Measure { pace, came: 0, waited: Duration::ZERO }
    }

    /// Reads. The outer error is that it is too slow.
    pub(super) fn read(
        &mut self,
        input: &mut impl Read,
        buffer: &mut [u8],
        client: &Client,
        what: &str,
    ) -> Result<io::Result<usize>, RegistryError> {
        let start = Instant::now();
        let result = input.read(buffer);
        self.waited += start.elapsed();
        self.came += result.as_ref().map_or(0, |count| *count as u64);
        // What has come to its end came fast enough.
        if self.waited < self.pace.within || matches!(result, Ok(0)) {
            return Ok(result);
        }
        if self.came < self.pace.bytes {
            return Err(RegistryError::Slow {
                registry: client.host.clone(),
                what: what.to_owned(),
                bytes: self.pace.bytes,
                seconds: self.pace.within.as_secs(),
            });
        }
        (self.came, self.waited) = (0, Duration::ZERO);
        Ok(result)
    }
}

/// As [`document`], of an answer that may have been compressed on its way.
pub(super) fn answer(
    response: Response<Body>,
    limit: u64,
    client: &Client,
    what: &str,
) -> Result<Vec<u8>, RegistryError> {
    let (head, body) = response.into_parts();
    let bytes = document(body.into_reader(), limit, client, what)?;
    decoded(&head.headers, bytes, limit)
        .map_err(|source| client.transport(ureq::Error::Io(source), what))
}

/// Reads a document of at most `limit` bytes, and one byte more of a longer one.
pub(super) fn document(
    mut input: impl Read,
    limit: u64,
    client: &Client,
    what: &str,
) -> Result<Vec<u8>, RegistryError> {
    let mut input = (&mut input).take(limit + 1);
    let mut measure = Measure::new(client.settings.pace);
    let (mut out, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        match measure.read(&mut input, &mut buffer, client, what)? {
            Ok(0) => return Ok(out),
            Ok(count) => out.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(client.transport(ureq::Error::Io(source), what)),
        }
    }
}

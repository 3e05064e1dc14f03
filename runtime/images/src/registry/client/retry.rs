//! What is tried again, how often, and how long is waited before.

use std::time::Duration;

use super::Client;
use crate::registry::RegistryError;

impl Client {
    /// How often a failed request is tried again: where others follow, not at all.
    pub(in crate::registry) fn retries(&self) -> u32 {
        if self.mirror { 0 } else { self.settings.retries }
    }

    /// For how long in all it may say when to come back.
    pub(in crate::registry) fn patience(&self) -> Duration {
        if self.retries() == 0 { Duration::ZERO } else { self.settings.patience }
    }

    /// Tries again what may pass, a little later each time.
    pub(in crate::registry) fn retry<T>(
        &self,
        mut work: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut attempt = 0;
        let mut patience = self.patience();
        loop {
            let error = match work() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(pause) = self.pause(&error, attempt, &mut patience) else {
                return Err(error);
            };
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    /// How long to wait after the how-manieth failure, if trying again may help. A server that says when to come back is taken at its
    /// word, but not for ever, and is asked no more often than any other.
    pub(in crate::registry) fn pause(
        &self,
        error: &RegistryError,
        attempt: u32,
        patience: &mut Duration,
    ) -> Option<Duration> {
        if attempt >= self.retries() || !error.is_passing() {
            return None;
        }
        let pause = backoff(attempt);
        let Some(after) = error.retry_after() else { return Some(pause) };
        let pause = pause.max(after);
        *patience = patience.checked_sub(pause)?;
        Some(pause)
    }
}

/// Half a second, doubled each time.
pub(in crate::registry) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(500 << attempt.min(6))
}

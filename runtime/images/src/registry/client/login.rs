//! Logging in: what a challenge of the registry's is answered with, once for all that is asked at the same time.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::Client;
use crate::registry::RegistryError;
use crate::registry::auth::{self, Challenge};

/// The state of authentication.
#[derive(Debug, Default)]
pub(super) struct Login {
    pub(super) header: Option<String>,
    /// Counts logins, so that downloads running at once do not all repeat one.
    generation: u64,
}

impl Client {
    /// A header that may satisfy one of the challenges; none if `refused`, the last one, was the
    /// answer to each of them.
    pub(in crate::registry) fn log_in(
        &self,
        challenges: &[Challenge],
        refused: Option<&str>,
        generation: u64,
    ) -> Result<Option<(Option<String>, u64)>, RegistryError> {
        let mut login = self.lock();
        if login.generation > generation {
            return Ok(Some((login.header.clone(), login.generation)));
        }
        let user = self.user.as_deref();
        let scope = format!("repository:{}:{}", self.repository, self.actions);
        // First what was not tried; what was, if it may be another token now.
        let (tried, new): (Vec<&Challenge>, Vec<&Challenge>) =
            challenges.iter().partition(|one| auth::is_scheme(one, refused));
        let mut error = None;
        for challenge in new.into_iter().chain(tried) {
            // The password for one is none of another's.
            let realm = challenge.realm_host();
            let credential = self.credentials.find(&self.host, &self.repository, user, realm)?;
            let shown = credential.is_some() || self.agents.own.is_some();
            self.with_credentials.fetch_or(shown, Ordering::Relaxed);
            match auth::answer(self, challenge, credential.as_ref(), &scope) {
                Ok(header) if Some(header.as_str()) == refused => {}
                Ok(header) => {
                    login.header = Some(header.clone());
                    login.generation += 1;
                    return Ok(Some((Some(header), login.generation)));
                }
                // What the first one says is what the registry would rather have.
                Err(failed) => error = error.or(Some(failed)),
            }
        }
        error.map_or(Ok(None), Err)
    }

    /// What the registry was last content with, and the how-manieth that is.
    pub(in crate::registry) fn current_login(&self) -> (Option<String>, u64) {
        let login = self.lock();
        (login.header.clone(), login.generation)
    }

    fn lock(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

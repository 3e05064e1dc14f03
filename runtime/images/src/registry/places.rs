//! Where an image is as well: what one place lacks, or sends damaged or too slowly, comes from the next.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::credentials::warn_once;
use super::{Client, RegistryError};

/// Mirrors that kept this process waiting for nothing: each thing asked for would wait as long again.
static LATE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether a mirror is not to be asked any more.
pub(super) fn is_late(host: &str) -> bool {
    LATE.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
}

impl Client {
    fn next(&self) -> Option<&Client> {
        let made = || {
            let Client { reference, later, settings, credentials, .. } = self;
            Box::new(Client::new(reference, later, settings, credentials))
        };
        (!self.later.is_empty()).then(|| &**self.next.get_or_init(made))
    }

    /// This client, or the first that follows whose place is still to be asked. The registry itself always is.
    fn in_time(&self) -> &Client {
        let mut client = self;
        while let Some(next) = client.next().filter(|_| client.mirror && is_late(&client.host)) {
            client = next;
        }
        client
    }

    /// The client for where the image is as well.
    pub(super) fn following(&self) -> Option<&Client> {
        self.next().map(Client::in_time)
    }

    /// The same, in place of this one.
    pub(crate) fn into_next(self) -> Option<Client> {
        self.next()?;
        self.next.into_inner().map(|next| *next)
    }

    /// Tells why the next place is asked, and remembers a mirror that has kept us waiting.
    pub(super) fn give_up(&self, error: &RegistryError) {
        warn_once(&format!("mirror: {error}"));
        self.note_late(error);
    }

    /// Remembers a mirror that has kept us waiting.
    pub(crate) fn note_late(&self, error: &RegistryError) {
        if self.mirror && error.is_late() {
            LATE.lock().unwrap_or_else(PoisonError::into_inner).insert(self.host.clone());
        }
    }

    /// What this place gives, or else the next.
    pub(super) fn or_next<'a, T>(
        &'a self,
        ask: impl Fn(&'a Client) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut client = self.in_time();
        loop {
            match (ask(client), client.following()) {
                (Err(error), Some(next)) => {
                    client.give_up(&error);
                    client = next;
                }
                (result, _) => return result,
            }
        }
    }
}

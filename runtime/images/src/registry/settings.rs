//! How to talk to registries.

use std::path::PathBuf;
use std::time::Duration;

use super::rules::{Endpoint, endpoint};
use super::{Authorities, Proxies, RegistriesConf, RegistryError, places};
use crate::uri::Reference;

/// Settings that hold for all registries.
#[derive(Clone, Debug)]
pub struct Settings {
    /// To establish a connection.
    pub connect_timeout: Option<Duration>,
    /// Without a byte from the other side.
    pub idle_timeout: Option<Duration>,
    /// For one request, body included.
    pub transfer_timeout: Option<Duration>,
    /// Slower than this is given up.
    pub pace: Pace,
    /// How often a failed request is tried again.
    pub retries: u32,
    /// As long as servers are waited for that say when to come back, for each thing asked for.
    pub patience: Duration,
    /// Simultaneous downloads.
    pub connections: usize,
    /// Talk http, without TLS, to every registry.
    pub allow_http: bool,
    /// Talk http to these hosts.
    pub http_hosts: Vec<String>,
    /// Registries that have mirrors, `HOST[:PORT][/PATH]`, which are asked first and in order.
    pub mirrors: Vec<(String, Vec<String>)>,
    /// What the node's `registries.conf` says.
    pub rules: RegistriesConf,
    /// Folders of certificates for single registries, the first one first.
    pub certificates: Vec<PathBuf>,
    /// No registry is shown a certificate of this client's.
    pub anonymous: bool,
    /// The way to all of them.
    pub proxies: Proxies,
    /// Who may have signed their certificates.
    pub authorities: Authorities,
}

/// So many bytes have to come within so long a time of waiting for them.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes.
    pub bytes: u64,
    /// Spent in waiting for bytes, not in using them.
    pub within: Duration,
}

/// At which others are worth waiting for.
const FAST: Pace = Pace { bytes: 1 << 20, within: Duration::from_secs(30) };

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connect_timeout: Some(Duration::from_secs(30)),
            idle_timeout: Some(Duration::from_secs(60)),
            transfer_timeout: None,
            // A kilobyte in a second.
            pace: Pace { bytes: 60 << 10, within: Duration::from_secs(60) },
            retries: 4,
            patience: Duration::from_secs(120),
            connections: 10,
            allow_http: false,
            http_hosts: Vec::new(),
            mirrors: Vec::new(),
            rules: RegistriesConf::default(),
            certificates: Vec::new(),
            anonymous: false,
            proxies: Proxies::default(),
            authorities: Authorities::default(),
        }
    }
}

impl Settings {
    /// Settings for who works at the request of others: no registry keeps it for long, and none gives it
    /// what those others might not get.
    pub fn work_for_others(&mut self) {
        self.anonymous = true;
        self.hurry();
        // Each of them has buffers, and a window to decompress.
        self.connections = self.connections.min(4);
    }

    /// Settings for what others wait for: a registry that does not get on is given up soon.
    pub fn hurry(&mut self) {
        let at_most = |setting: &mut Option<Duration>, seconds| {
            let limit = Duration::from_secs(seconds);
            *setting = Some(setting.map_or(limit, |is| is.min(limit)));
        };
        at_most(&mut self.connect_timeout, 10);
        at_most(&mut self.idle_timeout, 20);
        self.pace = FAST;
        self.retries = self.retries.min(2);
        self.patience = Duration::from_secs(10);
    }

    /// Adds the next mirror of a registry.
    pub fn add_mirror(&mut self, registry: &str, mirror: &str) {
        let registry = crate::uri::host_of(registry);
        match self.mirrors.iter_mut().find(|(known, _)| known == registry) {
            Some((_, mirrors)) => mirrors.push(mirror.to_owned()),
            None => self.mirrors.push((registry.to_owned(), vec![mirror.to_owned()])),
        }
    }

    /// Where to ask for an image, in order: the mirrors of our own configuration, those of the node's, and
    /// the registry itself.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`].
    pub(crate) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let others = self.rules.endpoints(reference)?;
        let own = self.mirrors.iter().filter(|(known, _)| *known == reference.registry);
        let rest = format!("/{}", reference.repository);
        let own = own.flat_map(|(_, mirrors)| mirrors);
        let own = own.filter_map(|mirror| endpoint(mirror, &rest, false, true));
        let asked = |endpoint: &Endpoint| !(endpoint.mirror && places::is_late(&endpoint.host));
        Ok(own.chain(others).filter(asked).collect())
    }

    /// Whether `host` is to be talked to without TLS.
    pub fn is_http(&self, host: &str) -> bool {
        self.allow_http || self.http_hosts.iter().any(|known| known == host)
    }
}

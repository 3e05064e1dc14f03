//! What a place is asked with: by which certificates, within which time, and whether over TLS.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{ClientCert, TlsConfig};

use super::Client;
use crate::registry::certificates::Certificates;
use crate::registry::credentials::warn_once;
use crate::registry::rules::Endpoint;
use crate::registry::{Settings, auth};

/// As long as a mirror is waited for that does not even take a connection: others follow.
const MIRROR_CONNECT: Duration = Duration::from_secs(1);

/// The agents of one client.
#[derive(Debug)]
pub(super) struct Agents {
    agent: Agent,
    /// Shows the registry a certificate, and nobody else.
    pub(super) own: Option<Agent>,
    /// Asks the registry, and nobody else, without verification.
    lax: Option<Agent>,
    /// The registry, which need not be what it should, talks TLS; found out when it is first asked.
    talks_tls: OnceLock<bool>,
}

impl Agents {
    pub(super) fn of(endpoint: &Endpoint, settings: &Settings) -> Agents {
        let Endpoint { host, insecure, mirror, .. } = endpoint.clone();
        let plain = settings.is_http(&host) || insecure;
        // Whoever installed another one first is right as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = Certificates::of(&host, &settings.certificates);
        for error in &certificates.faults {
            warn_once(&format!("{error}; going on without"));
        }
        let connect_timeout = match (mirror, settings.connect_timeout) {
            (true, limit) => Some(limit.map_or(MIRROR_CONNECT, |limit| limit.min(MIRROR_CONNECT))),
            (false, limit) => limit,
        };
        let agent = |client: Option<ClientCert>, verify: bool| {
            let tls = TlsConfig::builder()
                .disable_verification(!verify)
                .root_certs(settings.authorities.roots(&certificates.authorities))
                .client_cert(client);
            Agent::config_builder()
                .http_status_as_error(false)
                // Content may be elsewhere, but never on a weaker connection.
                .https_only(!plain)
                // Followed, and proxies chosen, by ourselves.
                .max_redirects(0)
                .proxy(None)
                .user_agent(concat!("pyxis/", env!("CARGO_PKG_VERSION")))
                .accept_encoding("identity")
                .tls_config(tls.build())
                .timeout_connect(connect_timeout)
                .timeout_recv_response(settings.idle_timeout)
                .timeout_per_read(settings.idle_timeout)
                .timeout_per_write(settings.idle_timeout)
                .timeout_global(settings.transfer_timeout)
                .input_buffer_size(256 << 10)
                .build()
                .new_agent()
        };
        let own = certificates.client.clone().filter(|_| !settings.anonymous);
        let own = own.map(|client| agent(Some(client), !insecure));
        let lax = insecure.then(|| agent(None, false));
        Agents { agent: agent(None, true), own, lax, talks_tls: OnceLock::new() }
    }
}

impl Client {
    /// Whether an address is the registry's own.
    fn is_own(&self, uri: &Uri) -> bool {
        let host = self.host.as_str();
        auth::host_of(uri).is_some_and(|asked| {
            asked == host
                || Some(asked.as_str()) == host.strip_suffix(":443").or(host.strip_suffix(":80"))
        })
    }

    /// The scheme that the registry is talked to with. One that need not be secure may have TLS all the
    /// same, and is asked.
    pub(in crate::registry) fn scheme(&self) -> &'static str {
        let Some(lax) = self.agents.lax.as_ref().filter(|_| !self.settings.is_http(&self.host))
        else {
            return if self.settings.is_http(&self.host) { "http" } else { "https" };
        };
        let tls = self.agents.talks_tls.get_or_init(|| {
            let url = format!("https://{}/v2/", self.host);
            let proxy =
                url.parse().ok().and_then(|uri| self.settings.proxies.of(&uri).ok().flatten());
            lax.get(&url).config().proxy(proxy).build().call().is_ok()
        });
        if *tls { "https" } else { "http" }
    }

    /// Whether secrets may go to a host that is talked to without TLS.
    pub(in crate::registry) fn may_be_plain(&self, host: &str) -> bool {
        self.settings.is_http(host) || self.agents.lax.is_some() && host == self.host
    }

    /// What to ask an address with.
    pub(in crate::registry) fn agent_for(&self, uri: &Uri) -> &Agent {
        let is_own = self.is_own(uri);
        let with_certificate = is_own && uri.scheme_str() == Some("https");
        let Some(own) = self.agents.own.as_ref().filter(|_| with_certificate) else {
            return self.agents.lax.as_ref().filter(|_| is_own).unwrap_or(&self.agents.agent);
        };
        // What a certificate opens is not for who has none.
        self.with_credentials.store(true, Ordering::Relaxed);
        own
    }

    /// The proxy that the registry is asked through.
    pub(super) fn proxy(&self) -> Option<ureq::Proxy> {
        let scheme = if self.settings.is_http(&self.host) { "http" } else { "https" };
        let uri = format!("{scheme}://{}/", self.host).parse().ok()?;
        self.settings.proxies.of(&uri).ok().flatten()
    }
}

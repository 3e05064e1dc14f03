//! Requests, answers and retries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::tls::{ClientCert, TlsConfig};
use ureq::{Agent, Body};

use super::answers::{content_type, detail, is_page, retry_after};
use super::auth::{self, Challenge};
use super::certificates::Certificates;
use super::credentials::{Credentials, warn_once};
use super::error::{is_on_the_way, is_unknown};
use super::manifest::{ACCEPT, Descriptor, Document};
use super::redirects::CrossOrigin;
use super::rules::Endpoint;
use super::{Blob, RegistryError, Settings, paced};
use crate::digest::Digest;
use crate::uri::Reference;

/// No honest manifest or configuration is larger.
const DOCUMENT_LIMIT: u64 = 8 << 20;
/// As long as a mirror is waited for that does not even take a connection: others follow.
const MIRROR_CONNECT: Duration = Duration::from_secs(1);
/// As often a request is answered with a challenge at most.
pub(super) const LOGINS: u32 = 3;

/// One repository of one registry.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// Shows the registry a certificate, and nobody else.
    own: Option<Agent>,
    /// Asks the registry, and nobody else, without verification.
    lax: Option<Agent>,
    /// The registry, which need not be what it should, talks TLS; found out when it is first asked.
    talks_tls: OnceLock<bool>,
    pub(super) reference: Reference,
    pub(super) mirror: bool,
    /// Where else the image is.
    pub(super) later: Vec<Endpoint>,
    /// The client for these, once one is needed.
    pub(super) next: OnceLock<Box<Client>>,
    pub(super) settings: Settings,
    pub(super) host: String,
    pub(super) repository: String,
    user: Option<String>,
    /// What is done there, as tokens name it.
    actions: &'static str,
    pub(super) credentials: Credentials,
    login: Mutex<Login>,
    with_credentials: AtomicBool,
}

/// The state of authentication.
#[derive(Debug, Default)]
struct Login {
    header: Option<String>,
    /// Counts logins, so that downloads running at once do not all repeat one.
    generation: u64,
}

/// An answered request.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
}

impl Client {
    /// A client for `reference` at the first of some places, which takes what that one lacks from those
    /// that follow.
    ///
    /// # Panics
    /// Without a place.
    pub(crate) fn new(
        reference: &Reference,
        endpoints: &[Endpoint],
        settings: &Settings,
        credentials: &Credentials,
    ) -> Client {
        let (endpoint, later) = endpoints.split_first().expect("the registry is the last");
        let Endpoint { host, repository, insecure, mirror } = endpoint.clone();
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
        let agent = agent(None, true);
        Client {
            agent,
            own,
            lax,
            talks_tls: OnceLock::new(),
            reference: reference.clone(),
            mirror,
            later: later.to_vec(),
            next: OnceLock::new(),
            settings: settings.clone(),
            user: reference.user.clone().filter(|_| host == reference.registry),
            host,
            repository,
            actions: "pull",
            credentials: credentials.clone(),
            login: Mutex::default(),
            with_credentials: AtomicBool::new(false),
        }
    }

    /// A client for the repository of `reference`, to put something there.
    pub fn to_push(
        reference: &Reference,
        settings: &Settings,
        credentials: &Credentials,
    ) -> Result<Client, RegistryError> {
        let endpoints = settings.endpoints(reference)?;
        let last = endpoints.last().map(std::slice::from_ref).unwrap_or_default();
        let client = Client::new(reference, last, settings, credentials);
        Ok(Client { actions: "pull,push", ..client })
    }

    /// How often a failed request is tried again: where others follow, not at all.
    pub(super) fn retries(&self) -> u32 {
        if self.mirror { 0 } else { self.settings.retries }
    }

    /// For how long in all it may say when to come back.
    pub(super) fn patience(&self) -> Duration {
        if self.retries() == 0 { Duration::ZERO } else { self.settings.patience }
    }

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
    pub(super) fn scheme(&self) -> &'static str {
        let Some(lax) = self.lax.as_ref().filter(|_| !self.settings.is_http(&self.host)) else {
            return if self.settings.is_http(&self.host) { "http" } else { "https" };
        };
        let tls = self.talks_tls.get_or_init(|| {
            let url = format!("https://{}/v2/", self.host);
            let proxy =
                url.parse().ok().and_then(|uri| self.settings.proxies.of(&uri).ok().flatten());
            lax.get(&url).config().proxy(proxy).build().call().is_ok()
        });
        if *tls { "https" } else { "http" }
    }

    /// Whether secrets may go to a host that is talked to without TLS.
    pub(super) fn may_be_plain(&self, host: &str) -> bool {
        self.settings.is_http(host) || self.lax.is_some() && host == self.host
    }

    /// What to ask an address with.
    pub(super) fn agent_for(&self, uri: &Uri) -> &Agent {
        let is_own = self.is_own(uri);
        let with_certificate = is_own && uri.scheme_str() == Some("https");
        let Some(own) = self.own.as_ref().filter(|_| with_certificate) else {
            return self.lax.as_ref().filter(|_| is_own).unwrap_or(&self.agent);
        };
        // What a certificate opens is not for who has none.
        self.with_credentials.store(true, Ordering::Relaxed);
        own
    }

    /// The registry's host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the registry was shown credentials, or could ask for a certificate.
    pub fn used_credentials(&self) -> bool {
        let next = self.next.get().is_some_and(|next| next.used_credentials());
        next || self.with_credentials.load(Ordering::Relaxed)
    }

    /// What a user who is denied access can do.
    pub(super) fn hint(&self) -> String {
        match (self.actions, self.used_credentials()) {
            ("pull", tried) => self.credentials.hint(&self.host, tried),
            (_, true) => "your credentials do not allow it".to_owned(),
            (_, false) => self.credentials.hint(&self.host, false).replacen(
                "the image does not exist or needs credentials",
                "it needs credentials",
                1,
            ),
        }
    }

    /// The manifest or index with this tag or digest, as this place has it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest(&self, selector: &str) -> Result<Document, RegistryError> {
        let what = format!("{}{}", self.repository, shown(selector));
        let path = format!("manifests/{selector}");
        let bytes = self.document(&path, Some(&ACCEPT.join(", ")), &what)?;
        if let Some(digest) = Digest::parse(selector) {
            self.check_digest(&digest, &bytes)?;
        }
        Ok(Document::new(bytes))
    }

    /// A manifest of an image, from here or where else that is.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest_by_digest(&self, digest: &Digest) -> Result<Document, RegistryError> {
        self.or_next(|client| client.manifest(digest))
    }

    /// Whether the registry would give this manifest to this user.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn authorize(&self, digest: &Digest) -> Result<(), RegistryError> {
        let what = format!("{}@{digest}", self.repository);
        let path = format!("manifests/{digest}");
        self.retry(|| self.request(Method::HEAD, &path, Some(&ACCEPT.join(", ")), None, &what))
            .map(drop)
    }

    /// A small blob, such as an image's configuration.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        self.or_next(|client| {
            let path = format!("blobs/{}", descriptor.digest);
            let bytes = client.document(&path, None, &descriptor.digest)?;
            client.check_digest(&descriptor.digest, &bytes)?;
            Ok(bytes)
        })
    }

    /// A blob as a stream that survives cut connections.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> Result<Blob<'a>, RegistryError> {
        self.or_next(|client| Blob::open(client, descriptor))
    }

    /// What an address outside of the registry has. It is nobody's to log in to.
    pub(super) fn get_elsewhere(
        &self,
        url: &str,
        range: Option<u64>,
        what: &str,
    ) -> Result<Response<Body>, RegistryError> {
        let failed = |error| self.transport(error, what);
        let uri: Uri = url.parse().map_err(|_| failed(ureq::Error::BadUri("a layer's".into())))?;
        let host = auth::host_of(&uri).unwrap_or_default();
        let plain = uri.scheme_str() != Some("https");
        if plain && !(uri.scheme_str() == Some("http") && self.settings.is_http(&host)) {
            return Err(failed(ureq::Error::RequireHttpsOnly(host)));
        }
        let mut request = Request::builder().method(Method::GET).uri(uri);
        if let Some(start) = range {
            request = request.header("range", format!("bytes={start}-"));
        }
        let request = request.body(()).map_err(|error| failed(error.into()))?;
        let mut response = self.send(request).map_err(failed)?;
        if response.status().is_success() {
            return Ok(response);
        }
        response.extensions_mut().get_or_insert_with(|| CrossOrigin(host));
        Err(self.refusal(response, what))
    }

    fn check_digest(&self, expected: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        let actual = expected.like(bytes);
        if *expected == actual {
            return Ok(());
        }
        let (registry, expected) = (self.host.clone(), expected.clone());
        Err(RegistryError::Digest { registry, expected, actual })
    }

    fn document(
        &self,
        path: &str,
        accept: Option<&str>,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        self.retry(|| {
            let response = self.request(Method::GET, path, accept, None, what)?.response;
            let kind = content_type(&response).map(str::to_owned);
            let bytes = paced::answer(response, DOCUMENT_LIMIT, self, what)?;
            if bytes.len() as u64 > DOCUMENT_LIMIT {
                let (registry, what) = (self.host.clone(), what.to_owned());
                return Err(RegistryError::Oversized { registry, what, limit: DOCUMENT_LIMIT });
            }
            self.check_page(kind.as_deref(), &bytes, what)?;
            Ok(bytes)
        })
    }

    /// Tries again what may pass, a little later each time.
    pub(super) fn retry<T>(
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
    pub(super) fn pause(
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

    /// One request, logging in if the registry asks for it.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        accept: Option<&str>,
        range: Option<u64>,
        what: &str,
    ) -> Result<Answer, RegistryError> {
        let url = format!("{}://{}/v2/{}/{path}", self.scheme(), self.host, self.repository);
        let send = |header: Option<&str>| {
            let mut request = Request::builder().method(method.clone()).uri(&url);
            for (name, value) in [("accept", accept), ("authorization", header)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            if let Some(start) = range {
                request = request.header("range", format!("bytes={start}-"));
            }
            let request = request.body(()).map_err(|error| self.transport(error.into(), what))?;
            self.send(request).map_err(|error| self.transport(error, what))
        };
        let (mut header, mut generation) = self.current_login();
        let mut response = send(header.as_deref())?;
        // A token may have ended, and who wants one may want a password for what it is for.
        for _ in 0..LOGINS {
            let ours = response.extensions().get::<CrossOrigin>().is_none();
            if response.status() != StatusCode::UNAUTHORIZED || !ours {
                break;
            }
            let challenges = Challenge::from_headers(response.headers());
            if challenges.is_empty() {
                break;
            }
            (header, generation) = match self.log_in(&challenges, header.as_deref(), generation)? {
                Some(answer) => answer,
                None => break,
            };
            drop(response);
            response = send(header.as_deref())?;
        }
        if response.status().is_success() {
            return Ok(Answer { response });
        }
        Err(self.refusal(response, what))
    }

    /// A header that may satisfy one of the challenges; none if `refused`, the last one, was the
    /// answer to each of them.
    pub(super) fn log_in(
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
            let shown = credential.is_some() || self.own.is_some();
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

    /// That access is denied.
    pub(super) fn denied(&self, detail: String) -> RegistryError {
        RegistryError::Denied {
            registry: self.host.clone(),
            repository: self.repository.clone(),
            detail,
            hint: self.hint(),
        }
    }

    /// Refuses a page for people where a document is to be.
    pub(super) fn check_page(
        &self,
        kind: Option<&str>,
        body: &[u8],
        what: &str,
    ) -> Result<(), RegistryError> {
        if !is_page(kind, body) {
            return Ok(());
        }
        let (registry, what) = (self.host.clone(), what.to_owned());
        Err(RegistryError::Page { registry, what })
    }

    /// What the registry was last content with, and the how-manieth that is.
    pub(super) fn current_login(&self) -> (Option<String>, u64) {
        let login = self.lock();
        (login.header.clone(), login.generation)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn transport(&self, source: ureq::Error, what: &str) -> RegistryError {
        let plain = matches!(&source, ureq::Error::Rustls(error) if error.to_string().contains("corrupt message"))
            || matches!(&source, ureq::Error::Io(error) if error.to_string().contains("corrupt message"));
        let hint = match &source {
            _ if plain => {
                "; it may talk plain http, which has to be allowed (ENROOT_ALLOW_HTTP=yes; in steps that is enroot.conf's or pyxis.toml's to say)"
            }
            ureq::Error::RequireHttpsOnly(_) => {
                "; plain http has to be allowed (ENROOT_ALLOW_HTTP=yes; in steps that is enroot.conf's or pyxis.toml's to say)"
            }
            ureq::Error::InvalidProxyUrl => "; look at http_proxy, https_proxy and all_proxy",
            _ if is_unknown(&source) && self.proxy().is_none() => {
                "; is the registry's name right, and is there a proxy to be set?"
            }
            _ => "",
        };
        let way = self.proxy().filter(|_| is_on_the_way(&source)).map(|proxy| {
            format!(
                "; the proxy {}:{} is asked for it (http_proxy, https_proxy, all_proxy; no_proxy lists what needs none)",
                proxy.host(),
                proxy.port()
            )
        });
        let hint = way.unwrap_or_else(|| hint.to_owned());
        let (registry, what) = (self.host.clone(), what.to_owned());
        RegistryError::Transport { registry, what, source: Box::new(source), hint }
    }

    /// The proxy that the registry is asked through.
    fn proxy(&self) -> Option<ureq::Proxy> {
        let scheme = if self.settings.is_http(&self.host) { "http" } else { "https" };
        let uri = format!("{scheme}://{}/", self.host).parse().ok()?;
        self.settings.proxies.of(&uri).ok().flatten()
    }

    /// What an answer that is no success means.
    pub(super) fn refusal(&self, mut response: Response<Body>, what: &str) -> RegistryError {
        let body = paced::document(response.body_mut().as_reader(), 16 << 10, self, what);
        let after = retry_after(response.headers(), SystemTime::now());
        let body = body.unwrap_or_default();
        let mut detail = match is_page(content_type(&response), &body) {
            true => " (with a web page, as no registry does: is a proxy or a portal in the way?)"
                .to_owned(),
            false => detail(&body),
        };
        let late = |after: &Duration| after.as_secs() > 0 && *after > self.patience();
        if let Some(after) = after.filter(late) {
            detail += &format!(" (not to be asked again for {} seconds)", after.as_secs());
        }
        let (registry, hint) = match response.extensions().get() {
            None => (self.host.clone(), self.hint()),
            Some(CrossOrigin(host)) => {
                let server = format!("{host}, where {} redirects to,", self.host);
                (server, "no credentials are sent there".to_owned())
            }
        };
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
                hint,
                repository: self.repository.clone(),
                registry,
                detail,
            },
            StatusCode::NOT_FOUND => {
                RegistryError::NotFound { registry, what: what.to_owned(), detail }
            }
            StatusCode::TOO_MANY_REQUESTS => RegistryError::TooMany { registry, detail, after },
            status => RegistryError::Status {
                registry,
                what: what.to_owned(),
                status: status.to_string(),
                detail,
                after,
            },
        }
    }
}

/// Half a second, doubled each time.
pub(super) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(500 << attempt.min(6))
}

pub(super) fn shown(selector: &str) -> String {
    let separator = if selector.contains(':') { '@' } else { ':' };
    format!("{separator}{selector}")
}

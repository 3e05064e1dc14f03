//! Requests, answers and retries.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::auth::{self, Challenge};
use super::credentials::Credentials;
use super::manifest::{ACCEPT, Descriptor, Document};
use super::redirects::Elsewhere;
use super::{Blob, RegistryError, Settings, paced};
use crate::digest;
use crate::uri::{Reference, hex_of};

/// No honest manifest or configuration is larger.
const DOCUMENT_LIMIT: u64 = 8 << 20;

/// One repository of one registry.
#[derive(Debug)]
pub struct Client {
    pub(super) agent: Agent,
    pub(super) settings: Settings,
    pub(super) host: String,
    repository: String,
    user: Option<String>,
    credentials: Credentials,
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
    /// A client for the repository of `reference` at `host`, which is its registry or a mirror.
    pub fn new(
        reference: &Reference,
        host: &str,
        settings: &Settings,
        credentials: &Credentials,
    ) -> Client {
        let plain = settings.is_http(host);
        // Whoever installed another one first is right as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Content may be elsewhere, but never on a weaker connection.
            .https_only(!plain)
            // Followed, and proxies chosen, by ourselves.
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("pyxis/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .tls_config(TlsConfig::builder().root_certs(settings.authorities.roots(&[])).build())
            .timeout_connect(settings.connect_timeout)
            .timeout_recv_response(settings.idle_timeout)
            .timeout_per_read(settings.idle_timeout)
            .timeout_per_write(settings.idle_timeout)
            .timeout_global(settings.transfer_timeout)
            .input_buffer_size(256 << 10)
            .build()
            .new_agent();
        Client {
            agent,
            settings: settings.clone(),
            host: host.to_owned(),
            repository: reference.repository.clone(),
            user: reference.user.clone().filter(|_| host == reference.registry),
            credentials: credentials.clone(),
            login: Mutex::default(),
            with_credentials: AtomicBool::new(false),
        }
    }

    /// The registry's host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the registry was shown credentials.
    pub fn used_credentials(&self) -> bool {
        self.with_credentials.load(Ordering::Relaxed)
    }

    /// What a user who is denied access can do.
    pub(super) fn hint(&self) -> String {
        self.credentials.hint(&self.host, self.used_credentials())
    }

    /// The manifest or index with this tag or digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest(&self, selector: &str) -> Result<Document, RegistryError> {
        let what = format!("{}{}", self.repository, shown(selector));
        let path = format!("manifests/{selector}");
        let bytes = self.document(&path, Some(&ACCEPT.join(", ")), &what)?;
        self.check_digest(selector, &bytes)?;
        Ok(Document::new(bytes))
    }

    /// Whether the registry would give this manifest to this user.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn authorize(&self, digest: &str) -> Result<(), RegistryError> {
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
        let bytes =
            self.document(&format!("blobs/{}", descriptor.digest), None, &descriptor.digest)?;
        self.check_digest(&descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    /// A blob as a stream that survives cut connections.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> Result<Blob<'a>, RegistryError> {
        Blob::open(self, descriptor)
    }

    /// What was asked for by its digest has to have it; tags have none.
    fn check_digest(&self, expected: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        if hex_of(expected).is_none() {
            return Ok(());
        }
        let actual = digest::like(expected, bytes);
        if expected == actual {
            return Ok(());
        }
        let (registry, expected) = (self.host.clone(), expected.to_owned());
        Err(RegistryError::Digest { registry, expected, actual })
    }

    fn document(
        &self,
        path: &str,
        accept: Option<&str>,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        self.retry(|| {
            let mut answer = self.request(Method::GET, path, accept, None, what)?;
            let reader = answer.response.body_mut().as_reader();
            let bytes = paced::document(reader, DOCUMENT_LIMIT, self, what)?;
            if bytes.len() as u64 > DOCUMENT_LIMIT {
                let (registry, what) = (self.host.clone(), what.to_owned());
                return Err(RegistryError::Oversized { registry, what, limit: DOCUMENT_LIMIT });
            }
            Ok(bytes)
        })
    }

    /// Tries again what may pass, a little later each time.
    pub(super) fn retry<T>(
        &self,
        mut work: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut attempt = 0;
        loop {
            match work() {
                Err(error) if error.is_passing() && attempt < self.settings.retries => {
                    std::thread::sleep(backoff(attempt));
                    attempt += 1;
                }
                done => return done,
            }
        }
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
        let scheme = if self.settings.is_http(&self.host) { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{path}", self.host, self.repository);
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
        let (header, generation) = {
            let login = self.lock();
            (login.header.clone(), login.generation)
        };
        let mut response = send(header.as_deref())?;
        let ours = response.extensions().get::<Elsewhere>().is_none();
        if response.status() == StatusCode::UNAUTHORIZED && ours {
            if let Some(challenge) = Challenge::from_headers(response.headers()) {
                drop(response);
                let header = self.log_in(&challenge, generation)?;
                response = send(Some(&header))?;
            }
        }
        if response.status().is_success() {
            return Ok(Answer { response });
        }
        Err(self.refusal(response, what))
    }

    fn log_in(&self, challenge: &Challenge, generation: u64) -> Result<String, RegistryError> {
        let mut login = self.lock();
        if login.generation > generation {
            if let Some(header) = &login.header {
                return Ok(header.clone());
            }
        }
        let credential = self.credentials.find(
            &self.host,
            &self.repository,
            self.user.as_deref(),
            challenge.realm_host(),
        )?;
        self.with_credentials.store(credential.is_some(), Ordering::Relaxed);
        let scope = format!("repository:{}:pull", self.repository);
        let header = auth::answer(self, challenge, credential.as_ref(), &scope)?;
        login.header = Some(header.clone());
        login.generation += 1;
        Ok(header)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn transport(&self, source: ureq::Error, what: &str) -> RegistryError {
        let plain = matches!(&source, ureq::Error::Rustls(error) if error.to_string().contains("corrupt message"))
            || matches!(&source, ureq::Error::Io(error) if error.to_string().contains("corrupt message"));
        let hint = match &source {
            _ if plain => {
                "; it may talk plain http, which has to be allowed (ENROOT_ALLOW_HTTP=yes)"
            }
            ureq::Error::RequireHttpsOnly(_) => {
                "; plain http has to be allowed (ENROOT_ALLOW_HTTP=yes)"
            }
            ureq::Error::InvalidProxyUrl => "; look at http_proxy, https_proxy and all_proxy",
            ureq::Error::HostNotFound => {
                "; is the registry's name right, and is there a proxy to be set?"
            }
            _ => "",
        };
        let (registry, what) = (self.host.clone(), what.to_owned());
        RegistryError::Transport { registry, what, source: Box::new(source), hint }
    }

    /// What an answer that is no success means.
    pub(super) fn refusal(&self, mut response: Response<Body>, what: &str) -> RegistryError {
        let body = paced::document(response.body_mut().as_reader(), 16 << 10, self, what);
        let detail = detail(&body.unwrap_or_default());
        let (registry, hint) = match response.extensions().get() {
            None => (self.host.clone(), self.hint()),
            Some(Elsewhere(host)) => {
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
            StatusCode::TOO_MANY_REQUESTS => RegistryError::TooMany { registry, detail },
            status => RegistryError::Status {
                registry,
                what: what.to_owned(),
                status: status.to_string(),
                detail,
            },
        }
    }
}

/// Half a second, doubled each time.
pub(super) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(500 << attempt.min(6))
}

fn shown(selector: &str) -> String {
    let separator = if selector.contains(':') { '@' } else { ':' };
    format!("{separator}{selector}")
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first error of a registry's error document, as one printable line.
fn detail(body: &[u8]) -> String {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let Some(error) = errors.into_iter().next() else { return String::new() };
    let text = if error.message.is_empty() { error.code } else { error.message };
    let text: String = text.chars().filter(|char| !char.is_control()).take(200).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

//! A client of one place that has an image: what it is asked for, and how.

mod agents;
mod login;
mod refusal;
pub(super) mod retry;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use ureq::Body;
use ureq::http::{Method, Request, Response, StatusCode, Uri};

use super::answers::content_type;
use super::auth::{self, Challenge};
use super::credentials::Credentials;
use super::manifest::{ACCEPT, Descriptor, Document};
use super::redirects::CrossOrigin;
use super::rules::Endpoint;
use super::{Blob, RegistryError, Settings, paced};
use crate::digest::Digest;
use crate::uri::Reference;

use agents::Agents;
use login::Login;

/// No honest manifest or configuration is larger.
const DOCUMENT_LIMIT: u64 = 8 << 20;
/// As often a request is answered with a challenge at most.
pub(super) const LOGINS: u32 = 3;

/// One repository of one registry.
#[derive(Debug)]
pub struct Client {
    agents: Agents,
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
        let Endpoint { host, repository, mirror, .. } = endpoint.clone();
        let agents = Agents::of(endpoint, settings);
        Client {
            agents,
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

    /// The registry's host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the registry was shown credentials, or could ask for a certificate.
    pub fn used_credentials(&self) -> bool {
        let next = self.next.get().is_some_and(|next| next.used_credentials());
        next || self.with_credentials.load(Ordering::Relaxed)
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
}

pub(super) fn shown(selector: &str) -> String {
    let separator = if selector.contains(':') { '@' } else { ':' };
    format!("{separator}{selector}")
}

//! One request of an upload: sent again after a login or a redirect, with all of its content.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, LOCATION};
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::{AsSendBody, Body, SendBody};

use crate::registry::answers::{content_type, is_page};
use crate::registry::auth::Challenge;
use crate::registry::client::LOGINS;
use crate::registry::redirects::{CrossOrigin, REDIRECTS, host_and_port, origin, resolve};
use crate::registry::{Client, RegistryError};

/// Where an answer came from, along redirects.
#[derive(Clone)]
struct AnsweredBy(Uri);

/// A part of a file, and who is told of what was read.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) file: &'a File,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) tell: &'a dyn Fn(u64),
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        (self.tell)(count as u64);
        Ok(count)
    }
}

/// One request of an upload.
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a [(HeaderName, &'a str)],
    /// What is sent, for messages.
    pub(super) what: &'a str,
}

/// What a request carries. It may have to be sent twice.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Bytes(&'a [u8]),
    Part(Part<'a>),
}

pub(super) const NOTHING: Content<'static> = Content::Bytes(b"");

impl Client {
    /// An address of this repository.
    pub(super) fn place(&self, path: &str, what: &str) -> Result<Uri, RegistryError> {
        let scheme = self.scheme();
        let place = format!("{scheme}://{}/v2/{}/{path}", self.host, self.repository);
        place.parse().map_err(|_| self.no_place(what))
    }

    /// Where an answer says to go on.
    pub(super) fn location(
        &self,
        base: &Uri,
        answer: &Response<Body>,
        what: &str,
    ) -> Result<Uri, RegistryError> {
        let Some(location) = answer.headers().get(LOCATION) else {
            let (registry, what) = (self.host.clone(), what.to_owned());
            return Err(match is_page(content_type(answer), b"?") {
                true => RegistryError::Page { registry, what },
                false => RegistryError::NoPlace { registry, what },
            });
        };
        let base = answer.extensions().get().map_or(base, |AnsweredBy(uri)| uri);
        resolve(base, location.as_bytes()).map_err(|_| self.no_place(what))
    }

    pub(super) fn no_place(&self, what: &str) -> RegistryError {
        RegistryError::NoPlace { registry: self.host.clone(), what: what.to_owned() }
    }

    /// The answer to a request, which is a success. Only the registry itself is shown who asks. Where a redirect leads,
    /// the same is sent.
    pub(super) fn exchange(
        &self,
        call: &Call<'_>,
        content: Content<'_>,
    ) -> Result<Response<Body>, RegistryError> {
        let own = self.place("", call.what)?;
        let (mut header, mut generation) = self.current_login();
        let (mut logins, mut redirects) = (0, 0);
        let mut uri = call.uri.clone();
        loop {
            let ours = origin(&uri) == origin(&own);
            let shown = header.as_deref().filter(|_| ours);
            let mut answer = self
                .call(&Call { uri: &uri, ..*call }, content, shown)
                .map_err(|error| self.transport(error, call.what).while_sending())?;
            if answer.status().is_success() {
                answer.extensions_mut().insert(AnsweredBy(uri));
                return Ok(answer);
            }
            if let Some(to) = redirect(&uri, &answer).filter(|_| redirects < REDIRECTS) {
                (uri, redirects) = (to, redirects + 1);
                continue;
            }
            if !ours {
                answer.extensions_mut().insert(CrossOrigin(host_and_port(&uri)));
            }
            let challenges = Challenge::from_headers(answer.headers());
            let wanted = answer.status() == StatusCode::UNAUTHORIZED && ours;
            if !wanted || challenges.is_empty() || logins == LOGINS {
                return Err(self.refusal(answer, call.what));
            }
            (header, generation) = match self.log_in(&challenges, header.as_deref(), generation)? {
                Some(login) => login,
                None => return Err(self.refusal(answer, call.what)),
            };
            logins += 1;
        }
    }

    fn call(
        &self,
        call: &Call<'_>,
        content: Content<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(call.method).uri(call.uri);
        for (name, value) in call.headers {
            request = request.header(name, *value);
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        match content {
            Content::Bytes(b"") if *call.method == Method::GET => self.run(request.body(())?),
            Content::Bytes(bytes) => self.run(request.body(bytes)?),
            Content::Part(mut part) => {
                let request = request.header(CONTENT_LENGTH, part.end - part.at);
                self.run(request.body(SendBody::from_reader(&mut part))?)
            }
        }
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, ureq::Error> {
        let proxy = self.settings.proxies.of(request.uri())?;
        let agent = self.agent_for(request.uri());
        agent.run(agent.configure_request(request).proxy(proxy).build())
    }
}

/// Where an answer sends what it does not take itself: a redirect that keeps method and content.
fn redirect(from: &Uri, answer: &Response<Body>) -> Option<Uri> {
    let keeps = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
    let location = answer.headers().get(LOCATION).filter(|_| keeps.contains(&answer.status()))?;
    resolve(from, location.as_bytes()).ok()
}

//! What is said of a request that has failed, and what whoever asked can do.

use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::Client;
use crate::registry::answers::{content_type, detail, is_page, retry_after};
use crate::registry::error::{is_on_the_way, is_unknown};
use crate::registry::redirects::CrossOrigin;
use crate::registry::{RegistryError, paced};

impl Client {
    /// What a user who is denied access can do.
    pub(in crate::registry) fn hint(&self) -> String {
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

    /// That access is denied.
    pub(in crate::registry) fn denied(&self, detail: String) -> RegistryError {
        RegistryError::Denied {
            registry: self.host.clone(),
            repository: self.repository.clone(),
            detail,
            hint: self.hint(),
        }
    }

    /// Refuses a page for people where a document is to be.
    pub(in crate::registry) fn check_page(
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

    pub(in crate::registry) fn transport(&self, source: ureq::Error, what: &str) -> RegistryError {
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

    /// What an answer that is no success means.
    pub(in crate::registry) fn refusal(
        &self,
        mut response: Response<Body>,
        what: &str,
    ) -> RegistryError {
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

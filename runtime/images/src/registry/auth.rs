//! Answers to a registry's challenge: basic, or a token from its token server.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::fmt::Write;
use ureq::http::{HeaderMap, Request, Uri};

use super::credentials::Credential;
use super::{Client, RegistryError, paced};

/// No token is larger.
const TOKEN_LIMIT: u64 = 1 << 20;

/// A `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
    text: String,
}

impl Challenge {
    /// The challenge to answer; a token is preferred where there are several.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Challenge> {
        let texts =
            headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let mut challenges: Vec<Challenge> = texts.map(Challenge::parse).collect();
        challenges.sort_by_key(|challenge| match challenge.scheme.as_str() {
            "bearer" => 0,
            "basic" => 1,
            _ => 2,
        });
        challenges.into_iter().next()
    }

    pub(super) fn parse(text: &str) -> Challenge {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut parameters = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => after.split_once(',').unwrap_or((after, "")),
            };
            parameters.push((name, value.trim().to_owned()));
            rest = after;
        }
        Challenge { scheme: scheme.to_ascii_lowercase(), parameters, text: text.to_owned() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The host of the token server, with its port unless that is the scheme's own.
    pub(super) fn realm_host(&self) -> Option<String> {
        let realm: Uri = self.get("realm")?.parse().ok()?;
        (self.scheme == "bearer").then(|| host_of(&realm)).flatten()
    }
}

fn host_of(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    Some(match uri.port_u16() {
        Some(port) if port != usual => format!("{host}:{port}"),
        _ => host.to_owned(),
    })
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` header that satisfies a challenge.
pub(super) fn answer(
    client: &Client,
    challenge: &Challenge,
    credential: Option<&Credential>,
    scope: &str,
) -> Result<String, RegistryError> {
    match (challenge.scheme.as_str(), credential) {
        ("basic", Some(Credential::Password { user, password })) => Ok(basic(user, password)),
        ("basic", _) => Err(RegistryError::Denied {
            registry: client.host().to_owned(),
            repository: scope.split(':').nth(1).unwrap_or_default().to_owned(),
            detail: String::new(),
            hint: client.hint(),
        }),
        ("bearer", _) => {
            token(client, challenge, credential, scope).map(|token| format!("Bearer {token}"))
        }
        _ => Err(unsupported(client, challenge)),
    }
}

fn unsupported(client: &Client, challenge: &Challenge) -> RegistryError {
    RegistryError::Challenge {
        registry: client.host().to_owned(),
        challenge: challenge.text.clone(),
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A value in a query.
fn escape(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn token(
    client: &Client,
    challenge: &Challenge,
    credential: Option<&Credential>,
    scope: &str,
) -> Result<String, RegistryError> {
    const WHAT: &str = "a token";
    let realm = challenge.get("realm").ok_or_else(|| unsupported(client, challenge))?;
    let parsed: Uri = realm.parse().map_err(|_| unsupported(client, challenge))?;
    let plain = parsed.scheme_str() != Some("https");
    let allowed = host_of(&parsed).is_some_and(|host| client.settings.is_http(&host));
    if plain && credential.is_some() && !allowed {
        return Err(client.transport(ureq::Error::RequireHttpsOnly(realm.to_owned()), WHAT));
    }
    let scope = challenge.get("scope").unwrap_or(scope);
    let service = challenge.get("service").unwrap_or_default();
    let post = |refresh: &str| {
        let proxy =
            client.settings.proxies.of(&realm.parse().map_err(ureq::http::Error::from)?)?;
        client.agent.post(realm).config().proxy(proxy).build().send_form([
            ("grant_type", "refresh_token"),
            ("service", service),
            ("scope", scope),
            ("client_id", "pyxis"),
            ("refresh_token", refresh),
        ])
    };
    let get = || {
        let mark = if realm.contains('?') { '&' } else { '?' };
        let mut url = format!("{realm}{mark}scope={}", escape(scope));
        if !service.is_empty() {
            url = format!("{url}&service={}", escape(service));
        }
        let mut request = Request::get(url);
        if let Some(Credential::Password { user, password }) = credential {
            request = request.header("authorization", basic(user, password));
        }
        client.send(request.body(())?)
    };
    let sent = client.retry(|| {
        let sent = match credential {
            Some(Credential::Identity(refresh)) => post(refresh),
            _ => get(),
        };
        let response = sent.map_err(|error| client.transport(error, WHAT))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(client.refusal(response, WHAT))
        }
    });
    let body = paced::document(sent?.into_body().into_reader(), TOKEN_LIMIT, client, WHAT)?;
    let malformed = |source| RegistryError::Malformed {
        registry: client.host().to_owned(),
        what: WHAT.to_owned(),
        source,
    };
    let token: Token = serde_json::from_slice(&body).map_err(malformed)?;
    let given =
        [token.token, token.access_token].into_iter().flatten().find(|token| !token.is_empty());
    given.ok_or_else(|| {
        malformed(<serde_json::Error as serde::de::Error>::custom("neither token nor access_token"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let challenge = Challenge::parse(text);
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(challenge.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(challenge.realm_host().as_deref(), Some("auth.docker.io"));
        let basic = Challenge::parse("BASIC realm=simple, charset=\"UTF-8\"");
        assert_eq!((basic.scheme.as_str(), basic.get("realm")), ("basic", Some("simple")));
        assert_eq!(basic.get("charset"), Some("UTF-8"));
        assert_eq!(Challenge::parse("Bearer realm=\"open").get("realm"), Some("open"));
    }

    #[test]
    fn a_token_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append("www-authenticate", "Basic realm=x".parse().unwrap());
        headers.append("www-authenticate", "Bearer realm=\"https://x/\"".parse().unwrap());
        assert_eq!(Challenge::from_headers(&headers).unwrap().scheme, "bearer");
        assert_eq!(Challenge::from_headers(&HeaderMap::new()), None);
    }
}

//! Answers to a registry's challenge: basic, or a token from its token server.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::fmt::Write;
use ureq::Body;
use ureq::http::{HeaderMap, Request, Response, Uri};

use super::credentials::Credential;
use super::{Client, RegistryError, paced};

/// What is asked of a token server, in messages.
const TOKEN: &str = "a token";
/// No token is larger.
const TOKEN_LIMIT: u64 = 1 << 20;

/// A challenge of `WWW-Authenticate` headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The challenges that can be answered, a token's first, and then those that cannot.
    pub(super) fn from_headers(headers: &HeaderMap) -> Vec<Challenge> {
        let texts =
            headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let mut challenges: Vec<Challenge> = texts.flat_map(Challenge::parse).collect();
        challenges.truncate(MOST);
        challenges.sort_by_key(|challenge| match challenge.scheme.as_str() {
            "bearer" => 0,
            "basic" => 1,
            _ => 2,
        });
        challenges
    }

    /// Reads a header, which may have several challenges (RFC 9110, section 11.6.1). A comma stands
    /// between challenges and between the parameters of one: what has no equals sign after its first
    /// word begins another.
    pub(super) fn parse(text: &str) -> Vec<Challenge> {
        let mut challenges: Vec<Challenge> = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() {
                // No word at all: what follows the next comma may be one.
                let Some(comma) = rest.find(',') else { return challenges };
                rest = &rest[comma + 1..];
                continue;
            }
            let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
            match (value, challenges.last_mut()) {
                (Some(value), Some(challenge)) => {
                    let (value, after) = parameter(value.trim_start_matches([' ', '\t']));
                    challenge.parameters.push((word.to_ascii_lowercase(), value));
                    rest = after;
                }
                _ => {
                    challenges.push(Challenge::of(word));
                    rest = token68(after);
                }
            }
        }
    }

    fn of(scheme: &str) -> Challenge {
        Challenge { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() }
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

/// More challenges than any registry has.
const MOST: usize = 8;

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// A parameter's value and what follows it. Some registries do not quote what has to be quoted.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// What follows the word that some schemes (`Negotiate`) have in place of parameters.
fn token68(text: &str) -> &str {
    let word = text.trim_start_matches([' ', '\t']);
    let end = word.find([' ', '\t', ',']).unwrap_or(word.len());
    let alone = matches!(word[end..].trim_start().chars().next(), None | Some(','));
    let plain = !word[..end].trim_end_matches('=').contains(['=', '"']);
    if alone && plain && word.len() < text.len() { &word[end..] } else { text }
}

pub(super) fn host_of(uri: &Uri) -> Option<String> {
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

/// The scheme of an `Authorization` header.
pub(super) fn is_scheme(challenge: &Challenge, header: Option<&str>) -> bool {
    let scheme = header.and_then(|header| header.split(' ').next());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(&challenge.scheme))
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
        ("basic", _) => Err(client.denied(String::new())),
        ("bearer", _) => {
            token(client, challenge, credential, scope).map(|token| format!("Bearer {token}"))
        }
        _ => Err(unsupported(client, challenge)),
    }
}

fn unsupported(client: &Client, challenge: &Challenge) -> RegistryError {
    RegistryError::Challenge {
        registry: client.host().to_owned(),
        challenge: challenge.scheme.clone(),
    }
}

fn basic(user: &str, password: &[u8]) -> String {
    format!("Basic {}", BASE64_STANDARD.encode([user.as_bytes(), b":", password].concat()))
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

/// Where to ask for a token, without what is not for a server to know. With a password the registry that names the place
/// has no say in what the token is for: it gets that token, and who gives it takes it for the user's wish.
fn address(realm: &Uri, with_password: bool) -> Option<String> {
    let (scheme, host) = (realm.scheme_str()?, host_of(realm)?);
    let query = realm.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query: Vec<&str> = query.filter(|pair| !with_password || is_plain(pair)).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("{scheme}://{host}{}{mark}{}", realm.path(), query.join("&")))
}

/// Whether a part of a query is no scope, whoever reads it: some see one in what is escaped, or behind a semicolon.
fn is_plain(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain && !pair.contains(';') && !name.eq_ignore_ascii_case("scope")
}

fn token(
    client: &Client,
    challenge: &Challenge,
    credential: Option<&Credential>,
    scope: &str,
) -> Result<String, RegistryError> {
    let unsupported = || unsupported(client, challenge);
    let realm: Uri =
        challenge.get("realm").and_then(|at| at.parse().ok()).ok_or_else(unsupported)?;
    let address = address(&realm, credential.is_some()).ok_or_else(unsupported)?;
    let plain = realm.scheme_str() != Some("https");
    let allowed = host_of(&realm).is_some_and(|host| client.may_be_plain(&host));
    if plain && credential.is_some() && !allowed {
        return Err(client.transport(ureq::Error::RequireHttpsOnly(realm.to_string()), TOKEN));
    }
    let asked = challenge.get("scope").filter(|_| credential.is_none());
    let scope = asked.unwrap_or(scope);
    let service = challenge.get("service").unwrap_or_default();
    let post = |refresh: &str| {
        let proxy = client.settings.proxies.of(&realm)?;
        client.agent_for(&realm).post(&address).config().proxy(proxy).build().send_form([
            ("grant_type", "refresh_token"),
            ("service", service),
            ("scope", scope),
            ("client_id", "pyxis"),
            ("refresh_token", refresh),
        ])
    };
    let get = || {
        let mark = if address.contains('?') { '&' } else { '?' };
        let mut url = format!("{address}{mark}scope={}", escape(scope));
        if !service.is_empty() {
            url = format!("{url}&service={}", escape(service));
        }
        let mut request = Request::get(url);
        if let Some(Credential::Password { user, password }) = credential {
            request = request.header("authorization", basic(user, password));
        }
        client.send(request.body(())?)
    };
    let sent = match credential {
        Some(Credential::Identity(refresh)) => post(refresh),
        _ => get(),
    };
    // What may pass is tried again by whoever wants the token.
    given(client, sent.map_err(|error| client.transport(error, TOKEN))?)
}

/// The token in an answer.
fn given(client: &Client, response: Response<Body>) -> Result<String, RegistryError> {
    if !response.status().is_success() {
        return Err(client.refusal(response, TOKEN));
    }
    let body = paced::answer(response, TOKEN_LIMIT, client, TOKEN)?;
    client.check_page(None, &body, TOKEN)?;
    let malformed = |source| RegistryError::Malformed {
        registry: client.host().to_owned(),
        what: TOKEN.to_owned(),
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

    fn one(text: &str) -> Challenge {
        let [challenge] = &Challenge::parse(text)[..] else { panic!("one: {text}") };
        challenge.clone()
    }

    #[test]
    fn reads_challenges() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let challenge = one(text);
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(challenge.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(challenge.realm_host().as_deref(), Some("auth.docker.io"));
        let basic = one("BASIC realm=simple, charset=\"UTF-8\"");
        assert_eq!((basic.scheme.as_str(), basic.get("realm")), ("basic", Some("simple")));
        assert_eq!(basic.get("charset"), Some("UTF-8"));
        assert_eq!(one("Bearer realm=\"open").get("realm"), Some("open"));
        // Not quoted, though a URL is no token.
        let loose = one("Bearer realm=https://a/b?c=d,service=x y , scope = \"s\"");
        assert_eq!(loose.get("realm"), Some("https://a/b?c=d"));
        assert_eq!((loose.get("service"), loose.get("scope")), (Some("x y"), Some("s")));
        assert_eq!(
            one(r#"Basic realm="a \"b\" \\ c, d=e""#).get("realm"),
            Some(r#"a "b" \ c, d=e"#)
        );
    }

    #[test]
    fn a_header_may_have_several_challenges() {
        for (text, want) in [
            (
                r#"Basic realm="x", Bearer realm="https://t/",service="s""#,
                "basic:x bearer:https://t/",
            ),
            (
                r#"Bearer realm="https://t/",service="s",Basic realm="x""#,
                "bearer:https://t/ basic:x",
            ),
            (
                r#"Negotiate, Basic realm="x, Bearer realm=y", Bearer realm="z""#,
                "negotiate: basic:x, Bearer realm=y bearer:z",
            ),
            (r#"Negotiate abc123==, Bearer realm="z""#, "negotiate: bearer:z"),
            (r#"NTLM ,, ,Basic realm=x ,Bearer  realm = "z" "#, "ntlm: basic:x bearer:z"),
            (r#"Digest nonce="a", realm="d", Basic"#, "digest:d basic:"),
            ("Basic", "basic:"),
            ("", ""),
            (", \"lost\", Basic realm=x", "basic:x"),
        ] {
            let shown: Vec<String> = Challenge::parse(text)
                .iter()
                .map(|one| format!("{}:{}", one.scheme, one.get("realm").unwrap_or_default()))
                .collect();
            assert_eq!(shown.join(" "), want, "{text}");
        }
    }

    #[test]
    fn a_place_that_gets_a_password_says_nothing_of_the_scope() {
        for (realm, free, with_password) in [
            ("https://t/token", "https://t/token", "https://t/token"),
            ("https://T:443/a?b=c&d", "https://T/a?b=c&d", "https://T/a?b=c&d"),
            ("http://u:p@t:5000?x=1#y", "http://t:5000/?x=1", "http://t:5000/?x=1"),
            ("https://t/?scope=a&b=c&&", "https://t/?scope=a&b=c", "https://t/?b=c"),
            ("https://t/?SCOPE&sc%6Fpe=a", "https://t/?SCOPE&sc%6Fpe=a", "https://t/"),
            (
                "https://t/?a=b;scope=c&+scope=d&e",
                "https://t/?a=b;scope=c&+scope=d&e",
                "https://t/?e",
            ),
            ("https://t/?scope[]=a#&b", "https://t/?scope[]=a", "https://t/"),
        ] {
            let at = |with_password| address(&realm.parse().unwrap(), with_password);
            assert_eq!(at(false).as_deref(), Some(free), "{realm}");
            assert_eq!(at(true).as_deref(), Some(with_password), "{realm}");
        }
        assert_eq!(address(&"/token".parse().unwrap(), false), None);
    }

    #[test]
    fn a_token_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append("www-authenticate", "Basic realm=x".parse().unwrap());
        headers.append("www-authenticate", "Bearer realm=\"https://x/\"".parse().unwrap());
        let schemes: Vec<String> =
            Challenge::from_headers(&headers).into_iter().map(|one| one.scheme).collect();
        assert_eq!(schemes, ["bearer", "basic"]);
        assert!(Challenge::from_headers(&HeaderMap::new()).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_header_has_an_end(text in "[ ,=\"\\\\a-zB]{0,60}|\\PC{0,60}") {
            let _ = Challenge::parse(&text);
        }
    }
}

//! Sends requests along redirects. ureq would keep credentials on any port of the same host, where
//! somebody else may listen.

use std::fmt::Write;

use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{Request, Response, StatusCode, Uri};
use ureq::{Body, Error};

use super::{Client, paced};

pub(super) const REDIRECTS: u32 = 8;
/// No text of a redirect that is worth its connection is longer.
const TEXT_LIMIT: u64 = 16 << 10;

/// Marks a response that came from another origin than the registry's, and holds that host. Credentials that
/// such a server asks for are not the registry's wish.
#[derive(Clone)]
pub(super) struct CrossOrigin(pub(super) String);

impl Client {
    /// The answer to a request without a body. Where it leads to another scheme, host or port, it
    /// goes without its `Authorization`, and through the proxy for that place.
    /// [`CrossOrigin`] is then with it.
    pub(super) fn send(&self, mut request: Request<()>) -> Result<Response<Body>, Error> {
        let first = request.uri().clone();
        for _ in 0..=REDIRECTS {
            let proxy = self.settings.proxies.of(request.uri())?;
            let agent = self.agent_for(request.uri());
            let sent = agent.configure_request(request.clone()).proxy(proxy).build();
            let mut response = agent.run(sent)?;
            let location = match response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => response.headers().get(LOCATION),
                _ => None,
            };
            let Some(location) = location else {
                if origin(request.uri()) != origin(&first) {
                    let cross_origin = CrossOrigin(host_and_port(request.uri()));
                    response.extensions_mut().insert(cross_origin);
                }
                return Ok(response);
            };
            let to = resolve(request.uri(), location.as_bytes())?;
            // Read to its end, so that the connection can be used again.
            let text = response.into_body().into_reader();
            let _ = paced::document(text, TEXT_LIMIT, self, "a redirect");
            if origin(&to) != origin(request.uri()) {
                request.headers_mut().remove(AUTHORIZATION);
            }
            *request.uri_mut() = to;
        }
        Err(Error::TooManyRedirects)
    }
}

/// What has to be the same for credentials to be sent.
pub(super) fn origin(uri: &Uri) -> (Option<&str>, String, Option<u16>) {
    let scheme = uri.scheme_str();
    let usual = match scheme {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    (scheme, uri.host().unwrap_or_default().to_ascii_lowercase(), uri.port_u16().or(usual))
}

/// Host and port, without what may be secret.
pub(super) fn host_and_port(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where a `Location` leads (RFC 3986, section 5.2).
pub(super) fn resolve(base: &Uri, location: &[u8]) -> Result<Uri, Error> {
    let bad = |_| Error::BadUri(format!("redirect to {:?}", String::from_utf8_lossy(location)));
    let text = std::str::from_utf8(location).map_err(|_| bad(()))?.trim();
    let text = &*escaped(text.split('#').next().unwrap_or_default());
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let absolute = text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    let whole = if absolute {
        text.to_owned()
    } else if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        format!("{scheme}://{authority}{}", without_dots(text))
    } else if text.starts_with('?') {
        format!("{scheme}://{authority}{}{text}", base.path())
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{}", without_dots(&format!("{directory}/{text}")))
    };
    let to: Uri = whole.parse().map_err(|_| bad(()))?;
    if to.host().is_some_and(|host| !host.is_empty()) { Ok(to) } else { Err(bad(())) }
}

/// What a URI cannot have as it is, such as blanks in a signature, as it can. Others take it, and a server
/// reads the same.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            byte => out.push(byte.into()),
        }
        out
    })
}

/// A path that begins with a slash, its `.` and `..` gone through (RFC 3986, section 5.2.4).
fn without_dots(text: &str) -> String {
    let end = text.find('?').unwrap_or(text.len());
    let (path, query) = text.split_at(end);
    let mut out: Vec<&str> = Vec::new();
    let mut names = path.split('/').skip(1).peekable();
    while let Some(name) = names.next() {
        match name {
            ".." => drop(out.pop()),
            "." => {}
            name => out.push(name),
        }
        if matches!(name, "." | "..") && names.peek().is_none() {
            out.push("");
        }
    }
    format!("/{}{query}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/sha256:1?x=y".parse().unwrap();
        for (location, want) in [
            ("https://cdn.example/x?sig=a://b", "https://cdn.example/x?sig=a://b"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/token?to=http://x/", "https://r.example:5000/token?to=http://x/"),
            ("other?to=http://x/", "https://r.example:5000/v2/a/blobs/other?to=http://x/"),
            ("?z", "https://r.example:5000/v2/a/blobs/sha256:1?z"),
            ("/x#fragment", "https://r.example:5000/x"),
            ("../../../../v2/b/blobs/x", "https://r.example:5000/v2/b/blobs/x"),
            ("../manifests/./y/..", "https://r.example:5000/v2/a/manifests/"),
            ("/a/../b/./c?d=/../e", "https://r.example:5000/b/c?d=/../e"),
            ("./z", "https://r.example:5000/v2/a/blobs/z"),
            ("/x?sig=a b+c|\"d\"", "https://r.example:5000/x?sig=a%20b+c%7C%22d%22"),
            ("https://cdn.example/\u{e4} b?c=%20{}", "https://cdn.example/%C3%A4%20b?c=%20%7B%7D"),
        ] {
            assert_eq!(resolve(&base, location.as_bytes()).unwrap().to_string(), want);
        }
        for bad in [&b"http://"[..], b"http:///x", b"//ho st/x", b"/a\x01b", b"\xff"] {
            assert!(resolve(&base, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let same = |a: &str, b: &str| {
            let (a, b): (Uri, Uri) = (a.parse().unwrap(), b.parse().unwrap());
            origin(&a) == origin(&b)
        };
        assert!(same("https://r.example/a", "https://R.example:443/b"));
        assert!(!same("https://r.example/", "http://r.example/"));
        assert!(!same("http://r.example:5000/", "http://r.example:5001/"));
        assert!(!same("https://r.example/", "https://r.example.org/"));
    }
}

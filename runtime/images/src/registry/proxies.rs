//! Which proxy a request goes through: the environment's variables, as curl reads them.

use std::ffi::OsStr;
use std::net::IpAddr;

use linux::environ::Environ;
use ureq::Proxy;
use ureq::http::Uri;

/// Proxies by scheme, and what is reached without one.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    direct: Vec<NoProxyRule>,
}

impl std::fmt::Debug for Proxies {
    /// Without their URLs, which may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (http, https) = (self.http.is_some(), self.https.is_some());
        write!(f, "Proxies(http {http}, https {https}, {:?})", self.direct)
    }
}

impl Proxies {
    /// `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, or the same in capitals; not
    /// `HTTP_PROXY`, which in a CGI program's environment is a client's header.
    pub fn of_environ(environ: &Environ) -> Proxies {
        let value = |name: &str| environ.get(OsStr::new(name))?.to_str().map(str::to_owned);
        Proxies::from_variables(value)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let first = |names: &[&str]| {
            let mut set = names.iter().filter_map(|name| variable(name));
            set.find_map(|value| Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
        };
        Proxies {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            direct: first(&["no_proxy", "NO_PROXY"])
                .unwrap_or_default()
                .split([',', ' ', '\t', '\n'])
                .filter_map(NoProxyRule::parse)
                .collect(),
        }
    }

    /// The proxy for a request.
    ///
    /// # Errors
    /// [`ureq::Error::InvalidProxyUrl`].
    pub(super) fn of(&self, uri: &Uri) -> Result<Option<Proxy>, ureq::Error> {
        let https = uri.scheme_str() == Some("https");
        let Some(proxy) = (if https { &self.https } else { &self.http }) else { return Ok(None) };
        let host = bare(uri.host().unwrap_or_default());
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        if self.direct.iter().any(|item| item.covers(&host, port)) {
            return Ok(None);
        }
        if proxy.contains("://") {
            Proxy::new(proxy).map(Some)
        } else {
            Proxy::new(&format!("http://{proxy}")).map(Some)
        }
    }
}

/// An item of `no_proxy`: requests that it covers go without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NoProxyRule {
    pattern: HostPattern,
    port: Option<u16>,
}

/// The hosts that a rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Everything,
    /// A domain and what is in it.
    Name(String),
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u32),
}

impl NoProxyRule {
    /// `*`, a name or an address, with a port or without, or a network such as `10.0.0.0/8`.
    fn parse(item: &str) -> Option<NoProxyRule> {
        let item = item.trim();
        if let Some(network) = network(item) {
            return Some(NoProxyRule { pattern: network, port: None });
        }
        let (host, port) = match item.rsplit_once(':') {
            Some((host, port)) if item.parse::<IpAddr>().is_err() => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) if host.starts_with('[') => (item, None),
                Err(_) => return None,
            },
            _ => (item, None),
        };
        let host = bare(host.strip_prefix("*.").unwrap_or(host));
        let host = host.trim_start_matches('.');
        let pattern = match host.parse::<IpAddr>() {
            Ok(address) => HostPattern::Network(address, 128),
            Err(_) if host == "*" => HostPattern::Everything,
            Err(_) if host.is_empty() => return None,
            Err(_) => HostPattern::Name(host.to_owned()),
        };
        Some(NoProxyRule { pattern, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        match &self.pattern {
            HostPattern::Everything => true,
            HostPattern::Name(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            HostPattern::Network(network, bits) => match (network, host.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(host))) => {
                    (network.to_bits() ^ host.to_bits()).leading_zeros() >= (*bits).min(32)
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(host))) => {
                    (network.to_bits() ^ host.to_bits()).leading_zeros() >= *bits
                }
                _ => false,
            },
        }
    }
}

fn network(item: &str) -> Option<HostPattern> {
    let (address, bits) = item.split_once('/')?;
    let (address, bits): (IpAddr, u32) = (bare(address).parse().ok()?, bits.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some(HostPattern::Network(address, bits))
}

/// Without the brackets of an address, the dot behind a whole name, and capitals.
fn bare(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn host(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().unwrap()).unwrap().map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let (plain, tls) = ("http://r.example/v2/", "https://r.example/v2/");
        for (variables, http, https) in [
            (&[("http_proxy", "http://a:1")][..], Some("a"), None),
            (&[("HTTP_PROXY", "http://a:1")], None, None),
            (&[("https_proxy", "b:2")], None, Some("b")),
            (&[("HTTPS_PROXY", "b:2"), ("https_proxy", " ")], None, Some("b")),
            (&[("https_proxy", "b:2"), ("HTTPS_PROXY", "c:3")], None, Some("b")),
            (&[("ALL_PROXY", "d:4"), ("https_proxy", "b:2")], Some("d"), Some("b")),
            (&[("all_proxy", "d:4"), ("ALL_PROXY", "e:5")], Some("d"), Some("d")),
            (&[], None, None),
        ] {
            let proxies = proxies(variables);
            let want = (http.map(str::to_owned), https.map(str::to_owned));
            assert_eq!((host(&proxies, plain), host(&proxies, tls)), want, "{variables:?}");
        }
        let bad = proxies(&[("https_proxy", "gopher://x")]);
        assert!(bad.of(&tls.parse().unwrap()).is_err());
    }

    #[test]
    fn no_proxy_means_what_it_means_to_curl() {
        let direct = |list: &str, url: &str| {
            let proxies = proxies(&[("all_proxy", "p:1"), ("no_proxy", list)]);
            host(&proxies, url).is_none()
        };
        for (list, url, want) in [
            ("example.com", "https://example.com/v2/", true),
            ("example.com", "https://registry.example.com/v2/", true),
            ("example.com", "https://EXAMPLE.com./v2/", true),
            ("example.com", "https://badexample.com/v2/", false),
            (".example.com", "https://example.com/", true),
            (".example.com", "https://a.b.example.com/", true),
            ("*.example.com", "https://a.example.com/", true),
            ("localhost, example.com", "https://example.com/", true),
            ("localhost example.com", "https://example.com/", true),
            ("a,,b", "https://c/", false),
            ("*", "http://anything/", true),
            ("example.com:5000", "http://example.com:5000/", true),
            ("example.com:5000", "http://example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("127.0.0.1", "http://127.0.0.1:5000/", true),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/", true),
            ("27.0.0.1", "http://127.0.0.1/", false),
            ("10.0.0.0/8", "http://10.1.2.3:5000/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("0.0.0.0/0", "http://11.1.2.3/", true),
            ("10.0.0.0/33", "http://10.0.0.0/", false),
            ("::1", "http://[::1]:5000/", true),
            ("[::1]:5000", "http://[::1]:5000/", true),
            ("[::1]", "http://[::1]/", true),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("fd00::/8", "http://[fe80::1]/", false),
        ] {
            assert_eq!(direct(list, url), want, "{list:?} {url}");
        }
    }
}

//! docker's `config.json`, also written by podman: `auths`, `credHelpers`, `credsStore`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hygiene::unsecure;
use linux::bounded;
use linux::file_error::FileError;
use serde::Deserialize;

use super::{Credential, CredentialError};
use crate::bounded::nullable;
use crate::uri::{DOCKER_HUB, HUB_NAMES};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(deserialize_with = "nullable")]
    auths: BTreeMap<String, Option<Auth>>,
    #[serde(rename = "credHelpers", deserialize_with = "nullable")]
    helpers: BTreeMap<String, Option<String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The answer of a credential helper.
#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// No honest one is larger.
const LARGEST: u64 = 4 << 20;

/// The credential that a file has for a repository; none if there is no such file.
pub(super) fn find(
    path: &Path,
    host: &str,
    repository: &str,
) -> Result<Option<Credential>, CredentialError> {
    let bytes = match bounded::read(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(FileError::new("read the credentials in", path, source).into()),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let config: Config = serde_json::from_slice(&bytes)
        .map_err(|source| CredentialError::Malformed { path: path.to_owned(), source })?;
    config.find(host, repository)
}

/// The entry that a configuration itself has.
pub(super) fn written(text: &[u8], host: &str, repository: &str) -> Option<Credential> {
    serde_json::from_slice::<Config>(text).ok()?.written(host, repository)
}

impl Config {
    fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, CredentialError> {
        let helper = self.helpers.iter().find(|(key, _)| names(key, host));
        let helper = helper.and_then(|(_, name)| name.as_ref()).filter(|name| !name.is_empty());
        if let Some(name) = helper {
            return ask(name, host).map(Some);
        }
        if let Some(credential) = self.written(host, repository) {
            return Ok(Some(credential));
        }
        match &self.store {
            // A store is for all registries and says "not found" for most.
            Some(name) if !name.is_empty() => Ok(ask(name, host).ok()),
            _ => Ok(None),
        }
    }

    /// The entry with the longest matching path, as podman has entries for parts of a registry.
    fn written(&self, host: &str, repository: &str) -> Option<Credential> {
        let hosts = if host == DOCKER_HUB { &HUB_NAMES[..] } else { &[host] };
        let below = |key: &str| {
            hosts.iter().any(|host| {
                let full = format!("{host}/{repository}");
                full.strip_prefix(key).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
            })
        };
        let fits = |key: &str| names(key, host) || below(bare(key));
        let entries = self.auths.iter().filter(|(key, _)| fits(key));
        // Of the Hub's names that of docker itself goes first.
        let rank = |key: &str| (bare(key).len(), key.starts_with("https://index.docker.io/v1"));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(key, _)| std::cmp::Reverse(rank(key)));
        // An entry without anything in it says that a helper has it.
        entries.into_iter().find_map(|(_, auth)| auth.as_ref()?.credential())
    }
}

impl Auth {
    fn credential(&self) -> Option<Credential> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Some(Credential::Identity(token.clone()));
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            if !user.is_empty() {
                let password = password.clone().into_bytes();
                return Some(Credential::Password { user: user.clone(), password });
            }
        }
        let text = LENIENT.decode(self.auth.as_ref()?.trim()).ok()?;
        let colon = text.iter().position(|byte| *byte == b':')?;
        let user = String::from_utf8(text[..colon].to_vec()).ok()?;
        let mut password = text[colon + 1..].to_vec();
        while password.last() == Some(&0) {
            password.pop();
        }
        Some(Credential::Password { user, password })
    }
}

/// Written by hand, an entry may lack its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key without scheme and without what old versions put behind the host.
fn bare(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let key = key.trim_end_matches('/');
    let key =
        key.strip_suffix("/access-token").or(key.strip_suffix("/refresh-token")).unwrap_or(key);
    key.trim_end_matches("/v1").trim_end_matches("/v2")
}

fn names(key: &str, host: &str) -> bool {
    let key = bare(key);
    key.eq_ignore_ascii_case(host) || host == DOCKER_HUB && HUB_NAMES.contains(&key)
}

/// Asks `docker-credential-NAME`.
fn ask(name: &str, host: &str) -> Result<Credential, CredentialError> {
    let program = format!("docker-credential-{name}");
    let failed = |problem: String| CredentialError::Command {
        what: program.clone(),
        host: host.to_owned(),
        problem,
    };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(failed("this is no name of a helper".to_owned()));
    }
    let server = if host == DOCKER_HUB { "https://index.docker.io/v1/" } else { host };
    let run = || -> io::Result<std::process::Output> {
        let mut child = unsecure::command(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A helper may fail without reading; its status tells.
            let _ = input.write_all(server.as_bytes());
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        return Err(failed(text.lines().next().unwrap_or("it failed").to_owned()));
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(match answer.user.as_str() {
        "<token>" => Credential::Identity(answer.secret),
        _ => Credential::Password { user: answer.user, password: answer.secret.into_bytes() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_longest_key_wins_and_old_forms_are_known() {
        let config = config(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
                "reg.io": {"auth": "YTpi"},
                "reg.io/team": {"username": "t", "password": "p"},
                "https://ghcr.io/v2/": {"identitytoken": "it"},
                "broken.io": {"auth": "!"}
            }}"#,
        );
        let user = |host, repository| match config.find(host, repository).unwrap() {
            Some(Credential::Password { user, password }) => {
                format!("{user}:{}", String::from_utf8_lossy(&password))
            }
            Some(Credential::Identity(token)) => token,
            None => "-".to_owned(),
        };
        assert_eq!(user(DOCKER_HUB, "library/a"), "hub:secret");
        assert_eq!(user("reg.io", "x"), "a:b");
        assert_eq!(user("reg.io", "team/x"), "t:p");
        assert_eq!(user("reg.io", "teams/x"), "a:b");
        assert_eq!(user("ghcr.io", "x"), "it");
        assert_eq!(user("broken.io", "x"), "-");
        assert_eq!(user("other.io", "x"), "-");
    }

    #[test]
    fn null_is_what_go_takes_it_for_and_odd_entries_are_none() {
        for text in [
            r#"{"auths": null, "credHelpers": null, "credsStore": null}"#,
            r#"{"auths": {"reg.io": null}, "credHelpers": {"reg.io": null}, "credsStore": ""}"#,
            r#"{"auths": {"reg.io": {}}, "credHelpers": {"reg.io": ""}, "HttpHeaders": {"x": "y"}}"#,
            r#"{"auths": {"reg.io": {"auth": null, "username": null, "email": null}}}"#,
            r#"{"auths": {"reg.io": {"auth": ""}, "https://reg.io/v1/": {"auth": "bm9jb2xvbg=="}}}"#,
        ] {
            assert_eq!(config(text).find("reg.io", "x").unwrap(), None, "{text}");
        }
        let found = |text: &str, host: &str| match config(text).find(host, "team/x").unwrap() {
            Some(Credential::Password { user, password }) => (user, password),
            other => panic!("{text}: {other:?}"),
        };
        // An empty entry beside a good one; without padding; bytes that are no text.
        let text = r#"{"auths": {"https://reg.io": {}, "reg.io": {"auth": "dTpwdw"}}}"#;
        assert_eq!(found(text, "reg.io"), ("u".to_owned(), b"pw".to_vec()));
        let text = r#"{"auths": {"REG.io": {"auth": "dTr/OlwA"}}}"#;
        assert_eq!(found(text, "reg.io"), ("u".to_owned(), b"\xff:\\".to_vec()));
        for name in [
            "docker.io",
            "registry-1.docker.io",
            "https://index.docker.io/v1/",
            "index.docker.io/v1/access-token",
            "registry.hub.docker.com",
            "docker.io/team",
            "docker.io/team/x",
        ] {
            let text = format!(r#"{{"auths": {{"{name}": {{"auth": "dTpw"}}}}}}"#);
            assert_eq!(found(&text, DOCKER_HUB).0, "u", "{name}");
        }
    }

    #[test]
    fn a_helper_that_is_no_name_is_not_run() {
        let config = config(r#"{"credHelpers": {"reg.io": "../../bin/x"}}"#);
        let error = config.find("reg.io", "x").unwrap_err().to_string();
        assert!(error.contains("no name of a helper"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_not(text in "\\PC{0,100}") {
            if let Ok(config) = serde_json::from_str::<Config>(&text) {
                let _ = config.written("a", "b");
            }
        }
    }
}

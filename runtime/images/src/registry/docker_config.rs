//! docker's `config.json`, also written by podman: `auths`, `credHelpers`, `credsStore`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hygiene::unsecure;
use serde::Deserialize;

use super::{Credential, CredentialError};
use crate::uri::DOCKER_HUB;

/// docker's own name for its registry.
const HUB_KEY: &str = "index.docker.io";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
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

#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The credential that a file has for a repository; none if there is no such file.
pub(super) fn find(
    path: &Path,
    host: &str,
    repository: &str,
) -> Result<Option<Credential>, CredentialError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(CredentialError::Read { path: path.to_owned(), source }),
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
        let helper = self.helpers.iter().find(|(key, _)| names(key, host)).map(|(_, name)| name);
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
        let full = format!("{host}/{repository}");
        let fits = |key: &str| {
            let key = bare(key);
            names(key, host)
                || full
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        let entries = self.auths.iter().filter(|(key, _)| fits(key));
        entries.max_by_key(|(key, _)| bare(key).len()).and_then(|(_, auth)| auth.credential())
    }
}

impl Auth {
    fn credential(&self) -> Option<Credential> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Some(Credential::Identity(token.clone()));
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Some(Credential::Password { user: user.clone(), password: password.clone() });
        }
        let text = BASE64_STANDARD.decode(self.auth.as_ref()?.trim()).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (user, password) = text.split_once(':')?;
        let password = password.trim_end_matches('\0');
        Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }
}

/// A key without scheme and without what old versions put behind the host.
fn bare(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2")
}

fn names(key: &str, host: &str) -> bool {
    let key = bare(key);
    key == host || host == DOCKER_HUB && [HUB_KEY, "docker.io"].contains(&key)
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
    let helped: Helped =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(match helped.user.as_str() {
        "<token>" => Credential::Identity(helped.secret),
        _ => Credential::Password { user: helped.user, password: helped.secret },
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
            Some(Credential::Password { user, password }) => format!("{user}:{password}"),
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

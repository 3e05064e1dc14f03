//! Whose name to give to a registry: enroot's credentials file, then those of docker and podman.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hygiene::console;
use linux::file_error::FileError;

use super::docker_config;
use super::netrc::{self, Login};

/// Something to log in with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password, or a token in place of one.
    Password {
        /// Name.
        user: String,
        /// Password: bytes, of which nothing is taken away and nothing changed.
        password: Vec<u8>,
    },
    /// A token that is exchanged for others.
    Identity(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Password { user, .. } => write!(f, "Password {{ user: {user:?} }}"),
            Credential::Identity(_) => write!(f, "Identity"),
        }
    }
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// Others could have put commands there.
    #[error("{} belongs to another user or can be written by others: chmod go-w it", .0.display())]
    Unsafe(PathBuf),
    /// A file is no JSON.
    #[error("{} is malformed: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From the parser.
        source: serde_json::Error,
    },
    /// A password command or credential helper failed.
    #[error("{what} gave no password for {host}: {problem}")]
    Command {
        /// Which command.
        what: String,
        /// For which registry.
        host: String,
        /// What happened.
        problem: String,
    },
    /// A user was named that no file knows.
    #[error("no password for user {user} of {host}: add a line \"machine {host} login {user} password ...\" to {}", file.display())]
    NoPassword {
        /// The user.
        user: String,
        /// The registry.
        host: String,
        /// Where to put it.
        file: PathBuf,
    },
}

/// Where credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// enroot's file, netrc-like.
    pub netrc: Option<PathBuf>,
    /// docker's `config.json` and files like it, in order.
    pub docker: Vec<PathBuf>,
}

impl Credentials {
    /// Credentials for a repository of a registry, `user`'s if one is named. `realm` is the host
    /// of the registry's token server, which enroot's file may list instead.
    ///
    /// # Errors
    /// [`CredentialError`]; no credentials at all is none, unless `user` is named.
    pub fn find(
        &self,
        host: &str,
        repository: &str,
        user: Option<&str>,
        realm: Option<String>,
    ) -> Result<Option<Credential>, CredentialError> {
        if let Some(path) = &self.netrc {
            let login = find_login(path, host, user, realm.as_deref());
            if let Some(login) = unless_odd(login)? {
                let password = login.password(host, path)?;
                return Ok(Some(Credential::Password { user: login.user, password }));
            }
        }
        for path in &self.docker {
            let found = unless_odd(docker_config::find(path, host, repository))?;
            let fits = |credential: &Credential| match (credential, user) {
                (Credential::Password { user, .. }, Some(wanted)) => user == wanted,
                _ => true,
            };
            if let Some(credential) = found.filter(fits) {
                return Ok(Some(credential));
            }
        }
        match user {
            None => Ok(None),
            Some(user) => Err(CredentialError::NoPassword {
                user: user.to_owned(),
                host: host.to_owned(),
                file: self.netrc.clone().unwrap_or_else(|| ".credentials".into()),
            }),
        }
    }

    /// What a user can do who is denied access.
    pub(super) fn hint(&self, host: &str, tried: bool) -> String {
        if tried {
            return "the image does not exist or your credentials do not allow it".to_owned();
        }
        let file = self.netrc.as_deref().unwrap_or(Path::new(".credentials"));
        format!(
            "the image does not exist or needs credentials: add \"machine {host} login USER password PASSWORD\" to {}",
            file.display()
        )
    }
}

/// Without a file that cannot be used, as if it were not there: most images are for everybody, and
/// what a registry says to a request without credentials is to the point.
fn unless_odd<T>(found: Result<Option<T>, CredentialError>) -> Result<Option<T>, CredentialError> {
    found.or_else(|error| {
        warn_once(&format!("{error}; going on without"));
        Ok(None)
    })
}

/// Tells what is wrong with a file, once: each registry and each of its mirrors reads it again.
pub(super) fn warn_once(text: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.insert(text.to_owned()) {
        console::tell(format_args!("[WARN] {text}"));
    }
}

/// The line for the registry (its host, or host and port where that is not 443) and, as curl would do for enroot, the one of its
/// token server with the same user name, if there is one. Who names the user says whom the password is for: then, as with enroot, a line
/// for the host is for all of its ports.
fn find_login(
    path: &Path,
    host: &str,
    user: Option<&str>,
    realm: Option<&str>,
) -> Result<Option<Login>, CredentialError> {
    let logins = netrc::read(path)?;
    let is_users = |login: &&Login| user.is_none_or(|user| login.user == user);
    let found = logins.iter().filter(is_users).find(|login| login.is_for(host)).or_else(|| {
        let mut named = logins.iter().filter(|login| user.is_some() && is_users(login));
        named.find(|login| login.is_for_any_port_of(host))
    });
    let Some(found) = found else { return Ok(None) };
    let at_realm = realm.and_then(|realm| {
        logins.iter().find(|login| login.is_for(realm) && login.user == found.user)
    });
    Ok(Some(at_realm.unwrap_or(found).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_for_one_port() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("credentials");
        let text = "machine reg.io login u password p\nmachine reg.io:5000 login v password q\n\
            machine [::1]:5000 login w password r\nmachine ::1 login x password s\n";
        std::fs::write(&path, text).unwrap();
        let user = |host: &str| find_login(&path, host, None, None).unwrap().map(|l| l.user);
        for (host, wanted) in [
            ("reg.io", Some("u")),
            ("reg.io:443", Some("u")),
            ("reg.io:5000", Some("v")),
            ("reg.io:5001", None),
            ("reg.io:80", None),
            ("evil.reg.io", None),
            ("[::1]:5000", Some("w")),
            ("[::1]:5001", None),
            (crate::uri::DOCKER_HUB, None),
        ] {
            assert_eq!(user(host).as_deref(), wanted, "{host}");
        }
        // Who names a user has chosen the registry.
        let named = |host: &str, user: &str| {
            find_login(&path, host, Some(user), None).unwrap().map(|login| login.machine)
        };
        assert_eq!(named("reg.io:5001", "u").as_deref(), Some("reg.io"));
        assert_eq!(named("REG.io:5000", "u").as_deref(), Some("reg.io"));
        assert_eq!(named("reg.io:5000", "v").as_deref(), Some("reg.io:5000"));
        assert_eq!(named("reg.io:5001", "v"), None);
        assert_eq!(named("reg.io.evil:5001", "u"), None);
        assert_eq!(named("reg.io:evil", "u"), None);
        // The Hub has more names than any.
        for name in [
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "auth.docker.io",
            "Docker.IO:443",
        ] {
            std::fs::write(&path, format!("machine {name} login h password p\n")).unwrap();
            assert_eq!(user(crate::uri::DOCKER_HUB).as_deref(), Some("h"), "{name}");
            assert_eq!(user("evil.io"), None);
            assert_eq!(user("docker.io:5000"), None);
        }
        // The token server's own, where it is that of the port.
        std::fs::write(&path, "machine r login u password p\nmachine a login u password q\n")
            .unwrap();
        let password = |realm| {
            let login = find_login(&path, "r", None, Some(realm)).unwrap().unwrap();
            String::from_utf8(login.password("r", &path).unwrap()).unwrap()
        };
        assert_eq!(password("a"), "q");
        assert_eq!(password("a:444"), "p");
    }
}

//! Certificates for single registries, where docker and podman have them: `certs.d/HOST[:PORT]/`, with
//! authorities in `*.crt`, and in `NAME.cert` and `NAME.key` what this client shows.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use linux::bounded;
use ureq::tls::{Certificate, ClientCert, PemItem, parse_pem};

use crate::uri::{DOCKER_HUB, HUB_NAMES};

/// No file of certificates is larger, and no folder of them has more.
const LIMIT: u64 = 4 << 20;
const FILES: usize = 200;

/// What there is for one registry.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    pub(super) authorities: Vec<Certificate<'static>>,
    pub(super) client: Option<ClientCert>,
    /// What is of no use. The rest is as good as without it: a key is often root's alone, where authorities are
    /// everybody's.
    pub(super) faults: Vec<CertificateError>,
}

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub(super) struct CertificateError {
    path: PathBuf,
    problem: String,
}

impl CertificateError {
    fn new(path: &Path, problem: impl ToString) -> CertificateError {
        CertificateError { path: path.to_owned(), problem: problem.to_string() }
    }
}

impl Certificates {
    /// Those for a host in the first folder that has any. None is as good as an empty one.
    pub(super) fn of(host: &str, folders: &[PathBuf]) -> Certificates {
        let bare = host.strip_suffix(":443").unwrap_or(host);
        let names: Vec<&str> = match host == DOCKER_HUB {
            true => HUB_NAMES.to_vec(),
            false => vec![host, bare],
        };
        for folder in folders {
            for name in &names {
                // A host is no path: its name has been looked at.
                let found = Certificates::read(&folder.join(name));
                if !found.is_empty() {
                    return found;
                }
            }
        }
        Certificates::default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.client.is_none() && self.faults.is_empty()
    }

    fn read(folder: &Path) -> Certificates {
        let mut found = Certificates::default();
        let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                return found;
            }
            Err(error) => {
                found.faults.push(CertificateError::new(folder, error));
                return found;
            }
        };
        paths.sort();
        paths.truncate(FILES);
        for path in paths {
            match path.extension().and_then(|end| end.to_str()) {
                Some("crt") => match chain(&path) {
                    Ok(chain) => found.authorities.extend(chain),
                    Err(error) => found.faults.push(error),
                },
                Some("cert") if found.client.is_none() => match client(&path) {
                    Ok(client) => found.client = Some(client),
                    Err(error) => found.faults.push(error),
                },
                _ => {}
            }
        }
        found
    }
}

/// What a client shows, with the key beside it.
fn client(path: &Path) -> Result<ClientCert, CertificateError> {
    let chain = chain(path)?;
    let path = path.with_extension("key");
    let key = items(&path)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let key = key.ok_or_else(|| CertificateError::new(&path, "it has no private key"))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn chain(path: &Path) -> Result<Vec<Certificate<'static>>, CertificateError> {
    let found: Vec<_> = items(path)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(CertificateError::new(path, "it has no certificate (PEM)"));
    }
    Ok(found)
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>, CertificateError> {
    let mut text = Vec::new();
    bounded::open(path)
        .and_then(|file| file.take(LIMIT).read_to_end(&mut text))
        .map_err(|error| CertificateError::new(path, error))?;
    parse_pem(&text).collect::<Result<_, _>>().map_err(|error| CertificateError::new(path, error))
}

//! Whose certificates a registry may show: the system's, or those that variables name, as to curl.

use std::ffi::OsStr;
use std::path::PathBuf;

use hygiene::console;
use linux::environ::Environ;
use rustls_native_certs::load_certs_from_paths;
use ureq::tls::{Certificate, RootCerts};

/// Where certificates are; the system's, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// A file of certificates.
    pub file: Option<PathBuf>,
    /// Directories of files named by hashes.
    pub directories: Vec<PathBuf>,
}

impl Certificates {
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub fn of_environ(environ: &Environ) -> Certificates {
        let value = |name: &str| environ.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let directories = value("SSL_CERT_DIR").map(|all| std::env::split_paths(all).collect());
        Certificates {
            file: value("SSL_CERT_FILE").map(PathBuf::from),
            directories: directories.unwrap_or_default(),
        }
    }

    /// Who may have signed what a registry shows. Without any certificate nobody may.
    pub(super) fn roots(&self) -> RootCerts {
        if *self == Certificates::default() {
            return RootCerts::PlatformVerifier;
        }
        let mut read = load_certs_from_paths(self.file.as_deref(), None);
        for directory in &self.directories {
            let more = load_certs_from_paths(None, Some(directory));
            read.certs.extend(more.certs);
            read.errors.extend(more.errors);
        }
        if let (true, Some(error)) = (read.certs.is_empty(), read.errors.first()) {
            console::tell(format_args!(
                "no certificates by SSL_CERT_FILE and SSL_CERT_DIR: {error}"
            ));
        }
        let certificates = read.certs.iter().map(|der| Certificate::from_der(der).to_owned());
        RootCerts::from(certificates.collect::<Vec<_>>())
    }
}

//! Who may have signed what a registry shows: the system's authorities, or those that variables name, as for curl.

use std::ffi::OsStr;
use std::path::PathBuf;

use hygiene::console;
use linux::environ::Environ;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use ureq::tls::{Certificate, RootCerts};

/// Where their certificates are; the system's, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities {
    /// A file of certificates.
    pub file: Option<PathBuf>,
    /// Directories of files named by hashes.
    pub directories: Vec<PathBuf>,
}

impl Authorities {
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub fn of_environ(environ: &Environ) -> Authorities {
        let value = |name: &str| environ.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let directories = value("SSL_CERT_DIR").map(|all| std::env::split_paths(all).collect());
        Authorities {
            file: value("SSL_CERT_FILE").map(PathBuf::from),
            directories: directories.unwrap_or_default(),
        }
    }

    /// They, and `more`. Without any certificate nobody is one.
    pub(super) fn roots(&self, more: &[Certificate<'static>]) -> RootCerts {
        let said = *self != Authorities::default();
        if !said && more.is_empty() {
            return RootCerts::PlatformVerifier;
        }
        let found = if said { self.read() } else { load_native_certs().certs };
        let found = found.iter().map(|der| Certificate::from_der(der).to_owned());
        found.chain(more.iter().cloned()).collect::<Vec<_>>().into()
    }

    fn read(&self) -> Vec<CertificateDer<'static>> {
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
        read.certs
    }
}

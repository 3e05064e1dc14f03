//! Registries with TLS whose certificates a site has signed itself. The files in `tls/` are good for
//! nothing but this.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// The port of a registry that has no image.
fn registry() -> u16 {
    let certificates = CertificateDer::pem_file_iter(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream =
                StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
            );
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

#[test]
fn certificates_that_enroot_conf_names_are_believed() {
    let place = tempfile::tempdir().unwrap();
    let port = registry();
    let ask = |conf: &str, variable: Option<&Path>| {
        fs::write(place.path().join("enroot.conf"), conf).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyxis"));
        command.args(["digest", &format!("docker://localhost:{port}#x/y:z")]).env_clear();
        command.env("HOME", place.path()).env("ENROOT_SYSCONF_PATH", place.path());
        command.env("ENROOT_TRANSFER_RETRIES", "0");
        command.envs(variable.map(|path| ("SSL_CERT_FILE", path)));
        let done = command.output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stderr).unwrap()
    };
    let by_conf = format!("SSL_CERT_FILE {}\n", file("ca.pem").display());
    let answered = |said: &str| said.ends_with("has no x/y:z\n");
    let said = ask(&by_conf, None);
    assert!(answered(&said), "{said}");
    // By nobody, by a wrong one, and by the environment over the file.
    let said = ask("", None);
    assert!(said.contains("certificate") && !answered(&said), "{said}");
    let said = ask(&by_conf, Some(&place.path().join("enroot.conf")));
    assert!(said.contains("certificate") && !answered(&said), "{said}");
    let said = ask("SSL_CERT_FILE /nowhere\n", Some(&file("ca.pem")));
    assert!(answered(&said), "{said}");
    let said = ask("SSL_CERT_FILE /nowhere\n", None);
    assert!(said.starts_with("no certificates by SSL_CERT_FILE and SSL_CERT_DIR: "), "{said}");
}

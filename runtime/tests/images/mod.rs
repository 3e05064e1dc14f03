//! Images for tests: layers written entry by entry, OCI layouts of them, a registry to push them
//! to, and the command under test with a store of its own.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use runtime::tarball::{Header, Kind, Writer};
use sha2::{Digest, Sha256};

/// The sha256 of something, in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// A layer being written.
pub(crate) struct Layer(Writer<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Layer {
        Layer(Writer::new(Vec::new()))
    }

    pub(crate) fn entry(mut self, path: &[u8], kind: Kind, mode: u32, content: &[u8]) -> Layer {
        let header = Header {
            path: path.to_vec(),
            kind,
            mode,
            mtime: 1_700_000_000,
            size: content.len() as u64,
            xattrs: Vec::new(),
        };
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Layer {
        self.entry(path.as_bytes(), Kind::File, 0o644, content.as_bytes())
    }

    pub(crate) fn directory(self, path: &str) -> Layer {
        self.entry(path.as_bytes(), Kind::Directory, 0o755, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Layer {
        self.entry(path.as_bytes(), Kind::Symlink(target.into()), 0o777, b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Layer {
        self.entry(path.as_bytes(), Kind::HardLink(target.into()), 0o644, b"")
    }

    pub(crate) fn with_xattr(mut self, path: &str, name: &str, value: &[u8]) -> Layer {
        let header = Header {
            path: path.into(),
            kind: Kind::File,
            mode: 0o644,
            mtime: 1_700_000_000,
            size: 0,
            xattrs: vec![(name.into(), value.to_vec())],
        };
        self.0.append(&header, std::io::empty()).unwrap();
        self
    }

    /// The archive, uncompressed.
    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }

    pub(crate) fn gzip(self) -> Vec<u8> {
        gzip(&self.tar())
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// An image: blobs by digest, and its manifest.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) layers: Vec<String>,
}

impl Image {
    /// An image of these layers, compressed or not.
    pub(crate) fn new(layers: &[Vec<u8>]) -> Image {
        Image::with_config(layers, r#"{"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]}"#)
    }

    pub(crate) fn with_config(layers: &[Vec<u8>], config: &str) -> Image {
        let mut blobs = BTreeMap::new();
        let mut add = |bytes: &[u8]| {
            blobs.insert(hex(bytes), bytes.to_vec());
            hex(bytes)
        };
        let layers: Vec<(String, &Vec<u8>)> =
            layers.iter().map(|bytes| (add(bytes), bytes)).collect();
        let plain: Vec<String> = layers
            .iter()
            .map(|(_, bytes)| format!("\"sha256:{}\"", hex(&decompress(bytes))))
            .collect();
        let architecture = runtime::registry::architecture(None);
        let config = format!(
            r#"{{"architecture": "{architecture}", "os": "linux", "config": {config},
                "rootfs": {{"type": "layers", "diff_ids": [{}]}}}}"#,
            plain.join(", ")
        );
        let config_digest = add(config.as_bytes());
        let descriptors: Vec<String> = layers
            .iter()
            .map(|(digest, bytes)| {
                let kind = match bytes.first() {
                    Some(0x1f) => "tar+gzip",
                    Some(0x28) => "tar+zstd",
                    _ => "tar",
                };
                format!(
                    r#"{{"mediaType": "application/vnd.oci.image.layer.v1.{kind}",
                        "digest": "sha256:{digest}", "size": {}}}"#,
                    bytes.len()
                )
            })
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {{"mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": "sha256:{config_digest}", "size": {}}},
                "layers": [{}]}}"#,
            config.len(),
            descriptors.join(", ")
        );
        let layers = layers.into_iter().map(|(digest, _)| digest).collect();
        Image { blobs, manifest: manifest.into_bytes(), layers }
    }

    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.manifest))
    }

    /// Writes it as an OCI layout.
    pub(crate) fn layout(&self, path: &Path, tag: &str) {
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            fs::write(blobs.join(digest), bytes).unwrap();
        }
        fs::write(blobs.join(hex(&self.manifest)), &self.manifest).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let index = format!(
            r#"{{"schemaVersion": 2, "manifests": [{{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "{}", "size": {},
                "annotations": {{"org.opencontainers.image.ref.name": "{tag}"}}}}]}}"#,
            self.digest(),
            self.manifest.len()
        );
        fs::write(path.join("index.json"), index).unwrap();
    }
}

fn decompress(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // What is damaged on purpose has no digest to tell.
    if let Ok(mut reader) = runtime::layers::decoder(bytes) {
        let _ = reader.read_to_end(&mut out);
    }
    out
}

/// A folder with a store, and the command.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        Place { directory, variables: Vec::new() }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyxis"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("home"))
            .env("PYXIS_STORE_PATH", self.path("store"))
            .env("ENROOT_ALLOW_HTTP", "yes")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints; it must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What it says; it must fail, with one line beside its progress, and leave nothing.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('[')).collect();
        assert_eq!(lines.len(), 1, "{said}");
        self.assert_clean();
        lines[0].to_owned()
    }

    /// No files but those of the store, and none unfinished there.
    pub(crate) fn assert_clean(&self) {
        for below in ["store/tmp", "store/locks"] {
            let Ok(entries) = fs::read_dir(self.path(below)) else { continue };
            let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            assert!(names.is_empty(), "{below} has {names:?}");
        }
        let hidden = fs::read_dir(self.directory.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(hidden.count(), 0);
    }

    /// The files of a squashfs image, below a folder of this name.
    pub(crate) fn unpack(&self, image: &str, into: &str) -> PathBuf {
        let target = self.path(into);
        let done = Command::new("unsquashfs")
            .args(["-no-progress", "-dest"])
            .args([&target, &self.path(image)])
            .output()
            .expect("no unsquashfs");
        assert!(done.status.success(), "{}", text(&done.stderr));
        target
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Debian's docker-registry on a loopback port.
pub(crate) struct Registry {
    child: Child,
    directory: tempfile::TempDir,
    pub(crate) host: String,
}

impl Registry {
    pub(crate) fn start() -> Registry {
        Registry::with("")
    }

    /// One that wants a user and password: `user` and `secret`.
    pub(crate) fn private() -> Registry {
        Registry::with("auth: {htpasswd: {realm: test, path: HTPASSWD}}\n")
    }

    fn with(more: &str) -> Registry {
        let directory = tempfile::tempdir().unwrap();
        // "secret", by bcrypt
        let password = "user:$2b$04$K9U72yalYgtkflvmYbY/1ufzcNv/CDd7wheMhUSTzHgP0N83cKg02\n";
        let htpasswd = directory.path().join("htpasswd");
        fs::write(&htpasswd, password).unwrap();
        let config = directory.path().join("config.yml");
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let host = format!("127.0.0.1:{port}");
            let text = format!(
                "version: 0.1\nlog: {{level: debug, accesslog: {{disabled: false}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: '{host}', secret: x}}\n{}",
                directory.path().join("data").display(),
                more.replace("HTPASSWD", &htpasswd.display().to_string())
            );
            fs::write(&config, text).unwrap();
            let log = fs::File::create(directory.path().join("log")).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .expect("no docker-registry");
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) {
                if std::net::TcpStream::connect(&host).is_ok() {
                    return Registry { child, directory, host };
                }
                // Somebody else may have got the port.
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!(
            "docker-registry does not start: {}",
            fs::read_to_string(directory.path().join("log")).unwrap()
        );
    }

    /// Pushes an image; the URI to import it by.
    pub(crate) fn push(&self, image: &Image, name: &str) -> String {
        let layout = self.directory.path().join("layout");
        let _ = fs::remove_dir_all(&layout);
        image.layout(&layout, "x");
        self.push_layout(&layout, name, &["--preserve-digests"])
    }

    /// Pushes the image `x` of a layout, with options for skopeo.
    pub(crate) fn push_layout(&self, layout: &Path, name: &str, options: &[&str]) -> String {
        let target = format!("docker://{}/{name}", self.host);
        let done = Command::new("skopeo")
            .args([
                "copy",
                "-q",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--dest-creds=user:secret",
            ])
            .args(options)
            .arg(format!("oci:{}:x", layout.display()))
            .arg(&target)
            .output()
            .expect("no skopeo");
        assert!(done.status.success(), "{}", text(&done.stderr));
        target
    }

    /// How often the registry was asked for paths that contain this.
    pub(crate) fn requests(&self, what: &str) -> usize {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap();
        log.lines().filter(|line| line.contains("\"GET ") && line.contains(what)).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

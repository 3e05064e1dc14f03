//! From a squashfs file to an image in a registry: one layer of all its files, a configuration, and a
//! manifest of both. The same file gives the same layer each time, which the registry then has already.

mod layer;

use std::fs::File;
use std::io::{self, Write};

use linux::file_error::FileError;
use serde_json::json;

use crate::digest::{Digest, Hasher};
use crate::import::{ImportError, Importer};
use crate::progress::bytes;
use crate::registry::{Client, LocalBlob, Pushed};
use crate::uri::Reference;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How programs are run in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Words before what is asked for.
    pub entrypoint: Vec<String>,
    /// Words where nothing is asked for.
    pub command: Vec<String>,
    /// Where programs start.
    pub directory: String,
}

impl Importer {
    /// Asks a registry whether this user may put an image there.
    ///
    /// # Errors
    /// [`ImportError`], with the registry's own words.
    pub fn may_push(&self, to: &Reference) -> Result<(), ImportError> {
        Ok(Client::to_push(to, &self.settings, &self.credentials)?.may_push()?)
    }

    /// Puts an image into a registry. Returns the digest of its manifest.
    ///
    /// # Errors
    /// [`ImportError`], with the registry's own words.
    pub fn push(
        &self,
        image: &squashfs::Image,
        execution: &Execution,
        to: &Reference,
    ) -> Result<Digest, ImportError> {
        let client = Client::to_push(to, &self.settings, &self.credentials)?;
        // Who may not push learns it before there is work for nothing.
        client.may_push()?;
        let (layer, unpacked) = self.layer_of(image)?;
        let config = json!({
            "architecture": self.machine.architecture(),
            "os": "linux",
            "config": config(execution),
            "rootfs": {"type": "layers", "diff_ids": [unpacked]},
            "history": [{"created_by": "pyxis push"}],
        });
        let config = self.small(config.to_string().into_bytes())?;
        let described = |kind: &str, blob: &LocalBlob| json!({"mediaType": kind, "digest": blob.digest, "size": blob.size});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, &config),
            "layers": [described(LAYER, &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        self.send(&client, &layer)?;
        self.send(&client, &config)?;
        client.push_manifest(to.selector(), MANIFEST, &manifest)?;
        Ok(Digest::of(&manifest))
    }

    fn send(&self, client: &Client, blob: &LocalBlob) -> Result<(), ImportError> {
        let bar = self.progress.bar(blob.size);
        let pushed = client.push_blob(blob, None, &|count| bar.inc(count));
        bar.finish();
        let (digest, size) = (&blob.digest, bytes(blob.size));
        self.progress.step(&match pushed? {
            Pushed::Sent => format!("Sent {digest}, {size}"),
            Pushed::Present => format!("{} has {digest} already", client.host()),
            Pushed::Mounted => format!("{} has {digest} elsewhere already", client.host()),
        });
        Ok(())
    }

    /// The layer, and the digest of what is in it.
    fn layer_of(&self, image: &squashfs::Image) -> Result<(LocalBlob, Digest), ImportError> {
        self.progress.step("Packing the layer");
        let (space, pending) = (self.store.space(), self.store.pending()?);
        let output = Hashing::new(Limited { pending: &pending, space: &space });
        let packer = flate2::write::GzEncoder::new(output, flate2::Compression::new(4));
        let (packer, left_out) = layer::write(image, Hashing::new(packer))?;
        for name in left_out {
            self.progress
                .warn(&format!("left out {name:?}: its name would remove a file elsewhere"));
        }
        let written = |source| FileError::new("write", self.store.scratch(), source);
        let (packer, unpacked, _) = packer.finish();
        let (_, digest, size) = packer.finish().map_err(written)?.finish();
        Ok((LocalBlob { digest, size, file: pending.into_file()? }, unpacked))
    }

    fn small(&self, content: Vec<u8>) -> Result<LocalBlob, ImportError> {
        let pending = self.store.pending()?;
        pending.write_all(&content)?;
        let (digest, size) = (Digest::of(&content), content.len() as u64);
        Ok(LocalBlob { digest, size, file: pending.into_file()? })
    }
}

fn config(execution: &Execution) -> serde_json::Value {
    let mut config = serde_json::Map::new();
    let lists = [
        ("Env", &execution.env),
        ("Entrypoint", &execution.entrypoint),
        ("Cmd", &execution.command),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        config.insert(name.to_owned(), json!(list));
    }
    if !execution.directory.is_empty() {
        config.insert("WorkingDir".to_owned(), json!(execution.directory));
    }
    config.into()
}

/// Writes to a file of the store, whose limit holds.
struct Limited<'a> {
    pending: &'a crate::store::Pending,
    space: &'a crate::store::Space,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.space.take(bytes.len() as u64).map_err(io::Error::other)?;
        let mut file: &File = self.pending.file();
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes bytes on, with their digest and number.
struct Hashing<W> {
    output: W,
    hash: Hasher,
    count: u64,
}

impl<W> Hashing<W> {
    fn new(output: W) -> Hashing<W> {
        Hashing { output, hash: Hasher::new(), count: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.output, self.hash.finish(), self.count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

//! The image store: squashfs images by the digest of their manifest, and the compressed layers
//! they were made from by their own.
//!
//! Everything in it can be fetched again. A file gets its final name only when it is complete, so
//! there is no state to repair after a crash, only leftovers to remove (`pyxis gc`). Locks
//! save work; nothing goes wrong without them, since publishing is a rename.
//!
//! A store belongs to one user. What other users put into theirs is never trusted; stores that the
//! administrator names ([`StoreConfig::lower`]) are, and are only read. A store whose directory
//! is open to others to read is one for them: what came without credentials can be read there by
//! everybody, what came with some by nobody else. Threats and answers: docs/store.md.

mod adopt;
mod config;
mod error;
mod file;
mod gc;
mod image;
mod leases;
mod lock;
mod names;
mod node;
mod published;
mod references;
mod scratch;
mod space;
mod usage;

pub use config::StoreConfig;
pub use error::StoreError;
pub use file::{Pending, new_mode, place};
pub use gc::{Collected, Policy};
pub use image::{Record, StoredImage, images_at};
pub use lock::{FileLock, LockOutcome};
pub use published::published;
pub use scratch::Scratch;
pub use space::Space;
pub use usage::{Usage, mark_use};

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use linux::file_error::FileError;

use crate::digest::Digest;
use crate::registry::Document;

/// A store that can be written to, and those below it.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    config: StoreConfig,
    /// Others read here.
    public: bool,
    notice: Option<String>,
}

/// No honest manifest is larger.
const DOCUMENT_LIMIT: u64 = 8 << 20;
/// Its folders.
const IMAGES: &str = "images";
const BLOBS: &str = "blobs";
const LOCKS: &str = "locks";
const REFERENCES: &str = "references";
const SCRATCH: &str = "tmp";
const USES: &str = "uses";

impl Store {
    /// Opens the caller's store, making it if need be.
    ///
    /// # Errors
    /// [`StoreError`]; a store that others can write to is one.
    pub fn open(mut config: StoreConfig) -> Result<Store, StoreError> {
        let error = match Store::open_own(&config) {
            Err(error) => error,
            opened => return opened,
        };
        let StoreError::Foreign { path, .. } = &error else { return Err(error) };
        // Where several people may make something, whoever came first has the name: a site's cache of a group.
        if let Some(beside) = config::beside(path, &config.path) {
            let opened = Store::open_own(&StoreConfig { path: beside, ..config.clone() });
            if opened.is_ok() {
                return opened;
            }
        }
        // Among everybody's directories everybody can be there first.
        let squatted = config::is_everybodys(path);
        let Some(path) = config.fallback.take().filter(|_| squatted) else { return Err(error) };
        config.path = path;
        let mut store = Store::open_own(&config)?;
        store.notice = Some(format!("{error}; {} is used instead", store.root.display()));
        Ok(store)
    }

    fn open_own(config: &StoreConfig) -> Result<Store, StoreError> {
        let root = config.own_path()?;
        make_directory(&root, 0o700).map_err(|error| match error {
            StoreError::File(error) => StoreError::NoDirectory(error),
            error => error,
        })?;
        // Again: what is there now is ours, and stays.
        config::refuse_others_links(&root)?;
        let public = check_owner(&root)?;
        refuse_others_files(&root)?;
        let uses_mode = if public && leases::count(&root) { 0o1777 } else { 0o700 };
        for (name, mode) in [
            // First what tells a store from anything else.
            (LOCKS, 0o700),
            (REFERENCES, 0o700),
            // Where others say what they use, and nowhere else do others write.
            (USES, uses_mode),
            (SCRATCH, 0o700),
            (IMAGES, 0o755),
            (BLOBS, 0o755),
        ] {
            let path = root.join(name);
            make_directory(&path, if public { mode } else { 0o700 })?;
            if name != USES {
                refuse_others_folder(&path, [LOCKS, SCRATCH].contains(&name))?;
            }
        }
        keep_uses(&root, uses_mode, config.lease);
        Ok(Store { root, config: config.clone(), public, notice: None })
    }

    /// What its user is to know of it.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for files that are being written, on the file system of the store.
    pub fn scratch(&self) -> PathBuf {
        self.root.join(SCRATCH)
    }

    /// A file to be filled and then published.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pending(&self) -> Result<Pending, StoreError> {
        Pending::new(&self.scratch())
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    /// A blob, if it is there; its content is to be checked by whoever reads it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.blob_path(digest);
        match open_plain(&path) {
            Ok(file) => {
                usage::hold(&file);
                // For the garbage collector: last use.
                let _ = file.set_modified(SystemTime::now());
                Ok(Some(file))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(FileError::new("open", &path, source).into()),
        }
    }

    /// Publishes a blob, and says whether it has a name now. One that took credentials (`private`) is not kept in a store for others:
    /// whoever knows its digest could have an image made of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn publish_blob(
        &self,
        pending: Pending,
        digest: &Digest,
        private: bool,
    ) -> Result<(File, bool), StoreError> {
        if self.public && private {
            return Ok((pending.into_file()?, false));
        }
        let mode = if self.public { 0o444 } else { 0o400 };
        let file = pending.publish(&self.blob_path(digest), mode)?;
        usage::hold(&file);
        Ok((file, true))
    }

    /// Publishes a small blob.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_blob(
        &self,
        digest: &Digest,
        content: &[u8],
        private: bool,
    ) -> Result<(), StoreError> {
        let pending = self.pending()?;
        pending.write_all(content)?;
        self.publish_blob(pending, digest, private).map(drop)
    }

    /// A manifest or configuration, with the sha256 that its content really has, from this store
    /// or one below; it is checked against this digest.
    pub fn small_blob(&self, digest: &Digest) -> Option<Document> {
        use std::io::Read;
        let roots = [&self.root].into_iter().chain(&self.config.lower);
        let read = |root: &PathBuf| {
            let mut content = Vec::new();
            let file = open_plain(&root.join(BLOBS).join(digest.hex())).ok()?;
            if *root == self.root {
                // For the garbage collector: no older than the image that it is of.
                let _ = file.set_modified(SystemTime::now());
            }
            file.take(DOCUMENT_LIMIT).read_to_end(&mut content).ok()?;
            Some(Document::new(content))
        };
        let is = |document: &Document| {
            document.digest == *digest || digest.like(&document.bytes) == *digest
        };
        roots.filter_map(read).find(is)
    }

    /// Removes a blob that turned out to be damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        remove(&self.blob_path(digest))
    }

    /// Locks the making of something, so that others wait instead of making it as well.
    ///
    /// `there` is asked again and again whether the wait is over for another reason: that it has
    /// been made. Making `size` bytes should take no longer than anybody is waited for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lock<T>(
        &self,
        name: &str,
        size: u64,
        mut there: impl FnMut() -> Result<Option<T>, StoreError>,
    ) -> Result<LockOutcome<T>, StoreError> {
        /// Slower than any registry near a cluster, bytes in a second.
        const RATE: u64 = 4 << 20;
        let longest = self.config.patience.saturating_mul(30);
        let patience = self.config.patience + Duration::from_secs(size / RATE);
        let path = self.root.join(LOCKS).join(name);
        FileLock::acquire(&path, &self.scratch(), patience.min(longest), || {
            self.forget_what_was_absent();
            there()
        })
    }

    /// On NFS a name that was absent stays so for up to a minute, whatever other nodes have made since.
    /// To open a directory asks the server for its times, as close-to-open consistency wants it; names
    /// that were absent are then looked up again if these have changed.
    fn forget_what_was_absent(&self) {
        for directory in [IMAGES, BLOBS] {
            let _ = File::open(self.root.join(directory));
        }
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), StoreError> {
    let failed = |source| FileError::new("create", path, source);
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // By another process of ours, or somebody else: to be looked at.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(failed)?,
    }
    // Whatever the umask is, and of nothing else.
    let made = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path)
        .map_err(failed)?;
    Ok(made.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?)
}

/// Others write to `uses` where leases count, and nowhere else, since nobody counts what it takes of the store's file
/// system. What they have put there meanwhile goes before it is closed.
fn keep_uses(root: &Path, mode: u32, lease: Duration) {
    let path = root.join(USES);
    let open = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path);
    let Ok((uses, stat)) = open.and_then(|uses| uses.metadata().map(|stat| (uses, stat))) else {
        return;
    };
    let is_own = stat.uid() == nix::unistd::geteuid().as_raw();
    let is = stat.mode() & 0o7777;
    if is_own && is != mode && [0o1777, 0o700].contains(&is) {
        drop(leases::Leases::of(root, lease));
        let _ = uses.set_permissions(fs::Permissions::from_mode(mode));
    }
}

/// A folder that was there before the store may be one in which others can put an image, or exchange a file while it has a name.
/// Where each has their own only, as in a `tmp` for everybody, they cannot do the latter.
fn refuse_others_folder(path: &Path, may_be_sticky: bool) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|source| FileError::new("look at", path, source))?;
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(StoreError::Foreign { path: path.to_owned(), owner: metadata.uid() });
    }
    let is_sticky = metadata.mode() & 0o1000 != 0;
    match metadata.mode() & 0o022 != 0 && !(may_be_sticky && is_sticky) {
        true => Err(StoreError::Writable(path.to_owned())),
        false => Ok(()),
    }
}

/// Other programs, too, keep files by their digests in a folder `blobs`, which the collector would take for the store's.
fn refuse_others_files(root: &Path) -> Result<(), StoreError> {
    let has = |name: &str, is: fn(&str) -> bool| {
        names::files(&root.join(name), is).is_ok_and(|files| !files.is_empty())
    };
    let is_store = [LOCKS, REFERENCES, USES].iter().any(|name| root.join(name).is_dir());
    let is_image = |name: &str| names::image(name).is_some();
    match !is_store && (has(BLOBS, names::is_blob) || has(IMAGES, is_image)) {
        true => Err(StoreError::Occupied(root.to_owned())),
        false => Ok(()),
    }
}

/// Whether others may read there.
fn check_owner(path: &Path) -> Result<bool, StoreError> {
    let metadata = fs::metadata(path).map_err(|source| FileError::new("look at", path, source))?;
    let own = nix::unistd::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(StoreError::Foreign { path: path.to_owned(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(StoreError::Writable(path.to_owned()));
    }
    Ok(metadata.mode() & 0o005 == 0o005)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if is_absent(&error) => Ok(()),
        Err(source) => Err(FileError::new("remove", path, source).into()),
    }
}

/// The content of a small file, as far as any of ours is large.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    const MOST: u64 = 1 << 20;
    let mut content = Vec::new();
    open_plain(path)?.take(MOST).read_to_end(&mut content)?;
    Ok(content)
}

/// Whether there is nothing, or nothing any more: of what another node has removed from NFS this one may know the handle.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// Opens a file that somebody else may have made: no link is followed and no pipe waited for.
fn open_plain(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

//! An image of the shared store as root opens it, to have the kernel read it.
//!
//! What a kernel's file systems believe of what they read is more than one would have them believe of what
//! somebody made up. So it is for sure what the store's account has written, by our own writer, and shows to
//! everybody: the way there is gone step by step, through directories that nobody else can change, and no
//! link is followed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::image::Record;
use super::{IMAGES, usage};

/// No honest record is larger.
const RECORD_LIMIT: u64 = 1 << 20;

/// Opens the image of that digest in the store at `path`, and keeps the garbage collector from it.
///
/// # Errors
/// What is not there, or not as it would be if the account of the store had published it.
pub fn published(path: &Path, hex: &str) -> io::Result<File> {
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(refused("no digest"));
    }
    let (store, account) = walk(path)?;
    let images = enter(store.as_fd(), IMAGES)?;
    if !closed(&fstat(&images)?, account) {
        return Err(refused("others than the store's account could put something there"));
    }
    let image = file(&images, &format!("{hex}.sqsh"), account)?;
    usage::hold(&image);
    let mut text = Vec::new();
    file(&images, &format!("{hex}.json"), account)?.take(RECORD_LIMIT).read_to_end(&mut text)?;
    let record: Record =
        serde_json::from_slice(&text).map_err(|_| refused("its record is none"))?;
    let data = image.metadata()?;
    if record.digest.hex() != hex || (data.len(), data.mtime()) != (record.size, record.modified) {
        return Err(refused("it is not the file that its record is of"));
    }
    if record.private || data.nlink() == 0 {
        return Err(refused("it is not for everybody"));
    }
    if record.writer.as_deref() != Some(Record::OWN_WRITER) {
        return Err(refused("it was not written by pyxis's own writer"));
    }
    Ok(image)
}

/// The store's directory, and whose it is.
fn walk(path: &Path) -> io::Result<(OwnedFd, u32)> {
    let mut at = open("/", directory(), Mode::empty())?;
    let mut account = 0;
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir => continue,
            _ => return Err(refused("the store's path is none from / on")),
        };
        // Whose directory this is, nobody but root may have a say in what is in it; the last one is the account's.
        if !closed(&fstat(&at)?, 0) {
            return Err(refused("others than root could have put the store there"));
        }
        at = openat(&at, name, directory(), Mode::empty())?;
        account = fstat(&at)?.st_uid;
    }
    match account {
        0 => Err(refused("the store belongs to root")),
        _ if !closed(&fstat(&at)?, account) => Err(refused("others can write to the store")),
        _ => Ok((at, account)),
    }
}

fn directory() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn enter(at: std::os::fd::BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(at, name, directory(), Mode::empty())?)
}

/// Whether nobody but `owner` and root can change it.
fn closed(stat: &FileStat, owner: u32) -> bool {
    (stat.st_uid == owner || stat.st_uid == 0) && stat.st_mode & 0o022 == 0
}

/// Opens a file that the account shows to everybody.
fn file(images: &OwnedFd, name: &str, account: u32) -> io::Result<File> {
    let flags = OFlag::O_RDONLY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    let opened = openat(images, name, flags, Mode::empty())?;
    let stat = fstat(&opened)?;
    let regular = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    if !regular || !closed(&stat, account) {
        return Err(refused("it is not the store's account's alone"));
    }
    if stat.st_mode & 0o004 == 0 {
        return Err(refused("it is not for everybody"));
    }
    Ok(opened.into())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

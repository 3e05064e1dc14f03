//! Block devices of files (`loop(4)`), read-only, that vanish by themselves when nobody uses them.
//!
//! A file has one of them on a node: a file system that is mounted of it twice is then one, and so is what
//! the kernel keeps of it in memory. What it reads it does not keep as the file's as well.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::sys::{FlockKind, flock};

/// Of linux/loop.h; `CONFIGURE` is there since Linux 5.8.
const GET_STATUS64: libc::c_ulong = 0x4c05;
const CONFIGURE: libc::c_ulong = 0x4c0a;
const GET_FREE: libc::c_ulong = 0x4c82;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
/// What is read is not kept as the file's: the file system on the device keeps it, and it would be in memory twice. Where the
/// file's own file system cannot do that the kernel takes the flag off.
const DIRECT_IO: u32 = 16;
/// Of block devices.
const MAJOR: u64 = 7;

/// Numbers that somebody else may have taken before us, one after the other.
const ATTEMPTS: u32 = 64;
/// Others hold the lock for as long as two system calls take.
const PATIENCE: Duration = Duration::from_secs(2);

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A device, which is there for as long as this, or a file system on it, is.
#[derive(Debug)]
pub struct LoopDevice {
    /// Below `/dev`.
    pub path: PathBuf,
    device: File,
}

impl LoopDevice {
    /// The device of the opened file, made if there is none. `name` ends its path, and is what
    /// `losetup` shows. The lock that is on the descriptor is held for as long as the device is there.
    ///
    /// # Errors
    /// The kernel's, or that others keep everybody waiting.
    pub fn of(file: &File, name: &OsStr) -> io::Result<LoopDevice> {
        let control = fs::OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        // Nobody but root can open that file, so that nobody else can hold this lock.
        let deadline = Instant::now() + PATIENCE;
        while !flock(&control, FlockKind::TryExclusive)? {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match find(file, name)? {
            Some(device) => Ok(device),
            None => make(&control, file, name),
        }
    }
}

/// The device that the file has.
fn find(file: &File, name: &OsStr) -> io::Result<Option<LoopDevice>> {
    let of = file.metadata()?;
    for entry in fs::read_dir("/sys/block")?.flatten() {
        let backing = fs::read(entry.path().join("loop/backing_file")).unwrap_or_default();
        let backing = backing.strip_suffix(b"\n").unwrap_or(&backing);
        let backing = backing.strip_suffix(b" (deleted)").unwrap_or(backing);
        if Path::new(OsStr::from_bytes(backing)).file_name() != Some(name) {
            continue;
        }
        // While it is open it stays what it is.
        let Ok(device) = open(&Path::new("/dev").join(entry.file_name())) else { continue };
        if device.is_of(of.dev(), of.ino()) {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

fn make(control: &File, file: &File, name: &OsStr) -> io::Result<LoopDevice> {
    let mut last = io::Error::from(Errno::EBUSY);
    for _ in 0..ATTEMPTS {
        // SAFETY: an ioctl without argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE as _) };
        let number = Errno::result(number)?;
        let device = open(Path::new(&format!("/dev/loop{number}")))?;
        match device.configure(file.as_raw_fd(), name) {
            // Somebody else was faster.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            done => return done.map(|()| device),
        }
    }
    Err(last)
}

fn open(path: &Path) -> io::Result<LoopDevice> {
    let device = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let found = device.metadata()?;
    if !found.file_type().is_block_device() || found.rdev() >> 8 & 0xfff != MAJOR {
        return Err(Errno::ENOTBLK.into());
    }
    Ok(LoopDevice { path: path.to_owned(), device })
}

impl LoopDevice {
    /// Whether it is all of that file, and as we make them.
    fn is_of(&self, dev: u64, ino: u64) -> bool {
        let mut info = Info::empty();
        // SAFETY: the kernel fills the structure, which lives through the call.
        let asked =
            unsafe { libc::ioctl(self.device.as_raw_fd(), GET_STATUS64 as _, &raw mut info) };
        let flags = READ_ONLY | AUTOCLEAR;
        asked == 0
            && (info.device, info.inode) == (dev, ino)
            && (info.offset, info.size_limit, info.encryption) == (0, 0, [0; 2])
            && info.flags & flags == flags
    }

    fn configure(&self, file: RawFd, name: &OsStr) -> io::Result<()> {
        let mut info = Info::empty();
        info.flags = READ_ONLY | AUTOCLEAR | DIRECT_IO;
        // It ends with a NUL.
        for (place, byte) in info.file_name[..63].iter_mut().zip(name.as_bytes()) {
            *place = *byte;
        }
        let config = Config { fd: file as u32, block_size: 0, info, reserved: [0; 8] };
        // SAFETY: the structure lives through the call; the descriptors are open.
        let done =
            unsafe { libc::ioctl(self.device.as_raw_fd(), CONFIGURE as _, &raw const config) };
        Ok(Errno::result(done).map(drop)?)
    }
}

impl Info {
    fn empty() -> Info {
        // SAFETY: it is made of numbers, of which all may be zero.
        unsafe { std::mem::zeroed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_structures_are_as_long_as_the_kernels() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
    }

    #[test]
    #[ignore = "needs root, and /dev/loop-control"]
    fn a_file_has_one_device_and_it_goes_with_its_users() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}.sqsh", std::process::id());
        let path = folder.path().join(&name);
        fs::File::create(&path).unwrap().write_all(&[7; 8192]).unwrap();
        let image = || File::open(&path).unwrap();
        let backing = |device: &LoopDevice| {
            let name = device.path.file_name().unwrap().to_owned();
            fs::read(Path::new("/sys/block").join(name).join("loop/backing_file"))
        };
        let first = LoopDevice::of(&image(), OsStr::new(&name)).unwrap();
        // Under another name, too, as long as it ends so; and when it has none any more.
        fs::remove_file(&path).unwrap();
        let open = File::open(&first.path).unwrap();
        assert_eq!(open.metadata().unwrap().rdev() >> 8, MAJOR);
        fs::File::create(&path).unwrap().write_all(&[8; 8192]).unwrap();
        let other = LoopDevice::of(&image(), OsStr::new(&name)).unwrap();
        assert_ne!(other.path, first.path, "another file of the same name");
        let again = LoopDevice::of(&image(), OsStr::new(&name)).unwrap();
        assert_eq!(again.path, other.path);
        drop((open, again));
        // As far as the file system of the file can.
        let name_of = |device: &LoopDevice| device.path.file_name().unwrap().to_owned();
        let direct = Path::new("/sys/block").join(name_of(&other)).join("loop/dio");
        let can = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path);
        let direct = fs::read_to_string(direct).unwrap();
        assert_eq!(direct.trim(), if can.is_ok() { "1" } else { "0" });
        assert!(backing(&first).is_ok() && backing(&other).is_ok());
        let places = [first.path.clone(), other.path.clone()];
        drop((first, other));
        for place in places {
            let gone = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                let device = LoopDevice { path: place.clone(), device: File::open("/").unwrap() };
                !backing(&device)
                    .is_ok_and(|text| text.starts_with(folder.path().as_os_str().as_bytes()))
            });
            assert!(gone, "{}", place.display());
        }
    }
}

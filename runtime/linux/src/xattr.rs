//! Extended attributes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// The extended attributes of an open file.
///
/// # Errors
/// As from getxattr(2); that a file system has none is none.
pub fn of_file(file: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    let number = file.as_raw_fd();
    extended(
        // SAFETY: the descriptor is open; the kernel writes at most as many bytes as there are.
        |list| unsafe { libc::flistxattr(number, list.as_mut_ptr().cast(), list.len()) },
        |name, value| {
            // SAFETY: as above; the name ends with a zero.
            unsafe {
                libc::fgetxattr(number, name.as_ptr(), value.as_mut_ptr().cast(), value.len())
            }
        },
    )
}

/// The extended attributes of what is not opened, and not followed if it is a symbolic link.
///
/// # Errors
/// As for [`of_file`].
pub fn of_name(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<Xattr>> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    let path = CString::new(path)?;
    extended(
        |list| {
            // SAFETY: the path ends with a zero; the kernel writes at most as many bytes as there
            // are.
            unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) }
        },
        |name, value| {
            // SAFETY: as above; the name ends with a zero.
            unsafe {
                libc::lgetxattr(
                    path.as_ptr(),
                    name.as_ptr(),
                    value.as_mut_ptr().cast(),
                    value.len(),
                )
            }
        },
    )
}

/// Sets an extended attribute of an open file or directory.
///
/// # Errors
/// As from setxattr(2).
pub fn set(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (data, length) = (value.as_ptr().cast(), value.len());
    // SAFETY: the descriptor is open, the name ends with a zero, the value has that length.
    match unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), data, length, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets an extended attribute of the file at `path`.
///
/// # Errors
/// As for [`set`].
pub fn set_by_path(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (data, length) = (value.as_ptr().cast(), value.len());
    // SAFETY: path and name are NUL-terminated, the value has the given length.
    match unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), data, length, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has overlayfs look no further than this directory of an upper layer.
///
/// # Errors
/// As for [`set`].
pub fn mark_opaque(directory: &Path) -> io::Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    set_by_path(&path, c"user.overlay.opaque", b"y")
}

fn extended(
    list: impl Fn(&mut [u8]) -> isize,
    get: impl Fn(&CStr, &mut [u8]) -> isize,
) -> io::Result<Vec<Xattr>> {
    let mut attributes = Vec::new();
    let names = match whole(list) {
        Ok(Some(names)) => names,
        // Some file systems have none.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(attributes),
        other => other?.unwrap_or_default(),
    };
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // None: it was removed meanwhile.
        if let Some(value) = whole(|value| get(name, value))? {
            attributes.push((name.to_bytes().to_vec(), value));
        }
    }
    Ok(attributes)
}

/// All that a call has to tell, which says first how much that is.
fn whole(call: impl Fn(&mut [u8]) -> isize) -> io::Result<Option<Vec<u8>>> {
    loop {
        let size = call(&mut []);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let length = if size > 0 { call(&mut bytes) } else { size };
        match usize::try_from(length) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
            Err(_) => match io::Error::last_os_error() {
                // It has grown.
                error if error.raw_os_error() == Some(libc::ERANGE) => {}
                error if error.raw_os_error() == Some(libc::ENODATA) => return Ok(None),
                error => return Err(error),
            },
        }
    }
}

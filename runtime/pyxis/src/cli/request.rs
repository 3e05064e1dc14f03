//! What the plugin asks for, in place of arguments.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;

use handover::request::{MAX_REQUEST, Request};

use super::CliError;

/// The bytes of the request in descriptor `fd`.
pub(crate) fn read(fd: RawFd) -> Result<Vec<u8>, CliError> {
    let copy = super::descriptor::given(fd)?.try_clone_to_owned();
    let file = File::from(copy.map_err(CliError::Request)?);
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    // From its beginning, wherever whoever has written it has left off; of a pipe, which would have
    // to be waited for, the kernel reads nothing this way.
    loop {
        let count = file.read_at(&mut part, bytes.len() as u64).map_err(CliError::Request)?;
        bytes.extend_from_slice(&part[..count]);
        if count == 0 {
            return Ok(bytes);
        }
        if bytes.len() as u64 > MAX_REQUEST {
            return Err(wrong("the plugin's request is too long"));
        }
    }
}

/// The request in `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Request<'_>, CliError> {
    Request::parse(bytes).map_err(CliError::Request)
}

/// What is no request of this verb.
pub(crate) fn wrong(problem: &str) -> CliError {
    CliError::Request(io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// A request of another verb than it is given to.
pub(crate) const OTHER_VERB: &str = "the plugin's request is for another verb";

/// What is text, or no name of an image.
pub(crate) fn text(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

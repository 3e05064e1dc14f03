//! `pyxis broker`: fetches an image to the shared store, as the account that owns it. The plugin
//! runs it; docs/store.md says when.

use std::process::ExitCode;

use images::import::{Importer, broker};
use images::progress::Progress;
use images::registry::Credentials;

use super::{CliError, descriptor};

/// Where the socket is.
const SOCKET: i32 = 3;

/// Answers the request in the socket.
pub(crate) fn run() -> Result<ExitCode, CliError> {
    let socket = descriptor::given(SOCKET)?;
    // What is said goes to who waits for it.
    nix::unistd::dup2_stderr(socket).map_err(|errno| CliError::Descriptor(SOCKET, errno))?;
    let mut importer = Importer::from_environment(None, Progress::Lines)?;
    // Whoever asks gets what anybody would get.
    importer.set_credentials(Credentials::default());
    std::thread::spawn(move || {
        broker::wait_for_hangup(socket);
        // The step is over. An unfinished file has no name, or is removed as a leftover.
        std::process::exit(1);
    });
    broker::serve(&importer, socket)?;
    Ok(ExitCode::SUCCESS)
}

//! `pyxis broker`: fetches an image to the shared store, as the account that owns it. The plugin
//! runs it; docs/store.md says when.
//!
//! It works for whoever asks, so it takes no more of the node than they could, and no longer than
//! the image is worth: it ends when they do, and so does what it writes.

use std::os::fd::AsFd;

use clap::Args;
use images::import::broker;
use linux::bounded;
use linux::file_error::FileError;
use linux::limits::Limit;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::Resource;

use pyxis::progress;
use pyxis::settings::Settings;

use super::{CliError, Exit, descriptor, importer};

/// Where the socket is.
const SOCKET: i32 = 3;
/// Limits of who asks that hold for who works for them.
const LIMITS: [Resource; 5] = [
    Resource::RLIMIT_AS,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_NOFILE,
];

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// The socket is standard input
    #[arg(long)]
    stdin: bool,
}

/// Answers the request in the socket.
pub(crate) fn run(args: &BrokerArgs, settings: &Settings) -> Result<Exit, CliError> {
    let socket = descriptor::given(if args.stdin { 0 } else { SOCKET })?;
    let failed = |source| FileError::new("read a request from", "the socket", source);
    let asked = broker::request(socket).map_err(failed)?;
    if let Some(pid) = asked.sender {
        take_limits_of(pid);
    }
    before_fetching(0);
    std::thread::spawn(move || {
        broker::wait_for_hangup(socket);
        // The step is over. An unfinished file has no name, or is removed as a leftover.
        std::process::exit(1);
    });
    // What is said goes to who waits for it, and is not said if they do not listen.
    let not_waiting = OFlag::O_RDWR | OFlag::O_NONBLOCK;
    fcntl(socket.as_fd(), FcntlArg::F_SETFL(not_waiting))
        .map_err(|errno| CliError::Descriptor(SOCKET, errno))?;
    nix::unistd::dup2_stderr(socket).map_err(|errno| CliError::Descriptor(SOCKET, errno))?;
    let mut importer = importer(settings, None, progress::for_another())?;
    // Whoever asks gets what anybody would get.
    importer.work_for_others(before_fetching);
    broker::serve(&importer, asked, socket)?;
    Ok(Exit::SUCCESS)
}

/// Lowers this process's limits to those of another one.
fn take_limits_of(pid: i32) {
    let path = format!("/proc/{pid}/limits");
    let Ok(text) = bounded::beginning(path.as_ref(), bounded::OF_PROCESS) else { return };
    let limits = Limit::all(&String::from_utf8_lossy(&text)).collect::<Vec<_>>();
    for limit in limits.into_iter().filter(|limit| LIMITS.contains(&limit.resource)) {
        lower(limit.resource, limit.soft);
    }
}

/// Sets what an image of so many bytes of layers may take: memory as the importer's own counts
/// allow, with room for what they do not see; processor and time as on a slow machine, from a slow
/// registry. The kernel ends what goes beyond. A manifest can state any size: there is a most for
/// each.
fn before_fetching(stated: u64) {
    const DATA: (u64, u64) = (384 << 20, 4 << 30);
    // Threads get as much each.
    const STACK: u64 = 2 << 20;
    const PROCESSOR: (u64, u64) = (60, 3600);
    const TIME: (u64, u64) = (600, 4 * 3600);
    let of = |(floor, most): (u64, u64), more: u64| floor.saturating_add(more).min(most);
    // Before a manifest was read nothing is known.
    if stated > 0 {
        lower(Resource::RLIMIT_DATA, of(DATA, stated.saturating_mul(8)));
        lower(Resource::RLIMIT_CPU, of(PROCESSOR, stated >> 20));
    } else {
        lower(Resource::RLIMIT_CORE, 0);
        lower(Resource::RLIMIT_STACK, STACK);
        lower(Resource::RLIMIT_DATA, DATA.1);
        lower(Resource::RLIMIT_CPU, PROCESSOR.1);
    }
    let seconds = u32::try_from(of(TIME, stated >> 20)).unwrap_or(u32::MAX);
    nix::unistd::alarm::set(seconds);
}

fn lower(resource: Resource, limit: u64) {
    let _ = Limit { resource, soft: limit, hard: limit }.lower();
}

//! The processes that stand beside a container, outside its mount namespace: those that serve
//! its image and others that are mounted in it, and the one that ends it when slurmstepd is gone.
//!
//! Both ignore every signal they can: Slurm sends the signals meant for the user's program to all
//! processes of a step.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::record;
use crate::start::error::StartError;
use crate::start::process::child::{exit_now, fail};
use crate::start::rootfs::server::Serve;
use handover::fork::fork;
use linux::{channel, sys};

/// What the caller has for a child now.
pub(in crate::start) enum Child {
    /// The keeper, who ends last, and where it is told the container's user namespace.
    Keeper(Pid, OwnedFd),
    /// One that has forked the server and ends: to be waited for before anybody else could meet
    /// its remains, and not sooner.
    Intermediate(Pid),
}

/// Forks the helpers, neither of them a child of the caller that it would have to wait for.
///
/// `step_socket` is a socket whose other end slurmstepd holds: when that is closed without a word,
/// slurmstepd has died, and the keeper kills the container and deletes what ends with it. `alive` is held by both helpers as long
/// as they run. Both stay in the namespaces of the caller.
pub(in crate::start) fn fork_helpers(
    servers: &[Serve<'_>],
    step_socket: Option<RawFd>,
    alive: &OwnedFd,
    log: &File,
) -> Result<Child, StartError> {
    let (keeper_socket, keepers_end) = channel::pair().map_err(StartError::Process)?;
    match fork().map_err(|errno| StartError::Process(errno.into()))? {
        // With such a socket the first child stays, and is init's when we exit or exec.
        ForkResult::Parent { child } if step_socket.is_none() => Ok(Child::Intermediate(child)),
        ForkResult::Parent { child } => Ok(Child::Keeper(child, keeper_socket)),
        ForkResult::Child => {
            // First of all: the container's start waits for them.
            let serving = fork_servers(servers, alive, log);
            if let Some(step_socket) = step_socket {
                let held = servers.iter().find_map(Serve::held);
                be_keeper(step_socket, &keepers_end, &serving, (alive, held), log);
            }
            exit_now(0);
        }
    }
}

/// Forks a process for each server. Returns those that there are.
fn fork_servers(servers: &[Serve<'_>], alive: &OwnedFd, log: &File) -> Vec<Pid> {
    let mut serving = Vec::new();
    for server in servers {
        match fork() {
            Ok(ForkResult::Child) => match detach(log) {
                Ok(()) => {
                    servers.iter().for_each(Serve::close_other_end);
                    server.serve(alive, log)
                }
                Err(error) => fail(log, &error),
            },
            Ok(ForkResult::Parent { child }) => serving.push(child),
            Err(_) => {}
        }
    }
    serving
}

/// What the keeper does until it ends, which is after all servers. `kept` stays open for as long: what says that
/// helpers run, and the directory that is removed with the container, if there is one.
fn be_keeper(
    step_socket: RawFd,
    namespace_socket: &OwnedFd,
    serving: &[Pid],
    kept: (&OwnedFd, Option<&File>),
    log: &File,
) {
    let (alive, held) = kept;
    let _ = detach(log);
    sys::close_all_but(&[
        step_socket,
        alive.as_raw_fd(),
        namespace_socket.as_raw_fd(),
        held.map_or(-1, AsRawFd::as_raw_fd),
    ]);
    keep(step_socket, namespace_socket.as_raw_fd(), serving);
    // A server that was killed has left it.
    for server in serving {
        let _ = waitpid(*server, None);
    }
    held.map(record::finish_removal);
}

/// A session of its own, no terminal, no directory, no signals; stdio that keeps nobody waiting.
fn detach(log: &File) -> io::Result<()> {
    setsid()?;
    chdir("/")?;
    for number in 1..=nix::libc::SIGRTMAX() {
        // Faults keep their default action: a crash must be a crash.
        let kept = [
            nix::libc::SIGKILL,
            nix::libc::SIGSTOP,
            nix::libc::SIGSEGV,
            nix::libc::SIGBUS,
            nix::libc::SIGILL,
        ];
        if !kept.contains(&number) {
            ignore(number);
        }
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(log)?;
    dup2_stderr(log)?;
    Ok(())
}

fn ignore(number: i32) {
    match Signal::try_from(number) {
        Ok(name) => {
            // SAFETY: SIG_IGN runs no code of ours.
            let _ = unsafe { signal(name, SigHandler::SigIgn) };
        }
        // SAFETY: as above; real-time signals have no name in nix. libc's own two are refused.
        Err(_) => unsafe {
            nix::libc::signal(number, nix::libc::SIG_IGN);
        },
    }
}

/// The keeper: waits until the socket's other end is closed, or a message (the farewell of
/// docs/glossary.md) says that Slurm is ending the step itself.
fn keep(step_socket: RawFd, namespace_socket: RawFd, serving: &[Pid]) {
    sys::name_process(c"pyxis-keeper");
    // SAFETY: open for as long as this process lives.
    let step_socket = unsafe { BorrowedFd::borrow_raw(step_socket) };
    let mut ended = [PollFd::new(step_socket, PollFlags::POLLIN)];
    while poll(&mut ended, PollTimeout::NONE).is_err() {}
    // Nobody left: 0, or ECONNRESET while the container still waits in the other end's queue.
    let mut word = [0];
    if recv(step_socket.as_raw_fd(), &mut word, MsgFlags::MSG_DONTWAIT).is_ok_and(|bytes| bytes > 0)
    {
        // A server ends by itself when the container's file system goes: at once, or when other
        // steps that use it have ended. Slurm must find neither of us: a closed descriptor would
        // come too early, a process leaves its cgroup after it has closed its files.
        // Should slurmstepd die even now, what is left of the step is ours to end.
        if !serving.iter().all(|server| wait_for_server(*server, step_socket)) {
            kill_container(namespace_socket, serving);
        }
        return;
    }
    kill_container(namespace_socket, serving);
}

/// Waits for the end of the server. Returns `false` if the socket's other end is closed before.
fn wait_for_server(serving: Pid, step_socket: BorrowedFd<'_>) -> bool {
    let running = || waitpid(serving, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive);
    let Ok(server) = sys::pidfd_open(serving.as_raw()) else {
        // Kernels before 5.3.
        while running() {
            let mut gone = [PollFd::new(step_socket, PollFlags::empty())];
            if poll(&mut gone, PollTimeout::from(1u8)).is_ok_and(|ready| ready > 0) {
                return false;
            }
        }
        return true;
    };
    let mut either = [
        PollFd::new(step_socket, PollFlags::empty()),
        PollFd::new(server.as_fd(), PollFlags::POLLIN),
    ];
    while running() {
        if poll(&mut either, PollTimeout::NONE).is_ok() && either[0].any().unwrap_or(true) {
            return !running();
        }
    }
    true
}

/// Kills every process of the container's user namespace and of those below it, until there is
/// none, and the servers. A container without a user namespace of its own cannot be told from the
/// node, and is left alone: nobody has sent one.
fn kill_container(namespace_socket: RawFd, serving: &[Pid]) {
    // Kept open: no other namespace gets its number.
    let Ok(namespace) = channel::receive(namespace_socket) else { return };
    let Ok(container) = sys::namespace_id(&namespace) else { return };
    // Each round may race with a fork; a hundred in a row do not.
    for _ in 0..100 {
        let mut found = false;
        let Ok(processes) = std::fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            let name = process.file_name();
            if name.to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
                continue;
            }
            if sys::kill_if_within(&process.path(), container) {
                found = true;
            }
        }
        if !found {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    for server in serving {
        let _ = kill(*server, Signal::SIGKILL);
    }
}

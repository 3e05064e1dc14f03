//! Hooks of devices, which are run as an OCI runtime runs those before `pivot_root`: told the
//! container's state on stdin, with a bundle whose configuration names the root.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use linux::environ;
use linux::sys;
use serde_json::{Value, json};

use crate::cdi::{DeviceNode, Edits, Hook};
use crate::start::error::StartError;

const OCI_VERSION: &str = "1.0.2";

/// The bundle's configuration: hooks look there for what the container was asked to have, `variables`, and for
/// what it gets.
pub(super) fn configuration(root: &Path, variables: &[u8], devices: &Edits) -> Value {
    // The last of two with one name is the one that counts.
    let variables: BTreeMap<OsString, OsString> = environ::entries(variables).collect();
    let variables: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    let nodes: Vec<Value> = devices.nodes.iter().filter_map(of_oci).collect();
    json!({
        "ociVersion": OCI_VERSION,
        "root": { "path": root.to_string_lossy() },
        "process": { "cwd": "/", "args": [], "env": variables },
        "linux": { "devices": nodes },
    })
}

/// What hooks are told of the container: a process of it, and where the bundle is.
pub(super) fn state(pid: u32, bundle: &Path) -> Value {
    json!({
        "ociVersion": OCI_VERSION,
        "id": format!("pyxis-{pid}"),
        "status": "creating",
        "pid": pid,
        "bundle": bundle.to_string_lossy(),
    })
}

/// Runs them in the order of the points at which they are to be run.
pub(super) fn run(devices: &Edits, state: &Value) -> Result<(), StartError> {
    let mut hooks: Vec<&Hook> = devices.hooks.iter().collect();
    hooks.sort_by_key(|hook| hook.point);
    hooks.into_iter().try_for_each(|hook| run_one(hook, &state.to_string()))
}

/// A device node as the configuration of an OCI runtime has it.
fn of_oci(node: &DeviceNode) -> Option<Value> {
    let found = fs::metadata(&node.host_path).ok()?;
    let kind = match found.file_type() {
        kind if kind.is_block_device() => "b",
        kind if kind.is_char_device() => "c",
        _ => "p",
    };
    let (major, minor) = (nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev()));
    Some(json!({
        "path": node.path,
        "type": kind,
        "major": major,
        "minor": minor,
        "fileMode": found.mode() & 0o7777,
        "uid": found.uid(),
        "gid": found.gid(),
    }))
}

fn run_one(hook: &Hook, state: &str) -> Result<(), StartError> {
    let failed = |problem| StartError::Hook { path: hook.path.clone(), problem };
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|variable| variable.split_once('=')));
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: only system calls on numbers and on memory of the closure's own.
    unsafe { command.pre_exec(sys::raise_ambient_capabilities) };
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    // A hook need not read; the state fits into a pipe.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(state.as_bytes()));
    if let Some(seconds) = hook.timeout {
        let ended = sys::pidfd_open(child.id() as i32).map_err(StartError::Process)?;
        if !sys::ends_within(ended.as_fd(), seconds).map_err(StartError::Process)? {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(format!("it did not end within {seconds} s")));
        }
    }
    match child.wait().map_err(|error| failed(error.to_string()))? {
        status if status.success() => Ok(()),
        status => Err(failed(status.to_string())),
    }
}

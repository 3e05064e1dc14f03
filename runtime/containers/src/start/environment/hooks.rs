//! Hooks, and the functions of a configuration script (`start --conf`), run as enroot runs them:
//! on the host's tree, with the container's at `ENROOT_ROOTFS`, as root of the container's user
//! namespace, before the container's root is entered. Only with either is a shell started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hygiene::text::is_yes;
use hygiene::unsecure;
use linux::bounded;
use linux::environ::{self, Environ};
use linux::file_error::FileError;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::unistd::pipe2;

use crate::cdi::{DeviceNode, Edits, Hook};
use crate::start::environment::site::Site;
use crate::start::error::StartError;
use crate::start::plan::Plan;
use crate::start::roots::{HostRoot, Roots};
use linux::sys;

/// Reads the configuration and calls its functions. Descriptors 8 and 9 say when to go on.
const SCRIPT: &str = r#"set -euo pipefail
shopt -s lastpipe
source "$1" < /dev/null
if declare -F environ > /dev/null; then environ >> "$ENROOT_ENVIRON"; fi
echo >&9
read -r -n 1 <&8
if declare -F hooks > /dev/null; then hooks > /dev/null; fi
if declare -F mounts > /dev/null; then mounts > "$2"; fi
if declare -F rc > /dev/null; then declare -f rc > "$3"; fi
"#;
/// Of the state that hooks of devices are told.
const OCI_VERSION: &str = "1.0.2";
const GO_FD: i32 = 8;
const READY_FD: i32 = 9;
/// Directories that can be covered for hooks, which hardly have anything there.
const PLACES: [&str; 3] = ["/media", "/srv", "/mnt"];
/// What hooks of enroot's expect of its library.
const LIBRARY: &str = include_str!("common.sh");

/// The directory of the host's tree in which hooks work: enroot's runtime directory, and the bundle of
/// an OCI runtime's.
pub(in crate::start) struct HookDirectory {
    directory: PathBuf,
    pid: u32,
    environ: Environ,
    library: PathBuf,
}

/// What hooks and the configuration script are given.
pub(in crate::start) struct HookInput<'a> {
    /// The configuration script.
    pub(in crate::start) conf: Option<&'a Path>,
    /// The site's hooks, in their order.
    pub(in crate::start) hooks: &'a [PathBuf],
    /// How many of them run before [`HookInput::devices`].
    pub(in crate::start) before_devices: usize,
    /// Gives the container devices, by the lines of variables that there are then; returns more of them.
    pub(in crate::start) devices: &'a Devices<'a>,
    /// Lines of the variables that are known so far.
    pub(in crate::start) environ: &'a [u8],
    /// Lines of the variables of the command line, which the script's own precede.
    pub(in crate::start) wanted: &'a [u8],
    /// Lines to be added for this step to those that it is given.
    pub(in crate::start) launched: &'a dyn Fn(&[u8]) -> Vec<u8>,
}

/// See [`HookInput::devices`].
pub(in crate::start) type Devices<'a> =
    dyn Fn(&mut Roots, &HookDirectory, &[u8]) -> Result<Vec<u8>, StartError> + 'a;

/// What the configuration script and the hooks have left in [`HookDirectory`].
#[derive(Default)]
pub(in crate::start) struct HookResults {
    /// Lines of variables: those given, and what the script and hooks wrote.
    pub(in crate::start) environ: Vec<u8>,
    /// Those of the lines that concern this step only.
    pub(in crate::start) launched: Vec<u8>,
    /// Mount lines of hooks.
    pub(in crate::start) hook_mounts: Vec<u8>,
    /// Mount lines of the script.
    pub(in crate::start) script_mounts: Vec<u8>,
    /// A command script.
    pub(in crate::start) rc: Option<Vec<u8>>,
}

impl HookDirectory {
    /// Makes a tmpfs on the runtime path and shows the container there.
    pub(in crate::start) fn open(
        roots: &mut Roots,
        plan: &Plan,
    ) -> Result<HookDirectory, StartError> {
        let directory = match own_directory(&roots.host()?, &plan.site)? {
            Some(directory) => directory,
            None => {
                // Nobody has made a place. Hooks do without what there is in this one; what is
                // mounted from it stays reachable.
                roots.stage()?.keep_host_uncovered()?;
                roots.host()?;
                let place = PLACES.iter().find(|place| Path::new(place).is_dir());
                place.unwrap_or(&"/tmp").into()
            }
        };
        prepare(&roots.host()?, &directory)?;
        roots.stage()?.show_tree_on_host(&directory.join("rootfs"))?;
        let library = plan.site.library.clone().unwrap_or_else(|| directory.join("lib"));
        let mut environ = plan.site.variables.clone();
        environ.extend(plan.host.environ.clone());
        Ok(HookDirectory { directory, pid: std::process::id(), environ, library })
    }

    /// Runs the configuration script and the site's hooks. What is added for the step comes after
    /// what the script says of the environment, and before the first hook.
    pub(in crate::start) fn run(
        &self,
        roots: &mut Roots,
        given: HookInput<'_>,
    ) -> Result<HookResults, StartError> {
        roots.host()?;
        self.write("environment", given.environ)?;
        self.write("fstab", b"")?;
        let mut script = given.conf.map(|conf| RunningScript::start(self, conf)).transpose()?;
        if let Some(script) = &mut script {
            script.wait_until_ready()?;
        }
        let mut text = self.read("environment")?;
        text.push(b'\n');
        text.extend_from_slice(given.wanted);
        let launched = (given.launched)(&text);
        text.extend_from_slice(&launched);
        self.write("environment", &linux::environ::formatted(&text))?;
        let (before, after) = given.hooks.split_at(given.before_devices);
        before.iter().try_for_each(|hook| self.run_hook(hook))?;
        let mut text = self.read("environment")?;
        let more = (given.devices)(roots, self, &text)?;
        roots.host()?;
        if !more.is_empty() {
            text.extend([b"\n", &more[..]].concat());
            self.write("environment", &text)?;
        }
        after.iter().try_for_each(|hook| self.run_hook(hook))?;
        if let Some(script) = script {
            script.finish()?;
        }
        let rc = fs::read(self.directory.join("rc")).ok();
        Ok(HookResults {
            environ: self.read("environment")?,
            launched,
            hook_mounts: self.read("fstab")?,
            script_mounts: fs::read(self.directory.join("mounts")).unwrap_or_default(),
            rc: rc.map(|text| body(&text)),
        })
    }

    /// Runs the hooks of devices, as an OCI runtime runs those before `pivot_root`: told the
    /// container's state on stdin, with a bundle whose configuration names the root.
    pub(in crate::start) fn run_for_devices(
        &self,
        roots: &mut Roots,
        devices: &Edits,
        environ: &[u8],
    ) -> Result<(), StartError> {
        if devices.hooks.is_empty() {
            return Ok(());
        }
        let mut hooks: Vec<&Hook> = devices.hooks.iter().collect();
        hooks.sort_by_key(|hook| hook.point);
        let root = self.directory.join("rootfs");
        // Vendors' hooks look for what the container was asked to have, and for what it gets.
        let environ = environ::entries(environ);
        let environ: BTreeMap<_, _> = environ.collect();
        let environ: Vec<String> = environ
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
            .collect();
        let nodes: Vec<_> = devices.nodes.iter().filter_map(of_oci).collect();
        let configuration = serde_json::json!({
            "ociVersion": OCI_VERSION,
            "root": { "path": root.to_string_lossy() },
            "process": { "cwd": "/", "args": [], "env": environ },
            "linux": { "devices": nodes },
        });
        let state = serde_json::json!({
            "ociVersion": OCI_VERSION,
            "id": format!("pyxis-{}", self.pid),
            "status": "creating",
            "pid": self.pid,
            "bundle": self.directory.to_string_lossy(),
        });
        roots.host()?;
        self.write("config.json", configuration.to_string().as_bytes())?;
        hooks.into_iter().try_for_each(|hook| run_device_hook(hook, &state.to_string()))
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<(), StartError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(|error| FileError::new("write", &path, error).into())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, StartError> {
        let path = self.directory.join(name);
        fs::read(&path).map_err(|error| FileError::new("read", &path, error).into())
    }

    /// A program with the variables and the rights that hooks have.
    fn command(&self, program: &OsStr) -> Command {
        let mut path = self.directory.join("bin").into_os_string();
        path.push(":");
        path.push(self.environ.get(OsStr::new("PATH")).map_or(OsStr::new(""), |path| path));
        let mut command = unsecure::command(program);
        // As enroot has it: what is off is not set.
        let off = |value: &OsStr| !value.is_empty() && !is_yes(value.as_bytes());
        let kept = |(name, value): &(&OsString, &OsString)| {
            let name = name.as_bytes();
            let is_off = name.starts_with(b"ENROOT_") && off(value);
            !is_off && !unsecure::is_unsecure(name)
        };
        command.env_clear().envs(self.environ.iter().filter(kept));
        command
            .env("PATH", path)
            .env("ENROOT_PID", self.pid.to_string())
            .env("ENROOT_ROOTFS", self.directory.join("rootfs"))
            .env("ENROOT_ENVIRON", self.directory.join("environment"))
            .env("ENROOT_MOUNTS", self.directory.join("fstab"))
            .env("ENROOT_RUNTIME_PATH", &self.directory)
            .env("ENROOT_LIBRARY_PATH", &self.library)
            .stdin(Stdio::null())
            // stdout belongs to the user's program.
            .stdout(Stdio::null());
        // SAFETY: only system calls on numbers and on memory of the closure's own.
        unsafe { command.pre_exec(sys::raise_ambient_capabilities) };
        command
    }

    fn run_hook(&self, hook: &Path) -> Result<(), StartError> {
        let failed = |problem| StartError::Hook { path: hook.to_owned(), problem };
        let status = match is_for_bash(hook) {
            true => self.command(OsStr::new("bash")).arg(hook).status(),
            false => self.command(hook.as_os_str()).status(),
        };
        match status.map_err(|error| failed(error.to_string()))? {
            status if status.success() => Ok(()),
            status => Err(failed(status.to_string())),
        }
    }
}

/// A script whose first line does not say by what it is run: enroot, which is bash, runs it itself.
fn is_for_bash(hook: &Path) -> bool {
    let beginning = bounded::beginning(hook, 80).unwrap_or_default();
    !beginning.is_empty() && !beginning.starts_with(b"#!") && !beginning.contains(&0)
}

/// A device node as the configuration of an OCI runtime has it.
fn of_oci(node: &DeviceNode) -> Option<serde_json::Value> {
    let found = fs::metadata(&node.host_path).ok()?;
    let kind = match found.file_type() {
        kind if kind.is_block_device() => "b",
        kind if kind.is_char_device() => "c",
        _ => "p",
    };
    let (major, minor) = (nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev()));
    Some(serde_json::json!({
        "path": node.path,
        "type": kind,
        "major": major,
        "minor": minor,
        "fileMode": found.mode() & 0o7777,
        "uid": found.uid(),
        "gid": found.gid(),
    }))
}

fn run_device_hook(hook: &Hook, state: &str) -> Result<(), StartError> {
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

/// A running configuration script.
struct RunningScript {
    conf: PathBuf,
    bash: Child,
    go: File,
    ready: File,
}

impl RunningScript {
    fn start(hook_directory: &HookDirectory, conf: &Path) -> Result<RunningScript, StartError> {
        let failed = |problem| StartError::Conf { path: conf.to_owned(), problem };
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| StartError::Process(errno.into()));
        let ((waits, go), (ready, says)) = (pipe()?, pipe()?);
        let conf = std::path::absolute(conf).map_err(|error| failed(error.to_string()))?;
        let mut command = hook_directory.command(OsStr::new("bash"));
        command.args(["--norc", "-c", SCRIPT, "pyxis-conf"]).arg(&conf);
        command
            .args([hook_directory.directory.join("mounts"), hook_directory.directory.join("rc")]);
        let (from, to) = (sys::move_up(waits), sys::move_up(says));
        let (from, to) = (from.map_err(StartError::Process)?, to.map_err(StartError::Process)?);
        let place = [(from.as_raw_fd(), GO_FD), (to.as_raw_fd(), READY_FD)];
        // SAFETY: only system calls on numbers; the descriptors are open until after the fork.
        unsafe {
            command.pre_exec(move || {
                place.iter().try_for_each(|(fd, number)| sys::place_raw(*fd, *number))
            });
        }
        let bash = command.spawn().map_err(|error| {
            failed(format!("bash: {error}; configuration scripts need it on the host"))
        })?;
        let _: (OwnedFd, OwnedFd) = (from, to);
        Ok(RunningScript { conf, bash, go: go.into(), ready: ready.into() })
    }

    /// Waits until the environment is written.
    fn wait_until_ready(&mut self) -> Result<(), StartError> {
        match self.ready.read(&mut [0]) {
            Ok(1) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn finish(mut self) -> Result<(), StartError> {
        let _ = self.go.write_all(b"\n");
        match self.bash.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn failure(&mut self) -> StartError {
        let problem = match self.bash.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        StartError::Conf { path: self.conf.clone(), problem }
    }
}

/// The directory that the user or the system has for this; `None` if there is none.
fn own_directory(_: &HostRoot<'_>, site: &Site) -> Result<Option<PathBuf>, StartError> {
    match fs::create_dir_all(&site.runtime) {
        Err(error) if site.runtime_is_wanted => {
            Err(FileError::new("create (ENROOT_RUNTIME_PATH)", &site.runtime, error).into())
        }
        made => Ok(made.is_ok().then(|| site.runtime.clone())),
    }
}

/// Mounts a tmpfs of our mount namespace with what hooks need.
fn prepare(_: &HostRoot<'_>, directory: &Path) -> Result<(), StartError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("pyxis"), directory, Some("tmpfs"), flags, Some("mode=700"))
        .map_err(|errno| StartError::mount("tmpfs", &directory.to_string_lossy(), errno))?;
    let filled = (|| {
        for below in ["rootfs", "bin", "lib"] {
            fs::create_dir(directory.join(below))?;
        }
        fs::write(directory.join("lib/common.sh"), LIBRARY)?;
        symlink(fs::read_link("/proc/self/exe")?, directory.join("bin/enroot-mount"))
    })();
    filled.map_err(|error: io::Error| FileError::new("fill", directory, error).into())
}

/// The commands of a function that bash has printed.
fn body(function: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = function.trim_ascii().split(|byte| *byte == b'\n').collect();
    let inner = lines.get(2..lines.len().saturating_sub(1)).unwrap_or_default();
    let mut script = inner.join(&b'\n');
    script.push(b'\n');
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_commands_are_a_script() {
        assert_eq!(
            body(b"rc () \n{ \n    cd /x;\n    exec \"$@\"\n}\n"),
            b"    cd /x;\n    exec \"$@\"\n"
        );
        assert_eq!(body(b""), b"\n");
    }
}

//! The site's hooks, run as enroot runs them: on the host's tree, with the container's at
//! `ENROOT_ROOTFS`, as root of the container's user namespace, before the container's root is
//! entered. A configuration script and hooks of devices run in the same place. A shell is started for these only.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hygiene::text::is_yes;
use hygiene::unsecure;
use linux::bounded;
use linux::environ::Environ;
use linux::file_error::FileError;
use nix::mount::{MsFlags, mount};

use crate::cdi::Edits;
use crate::start::environment::conf_script::{self, RunningScript};
use crate::start::environment::device_hooks;
use crate::start::environment::hook_place::{HookPlace, MOUNTS, VARIABLES};
use crate::start::error::StartError;
use crate::start::plan::Plan;
use crate::start::roots::{HostRoot, Roots};
use linux::sys;

/// What hooks of enroot's expect of its library.
const LIBRARY: &str = include_str!("common.sh");

/// The directory in which hooks work, when it is made.
pub(in crate::start) struct HookDirectory {
    place: HookPlace,
    environ: Environ,
    library: PathBuf,
}

/// The hooks of one start, from the first to what they leave. A configuration script, if there is one, waits
/// for the last of them.
pub(in crate::start) struct HookRun<'a> {
    directory: &'a HookDirectory,
    script: Option<RunningScript>,
}

/// What the configuration script and the hooks have left in [`HookDirectory`].
#[derive(Default)]
pub(in crate::start) struct HookResults {
    /// Lines of variables: those given, and what the script and hooks wrote.
    pub(in crate::start) variables: Vec<u8>,
    /// Mount lines of hooks.
    pub(in crate::start) hook_mounts: Vec<u8>,
    /// Mount lines of the script.
    pub(in crate::start) script_mounts: Vec<u8>,
    /// A command script.
    pub(in crate::start) rc: Option<Vec<u8>>,
}

impl HookDirectory {
    /// Mounts a tmpfs at the place and shows the container there.
    pub(in crate::start) fn open(
        roots: &mut Roots,
        plan: &Plan,
        place: HookPlace,
    ) -> Result<HookDirectory, StartError> {
        if place.is_borrowed {
            // Hooks do without what there is in this one; what is mounted from it stays reachable.
            roots.stage()?.keep_host_uncovered()?;
        }
        prepare(&roots.host()?, &place)?;
        roots.stage()?.show_tree_on_host(&place.rootfs)?;
        let library = plan.site.library.clone().unwrap_or_else(|| place.directory.join("lib"));
        let mut environ = plan.site.variables.clone();
        environ.extend(plan.host.environ.clone());
        Ok(HookDirectory { place, environ, library })
    }

    /// Runs the hooks of devices. `variables` are the lines of those that the container has by now.
    pub(in crate::start) fn run_for_devices(
        &self,
        roots: &mut Roots,
        devices: &Edits,
        variables: &[u8],
    ) -> Result<(), StartError> {
        if devices.hooks.is_empty() {
            return Ok(());
        }
        let configuration = device_hooks::configuration(&self.place.rootfs, variables, devices);
        roots.host()?;
        self.write("config.json", configuration.to_string().as_bytes())?;
        device_hooks::run(devices, &device_hooks::state(std::process::id(), &self.place.directory))
    }

    /// Begins to run hooks, with the configuration script's word on the variables: those lines that there are so
    /// far, `variables`, and its own.
    pub(in crate::start) fn begin(
        &self,
        _: &HostRoot<'_>,
        plan: &Plan,
        variables: &[u8],
    ) -> Result<HookRun<'_>, StartError> {
        self.write(VARIABLES, variables)?;
        self.write(MOUNTS, b"")?;
        let start = |conf| {
            let bash = self.command(OsStr::new("bash"));
            let mut script = RunningScript::start(bash, conf, &plan.words)?;
            script.wait_until_ready().map(|()| script)
        };
        Ok(HookRun { directory: self, script: plan.conf.as_deref().map(start).transpose()? })
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<(), StartError> {
        let path = self.place.directory.join(name);
        fs::write(&path, text).map_err(|error| FileError::new("write", &path, error).into())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, StartError> {
        let path = self.place.directory.join(name);
        fs::read(&path).map_err(|error| FileError::new("read", &path, error).into())
    }

    /// A program with the variables and the rights that hooks have.
    fn command(&self, program: &OsStr) -> Command {
        let mut path = self.place.directory.join("bin").into_os_string();
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
            .envs(self.place.variables())
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
        match status.map_err(|error| failed(unexecuted(hook, &error)))? {
            status if status.success() => Ok(()),
            status => Err(failed(status.to_string())),
        }
    }
}

/// Why a hook that is there is not executed. Where its interpreter is not, the kernel speaks of the hook; a carriage return
/// belongs to the interpreter's name.
fn unexecuted(hook: &Path, error: &std::io::Error) -> String {
    let beginning = bounded::beginning(hook, 80).unwrap_or_default();
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match error.kind() {
        std::io::ErrorKind::NotFound if line.starts_with(b"#!") => {
            format!("what its first line names is not there: {:?}", String::from_utf8_lossy(line))
        }
        _ => error.to_string(),
    }
}

/// A script whose first line does not say by what it is run: enroot, which is bash, runs it itself.
fn is_for_bash(hook: &Path) -> bool {
    let beginning = bounded::beginning(hook, 80).unwrap_or_default();
    !beginning.is_empty() && !beginning.starts_with(b"#!") && !beginning.contains(&0)
}

impl HookRun<'_> {
    /// The lines of the container's variables by now.
    pub(in crate::start) fn variables(&self, _: &HostRoot<'_>) -> Result<Vec<u8>, StartError> {
        self.directory.read(VARIABLES)
    }

    /// Lets the hooks that follow have these lines.
    pub(in crate::start) fn set_variables(
        &self,
        _: &HostRoot<'_>,
        lines: &[u8],
    ) -> Result<(), StartError> {
        self.directory.write(VARIABLES, lines)
    }

    /// Runs these, in their order.
    pub(in crate::start) fn run(
        &self,
        _: &HostRoot<'_>,
        hooks: &[PathBuf],
    ) -> Result<(), StartError> {
        hooks.iter().try_for_each(|hook| self.directory.run_hook(hook))
    }

    /// Lets the configuration script end. Returns what it and the hooks have left.
    pub(in crate::start) fn finish(self, _: &HostRoot<'_>) -> Result<HookResults, StartError> {
        if let Some(script) = self.script {
            script.finish()?;
        }
        let directory = self.directory;
        Ok(HookResults {
            variables: directory.read(VARIABLES)?,
            hook_mounts: directory.read(MOUNTS)?,
            script_mounts: conf_script::mounts(&directory.place.directory),
            rc: conf_script::commands(&directory.place.directory),
        })
    }
}

/// Mounts a tmpfs of our mount namespace with what hooks need.
fn prepare(_: &HostRoot<'_>, place: &HookPlace) -> Result<(), StartError> {
    let directory = &*place.directory;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("pyxis"), directory, Some("tmpfs"), flags, Some("mode=700"))
        .map_err(|errno| StartError::mount("tmpfs", &directory.to_string_lossy(), errno))?;
    let filled = (|| {
        fs::create_dir_all(&place.rootfs)?;
        for below in ["bin", "lib"] {
            fs::create_dir(directory.join(below))?;
        }
        fs::write(directory.join("lib/common.sh"), LIBRARY)?;
        symlink(fs::read_link("/proc/self/exe")?, directory.join("bin/enroot-mount"))
    })();
    filled.map_err(|error: io::Error| FileError::new("fill", directory, error).into())
}

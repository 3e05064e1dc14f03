//! The one table of options: what Slurm registers, and what each means.

use spank_bindings::{HasArg, OptionCallback, OptionSpec};
use std::ffi::CStr;
use std::sync::OnceLock;

use super::{OptionError, Options, Switch, Valued};

/// What an option of the table does.
#[derive(Clone, Copy, Debug)]
enum Action {
    Value(Valued),
    Turn(Switch, bool),
}

struct Row {
    name: &'static CStr,
    arginfo: Option<&'static CStr>,
    usage: &'static CStr,
    action: Action,
}

const fn value(name: &'static CStr, arg: &'static CStr, what: Valued, usage: &'static CStr) -> Row {
    Row { name, arginfo: Some(arg), usage, action: Action::Value(what) }
}

const fn turn(name: &'static CStr, what: Switch, on: bool, usage: &'static CStr) -> Row {
    Row { name, arginfo: None, usage, action: Action::Turn(what, on) }
}

static ROWS: [Row; 16] = [
    value(
        c"container-image",
        c"[USER@][REGISTRY#]IMAGE[:TAG]|PATH",
        Valued::Image,
        c"[pyxis] image to run the tasks in: an image of a registry, or the path of a squashfs \
          file on the node (starting with \"/\" or \".\")",
    ),
    value(
        c"container-mounts",
        c"SRC:DST[:FLAGS][,SRC:DST...]",
        Valued::Mounts,
        c"[pyxis] files and directories of the node to mount in the container; flags are joined \
          with \"+\", as in \"ro+rprivate\"",
    ),
    value(
        c"container-workdir",
        c"PATH",
        Valued::Workdir,
        c"[pyxis] directory in the container to start in",
    ),
    value(
        c"container-name",
        c"NAME[:auto|create|exec|no_exec]",
        Valued::Name,
        c"[pyxis] keep the container's file system on the node under this name, and use the one \
          that has it; without a name it is removed after the step",
    ),
    value(
        c"container-save",
        c"PATH",
        Valued::Save,
        c"[pyxis] save the container to a squashfs file on the node after the step",
    ),
    turn(
        c"container-mount-home",
        Switch::MountHome,
        true,
        c"[pyxis] mount the home directory; the site may do so already",
    ),
    turn(
        c"no-container-mount-home",
        Switch::MountHome,
        false,
        c"[pyxis] do not mount the home directory",
    ),
    turn(
        c"container-remap-root",
        Switch::RemapRoot,
        true,
        c"[pyxis] be root in the container; outside of it nothing more is allowed than before",
    ),
    turn(
        c"no-container-remap-root",
        Switch::RemapRoot,
        false,
        c"[pyxis] keep the user's own id in the container",
    ),
    turn(
        c"container-entrypoint",
        Switch::Entrypoint,
        true,
        c"[pyxis] run the entrypoint of the image",
    ),
    turn(
        c"no-container-entrypoint",
        Switch::Entrypoint,
        false,
        c"[pyxis] do not run the entrypoint of the image",
    ),
    turn(
        c"container-entrypoint-log",
        Switch::EntrypointLog,
        true,
        c"[pyxis] print what the entrypoint printed",
    ),
    turn(
        c"container-writable",
        Switch::Writable,
        true,
        c"[pyxis] make the container's root file system writable",
    ),
    turn(
        c"container-readonly",
        Switch::Writable,
        false,
        c"[pyxis] make the container's root file system read-only",
    ),
    value(
        c"container-env",
        c"NAME[,NAME...]",
        Valued::Env,
        c"[pyxis] variables whose value on the host wins over the image's, for the entrypoint \
          too; all others of the host are passed on unless the image sets them",
    ),
    value(
        c"container-unshare",
        c"NS[,NS...]",
        Valued::Unshare,
        c"[pyxis] namespaces the container has for itself: net, ipc, uts",
    ),
];

/// The table in Slurm's form; an option's `val` is its row.
pub fn specs(callback: OptionCallback) -> &'static [OptionSpec] {
    static SPECS: OnceLock<Vec<OptionSpec>> = OnceLock::new();
    SPECS.get_or_init(|| {
        let spec = |(val, row): (i32, &Row)| OptionSpec {
            name: row.name,
            arginfo: row.arginfo,
            usage: row.usage,
            has_arg: if row.arginfo.is_some() { HasArg::Required } else { HasArg::No },
            val,
            callback,
        };
        (0..).zip(&ROWS).map(spec).collect()
    })
}

/// The option of row `val`, if it takes a value.
pub fn valued(val: i32) -> Option<Valued> {
    match ROWS.get(usize::try_from(val).ok()?)?.action {
        Action::Value(which) => Some(which),
        Action::Turn(..) => None,
    }
}

impl Options {
    /// Takes the option of row `val`, as Slurm gives it.
    pub fn take(&mut self, val: i32, arg: Option<&CStr>) -> Result<(), OptionError> {
        let Some(row) = usize::try_from(val).ok().and_then(|row| ROWS.get(row)) else {
            return Ok(()); // not one of ours
        };
        match row.action {
            Action::Value(which) => self.set(which, arg.map_or(b"", CStr::to_bytes)),
            Action::Turn(which, on) => self.switch(which, on),
        }
    }
}

/// Every option's name and whether it takes an argument.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = (i32, &'static str, bool)> {
    ROWS.iter()
        .enumerate()
        .map(|(val, row)| (val as i32, row.name.to_str().unwrap_or("?"), row.arginfo.is_some()))
}

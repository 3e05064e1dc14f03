//! Defaults from the environment: `PYXIS_CONTAINER_*`, where the command line is silent.

use super::{OptionError, Options, Switch, Unshare, Valued};
use std::ffi::CStr;

const VALUED: [(&CStr, Valued); 7] = [
    (c"PYXIS_CONTAINER_IMAGE", Valued::Image),
    (c"PYXIS_CONTAINER_MOUNTS", Valued::Mounts),
    (c"PYXIS_CONTAINER_WORKDIR", Valued::Workdir),
    (c"PYXIS_CONTAINER_NAME", Valued::Name),
    (c"PYXIS_CONTAINER_SAVE", Valued::Save),
    (c"PYXIS_CONTAINER_ENV", Valued::Env),
    (c"PYXIS_CONTAINER_UNSHARE", Valued::Unshare),
];

/// Variable, switch, and whether a "yes" turns the switch on.
const SWITCHES: [(&CStr, Switch, bool); 6] = [
    (c"PYXIS_CONTAINER_MOUNT_HOME", Switch::MountHome, true),
    (c"PYXIS_CONTAINER_REMAP_ROOT", Switch::RemapRoot, true),
    (c"PYXIS_CONTAINER_ENTRYPOINT", Switch::Entrypoint, true),
    (c"PYXIS_CONTAINER_ENTRYPOINT_LOG", Switch::EntrypointLog, true),
    (c"PYXIS_CONTAINER_WRITABLE", Switch::Writable, true),
    (c"PYXIS_CONTAINER_READONLY", Switch::Writable, false),
];

impl Options {
    /// Takes the defaults that `get` finds; a variable that does not exist is `None`.
    pub fn apply_defaults(
        &mut self,
        get: &dyn Fn(&CStr) -> Option<Vec<u8>>,
    ) -> Result<(), OptionError> {
        for (variable, which) in VALUED {
            if self.has(which) {
                continue;
            }
            if let Some(value) = get(variable) {
                self.set(which, &value)?;
            }
        }
        for (variable, which, positive) in SWITCHES {
            if self.slot(which).is_some() {
                continue;
            }
            if let Some(yes) = get(variable).as_deref().and_then(parse_bool) {
                self.switch(which, yes == positive)?;
            }
        }
        Ok(())
    }

    fn has(&self, which: Valued) -> bool {
        match which {
            Valued::Image => self.image.is_some(),
            Valued::Mounts => !self.mounts.is_empty(),
            Valued::Workdir => self.workdir.is_some(),
            Valued::Name => self.name.is_some(),
            Valued::Save => self.save.is_some(),
            Valued::Env => !self.env.is_empty(),
            Valued::Unshare => self.unshare != Unshare::default(),
        }
    }
}

/// `1 true yes y` and `0 false no n`; anything else says nothing.
pub fn parse_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"true" | b"yes" | b"y" => Some(true),
        b"0" | b"false" | b"no" | b"n" => Some(false),
        _ => None,
    }
}

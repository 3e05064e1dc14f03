//! Defaults from the environment: `PYXIS_CONTAINER_*`, where the command line is silent.

use super::error::OptionError;
use super::values::{Name, Options, Switch, Unshare, Valued};
use hygiene::text::parse_bool;
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// What a variable sets: an option with a value, or a switch, and whether a "yes" turns it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sets {
    Value(Valued),
    Turn(Switch, bool),
}

/// The names by which variables are handed on, and what they set.
static DEFAULTS: [(&CStr, Sets); 13] = [
    (c"SLURM_PYXIS_CONTAINER_IMAGE", Sets::Value(Valued::Image)),
    (c"SLURM_PYXIS_CONTAINER_MOUNTS", Sets::Value(Valued::Mounts)),
    (c"SLURM_PYXIS_CONTAINER_WORKDIR", Sets::Value(Valued::Workdir)),
    (c"SLURM_PYXIS_CONTAINER_NAME", Sets::Value(Valued::Name)),
    (c"SLURM_PYXIS_CONTAINER_SAVE", Sets::Value(Valued::Save)),
    (c"SLURM_PYXIS_CONTAINER_ENV", Sets::Value(Valued::Env)),
    (c"SLURM_PYXIS_CONTAINER_UNSHARE", Sets::Value(Valued::Unshare)),
    (c"SLURM_PYXIS_CONTAINER_MOUNT_HOME", Sets::Turn(Switch::MountHome, true)),
    (c"SLURM_PYXIS_CONTAINER_REMAP_ROOT", Sets::Turn(Switch::RemapRoot, true)),
    (c"SLURM_PYXIS_CONTAINER_ENTRYPOINT", Sets::Turn(Switch::Entrypoint, true)),
    (c"SLURM_PYXIS_CONTAINER_ENTRYPOINT_LOG", Sets::Turn(Switch::EntrypointLog, true)),
    (c"SLURM_PYXIS_CONTAINER_WRITABLE", Sets::Turn(Switch::Writable, true)),
    (c"SLURM_PYXIS_CONTAINER_READONLY", Sets::Turn(Switch::Writable, false)),
];

/// The variables, and under which names srun hands their values on: with `--export=NONE` the job
/// has no others than Slurm's.
pub fn handed_on() -> impl Iterator<Item = (&'static CStr, &'static CStr)> {
    DEFAULTS.iter().map(|(name, _)| (variable(name), *name))
}

/// The user's variable that is handed on by this name: what follows `SLURM_`.
fn variable(name: &'static CStr) -> &'static CStr {
    name.to_bytes_with_nul()
        .get(6..)
        .and_then(|rest| CStr::from_bytes_with_nul(rest).ok())
        .unwrap_or(name)
}

impl Options {
    /// Takes the defaults that `get` finds; a variable that does not exist is `None`, and one that
    /// is empty is as good as that. Returns what is wrong with others.
    pub fn apply_defaults(
        &mut self,
        get: &mut dyn FnMut(&CStr) -> Option<Vec<u8>>,
    ) -> Vec<OptionError> {
        let mut wrong = Vec::new();
        for (name, sets) in &DEFAULTS {
            let given = match *sets {
                Sets::Value(which) => self.has(which),
                Sets::Turn(which, _) => self.slot(which).is_some(),
            };
            if given {
                continue;
            }
            let Some(value) = get(variable(name)).filter(|value| !value.is_empty()) else {
                continue;
            };
            let set = match (*sets, parse_bool(&value)) {
                (Sets::Value(which), _) => self.set(which, &value),
                (Sets::Turn(which, positive), Some(yes)) => self.switch(which, yes == positive),
                (Sets::Turn(..), None) => Ok(()),
            };
            wrong.extend(set.err());
        }
        wrong
    }

    /// The value of the option at that place of those that are handed on; `None` of one that is not given, and of a list,
    /// which is handed on as one that is repeated.
    pub fn text(&mut self, place: u8) -> Option<Vec<u8>> {
        let value = match DEFAULTS.get(usize::from(place))?.1 {
            Sets::Value(Valued::Image) => self.image.clone(),
            Sets::Value(Valued::Workdir) => self.workdir.clone(),
            Sets::Value(Valued::Name) => self.name.as_ref().map(Name::text),
            Sets::Value(Valued::Save) => self.save.clone(),
            Sets::Value(Valued::Mounts | Valued::Env | Valued::Unshare) => None,
            Sets::Turn(which, positive) => {
                let yes = self.slot(which).as_ref()? == &positive;
                return Some(vec![if yes { b'1' } else { b'0' }]);
            }
        };
        value.map(OsString::into_vec)
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

/// What is set by the variable at that place.
#[cfg(test)]
pub(super) fn sets(place: u8) -> Sets {
    DEFAULTS[usize::from(place)].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_says_the_same() {
        let mut given = Options::default();
        for (which, value) in [
            (Valued::Image, "a#b:c"),
            (Valued::Workdir, "/w"),
            (Valued::Name, "n:no_exec"),
            (Valued::Save, "./s.sqsh"),
        ] {
            given.set(which, value.as_bytes()).unwrap();
        }
        given.switch(Switch::MountHome, false).unwrap();
        given.switch(Switch::Entrypoint, true).unwrap();
        given.switch(Switch::Writable, false).unwrap();
        let mut told = Options::default();
        let mut handed = given.clone();
        let wrong = told.apply_defaults(&mut |variable| {
            let place = handed_on().position(|(of, _)| of == variable)?;
            handed.text(place as u8)
        });
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(told, given);
    }

    #[test]
    fn every_default_is_handed_on() {
        for (variable, name) in handed_on() {
            assert!(variable.to_bytes().starts_with(b"PYXIS_CONTAINER_"), "{variable:?}");
            assert_eq!(name.to_bytes(), [b"SLURM_", variable.to_bytes()].concat());
        }
    }
}

//! Defaults from the environment: `PYXIS_CONTAINER_*`, where the command line is silent.

use super::error::OptionError;
use super::values::{Name, Options, Switch, Unshare, Valued};
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// The names by which variables are handed on, and what they set.
const VALUED: [(&CStr, Valued); 7] = [
    (c"SLURM_PYXIS_CONTAINER_IMAGE", Valued::Image),
    (c"SLURM_PYXIS_CONTAINER_MOUNTS", Valued::Mounts),
    (c"SLURM_PYXIS_CONTAINER_WORKDIR", Valued::Workdir),
    (c"SLURM_PYXIS_CONTAINER_NAME", Valued::Name),
    (c"SLURM_PYXIS_CONTAINER_SAVE", Valued::Save),
    (c"SLURM_PYXIS_CONTAINER_ENV", Valued::Env),
    (c"SLURM_PYXIS_CONTAINER_UNSHARE", Valued::Unshare),
];

/// As above: name, switch, and whether a "yes" turns the switch on.
const SWITCHES: [(&CStr, Switch, bool); 6] = [
    (c"SLURM_PYXIS_CONTAINER_MOUNT_HOME", Switch::MountHome, true),
    (c"SLURM_PYXIS_CONTAINER_REMAP_ROOT", Switch::RemapRoot, true),
    (c"SLURM_PYXIS_CONTAINER_ENTRYPOINT", Switch::Entrypoint, true),
    (c"SLURM_PYXIS_CONTAINER_ENTRYPOINT_LOG", Switch::EntrypointLog, true),
    (c"SLURM_PYXIS_CONTAINER_WRITABLE", Switch::Writable, true),
    (c"SLURM_PYXIS_CONTAINER_READONLY", Switch::Writable, false),
];

/// The variables, and under which names srun hands their values on: with `--export=NONE` the job
/// has no others than Slurm's.
pub fn handed_on() -> impl Iterator<Item = (&'static CStr, &'static CStr)> {
    let valued = VALUED.iter().map(|(name, _)| *name);
    valued.chain(SWITCHES.iter().map(|(name, ..)| *name)).map(|name| (variable(name), name))
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
        let mut get = |variable: &CStr| get(variable).filter(|value| !value.is_empty());
        for (name, which) in VALUED {
            if self.has(which) {
                continue;
            }
            if let Some(value) = get(variable(name)) {
                if let Err(error) = self.set(which, &value) {
                    wrong.push(error);
                }
            }
        }
        for (name, which, positive) in SWITCHES {
            if self.slot(which).is_some() {
                continue;
            }
            if let Some(yes) = get(variable(name)).as_deref().and_then(parse_bool) {
                if let Err(error) = self.switch(which, yes == positive) {
                    wrong.push(error);
                }
            }
        }
        wrong
    }

    /// The value of the option that a variable handed on by this name sets; `None` of one that is not given, and
    /// of a list, which is handed on as one that is repeated.
    pub fn text(&mut self, name: &CStr) -> Option<Vec<u8>> {
        if let Some((_, which)) = VALUED.iter().find(|(valued, _)| *valued == name) {
            let value = match which {
                Valued::Image => self.image.clone(),
                Valued::Workdir => self.workdir.clone(),
                Valued::Name => self.name.as_ref().map(Name::text),
                Valued::Save => self.save.clone(),
                Valued::Mounts | Valued::Env | Valued::Unshare => None,
            };
            return value.map(OsString::into_vec);
        }
        let (_, which, positive) = SWITCHES.iter().find(|(switch, ..)| *switch == name)?;
        let yes = self.slot(*which).as_ref()? == positive;
        Some(vec![if yes { b'1' } else { b'0' }])
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
            let (_, name) = handed_on().find(|(of, _)| *of == variable)?;
            handed.text(name)
        });
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(told, given);
    }

    #[test]
    fn every_default_is_handed_on() {
        assert_eq!(handed_on().count(), 13);
        for (variable, name) in handed_on() {
            assert!(variable.to_bytes().starts_with(b"PYXIS_CONTAINER_"), "{variable:?}");
            assert_eq!(name.to_bytes(), [b"SLURM_", variable.to_bytes()].concat());
        }
    }
}

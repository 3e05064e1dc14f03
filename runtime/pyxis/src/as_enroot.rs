//! enroot's variables, as enroot has them: what `enroot info` prints, and what a site's own hooks and lists take for
//! granted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use linux::environ::Environ;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::settings::{Origin, Setting, Settings, Value, bases, variables};

/// Of enroot, which the command stands for under that name.
pub const VERSION: &str = "4.1.2";

/// What enroot always sets and nothing here asks for: a hook that stops at what is unset would not get far without.
const UNUSED: [(&str, &str); 3] = [
    ("ENROOT_GZIP_PROGRAM", "gzip"),
    ("ENROOT_ZSTD_OPTIONS", "-1"),
    (variables::SQUASH_OPTIONS, "-comp lzo -noD -exit-on-error"),
];

/// The variables that hold.
pub fn variables(settings: &Settings) -> Environ {
    let host = settings.host.iter();
    let mut all: Environ = host
        .filter(|(name, _)| name.as_bytes().starts_with(b"ENROOT_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (setting, value, origin) in settings.resolved.all() {
        let said = value.filter(|_| setting.variable.starts_with("ENROOT_"));
        if let Some(said) = said {
            let text = match origin {
                Origin::Default => default_of(setting, said),
                _ => Some(said.to_text()),
            };
            if let Some(text) = text {
                all.entry(setting.variable.into()).or_insert(text);
            }
        }
    }
    all.entry(variables::LOGIN_SHELL.into()).or_insert_with(|| "true".into());
    let paths = &settings.paths;
    for (name, place) in [
        (variables::DATA_PATH, paths.data.clone()),
        (variables::RUNTIME_PATH, Some(paths.runtime.0.clone())),
        (variables::TEMP_PATH, Some(paths.temp.clone())),
    ] {
        if let Some(place) = place {
            all.entry(name.into()).or_insert_with(|| place.into());
        }
    }
    // enroot has no variable for what is off.
    let off = ["n", "no", "N", "No", "NO", "f", "F", "false", "False", "FALSE"];
    all.retain(|_, value| !off.iter().any(|word| value == word));
    all.insert("ENROOT_VERSION".into(), VERSION.into());
    all
}

/// Those, and what else is set where enroot runs a hook or reads a list.
pub fn for_hooks(settings: &Settings) -> Environ {
    let mut all = variables(settings);
    for (name, value) in UNUSED {
        all.entry(name.into()).or_insert_with(|| value.into());
    }
    all.insert(variables::SYSCONF_PATH.into(), settings.sysconf.clone().into());
    all.extend(bases(&settings.host).map(|(name, place)| (name.into(), place.into())));
    all
}

/// A default as enroot has it where the two differ in form; `None` for what is not said.
fn default_of(setting: &Setting, said: &Value) -> Option<OsString> {
    let text = said.to_text();
    if setting.variable == variables::CACHE_PATH {
        // Whoever clears it by this line shall not clear the caches of everything else.
        let mut place = text;
        place.push("/enroot");
        return Some(place);
    }
    if setting.variable == variables::MAX_PROCESSORS && text == "0" {
        return processors().map(|count| count.to_string().into());
    }
    match text.as_bytes() {
        b"" => None,
        b"yes" => Some(OsStr::new("true").to_owned()),
        _ => Some(text),
    }
}

/// As `nproc` counts them.
fn processors() -> Option<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    Some((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count())
}

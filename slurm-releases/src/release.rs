//! The table of supported releases, made from the data files in `releases/`.

/// Facts of one Slurm release.
#[derive(Debug)]
pub struct Release {
    /// `24.11`
    pub name: &'static str,
    /// Year part of the version.
    pub major: u32,
    /// Month part of the version.
    pub minor: u32,
    /// First micro release.
    pub first: &'static str,
    /// Latest micro release known.
    pub latest: &'static str,
    /// SLURM_VERSION_NUMBER of `latest`: `major << 16 | minor << 8 | micro`.
    pub number: u32,
    /// What `slurm_api_version()` returns, shifted right by 16.
    pub api: u32,
    /// Name of the client library.
    pub soname: &'static str,
    /// What Slurm compares with its own version before it accepts a plugin.
    pub version_check: &'static str,
    /// Where `task_prolog` is in `slurm_conf_t`, in bytes.
    pub task_prolog: u32,
    /// What a plugin gains over the release before.
    pub adds: &'static [&'static str],
    /// Names of `enum spank_item`, numbered from 0.
    pub items: &'static [&'static str],
    /// Names of `enum spank_context`, numbered from 0.
    pub contexts: &'static [&'static str],
    /// Functions that Slurm calls in a plugin.
    pub hooks: &'static [&'static str],
    /// Data that Slurm reads from a plugin, beside its name and versions.
    pub data: &'static [&'static str],
    /// Version numbers that the release's SPANK_PLUGIN defines beside `plugin_version`.
    pub version_symbols: &'static [&'static str],
    /// Functions that a plugin may call.
    pub functions: &'static [&'static str],
    /// The same, as C declares them.
    pub prototypes: &'static [&'static str],
    /// The C type behind `spank_err_t`.
    pub error_type: &'static str,
    /// Error codes but success, which is 0.
    pub errors: &'static [(&'static str, u32)],
    /// `SPANK_OPTION_MAXLEN`
    pub option_maxlen: u32,
}

impl Release {
    /// The cargo feature that chooses it: `slurm-24-11`.
    pub fn feature(&self) -> String {
        feature(self.name)
    }

    /// Its part of names in C and Rust: `24_11`.
    pub fn ident(&self) -> String {
        self.name.replace('.', "_")
    }

    /// The cfg that holds for this release and all later ones: `slurm_ge_24_11`.
    pub fn cfg(&self) -> String {
        format!("slurm_ge_{}", self.ident())
    }

    /// The release of a SLURM_VERSION_NUMBER, whatever its micro part.
    pub fn of_number(number: u32) -> Option<&'static Release> {
        RELEASES.iter().find(|r| r.major == number >> 16 & 0xff && r.minor == number >> 8 & 0xff)
    }
}

/// The first version that is newer than all of a release: 24.12 for `24.11`. Its micro releases and their packaging are
/// older, and so are those before it.
pub fn above(name: &str) -> Option<String> {
    let (major, minor) = name.split_once('.')?;
    Some(format!("{major}.{:02}", minor.parse::<u32>().ok()? + 1))
}

/// The cargo feature for a release of that name, known or not: `slurm-24-11`.
pub fn feature(name: &str) -> String {
    format!("slurm-{}", name.replace('.', "-"))
}

/// Where the committed bindings of a release of that name are, below the crate spank-bindings.
pub fn bindings_file(name: &str) -> String {
    format!("src/generated/slurm_{}.rs", name.replace('.', "_"))
}

/// The hash of the text of bindings that a stamp holds: FNV-1a, enough to tell two texts apart and no protection
/// against anyone.
pub fn bindings_hash(text: &[u8]) -> String {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The release of that name (`24.11`).
pub fn release(name: &str) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.name == name)
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ascend_and_agree_with_numbers() {
        assert!(RELEASES.windows(2).all(|w| w[0].number < w[1].number && w[0].api < w[1].api));
        for release in RELEASES {
            assert_eq!(Release::of_number(release.number).unwrap().name, release.name);
            assert_eq!(release.soname, format!("libslurm.so.{}", release.api));
        }
    }

    #[test]
    fn facts_of_some_releases() {
        let old = release("20.11").unwrap();
        assert_eq!((old.number, old.api), (0x14_0b09, 36));
        assert!(old.errors.contains(&("ESPANK_NOSPACE", 6)));
        assert!(!old.functions.contains(&"spank_prepend_task_argv"));
        assert!(
            old.prototypes.contains(&"int spank_remote(spank_t spank)"),
            "{:?}",
            old.prototypes
        );
        assert_eq!(old.functions.len(), old.prototypes.len());
        assert_eq!((old.feature().as_str(), old.cfg().as_str()), ("slurm-20-11", "slurm_ge_20_11"));
        let new = release("26.05").unwrap();
        assert!(new.errors.contains(&("ESPANK_NOSPACE", 3005)));
        assert!(new.functions.contains(&"spank_prepend_task_argv"));
        assert_eq!(new.data, ["slurm_spank_init_failure_mode"]);
        assert!(release("24.12").is_none());
        assert_eq!(above("26.05").as_deref(), Some("26.06"));
        assert_eq!(above("26"), None);
    }
}

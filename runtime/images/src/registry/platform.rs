//! Which images of an index a machine can run, and which of them best.

use std::fmt;

use super::{Descriptor, ManifestError};

/// So many images of an index that say nothing of themselves are looked into.
const SILENT: usize = 16;
/// By which builders tie what they say of an image to it. It is no image.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// What images are chosen for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    architecture: String,
    /// The highest variant that runs, as [`level_of`] counts them.
    level: u32,
}

impl Machine {
    /// A machine of this architecture, the kernel's name or Go's, which may have a variant
    /// (`arm/v6`). By default this very machine, with all that its processor can do.
    pub fn new(name: Option<&str>) -> Machine {
        let (name, variant) = match name.and_then(|name| name.split_once('/')) {
            Some((name, variant)) => (Some(name), Some(variant)),
            None => (name, None),
        };
        let name = architecture(name);
        let own = architecture(None) == name;
        let level = match variant.map(|variant| level_of(&name, Some(variant))) {
            Some(level) => level.unwrap_or(0),
            None if own => host_level(),
            // Whatever it can do, it is not known here.
            None => level_of(&name, None).unwrap_or(0),
        };
        Machine { architecture: name, level }
    }

    /// The architecture, as Go names it.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// How well an image suits; `None` if it does not run.
    fn suits(&self, descriptor: &Descriptor<String>) -> Option<u32> {
        let platform = descriptor.platform.as_ref()?;
        let same = architecture(Some(&platform.architecture)) == self.architecture;
        if !same || !["linux", ""].contains(&platform.os.as_str()) {
            return None;
        }
        let level = level_of(&self.architecture, platform.variant.as_deref())?;
        (level <= self.level).then_some(level)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.architecture, self.level)
    }
}

/// Go's name of an architecture, which may be given as the kernel's; this machine's by default.
pub fn architecture(name: Option<&str>) -> String {
    match name.unwrap_or(std::env::consts::ARCH) {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" | "ppc64el" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
    .to_owned()
}

/// Whether images are made for one of that name, as Go or the kernel has it: any other is a mistake, and
/// no registry has to be asked.
pub fn is_architecture(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x",
    ];
    let name = name.split_once('/').map_or(name, |(name, _)| name);
    NAMES.contains(&&*architecture(Some(name))) || ["ppc64el", "powerpc64"].contains(&name)
}

/// A variant as a number: of two, the higher is a superset of the lower. `None` for one that is not
/// known to be any.
fn level_of(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let variant = variant.unwrap_or_default();
    let number = |text: &str| text.strip_prefix('v').unwrap_or(text).parse::<u32>().ok();
    match (architecture, variant) {
        ("amd64", "") => Some(1),
        ("amd64", _) => number(variant).filter(|level| (1..=4).contains(level)),
        ("arm", "") => Some(7),
        ("arm", _) => number(variant).filter(|level| (5..=8).contains(level)),
        ("arm64", "") => Some(80),
        ("arm64", _) => {
            let (major, minor) = variant.split_once('.').unwrap_or((variant, "0"));
            let (major, minor) = (number(major)?, minor.parse::<u32>().ok()?);
            ((8..=9).contains(&major) && minor <= 9).then_some(major * 10 + minor)
        }
        // Such as power9: for want of another.
        (_, "") => Some(1),
        _ => Some(0),
    }
}

/// What this machine's processor can do (x86-64 psABI, "micro-architecture levels").
#[cfg(target_arch = "x86_64")]
fn host_level() -> u32 {
    use std::arch::is_x86_feature_detected as has;
    let second = has!("cmpxchg16b")
        && has!("popcnt")
        && has!("sse3")
        && has!("ssse3")
        && has!("sse4.1")
        && has!("sse4.2");
    let third = second
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe")
        && has!("xsave");
    let fourth = third
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512cd")
        && has!("avx512dq")
        && has!("avx512vl");
    1 + u32::from(second) + u32::from(third) + u32::from(fourth)
}

/// What this machine's processor can do. What each version of the architecture requires is more than
/// what is asked for here, but what came with it.
#[cfg(target_arch = "aarch64")]
fn host_level() -> u32 {
    use std::arch::is_aarch64_feature_detected as has;
    let steps = [
        has!("lse") && has!("rdm"),
        has!("dpb"),
        has!("fcma") && has!("jsconv") && has!("rcpc"),
        has!("dotprod") && has!("lse2") && has!("rcpc2"),
        has!("sb") && has!("bti"),
    ];
    let version = 80 + steps.iter().take_while(|has| **has).count() as u32;
    if version == 85 && has!("sve2") { 90 } else { version }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn host_level() -> u32 {
    level_of(&architecture(None), None).unwrap_or(1)
}

/// What to look at for this machine among the descriptors of an index: the best of those that say
/// that they fit, or those that say nothing.
///
/// # Errors
/// [`ManifestError::Architecture`], or a digest that is none.
pub fn candidates(
    index: &[Descriptor<String>],
    machine: &Machine,
) -> Result<Vec<Descriptor>, ManifestError> {
    let suiting = index.iter().filter_map(|one| Some((machine.suits(one)?, one)));
    // Of equals the first.
    let best = suiting.reduce(|best, one| if one.0 > best.0 { one } else { best });
    let found: Vec<&Descriptor<String>> = match best {
        Some((_, best)) => vec![best],
        None => index.iter().filter(|one| is_silent(one)).take(SILENT).collect(),
    };
    if found.is_empty() {
        return Err(ManifestError::Architecture {
            wanted: machine.architecture.clone(),
            there: platforms(index),
        });
    }
    found.into_iter().map(|one| one.clone().checked()).collect()
}

/// Whether an entry of an index does not say what it is for.
fn is_silent(descriptor: &Descriptor<String>) -> bool {
    let says =
        descriptor.platform.as_ref().is_some_and(|platform| !platform.architecture.is_empty());
    !says && !descriptor.annotations.contains_key(ATTESTATION)
}

fn platforms(index: &[Descriptor<String>]) -> String {
    let mut there: Vec<String> = index
        .iter()
        .filter_map(|descriptor| descriptor.platform.as_ref())
        .filter(|platform| !["unknown", ""].contains(&platform.architecture.as_str()))
        .map(|platform| {
            let variant = platform.variant.iter().filter(|variant| !variant.is_empty());
            let variant: String = variant.map(|variant| format!("/{variant}")).collect();
            format!("{}/{}{variant}", platform.os, platform.architecture)
        })
        .collect();
    there.sort_unstable();
    there.dedup();
    // All of them are one line.
    there.truncate(40);
    there.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Platform;
    use super::*;

    fn entry(digit: &str, architecture: &str, variant: Option<&str>) -> Descriptor<String> {
        let platform = Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
        };
        let digest = format!("sha256:{}", digit.repeat(64));
        Descriptor { digest, platform: Some(platform), ..Descriptor::default() }
    }

    fn chosen(index: &[Descriptor<String>], name: &str) -> Option<String> {
        let found = candidates(index, &Machine::new(Some(name))).ok()?;
        Some(found[0].digest.hex()[..1].to_owned())
    }

    #[test]
    fn a_variant_is_taken_by_what_runs() {
        let v3 = entry("3", "amd64", Some("v3"));
        let (plain, v2) = (entry("1", "amd64", None), entry("2", "amd64", Some("v2")));
        let all = [v3.clone(), plain.clone(), v2.clone()];
        for (name, want) in [
            ("amd64/v1", Some("1")),
            ("amd64/v2", Some("2")),
            ("x86_64/v3", Some("3")),
            ("amd64/v4", Some("3")),
        ] {
            assert_eq!(chosen(&all, name).as_deref(), want, "{name}");
        }
        assert_eq!(chosen(&[v3], "amd64/v2"), None);
        let odd = entry("9", "amd64", Some("turbo"));
        assert_eq!(chosen(&[odd, plain], "amd64/v4").as_deref(), Some("1"));
        let arm = [
            entry("5", "arm", Some("v5")),
            entry("6", "arm", Some("v6")),
            entry("7", "arm", Some("v7")),
        ];
        for (name, want) in [("arm/v6", "6"), ("arm/v7", "7"), ("arm", "7"), ("arm/v8", "7")] {
            assert_eq!(chosen(&arm, name).as_deref(), Some(want), "{name}");
        }
        let arm64 = [entry("9", "arm64", Some("v9")), entry("8", "arm64", Some("v8"))];
        assert_eq!(chosen(&arm64, "aarch64/v8.2").as_deref(), Some("8"));
        assert_eq!(chosen(&arm64, "arm64/v9.1").as_deref(), Some("9"));
        assert_eq!(
            chosen(&[entry("1", "ppc64le", Some("power9"))], "ppc64le").as_deref(),
            Some("1")
        );
    }

    #[test]
    fn this_machine_runs_what_it_has() {
        let own = Machine::new(None);
        assert_eq!(own.architecture(), architecture(None));
        assert!(own.level >= level_of(&own.architecture, None).unwrap());
    }

    #[test]
    fn what_says_nothing_is_looked_into_unless_it_is_an_attestation() {
        let silent = |digit: &str| Descriptor { platform: None, ..entry(digit, "", None) };
        let mut attestation = silent("a");
        attestation.annotations.insert(ATTESTATION.to_owned(), "attestation-manifest".to_owned());
        let index = [attestation, silent("b"), entry("c", "", None), entry("d", "s390x", None)];
        let found = candidates(&index, &Machine::new(Some("amd64"))).unwrap();
        let digits: Vec<&str> = found.iter().map(|one| &one.digest.hex()[..1]).collect();
        assert_eq!(digits, ["b", "c"]);
        assert_eq!(chosen(&index, "s390x").as_deref(), Some("d"));
        let unknown = entry("u", "unknown", None);
        assert!(candidates(&[unknown], &Machine::new(Some("amd64"))).is_err());
    }
}

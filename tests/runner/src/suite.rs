//! The table of suites.

use crate::bodies;
use crate::machines;
use crate::quick;
use crate::run::{Run, Stop};

/// What only one suite at a time has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// The compiler, what it makes below `target/`, and most of the processors.
    Compiler,
    /// The cluster that suites share.
    Cluster,
}

pub(crate) enum Step {
    /// A command that passes or fails as a whole: what it shows, its words.
    Check(&'static str, &'static [&'static str]),
    /// A command that prints TAP, as root.
    Tap(&'static [&'static str]),
    /// A file of bats on the shared cluster, as root.
    ClusterTap(&'static str),
    /// What has to be decided while it runs.
    Code(fn(&mut Run<'_>) -> Result<(), Stop>),
}

pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// For all of it; then it has failed, and its processes are ended.
    pub(crate) minutes: u64,
    pub(crate) holds: &'static [Resource],
    /// Whether something of it is done by root.
    pub(crate) needs_root: bool,
    /// Whether it compares or measures, and so wants the downloads of the roots to be over.
    pub(crate) after_roots: bool,
    /// Whether it runs only if it is named.
    pub(crate) only_named: bool,
    pub(crate) steps: &'static [Step],
}

const fn suite(
    name: &'static str,
    minutes: u64,
    holds: &'static [Resource],
    steps: &'static [Step],
) -> Suite {
    Suite { name, minutes, holds, needs_root: false, after_roots: false, only_named: false, steps }
}

/// One with a Slurm, or a root of another system.
const fn on_slurm(
    name: &'static str,
    minutes: u64,
    holds: &'static [Resource],
    steps: &'static [Step],
) -> Suite {
    Suite { needs_root: true, after_roots: true, ..suite(name, minutes, holds, steps) }
}

/// As `all-machines`, of one of them.
const fn one_machine(name: &'static str) -> Suite {
    Suite { only_named: true, ..on_slurm(name, 180, MACHINE, &[Code(machines::one_machine)]) }
}

use Resource::{Cluster, Compiler};

/// An emulated processor takes a real one, and the machines run side by side: nothing of weight runs beside them.
const MACHINE: &[Resource] = &[Compiler, Cluster];

use Step::{Check, ClusterTap, Code, Tap};

/// In the order of running: what is quick and likely to fail comes first.
pub(crate) static SUITES: &[Suite] = &[
    suite("shell", 15, &[], &[Code(bodies::shell)]),
    suite("format", 5, &[], &[Check("cargo fmt --check", &["cargo", "fmt", "--all", "--check"])]),
    suite("dependencies", 45, &[Compiler], &[Code(bodies::dependencies)]),
    // clippy::incompatible_msrv, which is among the defaults, holds the code to the rust-version of Cargo.toml.
    suite(
        "clippy",
        45,
        &[Compiler],
        &[
            Code(bodies::sizes),
            Check(
                "cargo clippy",
                &[
                    "cargo",
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--locked",
                    "--",
                    "-D",
                    "warnings",
                ],
            ),
        ],
    ),
    Suite { needs_root: true, ..suite("msrv", 60, &[Compiler], &[Code(bodies::msrv)]) },
    suite("unit", 90, &[Compiler], &[Code(bodies::unit)]),
    // nextest leaves the examples out. Few crates have any, and then there is at least this: they compile.
    suite(
        "doc",
        45,
        &[Compiler],
        &[
            Check("documentation examples", &["cargo", "test", "--workspace", "--locked", "--doc"]),
            // What is private is linked to as well: these are documents for who changes it.
            Check(
                "links of the documentation lead somewhere",
                &[
                    "env",
                    "RUSTDOCFLAGS=-D warnings -A rustdoc::private-intra-doc-links",
                    "cargo",
                    "doc",
                    "--workspace",
                    "--locked",
                    "--no-deps",
                    "--document-private-items",
                ],
            ),
        ],
    ),
    suite(
        "bindings",
        30,
        &[Compiler],
        &[Check(
            "committed bindings are what bindgen makes",
            &[
                "cargo",
                "run",
                "-q",
                "--release",
                "--locked",
                "-p",
                "build-matrix",
                "--",
                "bindings",
                "--check",
            ],
        )],
    ),
    suite("matrix", 90, &[Compiler], &[Code(bodies::matrix)]),
    suite("install", 45, &[Compiler], &[Code(bodies::install)]),
    Suite {
        needs_root: true,
        after_roots: true,
        ..suite("doctor", 45, &[Compiler], &[Code(bodies::doctor)])
    },
    suite("nix", 20, &[], &[Code(bodies::nix)]),
    on_slurm("demo", 45, &[Compiler], &[Check("make demo", &["make", "demo"])]),
    on_slurm("harness", 20, &[], &[Tap(&["bats", "--tap", "tests/cluster/harness.bats"])]),
    // The harness with another Slurm than this machine's: one is enough here, suite releases boots them all.
    on_slurm(
        "roots",
        60,
        &[],
        &[Tap(&["bats", "--tap", "-f", "^trixie|root$", "tests/cluster/roots.bats"])],
    ),
    on_slurm("bats", 45, &[Cluster], &[Code(bodies::end_to_end)]),
    on_slurm("sbatch", 30, &[Cluster], &[Code(bodies::sbatch)]),
    on_slurm("mpi", 30, &[Cluster], &[Code(bodies::mpi)]),
    on_slurm("faults", 45, &[Cluster], &[ClusterTap("tests/cluster/faults.bats")]),
    on_slurm("features", 30, &[Cluster], &[ClusterTap("tests/cluster/features.bats")]),
    on_slurm("plugstack", 30, &[Cluster], &[ClusterTap("tests/cluster/plugstack.bats")]),
    on_slurm("races", 30, &[Cluster], &[ClusterTap("tests/cluster/races.bats")]),
    on_slurm("cancel", 45, &[Cluster], &[ClusterTap("tests/cluster/cancel.bats")]),
    on_slurm("hostile", 30, &[Cluster], &[ClusterTap("tests/cluster/hostile.bats")]),
    // An attacker with a shell on the node beside root and a victim: a file per kind of fault.
    on_slurm("attacks", 45, &[Cluster], &[Code(bodies::attacks)]),
    on_slurm("superuser", 20, &[Cluster], &[ClusterTap("tests/cluster/superuser.bats")]),
    on_slurm("enroot", 120, &[Cluster], &[Code(bodies::enroot)]),
    on_slurm("registry", 30, &[Cluster], &[ClusterTap("tests/cluster/registry.bats")]),
    on_slurm("spread", 30, &[Cluster], &[ClusterTap("tests/cluster/spread.bats")]),
    on_slurm("packages", 120, &[Compiler], &[Code(bodies::packages)]),
    on_slurm("recipes", 45, &[Compiler], &[Code(bodies::recipes)]),
    on_slurm("loader", 90, &[Compiler], &[Code(bodies::loader)]),
    on_slurm("releases", 180, &[Compiler], &[Code(bodies::releases)]),
    on_slurm("upgrade", 120, &[Compiler], &[Code(bodies::upgrade)]),
    on_slurm("machines", 50, MACHINE, &[Code(machines::machines)]),
    Suite {
        only_named: true,
        ..on_slurm("every-recipe", 60, &[Compiler], &[Code(bodies::every_recipe)])
    },
    // Ubuntu's mirror need not answer.
    Suite {
        only_named: true,
        ..on_slurm("ubuntu-releases", 180, &[Compiler], &[Code(bodies::ubuntu_releases)])
    },
    // It compiles everything once for each root.
    Suite {
        only_named: true,
        ..on_slurm("built-recipes", 180, &[Compiler], &[Code(bodies::built_recipes)])
    },
    Suite {
        only_named: true,
        ..on_slurm("all-machines", 480, MACHINE, &[Code(machines::all_machines)])
    },
    one_machine("machine-bullseye"),
    one_machine("machine-bookworm"),
    one_machine("machine-trixie"),
    one_machine("machine-forky"),
    one_machine("machine-jammy"),
    one_machine("machine-noble"),
    one_machine("machine-resolute"),
    Suite {
        only_named: true,
        ..on_slurm("shared-machines", 240, MACHINE, &[Code(machines::shared_machines)])
    },
    Suite {
        only_named: true,
        ..on_slurm("arm-machine", 180, MACHINE, &[Code(machines::arm_machine)])
    },
    // Of what has changed only.
    Suite { only_named: true, ..suite("quick", 30, &[Compiler], &[Code(quick::quick)]) },
    // It downloads 200 MB of real drivers' files, as Debian packages them.
    Suite {
        only_named: true,
        ..suite(
            "drivers",
            20,
            &[Compiler],
            &[Check("what containers get of real drivers", &["tests/drivers"])],
        )
    },
    // It downloads a Debian of 60 MB, and packages into it.
    Suite {
        only_named: true,
        ..on_slurm("package-managers", 40, &[Compiler], &[Code(bodies::package_managers)])
    },
    // It downloads 900 MB, the standard library for that processor.
    Suite {
        only_named: true,
        needs_root: true,
        ..suite("aarch64", 120, &[Compiler], &[Code(bodies::aarch64)])
    },
];

/// The suites of these names; all that do not have to be named, if there are none.
pub(crate) fn wanted(names: &[String]) -> Result<Vec<&'static Suite>, String> {
    if names.is_empty() {
        return Ok(SUITES.iter().filter(|suite| !suite.only_named).collect());
    }
    let find = |name: &String| {
        let known = || SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>().join(" ");
        let found = SUITES.iter().find(|suite| suite.name == name);
        found.ok_or_else(|| format!("no suite '{name}'; there are: {}", known()))
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_names_of_their_own_and_something_to_do() {
        for (at, suite) in SUITES.iter().enumerate() {
            assert!(SUITES[..at].iter().all(|other| other.name != suite.name), "{}", suite.name);
            assert!(!suite.steps.is_empty() && suite.minutes > 0, "{}", suite.name);
            assert!(!suite.holds.contains(&Cluster) || suite.needs_root, "{}", suite.name);
        }
    }

    #[test]
    fn suites_are_those_named_in_their_order_or_all() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            wanted(&names).map(|suites| suites.iter().map(|suite| suite.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["unit", "shell"]).unwrap(), ["unit", "shell"]);
        // Those that have to be named are not among all.
        let all = names(&[]).unwrap();
        for suite in SUITES {
            assert_eq!(all.contains(&suite.name), !suite.only_named, "{}", suite.name);
        }
        assert!(names(&["fly"]).unwrap_err().contains("no suite 'fly'; there are: shell format"));
    }

    /// What cannot be run has not been forgotten.
    #[test]
    fn every_file_of_bats_below_cluster_is_of_a_suite() {
        let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster");
        for entry in std::fs::read_dir(place).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(suite) = name.strip_suffix(".bats") else { continue };
            assert!(SUITES.iter().any(|known| known.name == suite), "{name}");
        }
    }
}

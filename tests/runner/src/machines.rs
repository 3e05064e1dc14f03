//! Suites on emulated machines (`tests/machines`).

use crate::bodies::{Done, aarch64_packages, build_matrix, dist, side_by_side};
use crate::command::cmd;
use crate::run::Run;

const ALL_OF_ONE: &str = "MACHINE_ALL=${MACHINE_ALL:-1} tests/machines/run \"$1\" \"$PYXIS_DIST\"";

/// Kernels and service managers of distributions, emulated: two at a time.
fn machines_of(run: &mut Run<'_>, suites: &[&str], script: &str) -> Done {
    run.need(&build_matrix().args(["repo", "--help"]))?;
    let dist = dist(run)?;
    // What is downloaded once, one after the other.
    run.need(&cmd(["tests/machines/disks"]).args(suites).by_root())?;
    run.images(&["busybox", "entrypoint", "hostile", "noshell"])?;
    side_by_side(run, suites, script, &dist)
}

/// A kernel before 6.6, and AppArmor as Ubuntu ships it, with what only a machine can show.
pub(crate) fn machines(run: &mut Run<'_>) -> Done {
    let other = if run.listen(&cmd(["tests/machines/disks", "noble"]).by_root())?.0 {
        "noble"
    } else {
        let note = "Ubuntu 24.04 cannot be had (its mirror, or its keys): Debian 13 in its place";
        run.tally.notes.push(note.into());
        "trixie"
    };
    machines_of(run, &["bookworm", other], "tests/machines/run \"$1\" \"$PYXIS_DIST\"")
}

/// All, what sites set beside Slurm, and the end-to-end suites on each; Ubuntu's where its mirror answers.
pub(crate) fn all_machines(run: &mut Run<'_>) -> Done {
    let mut suites = vec!["bookworm", "bullseye", "trixie", "forky"];
    for suite in ["noble", "jammy", "resolute"] {
        if run.listen(&cmd(["tests/machines/disks", suite]).by_root())?.0 {
            suites.push(suite);
        } else {
            run.tally.notes.push(format!("{suite} cannot be had (Ubuntu's mirror, or its keys)"));
        }
    }
    machines_of(run, &suites, ALL_OF_ONE)
}

/// One of them, named by its suite: `machine-jammy`.
pub(crate) fn one_machine(run: &mut Run<'_>) -> Done {
    let name = run.name().strip_prefix("machine-").unwrap_or_default();
    machines_of(run, &[name], ALL_OF_ONE)
}

/// One with another processor, and packages for it.
pub(crate) fn arm_machine(run: &mut Run<'_>) -> Done {
    let dist = aarch64_packages(run)?;
    run.need(&cmd(["tests/machines/disks", "trixie-arm64"]).by_root())?;
    run.images(&["busybox", "entrypoint", "hostile", "noshell"])?;
    side_by_side(run, &["trixie-arm64"], "tests/machines/run \"$1\" \"$PYXIS_DIST\"", &dist)
}

/// Three that share file systems.
pub(crate) fn shared_machines(run: &mut Run<'_>) -> Done {
    machines_of(run, &["bookworm-nfs"], "tests/machines/run \"$1\" \"$PYXIS_DIST\"")
}

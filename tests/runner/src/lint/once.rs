//! Pieces of knowledge that have one place each. Where one is written down a second time, the two come to differ.

use std::path::Path;

/// Something that is known in one place.
struct Knowledge {
    /// In words: what has to be used instead.
    what: &'static str,
    /// Any of these in a line shows that the line knows it.
    marks: &'static [&'static str],
    /// The file that may, first, and others with the reason why they may as well.
    places: &'static [(&'static str, &'static str)],
}

const fn known(
    what: &'static str,
    marks: &'static [&'static str],
    places: &'static [(&'static str, &'static str)],
) -> Knowledge {
    Knowledge { what, marks, places }
}

/// The plugin is loaded into Slurm's daemons, and links nothing that it can do without.
const PLUGIN: &str = "the plugin does not link `linux`";
/// What builds and packages is no part of what is installed.
const BUILD: &str = "of the programs that build";

const ONCE: &[Knowledge] = &[
    known(
        "the table of namespaces (handover::namespaces::Namespace)",
        &["\"mnt\"", "CLONE_NEWCGROUP", "CLONE_NEWIPC", "CLONE_NEWUTS", "\"cgroup\" =>", "\"uts\""],
        &[
            ("runtime/handover/src/namespaces.rs", ""),
            (
                "runtime/handover/src/message.rs",
                "the words of a message, which are not the kernel's",
            ),
            ("plugin/src/options/values.rs", "the words of --container-unshare"),
            ("runtime/pyxis/src/cli/enroot.rs", "enroot's options"),
            ("plugin/src/step/join.rs", "those words again, where one was not fulfilled"),
        ],
    ),
    known(
        "bytes as hexadecimal digits (linux::hex)",
        &["{byte:02x}", "{:02x}", "/dev/urandom\")"],
        &[
            ("runtime/linux/src/hex.rs", ""),
            ("runtime/hygiene/src/text.rs", "escapes of text, which uses std alone"),
            ("build-matrix/src/workspace.rs", BUILD),
        ],
    ),
    known(
        "the superblock of squashfs (squashfs::superblock)",
        &["b\"hsqs\"", "73717368"],
        &[("runtime/squashfs/src/superblock.rs", "")],
    ),
    known(
        "how mksquashfs is called, and with which defaults (squashfs::mksquashfs)",
        &["\"mksquashfs\"", "\"-noappend\"", "\"-all-root\"", "\"-mem\"", "\"-processors\""],
        &[("runtime/squashfs/src/mksquashfs.rs", "")],
    ),
    known(
        "how unsquashfs is called (squashfs::unsquashfs)",
        &["\"unsquashfs\"", "\"-user-xattrs\"", "\"-dest\""],
        &[("runtime/squashfs/src/unsquashfs.rs", "")],
    ),
    known(
        "escapes of paths in lines of mounts (hygiene::fstab)",
        &["\\\\040", "\\\\134", "{byte:03o}", "byte >> 3 & 7"],
        &[
            ("runtime/hygiene/src/fstab.rs", ""),
            ("runtime/pyxis/src/shell.rs", "a shell's escapes, which look the same"),
        ],
    ),
    known(
        "a descriptor of a process (linux::sys::pidfd_open)",
        &["SYS_pidfd_open"],
        &[("runtime/linux/src/sys/pidfd.rs", ""), ("plugin/src/root/process.rs", PLUGIN)],
    ),
    known(
        "locks of whole files (linux::sys::flock)",
        &["libc::flock(", "Flock::lock", "LOCK_EX", "LOCK_SH"],
        &[
            ("runtime/linux/src/sys/flock.rs", ""),
            ("plugin/src/step/runtime/builtin.rs", PLUGIN),
            ("build-matrix/src/workspace.rs", BUILD),
        ],
    ),
    known(
        "a program in PATH (linux::environ::find_in_path)",
        &["split_paths("],
        &[
            ("runtime/linux/src/environ.rs", ""),
            ("plugin/src/root/runtime.rs", PLUGIN),
            ("build-matrix/src/workspace.rs", BUILD),
            ("packaging/src/compile.rs", "puts a directory before those of PATH"),
            ("runtime/pyxis/src/settings/value.rs", "a setting that is a list of paths"),
            ("runtime/pyxis/src/slurm/programs.rs", "looks through all of PATH"),
            ("runtime/images/src/registry/authorities.rs", "SSL_CERT_DIR, a list of paths"),
        ],
    ),
    known(
        "the moves between the trees of a starting container (start::roots)",
        &["chroot(", "pivot_root("],
        &[
            ("runtime/containers/src/start/roots.rs", ""),
            ("runtime/pyxis/src/cli/doctor.rs", "the doctor looks at a node's image"),
        ],
    ),
    known(
        "copies of this process (handover::fork)",
        &["unistd::fork(", "ForkResult, Pid, fork}", "ForkResult, chdir, fork", "libc::fork("],
        &[
            ("runtime/handover/src/fork.rs", ""),
            ("plugin/src/root/child/exec.rs", "executes another program at once"),
            ("runtime/containers/src/start/rootfs/layers.rs", "tries something and ends"),
        ],
    ),
    known(
        "what is a yes (hygiene::text)",
        &["b\"false\"", "\"false\" |", "| \"false\"", "\"no\" |"],
        &[
            ("runtime/hygiene/src/text.rs", ""),
            ("runtime/containers/src/devices/variables.rs", "NVIDIA's own words"),
        ],
    ),
];

/// What is wrong with all Rust files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut sources = Vec::new();
    for name in super::files(root, &["*.rs"])? {
        let text = super::read(root, &name)?;
        sources.push((name, text));
    }
    Ok(found(ONCE, &sources))
}

fn found(all: &[Knowledge], sources: &[(String, String)]) -> Vec<String> {
    let code = super::code::without_tests(sources);
    let mut found = Vec::new();
    for Knowledge { what, marks, places } in all {
        let knows = |line: &str| marks.iter().any(|mark| line.contains(mark));
        for (name, lines) in code.iter().filter(|(name, _)| !name.starts_with("tests/runner/")) {
            let mut with = lines.iter().filter(|(_, line)| knows(line)).peekable();
            if places.iter().all(|(place, _)| place != name) {
                let first = places[0].0;
                found.extend(
                    with.map(|(number, _)| {
                        format!("{name}:{number}: {what} is in {first}: use that")
                    }),
                );
            } else if with.peek().is_none() {
                found.push(format!(
                    "{name} has nothing of {what}: take it from the table of this lint"
                ));
            }
        }
        for (place, _) in
            places.iter().filter(|(place, _)| code.iter().all(|(name, _)| name != place))
        {
            found.push(format!("{place}, which has {what}, is not there"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &[Knowledge] =
        &[known("hex (a::hex)", &["{byte:02x}"], &[("a/src/hex.rs", ""), ("b/src/own.rs", "so")])];

    fn of(sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            sources.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        found(HEX, &sources)
    }

    #[test]
    fn what_is_known_a_second_time_is_found() {
        let line = "format!(\"{byte:02x}\")\n";
        let places = [("a/src/hex.rs", line), ("b/src/own.rs", line)];
        assert_eq!(of(&places), [""; 0]);
        let again = [places[0], places[1], ("c/src/lib.rs", "\nformat!(\"{byte:02x}\") // so\n")];
        assert_eq!(of(&again), ["c/src/lib.rs:2: hex (a::hex) is in a/src/hex.rs: use that"]);
        let in_comment = [places[0], places[1], ("c/src/lib.rs", "// {byte:02x}\n")];
        assert_eq!(of(&in_comment), [""; 0]);
        let in_tests = [places[0], places[1], ("c/tests/it.rs", line)];
        assert_eq!(of(&in_tests), [""; 0]);
    }

    #[test]
    fn a_place_that_knows_nothing_is_found() {
        let found = of(&[("a/src/hex.rs", "{byte:02x}"), ("b/src/own.rs", "")]);
        assert_eq!(
            found,
            ["b/src/own.rs has nothing of hex (a::hex): take it from the table of this lint"]
        );
        let found = of(&[("a/src/hex.rs", "{byte:02x}")]);
        assert_eq!(found, ["b/src/own.rs, which has hex (a::hex), is not there"]);
    }

    #[test]
    fn nothing_is_known_twice_in_this_checkout() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}

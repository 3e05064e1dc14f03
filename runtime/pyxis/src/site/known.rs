//! The files that enroot and `pyxis-enroot` come with, known by what is in them.

use images::digest::Digest;

/// Digest, kind and name, one file a line.
pub(super) const FILES: &str =
    concat!(include_str!("enroot-files.txt"), include_str!("pyxis-files.txt"));

/// What is in one of enroot's folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mounts,
    Environ,
    Hooks,
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Kind::Mounts => "mounts",
            Kind::Environ => "environ",
            Kind::Hooks => "hooks",
        }
    }
}

/// The name that a file of this text has in a table such as [`FILES`], whatever it is called here.
pub(super) fn name<'a>(table: &'a str, kind: Kind, text: &[u8]) -> Option<&'a str> {
    let digest = Digest::of(text);
    table.lines().find_map(|line| {
        let name = line.strip_prefix(digest.hex())?.trim_start();
        name.strip_prefix(kind.in_words())?.strip_prefix('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_in_order() {
        let mut seen = BTreeSet::new();
        for line in FILES.lines().filter(|line| !line.starts_with('#')) {
            let (digest, name) = line.split_once(' ').unwrap();
            let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert!(digest.len() == 64 && digest.bytes().all(hex), "{line}");
            let kinds = [Kind::Mounts, Kind::Environ, Kind::Hooks].map(Kind::in_words);
            assert!(kinds.contains(&name.split_once('/').unwrap().0), "{line}");
            assert!(seen.insert((digest, name)), "{line}");
        }
        assert!(seen.len() > 150);
    }

    #[test]
    fn what_our_package_has_in_enroots_place_is_known() {
        let share = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/enroot/share");
        let folders = ["hooks.d", "devices"].map(|name| std::path::Path::new(share).join(name));
        let mut names = Vec::new();
        for hook in folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
            let (path, name) = hook.map(|hook| (hook.path(), hook.file_name())).unwrap();
            let text = std::fs::read(path).unwrap();
            let hint =
                "its digest is a new line of pyxis-files.txt, beside those of earlier versions";
            assert_eq!(super::name(FILES, Kind::Hooks, &text), name.to_str(), "{hint}");
            names.push(name);
        }
        names.sort();
        let extra = ["50-mig-config.sh", "50-sharp.sh", "50-slurm-pmi.sh", "50-slurm-pytorch.sh"];
        let devices = ["98-nvidia.sh", "99-mellanox.sh", "README"];
        assert_eq!(names, [&extra[..], &devices].concat());
    }

    #[test]
    fn a_file_is_known_by_its_text_alone() {
        // The whole of it.
        let terminal = b"TERM=${TERM}\n";
        assert_eq!(name(FILES, Kind::Environ, terminal), Some("10-terminal.env"));
        assert_eq!(name(FILES, Kind::Hooks, terminal), None);
        assert_eq!(name(FILES, Kind::Environ, b"TERM=${TERM}\n\n"), None);
        assert_eq!(name(FILES, Kind::Hooks, b""), None);
    }
}

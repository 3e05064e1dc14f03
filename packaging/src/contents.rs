//! Which files are in which package.

use crate::compile::{Built, Main, Part};
use crate::facts::{Release, Words};
use crate::kinds::{Arch, Format};
use crate::package::{Entry, EntryKind, Package, Relations};
use crate::relations::{self, build_name};
use flate2::{Compression, GzBuilder};
use slurm_releases::elf::numbers;
use std::io::Write;

/// Directories that every system with rpm has, from the package `filesystem`. Others, such as those
/// of shells that may not be installed, are ours too: rpm lets packages share them.
const SYSTEM: &[&str] = &[
    "etc",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/debug",
    "usr/lib64",
    "usr/share",
    "usr/share/doc",
    "usr/share/licenses",
    "usr/share/man",
    "usr/share/man/man1",
    "usr/share/man/man5",
    "usr/share/man/man8",
];

/// What packages are made of beside the programs.
#[derive(Debug)]
pub(crate) struct Documents {
    /// Man pages and completions: path below `usr/share` and text.
    pub(crate) generated: Vec<(String, Vec<u8>)>,
    pub(crate) sbom: String,
}

/// All packages of one format.
pub(crate) fn packages(
    built: &Built,
    documents: Option<&Documents>,
    release: &Release,
    format: Format,
    arch: Arch,
) -> Vec<Package> {
    let lib = format.libdir(arch);
    let facts = &release.facts;
    let mut all = Vec::new();
    if let (Some(main), Some(documents)) = (&built.main, documents) {
        let whole = built.plugins.len() == slurm_releases::RELEASES.len();
        let package = pyxis(main, documents, release, format, lib, whole);
        all.push(debug(&package, &[&main.command, &main.loader], release, format));
        all.push(package);
        all.push(finish(enroot(release, format), release, format));
    }
    for (name, part) in &built.plugins {
        let path = format!("{lib}/pyxis/{name}/spank_pyxis.so");
        let words = &facts.build;
        let files = vec![file(path, part.split.stripped.clone(), 0o644)];
        let mut relations = relations::build();
        wants(&mut relations, &[part]);
        let package = finish(
            Package {
                relations,
                files,
                summary: words.summary.replace("RELEASE", name),
                description: words.description.replace("RELEASE", name),
                ..empty(build_name(name), words)
            },
            release,
            format,
        );
        all.push(debug(&package, &[part], release, format));
        all.push(package);
    }
    if built.plugins.len() == slurm_releases::RELEASES.len() {
        let releases: Vec<&str> = built.plugins.keys().map(String::as_str).collect();
        let relations = relations::all(&releases);
        let package =
            Package { relations, any_arch: true, ..empty("pyxis-all".into(), &facts.all) };
        all.push(finish(package, release, format));
    }
    all
}

/// The one package that the original's recipes make: a plugin for one Slurm, and the command, under the original's name.
pub(crate) fn single(
    built: &Built,
    documents: &Documents,
    release: &Release,
    format: Format,
    arch: Arch,
) -> Option<Package> {
    let (main, plugin) = (built.main.as_ref()?, built.plugins.values().next()?);
    let mut files = common(main, plugin, documents, release, format, format.libdir(arch));
    files.push(file("etc/pyxis/pyxis.toml".into(), release.settings.clone().into(), 0o644));
    let mut relations = relations::single(format);
    wants(&mut relations, &[&main.command, plugin]);
    let package = Package {
        relations,
        files,
        after_install: Some(release.after_install.clone()),
        before_remove: Some(release.before_remove.clone()),
        after_remove: Some(release.after_remove.clone()),
        ..empty(relations::ORIGINAL_NAME.into(), &release.facts.single)
    };
    Some(finish(package, release, format))
}

fn pyxis(
    built: &Main,
    documents: &Documents,
    release: &Release,
    format: Format,
    lib: &str,
    whole: bool,
) -> Package {
    let mut files = common(built, &built.loader, documents, release, format, lib);
    files.push(Entry { path: format!("{lib}/pyxis"), what: EntryKind::Directory });
    files.push(file("etc/pyxis/pyxis.toml".into(), release.settings.clone().into(), 0o644));
    let slurm = match format {
        Format::Deb => &release.facts.slurm.deb,
        Format::Rpm => &release.facts.slurm.rpm,
    };
    let mut relations = relations::pyxis(slurm, format, whole);
    wants(&mut relations, &[&built.command, &built.loader]);
    let package = Package {
        relations,
        files,
        after_install: Some(release.after_install.clone()),
        before_remove: Some(release.before_remove.clone()),
        after_remove: Some(release.after_remove.clone()),
        ..empty("pyxis".into(), &release.facts.pyxis)
    };
    finish(package, release, format)
}

/// enroot's programs beside the one that is pyxis. Files, no links to it: recipes give them capabilities.
const PROGRAMS: [&str; 6] =
    ["aufs2ovlfs", "makeself", "mksquashovlfs", "mount", "nsenter", "switchroot"];

/// The command under enroot's name, and what sites' recipes copy, link and edit of enroot's.
fn enroot(release: &Release, format: Format) -> Package {
    let link = |path: &str, to: &str| Entry { path: path.into(), what: EntryKind::Link(to.into()) };
    let mut files =
        vec![link("usr/bin/enroot", "pyxis"), link("usr/share/man/man1/enroot.1.gz", "pyxis.1.gz")];
    for (path, text) in &release.of_enroot.files {
        let mode = if path.ends_with(".sh") { 0o755 } else { 0o644 };
        files.push(file(format!("usr/share/enroot/{path}"), text.clone(), mode));
    }
    for name in PROGRAMS {
        let path = format!("usr/bin/enroot-{name}");
        files.push(file(path, release.of_enroot.program.clone().into(), 0o755));
        files.push(link(&format!("usr/share/man/man1/enroot-{name}.1.gz"), "pyxis.1.gz"));
    }
    // Where enroot's package of this format has it.
    let library = match format {
        Format::Deb => "usr/lib/enroot",
        Format::Rpm => "usr/lib64/enroot",
    };
    let functions = release.of_enroot.functions.clone();
    files.push(file(format!("{library}/common.sh"), functions.into(), 0o644));
    let folders = ["environ.d", "hooks.d", "mounts.d"];
    let (shared, site) = (folders.iter(), folders.iter().chain(&["enroot.conf.d"]));
    let paths = shared.map(|name| format!("usr/share/enroot/{name}"));
    let paths = paths.chain(site.map(|name| format!("etc/enroot/{name}")));
    files.extend(paths.map(|path| Entry { path, what: EntryKind::Directory }));
    Package {
        relations: relations::enroot(),
        any_arch: true,
        files,
        after_install: (format == Format::Rpm).then(|| release.of_enroot.after_install.clone()),
        after_all: Some(release.of_enroot.after_all.clone()),
        before_remove: Some(release.of_enroot.before_remove.clone()),
        ..empty("pyxis-enroot".into(), &release.facts.enroot)
    }
}

/// The command, what Slurm loads, and the documents of both.
fn common(
    built: &Main,
    loaded: &Part,
    documents: &Documents,
    release: &Release,
    format: Format,
    lib: &str,
) -> Vec<Entry> {
    let conf = format!(
        "required /{lib}/slurm/spank_pyxis.so pyxis_path=/usr/bin/pyxis shared_store=/var/cache/pyxis\n"
    );
    let mut files = vec![
        file("usr/bin/pyxis".into(), built.command.split.stripped.clone(), 0o755),
        file(format!("{lib}/slurm/spank_pyxis.so"), loaded.split.stripped.clone(), 0o644),
        file("usr/share/pyxis/pyxis.conf".into(), conf.into_bytes(), 0o644),
        file(
            "usr/share/apparmor/extra-profiles/pyxis".into(),
            release.apparmor.clone().into(),
            0o644,
        ),
        file(
            "usr/lib/udev/rules.d/51-pyxis.rules".into(),
            release.udev_rules.clone().into(),
            0o644,
        ),
        file("usr/share/doc/pyxis/sbom.cdx.json".into(), documents.sbom.clone().into(), 0o644),
    ];
    for (path, text) in &documents.generated {
        let (path, text) = match path.starts_with("man/") {
            true => (format!("usr/share/{path}.gz"), gzip(text)),
            false => (format!("usr/share/{path}"), text.clone()),
        };
        // zsh as Fedora builds it does not look into Debian's directory.
        let path = match format {
            Format::Deb => path,
            Format::Rpm => path.replace("zsh/vendor-completions", "zsh/site-functions"),
        };
        files.push(file(path, text, 0o644));
    }
    files
}

/// What the programs want of the system.
fn wants(relations: &mut Relations, parts: &[&Part]) {
    let newest = parts.iter().filter_map(|part| part.glibc.as_ref());
    relations.glibc = newest.max_by_key(|version| numbers(version)).cloned();
    relations.libgcc = parts.iter().any(|part| part.libgcc);
}

/// The package with the debug symbols of another.
fn debug(of: &Package, parts: &[&Part], release: &Release, format: Format) -> Package {
    let words = &release.facts.debug;
    let files = parts.iter().map(|part| {
        let (path, bytes) = &part.split.symbols;
        file(path.clone(), bytes.clone(), 0o644)
    });
    let suffix = match format {
        Format::Deb => "dbgsym",
        Format::Rpm => "debuginfo",
    };
    let package = Package {
        files: files.collect(),
        debug: true,
        relations: Relations { same_version: vec![of.name.clone()], ..Relations::default() },
        summary: words.summary.replace("PACKAGE", &of.name),
        description: words.description.replace("PACKAGE", &of.name),
        ..empty(format!("{}-{suffix}", of.name), words)
    };
    let mut package = finish(package, release, format);
    if format == Format::Deb {
        // Symbols have no documents but those of what they belong to, as dh_strip does it.
        let doc = format!("usr/share/doc/{}", package.name);
        package.files.retain(|entry| !entry.path.starts_with(&doc));
        package.files.push(Entry { path: doc, what: EntryKind::Link(of.name.clone()) });
        package.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    package
}

fn empty(name: String, words: &Words) -> Package {
    Package {
        name,
        summary: words.summary.clone(),
        description: words.description.clone(),
        any_arch: false,
        debug: false,
        relations: Relations::default(),
        files: Vec::new(),
        after_install: None,
        after_all: None,
        before_remove: None,
        after_remove: None,
    }
}

/// Adds what every package has, in order.
fn finish(mut package: Package, release: &Release, format: Format) -> Package {
    let doc = format!("usr/share/doc/{}", package.name);
    if format == Format::Deb {
        let changelog = gzip(release.changelog.as_bytes());
        package.files.push(file(format!("{doc}/changelog.Debian.gz"), changelog, 0o644));
    }
    let (path, text) = match format {
        Format::Deb => (format!("{doc}/copyright"), &release.copyright),
        Format::Rpm => (format!("usr/share/licenses/{}/LICENSE", package.name), &release.license),
    };
    package.files.push(file(path, text.clone().into_bytes(), 0o644));
    // To rpm a directory goes with the last package that has it, and stays if none has.
    if format == Format::Rpm {
        let mut dirs: Vec<String> = Vec::new();
        for entry in &package.files {
            let parents = entry.path.match_indices('/').map(|(at, _)| &entry.path[..at]);
            dirs.extend(parents.filter(|path| !SYSTEM.contains(path)).map(str::to_owned));
        }
        dirs.retain(|dir| !package.files.iter().any(|entry| entry.path == *dir));
        package
            .files
            .extend(dirs.into_iter().map(|path| Entry { path, what: EntryKind::Directory }));
    }
    package.files.sort_by(|a, b| a.path.cmp(&b.path));
    package.files.dedup_by(|a, b| a.path == b.path);
    package
}

fn file(path: String, bytes: Vec<u8>, mode: u32) -> Entry {
    Entry { path, what: EntryKind::File { bytes, mode } }
}

/// Without a name or time in it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut zip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    zip.write_all(bytes).and_then(|()| zip.finish()).expect("memory takes everything")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts;
    use std::path::Path;

    #[test]
    fn the_package_in_enroots_place_has_what_recipes_touch() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let release = facts::load(root).unwrap();
        for format in [Format::Deb, Format::Rpm] {
            let package = finish(enroot(&release, format), &release, format);
            let mode = |path: &str| {
                let found = package.files.iter().find(|entry| entry.path == path);
                found.map(|entry| match &entry.what {
                    EntryKind::File { mode, .. } => *mode,
                    EntryKind::Directory => 0o755,
                    EntryKind::Link(_) => 0,
                })
            };
            for hook in ["mig-config", "sharp", "slurm-pmi", "slurm-pytorch"] {
                assert_eq!(mode(&format!("usr/share/enroot/hooks.d/50-{hook}.sh")), Some(0o755));
            }
            for file in ["mounts.d/30-lxcfs.fstab", "bash_completion", "enroot.conf"] {
                assert_eq!(mode(&format!("usr/share/enroot/{file}")), Some(0o644), "{file}");
            }
            for folder in ["hooks.d", "mounts.d", "environ.d", "enroot.conf.d"] {
                assert_eq!(mode(&format!("etc/enroot/{folder}")), Some(0o755), "{folder}");
            }
            for name in ["README", "98-nvidia.sh", "99-mellanox.sh"] {
                let expected = if name == "README" { 0o644 } else { 0o755 };
                assert_eq!(mode(&format!("usr/share/enroot/devices/{name}")), Some(expected));
            }
            for name in PROGRAMS {
                assert_eq!(mode(&format!("usr/bin/enroot-{name}")), Some(0o755), "{name}");
            }
            // What is the administrator's is made by a script, once what it takes the place of is gone.
            assert!(!package.files.iter().any(Entry::is_config));
            assert_eq!(package.after_install.is_some(), format == Format::Rpm);
            assert!(package.after_all.is_some());
            assert!(package.before_remove.is_some());
        }
    }
}

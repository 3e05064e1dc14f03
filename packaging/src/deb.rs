//! A deb: an ar archive of two gzipped tar archives, described in deb(5).

use crate::error::Error;
use crate::facts::Release;
use crate::package::{Entry, EntryKind, Package, Relations};
use build_matrix::workspace;
use flate2::{Compression, GzBuilder};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// The bytes of the file.
pub(crate) fn deb(package: &Package, release: &Release, arch: &str) -> Result<Vec<u8>, Error> {
    write(package, release, arch).map_err(Error::io("write", Path::new(&package.name)))
}

fn write(package: &Package, release: &Release, arch: &str) -> io::Result<Vec<u8>> {
    let arch = if package.any_arch { "all" } else { arch };
    let mut sums = String::new();
    for entry in &package.files {
        if let EntryKind::File { bytes, .. } = &entry.what {
            let _ = writeln!(sums, "{}  {}", md5(bytes), entry.path);
        }
    }
    let file = |path: &str, text: String, mode| Entry {
        path: path.into(),
        what: EntryKind::File { bytes: text.into_bytes(), mode },
    };
    let mut control = vec![file("control", control(package, release, arch), 0o644)];
    control.push(file("md5sums", sums, 0o644));
    let configs = package.files.iter().filter(|entry| entry.is_config());
    let configs: String = configs.map(|entry| format!("/{}\n", entry.path)).collect();
    if !configs.is_empty() {
        control.push(file("conffiles", configs, 0o644));
    }
    // "configure" comes with every installation and upgrade, "remove" with a removal alone.
    let script = |when: &str, text: &String| {
        format!("#!/bin/sh\nset -e\n[ \"$1\" = {when} ] || exit 0\n{text}")
    };
    // What it takes the place of, dpkg has removed before: but for its conffiles.
    if let Some(text) = package.after_install.as_ref().or(package.after_all.as_ref()) {
        control.push(file("postinst", script("configure", text), 0o755));
    }
    if let Some(text) = &package.before_remove {
        control.push(file("prerm", script("remove", text), 0o755));
    }
    if let Some(text) = &package.after_remove {
        control.push(file("postrm", script("remove", text), 0o755));
    }

    let mut ar = b"!<arch>\n".to_vec();
    member(&mut ar, "debian-binary", release.epoch, b"2.0\n")?;
    member(&mut ar, "control.tar.gz", release.epoch, &archive(&control, release.epoch)?)?;
    member(&mut ar, "data.tar.gz", release.epoch, &archive(&package.files, release.epoch)?)?;
    Ok(ar)
}

fn member(ar: &mut Vec<u8>, name: &str, epoch: u32, bytes: &[u8]) -> io::Result<()> {
    writeln!(ar, "{name:<16}{epoch:<12}0     0     100644  {:<10}`", bytes.len())?;
    ar.extend(bytes);
    if bytes.len() % 2 == 1 {
        ar.push(b'\n');
    }
    Ok(())
}

/// The entries and the directories they are in, all owned by root and of the same time.
fn archive(entries: &[Entry], epoch: u32) -> io::Result<Vec<u8>> {
    let zip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(zip);
    let mut header = |path: &str, kind, mode, bytes: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_mtime(epoch.into());
        header.set_size(bytes.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link)?;
        }
        // By hand: set_path would drop the "./" that dpkg's own archives have.
        let name = format!("./{path}");
        if name.len() >= 100 {
            return tar.append_data(&mut header, name, bytes);
        }
        header.as_gnu_mut().expect("new_gnu").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes)
    };
    header("", tar::EntryType::Directory, 0o755, &[], "")?;
    let mut known: Vec<&str> = vec![""];
    for entry in entries {
        let parents = entry.path.match_indices('/').map(|(at, _)| &entry.path[..at]);
        for parent in parents {
            if !known.contains(&parent) {
                header(&format!("{parent}/"), tar::EntryType::Directory, 0o755, &[], "")?;
                known.push(parent);
            }
        }
        match &entry.what {
            EntryKind::Directory if known.contains(&entry.path.as_str()) => {}
            EntryKind::Directory => {
                header(&format!("{}/", entry.path), tar::EntryType::Directory, 0o755, &[], "")?;
                known.push(&entry.path);
            }
            EntryKind::Link(to) => header(&entry.path, tar::EntryType::Symlink, 0o777, &[], to)?,
            EntryKind::File { bytes, mode } => {
                header(&entry.path, tar::EntryType::Regular, *mode, bytes, "")?;
            }
        }
    }
    tar.into_inner()?.finish()
}

fn control(package: &Package, release: &Release, arch: &str) -> String {
    let size: usize = package
        .files
        .iter()
        .map(|entry| match &entry.what {
            EntryKind::File { bytes, .. } => bytes.len().div_ceil(1024),
            EntryKind::Directory | EntryKind::Link(_) => 1,
        })
        .sum();
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name}: {value}");
        }
    };
    field("Package", &package.name);
    field("Source", if package.name == "pyxis" { "" } else { "pyxis" });
    field("Version", &release.version);
    field("Architecture", arch);
    field("Maintainer", &release.facts.maintainer);
    field("Installed-Size", &size.to_string());
    fields(&package.relations, &release.version, &mut field);
    field("Auto-Built-Package", if package.debug { "debug-symbols" } else { "" });
    field("Section", if package.debug { "debug" } else { "admin" });
    field("Priority", "optional");
    field("Homepage", &release.facts.homepage);
    let lines = package.description.trim().lines().map(|line| match line {
        "" => "\n .".to_owned(),
        line => format!("\n {line}"),
    });
    field("Description", &format!("{}{}", package.summary, lines.collect::<String>()));
    text
}

fn fields(relations: &Relations, version: &str, field: &mut impl FnMut(&str, &str)) {
    let mut depends: Vec<String> = Vec::new();
    depends.extend(relations.glibc.iter().map(|glibc| format!("libc6 (>= {glibc})")));
    depends.extend(relations.libgcc.then(|| "libgcc-s1 | libgcc1".into()));
    depends.extend(relations.same_version.iter().map(|name| format!("{name} (= {version})")));
    depends.extend(relations.requires.iter().map(|names| names.join(" | ")));
    let any: Vec<String> = relations.recommends.iter().map(|names| names.join(" | ")).collect();
    let older: Vec<String> =
        relations.older_than.iter().map(|(name, than)| format!("{name} (>= {than}~)")).collect();
    field("Depends", &depends.join(", "));
    field("Recommends", &any.join(", "));
    field("Suggests", &relations.suggests.join(", "));
    field("Enhances", &relations.enhances.join(", "));
    field("Breaks", &older.join(", "));
    field("Conflicts", &[relations.conflicts.as_slice(), &relations.replaces].concat().join(", "));
    field("Replaces", &relations.replaces.join(", "));
    let mut provides: Vec<String> = relations.provides.iter().map(|p| (*p).to_owned()).collect();
    let versions = relations.provides_versions.iter();
    provides.extend(versions.map(|(name, of)| format!("{name} (= {of})")));
    if let Some(name) = relations.replaces.first() {
        provides.extend(relations.stands_for.iter().map(|version| format!("{name} (= {version})")));
    }
    field("Provides", &provides.join(", "));
}

/// In hexadecimal; dpkg compares files with it.
fn md5(bytes: &[u8]) -> String {
    use md5::{Digest, Md5};
    workspace::hex(&Md5::digest(bytes))
}

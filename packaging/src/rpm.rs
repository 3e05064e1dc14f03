//! An rpm, by the crate of that name.

use crate::error::Error;
use crate::facts::Release;
use crate::package::{Entry, EntryKind, Package, Relations};
use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, FileOptions, Header, HeaderEntry, IndexData,
    IndexTag, PackageBuilder, RpmFormat, Scriptlet, SignatureHeaderBuilder,
};

/// The bytes of the file.
pub(crate) fn rpm(package: &Package, release: &Release, arch: &str) -> Result<Vec<u8>, Error> {
    write(package, release, arch)
        .map_err(|source| Error::Rpm { package: package.name.clone(), source: Box::new(source) })
}

fn write(package: &Package, release: &Release, arch: &str) -> Result<Vec<u8>, rpm::Error> {
    let arch = if package.any_arch { "noarch" } else { arch };
    let (version, revision) = release.version.split_once('-').expect("version-revision");
    // Formats and compression that every rpm since 4.6 reads; a signature is a site's, which adds it by rpmsign.
    let config = BuildConfig::v4()
        .compression(CompressionWithLevel::Gzip(6))
        .source_date(release.epoch)
        .reserved_space(None);
    let mut builder =
        PackageBuilder::new(&package.name, version, "Apache-2.0", arch, &package.summary);
    builder
        .using_config(config)
        .release(revision)
        .url(&release.facts.homepage)
        .vendor("pyxis")
        .packager(&release.facts.maintainer)
        .group(&release.facts.rpm_group)
        .build_host("localhost")
        .description(package.description.trim());
    for (author, text, time) in changelog(release) {
        builder.add_changelog_entry(author, text, time);
    }
    relate(&mut builder, &package.relations, release);
    scripts(&mut builder, package);
    for entry in &package.files {
        add(&mut builder, entry)?;
    }
    let mut made = builder.build()?;
    name_source(&mut made, &format!("pyxis-{}.src.rpm", release.version))?;
    let mut bytes = Vec::new();
    made.write(&mut bytes)?;
    Ok(bytes)
}

/// What it wants of others. What it provides of itself the crate adds.
fn relate(builder: &mut PackageBuilder, relations: &Relations, release: &Release) {
    if let Some(glibc) = &relations.glibc {
        builder.requires(Dependency::any(format!("libc.so.6(GLIBC_{glibc})(64bit)")));
    }
    if relations.libgcc {
        builder.requires(Dependency::any("libgcc_s.so.1()(64bit)"));
    }
    for name in &relations.same_version {
        builder.requires(Dependency::eq(name, &release.version));
    }
    let any = |names: &Vec<&'static str>| {
        Dependency::any(match names.as_slice() {
            [one] => (*one).to_owned(),
            several => format!("({})", several.join(" or ")),
        })
    };
    for names in &relations.requires {
        builder.requires(any(names));
    }
    for name in &relations.for_after_install {
        builder.requires(Dependency::script_post(*name));
    }
    for names in &relations.recommends {
        builder.recommends(any(names));
    }
    for name in &relations.suggests {
        builder.suggests(Dependency::any(*name));
    }
    for name in &relations.enhances {
        builder.enhances(Dependency::any(*name));
    }
    for name in &relations.provides {
        builder.provides(Dependency::any(*name));
    }
    for (name, version) in &relations.provides_versions {
        builder.provides(Dependency::eq(*name, *version));
    }
    for name in &relations.conflicts {
        builder.conflicts(Dependency::any(*name));
    }
    for name in &relations.replaces {
        // Whatever its version: it has been replaced by another program.
        builder.obsoletes(Dependency::less(*name, "99")).conflicts(Dependency::any(*name));
    }
    for (name, than) in &relations.older_than {
        builder.conflicts(Dependency::greater_eq(name, than));
    }
}

/// For the last version alone: 0 where it goes, and this is no upgrade.
fn last(text: &str) -> String {
    format!("[ \"$1\" = 0 ] || exit 0\n{}", text.trim_end())
}

/// The shell they want the crate adds.
fn scripts(builder: &mut PackageBuilder, package: &Package) {
    if let Some(text) = &package.after_install {
        builder.post_install_script(Scriptlet::new(text.trim_end()).prog(vec!["/bin/sh"]));
    }
    if let Some(text) = &package.after_all {
        builder.post_trans_script(Scriptlet::new(text.trim_end()).prog(vec!["/bin/sh"]));
    }
    if let Some(text) = &package.before_remove {
        builder.pre_uninstall_script(Scriptlet::new(last(text)).prog(vec!["/bin/sh"]));
    }
    if let Some(text) = &package.after_remove {
        builder.post_uninstall_script(Scriptlet::new(last(text)).prog(vec!["/bin/sh"]));
    }
}

fn add(builder: &mut PackageBuilder, entry: &Entry) -> Result<(), rpm::Error> {
    let path = format!("/{}", entry.path);
    let mut options = match &entry.what {
        EntryKind::Directory => FileOptions::dir(&path).permissions(0o755),
        EntryKind::Link(to) => FileOptions::symlink(&path, to),
        EntryKind::File { mode, .. } => FileOptions::new(&path).permissions(*mode as u16),
    };
    options = options.user("root").group("root");
    // As rpmbuild does: files, not their directories.
    let doc = ["/usr/share/doc/", "/usr/share/man/"].iter().any(|dir| path.starts_with(dir));
    if doc && !matches!(entry.what, EntryKind::Directory) {
        options = options.doc();
    }
    if entry.is_config() {
        options = options.config().noreplace();
    }
    if entry.is_license() {
        options = options.license();
    }
    match &entry.what {
        EntryKind::Directory => builder.with_dir_entry(options)?,
        EntryKind::Link(_) => builder.with_symlink(options)?,
        EntryKind::File { bytes, .. } => builder.with_file_contents(bytes.clone(), options)?,
    };
    Ok(())
}

/// States the source package, which the crate leaves open: rpm takes a package without one for a source package in some
/// of its outputs, and linters ask for it.
fn name_source(made: &mut rpm::Package, source: &str) -> Result<(), rpm::Error> {
    let tag = IndexTag::RPMTAG_SOURCERPM as u32;
    let entries = made.metadata.header.get_all_entries()?.into_iter();
    // The region, the first of all, is made anew.
    let entries = entries.filter(|(tag, _)| *tag != IndexTag::RPMTAG_HEADERIMMUTABLE as u32);
    let entries = entries.map(|(number, data)| match number == tag {
        true => HeaderEntry::new(number, IndexData::StringTag(source.into())),
        false => HeaderEntry::new(number, data),
    });
    made.metadata.header = Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE);
    let header = made.metadata.header_bytes()?;
    made.metadata.signature = SignatureHeaderBuilder::new()
        .format(RpmFormat::V4)
        .reserved_space(None)
        .set_content_length((header.len() + made.payload.len()) as u64)
        .calculate_digests(&header)
        .build()?;
    Ok(())
}

/// The newest entry: who, what, when.
fn changelog(release: &Release) -> Vec<(String, String, u32)> {
    let lines = release.changelog.lines().skip(2).take_while(|line| !line.starts_with(" -- "));
    let text: Vec<String> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("* ").map_or(format!("  {line}"), |l| format!("- {l}")))
        .collect();
    let author = format!("{} - {}", release.facts.maintainer, release.version);
    vec![(author, text.join("\n"), release.epoch)]
}

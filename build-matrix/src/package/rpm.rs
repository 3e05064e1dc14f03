//! An rpm, by the crate of that name.

use super::facts::Release;
use super::rpm_header::{self, Header};
use super::{Package, What};
use crate::error::Error;
use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, DependencyFlags, FileMode, FileOptions,
    IndexTag, PackageBuilder, Scriptlet,
};

/// The bytes of the file.
pub(crate) fn rpm(package: &Package, release: &Release, arch: &str) -> Result<Vec<u8>, Error> {
    write(package, release, arch)
        .map_err(|source| Error::Rpm { package: package.name.clone(), source: Box::new(source) })
}

fn write(package: &Package, release: &Release, arch: &str) -> Result<Vec<u8>, rpm::Error> {
    let arch = if package.any_arch { "noarch" } else { arch };
    let (version, revision) = release.version.split_once('-').expect("version-revision");
    // Formats and compression that every rpm since 4.6 reads.
    let config = BuildConfig::v4().compression(CompressionWithLevel::Gzip(6));
    let mut builder =
        PackageBuilder::new(&package.name, version, "Apache-2.0", arch, &package.summary)
            .using_config(config)
            .source_date(release.epoch)
            .release(revision)
            .url(&release.facts.homepage)
            .vendor("pyxis")
            .build_host("localhost")
            .description(package.description.trim());
    for (author, text, time) in changelog(release) {
        builder = builder.add_changelog_entry(author, text, time);
    }

    let relations = &package.relations;
    if let Some(glibc) = &relations.glibc {
        builder = builder.requires(Dependency::any(format!("libc.so.6(GLIBC_{glibc})(64bit)")));
    }
    if relations.libgcc {
        builder = builder.requires(Dependency::any("libgcc_s.so.1()(64bit)"));
    }
    for name in &relations.same_version {
        builder = builder.requires(Dependency::eq(name, &release.version));
    }
    for names in &relations.recommends {
        let any = match names.as_slice() {
            [one] => (*one).to_owned(),
            several => format!("({})", several.join(" or ")),
        };
        builder = builder.recommends(Dependency::any(any));
    }
    for name in &relations.suggests {
        builder = builder.suggests(Dependency::any(*name));
    }
    for name in &relations.enhances {
        builder = builder.enhances(Dependency::any(*name));
    }
    for name in &relations.replaces {
        // Whatever its version: it has been replaced by another program.
        builder =
            builder.obsoletes(Dependency::less(*name, "99")).conflicts(Dependency::any(*name));
    }
    for (name, than) in &relations.older_than {
        builder = builder.conflicts(Dependency::greater_eq(name, than));
    }
    if let Some(text) = &package.after_install {
        builder = builder.requires(Dependency::script_post("/bin/sh"));
        builder =
            builder.post_install_script(Scriptlet::new(text.trim_end()).prog(vec!["/bin/sh"]));
    }
    if let Some(text) = &package.before_remove {
        builder = builder.requires(Dependency::script_preun("/bin/sh"));
        // 0: the last version goes, and this is no upgrade.
        let text = format!("[ \"$1\" = 0 ] || exit 0\n{}", text.trim_end());
        builder = builder.pre_uninstall_script(Scriptlet::new(text).prog(vec!["/bin/sh"]));
    }

    for entry in &package.files {
        let path = format!("/{}", entry.path);
        let (bytes, mode) = match &entry.what {
            What::Directory => (Vec::new(), FileMode::dir(0o755)),
            What::Link(_) => (Vec::new(), FileMode::symbolic_link(0o777)),
            What::File { bytes, mode } => (bytes.clone(), FileMode::regular(*mode as u16)),
        };
        let mut options = FileOptions::new(&path).mode(mode).user("root").group("root");
        // As rpmbuild does: files, not their directories.
        let doc = ["/usr/share/doc/", "/usr/share/man/"].iter().any(|dir| path.starts_with(dir));
        if doc && !matches!(entry.what, What::Directory) {
            options = options.is_doc();
        }
        if let What::Link(to) = &entry.what {
            options = options.symlink(to);
        }
        if entry.is_config() {
            options = options.is_config_noreplace();
        }
        if entry.is_license() {
            options = options.is_license();
        }
        builder = builder.with_file_contents(bytes, options)?;
    }
    if has_config(package) {
        builder = builder.requires(Dependency::config(&package.name, &release.version));
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(rpm_header::change(&bytes, |header| as_rpmbuild(header, package, release, arch)))
}

fn has_config(package: &Package) -> bool {
    package.files.iter().any(super::Entry::is_config)
}

/// What rpmbuild writes and the crate does not.
fn as_rpmbuild(header: &mut Header, package: &Package, release: &Release, arch: &str) {
    header.string(IndexTag::RPMTAG_PACKAGER, &release.facts.maintainer);
    header.local_string(IndexTag::RPMTAG_GROUP, &release.facts.rpm_group);
    header.string(IndexTag::RPMTAG_SOURCERPM, &format!("pyxis-{}.src.rpm", release.version));
    // None is something else than 0 to who asks for it.
    header.remove(IndexTag::RPMTAG_EPOCH);

    // The crate would provide the package without its revision.
    let (any, equal, config) =
        (DependencyFlags::ANY, DependencyFlags::EQUAL, DependencyFlags::CONFIG);
    let name = &package.name;
    let mut provides: Vec<(String, DependencyFlags)> =
        package.relations.provides.iter().map(|name| ((*name).to_owned(), any)).collect();
    if has_config(package) {
        provides.push((format!("config({name})"), equal | config));
    }
    provides.push((name.clone(), equal));
    match arch {
        "noarch" => {}
        "x86_64" => provides.push((format!("{name}(x86-64)"), equal)),
        "aarch64" => provides.push((format!("{name}(aarch-64)"), equal)),
        other => unreachable!("no rpm is written for {other}"),
    }
    let versions = provides.iter().map(|(_, flags)| match *flags == any {
        true => "",
        false => &release.version,
    });
    let flags: Vec<u32> = provides.iter().map(|(_, flags)| flags.bits()).collect();
    header.strings(IndexTag::RPMTAG_PROVIDENAME, provides.iter().map(|(name, _)| name.as_str()));
    header.strings(IndexTag::RPMTAG_PROVIDEVERSION, versions);
    header.numbers(IndexTag::RPMTAG_PROVIDEFLAGS, &flags);
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

//! The committed files that list the releases: manifests, and what the distributions' own tools build packages from.

use crate::workspace::ListedRelease;

/// The version of the original pyxis whose options and files these are: what sites ask their package manager for.
pub const ORIGINAL: &str = "0.24.0";

/// Micro releases that a release may still get, after those that are known. Not more: a field of a deb is to
/// have 5000 characters at most (lintian).
const TO_COME: u32 = 2;

/// The versions that the original's package has at sites: its own, and that of a Slurm in front of it, since it is built
/// for one. Ours stands in for all of them.
pub fn pinned(releases: &[ListedRelease]) -> Vec<String> {
    let of_release = |release: &ListedRelease| {
        let name = release.name.clone();
        (0..=release.micro + TO_COME).map(move |micro| format!("{name}.{micro}-{ORIGINAL}-1"))
    };
    let own = format!("{ORIGINAL}-1");
    std::iter::once(own).chain(releases.iter().flat_map(of_release)).collect()
}

/// A committed file, and how its text is made from what it was and the releases, oldest first. `None` if it is not of the
/// form that is known.
pub type List = (&'static str, fn(&str, &[ListedRelease]) -> Option<String>);

/// All of them.
pub const LISTS: &[List] = &[
    ("spank-bindings/Cargo.toml", |old, releases| features(old, releases, |_| String::new())),
    ("plugin/Cargo.toml", |old, releases| {
        features(old, releases, |feature| format!("\"spank-bindings/{feature}\""))
    }),
    ("debian/control", control),
    ("rpm/pyxis.spec", spec),
];

/// A manifest with one feature line per release where its first such line was.
fn features(
    manifest: &str,
    releases: &[ListedRelease],
    enables: impl Fn(&str) -> String,
) -> Option<String> {
    let is_release = |line: &&str| {
        line.strip_prefix("slurm-")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let place = manifest.lines().position(|line| is_release(&line))?;
    let mut lines: Vec<String> =
        manifest.lines().filter(|line| !is_release(line)).map(str::to_owned).collect();
    let list = releases.iter().map(|release| {
        let feature = slurm_releases::feature(&release.name);
        let enables = enables(&feature);
        format!("{feature} = [{enables}]")
    });
    lines.splice(place..place, list);
    Some(lines.join("\n") + "\n")
}

const BUILD: &str = "Package: pyxis-slurm";

/// debian/control with a paragraph per build, like the first there is; all of them wanted by pyxis-all; no Slurm newer
/// than the newest.
fn control(old: &str, releases: &[ListedRelease]) -> Option<String> {
    let paragraphs: Vec<&str> = old.trim_end().split("\n\n").collect();
    let place = paragraphs.iter().position(|paragraph| paragraph.starts_with(BUILD))?;
    let model = paragraphs[place];
    let name = model.lines().next()?.strip_prefix(BUILD)?;
    let all: String = releases
        .iter()
        .map(|r| format!(", pyxis-slurm{} (= ${{source:Version}})", r.name))
        .collect();
    let above = slurm_releases::above(&releases.last()?.name)?;
    let each = |version| format!("nvslurm-plugin-pyxis (= {version})");
    let provided: Vec<String> = pinned(releases).into_iter().map(each).collect();
    let others = paragraphs.iter().filter(|paragraph| !paragraph.starts_with(BUILD));
    let mut new: Vec<String> = others
        .map(|paragraph| {
            let lines = paragraph.lines().map(|line| {
                if line.starts_with("Breaks: ") {
                    return bounded(line, ">= ", "~)", &above);
                }
                if line.starts_with("Provides: nvslurm-plugin-pyxis") {
                    return format!("Provides: {}", provided.join(", "));
                }
                match line.split_once(", pyxis-slurm") {
                    Some((before, _)) if line.starts_with("Depends: ") => format!("{before}{all}"),
                    _ => line.to_owned(),
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect();
    new.splice(place..place, releases.iter().map(|release| model.replace(name, &release.name)));
    Some(new.join("\n\n") + "\n")
}

/// The spec with all releases in its list, and no Slurm newer than the newest.
fn spec(old: &str, releases: &[ListedRelease]) -> Option<String> {
    const LIST: &str = "%global slurm_releases ";
    old.contains(LIST).then_some(())?;
    let above = slurm_releases::above(&releases.last()?.name)?;
    let lines = old.lines().map(|line| {
        if line.starts_with(LIST) {
            let names: Vec<&str> = releases.iter().map(|release| release.name.as_str()).collect();
            format!("{LIST}{}", names.join(" "))
        } else if line.starts_with("Conflicts:") {
            bounded(line, ">= ", "", &above)
        } else {
            line.to_owned()
        }
    });
    Some(lines.collect::<Vec<_>>().join("\n") + "\n")
}

/// The line with `bound` in the place of each version between these two.
fn bounded(line: &str, before: &str, after: &str, bound: &str) -> String {
    let mut parts = line.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    let is_version = |c: char| c.is_ascii_digit() || c == '.';
    parts.fold(first, |line, part| {
        let rest = part.trim_start_matches(is_version);
        let version =
            if rest.starts_with(after) { bound } else { &part[..part.len() - rest.len()] };
        line + before + version + rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> [ListedRelease; 2] {
        ["20.11", "21.08"].map(|name| ListedRelease { name: name.into(), micro: 0 })
    }

    #[test]
    fn the_original_is_there_in_every_version_that_is_asked_for() {
        let pinned = pinned(&two());
        assert_eq!(pinned.len(), 7);
        for version in ["0.24.0-1", "20.11.0-0.24.0-1", "21.08.2-0.24.0-1"] {
            assert!(pinned.iter().any(|pin| pin == version), "{version}: {pinned:?}");
        }
    }

    #[test]
    fn the_list_of_features_is_replaced_where_it_is() {
        let old = "[features]\nmock = []\nslurm-20-11 = []\nslurm-99-99 = []\n\n[lints]\n";
        let new = features(old, &two(), |feature| format!("\"x/{feature}\"")).unwrap();
        assert_eq!(
            new,
            "[features]\nmock = []\nslurm-20-11 = [\"x/slurm-20-11\"]\n\
             slurm-21-08 = [\"x/slurm-21-08\"]\n\n[lints]\n"
        );
        assert_eq!(features(&new, &two(), |f| format!("\"x/{f}\"")).unwrap(), new);
        assert!(features("[package]\n", &two(), |_| String::new()).is_none());
    }

    #[test]
    fn packages_of_debian_follow_the_releases() {
        let old = "Source: pyxis\n\nPackage: pyxis\nBreaks: slurmd (>= 19.06~), slurm-client (>= 19.06~)\n\
                   Provides: nvslurm-plugin-pyxis\n\n\
                   Package: pyxis-all\nDepends: ${misc:Depends}, pyxis-slurm19.05 (= ${source:Version})\n\n\
                   Package: pyxis-slurm19.05\nDescription: for Slurm 19.05\n of 19.05\n";
        let new = control(old, &two()).unwrap();
        let (before, rest) = new.split_once("\nProvides: ").unwrap();
        let (provides, rest) = rest.split_once('\n').unwrap();
        assert!(
            provides
                .starts_with("nvslurm-plugin-pyxis (= 0.24.0-1), nvslurm-plugin-pyxis (= 20.11.0-")
        );
        assert_eq!(
            [before, rest].concat(),
            "Source: pyxis\n\nPackage: pyxis\nBreaks: slurmd (>= 21.09~), slurm-client (>= 21.09~)\n\
             Package: pyxis-all\nDepends: ${misc:Depends}, pyxis-slurm20.11 (= ${source:Version}), \
             pyxis-slurm21.08 (= ${source:Version})\n\n\
             Package: pyxis-slurm20.11\nDescription: for Slurm 20.11\n of 20.11\n\n\
             Package: pyxis-slurm21.08\nDescription: for Slurm 21.08\n of 21.08\n"
        );
        assert_eq!(control(&new, &two()).unwrap(), new);
        assert!(control("Source: pyxis\n", &two()).is_none());
    }

    #[test]
    fn packages_of_red_hat_follow_the_releases() {
        let old = "%global slurm_releases 19.05\nConflicts:      nvslurm-plugin-pyxis\n\
                   Conflicts:      slurm >= 19.06\n";
        let new = spec(old, &two()).unwrap();
        assert_eq!(
            new,
            "%global slurm_releases 20.11 21.08\nConflicts:      nvslurm-plugin-pyxis\n\
             Conflicts:      slurm >= 21.09\n"
        );
        assert_eq!(spec(&new, &two()).unwrap(), new);
        assert!(spec("Name: pyxis\n", &two()).is_none());
    }
}

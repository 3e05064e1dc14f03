//! What containers need of the kernel: user namespaces, mounts and an overlay in them, FUSE. Really
//! tried, as a user who is not root; where that fails, its settings say why.

use std::path::{Path, PathBuf};

use linux::bounded::{self, CONFIGURATION, OF_PROCESS};

use super::ask;
use super::probe::{self, Step};
use super::report::Report;
use crate::owner;
use crate::shell::quoted;

/// Settings that forbid user namespaces: name, what forbids, what allows.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    (APPARMOR, "1", "0"),
];
/// Ubuntu's: it forbids them to programs that have no profile.
const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
/// Of AppArmor's parser, which knows such profiles if it has this; older ones refuse them.
const PARSER: &str = "/etc/apparmor.d/abi/4.0";
/// Where files of such settings are; of two with one name the later folder's counts.
const FOLDERS: [&str; 4] =
    ["/usr/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"];
/// What merges an image's files and changes where the kernel does not.
const MERGER: &str = "/usr/bin/fuse-overlayfs";
/// Read last, whatever its name.
const LAST: &str = "/etc/sysctl.conf";

/// Tries, then reads the settings.
pub(super) fn check(layers_on_disk: &[PathBuf], report: &mut Report) {
    let files = files();
    let said = attempt();
    let works = [Step::Namespace, Step::Mounts].iter().all(|step| {
        said.as_ref().is_ok_and(|said| probe::result(said, *step).is_some_and(|(done, _)| done))
    });
    for (name, bad, good) in SETTINGS {
        let path = format!("/proc/sys/{}", name.replacen('.', "/", 1));
        let now = bounded::beginning(Path::new(&path), OF_PROCESS).ok();
        let forbids = now.is_some_and(|value| value.trim_ascii() == bad.as_bytes());
        let last = files.iter().rfind(|file| file.value(name).is_some());
        let profile = || (name == APPARMOR).then(Profile::of_this_program).flatten();
        if forbids && !works {
            let allow = || format!("{} && sysctl --system", persist(name, good, last));
            report.error(
                "kernel-setting",
                format!("{name} is {bad}: users cannot make user namespaces"),
                profile().and_then(Profile::mend).unwrap_or_else(allow),
            );
        }
        // Where it holds already and containers start all the same (a profile of AppArmor's, say),
        // it is no fault; nor is AppArmor's where the profile is there.
        if let Some(file) = last.filter(|file| file.value(name) == Some(bad)) {
            let allowed = forbids && works || profile().is_some_and(|profile| profile.is_there());
            if !allowed {
                report.warning(
                    "kernel-boot",
                    format!(
                        "{} sets {name} to {bad} at boot: users cannot make user namespaces then",
                        file.path.display()
                    ),
                    profile().and_then(Profile::mend).unwrap_or_else(|| persist(name, good, last)),
                );
            }
        }
    }
    match said {
        Ok(said) => tell(&said, layers_on_disk, report),
        Err(error) => report.warning(
            "kernel-probe",
            format!("nothing could be tried: {error}"),
            "pyxis doctor, as a user",
        ),
    }
}

/// A file of settings for the next boot.
struct SettingsFile {
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    /// What it sets `name` to.
    fn value(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().rev().filter_map(|line| line.split_once('='));
        let mut fitting =
            lines.filter(|(key, _)| key.trim().trim_start_matches('-').replace('/', ".") == name);
        fitting.next().map(|(_, value)| value.trim())
    }
}

/// What will hold after the next boot, in the order in which it is read.
fn files() -> Vec<SettingsFile> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS {
        for path in owner::glob(&Path::new(folder).join("*.conf")) {
            paths.retain(|known| known.file_name() != path.file_name());
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    paths.push(LAST.into());
    let read = |path: PathBuf| {
        let text = owner::read(&path, CONFIGURATION).ok()?;
        Some(SettingsFile { text: String::from_utf8_lossy(&text).into_owned(), path })
    };
    paths.into_iter().filter_map(read).collect()
}

/// The command that makes a setting last: the site's own file is corrected, a package's outvoted by
/// one that is read after it.
fn persist(name: &str, good: &str, last: Option<&SettingsFile>) -> String {
    let ours = match last.map(|file| file.path.as_path()) {
        None => "/etc/sysctl.d/60-pyxis.conf",
        Some(path) if path.starts_with("/etc") => {
            let edit = format!("s/^.*{}.*/{name} = {good}/", name.replace('.', "[./]"));
            return format!("sed -i {} {}", quoted(edit), quoted(path));
        }
        Some(path) => {
            let after = |name: &&str| path.file_name().is_none_or(|other| other < *name);
            let names = ["60-pyxis.conf", "99-pyxis.conf", "zz-pyxis.conf"];
            match names.iter().find(|name| after(name)) {
                Some(&"60-pyxis.conf") => "/etc/sysctl.d/60-pyxis.conf",
                Some(&"99-pyxis.conf") => "/etc/sysctl.d/99-pyxis.conf",
                _ => "/etc/sysctl.d/zz-pyxis.conf",
            }
        }
    };
    format!("echo '{name} = {good}' >> {ours}")
}

/// AppArmor's profile for this program: where its package has it, and where it is put.
struct Profile {
    source: PathBuf,
    place: PathBuf,
}

impl Profile {
    /// Where the parser knows such profiles.
    fn of_this_program() -> Option<Profile> {
        owner::real(Path::new(PARSER))?;
        let exe = std::fs::read_link("/proc/self/exe").ok()?;
        let bin = exe.parent()?;
        let source = bin.parent()?.join("share/apparmor/extra-profiles/pyxis");
        Some(Profile { source, place: Path::new("/etc/apparmor.d").join(profile_name(bin)) })
    }

    fn is_there(&self) -> bool {
        owner::real(&self.place).is_some()
    }

    /// The command that loads it: the setting may then stay as it is.
    fn mend(self) -> Option<String> {
        let load = format!("apparmor_parser -r {}", quoted(&self.place));
        if self.is_there() {
            return Some(load);
        }
        owner::real(&self.source)?;
        Some(format!("cp {} {} && {load}", quoted(&self.source), quoted(&self.place)))
    }
}

/// The file that the package makes, or `make install` to a directory: one of its own for each, but for make's usual one.
fn profile_name(bin: &Path) -> String {
    match bin.to_string_lossy().as_ref() {
        "/usr/bin" => "pyxis".into(),
        "/usr/local/bin" => "pyxis-make".into(),
        other => format!("pyxis-make{}", other.replace('/', ".")),
    }
}

/// A child process tries, because there is no way back.
fn attempt() -> Result<String, String> {
    // Not by its path, which may be closed to the user it becomes.
    let mut command = ask::program("/proc/self/exe");
    command.args(["doctor", "--probe"]);
    ask::answer(command)
}

/// Where changes go that memory cannot keep.
fn layers(text: String, places: &[PathBuf], report: &mut Report) {
    // Nothing is asked of a user's server, which would not have to answer.
    let disk = places.iter().find(|place| owner::real(place).is_some_and(|real| is_disk(&real)));
    match disk {
        Some(place) => report.ok(
            Step::Layer.check(),
            format!(
                "{text} (Linux 6.6 can): writable containers without a name keep theirs in {}",
                place.display()
            ),
        ),
        None => report.warning(
            Step::Layer.check(),
            format!("{text}, and no directory on disk takes them: images' directories can be neither renamed nor removed"),
            Step::Layer.mend(),
        ),
    }
}

/// What images are started with where only root mounts overlays.
fn overlay(text: String, has_merger: bool, report: &mut Report) {
    let step = Step::Overlay;
    match has_merger {
        true => report.ok(
            step.check(),
            format!("{text}: a user's images are unpacked once on the node, below fuse-overlayfs"),
        ),
        false => report.error(step.check(), text, step.mend()),
    }
}

fn is_disk(place: &Path) -> bool {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
    let disks = [EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC];
    statfs(place).is_ok_and(|is| disks.contains(&is.filesystem_type()))
}

fn tell(said: &str, layers_on_disk: &[PathBuf], report: &mut Report) {
    for step in probe::STEPS {
        let Some((done, why)) = probe::result(said, step) else { continue };
        if done {
            report.ok(step.check(), format!("users can {}", step.what()));
            continue;
        }
        // What forbids it has been named above.
        let known = match step {
            Step::Namespace | Step::Mounts => "kernel-setting",
            Step::Fuse => "fuse-device",
            Step::Layer => "kernel-overlay",
            Step::Overlay => "",
        };
        if report.has(known) {
            continue;
        }
        let text = format!("users cannot {}: {why}", step.what());
        match step {
            Step::Layer => layers(text, layers_on_disk, report),
            Step::Overlay => overlay(text, owner::real(Path::new(MERGER)).is_some(), report),
            Step::Fuse => report.warning(step.check(), text, step.mend()),
            _ => report.error(step.check(), text, step.mend()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_overlays_it_is_well_where_another_program_merges() {
        let said = "kernel-namespace yes\nkernel-overlay no Operation not permitted\n";
        let (why, place) = ("users cannot mount overlays in them: ", PathBuf::from("/tmp"));
        let mut report = Report::default();
        overlay(why.into(), true, &mut report);
        assert!(!report.has("kernel-overlay"));
        overlay(why.into(), false, &mut report);
        assert!(report.has("kernel-overlay"));
        let mut report = Report::default();
        tell(said, &[place], &mut report);
        assert_eq!(report.has("kernel-overlay"), !Path::new(MERGER).exists());
    }

    /// As the Makefile names them.
    #[test]
    fn each_directory_has_a_profile_of_its_own() {
        let name = |bin| profile_name(Path::new(bin));
        assert_eq!((&*name("/usr/bin"), &*name("/usr/local/bin")), ("pyxis", "pyxis-make"));
        assert_eq!(name("/opt/pyxis/bin"), "pyxis-make.opt.pyxis.bin");
    }

    #[test]
    fn the_last_line_counts_and_a_packages_file_stays() {
        let file = |path: &str, text: &str| SettingsFile { path: path.into(), text: text.into() };
        let one = file("/usr/lib/sysctl.d/10-a.conf", "x.y=1\n# x.y = 2\n-x/y = 3\n");
        assert_eq!((one.value("x.y"), one.value("x.z")), (Some("3"), None));
        let mend = |path: &str| persist("x.y", "0", Some(&file(path, "")));
        assert_eq!(persist("x.y", "0", None), "echo 'x.y = 0' >> /etc/sysctl.d/60-pyxis.conf");
        for (path, ours) in [
            ("/usr/lib/sysctl.d/10-a.conf", "60-pyxis.conf"),
            ("/usr/lib/sysctl.d/90-a.conf", "99-pyxis.conf"),
            ("/run/sysctl.d/99-zz.conf", "zz-pyxis.conf"),
        ] {
            assert_eq!(mend(path), format!("echo 'x.y = 0' >> /etc/sysctl.d/{ours}"));
        }
        assert_eq!(
            mend("/etc/sysctl.d/90 a.conf"),
            "sed -i 's/^.*x[./]y.*/x.y = 0/' '/etc/sysctl.d/90 a.conf'"
        );
    }
}

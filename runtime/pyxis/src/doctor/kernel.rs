//! What containers need of the kernel: user namespaces, mounts and an overlay in them, FUSE. Read
//! from its settings, and really tried, as a user who is not root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::geteuid;

use super::command::output;
use super::probe::{self, Step};
use super::report::Report;

/// Somebody without rights, where root asks.
const NOBODY: u32 = 65534;

/// Settings that forbid user namespaces: name, what forbids, what allows.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
];

/// Reads the settings, then tries.
pub(super) fn check(report: &mut Report) {
    for (name, bad, good) in SETTINGS {
        let path = format!("/proc/sys/{}", name.replacen('.', "/", 1));
        if fs::read_to_string(path).is_ok_and(|value| value.trim() == bad) {
            report.error(
                "kernel-setting",
                format!("{name} is {bad}: users cannot make user namespaces"),
                format!("echo '{name} = {good}' >> /etc/sysctl.d/60-pyxis.conf && sysctl --system"),
            );
        }
    }
    configured(report);
    attempt(report);
}

/// What will hold after the next boot.
fn configured(report: &mut Report) {
    let folders = ["/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"];
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| glob::glob(&format!("{folder}/*.conf")))
        .flatten()
        .flatten()
        .collect();
    // By name, whatever the folder; sysctl.conf comes last.
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files.push("/etc/sysctl.conf".into());
    for (name, bad, good) in SETTINGS {
        let mut last = None;
        for file in &files {
            let text = fs::read_to_string(file).unwrap_or_default();
            for line in text.lines() {
                let Some((key, value)) = line.split_once('=') else { continue };
                let key = key.trim().trim_start_matches('-').replace('/', ".");
                if key == name {
                    last = Some((file, value.trim() == bad));
                }
            }
        }
        if let Some((file, true)) = last {
            report.warning(
                "kernel-boot",
                format!(
                    "{} sets {name} to {bad} at boot: users cannot make user namespaces then",
                    file.display()
                ),
                format!("sed -i 's/^.*{name}.*/{name} = {good}/' {}", file.display()),
            );
        }
    }
}

/// A child process tries, because there is no way back.
fn attempt(report: &mut Report) {
    // Not by its path, which may be closed to the user it becomes.
    let mut command = Command::new("/proc/self/exe");
    command.args(["doctor", "--probe"]);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let text = match output(&mut command) {
        Ok(text) => text,
        Err(error) => {
            report.warning(
                "kernel-probe",
                format!("nothing could be tried: {error}"),
                "pyxis doctor, as a user",
            );
            return;
        }
    };
    for step in probe::STEPS {
        let Some((done, why)) = probe::result(&text, step) else { continue };
        if done {
            report.ok(step.check(), format!("users can {}", step.what()));
            continue;
        }
        // What forbids it has been named above.
        let known = match step {
            Step::Namespace | Step::Mounts => "kernel-setting",
            Step::Fuse => "fuse-device",
            Step::Overlay => "",
        };
        if report.has(known) {
            continue;
        }
        let text = format!("users cannot {}: {why}", step.what());
        match step {
            Step::Fuse => report.warning(step.check(), text, step.mend()),
            _ => report.error(step.check(), text, step.mend()),
        }
    }
}

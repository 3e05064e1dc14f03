//! A node's configuration of enroot: which lines mean nothing, what has no effect, what costs a shell, and
//! whether the built-in runtime can take enroot's place.

use std::fs;
use std::path::Path;

use super::Report;
use crate::fits::not_understood;
use crate::settings::Settings;
use crate::settings::enroot::{Effect, effect_of};
use crate::site;
use containers::start::Standard;

/// Says so of what is in the files.
pub(super) fn check(settings: &Settings, report: &mut Report) {
    let conf = &settings.enroot;
    for remark in &conf.remarks {
        let mend = format!("edit {}, or remove the line", remark.path.display());
        report.warning("enroot-conf", remark.to_string(), mend);
    }
    for (name, said) in &conf.variables {
        let name = name.to_string_lossy();
        let place = format!("{}:{}: {name}", said.path.display(), said.line);
        match effect_of(&name) {
            Effect::Same => {}
            Effect::Nothing(why) => {
                report.ok("enroot-conf", format!("{place} has no effect: {why}"))
            }
            Effect::Hooks => {
                let text =
                    format!("{place} is none of enroot's settings: only hooks could read it");
                match nearest(&name) {
                    Some(known) => {
                        report.warning("enroot-conf", text, format!("did you mean {known}?"));
                    }
                    None => report.ok("enroot-conf", text),
                }
            }
        }
    }
    if let [first, ..] = &conf.files[..] {
        let folder = first.parent().unwrap_or(Path::new("/"));
        let text = format!("{} holds for the built-in runtime", folder.display());
        report.ok("enroot-conf", text);
    }
    put_aside(&settings.sysconf, report);
    costs(settings, report);
}

/// What rpm has put aside of a site's when it removed enroot's package, with nothing in its place since.
fn put_aside(sysconf: &Path, report: &mut Report) {
    for below in ["", "enroot.conf.d", "hooks.d", "mounts.d", "environ.d"] {
        let entries = fs::read_dir(sysconf.join(below)).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let place = path.with_extension("");
            if path.extension().is_some_and(|extension| extension == "rpmsave") && !place.exists() {
                let (path, place) = (path.display(), place.display());
                let text = format!(
                    "{path} means nothing: rpm has put it aside when enroot's package was removed"
                );
                report.warning("enroot-conf", text, format!("mv {path} {place}"));
            }
        }
    }
}

/// What bash runs at each start of a container, which takes it longer than all the rest.
fn costs(settings: &Settings, report: &mut Report) {
    if let Some((path, line)) = &settings.enroot.for_shell {
        let text = "needs a shell at each start of a container; variables, their defaults and $(id -u) need none";
        report.ok("enroot-conf", format!("{}:{line} {text}", path.display()));
    }
    let Ok(site) = site::find(settings) else { return };
    for standard in &site.taken_away {
        let (hook, without) = match standard {
            Standard::Nvidia => ("98-nvidia.sh", "containers are given no GPUs"),
            _ => ("99-mellanox.sh", "MELLANOX_VISIBLE_DEVICES has no effect"),
        };
        let text =
            format!("{hook} has been taken away, or is not executable: {without}, as with enroot");
        report.ok("hooks", text);
    }
    for hook in &site.hooks {
        let standard = hook.file_name().and_then(Standard::named);
        let instead = match standard.is_some_and(|standard| site.replaces(standard)) {
            true => "as enroot has it, it would cost nothing",
            false => "mounts in mounts.d and variables in environ.d cost nothing",
        };
        let hook = hook.display();
        report.ok(
            "hooks",
            format!("{hook} is run at each start of a container, which costs a shell; {instead}"),
        );
    }
}

/// Why runtime=auto would choose enroot.
pub(super) fn obstacle(settings: Option<&Settings>) -> Option<String> {
    not_understood(settings?).into_iter().next()
}

/// A setting of enroot's with a name like that.
fn nearest(name: &str) -> Option<&'static str> {
    let known = crate::settings::SETTINGS.iter().map(|setting| setting.variable);
    containers::nearest(name, known.filter(|known| known.starts_with("ENROOT_")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{EnrootConf, Remark, enroot::Assignment};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn lines_without_effect_are_named_with_their_place() {
        let mut conf = EnrootConf::default();
        let path = Path::new("/etc/enroot/enroot.conf");
        for (line, name) in
            [(3, "ENROOT_GZIP_PROGRAM"), (4, "ENROOT_MOUNT_HMOE"), (5, "ENROOT_MOUNT_HOME")]
        {
            let said = Assignment { value: "x".into(), path: path.into(), line };
            conf.variables.insert(name.into(), said);
        }
        let problem = "why".to_owned();
        let remark = Remark { path: path.into(), line: Some(7), problem, passed_over: false };
        conf.remarks.push(remark);
        conf.files.push(path.into());
        let settings = Settings::new(linux::environ::Environ::new(), conf, None).unwrap();
        let mut report = Report::default();
        check(&settings, &mut report);
        let said: Vec<_> =
            report.findings.iter().map(|f| (f.text.as_str(), f.mend.as_deref())).collect();
        assert_eq!(
            said,
            [
                (
                    "/etc/enroot/enroot.conf:7: why",
                    Some("edit /etc/enroot/enroot.conf, or remove the line")
                ),
                (
                    "/etc/enroot/enroot.conf:3: ENROOT_GZIP_PROGRAM has no effect: layers are unpacked by the \
                     command itself, with no program",
                    None
                ),
                (
                    "/etc/enroot/enroot.conf:4: ENROOT_MOUNT_HMOE is none of enroot's settings: only hooks \
                     could read it",
                    Some("did you mean ENROOT_MOUNT_HOME?")
                ),
                ("/etc/enroot holds for the built-in runtime", None),
            ]
        );
        assert_eq!(obstacle(Some(&settings)).as_deref(), Some("/etc/enroot/enroot.conf:7: why"));
    }

    #[test]
    fn what_rpm_has_put_aside_is_named_while_nothing_is_in_its_place() {
        let top = tempfile::tempdir().unwrap();
        let (sysconf, hooks) = (top.path(), top.path().join("hooks.d"));
        fs::create_dir(&hooks).unwrap();
        for file in
            ["enroot.conf.rpmsave", "hooks.d/1.sh.rpmsave", "hooks.d/2.sh.rpmsave", "hooks.d/2.sh"]
        {
            fs::write(sysconf.join(file), "").unwrap();
        }
        let mut report = Report::default();
        put_aside(sysconf, &mut report);
        let mends: Vec<_> = report.findings.iter().map(|f| f.mend.clone().unwrap()).collect();
        let at = |name: &str| format!("mv {0}/{name}.rpmsave {0}/{name}", sysconf.display());
        assert_eq!(mends, [at("enroot.conf"), at("hooks.d/1.sh")]);
    }

    #[test]
    fn what_costs_a_shell_is_named_with_a_way_without() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("hooks.d");
        std::fs::create_dir(&folder).unwrap();
        for name in ["10-home.sh", "60-site.sh"] {
            let hook = folder.join(name);
            std::fs::write(&hook, "#!/bin/bash\n").unwrap();
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.join("98-nvidia.sh.disabled"), "").unwrap();
        let environ: linux::environ::Environ =
            [("PYXIS_HOOKS_PATH".into(), folder.clone().into())].into();
        let user = crate::settings::User::caller(&environ);
        let text = b"ENROOT_TEMP_PATH /tmp/$(id -u)\nENROOT_DATA_PATH /data/$(hostname)\n";
        let path = Path::new("/etc/enroot/enroot.conf");
        let conf = EnrootConf::parse(text, path, &environ, &user);
        let mut report = Report::default();
        costs(&Settings::new(environ, conf, None).unwrap(), &mut report);
        let said: Vec<_> = report.findings.iter().map(|finding| finding.text.clone()).collect();
        let hook = |name: &str, instead: &str| {
            let hook = folder.join(name);
            format!(
                "{} is run at each start of a container, which costs a shell; {instead}",
                hook.display()
            )
        };
        assert_eq!(
            said,
            [
                "/etc/enroot/enroot.conf:2 needs a shell at each start of a container; variables, their \
                 defaults and $(id -u) need none"
                    .to_owned(),
                "98-nvidia.sh has been taken away, or is not executable: containers are given no GPUs, as with enroot"
                    .to_owned(),
                hook("10-home.sh", "as enroot has it, it would cost nothing"),
                hook("60-site.sh", "mounts in mounts.d and variables in environ.d cost nothing"),
            ]
        );
    }
}

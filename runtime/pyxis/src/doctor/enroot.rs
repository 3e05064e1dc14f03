//! A node's configuration of enroot: which lines mean nothing, what has no effect, and whether the built-in
//! runtime can take enroot's place.

use std::path::Path;

use super::Report;
use crate::fits::not_understood;
use crate::settings::Settings;
use crate::settings::enroot::{Effect, effect_of};

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
}

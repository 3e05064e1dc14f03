//! What a container asks for by variables: of the job, or else of the node's configuration, the site's
//! lists, the command line and the image.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use super::nvidia::NvidiaRequest;
use linux::environ::{self, Environ};

/// The one that names GPUs, for all vendors' containers.
pub(super) const VISIBLE: &str = "NVIDIA_VISIBLE_DEVICES";

/// The container's variables, by who wrote them.
#[derive(Clone, Copy, Default)]
pub struct ContainerVariables<'a> {
    /// Lines of the image.
    pub image: &'a [u8],
    /// Lines of the site and of the user, which come after.
    pub others: &'a [u8],
}

/// Who wrote a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The job's.
    Job,
    /// The node's configuration, which holds as long as the job says nothing.
    Node,
    /// The lists of the site, or the command line's.
    Others,
    /// The image's, who may choose among GPUs and their files, and nothing else of the node.
    Image,
}

/// Variables: the job's or the node's, or else the container's last.
pub(super) struct Variables<'a> {
    pub(super) host: &'a Environ,
    /// Those of `host` that the node's configuration has set, and not the job.
    pub(super) of_node: &'a BTreeSet<OsString>,
    pub(super) said: ContainerVariables<'a>,
}

impl Variables<'_> {
    /// The value, and whose it is.
    pub(super) fn get(&self, name: &str) -> Option<(String, Author)> {
        let text = |value: &OsString| value.to_string_lossy().into_owned();
        if let Some(value) = self.host.get(OsStr::new(name)) {
            let is_nodes = self.of_node.contains(OsStr::new(name));
            return Some((text(value), if is_nodes { Author::Node } else { Author::Job }));
        }
        let last = |lines| environ::entries(lines).filter(|(known, _)| known == name).last();
        let of = |lines, whose| last(lines).map(|(_, value)| (text(&value), whose));
        of(self.said.others, Author::Others).or_else(|| of(self.said.image, Author::Image))
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.get(name).map(|(value, _)| value)
    }

    /// The value that somebody else than the image has set.
    fn not_of_image(&self, name: &str) -> Option<String> {
        self.get(name).filter(|(_, whose)| *whose != Author::Image).map(|(value, _)| value)
    }

    fn is_on(&self, name: &str) -> bool {
        self.not_of_image(name).is_some_and(|value| {
            matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "enabled" | "1" | "true" | "yes" | "all"
            )
        })
    }

    /// What NVIDIA's variables ask for beside GPUs.
    pub(super) fn asked(&self) -> NvidiaRequest {
        let disabled = self.value("NVIDIA_DISABLE_REQUIRE");
        let disabled = disabled.is_some_and(|value| {
            !matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "" | "0" | "f" | "false" | "n" | "no"
            )
        });
        let mut requirements: Vec<(String, String)> = Vec::new();
        let lines = [self.said.image, b"\n", self.said.others].concat();
        let names = environ::entries(&lines).map(|(name, _)| name);
        for name in names.chain(self.host.keys().cloned()) {
            let Some(name) = name.to_str() else { continue };
            let known = requirements.iter().any(|(known, _)| known == name);
            let is_one =
                name.starts_with("NVIDIA_REQUIRE_") && !name.starts_with("NVIDIA_REQUIRE_JETPACK");
            if is_one && !disabled && !known {
                requirements.push((name.to_owned(), self.value(name).unwrap_or_default()));
            }
        }
        let some = |name| {
            self.not_of_image(name)
                .is_some_and(|value| !matches!(value.trim(), "" | "none" | "void"))
        };
        NvidiaRequest {
            capabilities: self.value("NVIDIA_DRIVER_CAPABILITIES"),
            requirements,
            channels: self.not_of_image("NVIDIA_IMEX_CHANNELS"),
            mig_config: some("NVIDIA_MIG_CONFIG_DEVICES"),
            mig_monitor: some("NVIDIA_MIG_MONITOR_DEVICES"),
            gds: self.is_on("NVIDIA_GDS"),
            gdrcopy: self.is_on("NVIDIA_GDRCOPY"),
            mofed: self.is_on("NVIDIA_MOFED"),
            nvswitch: self.is_on("NVIDIA_NVSWITCH"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environ(variables: &[(&str, &str)]) -> Environ {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn visible(host: &[(&str, &str)], image: &str, others: &str) -> Option<(String, Author)> {
        let said = ContainerVariables { image: image.as_bytes(), others: others.as_bytes() };
        Variables { host: &environ(host), of_node: &BTreeSet::new(), said }.get(VISIBLE)
    }

    #[test]
    fn whose_word_counts() {
        let said = |text: &str, whose| Some((text.to_owned(), whose));
        let image = "NVIDIA_VISIBLE_DEVICES=all\nNVIDIA_VISIBLE_DEVICES=1\n";
        assert_eq!(visible(&[], image, ""), said("1", Author::Image));
        assert_eq!(visible(&[(VISIBLE, "void")], image, ""), said("void", Author::Job));
        assert_eq!(visible(&[(VISIBLE, "0,2")], image, ""), said("0,2", Author::Job));
        assert_eq!(visible(&[("SLURM_STEP_GPUS", "3")], image, ""), said("1", Author::Image));
        let others = "NVIDIA_VISIBLE_DEVICES=a.com/b=c\n";
        assert_eq!(visible(&[], image, others), said("a.com/b=c", Author::Others));
        assert_eq!(visible(&[], "", ""), None);
        // What enroot.conf says is stronger than the image and the lists, as in enroot; it is no job's word.
        let (host, of_node) = (environ(&[(VISIBLE, "all")]), BTreeSet::from([VISIBLE.into()]));
        let said_too = ContainerVariables { image: image.as_bytes(), others: others.as_bytes() };
        let variables = Variables { host: &host, of_node: &of_node, said: said_too };
        assert_eq!(variables.get(VISIBLE), said("all", Author::Node));
    }

    #[test]
    fn requirements_are_all_that_are_set_and_may_be_switched_off() {
        let lines = "NVIDIA_REQUIRE_CUDA=cuda>=12.4\nNVIDIA_REQUIRE_X=driver>=535\n\
                     NVIDIA_REQUIRE_JETPACK=x\nOTHER=1\n";
        let asked = |host: &[(&str, &str)]| {
            let said = ContainerVariables { image: lines.as_bytes(), others: b"" };
            Variables { host: &environ(host), of_node: &BTreeSet::new(), said }.asked().requirements
        };
        let both = [("NVIDIA_REQUIRE_CUDA", "cuda>=12.4"), ("NVIDIA_REQUIRE_X", "driver>=535")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(asked(&[]), both);
        for (value, on) in [
            ("1", true),
            ("true", true),
            ("yes", true),
            ("0", false),
            ("false", false),
            ("", false),
        ] {
            assert_eq!(asked(&[("NVIDIA_DISABLE_REQUIRE", value)]).is_empty(), on, "{value}");
        }
        let of_job = asked(&[("NVIDIA_REQUIRE_CUDA", "cuda>=11.0")]);
        assert_eq!(of_job[0].1, "cuda>=11.0");
    }

    #[test]
    fn an_image_asks_for_gpus_and_for_no_other_right() {
        let lines = "NVIDIA_IMEX_CHANNELS=0\nNVIDIA_MIG_CONFIG_DEVICES=all\nNVIDIA_MIG_MONITOR_DEVICES=all\n\
                     NVIDIA_GDS=enabled\nNVIDIA_MOFED=enabled\nNVIDIA_NVSWITCH=enabled\nNVIDIA_GDRCOPY=enabled\n";
        let asked = |image: &str, others: &str| {
            let said = ContainerVariables { image: image.as_bytes(), others: others.as_bytes() };
            let asked =
                Variables { host: &Environ::new(), of_node: &BTreeSet::new(), said }.asked();
            let NvidiaRequest { mig_config, mig_monitor, gds, gdrcopy, mofed, nvswitch, .. } =
                asked;
            let all = [mig_config, mig_monitor, gds, gdrcopy, mofed, nvswitch];
            (asked.channels.is_some(), all)
        };
        assert_eq!(asked(lines, ""), (false, [false; 6]));
        assert_eq!(asked("", lines), (true, [true; 6]));
    }
}

//! What is to be done for a step: decided once, as the user, before its tasks are forked.

use super::error::StepError;
use super::image::Image;
use super::pin;
use super::save;
use crate::config::{Config, Scope};
use crate::options::{Mount, NameFlag, Options, Unshare};
use crate::root::job::Job;
use handover::nodes::node;
use hygiene::userinfo::without_password;
use spank_bindings::StepId;
use std::env::current_dir;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The step's container, as asked for.
pub(crate) struct Plan {
    /// In the runtime's list of containers.
    pub(crate) name: String,
    /// The user gave it a name, and what to do about an existing one. Unnamed ones are removed.
    pub(crate) named: Option<NameFlag>,
    /// `None`: the name has to exist.
    pub(crate) image: Option<Image>,
    /// What the image's tag names, where srun has looked it up.
    pub(crate) digest: Option<OsString>,
    /// Absolute.
    pub(crate) save: Option<PathBuf>,
    /// It has the node's name in it.
    pub(crate) saves_apart: bool,
    pub(crate) mounts: Vec<Mount>,
    /// Names of variables whose host values win.
    pub(crate) env: Vec<OsString>,
    pub(crate) entrypoint: bool,
    pub(crate) entrypoint_log: bool,
    pub(crate) unshare: Unshare,
    pub(crate) workdir: Option<OsString>,
    /// The user's runtime directory.
    pub(crate) directory: PathBuf,
    /// Where a downloaded image is kept for a moment.
    pub(crate) squashfs: PathBuf,
}

impl Plan {
    pub(crate) fn new(
        config: &Config,
        options: &Options,
        job: &Job,
        script: Option<OsString>,
    ) -> Result<Plan, StepError> {
        let scope = match config.container_scope {
            Scope::Job => format!("{}_", job.job_id),
            Scope::Global => String::new(),
        };
        let step = job.step_name();
        let label = options.name.as_ref().map_or(step.as_str(), |name| &name.name);
        let directory = config.runtime_path.join(job.user.uid.to_string());
        let mut mounts = options.mounts.clone();
        for mount in mounts.iter_mut().filter(|mount| mount.target == mount.source) {
            // "." and "./x" are at the same place inside.
            mount.target = absolute(&mount.target)?.into();
        }
        if job.step_id == StepId::BATCH {
            mounts.push(Mount::readonly_file(script.ok_or(StepError::NoBatchScript)?));
        }
        Ok(Plan {
            name: format!("pyxis_{scope}{label}"),
            named: options.name.as_ref().map(|name| name.flag),
            image: options
                .image
                .as_deref()
                .map(|image| Image::parse(image).at(absolute))
                .transpose()?,
            digest: job
                .pinned
                .as_ref()
                .zip(options.image.as_ref())
                .and_then(|(pinned, image)| pin::digest_for(pinned, image)),
            saves_apart: options.save.as_deref().is_some_and(|save| cut_at_node(save).is_some()),
            save: options.save.as_deref().map(place_of_save).transpose()?,
            mounts,
            env: options.env.clone(),
            entrypoint: options.entrypoint.unwrap_or(config.execute_entrypoint),
            entrypoint_log: options.entrypoint_log == Some(true),
            unshare: options.unshare,
            workdir: options.workdir.clone(),
            squashfs: directory.join(format!("{step}.squashfs")),
            directory,
        })
    }

    /// Whether the container is started from the squashfs file itself, with nothing to create and
    /// to remove, by a runtime that serves images or not.
    pub(crate) fn is_direct(&self, serves_images: bool, config: &Config) -> bool {
        let imported = matches!(self.image, Some(Image::Remote { .. }));
        self.named.is_none()
            && self.save.is_none()
            && (serves_images || config.use_squashfuse && (!imported || config.importer.is_some()))
    }
}

/// A file, or a registry's image without the password in it. `%N` is the node's name, as in the names of Slurm's
/// own files.
fn place_of_save(path: &OsStr) -> Result<PathBuf, StepError> {
    let mut path = path.to_owned();
    while let Some((before, after)) = cut_at_node(&path) {
        let (before, after) = (OsStr::from_bytes(before), OsStr::from_bytes(after));
        path = [before, &node(), after].into_iter().collect();
    }
    if save::is_push(path.as_ref()) {
        return Ok(OsStr::from_bytes(&without_password(path.as_bytes())).into());
    }
    absolute(&path)
}

/// What is before and after the first `%N`.
fn cut_at_node(path: &OsStr) -> Option<(&[u8], &[u8])> {
    let path = path.as_bytes();
    let at = path.windows(2).position(|two| two == b"%N")?;
    Some((&path[..at], &path[at + 2..]))
}

/// Slurm is in the job's working directory by now. The job's PWD may name another one, or none.
fn absolute(path: &OsStr) -> Result<PathBuf, StepError> {
    let path = match path.as_bytes() {
        [b'/', ..] => return Ok(path.into()),
        b"." => b"",
        [b'.', b'/', path @ ..] | path => path,
    };
    let mut absolute = current_dir().map_err(|_| StepError::NoWorkingDirectory)?;
    if !path.is_empty() {
        absolute.push(OsStr::from_bytes(path));
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Valued;
    use crate::root::user::Credentials;

    fn job(step_id: StepId) -> Job {
        Job {
            user: Credentials { uid: 1000, gid: 1000, groups: vec![] },
            job_id: 42,
            step_id,
            local_tasks: 1,
            total_tasks: 1,
            pinned: None,
            privileged: false,
        }
    }

    fn plan(arguments: &str, options: &[(Valued, &str)]) -> Plan {
        let config = Config::parse(arguments.split_whitespace().map(str::as_bytes)).unwrap();
        let mut parsed = Options::default();
        for (which, value) in options {
            parsed.set(*which, value.as_bytes()).unwrap();
        }
        Plan::new(&config, &parsed, &job(StepId(7)), None).unwrap()
    }

    #[test]
    fn containers_are_named_by_scope() {
        let image = (Valued::Image, "./x.sqsh");
        let name = (Valued::Name, "mine:create");
        for (arguments, options, expected) in [
            ("", vec![image], "pyxis_42.7"),
            ("container_scope=job", vec![image], "pyxis_42_42.7"),
            ("", vec![name], "pyxis_mine"),
            ("container_scope=job", vec![image, name], "pyxis_42_mine"),
        ] {
            assert_eq!(plan(arguments, &options).name, expected);
        }
    }

    #[test]
    fn saving_is_relative_to_the_jobs_directory() {
        let here = current_dir().unwrap();
        let node = node().into_string().unwrap();
        for (path, expected) in [
            ("a/b.sqsh", here.join("a/b.sqsh")),
            ("/c.sqsh", "/c.sqsh".into()),
            ("/%N/a%Nb.sqsh", format!("/{node}/a{node}b.sqsh").into()),
            ("docker://me:pw@reg.example#a:1", "docker://me@reg.example#a:1".into()),
        ] {
            let plan = plan("", &[(Valued::Image, "./x"), (Valued::Save, path)]);
            assert_eq!(plan.save, Some(expected));
            assert_eq!(plan.saves_apart, path.contains("%N"));
        }
    }

    #[test]
    fn a_relative_directory_is_at_its_own_place() {
        let here = current_dir().unwrap();
        let targets = |list: &str| {
            let plan = plan("", &[(Valued::Image, "./x"), (Valued::Mounts, list)]);
            plan.mounts.into_iter().map(|mount| PathBuf::from(mount.target)).collect::<Vec<_>>()
        };
        assert_eq!(targets(".,./d"), [here.clone(), here.join("d")]);
        assert_eq!(targets("./d:./e,./d:/f"), [PathBuf::from("./e"), "/f".into()]);
    }

    #[test]
    fn a_batch_script_is_mounted_at_its_place() {
        let mut options = Options::default();
        options.set(Valued::Image, b"./x").unwrap();
        let script = Some("/var/spool/slurmd/job00042/slurm_script".into());
        let batch = job(StepId::BATCH);
        let plan = Plan::new(&Config::default(), &options, &batch, script).unwrap();
        assert_eq!(plan.mounts[0].source, plan.mounts[0].target);
        assert!(Plan::new(&Config::default(), &options, &batch, None).is_err());
    }

    #[test]
    fn direct_starts() {
        let config = |line: &str| Config::parse(line.split(' ').map(str::as_bytes)).unwrap();
        let (plain, fuse) = (config("use_squashfuse=0"), config("use_squashfuse=1"));
        let importer = config("use_squashfuse=1 importer=/i");
        let file = plan("", &[(Valued::Image, "./x")]);
        let remote = plan("", &[(Valued::Image, "x")]);
        let named = plan("", &[(Valued::Image, "./x"), (Valued::Name, "n")]);
        assert!(file.is_direct(true, &plain) && remote.is_direct(true, &plain));
        assert!(!named.is_direct(true, &plain) && !named.is_direct(false, &fuse));
        assert!(!file.is_direct(false, &plain) && file.is_direct(false, &fuse));
        assert!(!remote.is_direct(false, &fuse) && remote.is_direct(false, &importer));
    }
}

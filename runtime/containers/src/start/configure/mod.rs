//! Between a root filesystem and a container: mounts, files, variables and hooks, in enroot's
//! order.

mod hooks;
mod mounts;
mod variables;

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::fstab::Entry;
use crate::start::environment::account;
use crate::start::environment::fixes;
use crate::start::environment::hook_place::HookPlace;
use crate::start::environment::host_facts::HostFacts;
use crate::start::environment::site::Standard;
use crate::start::error::StartError;
use crate::start::mounts::data_images::DataImages;
use crate::start::mounts::detached::DetachedMounts;
use crate::start::mounts::devices;
use crate::start::mounts::slurm;
use crate::start::plan::Plan;
use crate::start::process::identity::Identity;
use crate::start::rootfs::image_files::ImageFiles;
use crate::start::rootfs::tree::Tree;
use crate::start::rootfs::upper::PrefilledUpper;
use crate::start::roots::{ContainerRoot, Roots};
use linux::environ::{self, Environ};
use linux::phases;

use hooks::Hooked;
use mounts::{BEFORE_HOOKS, apply_pass};

/// What has become of the plan.
pub(super) struct Configured {
    pub(super) environ: Environ,
    /// Those of its variables that concern the step and not others who join.
    pub(super) of_step: Environ,
    pub(super) home: PathBuf,
    pub(super) cwd: PathBuf,
    pub(super) script: Option<Vec<u8>>,
}

/// What a container is configured from.
pub(super) struct Configuration<'a> {
    pub(super) plan: &'a Plan,
    pub(super) identity: &'a Identity,
    pub(super) facts: HostFacts,
    /// Whether the image is that of a SIF file.
    pub(super) is_sif: bool,
    /// The node's switches are hidden by [`crate::start::process::guard`].
    pub(super) guarded: bool,
    /// Mounts that have been made already.
    pub(super) detached: DetachedMounts,
    /// Squashfs files that the plan mounts, and who serves them.
    pub(super) data_images: DataImages,
    /// Where the image has files below what every container has mounted, if it was looked at.
    pub(super) filled: Option<Vec<&'static str>>,
}

impl Configuration<'_> {
    /// Carries out everything that the plan, the image and the site ask for in the container's
    /// tree.
    pub(super) fn configure(
        mut self,
        roots: &mut Roots,
        prefilled: Option<PrefilledUpper>,
    ) -> Result<Configured, StartError> {
        let place = self.hook_place(roots)?;
        let site = self.site_lines(place.as_ref())?;
        let (image, has_account, filled) = match prefilled {
            Some(PrefilledUpper { image, has_account, filled }) => {
                (image, has_account, Some(filled))
            }
            None => {
                roots.container()?;
                (ImageFiles::read(Tree::Root, self.is_sif), false, self.filled.take())
            }
        };
        let home = Home::of(&self);
        let (variables, devices) = self.variables(roots, &image, &site, &home)?;
        self.write_files(&roots.container()?, has_account);

        let hook_directory = self.hook_directory(roots, &devices, place)?;
        let built_in = self.mount_built_in(roots, &devices, filled.as_deref())?;
        let lines = self.mount_lines(&image, site.mounts, &built_in)?;
        apply_pass(roots, &lines, BEFORE_HOOKS)?;
        devices::inject(roots, &devices)?;

        phases::begin("hooks");
        let hooked = self.run_hooks(roots, hook_directory.as_ref(), &devices, &variables)?;
        phases::begin("configure");
        self.mount_after_hooks(roots, &lines, &hooked.left, &home)?;
        Ok(self.finish(&roots.container()?, image.workdir, hooked))
    }

    /// What the site's files say. `hooks` is where hooks work, if there are any.
    fn site_lines(&self, hooks: Option<&HookPlace>) -> Result<SiteLines, StartError> {
        let (site, host) = (&self.plan.site, &self.facts.environ);
        let unmade = HookPlace::unmade(self.plan);
        let environ = site.environ_lines(host, hooks.unwrap_or(&unmade).variables());
        Ok(SiteLines { mounts: site.mount_entries(host)?, environ })
    }

    /// Changes files of the image, while there is no `/proc` that links of the image could lead to.
    fn write_files(&self, _: &ContainerRoot<'_>, has_account: bool) {
        let ours = |standard| !self.plan.site.replaces(standard);
        if !has_account && ours(Standard::Shadow) {
            account::write(self.identity, &self.facts.account, &self.plan.host);
        }
        if let Some(timezone) = &self.facts.timezone {
            timezone.set();
        }
        if ours(Standard::Aptfix) {
            fixes::let_apt_be_root(self.identity);
        }
    }

    /// The environment as programs get it, and the home directory that it names.
    fn finish(
        &self,
        _: &ContainerRoot<'_>,
        workdir: Option<PathBuf>,
        Hooked { of_step, left }: Hooked,
    ) -> Configured {
        let mut environ: Environ = environ::entries(&left.variables).collect();
        fixes::add_locale(&mut environ);
        account::add_login_defaults(
            &mut environ,
            self.identity,
            &self.facts.account,
            self.plan.at_home,
        );
        if let Some(commands) = &self.plan.slurm {
            slurm::add_variables(&mut environ, commands);
        }
        account::create_home(&environ, self.plan.writable);
        let home = Some(&environ).filter(|_| self.plan.at_home).and_then(account::home_to_enter);
        let home = home.unwrap_or_else(|| "/".into());
        let cwd = workdir.filter(|path| path.is_dir()).unwrap_or_else(|| home.clone());
        environ.insert("PWD".into(), cwd.clone().into());
        let of_step = environ::entries(&of_step).collect();
        Configured { environ, of_step, home, cwd, script: left.rc }
    }
}

/// What the site's files say.
struct SiteLines {
    mounts: Vec<Entry>,
    environ: Vec<u8>,
}

/// The user's home directory.
struct Home {
    outside: PathBuf,
    inside: PathBuf,
}

impl Home {
    fn of(configuration: &Configuration<'_>) -> Home {
        let HostFacts { environ, account, .. } = &configuration.facts;
        let outside =
            environ.get(OsStr::new("HOME")).map_or_else(|| account.home.clone(), PathBuf::from);
        let inside = match configuration.plan.remap_root {
            true => PathBuf::from("/root"),
            false => outside.clone(),
        };
        Home { outside, inside }
    }
}

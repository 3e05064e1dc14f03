//! Mounts in enroot's order: what every container gets, then lines before hooks and after them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Configuration, Home};
use crate::cdi::Edits;
use crate::fstab::Entry;
use crate::start::environment::hooks::HookResults;
use crate::start::environment::launcher::Launcher;
use crate::start::environment::site::Standard;
use crate::start::error::StartError;
use crate::start::mounts::lines;
use crate::start::mounts::of_image;
use crate::start::mounts::slurm;
use crate::start::mounts::system;
use crate::start::rootfs::image_files::ImageFiles;
use crate::start::roots::Roots;

/// Of mount lines: before hooks run, and afterwards.
pub(super) const BEFORE_HOOKS: i32 = -1;
const AFTER_HOOKS: i32 = 0;

impl Configuration<'_> {
    pub(super) fn mounts_home(&self) -> bool {
        self.plan.mount_home && !self.plan.site.replaces(Standard::Home)
    }

    /// Mounts what every container gets. Returns the lines that were carried out as they are.
    pub(super) fn mount_built_in(
        &mut self,
        roots: &mut Roots,
        devices: &Edits,
        filled: Option<&[&str]>,
    ) -> Result<Vec<&'static str>, StartError> {
        let (plan, guarded, detached) = (self.plan, self.guarded, &mut self.detached);
        let lines = system::mount(roots, plan, guarded, devices, filled, detached)?;
        for entry in &self.facts.cgroups {
            self.detached.apply(roots, entry)?;
        }
        Ok(lines)
    }

    /// The mount lines of the image and then those of the site, without what is done already.
    pub(super) fn mount_lines(
        &self,
        image: &ImageFiles,
        mut of_site: Vec<Entry>,
        built_in: &[&str],
    ) -> Result<Vec<Entry>, StartError> {
        let mut lines = of_image::parse(&image.fstab, &self.facts.environ)?;
        // enroot's own lines among the site's say what has been done already.
        for lines in [&mut lines, &mut of_site] {
            lines.retain(|entry| !built_in.iter().any(|line| is_line(entry, line)));
        }
        of_site.retain(|entry| {
            let target = linux::path::normalized(&Path::new("/").join(&entry.target));
            entry.pass != BEFORE_HOOKS || !system::is_replaced(self.plan, &target)
        });
        if !self.plan.image_mounts {
            of_image::leave_out_foreign(&mut lines, &[BEFORE_HOOKS, AFTER_HOOKS]);
        }
        lines.append(&mut of_site);
        Ok(lines)
    }

    /// Mounts the rest, in enroot's order: later lines cover earlier ones.
    pub(super) fn mount_after_hooks(
        &mut self,
        roots: &mut Roots,
        lines: &[Entry],
        hooked: &HookResults,
        home: &Home,
    ) -> Result<(), StartError> {
        if self.mounts_home() {
            lines::apply(roots, &lines::home_entry(&home.outside, &home.inside)?)?;
        }
        let pmix = Launcher::of_step(&self.facts.environ).and_then(|step| step.mount_line());
        if let Some(line) = pmix {
            apply_pass(roots, &lines::parse_lines(&line)?, AFTER_HOOKS)?;
        }
        if let Some(commands) = &self.plan.slurm {
            slurm::mount(roots, commands, self.identity.is_remapped())?;
        }
        let of_hooks = lines::parse_lines_of_hooks(OsStr::from_bytes(&hooked.hook_mounts))?;
        apply_pass(roots, &of_hooks, AFTER_HOOKS)?;
        apply_pass(roots, lines, AFTER_HOOKS)?;
        let of_script = lines::parse_lines(OsStr::from_bytes(&hooked.script_mounts))?;
        apply_pass(roots, &of_script, AFTER_HOOKS)?;
        for (at, entry) in self.plan.mounts.iter().enumerate() {
            if entry.pass == AFTER_HOOKS {
                match self.data_images.mount(roots, at, entry) {
                    Some(mounted) => lines::unless_nofail(entry, mounted)?,
                    None => lines::apply(roots, entry)?,
                }
            }
        }
        Ok(())
    }
}

pub(super) fn apply_pass(roots: &mut Roots, lines: &[Entry], pass: i32) -> Result<(), StartError> {
    lines.iter().filter(|entry| entry.pass == pass).try_for_each(|entry| lines::apply(roots, entry))
}

/// Whether `entry` is what `line` says, whenever it is to be mounted.
fn is_line(entry: &Entry, line: &str) -> bool {
    let known = Entry::parse(OsStr::new(line)).ok().flatten();
    known.is_some_and(|known| Entry { pass: known.pass, ..entry.clone() } == known)
}

//! Hooks: where they work, the order in which they run, and the devices that some of them choose.

use super::Configuration;
use super::variables::{Variables, lines_of};
use crate::cdi::Edits;
use crate::start::environment::hook_place::HookPlace;
use crate::start::environment::hooks::{HookDirectory, HookResults, HookRun};
use crate::start::error::StartError;
use crate::start::mounts::devices::{self, ContainerVariables};
use crate::start::mounts::system;
use crate::start::roots::Roots;
use linux::environ;

/// What hooks have left, and the lines of variables that concern this step only.
pub(super) struct Hooked {
    pub(super) left: HookResults,
    pub(super) of_step: Vec<u8>,
}

impl Configuration<'_> {
    /// Where the hooks will work that are known by now.
    pub(super) fn hook_place(&self, roots: &mut Roots) -> Result<Option<HookPlace>, StartError> {
        let plan = self.plan;
        let needed = plan.conf.is_some() || !plan.site.hooks.is_empty();
        needed.then(|| HookPlace::find(&roots.host()?, plan)).transpose()
    }

    /// A directory for hooks, if there is any: at `place`, or for those of devices alone.
    pub(super) fn hook_directory(
        &self,
        roots: &mut Roots,
        devices: &Edits,
        place: Option<HookPlace>,
    ) -> Result<Option<HookDirectory>, StartError> {
        let place = match place {
            None if devices.hooks.is_empty() => return Ok(None),
            None => HookPlace::find(&roots.host()?, self.plan)?,
            Some(place) => place,
        };
        HookDirectory::open(roots, self.plan, place).map(Some)
    }

    /// Runs the hooks of devices, the configuration script and the site's hooks: each has the variables as those
    /// before it have left them.
    pub(super) fn run_hooks(
        &self,
        roots: &mut Roots,
        directory: Option<&HookDirectory>,
        devices: &Edits,
        variables: &Variables,
    ) -> Result<Hooked, StartError> {
        let Some(directory) = directory else {
            let variables = variables.all();
            let of_step = self.variables_of_step(&variables);
            let variables = [&variables[..], &of_step].concat();
            return Ok(Hooked { of_step, left: HookResults { variables, ..Default::default() } });
        };
        directory.run_for_devices(roots, devices, &variables.all())?;
        let host = roots.host()?;
        // The script does not see what is said on the command line, which comes after its own variables.
        let run = directory.begin(&host, self.plan, &variables.before_hooks)?;
        let known = [&run.variables(&host)?[..], &variables.of_command_line].join(&b'\n');
        let of_step = self.variables_of_step(&known);
        run.set_variables(&host, &environ::formatted(&[&known[..], &of_step].concat()))?;

        let (first, rest) = self.plan.site.hooks.split_at(self.plan.site.before_devices);
        run.run(&host, first)?;
        if !first.is_empty() {
            self.add_late_devices(roots, directory, &run, &variables.of_image)?;
        }
        let host = roots.host()?;
        run.run(&host, rest)?;
        Ok(Hooked { of_step, left: run.finish(&host)? })
    }

    /// Gives the container the devices that the first hooks had a say in, and the other hooks the variables of
    /// these. `of_image` are the variables of the image.
    fn add_late_devices(
        &self,
        roots: &mut Roots,
        directory: &HookDirectory,
        run: &HookRun<'_>,
        of_image: &[u8],
    ) -> Result<(), StartError> {
        let variables = run.variables(&roots.host()?)?;
        // What the image says stays the image's word.
        let images: Vec<_> = environ::entries(of_image).collect();
        let others = environ::entries(&variables).filter(|entry| !images.contains(entry)).collect();
        let others = environ::to_lines(&others);
        let said = ContainerVariables { image: of_image, others: &others };
        let devices = self.choose_devices(roots, said)?;
        system::mount_late_nodes(roots, self.plan, &devices)?;
        devices::inject(roots, &devices)?;
        directory.run_for_devices(roots, &devices, &variables)?;
        match lines_of(&devices) {
            nothing if nothing.is_empty() => Ok(()),
            lines => run.set_variables(&roots.host()?, &[variables, lines].join(&b'\n')),
        }
    }
}

//! Variables before any hook runs, and the devices that they ask for and that add to them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Configuration, Home, SiteLines};
use crate::cdi::Edits;
use crate::start::environment::launcher::Launcher;
use crate::start::error::StartError;
use crate::start::mounts::devices::{self, ContainerVariables};
use crate::start::rootfs::image_files::ImageFiles;
use crate::start::roots::Roots;
use linux::environ::{self, Environ};

/// Lines of variables, whose later lines count.
pub(super) struct Variables {
    pub(super) of_image: Vec<u8>,
    /// What the configuration script and hooks find: of the image, the terminal, devices and the site.
    pub(super) before_hooks: Vec<u8>,
    pub(super) of_command_line: Vec<u8>,
}

impl Variables {
    /// As they are where no script and no hook says anything.
    pub(super) fn all(&self) -> Vec<u8> {
        [&self.before_hooks[..], &self.of_command_line].concat()
    }
}

impl Configuration<'_> {
    /// The variables before any hook runs, and the devices, which these ask for and add to.
    pub(super) fn variables(
        &self,
        roots: &mut Roots,
        image: &ImageFiles,
        site: &SiteLines,
        home: &Home,
    ) -> Result<(Variables, Edits), StartError> {
        let of_image = environ::of_image(&image.environment, &self.facts.environ);
        let of_command_line = self.variables_of_command_line();
        let others = [&site.environ[..], &of_command_line].concat();
        let said = ContainerVariables { image: &of_image, others: &others };
        let devices = match self.plan.site.before_devices {
            0 => self.choose_devices(roots, said)?,
            // A hook may say which.
            _ => Edits::default(),
        };
        let of_terminal = self.variables_of_terminal(home);
        let before_hooks =
            [&of_image[..], &of_terminal, &lines_of(&devices), &site.environ].concat();
        Ok((Variables { of_image, before_hooks, of_command_line }, devices))
    }

    /// Those that the command line gives, or takes from the caller's.
    fn variables_of_command_line(&self) -> Vec<u8> {
        let mut wanted = Environ::new();
        environ::add_wanted(&mut wanted, &self.plan.env, &self.facts.environ);
        environ::to_lines(&wanted)
    }

    /// Those of the caller's that hold for whatever image.
    fn variables_of_terminal(&self, home: &Home) -> Vec<u8> {
        let line =
            |name: &str, value: &OsStr| [name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat();
        let term = self.facts.environ.get(OsStr::new("TERM"));
        let term = term.map(|value| line("TERM", value)).unwrap_or_default();
        let home = match self.mounts_home() {
            true => line("HOME", home.inside.as_os_str()),
            false => Vec::new(),
        };
        [term, home].concat()
    }

    pub(super) fn choose_devices(
        &self,
        roots: &mut Roots,
        said: ContainerVariables<'_>,
    ) -> Result<Edits, StartError> {
        let (wanted, host) = (&self.plan.devices, &self.facts.environ);
        roots.host()?;
        let mut devices = devices::choose(wanted, host, said)?;
        devices::add_fabrics(roots, wanted, host, said, &mut devices)?;
        Ok(devices)
    }

    /// What the step's launchers, such as PMIx, want to find beside the variables that are known.
    pub(super) fn variables_of_step(&self, known: &[u8]) -> Vec<u8> {
        let step = Launcher::of_step(&self.facts.environ);
        step.map(|step| step.lines(known)).unwrap_or_default()
    }
}

/// Lines of what devices set.
pub(super) fn lines_of(devices: &Edits) -> Vec<u8> {
    let split = devices.env.iter().filter_map(|variable| variable.split_once('='));
    split.flat_map(|(name, value)| environ::line(name.as_bytes(), value.as_bytes())).collect()
}

//! Between a root filesystem and a container: mounts, files, variables and hooks, in enroot's
//! order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cdi::Edits;
use crate::fstab::Entry;
use crate::start::environment::account;
use crate::start::environment::fixes;
use crate::start::environment::hook_place::HookPlace;
use crate::start::environment::hooks::{HookDirectory, HookResults, HookRun};
use crate::start::environment::host_facts::HostFacts;
use crate::start::environment::launcher::Launcher;
use crate::start::environment::site::Standard;
use crate::start::error::StartError;
use crate::start::mounts::data_images::DataImages;
use crate::start::mounts::detached::DetachedMounts;
use crate::start::mounts::devices::{self, ContainerVariables};
use crate::start::mounts::lines;
use crate::start::mounts::of_image;
use crate::start::mounts::slurm;
use crate::start::mounts::system;
use crate::start::plan::Plan;
use crate::start::process::identity::Identity;
use crate::start::rootfs::image_files::ImageFiles;
use crate::start::rootfs::tree::Tree;
use crate::start::rootfs::upper::PrefilledUpper;
use crate::start::roots::{ContainerRoot, Roots};
use linux::environ::{self, Environ};
use linux::phases;

/// Of mount lines: before hooks run, and afterwards.
const BEFORE_HOOKS: i32 = -1;
const AFTER_HOOKS: i32 = 0;

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

    /// Where the hooks will work that are known by now.
    fn hook_place(&self, roots: &mut Roots) -> Result<Option<HookPlace>, StartError> {
        let plan = self.plan;
        let needed = plan.conf.is_some() || !plan.site.hooks.is_empty();
        needed.then(|| HookPlace::find(&roots.host()?, plan)).transpose()
    }

    /// What the site's files say. `hooks` is where hooks work, if there are any.
    fn site_lines(&self, hooks: Option<&HookPlace>) -> Result<SiteLines, StartError> {
        let (site, host) = (&self.plan.site, &self.facts.environ);
        let unmade = HookPlace::unmade(self.plan);
        let environ = site.environ_lines(host, hooks.unwrap_or(&unmade).variables());
        Ok(SiteLines { mounts: site.mount_entries(host)?, environ })
    }

    /// The variables before any hook runs, and the devices, which these ask for and add to.
    fn variables(
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

    fn choose_devices(
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

    fn mounts_home(&self) -> bool {
        self.plan.mount_home && !self.plan.site.replaces(Standard::Home)
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

    /// A directory for hooks, if there is any: at `place`, or for those of devices alone.
    fn hook_directory(
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

    /// Mounts what every container gets. Returns the lines that were carried out as they are.
    fn mount_built_in(
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
    fn mount_lines(
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

    /// Runs the hooks of devices, the configuration script and the site's hooks: each has the variables as those
    /// before it have left them.
    fn run_hooks(
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

    /// What the step's launchers, such as PMIx, want to find beside the variables that are known.
    fn variables_of_step(&self, known: &[u8]) -> Vec<u8> {
        let step = Launcher::of_step(&self.facts.environ);
        step.map(|step| step.lines(known)).unwrap_or_default()
    }

    /// Mounts the rest, in enroot's order: later lines cover earlier ones.
    fn mount_after_hooks(
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

/// Lines of variables, whose later lines count.
struct Variables {
    of_image: Vec<u8>,
    /// What the configuration script and hooks find: of the image, the terminal, devices and the site.
    before_hooks: Vec<u8>,
    of_command_line: Vec<u8>,
}

impl Variables {
    /// As they are where no script and no hook says anything.
    fn all(&self) -> Vec<u8> {
        [&self.before_hooks[..], &self.of_command_line].concat()
    }
}

/// What hooks have left, and the lines of variables that concern this step only.
struct Hooked {
    left: HookResults,
    of_step: Vec<u8>,
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

/// Lines of what devices set.
fn lines_of(devices: &Edits) -> Vec<u8> {
    let split = devices.env.iter().filter_map(|variable| variable.split_once('='));
    split.flat_map(|(name, value)| environ::line(name.as_bytes(), value.as_bytes())).collect()
}

fn apply_pass(roots: &mut Roots, lines: &[Entry], pass: i32) -> Result<(), StartError> {
    lines.iter().filter(|entry| entry.pass == pass).try_for_each(|entry| lines::apply(roots, entry))
}

/// Whether `entry` is what `line` says, whenever it is to be mounted.
fn is_line(entry: &Entry, line: &str) -> bool {
    let known = Entry::parse(OsStr::new(line)).ok().flatten();
    known.is_some_and(|known| Entry { pass: known.pass, ..entry.clone() } == known)
}

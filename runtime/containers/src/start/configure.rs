//! Between a root filesystem and a container: mounts, files, variables and hooks, in enroot's
//! order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cdi::Edits;
use crate::fstab::Entry;
use crate::start::environment::account;
use crate::start::environment::fixes;
use crate::start::environment::hooks::{HookDirectory, HookInput, HookResults};
use crate::start::environment::host_facts::HostFacts;
use crate::start::environment::launcher::Launcher;
use crate::start::environment::site::Standard;
use crate::start::error::StartError;
use crate::start::mounts::data_images::DataImages;
use crate::start::mounts::detached::DetachedMounts;
use crate::start::mounts::devices;
use crate::start::mounts::lines;
use crate::start::mounts::of_image;
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
    pub(super) launched: Environ,
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
}

impl Configuration<'_> {
    /// Carries out everything that the plan, the image and the site ask for in the container's
    /// tree.
    pub(super) fn configure(
        mut self,
        roots: &mut Roots,
        prefilled: Option<PrefilledUpper>,
    ) -> Result<Configured, StartError> {
        let site = self.site_lines()?;
        let (image, has_account) = match prefilled {
            Some(PrefilledUpper { image, has_account }) => (image, has_account),
            None => {
                roots.container()?;
                (ImageFiles::read(Tree::Root, self.is_sif), false)
            }
        };
        let home = Home::of(&self);
        let (variables, devices) = self.variables(roots, &image, &site, &home)?;
        self.write_files(&roots.container()?, has_account);

        let hook_directory = self.hook_directory(roots, &devices)?;
        let built_in = self.mount_built_in(roots, &devices)?;
        let lines = self.mount_lines(&image, site.mounts, &built_in)?;
        apply_pass(roots, &lines, BEFORE_HOOKS)?;
        devices::inject(roots, &devices)?;

        phases::begin("hooks");
        let hooked = self.run_hooks(roots, hook_directory.as_ref(), &devices, variables)?;
        phases::begin("configure");
        self.mount_after_hooks(roots, &lines, &hooked, &home)?;
        Ok(self.finish(&roots.container()?, image.workdir, hooked))
    }

    /// What the site's files say.
    fn site_lines(&self) -> Result<SiteLines, StartError> {
        let (site, host) = (&self.plan.site, &self.facts.environ);
        Ok(SiteLines { mounts: site.mount_entries(host)?, environ: site.environ_lines(host) })
    }

    /// The variables before any hook runs, and the devices, which these ask for and add to.
    fn variables(
        &self,
        roots: &mut Roots,
        image: &ImageFiles,
        site: &SiteLines,
        home: &Home,
    ) -> Result<(Variables, Edits), StartError> {
        let (plan, host) = (self.plan, &self.facts.environ);
        let mut given = environ::of_image(&image.environment, host);
        let mut wanted = Environ::new();
        environ::add_wanted(&mut wanted, &plan.env, host);
        let wanted = environ::to_lines(&wanted);
        let others = [&site.environ[..], &wanted].concat();
        let said = devices::ContainerVariables { image: &given, others: &others };
        let devices = match plan.site.before_devices {
            0 => self.choose_devices(roots, said)?,
            // A hook may say which.
            _ => Edits::default(),
        };
        let image = given.clone();
        let mut add = |name: &str, value: &OsStr| {
            given.extend([name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat());
        };
        if let Some(term) = host.get(OsStr::new("TERM")) {
            add("TERM", term);
        }
        if self.mounts_home() {
            add("HOME", home.inside.as_os_str());
        }
        given.extend(lines_of(&devices));
        given.extend(&site.environ);
        Ok((Variables { image, given, wanted }, devices))
    }

    fn choose_devices(
        &self,
        roots: &mut Roots,
        said: devices::ContainerVariables<'_>,
    ) -> Result<Edits, StartError> {
        let (wanted, host) = (&self.plan.devices, &self.facts.environ);
        roots.host()?;
        let mut devices = devices::choose(wanted, host, said)?;
        devices::add_fabrics(roots, wanted, host, said, &mut devices)?;
        Ok(devices)
    }

    /// Gives the container the devices that hooks had a say in, `environ` being the variables by now.
    /// Returns more lines of these.
    fn add_late_devices(
        &self,
        roots: &mut Roots,
        directory: &HookDirectory,
        image: &[u8],
        environ: &[u8],
    ) -> Result<Vec<u8>, StartError> {
        // What the image says stays the image's word.
        let of_image: Vec<_> = environ::entries(image).collect();
        let others = environ::entries(environ).filter(|entry| !of_image.contains(entry)).collect();
        let others = environ::to_lines(&others);
        let devices =
            self.choose_devices(roots, devices::ContainerVariables { image, others: &others })?;
        system::mount_late_nodes(roots, self.plan, &devices)?;
        devices::inject(roots, &devices)?;
        directory.run_for_devices(roots, &devices, environ)?;
        Ok(lines_of(&devices))
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

    /// A directory for hooks, if there is any.
    fn hook_directory(
        &self,
        roots: &mut Roots,
        devices: &Edits,
    ) -> Result<Option<HookDirectory>, StartError> {
        let plan = self.plan;
        let needed =
            plan.conf.is_some() || !plan.site.hooks.is_empty() || !devices.hooks.is_empty();
        needed.then(|| HookDirectory::open(roots, plan)).transpose()
    }

    /// Mounts what every container gets. Returns the lines that were carried out as they are.
    fn mount_built_in(
        &mut self,
        roots: &mut Roots,
        devices: &Edits,
    ) -> Result<Vec<&'static str>, StartError> {
        let lines = system::mount(roots, self.plan, self.guarded, devices, &mut self.detached)?;
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
            let target = lines::normalized(&Path::new("/").join(&entry.target));
            entry.pass != BEFORE_HOOKS || !system::is_replaced(self.plan, &target)
        });
        if !self.plan.image_mounts {
            of_image::leave_out_foreign(&mut lines, &[BEFORE_HOOKS, AFTER_HOOKS]);
        }
        lines.append(&mut of_site);
        Ok(lines)
    }

    /// Runs the hooks of devices, the configuration script and the site's hooks.
    fn run_hooks(
        &self,
        roots: &mut Roots,
        directory: Option<&HookDirectory>,
        devices: &Edits,
        variables: Variables,
    ) -> Result<HookResults, StartError> {
        let launcher = Launcher::of_step(&self.facts.environ);
        let launched =
            |given: &[u8]| launcher.as_ref().map(|step| step.lines(given)).unwrap_or_default();
        let Variables { image, given, wanted } = variables;
        let Some(directory) = directory else {
            let given = [given, wanted].concat();
            let launched = launched(&given);
            let environ = [given, launched.clone()].concat();
            return Ok(HookResults { environ, launched, ..HookResults::default() });
        };
        directory.run_for_devices(roots, devices, &[&given[..], &wanted].concat())?;
        let before_devices = self.plan.site.before_devices;
        let late =
            |roots: &mut Roots, directory: &HookDirectory, environ: &[u8]| match before_devices {
                0 => Ok(Vec::new()),
                _ => self.add_late_devices(roots, directory, &image, environ),
            };
        let input = HookInput {
            conf: self.plan.conf.as_deref(),
            hooks: &self.plan.site.hooks,
            before_devices,
            devices: &late,
            environ: &given,
            wanted: &wanted,
            launched: &launched,
        };
        directory.run(roots, input)
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
        hooked: HookResults,
    ) -> Configured {
        let mut environ: Environ = environ::entries(&hooked.environ).collect();
        fixes::add_locale(&mut environ);
        account::add_login_defaults(&mut environ, self.identity, &self.facts.account);
        account::create_home(&environ, self.plan.writable);
        let home = Some(&environ).filter(|_| self.plan.at_home).and_then(account::home_to_enter);
        let home = home.unwrap_or_else(|| "/".into());
        let cwd = workdir.filter(|path| path.is_dir()).unwrap_or_else(|| home.clone());
        environ.insert("PWD".into(), cwd.clone().into());
        let launched = environ::entries(&hooked.launched).collect();
        Configured { environ, launched, home, cwd, script: hooked.rc }
    }
}

/// What the site's files say.
struct SiteLines {
    mounts: Vec<Entry>,
    environ: Vec<u8>,
}

/// Lines of variables.
struct Variables {
    /// Of the image.
    image: Vec<u8>,
    /// Of the image, of this program, of devices and of the site.
    given: Vec<u8>,
    /// Of the command line. They come last.
    wanted: Vec<u8>,
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

//! Between a root filesystem and a container: mounts, files, variables and hooks, in enroot's
//! order.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::stat;

use super::hooks::{Added, Workshop};
use super::identity::{Account, Identity};
use super::launcher::Launcher;
use super::ready::Ready;
use super::roots::Roots;
use super::tree::Tree;
use super::upper::Early;
use super::{Plan, StartError, account, cgroups, devices, fixes, image_mounts, mounts, system};
use crate::fstab::Entry;
use linux::environ::{self, Environ};

/// Of mount lines: before hooks run, and afterwards.
const BEFORE_HOOKS: i32 = -1;
const AFTER_HOOKS: i32 = 0;

/// What has become of the plan.
pub(super) struct Configured {
    pub(super) environ: Environ,
    /// Those of its variables that concern the step and not others who join.
    pub(super) launched: Environ,
    pub(super) cwd: PathBuf,
    pub(super) script: Option<Vec<u8>>,
}

/// What was done while the image's server started, or right after.
pub(super) struct Prepared {
    pub(super) early: Option<Early>,
    /// By [`super::guard`].
    pub(super) guarded: bool,
    pub(super) ready: Ready,
}

/// What is taken from the host's tree.
pub(super) struct Host {
    environ: Environ,
    pub(super) account: Account,
    pub(super) timezone: Option<fixes::Timezone>,
    /// Of [`system::host_files`] those that there are.
    pub(super) files: Vec<&'static str>,
    pub(super) cgroups: Vec<Entry>,
}

impl Host {
    /// Looks, on the host's tree, of which the stage may cover a part.
    pub(super) fn look(identity: &Identity, environ: &Environ) -> Host {
        Host {
            account: identity.account(),
            timezone: fixes::Timezone::of_host(),
            files: system::host_files()
                .filter(|name| stat(&Path::new("/etc").join(name)).is_ok())
                .collect(),
            cgroups: cgroups::entries(environ.contains_key(OsStr::new("SLURM_STEP_ID"))),
            environ: environ.clone(),
        }
    }
}

/// Carries out everything that the plan, the image and the site ask for in the container's tree.
#[expect(clippy::too_many_lines, reason = "to be divided, by what asks for something")]
pub(super) fn configure(
    roots: &mut Roots,
    plan: &Plan,
    identity: &Identity,
    host: Host,
    prepared: Prepared,
) -> Result<Configured, StartError> {
    let Host { environ: host, account, timezone, cgroups, .. } = host;
    let site = match plan.site.is_empty() {
        true => Default::default(),
        false => roots.host(|| -> Result<_, StartError> {
            Ok((plan.site.mount_lines(&host)?, plan.site.environ_lines(&host)?))
        })??,
    };
    let Prepared { early, mut ready, guarded } = prepared;
    let (image, known) = match early {
        Some(Early { image, account }) => (image, account),
        None => (roots.container(|| ImageFiles::read(Tree::Root))?, false),
    };
    let home = host.get(OsStr::new("HOME")).map_or(account.home.clone(), PathBuf::from);
    let inside_home = if plan.remap_root { PathBuf::from("/root") } else { home.clone() };
    let mut variables = environ::substitute(&image.environment, &host);
    variables.push(b'\n');
    let mut wanted = Environ::new();
    environ::add_wanted(&mut wanted, &plan.env, &host);
    let wanted = environ::to_lines(&wanted);
    let said = devices::Said { image: &variables, others: &[&site.1[..], &wanted].concat() };
    let mut devices = roots.host(|| devices::choose(&plan.devices, &host, said))??;
    devices::add_fabrics(roots, &plan.devices, &host, said, &mut devices)?;
    let mut more = |name: &str, value: &OsStr| {
        variables.extend([name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat());
    };
    if let Some(term) = host.get(OsStr::new("TERM")) {
        more("TERM", term);
    }
    if plan.mount_home {
        more("HOME", inside_home.as_os_str());
    }
    for variable in &devices.env {
        variables.extend([variable.as_bytes(), b"\n"].concat());
    }
    variables.extend(site.1);

    // While there is no /proc that links of the image could lead to.
    roots.container(|| {
        if !known {
            account::write(identity, &account, &plan.host);
        }
        if let Some(timezone) = &timezone {
            timezone.set();
        }
        fixes::let_apt_be_root(identity);
    })?;

    let hooked = plan.conf.is_some() || !plan.site.hooks.is_empty();
    let workshop =
        (hooked || !devices.hooks.is_empty()).then(|| Workshop::open(roots, plan)).transpose()?;
    let built_in = system::mount(roots, plan, guarded, &devices, &mut ready)?;
    for entry in &cgroups {
        ready.apply(roots, entry)?;
    }

    let mut lines = image_mounts::parse(&image.fstab, &host)?;
    let mut site_lines = mounts::parse_lines(OsStr::from_bytes(&site.0))?;
    // enroot's own lines among the site's say what has been done already.
    for lines in [&mut lines, &mut site_lines] {
        lines.retain(|entry| !built_in.iter().any(|line| is_line(entry, line)));
    }
    if !plan.image_mounts {
        image_mounts::leave_out_foreign(&mut lines, &[BEFORE_HOOKS, AFTER_HOOKS]);
    }
    lines.append(&mut site_lines);
    apply_pass(roots, &lines, BEFORE_HOOKS)?;
    devices::inject(roots, &devices)?;

    let launcher = Launcher::of_step(&host);
    let launched =
        |given: &[u8]| launcher.as_ref().map(|step| step.lines(given)).unwrap_or_default();
    let added = match &workshop {
        None => {
            let given = [variables, wanted].concat();
            let launched = launched(&given);
            Added { environ: [given, launched.clone()].concat(), launched, ..Added::default() }
        }
        Some(workshop) => {
            workshop.run_for_devices(roots, &devices.hooks)?;
            let hooks = &plan.site.hooks;
            workshop.run(roots, plan.conf.as_deref(), hooks, &variables, &wanted, &launched)?
        }
    };
    if let Some(line) = launcher.as_ref().and_then(Launcher::mount_line) {
        apply_pass(roots, &mounts::parse_lines(&line)?, AFTER_HOOKS)?;
    }

    let hook_mounts = mounts::parse_lines(OsStr::from_bytes(&added.hook_mounts))?;
    apply_pass(roots, &hook_mounts, AFTER_HOOKS)?;
    apply_pass(roots, &lines, AFTER_HOOKS)?;
    if plan.mount_home {
        mounts::apply(roots, &mounts::home_entry(&home, &inside_home)?)?;
    }
    let conf_mounts = mounts::parse_lines(OsStr::from_bytes(&added.mounts))?;
    apply_pass(roots, &conf_mounts, AFTER_HOOKS)?;
    apply_pass(roots, &plan.mounts, AFTER_HOOKS)?;

    roots.container(|| {
        let mut environ: Environ = environ::entries(&added.environ).collect();
        fixes::add_locale(&mut environ);
        account::add_login_defaults(&mut environ, identity, &account);
        account::create_home(&environ, plan.writable);
        let cwd = image.workdir.filter(|path| path.is_dir()).unwrap_or_else(|| "/".into());
        environ.insert("PWD".into(), cwd.clone().into());
        let launched = environ::entries(&added.launched).collect();
        Configured { environ, launched, cwd, script: added.rc }
    })
}

fn apply_pass(roots: &Roots, lines: &[Entry], pass: i32) -> Result<(), StartError> {
    lines
        .iter()
        .filter(|entry| entry.pass == pass)
        .try_for_each(|entry| mounts::apply(roots, entry))
}

/// Whether `entry` is what `line` says, whenever it is to be mounted.
fn is_line(entry: &Entry, line: &str) -> bool {
    let known = Entry::parse(OsStr::new(line)).ok().flatten();
    known.is_some_and(|known| Entry { pass: known.pass, ..entry.clone() } == known)
}

/// What an image says about how it wants to be started.
pub(super) struct ImageFiles {
    environment: Vec<u8>,
    fstab: Vec<u8>,
    workdir: Option<PathBuf>,
}

impl ImageFiles {
    pub(super) fn read(tree: Tree<'_>) -> ImageFiles {
        ImageFiles {
            environment: tree.read("/etc/environment").unwrap_or_default(),
            fstab: tree.read("/etc/fstab").unwrap_or_default(),
            workdir: tree.read("/etc/rc").ok().as_deref().and_then(workdir),
        }
    }
}

/// The directory that an image's command script starts in: enroot's importer writes it as
/// `cd "DIR" && unset OLDPWD || exit 1`.
fn workdir(script: &[u8]) -> Option<PathBuf> {
    script.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.trim_ascii().strip_prefix(b"cd \"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        (end > 0).then(|| PathBuf::from(OsString::from_vec(rest[..end].to_vec())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_working_directory_of_an_image() {
        let script = b"# enroot-provenance: docker://x\n\nmkdir -p \"/work dir\" 2> /dev/null\n\
            cd \"/work dir\" && unset OLDPWD || exit 1\n\nexec \"$@\"\n";
        assert_eq!(workdir(script), Some("/work dir".into()));
        assert_eq!(workdir(b"exec \"$@\"\n"), None);
    }
}

//! `pyxis start`.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use containers::cdi::{self, CdiError};
use containers::fstab::{Entry, FstabError};
use containers::launch::{Launch, run_entrypoint};
use containers::named::{ContainerError, Name, hand_over, hand_over_labelled};
use containers::start::{Namespaces, Plan, Root, Site, StartError, Wanted, start};
use handover::ending;
use images::store::mark_use;
use pyxis::directives;
use squashfs::image::Image;

use super::{CliError, as_enroot, check_variables, data_path, enabled, is_yes};

#[derive(Debug, Default, Args)]
pub(crate) struct StartArgs {
    /// Be root inside the container (grants no privileges outside)
    #[arg(short, long)]
    root: bool,
    /// Make the container's root filesystem writable
    #[arg(short = 'w', long)]
    rw: bool,
    /// Mount the home directory
    #[arg(long)]
    mount_home: bool,
    /// A mount: an fstab line, its fields separated by spaces or colons
    #[arg(short, long = "mount", value_name = "FSTAB")]
    mounts: Vec<OsString>,
    /// Set an environment variable, or keep the host's value of it
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// A device by the Container Device Interface
    #[arg(long = "device", value_name = "VENDOR/CLASS=NAME")]
    devices: Vec<String>,
    /// A PID namespace of its own
    #[arg(long)]
    pid: bool,
    /// A network namespace of its own, with a loopback device only
    #[arg(long)]
    net: bool,
    /// An IPC namespace of its own, and a /dev with the least devices
    #[arg(long)]
    ipc: bool,
    /// A host name of its own
    #[arg(long)]
    uts: bool,
    /// A bash script with functions environ, mounts, hooks and rc to be called
    #[arg(short, long, value_name = "CONFIG")]
    conf: Option<PathBuf>,
    /// A command script in place of the image's /etc/rc
    #[arg(long, value_name = "SCRIPT")]
    rc: Option<PathBuf>,
    /// Send the container's descriptors to this socket and exit, instead of running a command
    #[arg(long, value_name = "FD")]
    handover: Option<RawFd>,
    /// Kill the container when this socket's other end is closed without a word [default: that of
    /// --handover]
    #[arg(long, value_name = "FD", requires = "handover")]
    lease: Option<RawFd>,
    /// Send the descriptors of the container if it is running, instead of starting it again
    #[arg(long, requires = "handover")]
    join: bool,
    /// Do not start a container that does not run
    #[arg(long, requires = "join")]
    no_start: bool,
    /// What `list` and `--join` call the container while it runs, if it is started from a file
    #[arg(long, value_name = "NAME", requires = "handover")]
    label: Option<OsString>,
    /// Run the image's entrypoint before handing over
    #[arg(long, requires = "handover")]
    entrypoint: bool,
    /// Start the container of this name, made from the image if there is none
    #[arg(short, long)]
    name: Option<OsString>,
    /// Container, squashfs file (or a directory, with a "/"); program to run and its arguments
    /// [default: the user's shell]
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        num_args = 1..,
        value_names = ["NAME|IMAGE", "COMMAND"],
        required_unless_present = "name"
    )]
    words: Vec<OsString>,
}

impl StartArgs {
    fn plan(&self, root: Root) -> Result<Plan, CliError> {
        let mounts = self
            .mounts
            .iter()
            .filter_map(|line| Entry::parse(&spaced(line)).transpose())
            .collect::<Result<_, FstabError>>()?;
        Ok(Plan {
            devices: self.wanted_devices()?,
            remap_root: self.root || enabled("ENROOT_REMAP_ROOT"),
            writable: self.rw || enabled("ENROOT_ROOTFS_WRITABLE"),
            mount_home: self.mount_home || enabled("ENROOT_MOUNT_HOME"),
            privileged: nix::unistd::geteuid().is_root() && enabled("ENROOT_ALLOW_SUPERUSER"),
            mounts,
            env: self.env.clone(),
            unshare: Namespaces {
                pid: self.pid || enabled("ENROOT_UNSHARE_PID"),
                net: self.net || enabled("ENROOT_UNSHARE_NET"),
                ipc: self.ipc || enabled("ENROOT_UNSHARE_IPC"),
                uts: self.uts || enabled("ENROOT_UNSHARE_UTS"),
            },
            restrict_dev: enabled("ENROOT_RESTRICT_DEV"),
            image_mounts: enabled("PYXIS_IMAGE_MOUNTS"),
            site: Site::of_environment(),
            conf: self.conf.clone(),
            label: self.label.as_ref().and_then(|label| Name::new(label).ok()),
            root,
            in_use: mark_use,
        })
    }

    /// Those given with --device, and the site's.
    fn wanted_devices(&self) -> Result<Wanted, CdiError> {
        let mut names: Vec<cdi::Name> = Vec::new();
        let site = std::env::var("PYXIS_CDI_DEVICES").unwrap_or_default();
        let site = site.split(',').filter(|name| !name.is_empty());
        for name in site.chain(self.devices.iter().map(String::as_str)) {
            names.push(name.parse()?);
        }
        let directories = std::env::var_os("PYXIS_CDI_PATH").filter(|path| !path.is_empty());
        Ok(Wanted {
            names,
            nvidia: std::env::var("PYXIS_CDI_NVIDIA").map_or(true, |value| is_yes(&value)),
            directories: match directories {
                Some(list) => std::env::split_paths(&list).collect(),
                None => cdi::DIRECTORIES.map(PathBuf::from).to_vec(),
            },
        })
    }

    /// The command script given with --rc.
    fn script(&self) -> Result<Option<Vec<u8>>, CliError> {
        let Some(path) = &self.rc else { return Ok(None) };
        let text = std::fs::read(path);
        text.map(Some).map_err(|source| CliError::Script { path: path.clone(), source })
    }

    /// What the words name: a container, unless it is a squashfs file or has a "/".
    fn root(&self) -> Result<Root, CliError> {
        let first = self.words.first();
        if let Some(name) = &self.name {
            let name = Name::new(name)?;
            let data = data_path()?;
            return Ok(Root::Container(match first {
                Some(image) => data.create_if_absent(&name, Path::new(image), mark_use)?,
                None => data.container(&name)?,
            }));
        }
        let first = first.expect("required by clap without --name");
        // The words after the options may start with a dash; the first of them does not.
        if first.as_bytes().starts_with(b"-") {
            return Err(CliError::Option(first.to_string_lossy().into_owned()));
        }
        let path = Path::new(first);
        if first.as_bytes().contains(&b'/') || is_squashfs(path) {
            return Ok(Root::Path(path.to_owned()));
        }
        Ok(Root::Container(data_path()?.container(&Name::new(first)?)?))
    }

    /// Starts the container and runs the command in it, or hands it over.
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let asked = self.handover.is_some();
        self.start_or_join().map_err(|error| match error {
            CliError::Container(absent @ ContainerError::Absent { .. })
            | CliError::Start(StartError::Container(absent @ ContainerError::Absent { .. }))
                if asked =>
            {
                CliError::Absent(absent)
            }
            error => error,
        })
    }

    fn start_or_join(self) -> Result<ExitCode, CliError> {
        // Close-on-exec: no helper may hold it.
        let socket = self.handover.map(super::descriptor::given).transpose()?;
        let lease = self.lease.map(super::descriptor::given).transpose()?.or(socket);
        check_variables(&self.env)?;
        if let Some(conf) = &self.conf {
            directives::apply(conf)?;
        }
        let root = match (self.root(), socket) {
            (Err(CliError::Container(absent @ ContainerError::Absent { .. })), Some(socket))
                if self.join =>
            {
                // It may have been started from a file.
                let joined = hand_over_labelled(&Name::new(&self.words[0])?, socket)?;
                return if joined { Ok(ending::JOINED.into()) } else { Err(absent.into()) };
            }
            (root, _) => root?,
        };
        if let (Some(socket), Root::Container(container), true) = (socket, &root, self.join) {
            if hand_over(container, socket)? {
                return Ok(ending::JOINED.into());
            }
            if self.no_start {
                return Err(CliError::NotRunning(container.name.clone()));
            }
        }
        let plan = self.plan(root)?;
        if plan.unshare.pid && socket.is_some() {
            return Err(CliError::PidHandover);
        }
        let script = self.script()?;
        let mut container = start(plan, lease.map(|lease| lease.as_raw_fd()))?;
        // enroot runs a login shell unless told otherwise; it costs the start of a shell.
        let login = match std::env::var_os("ENROOT_LOGIN_SHELL") {
            Some(_) => enabled("ENROOT_LOGIN_SHELL"),
            None => as_enroot(),
        };
        if self.entrypoint {
            run_entrypoint(&mut container, login)?;
        }
        if let Some(socket) = socket {
            container.hand_over(socket)?;
            return Ok(ExitCode::SUCCESS);
        }
        let launch = Launch {
            command: self.words.get(1..).unwrap_or_default().to_vec(),
            script: script.or(container.script.take()),
            login,
        };
        match launch.exec(&mut container) {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        }
    }
}

/// `pyxis batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// A bash script as for start --conf; program to run and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        num_args = 1..,
        required = true,
        value_names = ["CONFIG", "COMMAND"]
    )]
    words: Vec<OsString>,
}

impl BatchArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let mut words = self.words;
        let conf = PathBuf::from(&words[0]);
        directives::apply(&conf)?;
        words[0] = match std::env::var_os("ENROOT_ROOTFS").filter(|root| !root.is_empty()) {
            Some(root) => root,
            None => return Err(CliError::NoRootfs(conf)),
        };
        StartArgs { conf: Some(conf), words, ..StartArgs::default() }.run()
    }
}

/// Whether a word without "/" is an image in the working directory.
fn is_squashfs(path: &Path) -> bool {
    path.is_file() && Image::open(path, |_, _| ()).is_ok()
}

/// enroot's `-m SRC:DST:TYPE:OPTIONS`, unless the line has spaces already.
fn spaced(line: &OsStr) -> OsString {
    let bytes = line.as_bytes();
    if bytes.contains(&b' ') {
        return line.to_owned();
    }
    OsString::from_vec(bytes.iter().map(|&byte| if byte == b':' { b' ' } else { byte }).collect())
}

//! `pyxis start`.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::Args;
use containers::fstab::{Entry, FstabError};
use containers::kernel_mount::Lender;
use containers::launch::{Launch, run_entrypoint};
use containers::record::{ContainerError, Name};
use containers::start::{Namespaces, Plan, Root, StartError, start};
use containers::verbs::{hand_over, hand_over_labelled};
use handover::ending;
use handover::request::{self, Joining, Target};
use linux::environ;
use linux::file_error::FileError;
use linux::phases;
use pyxis::settings::{Settings, variables};
use pyxis::{directives, site, slurm_commands};
use squashfs::image::Image;

use super::{CliError, Exit, as_enroot, check_variables, data_path, devices, host};

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
    /// What the plugin asks for and no argument can say: the container is handed over, and no command is run.
    #[arg(skip)]
    asked: Option<Asked>,
}

/// What comes with the plugin's request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sockets {
    /// Where the container's descriptors are sent.
    pub(super) handover: BorrowedFd<'static>,
    /// The container is killed when its other end is closed without a word.
    pub(super) step: BorrowedFd<'static>,
    /// Where root's process waits that may have the kernel mount the image.
    pub(super) lender: Option<BorrowedFd<'static>>,
}

/// What a request asks for and the command line has no argument for.
#[derive(Clone, Debug)]
struct Asked {
    sockets: Sockets,
    mounts: Vec<Entry>,
    /// Whether the first word is a file's, or else a container's.
    is_file: bool,
    /// What others call the container while it runs, if it is started from a file.
    label: Option<OsString>,
    joining: Joining,
    /// Whether the image's entrypoint is run before the container is handed over.
    entrypoint: bool,
}

impl StartArgs {
    /// The settings with what the options say, under the names that hooks and scripts of enroot's look at.
    fn told(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        let options = [
            (self.root, variables::REMAP_ROOT),
            (self.rw, variables::ROOTFS_WRITABLE),
            (self.mount_home, variables::MOUNT_HOME),
            (self.pid, variables::UNSHARE_PID),
            (self.net, variables::UNSHARE_NET),
            (self.ipc, variables::UNSHARE_IPC),
            (self.uts, variables::UNSHARE_UTS),
        ];
        let given = options.into_iter().filter(|(given, _)| *given);
        settings.host.extend(given.map(|(_, name)| (name.into(), "y".into())));
        settings
    }

    fn plan(&self, root: Root, settings: &Settings) -> Result<Plan, CliError> {
        let asked = self.asked.as_ref();
        let defaults = &settings.container;
        let lines = self.mounts.iter();
        let mut mounts = lines
            .filter_map(|line| Entry::parse(&spaced(line)).transpose())
            .collect::<Result<Vec<_>, FstabError>>()?;
        mounts.extend(asked.iter().flat_map(|asked| asked.mounts.iter().cloned()));
        let mut site = site::find(settings)?;
        let has_hooks = self.conf.is_some() || !site.hooks.is_empty();
        site::look_at_runtime(&mut site, has_hooks);
        let devices = devices::wanted(&self.devices, settings, &site)?;
        let slurm = defaults.slurm_commands.then(|| slurm_commands::find(&settings.host));
        let slurm = slurm.transpose()?;
        Ok(Plan {
            devices,
            remap_root: self.root || defaults.remap_root,
            writable: self.rw || defaults.writable,
            mount_home: self.mount_home || defaults.mount_home,
            at_home: defaults.login_shell.unwrap_or(true),
            privileged: nix::unistd::geteuid().is_root() && defaults.allow_superuser,
            mounts,
            env: self.env.iter().map(|word| as_given(word)).collect(),
            unshare: Namespaces {
                pid: self.pid || defaults.unshare.pid,
                net: self.net || defaults.unshare.net,
                ipc: self.ipc || defaults.unshare.ipc,
                uts: self.uts || defaults.unshare.uts,
            },
            restrict_dev: defaults.restrict_dev,
            image_mounts: defaults.image_mounts,
            site,
            slurm,
            host: host(settings),
            conf: self.conf.clone(),
            words: self.command().to_vec(),
            lender: asked.and_then(|asked| asked.sockets.lender).map(Lender::new),
            label: asked.and_then(|asked| Name::new(asked.label.as_ref()?).ok()),
            root,
        })
    }

    /// Mounts as enroot takes them: no spaces.
    fn check_mounts(&self) -> Result<(), CliError> {
        let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
        let wrong = |line: &&OsString| line.is_empty() || line.as_bytes().iter().any(space);
        match self.mounts.iter().find(wrong) {
            Some(line) => Err(CliError::Word(line.to_string_lossy().into_owned())),
            None => Ok(()),
        }
    }

    /// The command script given with --rc.
    fn script(&self) -> Result<Option<Vec<u8>>, CliError> {
        let Some(path) = &self.rc else { return Ok(None) };
        let text = std::fs::read(path);
        text.map(Some).map_err(|source| CliError::Script(FileError::new("read", path, source)))
    }

    /// The program to run and its arguments.
    fn command(&self) -> &[OsString] {
        self.words.get(1..).unwrap_or_default()
    }

    /// What the words name: a container, unless it is a squashfs file or has a "/".
    fn root(&self, settings: &Settings) -> Result<Root, CliError> {
        let first = self.words.first();
        if let Some(name) = &self.name {
            let name = Name::new(name)?;
            let data = data_path(settings)?;
            return Ok(Root::Container(match first {
                Some(image) => data.create_if_absent(&name, Path::new(image), &host(settings))?,
                None => data.container(&name)?,
            }));
        }
        let first = first.expect("required by clap without --name");
        // The words after the options may start with a dash; the first of them does not, unless it has been
        // told from options.
        if first.as_bytes().starts_with(b"-") && !as_enroot() {
            return Err(CliError::Option(first.to_string_lossy().into_owned()));
        }
        let path = Path::new(first);
        let is_file = match &self.asked {
            Some(asked) => asked.is_file,
            None => first.as_bytes().contains(&b'/') || is_squashfs(path),
        };
        if is_file {
            // enroot starts no directory.
            if as_enroot() && self.asked.is_none() && !path.is_file() {
                return Err(CliError::Word(first.to_string_lossy().into_owned()));
            }
            return Ok(Root::Path(path.to_owned()));
        }
        Ok(Root::Container(data_path(settings)?.container(&Name::new(first)?)?))
    }

    /// As the plugin asks.
    pub(super) fn asked(
        start: request::Start<'_>,
        sockets: Sockets,
    ) -> Result<StartArgs, CliError> {
        let (word, label, is_file) = match start.target {
            Target::File { path, label } => (path, Some(label.to_owned()), true),
            Target::Name(name) => (name, None, false),
        };
        let mounts = start.mounts.iter();
        let mounts = mounts
            .map(|mount| Entry::of_parts(mount.source, mount.target, mount.options))
            .collect::<Result<_, FstabError>>()?;
        let (joining, entrypoint) = (start.joining, start.entrypoint);
        Ok(StartArgs {
            env: start.env.into_iter().map(OsStr::to_owned).collect(),
            words: vec![word.to_owned()],
            asked: Some(Asked { sockets, mounts, is_file, label, joining, entrypoint }),
            ..StartArgs::default()
        })
    }

    /// What the script given with --conf says in its `#ENROOT_` lines.
    pub(crate) fn script_settings(&self) -> Result<Vec<(OsString, OsString)>, CliError> {
        Ok(self.conf.as_deref().map(directives::read).transpose()?.unwrap_or_default())
    }

    /// Whether it is the plugin that wants it.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Starts the container and runs the command in it, or hands it over.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let asked = self.asked.is_some();
        self.start_or_join(settings).map_err(|error| match error {
            CliError::Container(absent @ ContainerError::Absent { .. })
            | CliError::Start(StartError::Container(absent @ ContainerError::Absent { .. }))
                if asked =>
            {
                CliError::Absent(absent)
            }
            error => error,
        })
    }

    fn start_or_join(self, settings: &Settings) -> Result<Exit, CliError> {
        check_variables(&self.env)?;
        let joining = self.asked.as_ref().filter(|asked| asked.joining != Joining::Never);
        let root = match (self.root(settings), joining) {
            (Err(CliError::Container(absent @ ContainerError::Absent { .. })), Some(asked)) => {
                // It may have been started from a file.
                let (name, socket) = (Name::new(&self.words[0])?, asked.sockets.handover);
                let joined = hand_over_labelled(&name, &host(settings), socket)?;
                return if joined { Ok(Exit(ending::JOINED)) } else { Err(absent.into()) };
            }
            (root, _) => root?,
        };
        if let (Some(asked), Root::Container(container)) = (joining, &root) {
            if hand_over(container, &host(settings), asked.sockets.handover)? {
                return Ok(Exit(ending::JOINED));
            }
            if asked.joining == Joining::OnlyRunning {
                return Err(CliError::NotRunning(container.name.clone()));
            }
        }
        if as_enroot() {
            self.check_mounts()?;
        }
        let plan = self.plan(root, &self.told(settings))?;
        if plan.unshare.pid && self.asked.is_some() {
            return Err(CliError::PidHandover);
        }
        let script = self.script()?;
        let step = self.asked.as_ref().map(|asked| asked.sockets.step.as_raw_fd());
        let mut container = start(plan, step)?;
        // enroot runs a login shell unless told otherwise; it costs the start of a shell.
        let login = settings.container.login_shell.unwrap_or_else(as_enroot);
        if let Some(asked) = &self.asked {
            if asked.entrypoint {
                phases::begin("entrypoint");
                run_entrypoint(&mut container, login)?;
            }
            phases::begin("hand-over");
            container.hand_over(asked.sockets.handover)?;
            return Ok(Exit::SUCCESS);
        }
        let launch = Launch {
            command: self.command().to_vec(),
            script: script.or(container.script.take()),
            login,
        };
        // It never comes back.
        super::timing::tell("start");
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
    /// What the script says in its `#ENROOT_` lines.
    pub(crate) fn script_settings(&self) -> Result<Vec<(OsString, OsString)>, CliError> {
        Ok(directives::read(Path::new(&self.words[0]))?)
    }

    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let mut words = self.words;
        let conf = PathBuf::from(&words[0]);
        let root = settings.host.get(OsStr::new(variables::ROOTFS)).filter(|root| !root.is_empty());
        words[0] = root.ok_or_else(|| CliError::NoRootfs(conf.clone()))?.clone();
        StartArgs { conf: Some(conf), words, ..StartArgs::default() }.run(settings)
    }
}

/// A variable of the command line: enroot takes a pair of quotes off, which its user's shell has left there.
fn as_given(word: &OsStr) -> OsString {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=').filter(|_| as_enroot()) {
        Some(at) => {
            let value = environ::unquote(&bytes[at + 1..]);
            OsString::from_vec([&bytes[..=at], value].concat())
        }
        None => word.to_owned(),
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

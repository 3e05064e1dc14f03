//! The image store's verbs: `pyxis pull`, `gc`, `du`.

use std::os::fd::{BorrowedFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;

use clap::{Args, ValueEnum};
use containers::record::remove_unpacked;
use hygiene::console;
use images::import::{ImportError, Importer, PullPolicy};
use images::progress::{Progress, bytes};
use images::store::{Policy, Store, StoreError};
use images::uri::Uri;

use pyxis::progress;
use pyxis::settings::Settings;

use super::nodes::{self, NodesError};
use super::{CliError, Exit, account, importer};

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Architecture of the image [default: the host's]
    #[arg(short, long)]
    pub(super) arch: Option<String>,
    /// When to ask the registry which image a tag names [default: the site's, or always]
    #[arg(long, value_enum)]
    pub(super) policy: Option<PullWhen>,
    /// The digest that the tag has been found to name: it is not looked up again
    #[arg(long, value_name = "DIGEST")]
    pub(super) resolved: Option<String>,
    /// Have the image on these nodes, a list in Slurm's form or "all" in an allocation: they are asked who
    /// lacks it, one of those fetches its layers and sends them to the others by sbcast
    #[arg(long, value_name = "NODES")]
    pub(super) nodes: Option<String>,
    /// Fetch it to the shared store, as the account that owns it; for root
    #[arg(long)]
    pub(super) shared: bool,
    /// A socket to who fills the shared store, which the plugin passes on.
    #[arg(skip)]
    pub(super) broker: Option<BorrowedFd<'static>>,
    /// An image, as for import
    pub(super) uri: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PullWhen {
    Always,
    Missing,
    Never,
}

/// The policy of the command line, or else the site's.
fn policy(given: Option<PullWhen>, settings: &Settings) -> PullPolicy {
    match given {
        Some(PullWhen::Always) => PullPolicy::Always,
        Some(PullWhen::Missing) => PullPolicy::Missing,
        Some(PullWhen::Never) => PullPolicy::Never,
        None => settings.pull_policy,
    }
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Bytes to keep at most
    #[arg(long, value_name = "BYTES")]
    max_size: Option<u64>,
    /// Remove everything that is not in use
    #[arg(long)]
    all: bool,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl PullArgs {
    /// Fetches an image into the store and prints where it is.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let policy = policy(self.policy, settings);
        let mut uri: Uri = self.uri.parse().map_err(ImportError::from)?;
        if let Some(list) = &self.nodes {
            return self.on_nodes(settings, &uri, policy, list);
        }
        if let Some(digest) = &self.resolved {
            uri.resolve_to(digest).map_err(ImportError::from)?;
        }
        let progress = match settings.terminal {
            Some(width) => progress::for_terminal(width),
            None => progress::for_stderr(),
        };
        let image = self.importer(settings, progress)?.pull(&uri, policy)?.path;
        console::print_bytes([image.as_os_str().as_bytes()]).map_err(CliError::Output)?;
        Ok(Exit::SUCCESS)
    }
}

impl PullArgs {
    /// Who makes the image, with the shared store's account where that is to have it.
    fn importer(&self, settings: &Settings, progress: Progress) -> Result<Importer, CliError> {
        let arch = self.arch.as_deref();
        if !self.shared {
            let mut importer = importer(settings, arch, progress)?;
            if let Some(socket) = self.broker {
                importer.set_broker(socket);
            }
            return Ok(importer);
        }
        let shared = account::store(settings);
        let socket = account::start(&shared, settings)?;
        let mut settings = settings.clone();
        let lower = settings.store.iter_mut().map(|store| &mut store.lower);
        lower.filter(|lower| !lower.contains(&shared)).for_each(|lower| lower.push(shared.clone()));
        let mut importer = importer(&settings, arch, progress)?;
        importer.set_broker(super::descriptor::given(socket.into_raw_fd())?);
        importer.want_shared();
        Ok(importer)
    }

    /// Has it on other nodes, by the digest that it has now.
    fn on_nodes(
        &self,
        settings: &Settings,
        uri: &Uri,
        policy: PullPolicy,
        list: &str,
    ) -> Result<Exit, CliError> {
        if !nodes::is_spread(uri, &self.uri) {
            return Err(NodesError::NotSpread.into());
        }
        let importer = importer(settings, self.arch.as_deref(), progress::for_stderr())?;
        let digest = match &self.resolved {
            Some(digest) => digest.clone(),
            None => importer.tag_digest(uri, policy)?.to_string(),
        };
        let (uri, digest, arch) = (&*self.uri, &*digest, self.arch.as_deref());
        let (shared, hurry) = (self.shared, false);
        nodes::pull(&nodes::Wanted { settings, uri, digest, arch, shared, hurry }, list)
    }
}

/// Does a part of it, as a task of a step.
pub(crate) fn node_task(settings: &Settings) -> Result<Exit, CliError> {
    let order = nodes::Order::of_stdin().map_err(NodesError::Task)?;
    let mut uri: Uri = order.uri.parse().map_err(ImportError::from)?;
    uri.resolve_to(&order.digest).map_err(ImportError::from)?;
    let mut settings = settings.clone();
    if order.hurry {
        settings.registries.hurry();
    }
    let (arch, resolved, shared, uri_text) = (order.arch, None, order.shared, order.uri);
    let (policy, nodes, broker) = (None, None, None);
    let pull = PullArgs { arch, policy, resolved, nodes, shared, broker, uri: uri_text };
    nodes::run_task(order.part, &settings, &uri, |progress| pull.importer(&settings, progress))
}

pub(super) fn open(settings: &Settings) -> Result<Store, StoreError> {
    let store = super::store(settings)?;
    if let Some(notice) = store.notice() {
        progress::for_stderr().warn(notice);
    }
    Ok(store)
}

impl GcArgs {
    /// Removes what is not wanted any more.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let store = open(settings)?;
        let policy =
            Policy { max_bytes: self.max_size, all: self.all, dry_run: self.dry_run, grace: None };
        let unpacked = settings.paths.unpacked.as_deref().filter(|_| !self.dry_run);
        let unpacked = unpacked.map(remove_unpacked).unwrap_or_default();
        let collected = store.collect(policy)?;
        let removed = unpacked.iter().chain(&collected.removed);
        let removed = removed.map(|path| path.as_os_str().as_bytes());
        console::print_bytes(removed).map_err(CliError::Output)?;
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        let (gone, left) = (bytes(collected.bytes), bytes(collected.left));
        console::tell(format_args!("{gone} {verb}, {left} left"));
        Ok(Exit::SUCCESS)
    }
}

/// Says how large the store is.
pub(crate) fn usage(settings: &Settings) -> Result<Exit, CliError> {
    let store = open(settings)?;
    let usage = store.usage();
    let parts = [("images", usage.images), ("layers", usage.blobs), ("leftovers", usage.leftovers)];
    let lines = parts.map(|(what, (count, size))| {
        let size = bytes(size);
        format!("{what:<10}  {count:>6}  {size:>12}")
    });
    console::print_lines(lines)
        .and_then(|()| console::print_bytes([store.root().as_os_str().as_bytes()]))
        .map_err(CliError::Output)?;
    Ok(Exit::SUCCESS)
}

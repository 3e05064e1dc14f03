//! Starting a container: namespaces, a root filesystem, mounts, an environment.
//!
//! [`start`] turns the calling process, which must have one thread, into one inside the
//! container: it may exec the user's program itself or hand the container's descriptors over to
//! others ([`Container::hand_over`]).
//!
//! No other program is executed for this, as a rule: the process unshares its namespaces, mounts a tmpfs and makes it its
//! root, puts the container's tree together on that, and at last makes this tree its root. An image is a
//! squashfs file, which the kernel reads by FUSE from a process of ours (its server), below an overlay.
//!
//! [`start`] is to be read from top to bottom: its phases stand in the order in which they happen.
//!
//! | in | is |
//! |---|---|
//! | [`plan`], [`container`] | what is asked for, and what comes of it |
//! | [`roots`] | the three trees that a starting process moves between |
//! | [`rootfs`] | the root file system: image, server, overlay |
//! | [`process`] | ids, the helpers beside the container, what root is guarded from |
//! | [`mounts`] | mount lines, and everybody who has some |
//! | [`environment`] | variables, accounts, hooks |
//! | [`configure`] | the order in which mounts, files, variables and hooks come |
//!
//! Its words, beside those of docs/glossary.md:
//!
//! | word | is |
//! |---|---|
//! | source | what the root file system is made from; it is opened, prepared (who will read the image is decided), served, assembled |
//! | helpers | the processes that stay beside the container, in the namespaces that it leaves: servers of images, and the keeper, which kills the container when slurmstepd is gone |
//! | lender | a process of root's beside a step, which has the kernel itself mount an image of the shared store |
//! | data image | a squashfs file that is mounted at a directory of the container, beside the image that is its root |
//! | entry | a line of mounts as fstab(5) has them, read |
//! | mark | the source of the container's root mount, as `/proc/PID/mountinfo` shows it: by this others find the container while it runs |
//! | claim | the right to start a named container; others who want it wait until it runs |
//! | probe | what the image has in the places where every container gets something, looked at before there is a mount |
//! | prefilled | the layer above the image, with that in it before the overlay is mounted |
//! | SIF | an image file of Apptainer's, a squashfs file with a head; its variables stand in other places |
//! | guarded | a container of root's that is not privileged: it may not write to the node's switches in `/proc` and `/sys` |
//! | stage | a tmpfs of this process's own, the root between the host's tree and the container's |
//! | detached | mounts that are made and are in no tree yet |
//! | facts | what the container takes from the host: the user's account, time zone, files of `/etc`, cgroups |

mod configure;
mod container;
pub(crate) mod environment;
mod error;
pub(crate) mod files;
mod mounts;
mod plan;
mod process;
mod rootfs;
mod roots;
mod slurm_commands;

use std::os::fd::RawFd;
use std::path::Path;

use nix::unistd::geteuid;

pub use container::Container;
pub use environment::site::{Site, SiteFile, Standard};
pub use error::StartError;
pub use mounts::enroot_mount::enroot_mount;
pub use plan::{Namespaces, Plan, Root};
pub(crate) use process::child::exit_now;
pub(crate) use process::session::OwnSession;
pub(crate) use process::supervise::supervise;
pub(crate) use rootfs::layers::can_layer;
pub(crate) use rootfs::merged::merged;
pub use slurm_commands::SlurmCommands;

use configure::{Configuration, Configured};
use environment::host_facts::HostFacts;
use handover::namespaces::Namespace;
use linux::{phases, sys};
use mounts::data_images::DataImages;
use mounts::detached::DetachedMounts;
use mounts::{change, system};
use process::guard;
use process::identity::Identity;
use rootfs::assemble::Assembly;
use rootfs::source::{Helpers, Opened, RootfsSource, helper_log};
use rootfs::tree::Tree;
use rootfs::upper::{Filling, ImageProbe};
use roots::{Roots, Stage};

/// Starts a container, leaving the calling process inside it.
///
/// With a `step_socket`, whose other end slurmstepd holds, the container is killed when that end is
/// closed without a message before.
///
/// # Errors
/// [`StartError`]; the process is then in no usable state and should exit. Nothing is left
/// behind: all mounts are in a namespace that goes with the process.
pub fn start(plan: Plan, step_socket: Option<RawFd>) -> Result<Container, StartError> {
    // What a phase is called is for `pyxis start` with PYXIS_TIMING, which says how long each took.
    phases::begin("open");
    // What is made for the container has the modes that it is to have, whatever the user's mask is.
    let umask = sys::Umask::ours();
    let identity = Identity::of_caller(plan.remap_root);
    let mark = plan.root.mark(plan.label.as_ref());

    // Open what the root file system is made from, and prepare who is to read it.
    let Opened { source, claim } = RootfsSource::open(&plan.root, plan.host.in_use)?;
    let image_path = source.image_path().map(Path::to_owned);
    let is_sif = source.is_sif(&plan.root);
    // An error while files of the image are read may be the image's, which is then named.
    let blame_image = |error: StartError| error.of_image(image_path.as_deref());
    let log = helper_log()?;
    let mut source = source.prepare(&identity, (&mark, plan.writable), &plan.host, &log)?;
    let data_images = DataImages::open(&plan, &identity, &log)?;
    // Look into the image, by reading the file. The server is forked from this process afterwards, and so
    // has unpacked already what the kernel will ask it for first.
    let image = source.readable_image();
    let probe = image.map(|image| ImageProbe::of(Tree::Image(image), &plan.host, is_sif));
    let filled = source.image_below().map(|image| system::filled(Tree::Image(image)));

    // The lender was asked for the kernel's own mount of the image before this process was executed, and has
    // answered while it prepared: with that mount there is no server to be forked.
    source.take_kernel_mount(plan.lender);

    phases::begin("namespaces");
    // Fork the helpers: they stay in the namespaces that this process leaves next.
    let mut helpers = source.fork_helpers(&data_images, step_socket, &log)?;

    // Enter the namespaces, the user namespace first: the others then belong to it.
    let guarded = enter_namespaces(&plan, &identity, &mut helpers)?;
    // And a mount namespace, with the stage on /tmp, which is to become the root.
    let stage = Stage::enter()?;

    phases::begin("mount");
    // Serve the image: it is mounted on the stage by FUSE, and the server, which has waited for that, needs
    // a while for the first answer. What does not need the image is done meanwhile: looking at the host, the
    // pivot (IPC, UTS and network namespaces, then pivot_root(2) to the stage), mounts in no tree yet.
    let source = source.serve()?;
    let facts = HostFacts::look(&identity, &plan);
    let mut roots = stage.pivot(&plan.unshare)?;
    let without_image = system::entries_without_image(&plan, guarded);
    let without_image = without_image.chain(facts.cgroups.iter().cloned());
    let detached = DetachedMounts::make(&mut roots, without_image)?;

    // Assemble the root file system, the overlay above the image, in the container's tree: what every
    // container gets is put into the upper layer before. Then configure it: mounts, files, variables, hooks.
    let filling = Filling { is_sif, probe, identity: &identity, plan: &plan, facts: &facts };
    let assembly =
        Assembly { host: &plan.host, mark: &mark, writable: plan.writable, filling: Some(filling) };
    let prefilled = assembly.assemble(&mut roots, source).map_err(blame_image)?;
    phases::begin("configure");
    let configuration = Configuration {
        plan: &plan,
        identity: &identity,
        facts,
        is_sif,
        guarded,
        detached,
        data_images,
        filled,
    };
    let configured = configuration.configure(&mut roots, prefilled).map_err(blame_image)?;

    // Finish: the container's tree is the root, nothing of the host's tree is left, and no child that would have to be waited for.
    let cgroup = leave_host(&plan, roots)?;
    helpers.reap_intermediate();
    let Configured { environ, of_step, home, cwd, script } = configured;
    Ok(Container {
        umask,
        namespaces: Vec::new(),
        own: plan.unshare,
        privileged: plan.privileged,
        cgroup,
        helpers: helpers.ended,
        claim,
        of_step,
        environ,
        home,
        cwd,
        script,
    })
}

/// Enters the container's user and PID namespaces. Returns whether the container is guarded: root's is,
/// unless it is privileged, which means that it has no user namespace.
fn enter_namespaces(
    plan: &Plan,
    identity: &Identity,
    helpers: &mut Helpers,
) -> Result<bool, StartError> {
    let guarded = geteuid().is_root() && !plan.privileged;
    // Before the user namespace, in which nobody could undo it: so the PID namespace, whose /proc is to be
    // guarded, comes first as well. Nobody but root may make that one without a user namespace.
    if guarded {
        if plan.unshare.pid {
            enter_pid_namespace()?;
        }
        guard::hide_switches(plan.unshare.pid)?;
    }
    if !plan.privileged {
        identity.enter_user_namespace()?;
        helpers.send_user_namespace_to_keeper().map_err(StartError::Process)?;
    }
    if plan.unshare.pid && !guarded {
        enter_pid_namespace()?;
    }
    Ok(guarded)
}

/// Makes the container's tree the root for good, read-only unless it is to be written to. Returns
/// whether there is a cgroup namespace.
fn leave_host(plan: &Plan, mut roots: Roots) -> Result<bool, StartError> {
    if !plan.writable {
        change::make_root_readonly(&mut roots)?;
    }
    // Made late, so that the view starts at the step's own cgroup; and before the host is left:
    // whoever then takes this process for the container must not join the node's namespace.
    let cgroup = Namespace::Cgroup.unshare().is_ok();
    roots.leave_host()?;
    Ok(cgroup)
}

/// Goes on as the first process of a new PID namespace: a child of this process, which waits for it and
/// ends as it does.
fn enter_pid_namespace() -> Result<(), StartError> {
    let failed = |source| StartError::namespace(Namespace::Pid, source);
    Namespace::Pid.unshare().map_err(|errno| failed(errno.into()))?;
    supervise(None).map_err(failed)
}

//! A started container, and what it leaves to those who join it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::record::Claim;
use crate::start::error::StartError;
use crate::start::files;
use crate::start::plan::Namespaces;
use handover::namespaces::Namespace;
use handover::{Handover, Part, environ_file};
use linux::environ::{self, Environ};
use linux::sys;

/// A started container; the calling process is in it.
#[derive(Debug)]
pub struct Container {
    pub(super) umask: sys::Umask,
    pub(super) namespaces: Vec<(Part, OwnedFd)>,
    pub(super) own: Namespaces,
    pub(super) privileged: bool,
    pub(super) cgroup: bool,
    pub(super) helpers: Option<OwnedFd>,
    /// Others who want this container wait until it is complete.
    pub(super) claim: Option<Claim>,
    /// Variables that only concern this step.
    pub(super) of_step: Environ,
    /// Its environment.
    pub environ: Environ,
    /// Where shells start, that of a command script too.
    pub(crate) home: PathBuf,
    /// The directory programs start in.
    pub cwd: PathBuf,
    /// A command script that the configuration script put in place of the image's.
    pub script: Option<Vec<u8>>,
}

impl Container {
    /// Opens the namespaces that are to be handed over, while `/proc` is what it says.
    pub(crate) fn keep_namespaces(&mut self) -> std::io::Result<()> {
        if !self.namespaces.is_empty() {
            return Ok(());
        }
        for namespace in Namespace::ALL {
            let wanted = match namespace {
                Namespace::User => !self.privileged,
                Namespace::Cgroup => self.cgroup,
                Namespace::Mount => true,
                Namespace::Ipc => self.own.ipc,
                Namespace::Uts => self.own.uts,
                Namespace::Net => self.own.net,
                Namespace::Pid => false,
            };
            if let (Some(part), true) = (namespace.part(), wanted) {
                self.namespaces.push((part, namespace.own()?));
            }
        }
        Ok(())
    }

    /// The user's mask for new files again, for a program that is about to be executed.
    pub(crate) fn restore_umask(&self) {
        self.umask.restore();
    }

    /// Whether it has no user namespace of its own.
    pub fn privileged(&self) -> bool {
        self.privileged
    }

    /// The container is as it will be: those who join it get this environment.
    pub(crate) fn complete(&mut self) {
        if let Some(mut claim) = self.claim.take() {
            let mut environ = self.environ.clone();
            environ.retain(|name, value| self.of_step.get(name) != Some(value));
            // The container works without.
            let _ = claim.save_environ(&environ::to_block(&environ));
        }
    }

    /// Sends the container's descriptors to `socket` ([`handover`]).
    ///
    /// # Errors
    /// [`StartError::Handover`].
    pub fn hand_over(mut self, socket: BorrowedFd<'_>) -> Result<(), StartError> {
        let failed = StartError::Handover;
        self.complete();
        self.keep_namespaces().map_err(failed)?;
        let mut parts = std::mem::take(&mut self.namespaces);
        let cwd = files::open_directory(&self.cwd).map_err(failed)?;
        parts.push((Part::Cwd, cwd));
        let block = environ::to_block(&self.environ);
        parts.push((Part::Environ, environ_file(&block).map_err(failed)?));
        if let Some(helpers) = self.helpers {
            parts.push((Part::Helpers, helpers));
        }
        Handover::new(parts).send(socket.as_fd()).map_err(failed)
    }
}

//! Removing containers: renamed out of sight first, then deleted.

use std::time::{Duration, Instant};

use crate::record::trash::{discard, hidden_away, sweep};
use crate::record::{Container, ContainerError, DataPath};
use linux::sys::Umask;

/// How long a removal waits for the image server of a container that has just ended.
const PATIENCE: Duration = Duration::from_millis(500);

impl DataPath {
    /// Removes a container. Returns whether its files are gone already; those of a running one
    /// follow when it has ended.
    ///
    /// # Errors
    /// [`ContainerError`].
    pub fn remove(&self, container: &Container) -> Result<bool, ContainerError> {
        let path = &container.path;
        let _umask = Umask::ours();
        // A damaged container has no lock to take, and must be removable.
        let lock = container.layered.is_some().then(|| container.lock());
        match lock.transpose() {
            Err(ContainerError::Absent { path }) => return Err(ContainerError::Absent { path }),
            lock => {
                let data = path.parent().unwrap_or(self.path());
                let trash = hidden_away(data, path)?;
                drop(lock);
                let started = Instant::now();
                let mut pause = Duration::from_millis(1);
                while !discard(&trash) {
                    if started.elapsed() > PATIENCE {
                        return Ok(false);
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
            }
        }
        sweep(self.path());
        self.tidy();
        Ok(true)
    }
}

//! Locks across processes and nodes, by files, because not every shared file system locks.
//!
//! The holder renews the file's time stamp. Who waits compares what it sees with what it saw, by
//! its own clock: clocks of nodes differ. A holder that has died on this node is noticed at
//! once, another one after [`STALE`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use linux::file_error::FileError;

use super::{Pending, StoreError, open_plain, usage};

const RENEW: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(30);
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// A lock file that we hold; dropping it removes the file.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    content: String,
    stop: Option<Sender<()>>,
    renewer: Option<JoinHandle<()>>,
}

/// How waiting for a lock file ended, which stands for something that is being made.
#[derive(Debug)]
pub enum LockOutcome<T> {
    /// The lock is ours: the caller makes it.
    Locked(FileLock),
    /// Somebody else has made it.
    Made(T),
    /// Somebody else is still making it, and was waited for long enough: everybody makes their own.
    TimedOut,
}

impl FileLock {
    pub(super) fn acquire<T>(
        path: &Path,
        scratch: &Path,
        patience: Duration,
        mut there: impl FnMut() -> Result<Option<T>, StoreError>,
    ) -> Result<LockOutcome<T>, StoreError> {
        let content = usage::signature();
        let mut seen: Option<(LockFileState, Instant)> = None;
        let mut pause = POLL.0;
        let begin = Instant::now();
        loop {
            if let Some(found) = there()? {
                return Ok(LockOutcome::Made(found));
            }
            let pending = Pending::new(scratch)?;
            pending.write_all(content.as_bytes())?;
            match pending.publish_new(path, 0o600) {
                Ok(()) => {
                    let lock = FileLock::hold(path, content);
                    // It may have been made between the look and the lock.
                    return Ok(match there()? {
                        Some(found) => LockOutcome::Made(found),
                        None => LockOutcome::Locked(lock),
                    });
                }
                Err(StoreError::File(FileError { source, .. }))
                    if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let Some(now) = LockFileState::of(path) else { continue };
            match &seen {
                Some((before, since)) if *before == now => {
                    if since.elapsed() >= STALE {
                        break_lock(path, &now);
                    }
                }
                _ => seen = Some((now.clone(), Instant::now())),
            }
            if usage::is_dead(&now.content) {
                break_lock(path, &now);
                continue;
            }
            if begin.elapsed() >= patience {
                return Ok(LockOutcome::TimedOut);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(POLL.1);
        }
    }

    fn hold(path: &Path, content: String) -> FileLock {
        let (stop, stopped) = channel();
        let renewed = path.to_owned();
        let renewer = std::thread::Builder::new()
            .name("lock".to_owned())
            .spawn(move || renew(&renewed, &stopped))
            .ok();
        FileLock { path: path.to_owned(), content, stop: Some(stop), renewer }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(renewer) = self.renewer.take() {
            let _ = renewer.join();
        }
        // Somebody may have taken us for dead and have it now.
        if LockFileState::of(&self.path).is_some_and(|now| now.content == self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn renew(path: &Path, stopped: &Receiver<()>) {
    while stopped.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
        if let Ok(file) = File::open(path) {
            let _ = file.set_modified(SystemTime::now());
        }
    }
}

/// The content and the time of a lock file at one moment: its holder renews the time while it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LockFileState {
    content: String,
    modified: Option<SystemTime>,
}

impl LockFileState {
    fn of(path: &Path) -> Option<LockFileState> {
        let file = open_plain(path).ok()?;
        let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let mut content = String::new();
        file.take(4096).read_to_string(&mut content).ok()?;
        Some(LockFileState { content, modified })
    }
}

/// Removes a dead holder's lock. Of several who try, one gets it; should that have been a new
/// holder's lock after all, it is put back, and if that fails two make the same thing, which
/// costs time and nothing else.
fn break_lock(path: &Path, dead: &LockFileState) {
    let Some(directory) = path.parent() else { return };
    let aside = super::file::unique(directory);
    if fs::rename(path, &aside).is_ok() {
        if LockFileState::of(&aside).is_some_and(|now| now.content != dead.content) {
            let _ = fs::hard_link(&aside, path);
        }
        let _ = fs::remove_file(&aside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A living holder that renews its lock and never gets done, as one whose registry sends a byte
    /// now and then.
    #[test]
    fn nobody_is_waited_for_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FileLock::acquire(&path, folder.path(), LONG, none).unwrap();
        let start = Instant::now();
        let short = Duration::from_millis(300);
        let waited = FileLock::acquire(&path, folder.path(), short, none).unwrap();
        assert!(matches!(waited, LockOutcome::TimedOut));
        assert!(start.elapsed() >= short && start.elapsed() < Duration::from_secs(10));
        drop(waited);
        assert!(path.exists(), "the lock is still its holder's");
        drop(held);
        assert!(!path.exists());
    }

    /// On NFS what was absent once stays so for a while, unless the directory is opened again: two nodes
    /// would make the same image.
    #[test]
    fn before_each_look_the_directories_are_opened_anew() {
        use crate::store::{BLOBS, IMAGES, Store, StoreConfig};
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(folder.path().join("store"))).unwrap();
        for directory in [IMAGES, BLOBS] {
            let opened = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
            opened.add_watch(&store.root().join(directory), AddWatchFlags::IN_OPEN).unwrap();
            let mut looks = Vec::new();
            let look = || {
                looks.push(opened.read_events().is_ok_and(|events| !events.is_empty()));
                Ok(None::<()>)
            };
            assert!(matches!(store.lock("name", 0, look).unwrap(), LockOutcome::Locked(_)));
            assert_eq!(looks, [true, true], "{directory}: before the lock, and with it");
        }
    }

    fn none() -> Result<Option<()>, StoreError> {
        Ok(None)
    }

    #[test]
    fn one_of_many_makes_it_and_the_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (path, made) = (folder.path().join("lock"), folder.path().join("made"));
        let makers = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let there = || Ok(made.exists().then_some(()));
                    if let LockOutcome::Locked(_lock) =
                        FileLock::acquire(&path, folder.path(), LONG, there).unwrap()
                    {
                        makers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(100));
                        fs::write(&made, "").unwrap();
                    }
                });
            }
        });
        assert_eq!(makers.into_inner(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only what was made is left");
    }

    #[test]
    fn the_lock_of_a_process_that_is_gone_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = usage::signature_of(child.id());
        child.wait().unwrap();
        fs::write(&path, dead).unwrap();
        let start = Instant::now();
        let waited = FileLock::acquire(&path, folder.path(), LONG, none).unwrap();
        assert!(matches!(waited, LockOutcome::Locked(_)));
        assert!(start.elapsed() < STALE, "it was not seen to be dead");
    }
}

//! Threads that pack blocks and write them to the files of spools.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Instant;

use super::files::{Output, State};
use super::spooled::Block;
use super::{Room, Spool};
use crate::write::block::Buffer;
use crate::write::pack::Packer;
use crate::write::{Options, PLAIN};

/// Packs contents for any number of spools, by threads of its own.
#[derive(Debug)]
pub struct Spooler {
    pub(super) options: Options,
    pub(super) jobs: SyncSender<Job>,
    pub(super) state: Arc<State>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) buffer: Buffer,
    pub(super) plain: bool,
    /// Among the blocks of its spool.
    pub(super) number: usize,
    pub(super) segment: u32,
    pub(super) output: Arc<Output>,
    pub(super) done: Sender<Done>,
}

#[derive(Debug)]
pub(super) struct Done {
    pub(super) number: usize,
    pub(super) written: io::Result<Block>,
    pub(super) buffer: Buffer,
}

impl Spooler {
    /// Starts its threads. What is packed is for images with these options.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn new(options: Options) -> io::Result<Spooler> {
        let (threads, _) = options.threads_and_blocks();
        let (jobs, waiting) = sync_channel(threads);
        let waiting = Arc::new(Mutex::new(waiting));
        let state = Arc::<State>::default();
        for number in 0..threads {
            let worker = Worker {
                waiting: Arc::clone(&waiting),
                packer: Packer::new(options.compression)?,
                spare: Buffer::new(options.block_size),
                state: Arc::clone(&state),
            };
            match Builder::new().name("squash-spool".to_owned()).spawn(|| worker.run()) {
                Ok(_) => {}
                // Fewer will do: the user may have as many as are allowed.
                Err(_) if number > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Spooler { options, jobs, state })
    }

    /// Begins a spool.
    pub fn begin<'a>(&'a self, room: Room<'a>) -> Spool<'a> {
        Spool {
            spooler: self,
            room,
            segments: Vec::new(),
            done: channel(),
            spare: Vec::new(),
            buffers: 0,
            in_flight: 0,
            blocks: Vec::new(),
            contents: Vec::new(),
            given_up: false,
        }
    }

    /// Gives the room of all spools back, where it is wanted for something else. Returns whether there
    /// were any.
    pub fn give_up(&self) -> bool {
        self.state.give_up()
    }
}

struct Worker {
    waiting: Arc<Mutex<Receiver<Job>>>,
    packer: Packer,
    spare: Buffer,
    state: Arc<State>,
}

impl Worker {
    /// Until nobody has work.
    fn run(mut self) {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { mut buffer, plain, number, segment, output, done }) = next else { return };
            let packed = match plain {
                true => None,
                false => self.packer.pack(buffer.used(), &mut self.spare.bytes),
            };
            if let Some(length) = packed {
                self.spare.length = length;
                std::mem::swap(&mut self.spare, &mut buffer);
            }
            let size = buffer.length as u32 | if packed.is_none() { PLAIN } else { 0 };
            let at = output.end.fetch_add(buffer.length as u64, Ordering::Relaxed);
            let begin = Instant::now();
            let written = match output.closed.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => output.file.write_all_at(buffer.used(), at),
            };
            // Nobody waits for the last of a spool that was given up: others may be read by now, and are not to go.
            if !output.closed.load(Ordering::SeqCst) {
                self.state.has_written(buffer.length as u64, begin.elapsed());
            }
            // Nobody waits for it if its spool was given up.
            let written = written.map(|()| Block { segment, at: at as u32, size });
            let _ = done.send(Done { number, written, buffer });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::files::{JUDGED, Pace, SLOWEST};
    use super::*;

    #[test]
    fn what_comes_late_of_one_that_was_given_up_costs_no_other() {
        let options = Options::default();
        let (jobs, waiting) = sync_channel(1);
        let state = Arc::<State>::default();
        *state.pace.lock().unwrap() = Pace(JUDGED, 2 * SLOWEST);
        let file = tempfile::tempfile().unwrap();
        let output = Arc::new(Output { file, end: AtomicU64::new(0), closed: true.into() });
        let (done, outcome) = channel();
        let buffer = Buffer::new(options.block_size);
        jobs.send(Job { buffer, plain: true, number: 0, segment: 0, output, done }).unwrap();
        drop(jobs);
        Worker {
            waiting: Arc::new(Mutex::new(waiting)),
            packer: Packer::new(options.compression).unwrap(),
            spare: Buffer::new(options.block_size),
            state: Arc::clone(&state),
        }
        .run();
        assert!(outcome.recv().unwrap().written.is_err());
        assert!(!state.given_up.load(Ordering::SeqCst));
    }
}

//! Blocks on their way to the output: packed by several threads, written by one, in the order in
//! which they came.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::block::{Buffer, Packed};
use super::cut::Blocks;
use super::digest::Quick;
use super::output::{Output, Placed};
use super::pack::Packer;
use super::{Options, WriteError};

/// What may be on its way besides blocks: holes, ends of files.
const STEPS: usize = 256;

/// What happens to the output, in this order.
pub(super) enum Step {
    /// A block of the current file.
    Block(Receiver<Packed>),
    /// One that did not have to be waited for.
    Packed(Packed),
    /// A block of it that is all zeros.
    Hole,
    /// All of its blocks came.
    End,
    /// A block of several files' ends.
    Fragment(Receiver<Packed>),
}

struct Job {
    buffer: Buffer,
    /// It is not tried to pack it.
    plain: bool,
    done: SyncSender<Packed>,
}

/// The way to the output.
pub(super) struct Pipeline {
    free: Receiver<Buffer>,
    /// Buffers that were taken and not used.
    spare: Vec<Buffer>,
    jobs: SyncSender<Job>,
    steps: SyncSender<Step>,
    quick: Quick,
    /// Behind what it waits for: it is dropped after that.
    writer: Writer,
    /// Files with blocks so far.
    files: u32,
}

impl Pipeline {
    /// Starts writing at a position of `file`.
    pub(super) fn new(file: File, from: u64, options: &Options) -> Result<Pipeline, WriteError> {
        let (threads, blocks) = options.threads_and_blocks();
        let (give, free) = channel();
        let spare = (0..blocks).map(|_| Buffer::new(options.block_size)).collect();
        let (jobs, waiting) = sync_channel(blocks);
        let (steps, ordered) = sync_channel(STEPS);
        let (waiting, quick) = (Arc::new(Mutex::new(waiting)), Quick::new());
        for number in 0..threads {
            let packer = Packer::new(options.compression).map_err(WriteError::Output)?;
            let worker = Worker {
                waiting: Arc::clone(&waiting),
                packer,
                spare: Buffer::new(options.block_size),
                quick,
            };
            match thread("squash-pack").spawn(|| worker.run()) {
                Ok(_) => {}
                // Fewer will do: the user may have as many as are allowed.
                Err(_) if number > 0 => break,
                Err(error) => return Err(WriteError::Output(error)),
            }
        }
        let output = Output::new(file, from, options, quick);
        let writer = thread("squash-write")
            .spawn(move || write(output, &ordered, &give))
            .map_err(WriteError::Output)?;
        Ok(Pipeline { free, spare, jobs, steps, quick, writer: Writer(Some(writer)), files: 0 })
    }

    /// The next block of the file, which is packed already.
    pub(super) fn packed(&self, buffer: Buffer, plain: bool) -> Result<(), WriteError> {
        let hash = self.quick.hash(buffer.used());
        self.step(Step::Packed(Packed { buffer, plain, hash }))
    }

    /// The file has no more blocks: its number among files that have some.
    pub(super) fn end(&mut self) -> Result<u32, WriteError> {
        self.step(Step::End)?;
        self.files += 1;
        Ok(self.files - 1)
    }

    /// The next block of files' ends. Not within a file.
    pub(super) fn fragment(&self, buffer: Buffer) -> Result<(), WriteError> {
        let packed = self.pack(buffer, false)?;
        self.step(Step::Fragment(packed))
    }

    fn pack(&self, buffer: Buffer, plain: bool) -> Result<Receiver<Packed>, WriteError> {
        let (done, packed) = sync_channel(1);
        self.jobs.send(Job { buffer, plain, done }).map_err(|_| WriteError::GivenUp)?;
        Ok(packed)
    }

    /// That the writer is gone is not why: [`Pipeline::finish`] knows that.
    fn step(&self, step: Step) -> Result<(), WriteError> {
        self.steps.send(step).map_err(|_| WriteError::GivenUp)
    }

    /// Waits until all is written.
    pub(super) fn finish(self) -> Result<Placed, WriteError> {
        let Pipeline { jobs, steps, mut writer, .. } = self;
        drop((jobs, steps));
        let writer = writer.0.take().expect("it is waited for once");
        writer.join().unwrap_or_else(|_| Err(lost_thread()))
    }
}

impl Blocks for Pipeline {
    fn buffer(&mut self) -> Result<Buffer, WriteError> {
        match self.spare.pop() {
            Some(buffer) => Ok(buffer),
            None => self.free.recv().map_err(|_| WriteError::GivenUp),
        }
    }

    fn give_back(&mut self, buffer: Buffer) {
        self.spare.push(buffer);
    }

    fn block(&mut self, buffer: Buffer, plain: bool) -> Result<(), WriteError> {
        let packed = self.pack(buffer, plain)?;
        self.step(Step::Block(packed))
    }

    fn hole(&mut self) -> Result<(), WriteError> {
        self.step(Step::Hole)
    }
}

/// Nothing is written any more when it is dropped.
struct Writer(Option<JoinHandle<Result<Placed, WriteError>>>);

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(writer) = self.0.take() {
            let _ = writer.join();
        }
    }
}

fn thread(name: &str) -> Builder {
    Builder::new().name(name.to_owned())
}

fn lost_thread() -> WriteError {
    WriteError::Output(io::Error::other("a thread has failed"))
}

struct Worker {
    waiting: Arc<Mutex<Receiver<Job>>>,
    packer: Packer,
    spare: Buffer,
    quick: Quick,
}

impl Worker {
    /// Until nobody has work.
    fn run(mut self) {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { mut buffer, plain, done }) = next else { return };
            let length = match plain {
                true => None,
                false => self.packer.pack(buffer.used(), &mut self.spare.bytes),
            };
            if let Some(length) = length {
                self.spare.length = length;
                std::mem::swap(&mut self.spare, &mut buffer);
            }
            let hash = self.quick.hash(buffer.used());
            // Nobody waits for it if the output has failed.
            let _ = done.send(Packed { buffer, plain: length.is_none(), hash });
        }
    }
}

fn write(
    mut output: Output,
    steps: &Receiver<Step>,
    free: &Sender<Buffer>,
) -> Result<Placed, WriteError> {
    while let Ok(step) = steps.recv() {
        let wait = |packed: Receiver<Packed>| packed.recv().map_err(|_| lost_thread());
        let (packed, fragment) = match step {
            Step::Block(packed) => (wait(packed)?, false),
            Step::Packed(packed) => (packed, false),
            Step::Fragment(packed) => (wait(packed)?, true),
            Step::Hole => {
                output.hole();
                continue;
            }
            Step::End => {
                output.end()?;
                continue;
            }
        };
        if fragment {
            output.fragment(&packed)?;
        } else {
            output.block(&packed)?;
        }
        let _ = free.send(packed.buffer);
    }
    Ok(output.finish())
}

//! Contents that are packed before it is known whether an image gets them, and under which names:
//! their blocks wait in a file of their own. So what has to be unpacked to be looked at is not
//! unpacked once more to be written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::block::Buffer;
use super::cut::{Blocks, Cut, cut};
use super::pack::Packer;
use super::{Options, PLAIN, WriteError};

/// Blocks of one spool that are on their way. One thread that unpacks keeps two or three busy.
const IN_FLIGHT: usize = 8;
/// Bytes of a file of which a new one is begun. Each is given back as a whole: a part of a file that is not on
/// the disk yet is written there before it is given back (ext4, XFS).
const SEGMENT: u64 = 256 << 20;
/// Files of all spools together: a process may have a thousand or so open.
const MOST_FILES: usize = 256;
/// Bytes by which it is judged how fast a disk takes them, and how long these may take: what a disk is
/// waited for is not faster than to unpack it again. The page cache takes ten times as much.
const JUDGED: u64 = 64 << 20;
const SLOWEST: Duration = Duration::from_millis(640);

/// Where a spool is.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// A new file, open for reading, too, if there is one to be had.
    pub file: &'a dyn Fn() -> Option<File>,
    /// Is told how many bytes more were put there, and says whether it may go on.
    pub may: &'a dyn Fn(u64) -> bool,
}

/// Packs contents for any number of spools, by threads of its own.
#[derive(Debug)]
pub struct Spooler {
    options: Options,
    jobs: SyncSender<Job>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    given_up: AtomicBool,
    outputs: Mutex<Vec<Weak<Output>>>,
    pace: Mutex<Pace>,
}

/// Of late: bytes that were written, and how long that took.
#[derive(Debug, Default)]
struct Pace(u64, Duration);

#[derive(Debug)]
struct Job {
    buffer: Buffer,
    plain: bool,
    /// Among the blocks of its spool.
    number: usize,
    segment: u32,
    output: Arc<Output>,
    done: Sender<Done>,
}

#[derive(Debug)]
struct Done {
    number: usize,
    written: io::Result<Block>,
    buffer: Buffer,
}

#[derive(Debug)]
struct Output {
    file: File,
    end: AtomicU64,
    closed: AtomicBool,
}

/// Where a block waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// In which file of the spool, and where there.
    segment: u32,
    at: u32,
    /// As inodes have it; 0 for a hole.
    size: u32,
}

impl Block {
    pub(super) fn is_hole(self) -> bool {
        self.size == 0
    }

    pub(super) fn is_plain(self) -> bool {
        self.size & PLAIN != 0
    }

    fn length(self) -> u64 {
        u64::from(self.size & !PLAIN)
    }
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

impl State {
    fn give_up(&self) -> bool {
        // Whoever finds it given up finds the room as well.
        let mut outputs = self.lock();
        self.given_up.store(true, Ordering::SeqCst);
        let outputs: Vec<_> = outputs.drain(..).filter_map(|output| output.upgrade()).collect();
        outputs.iter().for_each(|output| output.empty());
        !outputs.is_empty()
    }

    fn has_written(&self, bytes: u64, took: Duration) {
        if self.pace.lock().unwrap_or_else(PoisonError::into_inner).is_too_slow(bytes, took) {
            self.give_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Output>>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// Counts what was written now.
    fn is_too_slow(&mut self, bytes: u64, took: Duration) -> bool {
        (self.0, self.1) = (self.0 + bytes, self.1 + took);
        if self.0 < JUDGED {
            return false;
        }
        let Pace(_, took) = std::mem::take(self);
        took > SLOWEST
    }
}

impl Drop for Output {
    /// Nobody waits until all of it is on a disk.
    fn drop(&mut self) {
        self.empty();
    }
}

impl Output {
    /// Without what is being written at this moment, which goes with the file.
    fn empty(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.file.set_len(0);
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

/// Takes contents, one after the other.
pub struct Spool<'a> {
    spooler: &'a Spooler,
    room: Room<'a>,
    segments: Vec<Arc<Output>>,
    done: (Sender<Done>, Receiver<Done>),
    spare: Vec<Buffer>,
    /// Those that there are.
    buffers: usize,
    in_flight: usize,
    blocks: Vec<Block>,
    contents: Vec<Entry>,
    given_up: bool,
}

#[derive(Debug)]
struct Entry {
    number: u32,
    size: u64,
    sparse: u64,
    /// The first of its blocks, and behind the last one.
    blocks: (usize, usize),
    /// Whether the last of them is for a block that files share.
    has_tail: bool,
}

/// Bytes of memory for a content, and for a block.
const MEMORY: (usize, usize) = (2 * size_of::<Entry>(), 2 * size_of::<Block>());

impl Spool<'_> {
    /// Takes a content. Its number is higher than those before. What goes wrong, in reading, too, ends
    /// the spool, and nothing else.
    pub fn add(&mut self, number: u32, data: &mut dyn Read) {
        if !self.is_given_up() && self.try_add(number, data).is_err() {
            self.give_up();
        }
    }

    /// Whether it takes no more.
    pub fn is_given_up(&self) -> bool {
        self.given_up || self.spooler.state.given_up.load(Ordering::SeqCst)
    }

    /// Ends it.
    pub fn give_up(&mut self) {
        self.given_up = true;
        (self.blocks, self.contents) = (Vec::new(), Vec::new());
        self.segments.iter().for_each(|segment| segment.empty());
    }

    /// Bytes of memory for what is known of the contents.
    pub fn memory(&self) -> usize {
        self.contents.len() * MEMORY.0 + self.blocks.len() * MEMORY.1
    }

    /// All of it, once it is in the file; `None` if that has failed.
    pub fn finish(mut self) -> Option<Spooled> {
        while self.in_flight > 0 && !self.given_up {
            if self.collect().is_err() {
                self.give_up();
            }
        }
        if self.is_given_up() {
            self.give_up();
            return None;
        }
        let state = Arc::clone(&self.spooler.state);
        let Spool { segments, blocks, contents, .. } = self;
        Some(Spooled { state, segments, blocks, contents, freed: None })
    }

    fn try_add(&mut self, number: u32, data: &mut dyn Read) -> Result<(), WriteError> {
        let first = self.blocks.len();
        let options = &self.spooler.options;
        let Cut { size, sparse, tail, .. } = cut(options, b"", data, self)?;
        let has_tail = tail.length > 0;
        if has_tail {
            self.block(tail, true)?;
        } else {
            self.give_back(tail);
        }
        let blocks = (first, self.blocks.len());
        self.contents.push(Entry { number, size, sparse, blocks, has_tail });
        Ok(())
    }

    /// The file for the next block.
    fn segment(&mut self) -> Option<(u32, Arc<Output>)> {
        let is_full = |last: &Arc<Output>| last.end.load(Ordering::Relaxed) >= SEGMENT;
        if self.segments.last().is_none_or(is_full) {
            let mut outputs = self.spooler.state.lock();
            let file = (self.room.file)().filter(|_| outputs.len() < MOST_FILES)?;
            let (end, closed) = (AtomicU64::new(0), AtomicBool::new(false));
            let output = Arc::new(Output { file, end, closed });
            outputs.push(Arc::downgrade(&output));
            drop(outputs);
            self.segments.push(output);
        }
        Some((self.segments.len() as u32 - 1, Arc::clone(self.segments.last()?)))
    }

    /// Waits for a block.
    fn collect(&mut self) -> Result<(), WriteError> {
        let Done { number, written, buffer } =
            self.done.1.recv().map_err(|_| WriteError::GivenUp)?;
        self.in_flight -= 1;
        self.spare.push(buffer);
        let block = written.map_err(WriteError::Output)?;
        if self.is_given_up() || !(self.room.may)(block.length()) {
            return Err(WriteError::GivenUp);
        }
        self.blocks[number] = block;
        Ok(())
    }
}

impl Blocks for Spool<'_> {
    fn buffer(&mut self) -> Result<Buffer, WriteError> {
        if self.spare.is_empty() && self.buffers < IN_FLIGHT {
            self.buffers += 1;
            return Ok(Buffer::new(self.spooler.options.block_size));
        }
        if self.spare.is_empty() {
            self.collect()?;
        }
        self.spare.pop().ok_or(WriteError::GivenUp)
    }

    fn give_back(&mut self, buffer: Buffer) {
        self.spare.push(buffer);
    }

    fn block(&mut self, buffer: Buffer, plain: bool) -> Result<(), WriteError> {
        let (segment, output) = self.segment().ok_or(WriteError::GivenUp)?;
        let (number, done) = (self.blocks.len(), self.done.0.clone());
        let job = Job { buffer, plain, number, segment, output, done };
        self.spooler.jobs.send(job).map_err(|_| WriteError::GivenUp)?;
        self.in_flight += 1;
        self.blocks.push(Block::default());
        Ok(())
    }

    fn hole(&mut self) -> Result<(), WriteError> {
        self.blocks.push(Block::default());
        Ok(())
    }
}

/// Contents that wait.
#[derive(Debug)]
pub struct Spooled {
    state: Arc<State>,
    segments: Vec<Arc<Output>>,
    blocks: Vec<Block>,
    contents: Vec<Entry>,
    /// How many files were given back, if they are.
    freed: Option<AtomicUsize>,
}

/// A content that waits.
pub(super) struct Waiting<'a> {
    pub(super) size: u64,
    pub(super) sparse: u64,
    pub(super) blocks: &'a [Block],
    pub(super) tail: Option<&'a Block>,
}

impl Spooled {
    /// Has its files go as contents are taken: each once, in the order of their numbers.
    pub fn shrink_as_read(&mut self) {
        self.freed = Some(AtomicUsize::new(0));
    }

    /// Whether it was not given up since.
    pub fn is_there(&self) -> bool {
        !self.state.given_up.load(Ordering::SeqCst)
    }

    /// Bytes that were put there.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn content(&self, number: u32) -> Option<Waiting<'_>> {
        let at = self.contents.binary_search_by_key(&number, |entry| entry.number).ok()?;
        let Entry { size, sparse, blocks: (first, end), has_tail, .. } = self.contents[at];
        let blocks = &self.blocks[first..end];
        let (blocks, tail) = match blocks.split_last() {
            Some((tail, blocks)) if has_tail => (blocks, Some(tail)),
            _ => (blocks, None),
        };
        Some(Waiting { size, sparse, blocks, tail })
    }

    pub(super) fn read(&self, block: Block, into: &mut Buffer) -> io::Result<()> {
        into.length = block.length() as usize;
        let file = &self.segments[block.segment as usize].file;
        file.read_exact_at(&mut into.bytes[..into.length], block.at.into())
    }

    /// A content was taken, and so were, or never will be, those before.
    pub(super) fn is_through_with(&self, waiting: &Waiting<'_>) {
        let blocks = waiting.blocks.iter().chain(waiting.tail);
        let last =
            blocks.filter(|block| !block.is_hole()).map(|block| block.segment as usize).next_back();
        let (Some(freed), Some(last)) = (&self.freed, last) else { return };
        let from = freed.swap(last, Ordering::Relaxed);
        self.segments[from..last].iter().for_each(|segment| segment.empty());
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_disk_that_has_to_be_waited_for_is_too_slow() {
        let block = 128 << 10;
        let mut pace = Pace::default();
        let mut judged = |micros| {
            let took = Duration::from_micros(micros);
            (0..JUDGED / block).any(|_| pace.is_too_slow(block, took))
        };
        // The page cache, also of a machine with much else to do; a disk of 50 MB/s.
        assert_eq!(
            [judged(40), judged(800), judged(2600), judged(40)],
            [false, false, true, false]
        );
    }
}

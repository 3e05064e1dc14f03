//! Reading an archive from a stream.

use std::io::{self, Read};

use super::header::{Raw, number};
use super::pax::{self, Extended};
use super::sparse::{self, Map, Piece};
use super::{BLOCK, Header, Kind, TarError};

/// Reads entries one after another; between them it is the [`Read`] of the entry's data.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Bytes read, for messages.
    position: u64,
    /// Bytes of the current entry that are still in the archive, and padding after them.
    stored: u64,
    padding: u64,
    /// Where the data of the current entry stands, and its logical size.
    at: u64,
    size: u64,
    map: Option<(Map, Option<Piece>)>,
    done: bool,
}

impl<R: Read> Reader<R> {
    /// A reader of the archive in `input`.
    pub fn new(input: R) -> Reader<R> {
        Reader { input, position: 0, stored: 0, padding: 0, at: 0, size: 0, map: None, done: false }
    }

    /// The stream, wherever the archive's end left it.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The position in the archive: the data of the entry whose header was read last begins here.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the current entry that the archive still has; the rest of its size are holes.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// The next entry, passing over what was not read of the last one. `None` at the end.
    ///
    /// # Errors
    /// [`TarError`]; nothing more can be read then.
    #[allow(clippy::should_implement_trait)] // it lends itself as Read meanwhile
    pub fn next(&mut self) -> Result<Option<Header>, TarError> {
        if self.skip(self.stored)? < self.stored {
            return Err(TarError::Truncated);
        }
        // Some writers, umoci's insert among them, do not pad the last entry.
        self.done |= self.skip(self.padding)? < self.padding;
        (self.stored, self.padding, self.map) = (0, 0, None);
        let mut extended = Extended::default();
        // Of one entry, however many headers it has.
        let mut extensions = 0u64;
        loop {
            let Some(raw) = self.block()? else { return Ok(None) };
            let size = raw.size().ok_or_else(|| TarError::field("size", raw.name()))?;
            if matches!(raw.kind(), b'x' | b'X' | b'L' | b'K') {
                extensions = extensions.saturating_add(size);
                if extensions > pax::LIMIT {
                    return Err(TarError::Oversized(extensions));
                }
            }
            match raw.kind() {
                // Sun's tar had them first.
                b'x' | b'X' => {
                    let records = self.extension(size)?;
                    extended.add(&records)?;
                }
                // Global headers carry comments of the tools that made them.
                b'g' => drop(self.extension(size)?),
                // A label of the archive, as tar has for tapes.
                b'V' => drop(self.extension(size)?),
                b'L' => extended.path = Some(without_nul(self.extension(size)?)),
                b'K' => extended.link = Some(without_nul(self.extension(size)?)),
                _ => return self.entry(&raw, size, extended).map(Some),
            }
        }
    }

    fn entry(&mut self, raw: &Raw, size: u64, extended: Extended) -> Result<Header, TarError> {
        let path = extended.path.unwrap_or_else(|| raw.path());
        let link = || extended.link.clone().unwrap_or_else(|| raw.link().to_vec());
        let mut kind = match raw.kind() {
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' | b'4' => Kind::Device,
            // Of an incremental dump: with the names in it as data.
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let entry = String::from_utf8_lossy(&path[..path.len().min(300)]).into_owned();
                return Err(TarError::Type { entry, kind: char::from(other) });
            }
        };
        // Old archives have no type for directories but a slash. What has content is a file all the same.
        let slash = kind == Kind::File && path.ends_with(b"/");
        if slash && (raw.kind() == 0 || extended.size.unwrap_or(size) == 0) {
            kind = Kind::Directory;
        }
        let has_data = kind == Kind::File;
        self.stored =
            if has_data || slash || raw.kind() == b'D' { extended.size.unwrap_or(size) } else { 0 };
        self.padding = padding(self.stored).ok_or_else(|| TarError::field("size", &path))?;
        (self.at, self.size) = (0, if has_data { self.stored } else { 0 });
        let mut header = Header {
            mode: raw.mode().ok_or_else(|| TarError::field("mode", &path))? as u32 & 0o7777,
            mtime: match extended.mtime {
                Some(mtime) => mtime,
                None => raw.mtime().ok_or_else(|| TarError::field("time", &path))?,
            },
            kind,
            size: self.size,
            xattrs: extended.xattrs,
            path,
        };
        if has_data {
            self.open_sparse(raw, extended.sparse, &mut header)?;
        }
        Ok(header)
    }

    fn open_sparse(
        &mut self,
        raw: &Raw,
        pax: pax::Sparse,
        header: &mut Header,
    ) -> Result<(), TarError> {
        let (numbers, size) = if raw.kind() == b'S' {
            let real =
                number(&raw.0[483..495]).ok_or_else(|| TarError::field("size", &header.path))?;
            (self.old_sparse(raw, &header.path)?, real)
        } else if pax.major == 1 {
            let (numbers, taken) = sparse::read_map(&mut self.input, self.stored, &header.path)?;
            self.position += taken;
            self.stored -= taken;
            (numbers, pax.size.ok_or_else(|| TarError::field("sparse size", &header.path))?)
        } else if let Some(size) = pax.size.filter(|_| !pax.numbers.is_empty()) {
            (pax.numbers, size)
        } else {
            return Ok(());
        };
        if let Some(name) = pax.name {
            header.path = name;
        }
        let mut map = Map::new(&numbers, size, self.stored, &header.path)?;
        let first = map.pop();
        self.map = Some((map, first));
        (header.size, self.size) = (size, size);
        Ok(())
    }

    /// GNU's old form: four pieces in the header, more in blocks after it.
    fn old_sparse(&mut self, raw: &Raw, path: &[u8]) -> Result<Vec<u64>, TarError> {
        let malformed = || TarError::field("sparse map", path);
        let add = |numbers: &mut Vec<u64>, fields: &[u8]| -> Result<(), TarError> {
            for field in fields.chunks_exact(12).take_while(|field| field[0] != 0) {
                numbers.push(number(field).ok_or_else(malformed)?);
            }
            Ok(())
        };
        let mut numbers = Vec::new();
        add(&mut numbers, &raw.0[386..482])?;
        let mut more = raw.0[482] != 0;
        let mut blocks = 0;
        while more {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            add(&mut numbers, &block[..504])?;
            more = block[504] != 0;
            blocks += 1;
            if numbers.len() > 2 * pax::PIECES || blocks > pax::PIECES {
                return Err(malformed());
            }
        }
        Ok(numbers)
    }

    /// The next header block; `None` at the archive's end.
    fn block(&mut self) -> Result<Option<Raw>, TarError> {
        if self.done {
            return Ok(None);
        }
        let mut raw = Raw([0; BLOCK]);
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut raw.0[filled..]) {
                // Archives without the final zero blocks exist.
                Ok(0) if filled == 0 => break,
                Ok(0) => return Err(TarError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if raw.is_zero() {
            self.done = true;
            return Ok(None);
        }
        if !raw.checksum_fits() {
            return Err(TarError::Checksum(self.position));
        }
        self.position += BLOCK as u64;
        Ok(Some(raw))
    }

    /// The content of an extension entry.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > pax::LIMIT {
            return Err(TarError::Oversized(size));
        }
        let mut content = vec![0; size as usize];
        self.fill(&mut content)?;
        let mut rest = [0; BLOCK];
        self.fill(&mut rest[..padding(size).unwrap_or(0) as usize])?;
        Ok(content)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.input.read_exact(buffer).map_err(cut)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn skip(&mut self, count: u64) -> Result<u64, TarError> {
        let skipped = io::copy(&mut (&mut self.input).take(count), &mut io::sink())?;
        self.position += skipped;
        Ok(skipped)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.at;
        let mut count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        if let Some((map, piece)) = &mut self.map {
            while piece.is_some_and(|piece| self.at >= piece.offset + piece.length) {
                *piece = map.pop();
            }
            let start = piece.map_or(self.size, |piece| piece.offset);
            if self.at < start {
                let hole = start - self.at;
                count = count.min(usize::try_from(hole).unwrap_or(usize::MAX));
                buffer[..count].fill(0);
                self.at += count as u64;
                return Ok(count);
            }
            let end = piece.map_or(self.size, |piece| piece.offset + piece.length);
            count = count.min(usize::try_from(end - self.at).unwrap_or(usize::MAX));
        }
        let count = self.input.read(&mut buffer[..count])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TarError::Truncated));
        }
        self.at += count as u64;
        self.stored -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}

fn padding(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK as u64).map(|full| full - size)
}

fn cut(error: io::Error) -> TarError {
    if error.kind() == io::ErrorKind::UnexpectedEof { TarError::Truncated } else { error.into() }
}

fn without_nul(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}

//! Writing an archive to a stream.

use std::io::{self, Read, Write};

use super::{BLOCK, Header, Kind, pax};

/// Writes entries owned by root, in the format with the least surprises for the tools that read
/// it: GNU records for long names, PAX records for extended attributes.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    buffer: Box<[u8]>,
}

impl<W: Write> Writer<W> {
    /// A writer to `output`.
    pub fn new(output: W) -> Writer<W> {
        Writer { output, buffer: vec![0; 128 << 10].into() }
    }

    /// Writes an entry; for a regular file, `header.size` bytes are taken from `data`.
    ///
    /// # Errors
    /// What reading or writing says; too little data is [`io::ErrorKind::UnexpectedEof`].
    pub fn append(&mut self, header: &Header, data: impl Read) -> io::Result<()> {
        self.extensions(header)?;
        self.block(header)?;
        if header.kind != Kind::File {
            return Ok(());
        }
        let copied = self.copy(data.take(header.size))?;
        if copied < header.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad(header.size)
    }

    /// Writes the archive's end.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn extensions(&mut self, header: &Header) -> io::Result<()> {
        if !header.xattrs.is_empty() {
            let mut records = Vec::new();
            for (name, value) in &header.xattrs {
                records.extend(pax::record(&[b"SCHILY.xattr.", name.as_slice()].concat(), value));
            }
            self.extension(b'x', &records)?;
        }
        if let Kind::HardLink(link) | Kind::Symlink(link) = &header.kind {
            self.long(b'K', link)?;
        }
        self.long(b'L', &header.path)
    }

    fn long(&mut self, kind: u8, name: &[u8]) -> io::Result<()> {
        if name.len() <= 100 {
            return Ok(());
        }
        self.extension(kind, &[name, b"\0"].concat())
    }

    fn extension(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let mut block = [0u8; BLOCK];
        block[..13].copy_from_slice(b"././@LongLink");
        seal(&mut block, kind, 0o644, content.len() as u64, 0);
        self.output.write_all(&block)?;
        self.output.write_all(content)?;
        self.pad(content.len() as u64)
    }

    fn block(&mut self, header: &Header) -> io::Result<()> {
        let mut block = [0u8; BLOCK];
        let name = &header.path[..header.path.len().min(100)];
        block[..name.len()].copy_from_slice(name);
        let (kind, link, size) = match &header.kind {
            Kind::File => (b'0', &[][..], header.size),
            Kind::HardLink(link) => (b'1', link.as_slice(), 0),
            Kind::Symlink(link) => (b'2', link.as_slice(), 0),
            Kind::Device => (b'3', &[][..], 0),
            Kind::Directory => (b'5', &[][..], 0),
            Kind::Fifo => (b'6', &[][..], 0),
        };
        let link = &link[..link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        seal(&mut block, kind, header.mode, size, header.mtime);
        self.output.write_all(&block)
    }

    /// Like [`io::copy`], with a buffer that is made once.
    fn copy(&mut self, mut from: impl Read) -> io::Result<u64> {
        let mut total = 0;
        loop {
            match from.read(&mut self.buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => {
                    self.output.write_all(&self.buffer[..count])?;
                    total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let used = (size % BLOCK as u64) as usize;
        if used == 0 { Ok(()) } else { self.output.write_all(&[0; BLOCK][used..]) }
    }
}

/// Fills in the numbers and the checksum.
fn seal(block: &mut [u8; BLOCK], kind: u8, mode: u32, size: u64, mtime: i64) {
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar  \0");
    octal(&mut block[100..108], u64::from(mode));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    // A squashfs counts seconds in 32 bits without sign.
    octal(&mut block[136..148], mtime.clamp(0, i64::from(u32::MAX)).unsigned_abs());
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

/// Octal digits and a NUL, or binary where they do not suffice.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    if value >> (3 * digits).min(63) != 0 {
        field.fill(0);
        let start = field.len() - 8;
        field[start..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
        return;
    }
    for (at, place) in field[..digits].iter_mut().rev().enumerate() {
        *place = b'0' + ((value >> (3 * at)) & 7) as u8;
    }
    field[digits] = 0;
}

//! Writing squashfs files by ourselves: merged layers go to the writer as they are read.

use std::fs::File;
use std::io::{self, Read};

use squashfs::program::{OwnWriter, Program};
use squashfs::write::{
    Attributes, Handle, NewFile, Options, Spooled, Times, WriteError, Writer, XattrPrefixes,
};

use crate::layers::{LayerError, LayerSpooler, Meta, Sink};
use crate::squash::{Squash, SquashError};
use crate::tarball::{Header, Kind};

impl Squash {
    /// Writes to `output`, an empty file, what `fill` puts into the sink: at most so many bytes.
    pub(crate) fn pack<E: From<SquashError> + From<LayerError>>(
        &self,
        own: &OwnWriter,
        output: &File,
        largest: u64,
        root: &Meta,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), E>,
    ) -> Result<(), E> {
        let options = Options {
            largest,
            made: self.mtime,
            times: if self.one_time { Times::All(self.mtime) } else { Times::Own },
            attributes: XattrPrefixes { user: true, security: false, trusted: false },
            ..own.options()
        };
        let file = output.try_clone().map_err(WriteError::Output).map_err(SquashError::from)?;
        let writer = Writer::new(file, options).map_err(SquashError::from)?;
        let mut sink = ImageSink { writer, last: None, failed: None };
        let extended = &root.xattrs;
        let attributes =
            Attributes { mode: root.mode | 0o700, mtime: root.mtime, extended, owner: (0, 0) };
        sink.writer.add(b"", &attributes, NewFile::Directory).map_err(SquashError::from)?;
        let filled = fill(&mut sink);
        // Why the writer has failed is more telling than what that was for the layer.
        if let Some(error) = sink.failed.take() {
            return Err(SquashError::from(error).into());
        }
        filled?;
        sink.writer.finish().map_err(SquashError::from)?;
        Ok(())
    }
}

impl Squash {
    /// Keeps what is in layers, with so many bytes of memory, for images of our own writer. For mksquashfs,
    /// which reads archives, nothing is.
    pub(crate) fn spooler(&self, most_memory: usize) -> Option<LayerSpooler> {
        match &self.program {
            Program::Own(own) => LayerSpooler::new(own.options(), most_memory).ok(),
            Program::Mksquashfs(_) => None,
        }
    }
}

impl From<WriteError> for SquashError {
    fn from(error: WriteError) -> SquashError {
        match error {
            WriteError::TooLarge(_) => SquashError::TooLarge,
            error => SquashError::Write(error),
        }
    }
}

/// Passes entries on to the writer.
struct ImageSink {
    writer: Writer,
    /// The last entry that was no link.
    last: Option<(Vec<u8>, Handle)>,
    failed: Option<WriteError>,
}

impl Sink for ImageSink {
    fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), LayerError> {
        let what = match &header.kind {
            Kind::Directory => NewFile::Directory,
            Kind::File => NewFile::File(data),
            Kind::Symlink(target) => NewFile::Symlink(target),
            Kind::Fifo => NewFile::Fifo,
            // Containers get their devices from the host.
            Kind::Device => return Ok(()),
            Kind::HardLink(target) => {
                let known = self.last.as_ref().filter(|(path, _)| path == target);
                let Some((_, handle)) = known else {
                    let [link, target] =
                        [&header.path, target].map(|path| String::from_utf8_lossy(path).into());
                    return Err(LayerError::HardLink { link, target });
                };
                let linked = self.writer.link(&header.path, *handle);
                return linked.map_err(|error| self.fail(&header.path, error));
            }
        };
        self.add(header, what)
    }

    fn put_spooled(
        &mut self,
        header: &Header,
        contents: &Spooled,
        number: u32,
    ) -> Result<(), LayerError> {
        self.add(header, NewFile::Spooled(contents, number))
    }
}

impl ImageSink {
    fn add(&mut self, header: &Header, what: NewFile<'_>) -> Result<(), LayerError> {
        let attributes = Attributes {
            mode: header.mode,
            mtime: header.mtime,
            extended: &header.xattrs,
            owner: (0, 0),
        };
        match self.writer.add(&header.path, &attributes, what) {
            Ok(handle) => {
                self.last = Some((header.path.clone(), handle));
                Ok(())
            }
            Err(WriteError::Content { source, .. }) => Err(LayerError::Decompress(source)),
            Err(error) => Err(self.fail(&header.path, error)),
        }
    }

    fn fail(&mut self, path: &[u8], error: WriteError) -> LayerError {
        let what = String::from_utf8_lossy(path).into_owned();
        self.failed = Some(error);
        LayerError::Write { what, source: io::ErrorKind::Other.into() }
    }
}

//! What the kernel asks.

/// A request, and its arguments not yet taken apart.
pub(super) struct Request<'a> {
    pub(super) operation: u32,
    /// The answer has it too.
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) arguments: Arguments<'a>,
}

/// Numbers in the machine's byte order, and names.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(&'a [u8]);

impl Request<'_> {
    /// `None` for less than a header.
    pub(super) fn of(bytes: &[u8]) -> Option<Request<'_>> {
        let arguments = Arguments(bytes.get(40..)?);
        let header = Arguments(bytes);
        Some(Request {
            operation: header.word(4)?,
            unique: header.long(8)?,
            node: header.long(16)?,
            arguments,
        })
    }
}

impl<'a> Arguments<'a> {
    pub(super) fn word(&self, at: usize) -> Option<u32> {
        self.0.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(super) fn long(&self, at: usize) -> Option<u64> {
        self.0.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
    }

    /// The name that begins at `at`, without the zero that ends it.
    pub(super) fn name(&self, at: usize) -> Option<&'a [u8]> {
        self.0.get(at..)?.split(|byte| *byte == 0).next()
    }
}

/// The numbers of operations.
pub(super) mod operation {
    pub(in super::super) const LOOKUP: u32 = 1;
    pub(in super::super) const FORGET: u32 = 2;
    pub(in super::super) const GETATTR: u32 = 3;
    pub(in super::super) const READLINK: u32 = 5;
    pub(in super::super) const READ: u32 = 15;
    pub(in super::super) const STATFS: u32 = 17;
    pub(in super::super) const GETXATTR: u32 = 22;
    pub(in super::super) const LISTXATTR: u32 = 23;
    pub(in super::super) const INIT: u32 = 26;
    pub(in super::super) const READDIR: u32 = 28;
    pub(in super::super) const INTERRUPT: u32 = 36;
    pub(in super::super) const IOCTL: u32 = 39;
    pub(in super::super) const BATCH_FORGET: u32 = 42;
    pub(in super::super) const READDIRPLUS: u32 = 44;
}

//! Text in a fixed place: nothing is allocated. What does not fit is left out.

use core::ffi::{CStr, c_char};

/// At most `N - 1` bytes and the NUL that C wants.
#[derive(Clone, Copy)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

/// A path.
pub(crate) type Path = Text<{ libc::PATH_MAX as usize }>;
/// A file name.
pub(crate) type Name = Text<64>;

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Text<N> {
        Text { bytes: [0; N], length: 0 }
    }

    /// Whatever fits of these bytes, up to the first NUL.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = N.saturating_sub(1).saturating_sub(self.length);
        let places = self.bytes.iter_mut().skip(self.length).take(room);
        let mut written = 0;
        for (place, byte) in places.zip(bytes.iter().take_while(|byte| **byte != 0)) {
            *place = *byte;
            written += 1;
        }
        self.length += written;
    }

    pub(crate) fn decimal(&mut self, number: u32) {
        let (mut digits, mut rest) = ([0; 10], number);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(9);
        self.push(digits.get(first..).unwrap_or_default());
    }

    /// All of it but the NUL.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Without the last component of a path.
    pub(crate) fn parent(&self) -> Text<N> {
        let mut parent = Text::new();
        let end = self.bytes().iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        parent.push(self.bytes().get(..end).unwrap_or_default());
        parent
    }
}

/// `path` without symbolic links; `None` if there is no such file.
pub(crate) fn real_path(path: &CStr) -> Option<Path> {
    let mut real = Path::new();
    // SAFETY: `path` is a C string; realpath writes at most PATH_MAX bytes, which is the room.
    let found = unsafe { libc::realpath(path.as_ptr(), real.bytes.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    real.length = real.bytes.iter().position(|byte| *byte == 0)?;
    Some(real)
}

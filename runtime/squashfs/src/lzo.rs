//! Unpacks LZO1X, as Documentation/staging/lzo.rst of Linux describes the stream.

/// The literals that the last instruction copied: what the next one means depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Copied {
    Match,
    Few,
    Run,
}

/// Unpacks all of `packed` into `output`: the number of bytes, or `None` if it is no such stream
/// or longer.
pub(super) fn unpack(packed: &[u8], output: &mut [u8]) -> Option<usize> {
    let mut stream = Stream { packed, at: 0, output, end: 0 };
    let mut after = Copied::Match;
    if let first @ 18.. = *packed.first()? {
        stream.at = 1;
        stream.literals(usize::from(first - 17))?;
        after = if first < 21 { Copied::Few } else { Copied::Run };
    }
    loop {
        let code = usize::from(stream.byte()?);
        let (length, distance, few) = match code {
            0..16 if after == Copied::Match => {
                let run = stream.length(code, 15)? + 3;
                stream.literals(run)?;
                after = Copied::Run;
                continue;
            }
            0..16 => {
                let distance = (usize::from(stream.byte()?) << 2) + (code >> 2) + 1;
                let (length, base) = if after == Copied::Run { (3, 2048) } else { (2, 0) };
                (length, distance + base, code)
            }
            16..32 => {
                let length = stream.length(code & 7, 7)? + 2;
                let word = stream.word()?;
                let distance = ((code & 8) << 11) + (word >> 2);
                if distance == 0 {
                    // The end, which is all there is.
                    return (length == 3 && stream.at == packed.len()).then_some(stream.end);
                }
                (length, distance + 16384, word)
            }
            32..64 => {
                let length = stream.length(code & 31, 31)? + 2;
                let word = stream.word()?;
                (length, (word >> 2) + 1, word)
            }
            _ => {
                let distance = (usize::from(stream.byte()?) << 3) + (code >> 2 & 7) + 1;
                let length = if code < 128 { 3 + (code >> 5 & 1) } else { 5 + (code >> 5 & 3) };
                (length, distance, code)
            }
        };
        stream.repeat(distance, length)?;
        stream.literals(few & 3)?;
        after = if few & 3 == 0 { Copied::Match } else { Copied::Few };
    }
}

struct Stream<'a> {
    packed: &'a [u8],
    at: usize,
    output: &'a mut [u8],
    end: usize,
}

impl Stream<'_> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.packed.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn word(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) | usize::from(self.byte()?) << 8)
    }

    /// A length in the instruction's own bits; none of them set: more than `most`, in bytes of
    /// which each zero counts 255.
    fn length(&mut self, bits: usize, most: usize) -> Option<usize> {
        if bits != 0 {
            return Some(bits);
        }
        let mut length = most;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Some(length + usize::from(last)),
            }
        }
    }

    #[inline(always)]
    fn literals(&mut self, count: usize) -> Option<()> {
        let (from, to) = (self.packed.get(self.at..)?, self.output.get_mut(self.end..)?);
        if !copy_short(from, to, count) {
            to.get_mut(..count)?.copy_from_slice(from.get(..count)?);
        }
        self.at += count;
        self.end += count;
        Some(())
    }

    #[inline(always)]
    fn repeat(&mut self, distance: usize, length: usize) -> Option<()> {
        let from = self.end.checked_sub(distance)?;
        let (before, to) = self.output.get_mut(from..)?.split_at_mut_checked(distance)?;
        if !copy_short(before, to, length) {
            let all = self.output.get_mut(from..self.end.checked_add(length)?)?;
            // What is repeated may be part of what is written.
            let mut done = distance;
            while done < all.len() {
                let more = done.min(all.len() - done);
                all.copy_within(..more, done);
                done += more;
            }
        }
        self.end += length;
        Some(())
    }
}

/// What fits into a register and is copied as a whole.
const SHORT: usize = 16;

/// Copies `count` bytes if they are few and there is room for [`SHORT`], all of which may be written:
/// what is behind them is overwritten later or cut off. Most instructions are for a few bytes, and to
/// call memcpy takes longer than all of the rest.
#[inline(always)]
fn copy_short(from: &[u8], to: &mut [u8], count: usize) -> bool {
    match (from.first_chunk::<SHORT>(), to.first_chunk_mut()) {
        (Some(from), Some(to)) if count <= SHORT => {
            *to = *from;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpacked(packed: &[u8], most: usize) -> Option<Vec<u8>> {
        let mut output = vec![0; most];
        let length = unpack(packed, &mut output)?;
        output.truncate(length);
        Some(output)
    }

    /// Written by hand after the description: each kind of instruction.
    #[test]
    fn instructions() {
        let end = [17, 0, 0];
        let with = |body: &[u8]| [body, &end].concat();
        assert_eq!(unpacked(&with(&[21, b'a', b'b', b'c', b'd']), 9).unwrap(), b"abcd");
        // Two literals, then two bytes from one back (M1), then a literal of the match's own.
        assert_eq!(unpacked(&with(&[19, b'a', b'b', 1, 0, b'z']), 9).unwrap(), b"abbbz");
        // A run of four, then four bytes from four back (M2).
        assert_eq!(unpacked(&with(&[1, b'a', b'b', b'c', b'd', 0x6c, 0]), 9).unwrap(), b"abcdabcd");
        // M3 with a long length: 31 + 2 + 2 bytes from one back.
        let long = unpacked(&with(&[18, b'x', 32, 2, 0, 0]), 64).unwrap();
        assert_eq!(long, vec![b'x'; 36]);
        // Room for one byte less; cut off; behind the end; before the beginning.
        assert_eq!(unpacked(&with(&[18, b'x', 32, 2, 0, 0]), 35), None);
        assert_eq!(unpacked(&[18, b'x', 32, 2, 0, 0], 64), None);
        assert_eq!(unpacked(&[18, b'x', 17, 0, 0, 0], 64), None);
        assert_eq!(unpacked(&with(&[18, b'x', 32, 2, 4, 0]), 64), None);
        assert_eq!(unpacked(&[], 64), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_stream_or_none(bytes: Vec<u8>, most in 0..300usize) {
            if let Some(output) = unpacked(&bytes, most) {
                prop_assert!(output.len() <= most);
            }
        }
    }
}

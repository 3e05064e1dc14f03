//! Looking for text in text: the standard library's search takes 4 KiB of the 500 there may be.

/// What follows the first `part` of `text`.
#[inline(never)]
pub(crate) fn after<'a>(text: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(part.len()).position(|window| window == part)?;
    text.get(at + part.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_after_the_first() {
        for (text, part, rest) in [
            (&b"a/b/c"[..], &b"/"[..], Some(&b"b/c"[..])),
            (b"abc", b"bc", Some(b"")),
            (b"abc", b"abcd", None),
            (b"", b"a", None),
        ] {
            assert_eq!(after(text, part), rest);
        }
    }
}

//! Paths in lines of fstab(5), in which blanks separate: the escapes of them, both ways.

/// White space and backslashes as octal escapes.
pub fn escape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    for &byte in field {
        if byte.is_ascii_whitespace() || byte == b'\\' {
            out.extend_from_slice(&[
                b'\\',
                b'0' + (byte >> 6),
                b'0' + (byte >> 3 & 7),
                b'0' + (byte & 7),
            ]);
        } else {
            out.push(byte);
        }
    }
    out
}

/// The other way, as getmntent(3) reads them.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let octal = field
            .get(at..at + 4)
            .filter(|four| four[0] == b'\\')
            .and_then(|four| std::str::from_utf8(&four[1..]).ok())
            .filter(|digits| digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)))
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None if field[at] == b'\\' && field.get(at + 1) == Some(&b'\\') => {
                out.push(b'\\');
                at += 2;
            }
            None => {
                out.push(field[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_come_back() {
        assert_eq!(escape(b"/a b\\\t"), b"/a\\040b\\134\\011");
        assert_eq!(unescape(b"/a\\040b\\134\\\\c\\9"), b"/a b\\\\c\\9");
        for byte in 1..=255 {
            assert_eq!(unescape(&escape(&[b'/', byte, b'0', b'4'])), [b'/', byte, b'0', b'4']);
        }
    }
}

//! PAX extended headers: records `LENGTH KEY=VALUE\n` that replace fields of the next entry.

use super::{TarError, Xattr};

/// More pieces than any real file has.
pub(super) const PIECES: usize = 1 << 16;

/// More than this is no name and no attribute but an attack.
pub(super) const LIMIT: u64 = 1 << 20;

/// What extended headers say about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// The three forms in which GNU tar puts sparse files into PAX headers.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: u64,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Offsets and lengths (forms 0.0 and 0.1); form 1.0 has its map before the data.
    pub(super) numbers: Vec<u64>,
}

impl Sparse {
    fn add(&mut self, number: &[u8], key: &[u8]) -> Result<(), TarError> {
        let number = decimal(number).filter(|_| self.numbers.len() < 2 * PIECES);
        self.numbers.push(number.ok_or_else(|| TarError::field("extended header", key))?);
        Ok(())
    }
}

impl Extended {
    /// Adds the records of one header.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        while !records.is_empty() {
            // Some writers pad with NULs.
            if records.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let malformed =
                || TarError::field("extended header", self.path.as_deref().unwrap_or(b""));
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length = decimal(&records[..space]).ok_or_else(malformed)?;
            let length = usize::try_from(length).map_err(|_| malformed())?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &records[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let malformed = || TarError::field("extended header", key);
        let unsigned = || decimal(value).ok_or_else(malformed);
        match key {
            // An empty value takes back what an earlier header said.
            b"path" if value.is_empty() => self.path = None,
            b"linkpath" if value.is_empty() => self.link = None,
            b"size" if value.is_empty() => self.size = None,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(unsigned()?),
            b"mtime" => self.mtime = Some(seconds(value).ok_or_else(malformed)?),
            b"GNU.sparse.major" => self.sparse.major = unsigned()?,
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = Some(unsigned()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.add(value, key)?,
            b"GNU.sparse.map" => {
                for number in value.split(|byte| *byte == b',') {
                    self.sparse.add(number, key)?;
                }
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whole seconds of `[-]SECONDS[.FRACTION]`: a squashfs knows no fractions.
fn seconds(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    whole.parse().ok()
}

/// One record, its length counting itself.
pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3; // space, equals sign, newline
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_written(value in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut read = Extended::default();
            read.add(&record(b"SCHILY.xattr.user.x", &value)).unwrap();
            read.add(&record(b"path", &value)).unwrap();
            prop_assert_eq!(&read.xattrs, &vec![(b"user.x".to_vec(), value.clone())]);
            // An empty one is none.
            prop_assert_eq!(read.path, Some(value).filter(|value| !value.is_empty()));
        }

        #[test]
        fn any_bytes_are_an_error_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Extended::default().add(&bytes);
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for text in [
            "5 a=b\n",
            "99 a=b\n",
            "6 ab=\n6",
            "x a=b\n",
            "0 a=b\n",
            "6 abc\n",
            "18446744073709551616 a=b\n",
        ] {
            assert!(Extended::default().add(text.as_bytes()).is_err(), "{text}");
        }
    }
}

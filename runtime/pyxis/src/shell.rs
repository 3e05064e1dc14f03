//! Words of others in commands that somebody is to paste.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use hygiene::text::is_harmless;

/// One word of a shell's, whatever it is; what a terminal would obey stands in it as an escape.
pub(crate) fn quoted(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%=".contains(byte);
    let text = std::str::from_utf8(bytes);
    match text {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if is_harmless(bytes) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut out = String::from("$'");
            for byte in bytes {
                match byte {
                    b'\'' | b'\\' => out.extend(['\\', char::from(*byte)]),
                    b' '..=b'~' => out.push(char::from(*byte)),
                    // Three digits: one more may follow that is meant as such.
                    _ => out += &format!("\\{byte:03o}"),
                }
            }
            out + "'"
        }
    }
}

/// What `s|...|TEXT|` of sed puts in, as it is.
pub(crate) fn replacement(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '\\' | '&' | '|' | '\n') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn words_that_a_person_would_write() {
        for (word, shown) in [
            ("/etc/slurm/plugstack.conf", "/etc/slurm/plugstack.conf"),
            ("", "''"),
            ("/a b", "'/a b'"),
            ("$(id); `id`", "'$(id); `id`'"),
            ("it's", r"'it'\''s'"),
            ("naïve", "'naïve'"),
            ("a\nb'\\\x1b1", r"$'a\012b\'\\\0331'"),
            ("\u{9b}", r"$'\302\233'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
        assert_eq!(replacement("/a&b|\\c"), r"/a\&b\|\\c");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn a_shell_reads_what_was_meant(bytes in proptest::collection::vec(1u8..=255, 0..30)) {
            let word = quoted(OsStr::from_bytes(&bytes));
            prop_assert!(is_harmless(word.as_bytes()));
            let output = Command::new("bash").arg("-c").arg(format!("printf %s {word}")).output();
            prop_assert_eq!(output.unwrap().stdout, bytes);
        }
    }
}

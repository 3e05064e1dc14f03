//! Names of containers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use hygiene::text::is_harmless;

use super::error::ContainerError;

/// Room for the prefixes of [`crate::verbs`] in a file name.
const LONGEST: usize = 230;

/// A checked name: one path component that `list` shows on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(OsString);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`ContainerError::Name`], saying what is wrong with it.
    pub fn new(name: impl Into<OsString>) -> Result<Name, ContainerError> {
        let name = name.into();
        let bytes = name.as_bytes();
        let problem = if bytes.is_empty() {
            "is not empty"
        } else if bytes.contains(&b'/') {
            "has no \"/\""
        } else if bytes[0] == b'.' {
            "does not start with \".\""
        } else if bytes.len() > LONGEST {
            "is at most 230 bytes long"
        } else if !is_harmless(bytes) {
            "has no control characters"
        } else {
            return Ok(Name(name));
        };
        Err(ContainerError::Name { name: name.to_string_lossy().into_owned(), problem })
    }

    /// The name as a path component.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clear_error_per_bad_name() {
        for (name, problem) in [
            ("", "is not empty"),
            ("a/b", "has no \"/\""),
            ("../x", "has no \"/\""),
            (".hidden", "does not start with"),
            ("a\nb", "control"),
            ("a\u{9b}2J", "control"),
            (&"x".repeat(231), "at most 230"),
        ] {
            let error = Name::new(name).unwrap_err().to_string();
            assert!(error.starts_with("Invalid argument: ") && error.contains(problem), "{error}");
        }
        assert!(Name::new("pyxis_123.0").is_ok() && Name::new("with space").is_ok());
    }
}

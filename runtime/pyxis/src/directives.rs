//! `#ENROOT_NAME=value` lines of a configuration script: settings that hold for one start, over
//! those of the environment.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hygiene::unsecure;
use linux::file_error::FileError;

/// Why the script's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectiveError {
    /// The script cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// The shell does not understand a value.
    #[error("{}: cannot evaluate {name}={value}: {problem}", path.display())]
    Evaluate {
        /// The script.
        path: PathBuf,
        /// The variable.
        name: String,
        /// As written.
        value: String,
        /// What the shell said.
        problem: String,
    },
}

/// The script's settings, as variables of the environment.
///
/// # Errors
/// [`DirectiveError`].
pub fn read(path: &Path) -> Result<Vec<(OsString, OsString)>, DirectiveError> {
    let mut settings = Vec::new();
    let failed = |source| FileError::new("read", path, source);
    let text = fs::read(path).map_err(failed)?;
    for (name, value) in find(&String::from_utf8_lossy(&text)) {
        let evaluated = evaluate(value).map_err(|problem| DirectiveError::Evaluate {
            path: path.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            problem,
        })?;
        settings.push((name.into(), evaluated));
    }
    Ok(settings)
}

fn find(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let setting = line.strip_prefix('#')?.trim_start();
        let end = setting.find([' ', '\t', '='])?;
        let (name, value) = (&setting[..end], setting[end..].trim_matches([' ', '\t', '=']));
        let known = name.strip_prefix("ENROOT_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        });
        known.then_some((name, value))
    })
}

/// As a shell would, with a shell only where it makes a difference.
fn evaluate(value: &str) -> Result<OsString, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%=".contains(&byte);
    if value.bytes().all(plain) {
        return Ok(value.into());
    }
    let output = unsecure::command("bash")
        .args(["--norc", "-c", &format!("echo {value}")])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("bash: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(OsString::from_vec(output.stdout.trim_ascii_end().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_settings_in_comments() {
        let text = "#!/usr/bin/enroot batch\n#ENROOT_REMAP_ROOT=y\n# ENROOT_ROOTFS  ubuntu.sqsh\n\
            # ENROOT is nice\n#ENROOT_lower=1\nENROOT_X=1\n#ENROOT_DATA_PATH=\"$HOME/x y\"\n";
        let got: Vec<_> = find(text).collect();
        assert_eq!(
            got,
            [
                ("ENROOT_REMAP_ROOT", "y"),
                ("ENROOT_ROOTFS", "ubuntu.sqsh"),
                ("ENROOT_DATA_PATH", "\"$HOME/x y\"")
            ]
        );
        assert_eq!(evaluate("a/b").unwrap(), "a/b");
        assert_eq!(evaluate("\"$((1 + 1)) x\"").unwrap(), "2 x");
        assert!(evaluate("\"").is_err());
    }
}

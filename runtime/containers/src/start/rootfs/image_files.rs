//! What an image says about how it wants to be started.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::start::rootfs::tree::Tree;
use linux::environ;

/// Where Apptainer notes the variables of an image that it takes from a registry.
const OF_APPTAINER: &str = "/.singularity.d/env/10-docker2singularity.sh";

/// The files by which an image, or its importer, says so.
pub(in crate::start) struct ImageFiles {
    /// `/etc/environment`, and what an image that Apptainer has built says in its place.
    pub(in crate::start) environment: Vec<u8>,
    /// `/etc/fstab`.
    pub(in crate::start) fstab: Vec<u8>,
    /// The directory that programs start in.
    pub(in crate::start) workdir: Option<PathBuf>,
}

impl ImageFiles {
    /// `is_sif`: the image is that of a SIF file.
    pub(in crate::start) fn read(tree: Tree<'_>, is_sif: bool) -> ImageFiles {
        let mut environment = tree.read("/etc/environment").unwrap_or_default();
        if let Some(Ok(script)) = is_sif.then(|| tree.read(OF_APPTAINER)) {
            environment.push(b'\n');
            environment.extend(exported(&script));
        }
        ImageFiles {
            environment,
            fstab: tree.read("/etc/fstab").unwrap_or_default(),
            workdir: tree.read("/etc/rc").ok().as_deref().and_then(workdir),
        }
    }
}

/// The directory that an image's command script starts in: enroot's importer writes it as
/// `cd "DIR" && unset OLDPWD || exit 1`.
fn workdir(script: &[u8]) -> Option<PathBuf> {
    const CD: &[u8] = b"cd \"";
    let mut rest = script;
    loop {
        let line = rest.trim_ascii_start();
        if let Some(text) = line.strip_prefix(CD) {
            let directory = until_quote(text)?;
            return (!directory.is_empty()).then(|| OsString::from_vec(directory).into());
        }
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        rest = &rest[end + 1..];
    }
}

/// Variables as Apptainer writes them, `export NAME="VALUE"` or `export NAME="${NAME:-"VALUE"}"`, as lines
/// of `/etc/environment`. What else a shell would do is left to nobody.
fn exported(script: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut rest = script;
    loop {
        let line = rest.trim_ascii_start();
        if let Some((name, value)) = line.strip_prefix(b"export ").and_then(variable) {
            lines.extend(environ::line(name, &value));
        }
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return lines };
        rest = &rest[end + 1..];
    }
}

fn variable(text: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, text) = (&text[..equals], text[equals + 1..].strip_prefix(b"\"")?);
    let unless_set = [b"${", name, b":-\""].concat();
    let value = until_quote(text.strip_prefix(&unless_set[..]).unwrap_or(text))?;
    Some((name, value))
}

/// What stands between double quotes, the first of which has been read.
fn until_quote(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.iter();
    loop {
        match bytes.next()? {
            b'"' => return Some(out),
            b'\\' => match bytes.next()? {
                byte @ (b'"' | b'$' | b'`' | b'\\') => out.push(*byte),
                byte => out.extend([b'\\', *byte]),
            },
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_working_directory_of_an_image() {
        let script = b"# enroot-provenance: docker://x\n\nmkdir -p \"/work dir\" 2> /dev/null\n\
            cd \"/work dir\" && unset OLDPWD || exit 1\n\nexec \"$@\"\n";
        assert_eq!(workdir(script), Some("/work dir".into()));
        assert_eq!(workdir(b"exec \"$@\"\n"), None);
        let odd = b"mkdir -p \"/a\\\"\ncd \\\"b\"\n  cd \"/a\\\"\ncd \\\"b\" && unset\n";
        assert_eq!(workdir(odd), Some("/a\"\ncd \"b".into()));
        assert_eq!(workdir(b"cd \"/\\$x\\\\y\\z\"\n"), Some("/$x\\y\\z".into()));
        assert_eq!(workdir(b"cd \"/open\n"), None);
    }

    #[test]
    fn reads_what_apptainer_notes() {
        let script = b"#!/bin/sh\nexport PATH=\"/opt/a b/bin:/bin\"\n\
            export LANG=\"${LANG:-\"C.UTF-8\"}\"\nexport Q=\"${Q:-\"a\\\"b\\$c\\\\\"}\"\n\
            export TWO=\"${TWO:-\"x\ny\"}\"\nexport BAD\nexport WORSE=$(id)\nexport OPEN=\"x";
        let lines = environ::entries(&exported(script))
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect::<Vec<_>>();
        let want = ["PATH=/opt/a b/bin:/bin", "LANG=C.UTF-8", "Q=a\"b$c\\", "TWO=x\ny"];
        assert_eq!(lines, want);
    }
}

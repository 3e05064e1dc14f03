//! Finds the headers of a real Slurm, in whatever form they are given.

use crate::error::Error;
use slurm_releases::header::{release_name, version_number};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the installed headers are looked for.
const INSTALLED: &str = "/usr/include";

/// Headers of one Slurm.
#[derive(Debug)]
pub struct Headers {
    /// The directory with `slurm/spank.h` and `slurm/slurm_version.h`.
    pub include: PathBuf,
    /// SLURM_VERSION_NUMBER
    pub number: u32,
}

impl Headers {
    /// `24.11`
    pub fn release(&self) -> String {
        release_name(self.number)
    }
}

/// The headers that are installed on this machine.
///
/// # Errors
/// There are none.
pub fn installed() -> Result<Headers, Error> {
    let spank_h = Path::new(INSTALLED).join("slurm/spank.h");
    if !spank_h.exists() {
        return Err(Error::NoHeader { looked: spank_h });
    }
    include_dir(Path::new(INSTALLED)).ok_or(Error::NoSlurm { path: INSTALLED.into() })
}

/// The headers at `path`: an include directory, a prefix, a source tree or tarball. What must be
/// completed or unpacked goes below `scratch`.
///
/// # Errors
/// There are none.
pub fn resolve(path: &Path, scratch: &Path) -> Result<Headers, Error> {
    let path = path.canonicalize().map_err(Error::io("open", path))?;
    if path.is_file() {
        let tree = unpack(&path, scratch)?;
        return source_tree(&tree, scratch)?.ok_or(Error::NoSlurm { path });
    }
    if let Some(found) = include_dir(&path).or_else(|| include_dir(&path.join("include"))) {
        return Ok(found);
    }
    source_tree(&path, scratch)?.ok_or(Error::NoSlurm { path })
}

fn include_dir(dir: &Path) -> Option<Headers> {
    let number = version_number(dir)?;
    dir.join("slurm/spank.h").exists().then(|| Headers { include: dir.to_path_buf(), number })
}

/// A source tree that was not configured lacks slurm_version.h; META has the version.
fn source_tree(tree: &Path, scratch: &Path) -> Result<Option<Headers>, Error> {
    let (meta, headers) = (tree.join("META"), tree.join("slurm"));
    let Ok(meta) = fs::read_to_string(meta) else { return Ok(None) };
    let Some(number) = meta_number(&meta) else { return Ok(None) };
    if !headers.join("spank.h").exists() {
        return Ok(None);
    }
    let include = scratch.join(format!("include-{number:06x}"));
    let copies = include.join("slurm");
    fs::create_dir_all(&copies).map_err(Error::io("make", &copies))?;
    for entry in fs::read_dir(&headers).map_err(Error::io("list", &headers))? {
        let file = entry.map_err(Error::io("list", &headers))?.path();
        if let (Some("h"), Some(name)) =
            (file.extension().and_then(|e| e.to_str()), file.file_name())
        {
            fs::copy(&file, copies.join(name)).map_err(Error::io("copy", &file))?;
        }
    }
    let version_h = copies.join("slurm_version.h");
    fs::write(&version_h, format!("#define SLURM_VERSION_NUMBER {number:#08x}\n"))
        .map_err(Error::io("write", &version_h))?;
    Ok(Some(Headers { include, number }))
}

/// `Major: 24`, `Minor: 11`, `Micro: 5` (or `0-0rc1`) as one number.
fn meta_number(meta: &str) -> Option<u32> {
    let field = |name: &str| {
        let value = meta.lines().find_map(|line| line.trim().strip_prefix(name))?;
        let digits = value.trim_start_matches(':').trim();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse::<u32>().ok().filter(|n| *n < 256)
    };
    Some(field("Major:")? << 16 | field("Minor:")? << 8 | field("Micro:")?)
}

/// The headers and META of a tarball.
fn unpack(tarball: &Path, scratch: &Path) -> Result<PathBuf, Error> {
    let tree = scratch.join("tarball");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(Error::io("remove", &tree))?;
    }
    fs::create_dir_all(&tree).map_err(Error::io("make", &tree))?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(tarball).arg("-C").arg(&tree);
    tar.args(["--strip-components=1", "--wildcards", "*/META", "*/slurm/*.h"]);
    let failed = |why| Error::Command { command: format!("tar -xf {}", tarball.display()), why };
    let status = tar.status().map_err(|e| failed(Some(e)))?;
    if status.success() { Ok(tree) } else { Err(failed(None)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "  Major:\t24\n  Minor:\t05\n  Micro:\t8\n  Version:\t24.05.8\n";

    fn tree(dir: &Path) {
        fs::create_dir_all(dir.join("slurm")).unwrap();
        fs::write(dir.join("META"), META).unwrap();
        fs::write(dir.join("slurm/spank.h"), "").unwrap();
        fs::write(dir.join("slurm/slurm_version.h.in"), "#undef SLURM_VERSION_NUMBER\n").unwrap();
    }

    #[test]
    fn a_prefix_a_tree_and_a_tarball() {
        let tmp = tempfile::tempdir().unwrap();
        let scratch = tmp.path().join("scratch");
        let source = tmp.path().join("slurm-24.05.8");
        tree(&source);
        let found = resolve(&source, &scratch).unwrap();
        assert_eq!((found.number, found.release().as_str()), (0x18_0508, "24.05"));

        let prefix = tmp.path().join("opt");
        fs::create_dir_all(prefix.join("include")).unwrap();
        fs::rename(found.include.join("slurm"), prefix.join("include/slurm")).unwrap();
        assert_eq!(resolve(&prefix, &scratch).unwrap().number, 0x18_0508);
        assert_eq!(resolve(&prefix.join("include"), &scratch).unwrap().number, 0x18_0508);

        let tarball = tmp.path().join("slurm.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&tarball).arg("-C").arg(tmp.path()).arg("slurm-24.05.8");
        assert!(tar.status().unwrap().success());
        assert_eq!(resolve(&tarball, &scratch).unwrap().number, 0x18_0508);
    }

    #[test]
    fn a_directory_without_slurm_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let error = resolve(tmp.path(), tmp.path()).unwrap_err().to_string();
        assert!(error.contains(&tmp.path().display().to_string()), "{error}");
    }

    #[test]
    fn pre_releases_have_a_number() {
        let meta = META.replace("8", "0-0rc1");
        assert_eq!(meta_number(&meta), Some(0x18_0500));
        assert_eq!(meta_number("Major: x"), None);
    }
}

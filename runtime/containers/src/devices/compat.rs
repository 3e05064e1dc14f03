//! CUDA's forward compatibility: images may bring a libcuda that is newer than the node's driver and
//! made to work with it. Whether it does is written in it, or follows from the versions.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::elf::Elf;
use super::place;

const SECTION: &str = ".note.cuda.fwd_compatibility";
const OWNER: &[u8] = b"NVIDIA Corporation";
const LIBRARY: &str = "libcuda.so.";
/// Of names in the folder; there are a dozen.
const MOST: usize = 1000;

/// What the note says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Note {
    #[serde(rename = "CUDA Version")]
    cuda: String,
    /// Branches of the driver that the library works with.
    #[serde(rename = "Driver")]
    drivers: Vec<u64>,
}

/// A version as numbers, compared from the left.
pub(super) fn version(text: &str) -> Option<Vec<u64>> {
    let mut numbers: Vec<u64> =
        text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

/// The image's folder of compatibility libraries in the present root, if they are to be preferred to the
/// libraries of this driver.
pub(super) fn preferred(
    folder: &Path,
    driver: Option<&str>,
    cuda: Option<&str>,
) -> Option<PathBuf> {
    let library = |name: &std::ffi::OsString| {
        let version = name.to_str()?.strip_prefix(LIBRARY)?;
        version.contains('.').then(|| version.to_owned())
    };
    let names = place::names(folder, MOST).ok()?;
    let mut versions = names.iter().filter_map(library);
    // With several, it is not for us to choose.
    let (Some(compat), None) = (versions.next(), versions.next()) else { return None };
    let file = place::file(&folder.join(format!("{LIBRARY}{compat}"))).ok()?;
    suits(&file, &compat, driver, cuda).then(|| folder.to_owned())
}

fn suits(file: &File, compat: &str, driver: Option<&str>, cuda: Option<&str>) -> bool {
    let compat = version(compat);
    let driver = driver.and_then(version);
    let cuda = cuda.and_then(version);
    let note = Elf::of(file).and_then(|elf| elf.note(SECTION));
    let note = note.filter(|(owner, _)| owner == OWNER);
    let note = note.and_then(|(_, text)| serde_json::from_slice::<Note>(&text).ok());
    match (note, compat, driver) {
        (Some(note), Some(compat), Some(driver)) => {
            driver.first().is_some_and(|branch| note.drivers.contains(branch)) && compat > driver
        }
        (Some(note), ..) => match (version(&note.cuda), cuda) {
            (Some(wants), Some(have)) => wants > have,
            _ => false,
        },
        (None, Some(compat), Some(driver)) if cuda.is_none() => compat.first() > driver.first(),
        (None, ..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::elf::sample;
    use super::*;
    use std::fs;

    #[test]
    fn compatibility_libraries_are_preferred_where_they_are_made_for_the_driver() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("compat");
        let is_preferred = |driver, cuda| preferred(&folder, driver, cuda).is_some();
        assert!(!is_preferred(Some("535.1"), None)); // no folder
        fs::create_dir(&folder).unwrap();
        assert!(!is_preferred(Some("535.1"), None)); // nothing in it
        let file = folder.join("libcuda.so.570.86.10");
        fs::write(&file, sample::library("libcuda.so.1", None)).unwrap();
        for (driver, expected) in [
            ("535.216.01", true),
            ("570.10", false),
            ("570.86.10", false),
            ("580.1", false),
            ("x", false),
        ] {
            assert_eq!(is_preferred(Some(driver), None), expected, "{driver}");
        }
        assert!(!is_preferred(None, None));
        assert!(!is_preferred(Some("535.1"), Some("12.2")));

        let note =
            r#"{"Format": 1, "CUDA Version": "12.8", "Driver": [535, 550, 570], "Device": [1]}"#;
        let note = Some((SECTION, "NVIDIA Corporation", note));
        fs::write(&file, sample::library("libcuda.so.1", note)).unwrap();
        for (driver, expected) in [
            ("535.216.01", true),
            ("550.1", true),
            ("545.1", false),
            ("570.10", true),
            ("570.86.10", false),
            ("570.86.10.0", false),
            ("580.1", false),
        ] {
            assert_eq!(is_preferred(Some(driver), None), expected, "{driver}");
        }
        assert!(is_preferred(None, Some("12.2")));
        assert!(!is_preferred(None, Some("12.8")));
        fs::write(folder.join("libcuda.so.560.1"), "").unwrap();
        assert!(!is_preferred(Some("535.216.01"), None)); // which one?
    }
}

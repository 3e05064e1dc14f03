//! What the headers of a Slurm say of its version.

use std::fs;
use std::path::Path;

/// SLURM_VERSION_NUMBER of the headers in `include/slurm`: up to 20.11 it is in slurm.h, later in
/// slurm_version.h. `None` where it is in neither, as in a source tree that was not configured.
pub fn version_number(include: &Path) -> Option<u32> {
    ["slurm_version.h", "slurm.h"].iter().find_map(|name| {
        let text = fs::read(include.join("slurm").join(name)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut defines = text.lines().filter_map(|line| line.trim().strip_prefix("#define"));
        defines.find_map(|define| {
            let value = define.trim_start().strip_prefix("SLURM_VERSION_NUMBER")?.trim();
            u32::from_str_radix(value.strip_prefix("0x")?, 16).ok()
        })
    })
}

/// The release of a SLURM_VERSION_NUMBER, `24.05`.
pub fn release_name(number: u32) -> String {
    format!("{}.{:02}", number >> 16 & 0xff, number >> 8 & 0xff)
}

//! `list`: the table of releases.

use crate::report::Report;
use serde_json::json;
use slurm_releases::RELEASES;

/// Prints it.
pub fn list(report: &Report) {
    let rows: Vec<_> = RELEASES
        .iter()
        .map(|r| {
            json!({
                "release": r.name, "api": r.api, "soname": r.soname, "latest": r.latest,
                "number": format!("{:#08x}", r.number), "version_check": r.version_check,
                "adds": r.adds,
            })
        })
        .collect();
    report.document(&rows);
    report.line(format_args!(
        "{:<8} {:>3}  {:<14} {:<9} {:<9} ADDS",
        "RELEASE", "API", "SONAME", "LATEST", "NUMBER"
    ));
    for r in RELEASES {
        let adds = r.adds.join(", ");
        let line = format!(
            "{:<8} {:>3}  {:<14} {:<9} {:#08x}  {adds}",
            r.name, r.api, r.soname, r.latest, r.number
        );
        report.line(line.trim_end());
    }
}

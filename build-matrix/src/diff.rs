//! `diff`: what differs between two plugin interfaces, as a table.

use crate::build::Target;
use crate::error::Error;
use crate::interface::{self, Interface};
use crate::report::Report;
use crate::workspace;
use serde::Serialize;
use serde_json::json;

/// One fact that differs.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    name: String,
    /// `None` where there is none.
    a: Option<String>,
    b: Option<String>,
}

/// Compares two releases, or Slurms at paths.
///
/// # Errors
/// They differ, or one cannot be read.
pub fn diff(report: &Report, a: &str, b: &str) -> Result<(), Error> {
    let root = workspace::root()?;
    let progress = report.progress(2);
    let mut both = Vec::new();
    for place in [a, b] {
        progress.start(place);
        both.push(interface::of(place, &root, &progress)?);
    }
    progress.finish();
    let [a, b] = both.as_slice() else { return Ok(()) };
    let rows = rows(a, b);
    report.document(&json!({ "a": a.name, "b": b.name, "differences": rows }));
    if rows.is_empty() {
        report.line(format_args!("{}: same interface as {}", b.name, a.name));
        return Ok(());
    }
    table(report, a, b, &rows);
    Err(Error::Differ { count: rows.len(), a: a.name.clone(), b: b.name.clone() })
}

/// Says of each Slurm at hand how its interface compares with its release's. The build decides
/// whether that is enough.
///
/// # Errors
/// A header cannot be read.
pub fn announce(report: &Report, targets: &[Target]) -> Result<(), Error> {
    let root = workspace::root()?;
    for target in targets {
        let Some(headers) = &target.headers else { continue };
        let progress = report.progress(1);
        progress.start("spank.h");
        let given = interface::of_header(&headers.include, headers.number, &root, &progress)?;
        progress.finish();
        let known = interface::of_release(target.release.name, &root)?;
        let rows = rows(&known, &given);
        if rows.is_empty() {
            report.line(format_args!(
                "{}: same interface as {}",
                headers.include.display(),
                known.name
            ));
        } else {
            table(report, &known, &given, &rows);
        }
    }
    Ok(())
}

fn rows(a: &Interface, b: &Interface) -> Vec<Row> {
    let mut keys: Vec<_> = a.facts.keys().chain(b.facts.keys()).collect();
    keys.sort();
    keys.dedup();
    let differ = keys.into_iter().filter(|key| a.facts.get(*key) != b.facts.get(*key));
    differ
        .map(|key| Row {
            kind: key.0,
            name: key.1.clone(),
            a: a.facts.get(key).cloned(),
            b: b.facts.get(key).cloned(),
        })
        .collect()
}

fn table(report: &Report, a: &Interface, b: &Interface, rows: &[Row]) {
    let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let heads = if a.release == b.release {
        [a.release.clone(), "this one".into()]
    } else {
        [a.release.clone(), b.release.clone()]
    };
    let lines =
        rows.iter().map(|row| [row.kind.into(), row.name.clone(), show(&row.a), show(&row.b)]);
    let head = ["KIND".to_owned(), "NAME".to_owned()].into_iter().chain(heads);
    let head: Vec<String> = head.collect();
    let lines: Vec<Vec<String>> =
        [head].into_iter().chain(lines.map(|line| line.to_vec())).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for line in &lines {
        let text = format!(
            "{:kind$}  {:name$}  {:value$}  {}",
            line[0],
            line[1],
            line[2],
            line[3],
            kind = widths[0],
            name = widths[1],
            value = widths[2]
        );
        report.line(text.trim_end());
    }
}

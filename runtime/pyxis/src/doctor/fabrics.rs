//! Which recipes of fabrics would apply on this node.

use containers::devices::{Host, Recipes, applies, shipped};

use super::Report;

/// Says so of those that are shipped, and of those that are on.
pub(super) fn check(on: &Recipes, report: &mut Report) {
    look(&Host::default(), on, report);
}

fn look(host: &Host, on: &Recipes, report: &mut Report) {
    for (name, recipe) in on {
        report.ok(
            "fabric",
            match applies(host, recipe) {
                Some(count) => format!("inject.{name} is on, and finds {count} libraries here"),
                None => format!("inject.{name} is on, and is not for this node"),
            },
        );
    }
    for (name, recipe) in shipped().iter().filter(|(name, _)| !on.contains_key(*name)) {
        if let Some(count) = applies(host, recipe) {
            let text = format!(
                "this node has what inject.{name} is for ({count} libraries); [inject.{name}] in \
                 pyxis.toml gives it to containers"
            );
            report.ok("fabric", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_apply_is_said() {
        let node = tempfile::tempdir().unwrap();
        std::fs::create_dir(node.path().join("dev")).unwrap();
        std::fs::write(node.path().join("dev/cxi0"), "").unwrap();
        let said = |on: &[&str]| {
            let on = on.iter().map(|name| ((*name).to_owned(), shipped()[*name].clone()));
            let mut report = Report::default();
            look(&Host::below(node.path()), &on.collect(), &mut report);
            report.findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
        };
        let off = said(&[]);
        assert!(
            off.len() == 1 && off[0].starts_with("this node has what inject.cxi is for"),
            "{off:?}"
        );
        assert_eq!(
            said(&["cxi", "gdrcopy"]),
            [
                "inject.cxi is on, and finds 0 libraries here",
                "inject.gdrcopy is on, and is not for this node"
            ]
        );
    }
}

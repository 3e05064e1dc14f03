//! A table of the report, before it has a form: what `summary` makes and `page` writes.

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
    /// Not run.
    None,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
    /// More of it, for those who point at it.
    pub(crate) more: String,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell { verdict: Verdict::None, text: text.into(), more: String::new() }
    }

    pub(crate) fn verdict(good: bool, text: impl Into<String>) -> Cell {
        let verdict = if good { Verdict::Good } else { Verdict::Bad };
        Cell { verdict, text: text.into(), more: String::new() }
    }

    pub(crate) fn none() -> Cell {
        Cell::text("\u{2013}")
    }
}

/// A table, ready to be written in either form.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    /// What its figures are.
    pub(crate) note: &'static str,
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

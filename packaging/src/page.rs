//! Tables as one HTML page that needs nothing else, and as markdown.

use crate::table::{Cell, Table, Verdict};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5b6470;--line:#d8dee4;--head:#f3f5f7;--good:#116329;\
--bad:#b3261e;--badbg:#fdecea;--page:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e3e7eb;--dim:#9aa4af;--line:#343b43;--head:#1d2227;\
--good:#57c26e;--bad:#ff8a80;--badbg:#3b1d1b;--page:#14171a}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0 auto;max-width:76rem;padding:1.2rem}\
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .2rem}p{color:var(--dim);margin:.2rem 0 .7rem}\
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:6px}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.32rem .65rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}\
tr:last-child td{border-bottom:0}th{background:var(--head);font-weight:600}\
td.good{color:var(--good)}td.bad{color:var(--bad);background:var(--badbg);font-weight:600}\
td:first-child{font-weight:600;position:sticky;left:0;background:var(--page)}td.code{font-family:ui-monospace,monospace;font-size:.88em}\
@media(max-width:40rem){body{padding:.6rem;font-size:14px}th,td{padding:.28rem .45rem}}";

/// The whole page.
pub(crate) fn html(tables: &[Table]) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>pyxis: what was built and tested</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>pyxis: what was built and tested</h1>\n<p>{}</p>\n",
        escape(&headline(tables))
    );
    let bad: Vec<String> =
        bad(tables).map(|line| format!("<li>{}</li>\n", escape(&line))).collect();
    if !bad.is_empty() {
        out += &format!("<ul>\n{}</ul>\n", bad.concat());
    }
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        out += &format!("<h2>{}</h2>\n<p>{}</p>\n", escape(table.title), escape(table.note));
        out += "<div class=\"wide\"><table>\n<thead><tr>";
        table
            .head
            .iter()
            .for_each(|head| out += &format!("<th scope=\"col\">{}</th>", escape(head)));
        out += "</tr></thead>\n<tbody>\n";
        for row in &table.rows {
            out += "<tr>";
            for (cell, head) in row.iter().zip(&table.head) {
                out += &html_cell(cell, *head == "sha256");
            }
            out += "</tr>\n";
        }
        out += "</tbody></table></div>\n";
    }
    out + "</body>\n</html>\n"
}

fn html_cell(cell: &Cell, code: bool) -> String {
    let class = match cell.verdict {
        Verdict::Good => " class=\"good\"",
        Verdict::Bad => " class=\"bad\"",
        Verdict::None if code => " class=\"code\"",
        Verdict::None => "",
    };
    let title = match cell.more.as_str() {
        "" => String::new(),
        more => format!(" title=\"{}\"", escape(more)),
    };
    format!("<td{class}{title}>{}</td>", escape(&marked(cell)))
}

/// The same, for a README or a comment.
pub(crate) fn markdown(tables: &[Table]) -> String {
    let mut out = format!("# pyxis: what was built and tested\n\n{}\n", headline(tables));
    let bad: Vec<String> = bad(tables).map(|line| format!("- {line}\n")).collect();
    if !bad.is_empty() {
        out += &format!("\n{}", bad.concat());
    }
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        out += &format!("\n## {}\n\n{}\n\n", table.title, table.note);
        out += &format!("| {} |\n", table.head.join(" | "));
        out += &format!("|{}\n", "---|".repeat(table.head.len()));
        for row in &table.rows {
            let cells: Vec<String> =
                row.iter().map(|cell| marked(cell).replace('|', "\\|")).collect();
            out += &format!("| {} |\n", cells.join(" | "));
        }
    }
    out
}

/// What is bad, in words: a page on paper has nothing to point at.
fn bad(tables: &[Table]) -> impl Iterator<Item = String> + '_ {
    let cells = tables.iter().flat_map(|table| {
        table
            .rows
            .iter()
            .flat_map(move |row| row.iter().zip(&table.head).map(move |cell| (row, cell)))
    });
    cells.filter(|(_, (cell, _))| cell.verdict == Verdict::Bad).map(|(row, (cell, head))| {
        let what = row.first().map_or("", |first| first.text.as_str());
        let more = if cell.more.is_empty() { &cell.text } else { &cell.more };
        format!("{what}, {head}: {}", more.replace('\n', "; "))
    })
}

/// Colours alone tell nothing to those who cannot see them.
fn marked(cell: &Cell) -> String {
    match cell.verdict {
        Verdict::Good => format!("\u{2713} {}", cell.text),
        Verdict::Bad => format!("\u{2717} {}", cell.text),
        Verdict::None => cell.text.clone(),
    }
}

fn headline(tables: &[Table]) -> String {
    let cells = || tables.iter().flat_map(|table| &table.rows).flatten();
    let count = |verdict| cells().filter(|cell| cell.verdict == verdict).count();
    match count(Verdict::Bad) {
        0 => format!("{} checks, all good.", count(Verdict::Good)),
        bad => format!("{bad} of {} checks are bad.", bad + count(Verdict::Good)),
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bad_is_counted_marked_and_escaped() {
        let cell =
            |verdict, text: &str| Cell { verdict, text: text.into(), more: "a \"<b>\"".into() };
        let table = Table {
            title: "T",
            note: "N",
            head: vec!["x", "y"],
            rows: vec![vec![cell(Verdict::Good, "1 < 2"), cell(Verdict::Bad, "a|b")]],
        };
        let page = html(std::slice::from_ref(&table));
        assert!(page.contains("1 of 2 checks are bad."), "{page}");
        assert!(
            page.contains(
                "<td class=\"good\" title=\"a &quot;&lt;b&gt;&quot;\">\u{2713} 1 &lt; 2</td>"
            ),
            "{page}"
        );
        assert!(page.contains("<li>1 &lt; 2, y: a &quot;&lt;b&gt;&quot;</li>"), "{page}");
        assert!(!page.contains("http"), "nothing from elsewhere");
        let text = markdown(&[table]);
        assert!(
            text.contains("| x | y |\n|---|---|\n| \u{2713} 1 < 2 | \u{2717} a\\|b |"),
            "{text}"
        );
    }
}

//! The lines of `enroot.conf`: a name and a value, split where `read` of a shell with blanks and `=`
//! in `IFS` splits them.

use hygiene::text::plain_lines;
use linux::environ::is_name;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The variable.
    pub(super) name: String,
    /// As written: a shell's words.
    pub(super) value: Vec<u8>,
}

/// What keeps a line from setting a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineProblem {
    /// Why not.
    pub(super) problem: String,
    /// Whether enroot passes over it without a word.
    pub(super) passed_over: bool,
}

/// Longer than this an argument of a program cannot be.
const LONGEST: usize = 64 << 10;

/// The lines that say something, and what is wrong with those that do not, each with its number.
pub(super) fn split(text: &[u8]) -> Vec<(usize, Result<Line, LineProblem>)> {
    let text = &*plain_lines(text);
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // What follows the last newline is no line for `read`.
    let unended = lines.pop().unwrap_or_default();
    let mut out: Vec<_> = (1..).zip(lines).filter_map(|(n, line)| Some((n, one(line)?))).collect();
    if one(unended).is_some() {
        let problem = "there is no newline at its end, so enroot does not read it".to_owned();
        let number = text.split(|byte| *byte == b'\n').count();
        out.push((number, Err(LineProblem { problem, passed_over: true })));
    }
    out
}

/// `None` for a comment or an empty line.
fn one(line: &[u8]) -> Option<Result<Line, LineProblem>> {
    let wrong = |problem| Some(Err(LineProblem { problem, passed_over: false }));
    let (name, rest) = word(line.trim_blanks_start());
    if name.is_empty() && rest.is_empty() || name.starts_with(b"#") {
        return None;
    }
    if !is_wanted(name) {
        let shown = String::from_utf8_lossy(name);
        let problem = format!("{shown:?} is no variable that enroot.conf sets");
        return Some(Err(LineProblem { problem, passed_over: true }));
    }
    if line.len() > LONGEST {
        return wrong(format!("it is longer than {LONGEST} bytes"));
    }
    if !is_name(name) || line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
        return wrong("it has characters that no variable has".to_owned());
    }
    // The last of the fields is all that is left, unless it is one word.
    let value = match word(rest) {
        (word, b"") => word,
        _ => rest.trim_blanks_end(),
    };
    let name = String::from_utf8_lossy(name).into_owned();
    Some(Ok(Line { name, value: value.to_vec() }))
}

/// A first field, and what follows the delimiter: one `=` with any blanks around it, or blanks.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| b" \t=".contains(byte)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let rest = rest.trim_blanks_start();
    let rest = rest.strip_prefix(b"=").unwrap_or(rest);
    (word, rest.trim_blanks_start())
}

/// Whether enroot takes the variable from its file.
pub(super) fn is_wanted(name: &[u8]) -> bool {
    let of_enroot = name.strip_prefix(b"ENROOT_").is_some_and(|rest| {
        !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
    });
    let of_devices = [b"MELLANOX_".as_slice(), b"NVIDIA_"].iter().any(|p| name.starts_with(p));
    let of_network: [&[u8]; 6] = [
        b"SSL_CERT_DIR",
        b"SSL_CERT_FILE",
        b"all_proxy",
        b"no_proxy",
        b"http_proxy",
        b"https_proxy",
    ];
    of_enroot || of_devices || of_network.contains(&name)
}

/// Blanks of `IFS`, which are fewer than ASCII has.
trait Blanks {
    fn trim_blanks_start(&self) -> &[u8];
    fn trim_blanks_end(&self) -> &[u8];
}

impl Blanks for [u8] {
    fn trim_blanks_start(&self) -> &[u8] {
        let start = self.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(self.len());
        &self[start..]
    }

    fn trim_blanks_end(&self) -> &[u8] {
        let end = self.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
        &self[..end]
    }
}

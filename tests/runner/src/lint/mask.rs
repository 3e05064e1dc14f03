//! A shell script with everything that is not its own syntax made unrecognisable: what is left can be taken apart by the
//! operators that stand in it.

/// Stands for a byte that is quoted, or within an expansion, a test or an arithmetic expression.
pub(crate) const HIDDEN: u8 = 0x1a;

/// A copy of the same length, with its lines where they were: quoted text, expansions, the inside of `[[ ]]` and `(( ))`,
/// subshells and here-documents are hidden, comments and continued lines are blanks.
pub(crate) fn mask(script: &str) -> Vec<u8> {
    let mut masker = Masker {
        text: script.as_bytes(),
        out: Vec::with_capacity(script.len()),
        documents: Vec::new(),
    };
    while masker.at() < masker.text.len() {
        masker.step();
    }
    masker.out
}

struct Masker<'a> {
    text: &'a [u8],
    out: Vec<u8>,
    /// The words that end the here-documents which begin with the next line.
    documents: Vec<Vec<u8>>,
}

impl Masker<'_> {
    fn at(&self) -> usize {
        self.out.len()
    }

    fn starts(&self, with: &str) -> bool {
        self.text[self.at()..].starts_with(with.as_bytes())
    }

    /// Whether a word begins here.
    fn at_word(&self) -> bool {
        self.at() == 0
            || matches!(
                self.text[self.at() - 1],
                b' ' | b'\t' | b'\n' | b';' | b'(' | b'{' | b'!' | b'&' | b'|'
            )
    }

    fn keep(&mut self, count: usize) {
        let at = self.at();
        self.out.extend_from_slice(&self.text[at..(at + count).min(self.text.len())]);
    }

    fn hide_to(&mut self, end: usize) {
        let end = end.min(self.text.len());
        self.out.resize(end, HIDDEN);
    }

    fn step(&mut self) {
        let rest = &self.text[self.at()..];
        match rest[0] {
            b'\\' if rest.get(1) == Some(&b'\n') => self.out.extend_from_slice(b"  "),
            b'\\' => self.hide_to(self.at() + 2),
            b'#' if self.at_word() => {
                let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                self.out.resize(self.at() + length, b' ');
            }
            b'\n' => {
                self.keep(1);
                self.skip_documents();
            }
            b'\'' | b'"' | b'`' => self.hide_to(after_quote(self.text, self.at())),
            b'$' if matches!(rest.get(1), Some(b'(' | b'{' | b'\'')) => {
                self.hide_to(after_expansion(self.text, self.at()));
            }
            b'<' | b'>' if rest.get(1) == Some(&b'(') => {
                self.hide_to(after_parenthesis(self.text, self.at() + 1))
            }
            b'<' if self.starts("<<<") => self.keep(3),
            b'<' if self.starts("<<") => self.note_document(),
            b'(' if self.at_word() && rest.get(1) != Some(&b')') => {
                self.hide_to(after_parenthesis(self.text, self.at()))
            }
            b'[' if self.at_word() && self.starts("[[ ") => {
                let end = find(self.text, self.at(), b" ]]").map_or(self.text.len(), |end| end + 3);
                self.keep(2);
                self.hide_to(end - 2);
                self.keep(2);
            }
            _ => self.keep(1),
        }
    }

    fn note_document(&mut self) {
        let line = self.text[self.at()..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let word = line[2..].strip_prefix(b"-").unwrap_or(&line[2..]).trim_ascii_start();
        let quoted = matches!(word.first(), Some(b'\'' | b'"'));
        let end = word
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\t' | b')' | b';' | b'|' | b'&' | b'>'));
        let word = &word[..end.unwrap_or(word.len())];
        self.documents.push(if quoted { word[1..word.len() - 1].to_vec() } else { word.to_vec() });
        self.keep(2);
    }

    fn skip_documents(&mut self) {
        for word in std::mem::take(&mut self.documents) {
            while self.at() < self.text.len() {
                let line =
                    self.text[self.at()..].split(|byte| *byte == b'\n').next().unwrap_or_default();
                let ends = line.trim_ascii_start() == word;
                self.hide_to(self.at() + line.len() + 1);
                if ends {
                    // The next statement is on a line of its own.
                    if let Some(last) = self.out.last_mut() {
                        *last = b'\n';
                    }
                    break;
                }
            }
        }
    }
}

fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    (from..text.len()).find(|at| text[*at..].starts_with(what))
}

/// The place after the quoted text that begins at `at`.
fn after_quote(text: &[u8], at: usize) -> usize {
    let quote = text[at];
    let mut here = at + 1;
    while here < text.len() {
        match text[here] {
            byte if byte == quote => return here + 1,
            b'\\' if quote != b'\'' => here += 2,
            b'$' if quote == b'"' && matches!(text.get(here + 1), Some(b'(' | b'{')) => {
                here = after_expansion(text, here)
            }
            _ => here += 1,
        }
    }
    here
}

/// The place after the `$(`, `${` or `$'` that stands at `at`.
fn after_expansion(text: &[u8], at: usize) -> usize {
    match text[at + 1] {
        b'(' => after_parenthesis(text, at + 1),
        b'\'' => {
            let mut here = at + 2;
            while here < text.len() && text[here] != b'\'' {
                here += if text[here] == b'\\' { 2 } else { 1 };
            }
            here + 1
        }
        _ => {
            let mut here = at + 2;
            while here < text.len() && text[here] != b'}' {
                here = match text[here] {
                    b'\\' => here + 2,
                    b'"' => after_quote(text, here),
                    b'$' if matches!(text.get(here + 1), Some(b'(' | b'{')) => {
                        after_expansion(text, here)
                    }
                    _ => here + 1,
                };
            }
            here + 1
        }
    }
}

/// The place after the parenthesis that is closed of the one at `at`.
fn after_parenthesis(text: &[u8], at: usize) -> usize {
    let mut here = at + 1;
    while here < text.len() {
        here = match text[here] {
            b')' => return here + 1,
            b'\\' => here + 2,
            b'(' => after_parenthesis(text, here),
            b'\'' | b'"' | b'`' => after_quote(text, here),
            b'$' if matches!(text.get(here + 1), Some(b'(' | b'{')) => after_expansion(text, here),
            _ => here + 1,
        };
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(script: &str) -> String {
        let masked = mask(script);
        assert_eq!(masked.len(), script.len());
        String::from_utf8(masked).unwrap().replace(char::from(HIDDEN), "?")
    }

    #[test]
    fn only_the_operators_of_the_script_itself_are_left() {
        assert_eq!(seen("a 'b && c' && d"), "a ???????? && d");
        assert_eq!(seen("[ \"$(a && b)\" ] && c"), "[ ??????????? ] && c");
        assert_eq!(seen("[[ $a == b && c ]] && d"), "[[??????????????]] && d");
        assert_eq!(seen("((a && b)) || c"), "?????????? || c");
        assert_eq!(seen("a # && b\nc"), "a       \nc");
        assert_eq!(seen("a \\\n && b"), "a    && b");
        assert_eq!(seen("x=\"${a:-\"}\"}\"; b"), "x=???????????; b");
        assert_eq!(seen("f() { a; }"), "f() { a; }");
    }

    #[test]
    fn here_documents_are_no_statements() {
        assert_eq!(seen("cat << 'END'\n! a && b\nEND\nc"), "cat << ?????\n????????????\nc");
        assert_eq!(seen("cat <<< x\n! b"), "cat <<< x\n! b");
    }
}

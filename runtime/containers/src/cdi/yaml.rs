//! YAML (and with it JSON) as a tree that remembers its lines, read by `saphyr-parser`: a
//! specification that is refused is refused with the line to mend.
//!
//! Anchors, which specifications have no use for, are refused: nothing grows when it is read.

use std::fmt::Display;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::nearest;

/// A document nested deeper is none of ours.
const MAX_DEPTH: usize = 16;

/// What is wrong, and the line it is in, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) text: String,
}

/// A part of a document.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    value: Value,
}

/// Keys and values, in the order of the file.
pub(super) type Table = Vec<(String, Node)>;

#[derive(Debug)]
enum Value {
    Null,
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Table),
}

/// Reads the one document that `text` is.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let mut events = Parser::new_from_str(text);
    let mut document = None;
    loop {
        match next(&mut events)? {
            (Event::StreamEnd, _) => {
                return document.ok_or(Problem { line: 1, text: "it is empty".to_owned() });
            }
            (Event::StreamStart | Event::DocumentEnd | Event::Nothing, _) => {}
            (Event::DocumentStart(_), span) => {
                if document.is_some() {
                    return Err(problem(&span, "a second document begins here"));
                }
                let first = next(&mut events)?;
                document = Some(node(&mut events, first, 0)?);
            }
            (_, span) => return Err(problem(&span, "no document begins here")),
        }
    }
}

type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

fn next<'a>(events: &mut Events<'a>) -> Result<(Event<'a>, Span), Problem> {
    match events.next_event() {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => {
            Err(Problem { line: error.marker().line(), text: error.info().to_owned() })
        }
        None => Err(Problem { line: 1, text: "it ends too early".to_owned() }),
    }
}

fn problem(span: &Span, text: impl Display) -> Problem {
    Problem { line: span.start.line(), text: text.to_string() }
}

fn node<'a>(
    events: &mut Events<'a>,
    (event, span): (Event<'a>, Span),
    depth: usize,
) -> Result<Node, Problem> {
    if depth > MAX_DEPTH {
        return Err(problem(&span, "it is nested too deeply"));
    }
    let value = match event {
        Event::Scalar(text, style, ..) => {
            let plain = style == ScalarStyle::Plain;
            match &*text {
                "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                _ => Value::Scalar { text: text.into_owned(), plain },
            }
        }
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(events)? {
                    (Event::SequenceEnd, _) => break Value::List(items),
                    item => items.push(node(events, item, depth + 1)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut pairs: Vec<(String, Node)> = Vec::new();
            loop {
                let (key, at) = match next(events)? {
                    (Event::MappingEnd, _) => break Value::Map(pairs),
                    (Event::Scalar(key, ..), at) => (key.into_owned(), at),
                    (_, at) => return Err(problem(&at, "a key is a word")),
                };
                if pairs.iter().any(|(known, _)| *known == key) {
                    return Err(problem(&at, format_args!("`{key}` is there twice")));
                }
                let value = next(events)?;
                let mut value = node(events, value, depth + 1)?;
                // Where a reader looks first.
                value.line = at.start.line();
                pairs.push((key, value));
            }
        }
        Event::Alias(_) => return Err(problem(&span, "anchors and aliases are not understood")),
        _ => return Err(problem(&span, "a value is missing")),
    };
    Ok(Node { line: span.start.line(), value })
}

impl Node {
    fn wrong(&self, text: impl Display) -> Problem {
        Problem { line: self.line, text: text.to_string() }
    }

    /// A table whose keys are among `known`.
    pub(super) fn fields(&self, what: &str, known: &[&str]) -> Result<Fields<'_>, Problem> {
        let pairs: &[(String, Node)] = match &self.value {
            Value::Map(pairs) => pairs,
            Value::Null => &[],
            _ => return Err(self.wrong(format_args!("{what} is a table of keys and values"))),
        };
        for (key, value) in pairs {
            if !known.contains(&key.as_str()) {
                let hint = nearest(key, known.iter().copied());
                let hint = hint.map(|word| format!("; did you mean `{word}`?"));
                let hint = hint.unwrap_or_default();
                return Err(value.wrong(format_args!("{what} has no key `{key}`{hint}")));
            }
        }
        Ok(Fields { line: self.line, what: what.to_owned(), pairs })
    }

    /// The pairs of a table with any keys.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &Node)> {
        let pairs: &[(String, Node)] = match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        };
        pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether there is no value, or an empty list or table.
    pub(super) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar { .. } => false,
            Value::List(items) => items.is_empty(),
            Value::Map(pairs) => pairs.is_empty(),
        }
    }

    /// Shows `work` the table that this is, or those of the list that this is.
    pub(super) fn each_table(&mut self, work: &mut dyn FnMut(&mut Table)) {
        match &mut self.value {
            Value::Map(pairs) => work(pairs),
            Value::List(items) => items.iter_mut().for_each(|item| item.each_table(work)),
            Value::Null | Value::Scalar { .. } => {}
        }
    }

    /// A string. What YAML takes for a number is one as well: versions and ids look like that.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        match &self.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.wrong("it takes a string")),
        }
    }

    /// A whole number.
    pub(super) fn number(&self) -> Result<i64, Problem> {
        let wrong = || self.wrong("it takes a whole number");
        let Value::Scalar { text, plain: true } = &self.value else { return Err(wrong()) };
        let radix = |prefix| text.strip_prefix(prefix);
        match (radix("0x"), radix("0o")) {
            (Some(digits), _) => i64::from_str_radix(digits, 16).map_err(|_| wrong()),
            (_, Some(digits)) => i64::from_str_radix(digits, 8).map_err(|_| wrong()),
            _ => text.parse().map_err(|_| wrong()),
        }
    }

    /// The items of a list; none where there is nothing.
    pub(super) fn list(&self) -> Result<&[Node], Problem> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.wrong("it takes a list")),
        }
    }
}

/// A table's keys.
pub(super) struct Fields<'a> {
    pub(super) line: usize,
    what: String,
    pairs: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, Problem> {
        match self.get(key) {
            Some(value) => value.text(),
            None => Err(Problem { line: self.line, text: format!("{} has no `{key}`", self.what) }),
        }
    }

    pub(super) fn optional_text(&self, key: &str) -> Result<Option<&'a str>, Problem> {
        self.get(key).map(Node::text).transpose()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Problem> {
        self.list(key)?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    pub(super) fn list(&self, key: &str) -> Result<&'a [Node], Problem> {
        self.get(key).map_or(Ok(&[]), Node::list)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<i64>, Problem> {
        self.get(key).map(Node::number).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let Problem { line, text } = parse(text).unwrap_err();
        format!("{line}: {text}")
    }

    #[test]
    fn yaml_and_json_are_the_same() {
        for text in [
            "a: [x, 'y']\nb:\n  n: 0x10\n  m: 8\nc:\n",
            "{\n\t\"a\": [\"x\",\n\"y\"], \"b\": {\"n\": 0x10, \"m\": 8}, \"c\": null\n}\n",
        ] {
            let node = parse(text).unwrap();
            let fields = node.fields("it", &["a", "b", "c"]).unwrap();
            assert_eq!(fields.texts("a").unwrap(), ["x", "y"]);
            let inner = fields.get("b").unwrap().fields("b", &["n", "m"]).unwrap();
            assert_eq!(
                (inner.number("n").unwrap(), inner.number("m").unwrap()),
                (Some(16), Some(8))
            );
            assert!(fields.list("c").unwrap().is_empty());
        }
    }

    #[test]
    fn problems_have_their_line() {
        assert_eq!(error(""), "1: it is empty");
        assert_eq!(error("a: 1\n---\nb: 2\n"), "2: a second document begins here");
        assert_eq!(error("a: 1\nb: 2\na: 3\n"), "3: `a` is there twice");
        assert_eq!(error("a: &x 1\nb: *x\n"), "2: anchors and aliases are not understood");
        assert!(error("a: [1, 2\nb: 3\n").starts_with("2: "), "{}", error("a: [1, 2\nb: 3\n"));
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(error(&deep), "1: it is nested too deeply");
        let node = parse("\nnmae: x\n").unwrap();
        let wrong = node.fields("a device", &["name"]).err().unwrap();
        assert_eq!(wrong.text, "a device has no key `nmae`; did you mean `name`?");
        assert_eq!(wrong.line, 2);
    }
}

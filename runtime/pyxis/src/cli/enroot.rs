//! enroot's grammar of arguments, for the command under that name: options come first, each is a word of
//! its own, the last one counts, and its usage is on standard output. What is wrong by it ends the command;
//! what is right is written as our own definition of the verbs has it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::CommandFactory;
use hygiene::console;

use super::{Cli, Exit};

/// An option, of which the verbs have a few each.
struct Choice {
    /// Zero where there is none.
    short: u8,
    long: &'static str,
    /// What its value is called, if it takes one.
    value: &'static str,
    /// All of them count, and each line of a value by itself.
    many: bool,
    help: &'static str,
}

const fn flag(short: u8, long: &'static str, help: &'static str) -> Choice {
    Choice { short, long, value: "", many: false, help }
}

const fn takes(short: u8, long: &'static str, value: &'static str, help: &'static str) -> Choice {
    Choice { short, long, value, many: false, help }
}

const fn collects(
    short: u8,
    long: &'static str,
    value: &'static str,
    help: &'static str,
) -> Choice {
    Choice { short, long, value, many: true, help }
}

/// How many words a verb takes after its options.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    Exactly(usize),
    AtLeast(usize),
    /// Whatever is there is not looked at.
    Any,
}

struct Grammar {
    verb: &'static str,
    /// What follows the verb in the usage.
    operands: &'static str,
    count: Count,
    options: &'static [Choice],
}

const ARCH: Choice = takes(b'a', "arch", "ARCH", "architecture of the image");
const CONTAINER: Choice = takes(b'n', "name", "NAME", "name of the container");
const REPLACE: Choice = flag(b'f', "force", "replace what is there");
const VARIABLE: Choice = collects(b'e', "env", "KEY[=VAL]", "a variable of the environment");

const VERBS: [Grammar; 12] = [
    Grammar {
        verb: "batch",
        operands: "[options] [--] CONFIG [COMMAND] [ARG...]",
        count: Count::AtLeast(1),
        options: &[],
    },
    Grammar {
        verb: "bundle",
        operands: "[options] [--] IMAGE",
        count: Count::Exactly(1),
        options: &[
            flag(b'a', "all", "absent, as the verb is"),
            flag(b'c', "checksum", "absent"),
            takes(b'd', "desc", "TEXT", "absent"),
            takes(b'o', "output", "BUNDLE", "absent"),
            takes(b't', "target", "DIR", "absent"),
            flag(b'f', "force", "absent"),
        ],
    },
    Grammar {
        verb: "create",
        operands: "[options] [--] IMAGE",
        count: Count::Exactly(1),
        options: &[CONTAINER, REPLACE],
    },
    Grammar {
        verb: "digest",
        operands: "[options] [--] URI",
        count: Count::Exactly(1),
        options: &[ARCH],
    },
    Grammar {
        verb: "exec",
        operands: "[options] [--] PID COMMAND [ARG...]",
        count: Count::AtLeast(2),
        options: &[VARIABLE],
    },
    Grammar {
        verb: "export",
        operands: "[options] [--] NAME",
        count: Count::Exactly(1),
        options: &[takes(b'o', "output", "FILE", "image file to make"), REPLACE],
    },
    Grammar {
        verb: "import",
        operands: "[options] [--] URI",
        count: Count::Exactly(1),
        options: &[ARCH, takes(b'o', "output", "FILE", "image file to make")],
    },
    Grammar { verb: "info", operands: "", count: Count::Exactly(0), options: &[] },
    Grammar {
        verb: "list",
        operands: "[options]",
        count: Count::Any,
        options: &[flag(b'f', "fancy", "a table, with the processes")],
    },
    Grammar {
        verb: "load",
        operands: "[options] [--] URI",
        count: Count::Exactly(1),
        options: &[ARCH, CONTAINER, REPLACE],
    },
    Grammar {
        verb: "remove",
        operands: "[options] [--] NAME...",
        count: Count::AtLeast(1),
        options: &[flag(b'f', "force", "ask nothing")],
    },
    Grammar {
        verb: "start",
        operands: "[options] [--] NAME|IMAGE [COMMAND] [ARG...]",
        count: Count::AtLeast(1),
        options: &[
            takes(b'c', "conf", "CONFIG", "a bash script that is run before"),
            VARIABLE,
            takes(0, "rc", "SCRIPT", "a script in place of the image's own"),
            flag(b'r', "root", "be root inside"),
            flag(b'w', "rw", "a root filesystem to write to"),
            collects(b'm', "mount", "FSTAB", "a mount, its fields separated by colons"),
            // Of enroot's after 4.1.2.
            flag(0, "pid", "a PID namespace of its own"),
            flag(0, "net", "a network namespace of its own, with loopback only"),
            flag(0, "ipc", "an IPC namespace of its own, and the least devices"),
            flag(0, "uts", "a host name of its own"),
        ],
    },
];

/// What enroot says of a file without a name, and no usage with it.
const EMPTY: &str = "Invalid argument";

/// Why the command ends here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Whose usage is shown, or the command's own.
    verb: Option<&'static str>,
    /// What is wrong, unless it was asked for.
    problem: Option<String>,
}

impl Usage {
    /// Shows it, where enroot does.
    pub(crate) fn show(&self) -> Exit {
        if self.problem.as_deref() == Some(EMPTY) {
            console::tell(format_args!("[ERROR] {EMPTY}"));
            return Exit::FAILURE;
        }
        let grammar = self.verb.and_then(grammar_of);
        let lines = grammar.map_or_else(of_the_command, of_a_verb);
        let shown = console::print_lines(lines);
        match &self.problem {
            Some(problem) => console::tell(format_args!("[ERROR] {problem}")),
            None if shown.is_ok() => return Exit::SUCCESS,
            None => {}
        }
        Exit::FAILURE
    }
}

/// The words of our own definition, for those that the command was given, name first.
pub(crate) fn translated(words: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Usage> {
    let mut words = words;
    let name = words.next().unwrap_or_default();
    let Some(verb) = words.next() else { return Err(wrong(None, "no command".to_owned())) };
    if let Some(grammar) = verb.to_str().and_then(grammar_of) {
        return grammar.read(name, words.collect());
    }
    match verb.to_str() {
        Some("help") => Err(Usage { verb: None, problem: None }),
        Some("version") => Ok(vec![name, verb]),
        // One that enroot has not.
        Some(word) if Cli::command().find_subcommand(word).is_some() => {
            Ok([name, verb].into_iter().chain(words).collect())
        }
        _ => Err(wrong(None, format!("no such command: {}", verb.to_string_lossy()))),
    }
}

fn grammar_of(verb: &str) -> Option<&'static Grammar> {
    VERBS.iter().find(|grammar| grammar.verb == verb)
}

fn wrong(verb: Option<&'static str>, problem: String) -> Usage {
    Usage { verb, problem: Some(problem) }
}

impl Grammar {
    fn read(&'static self, name: OsString, words: Vec<OsString>) -> Result<Vec<OsString>, Usage> {
        let mut said: Vec<(&Choice, OsString)> = Vec::new();
        let mut rest = words.into_iter().peekable();
        while let Some(word) = rest.next_if(|word| is_option(word)) {
            match word.as_bytes() {
                b"-h" | b"--help" => return Err(Usage { verb: Some(self.verb), problem: None }),
                b"--" => break,
                _ => {}
            }
            let (choice, joined) = self.choice(&word)?;
            let value = match joined {
                _ if choice.value.is_empty() => OsString::new(),
                Some(joined) => joined,
                None => rest.next().unwrap_or_default(),
            };
            if !choice.value.is_empty() && value.is_empty() {
                return Err(self.wrong(&format!("{} takes a value", word.to_string_lossy())));
            }
            if !choice.many {
                said.retain(|(other, _)| other.long != choice.long);
            }
            said.push((choice, value));
        }
        let operands: Vec<OsString> = rest.collect();
        let fits = match self.count {
            Count::Exactly(count) => operands.len() == count,
            Count::AtLeast(count) => operands.len() >= count,
            Count::Any => true,
        };
        if !fits {
            return Err(self.wrong(&format!("it takes {}", self.wants())));
        }
        if self.verb == "create" && operands.iter().any(|word| word.is_empty()) {
            return Err(Usage { verb: None, problem: Some(EMPTY.to_owned()) });
        }
        Ok(self.written(name, &said, operands))
    }

    /// The option that `word` is, and the value that is written in it.
    fn choice(&'static self, word: &OsStr) -> Result<(&'static Choice, Option<OsString>), Usage> {
        let bytes = word.as_bytes();
        let found = self.options.iter().find_map(|choice| {
            let long = bytes.strip_prefix(b"--").unwrap_or_default();
            let value = long.strip_prefix(choice.long.as_bytes());
            match value {
                Some([]) => Some((choice, None)),
                Some([b'=', value @ ..]) if !choice.value.is_empty() => {
                    Some((choice, Some(OsString::from_vec(value.to_vec()))))
                }
                _ if choice.short != 0 && bytes == [b'-', choice.short] => Some((choice, None)),
                _ => None,
            }
        });
        found.ok_or_else(|| {
            self.wrong(&format!(
                "no such option: {} (each is a word of its own)",
                word.to_string_lossy()
            ))
        })
    }

    fn written(
        &self,
        name: OsString,
        said: &[(&Choice, OsString)],
        operands: Vec<OsString>,
    ) -> Vec<OsString> {
        let mut words = vec![name, self.verb.into()];
        for (choice, value) in said {
            let option = format!("--{}", choice.long);
            if choice.value.is_empty() {
                words.push(option.into());
                continue;
            }
            let values: Vec<&[u8]> = if choice.many {
                value.as_bytes().split(|byte| *byte == b'\n').collect()
            } else {
                vec![value.as_bytes()]
            };
            for value in values {
                let word = [option.as_bytes(), b"=", value].concat();
                words.push(OsString::from_vec(word));
            }
        }
        if self.count != Count::Any {
            words.push("--".into());
            words.extend(operands);
        }
        words
    }

    fn wants(&self) -> &'static str {
        let operands = self.operands.trim_start_matches("[options] ").trim_start_matches("[--] ");
        if operands.is_empty() { "no words" } else { operands }
    }

    fn wrong(&self, problem: &str) -> Usage {
        let verb = grammar_of(self.verb).map(|grammar| grammar.verb);
        wrong(verb, format!("{}: {problem}", self.verb))
    }
}

/// Whether the word is read as one; "-" alone is none.
fn is_option(word: &OsStr) -> bool {
    word.len() > 1 && word.as_bytes().starts_with(b"-")
}

fn of_a_verb(grammar: &'static Grammar) -> Vec<String> {
    let usage = format!("Usage: enroot {} {}", grammar.verb, grammar.operands);
    let mut lines = vec![usage.trim_end().to_owned()];
    for choice in grammar.options {
        let short = match choice.short {
            0 => "   ".to_owned(),
            short => format!("-{},", char::from(short)),
        };
        let long = format!("--{} {}", choice.long, choice.value);
        lines.push(format!("  {short} {long:<20} {}", choice.help));
    }
    lines
}

fn of_the_command() -> Vec<String> {
    let mut lines = vec!["Usage: enroot COMMAND [ARG...]".to_owned()];
    lines.extend(VERBS.iter().map(|grammar| {
        let line = format!("  {:<7}{}", grammar.verb, grammar.operands);
        line.trim_end().to_owned()
    }));
    lines.push("  version".to_owned());
    lines.push(
        "This is pyxis under enroot's name; `pyxis --help` has what it can do beside".to_owned(),
    );
    lines
}

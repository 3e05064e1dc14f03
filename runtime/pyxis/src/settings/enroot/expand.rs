//! What a shell makes of the words of a value, for those that need none: plain text, quotes,
//! variables with and without a default, `~`, and the caller's ids. All else is left to a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use linux::environ::Environ;

use super::super::user::User;

/// Variables that a shell sets or changes by itself.
const OF_THE_SHELL: [&str; 25] = [
    "DIRSTACK",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "HOSTNAME",
    "HOSTTYPE",
    "IFS",
    "LINENO",
    "MACHTYPE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "OSTYPE",
    "PIPESTATUS",
    "PPID",
    "PS4",
    "PWD",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "_",
];

/// What `echo` of these words prints; `None` where only a shell can tell.
pub(super) fn expand(text: &[u8], environ: &Environ, user: &User) -> Option<Vec<u8>> {
    let mut words = Words { text, at: 0, environ, user, done: Vec::new(), word: None };
    words.all()?;
    let Words { done, .. } = words;
    // What `echo` takes for its own options.
    let option = |word: &Vec<u8>| {
        word.len() > 1 && word[0] == b'-' && word[1..].iter().all(|byte| b"neE".contains(byte))
    };
    let out = done.join(&b' ');
    (!done.first().is_some_and(option) && !out.contains(&b'\n')).then_some(out)
}

struct Words<'a> {
    text: &'a [u8],
    at: usize,
    environ: &'a Environ,
    user: &'a User,
    done: Vec<Vec<u8>>,
    /// The one that is being read, unless it is nothing yet.
    word: Option<Vec<u8>>,
}

impl Words<'_> {
    fn all(&mut self) -> Option<()> {
        let mut fresh = true;
        while let Some(&byte) = self.text.get(self.at) {
            let first = std::mem::replace(&mut fresh, false);
            match byte {
                b' ' | b'\t' => {
                    self.done.extend(self.word.take());
                    self.at += 1;
                    fresh = true;
                }
                b'#' if first => break,
                b'~' if first => self.home()?,
                b'\'' => {
                    let rest = &self.text[self.at + 1..];
                    let end = rest.iter().position(|byte| *byte == b'\'')?;
                    self.add(&rest[..end]);
                    self.at += end + 2;
                }
                b'"' => self.quoted()?,
                b'\\' => {
                    let next = *self.text.get(self.at + 1)?;
                    self.add(&[next]);
                    self.at += 2;
                }
                b'$' => {
                    let value = self.variable()?;
                    // Such a value becomes several words, or names of files.
                    if value.iter().any(|byte| b" \t\n*?[\\".contains(byte)) {
                        return None;
                    }
                    if !value.is_empty() {
                        self.add(&value);
                    }
                }
                _ if is_plain(byte) || byte == b'#' => {
                    self.add(&[byte]);
                    self.at += 1;
                }
                _ => return None,
            }
        }
        self.done.extend(self.word.take());
        Some(())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.word.get_or_insert_default().extend_from_slice(bytes);
    }

    fn home(&mut self) -> Option<()> {
        let next = self.text.get(self.at + 1);
        if !next.is_none_or(|byte| b"/ \t".contains(byte)) {
            return None;
        }
        let home = self.environ.get(OsStr::new("HOME")).filter(|home| !home.is_empty())?;
        self.add(home.as_bytes());
        self.at += 1;
        Some(())
    }

    /// Text in double quotes.
    fn quoted(&mut self) -> Option<()> {
        self.add(b"");
        self.at += 1;
        loop {
            match *self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'$' => {
                    let value = self.variable()?;
                    self.add(&value);
                }
                b'\\' => {
                    let next = *self.text.get(self.at + 1)?;
                    if !b"$`\"\\".contains(&next) {
                        self.add(b"\\");
                    }
                    self.add(&[next]);
                    self.at += 2;
                }
                b'`' => return None,
                byte => {
                    self.add(&[byte]);
                    self.at += 1;
                }
            }
        }
    }

    /// What follows a `$`, which is where this stands.
    fn variable(&mut self) -> Option<Vec<u8>> {
        let rest = &self.text[self.at + 1..];
        for (text, value) in [
            (b"(id -u)".as_slice(), (|user| user.uid.to_string()) as fn(&User) -> String),
            (b"(id -g)", |user| user.gid.to_string()),
            (b"(id -un)", |user| (user.name)(user.uid)),
        ] {
            if rest.starts_with(text) {
                self.at += 1 + text.len();
                return Some(value(self.user).into_bytes());
            }
        }
        if rest.first() != Some(&b'{') {
            let name = name(rest)?;
            self.at += 1 + name.len();
            return self.value(name)?;
        }
        let name = name(&rest[1..])?;
        self.at += 2 + name.len();
        let value = self.value(name);
        let rest = &self.text[self.at..];
        let (counts_empty, operator) = match rest {
            [b'}', ..] => (true, 0),
            [b':', b'-', ..] => (false, 2),
            [b'-', ..] => (true, 1),
            _ => return None,
        };
        self.at += operator;
        let otherwise = self.until_brace()?;
        if operator == 0 {
            return value?;
        }
        match value? {
            Some(value) if counts_empty || !value.is_empty() => Some(value),
            _ => Some(otherwise),
        }
    }

    /// Plain text and variables up to a closing brace, which is taken as well.
    fn until_brace(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match *self.text.get(self.at)? {
                b'}' => {
                    self.at += 1;
                    return Some(out);
                }
                b'$' => out.extend(self.variable()?),
                byte if is_plain(byte) => {
                    out.push(byte);
                    self.at += 1;
                }
                _ => return None,
            }
        }
    }

    /// A variable's value, if it is set; `None` where only a shell knows.
    fn value(&self, name: &str) -> Option<Option<Vec<u8>>> {
        match name {
            "UID" | "EUID" => return Some(Some(self.user.uid.to_string().into_bytes())),
            // Of the shell's own script.
            _ if name.bytes().any(|byte| byte.is_ascii_lowercase())
                && !name.ends_with("_proxy") =>
            {
                return None;
            }
            _ if OF_THE_SHELL.contains(&name) => return None,
            _ if ["BASH", "COMP", "EPOCH", "HIST"].iter().any(|p| name.starts_with(p)) => {
                return None;
            }
            _ => {}
        }
        Some(self.environ.get(OsStr::new(name)).map(|value| value.as_bytes().to_vec()))
    }
}

/// The name of a variable at the beginning of `text`.
fn name(text: &[u8]) -> Option<&str> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    let name = std::str::from_utf8(&text[..end]).ok()?;
    linux::environ::is_name(name.as_bytes()).then_some(name)
}

/// Whether it stands for itself, where it is not quoted.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+:,@%=^".contains(&byte) || byte >= 0x80
}

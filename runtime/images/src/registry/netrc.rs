//! enroot's credentials file: netrc's words, with passwords that may be shell expressions, and with
//! machines that may have a port.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use hygiene::text::plain_lines;
use hygiene::unsecure;
use linux::bounded;
use linux::file_error::FileError;

use super::CredentialError;
use crate::uri::{DOCKER_HUB, HUB_NAMES};

/// The Hub's token server, which enroot's own example names.
const HUB_TOKENS: &str = "auth.docker.io";

/// One machine's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) machine: String,
    pub(super) user: String,
    password: String,
    /// Whether the password is an expression and not the password itself.
    expression: bool,
}

/// No honest one is larger.
const LARGEST: u64 = 4 << 20;

/// The logins in a file; none if it does not exist.
pub(super) fn read(path: &Path) -> Result<Vec<Login>, CredentialError> {
    let failed = |source| FileError::new("read the credentials in", path, source);
    let text = match bounded::read(path, LARGEST) {
        // What is no text is in nobody's way.
        Ok(bytes) => String::from_utf8_lossy(&plain_lines(&bytes)).into_owned(),
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error).into()),
    };
    let logins = parse(&text);
    if logins.iter().any(|login| login.expression) {
        let metadata = fs::metadata(path).map_err(failed)?;
        let own = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
        if !own || metadata.mode() & 0o022 != 0 {
            return Err(CredentialError::Unsafe(path.to_owned()));
        }
    }
    Ok(logins)
}

/// A password that starts with a dollar sign is the rest of its line, as enroot has it.
pub(super) fn parse(text: &str) -> Vec<Login> {
    let mut logins: Vec<Login> = Vec::new();
    let mut macro_lines = false;
    for line in text.lines() {
        if macro_lines {
            macro_lines = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = word(rest);
            rest = after;
            match word {
                "machine" | "default" => {
                    let mut machine = "";
                    if word == "machine" {
                        (machine, rest) = self::word(rest);
                    }
                    let empty = String::new();
                    let machine = machine.to_owned();
                    logins.push(Login {
                        machine,
                        user: empty.clone(),
                        password: empty,
                        expression: false,
                    });
                }
                "macdef" => {
                    macro_lines = true;
                    rest = "";
                }
                "login" | "password" | "account" => {
                    let expression = word == "password" && rest.starts_with('$');
                    let value = if expression {
                        std::mem::take(&mut rest).trim_end().to_owned()
                    } else {
                        let (value, after) = self::value(rest);
                        rest = after;
                        value
                    };
                    let Some(login) = logins.last_mut() else { continue };
                    match word {
                        "login" => login.user = value,
                        "password" => (login.password, login.expression) = (value, expression),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
    logins.retain(|login| !login.machine.is_empty() && !login.user.is_empty());
    logins
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A word that may stand in double quotes, in which a backslash takes what is after it, as curl reads it for enroot.
fn value(text: &str) -> (String, &str) {
    let plain = |(word, rest): (&str, _)| (word.to_owned(), rest);
    let Some(quoted) = text.strip_prefix('"') else { return plain(word(text)) };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        value.push(match character {
            '"' => return (value, quoted[at + 1..].trim_start()),
            '\\' => match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, other)) => other,
                None => break,
            },
            other => other,
        });
    }
    // No quotes around it: one at its beginning is its own.
    plain(word(text))
}

impl Login {
    /// Whether it may be shown to `host`, which has a port unless that is the usual one: a line
    /// for a host alone is for the usual one, too. Who listens on others may be anybody.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let bare = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
        let machine = bare(&self.machine);
        let of_hub = |name: &str| HUB_NAMES.contains(&name) || name == HUB_TOKENS;
        machine == bare(host) || host == DOCKER_HUB && of_hub(&machine)
    }

    /// Whether it is for any port of the host, and `host` is one.
    pub(super) fn is_for_any_port_of(&self, host: &str) -> bool {
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let name = host.rsplit_once(':').filter(|(_, port)| is_port(port));
        name.is_some_and(|(name, _)| name.eq_ignore_ascii_case(&self.machine))
    }

    /// The password, its expression evaluated by a shell as between double quotes: what it expands to
    /// is neither split nor taken for a pattern, and no echo reads it.
    pub(super) fn password(&self, host: &str, file: &Path) -> Result<Vec<u8>, CredentialError> {
        if !self.expression {
            return Ok(self.password.clone().into_bytes());
        }
        let failed = |problem: String| CredentialError::Command {
            what: format!("the expression in {}", file.display()),
            host: host.to_owned(),
            problem,
        };
        let output = unsecure::command("/bin/sh")
            .args(["-c", &format!("printf %s \"{}\"", self.password)])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() || output.stdout.is_empty() {
            return Err(failed(format!("it printed nothing ({})", output.status)));
        }
        Ok(output.stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |login: &Login| {
            let sign = if login.expression { "!" } else { "" };
            format!("{} {} {sign}{}", login.machine, login.user, login.password)
        };
        parse(text).iter().map(show).collect()
    }

    #[test]
    fn reads_lines_as_enroot_does() {
        let text = "# comment\nmachine nvcr.io login $oauthtoken password abc\n\
            machine gcr.io login oauth2accesstoken password $(gcloud auth print-access-token)\n\
            machine a\n  login b\n  password c\nmacdef init\nmachine no login no password no\n\n\
            machine x login y password $TOKEN account z\ndefault login anonymous\nmachine\n";
        assert_eq!(
            shown(text),
            [
                "nvcr.io $oauthtoken abc",
                "gcr.io oauth2accesstoken !$(gcloud auth print-access-token)",
                "a b c",
                "x y !$TOKEN account z",
            ]
        );
    }

    #[test]
    fn a_value_may_be_in_quotes() {
        let text = "machine a login \"b\" password \"c d \\\"\\\\\\t\" account x\n\
            machine e login f password \"open\nmachine g login h password i\"j\n";
        assert_eq!(shown(text), ["a b c d \"\\\t", "e f \"open", "g h i\"j"]);
    }

    /// Its word was none before, and the login not found.
    #[test]
    fn a_file_of_another_systems_editor_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("credentials");
        fs::write(&path, "\u{feff}machine a login b password c\r\nmachine d login e password $F\r")
            .unwrap();
        let logins = read(&path).unwrap();
        let shown: Vec<_> =
            logins.iter().map(|login| (&*login.machine, &*login.password)).collect();
        assert_eq!(shown, [("a", "c"), ("d", "$F")]);
    }

    #[test]
    fn an_expression_is_evaluated() {
        let [login] = &parse("machine m login u password $(printf '%s' a b | tr b c)")[..] else {
            panic!("one login")
        };
        assert_eq!(login.password("m", Path::new("f")).unwrap(), b"ac");
        let [login] = &parse("machine m login u password $(false)")[..] else {
            panic!("one login")
        };
        let error = login.password("m", Path::new("/c")).unwrap_err().to_string();
        assert!(error.starts_with("the expression in /c gave no password for m"), "{error}");
    }

    #[test]
    fn the_bytes_of_a_secret_are_left_alone() {
        for (expression, want) in [
            (r#"$(printf '%s' '{"k":"a\nb  c * d"}')"#, &br#"{"k":"a\nb  c * d"}"#[..]),
            (r#"$(printf '%s\n\n' ' x ')"#, b" x "),
            (r#"$(printf '\377\t\\c*')"#, b"\xff\t\\c*"),
            (r#"$(printf '%s' "$(printf '%s' '$HOME `id` "q"')")"#, br#"$HOME `id` "q""#),
            ("$(echo '-n x')", b"-n x"),
            ("$(printf %s '%s %d')", b"%s %d"),
            ("${NOT_SET_HERE:-a  *}", b"a  *"),
            ("$(printf a) account  b", b"a account  b"),
            ("$((1 + 2))", b"3"),
        ] {
            let text = format!("machine m login u password {expression}\n");
            let [login] = &parse(&text)[..] else { panic!("one login: {text}") };
            let got = login.password("m", Path::new("f")).unwrap();
            assert_eq!(got, want, "{expression}: {}", String::from_utf8_lossy(&got));
        }
    }

    proptest! {
        #[test]
        fn any_text_parses(text in "\\PC*") {
            parse(&text);
        }

        #[test]
        fn a_line_is_read_back(machine in "[a-z.]{1,10}", user in "[!-~]{1,10}", password in "[!-#%-~][!-~]{0,20}") {
            let alone = |word: &str| !word.starts_with(['#', '"']);
            prop_assume!(alone(&user) && alone(&password) && alone(&machine));
            let text = format!("machine {machine} login {user} password {password}\n");
            prop_assert_eq!(shown(&text), [format!("{machine} {user} {password}")]);
        }
    }
}

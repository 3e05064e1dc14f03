//! Words under the name `enroot`: what comes of each is what came of it with enroot 4.1.2, in
//! `enroot-4.1.2.tsv`: the words, the exit code, standard output (of a usage the first line) and the lines
//! of its own on standard error. `enroot-words` beside it makes the table anew.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{Place, place};

const TABLE: &str = include_str!("enroot-4.1.2.tsv");

/// What is otherwise: the words, what ours gives in the same form, and why.
const OTHERWISE: &[(&str, &str, &str)] = &[
    (
        "start -c wrong a true",
        "1\t\t[ERROR] configuration script WORK/wrong: exit status: 1",
        "bash's own lines are there as bash writes them",
    ),
    ("remove a", "1\t\t[ERROR] no answer to the question; use --force", "a line says why"),
    ("remove -- a", "1\t\t[ERROR] no answer to the question; use --force", "a line says why"),
];

fn given() -> Place {
    let place = place();
    let write = |name: &str, text: &str| fs::write(place.path("work").join(name), text).unwrap();
    fs::create_dir(place.path("work/dir")).unwrap();
    symlink("image.sqsh", place.path("work/link.sqsh")).unwrap();
    write("bad.sqsh", "not an image");
    write("bad", "not an image\n");
    write("rc", "echo rc \"$@\"\n");
    write("conf", "environ() { echo FROM_CONF=1; }\n");
    write("wrong", "if then\n");
    write("batch", "#ENROOT_ROOTFS=a\nenviron() { echo FROM_CONF=1; }\n");
    place.give(&place.path("work"));
    place
}

/// What comes of the words, as a line of the table has it. Those that are wrong ask for no container, and need
/// no place.
fn outcome(place: &Place, line: &str, are_wrong: bool) -> String {
    let mut words: Vec<String> = line
        .split(' ')
        .map(|word| word.replace("''", "").replace("\\n", "\n").replace("\\t", "\t"))
        .collect();
    if line.is_empty() {
        words.clear();
    }
    let variable = words.first().and_then(|word| word.split_once('='));
    let variable = variable.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let skipped = usize::from(variable.is_some());
    let words = &words[skipped..];
    let mut command = if are_wrong {
        let mut command = Command::new(place.path("enroot"));
        command.args(words).env_clear();
        command
    } else {
        place.command("enroot", words)
    };
    command.envs(variable).env("https_proxy", "http://127.0.0.1:9");
    let done = command.output().unwrap();
    let own = |place_of: &str| place.path(place_of).canonicalize().unwrap().display().to_string();
    let (data, work) = (own("data"), own("work"));
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&data, "DATA").replace(&work, "WORK");
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    let mut out: Vec<&str> = out.lines().map(str::trim_end).collect();
    if out.first().is_some_and(|line| line.starts_with("Usage:")) {
        out.truncate(1);
        // Ours says what is wrong as well.
        return format!("{}\t{}", done.status.code().unwrap(), out[0]);
    }
    let err: Vec<&str> = err.lines().filter(|line| line.starts_with('[')).collect();
    let (out, err) = (out.join("\\n"), err.join("\\n").replace('\t', "\\t"));
    format!("{}\t{out}\t{err}", done.status.code().unwrap()).trim_end().to_owned()
}

#[test]
fn words_are_taken_as_enroot_takes_them() {
    let place = given();
    let mut wrong = Vec::new();
    let mut differences = OTHERWISE.to_vec();
    for row in TABLE.lines() {
        let (words, recorded) = row.split_once('\t').unwrap();
        let known = differences.iter().position(|(of, ..)| *of == words);
        let expected = known.map_or(recorded, |at| differences.remove(at).1);
        let outcome = outcome(&place, words, recorded.contains("\tUsage:"));
        // A reason that follows enroot's own words is welcome.
        let reason = outcome.strip_prefix(expected).filter(|_| expected.contains("[ERROR]"));
        if outcome != expected && !reason.is_some_and(|reason| reason.starts_with(": ")) {
            wrong.push(format!("enroot {words}\n  wanted {expected}\n  got    {outcome}"));
        }
        if expected == recorded && known.is_some() {
            wrong.push(format!("enroot {words}: a difference that is none"));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert!(differences.is_empty(), "of nothing in the table: {differences:?}");
}

#[test]
fn what_is_wrong_with_the_words_is_said() {
    let place = given();
    for (words, said) in [
        (
            &["start", "-rw", "c"][..],
            "[ERROR] start: no such option: -rw (each is a word of its own)\n",
        ),
        (&["create", "-n", ""], "[ERROR] create: -n takes a value\n"),
        (&["create"], "[ERROR] create: it takes IMAGE\n"),
        (&["info", "x"], "[ERROR] info: it takes no words\n"),
        (&["nosuch"], "[ERROR] no such command: nosuch\n"),
        (&[], "[ERROR] no command\n"),
    ] {
        let done = place.command("enroot", words).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stderr), said, "{words:?}");
    }
    // The verbs that enroot lacks are there all the same.
    let ours = place.command("enroot", ["du", "--help"]).output().unwrap();
    assert!(ours.status.success(), "{ours:?}");
}

//! What `list -f` says about a process, in the words of ps(1).

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{bounded, sys};

/// One process.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The program's short name.
    pub command_name: String,
    /// State letter and flags.
    pub state: String,
    /// Time of day, or the date if that was another day.
    pub started: String,
    /// Time since then.
    pub elapsed: String,
    /// Its arguments, or its short name in brackets.
    pub command: String,
}

impl Row {
    /// Reads `/proc`; `None` when the process has ended.
    pub fn read(pid: i32) -> Option<Row> {
        let read = |name: &str| {
            bounded::beginning(Path::new(&format!("/proc/{pid}/{name}")), bounded::OF_PROCESS).ok()
        };
        let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
        // The name may hold anything, parentheses too.
        let (_, rest) = stat.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();

        let started = boot_time()? + field(22)? / sys::clock_ticks();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
        let line = read("cmdline")?;
        let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
        let command = if line.is_empty() { format!("[{name}]") } else { line };
        Some(Row {
            command_name: name.to_owned(),
            state: state(pid, fields.first()?, &field)?,
            started: sys::local_time(started, now),
            elapsed: elapsed((now - started).max(0)),
            command: command.replace(['\n', '\t'], " "),
        })
    }
}

fn state(pid: i32, letter: &str, field: &dyn Fn(usize) -> Option<i64>) -> Option<String> {
    let mut out = letter.to_owned();
    let nice = field(19)?;
    for (applies, flag) in [
        (nice < 0, '<'),
        (nice > 0, 'N'),
        (field(6)? == i64::from(pid), 's'),
        (field(20)? > 1, 'l'),
        (field(5)? == field(8)?, '+'),
    ] {
        if applies {
            out.push(flag);
        }
    }
    Some(out)
}

fn boot_time() -> Option<i64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// `[[days-]hours:]minutes:seconds`.
fn elapsed(seconds: i64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match (hours / 24, hours % 24) {
        (0, 0) => format!("{minutes:02}:{seconds:02}"),
        (0, hours) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        (days, hours) => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_like_ps() {
        assert_eq!(elapsed(59), "00:59");
        assert_eq!(elapsed(3600), "01:00:00");
        assert_eq!(elapsed(90061), "1-01:01:01");
        let own = Row::read(std::process::id() as i32).unwrap();
        assert!(!own.command.is_empty() && own.state.starts_with(['R', 'S']), "{own:?}");
        assert_eq!(Row::read(-1), None);
    }
}

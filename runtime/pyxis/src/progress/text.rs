//! What an import tells, in words.

use std::time::Duration;

use hygiene::console;
use images::progress::{Event, bytes};

/// How every line begins: enroot's form.
pub(super) const INFO: &str = "[INFO] ";

/// A line on stderr.
pub(super) fn say(event: Event<'_>) {
    match event {
        Event::Step(text) => console::tell(format_args!("{INFO}{text}")),
        Event::Warning(text) => console::tell(format_args!("[WARN] {text}")),
        Event::PassedOn(text) => console::tell(text),
    }
}

/// So much of so much after so long, how fast that is, and how long the rest takes at that.
pub(super) fn how_far(done: u64, total: u64, after: Duration) -> String {
    let percent = u128::from(done) * 100 / u128::from(total);
    let said = format!("{percent} % of {}", bytes(total));
    let rate = done as f64 / after.as_secs_f64();
    if !rate.is_normal() {
        return said;
    }
    let left = ((total - done) as f64 / rate).ceil();
    format!("{said}, {}/s, {} left", bytes(rate as u64), span(left as u64))
}

/// Seconds for people.
fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The percentage in the line of another process that says how far it is.
pub(super) fn percentage(line: &str) -> Option<u64> {
    line.strip_prefix(INFO)?.split_once(" % of ")?.0.parse().ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_fast_and_how_long_it_takes() {
        const GIB: u64 = 1 << 30;
        for (done, total, after, line) in [
            (GIB, 4 * GIB, 10, "25 % of 4.00 GiB, 102.40 MiB/s, 30 s left"),
            (GIB, 8 * GIB, 30, "12 % of 8.00 GiB, 34.13 MiB/s, 3 min 30 s left"),
            (GIB, 200 * GIB, 100, "0 % of 200.00 GiB, 10.24 MiB/s, 5 h 31 min left"),
            (GIB, GIB, 10, "100 % of 1.00 GiB, 102.40 MiB/s, 0 s left"),
            (0, GIB, 10, "0 % of 1.00 GiB"),
        ] {
            assert_eq!(how_far(done, total, Duration::from_secs(after)), line);
        }
        assert_eq!(how_far(1, GIB, Duration::ZERO), "0 % of 1.00 GiB");
        // Whatever the numbers are, it is a line.
        assert!(how_far(1, u64::MAX, Duration::MAX).ends_with(" min left"));
    }
    #[test]
    fn what_another_process_says_of_how_far_it_is_is_understood() {
        let line = format!("{INFO}{}", how_far(1 << 30, 4 << 30, Duration::from_secs(10)));
        assert_eq!(percentage(&line), Some(25));
        for odd in [
            "[INFO] Creating the squashfs file",
            "25 % of 1 B",
            "[INFO] 101 % of 1 B",
            "[INFO] x % of 1 B",
        ] {
            assert_eq!(percentage(odd), None, "{odd}");
        }
    }
}

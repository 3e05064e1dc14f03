//! How far an import is, on stderr: bars on a terminal, lines elsewhere.

mod terminal;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hygiene::console;
use images::progress::{Event, Meter, Observer, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use terminal::Terminal;
use text::how_far;

/// How often a line says how far something is, at most, and how soon the first one.
const INTERVAL: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_secs(5);
/// How often for a process that shows a bar of it.
const OFTEN: Duration = Duration::from_secs(1);

/// What suits stderr.
pub fn for_stderr() -> Progress {
    if console::is_watched() { Progress::to(Bars::default()) } else { lines() }
}

/// What suits a terminal of that width somewhere else, to which whole lines come.
pub fn for_terminal(width: u16) -> Progress {
    Progress::to(Terminal::new(width))
}

/// Lines, whoever looks.
pub fn lines() -> Progress {
    Progress::to(Lines::default())
}

/// Lines for another process, which shows as many of them as suits whoever looks.
pub fn for_another() -> Progress {
    Progress::to(Lines { often: true, ..Lines::default() })
}

/// Lines of `[INFO] ...`, enroot's form.
#[derive(Debug, Default)]
struct Lines {
    /// Each second.
    often: bool,
    /// When a line of another process is due that says how far it is.
    due: Mutex<Option<Instant>>,
}

impl Lines {
    /// Whether a line that came at that time is one too many.
    fn is_early(&self, now: Instant) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = if due.is_none() { FIRST } else { INTERVAL };
        let early = due.is_none_or(|due| now < due);
        if !early || due.is_none() {
            *due = Some(now + wait);
        }
        early
    }
}

impl Observer for Lines {
    fn tell(&self, event: Event<'_>) {
        let how_far = matches!(event, Event::PassedOn(line) if text::percentage(line).is_some());
        if !(how_far && self.is_early(Instant::now())) {
            text::say(event);
        }
    }

    fn measure(&self, total: u64) -> Arc<dyn Meter> {
        let (first, interval) = if self.often { (OFTEN, OFTEN) } else { (FIRST, INTERVAL) };
        Arc::new(Percent::new(total, first, interval))
    }
}

/// The same lines, and bars.
#[derive(Debug, Default)]
struct Bars(Lines);

impl Observer for Bars {
    fn tell(&self, event: Event<'_>) {
        self.0.tell(event);
    }

    fn measure(&self, total: u64) -> Arc<dyn Meter> {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Arc::new(Drawn(bar))
    }
}

#[derive(Debug)]
struct Drawn(ProgressBar);

impl Meter for Drawn {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes it off the screen.
    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A line now and then.
#[derive(Debug)]
struct Percent {
    total: u64,
    done: AtomicU64,
    began: Instant,
    /// When a line is due.
    due: Mutex<Instant>,
    interval: Duration,
}

impl Percent {
    fn new(total: u64, first: Duration, interval: Duration) -> Percent {
        let began = Instant::now();
        Percent { total, done: AtomicU64::new(0), began, due: Mutex::new(began + first), interval }
    }

    /// The line that is due after so many bytes more.
    fn line(&self, count: u64) -> Option<String> {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        // Of several threads one tells, and none waits.
        let mut due = self.due.try_lock().ok()?;
        let now = Instant::now();
        if now < *due || self.total == 0 {
            return None;
        }
        *due = now + self.interval;
        Some(how_far(done.min(self.total), self.total, now - self.began))
    }
}

impl Meter for Percent {
    fn advance(&self, bytes: u64) {
        if let Some(line) = self.line(bytes) {
            text::say(Event::Step(&line));
        }
    }

    fn finish(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It may tell how far it is each second, for those who have a terminal.
    #[test]
    fn of_another_process_no_more_lines_are_told_than_of_this_one() {
        let (lines, began) = (Lines::default(), Instant::now());
        let told: Vec<u64> = (0..40)
            .filter(|second| !lines.is_early(began + Duration::from_secs(*second)))
            .collect();
        assert_eq!(told, [5, 15, 25, 35]);
    }

    #[test]
    fn a_line_is_due_now_and_then_and_never_above_all() {
        let (never, always) = (Duration::from_secs(6000), Duration::ZERO);
        let begins = |meter: &Percent, count, with: &str| {
            let line = meter.line(count).unwrap();
            assert!(line.starts_with(with) && line.ends_with(" left"), "{line}");
        };
        let meter = Percent::new(4096, always, always);
        begins(&meter, 1024, "25 % of 4.00 KiB, ");
        begins(&meter, 3071, "99 % of 4.00 KiB, ");
        begins(&meter, u64::from(u32::MAX), "100 % of 4.00 KiB, ");
        assert_eq!(Percent::new(0, always, always).line(1), None);
        assert_eq!(Percent::new(4096, never, always).line(4096), None);
        // The first one, and then not for a while.
        let meter = Percent::new(4096, always, never);
        begins(&meter, 2048, "50 % ");
        assert_eq!(meter.line(1), None);
        // Another thread is at it.
        let meter = Percent::new(4096, always, always);
        let _other = meter.due.lock().unwrap();
        assert_eq!(meter.line(1), None);
    }
}

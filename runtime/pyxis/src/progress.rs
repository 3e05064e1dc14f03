//! How far an import is, on stderr: bars on a terminal, lines elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hygiene::console;
use images::progress::{Event, Meter, Observer, Progress, bytes};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line says how far something is, at most, and how soon the first one.
const INTERVAL: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_secs(5);

/// What suits stderr.
pub fn for_stderr() -> Progress {
    if console::is_watched() { Progress::to(Bars) } else { lines() }
}

/// Lines, whoever looks.
pub fn lines() -> Progress {
    Progress::to(Lines)
}

/// Lines of `[INFO] ...`, enroot's form.
#[derive(Debug)]
struct Lines;

impl Observer for Lines {
    fn tell(&self, event: Event<'_>) {
        match event {
            Event::Step(text) => console::tell(format_args!("[INFO] {text}")),
            Event::Warning(text) => console::tell(format_args!("[WARN] {text}")),
            Event::PassedOn(text) => console::tell(text),
        }
    }

    fn measure(&self, total: u64) -> Arc<dyn Meter> {
        Arc::new(Percent::new(total, FIRST, INTERVAL))
    }
}

/// The same lines, and bars.
#[derive(Debug)]
struct Bars;

impl Observer for Bars {
    fn tell(&self, event: Event<'_>) {
        Lines.tell(event);
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

/// So much of so much after so long, how fast that is, and how long the rest takes at that.
fn how_far(done: u64, total: u64, after: Duration) -> String {
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

impl Meter for Percent {
    fn advance(&self, bytes: u64) {
        if let Some(line) = self.line(bytes) {
            Lines.tell(Event::Step(&line));
        }
    }

    fn finish(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

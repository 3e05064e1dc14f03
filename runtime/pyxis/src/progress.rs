//! How far an import is, on stderr: bars on a terminal, lines elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hygiene::console;
use images::progress::{Event, Meter, Observer, Progress, bytes};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line says how far something is.
const INTERVAL: Duration = Duration::from_secs(5);

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
        let told = Mutex::new(Instant::now());
        Arc::new(Percent { total, done: AtomicU64::new(0), told, interval: INTERVAL })
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
    told: Mutex<Instant>,
    interval: Duration,
}

impl Percent {
    /// The line that is due after so many bytes more.
    fn line(&self, count: u64) -> Option<String> {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        // Of several threads one tells, and none waits.
        let mut told = self.told.try_lock().ok()?;
        if told.elapsed() < self.interval || self.total == 0 {
            return None;
        }
        *told = Instant::now();
        let percent = u128::from(done.min(self.total)) * 100 / u128::from(self.total);
        Some(format!("{percent} % of {}", bytes(self.total)))
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

    fn percent(total: u64, interval: Duration) -> Percent {
        Percent { total, done: AtomicU64::new(0), told: Mutex::new(Instant::now()), interval }
    }

    #[test]
    fn a_line_is_due_now_and_then_and_never_above_all() {
        let meter = percent(4096, Duration::ZERO);
        assert_eq!(meter.line(1024).as_deref(), Some("25 % of 4.00 KiB"));
        assert_eq!(meter.line(3071).as_deref(), Some("99 % of 4.00 KiB"));
        assert_eq!(meter.line(u64::from(u32::MAX)).as_deref(), Some("100 % of 4.00 KiB"));
        assert_eq!(percent(0, Duration::ZERO).line(1), None);
        assert_eq!(percent(4096, Duration::from_secs(600)).line(4096), None);
        // Another thread is at it.
        let meter = percent(4096, Duration::ZERO);
        let _other = meter.told.lock().unwrap();
        assert_eq!(meter.line(1), None);
    }
}

//! What is going on: bars on a terminal, lines elsewhere. All of it on stderr.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hygiene::console;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line says how far something is.
const INTERVAL: Duration = Duration::from_secs(5);

/// Where progress is told.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nowhere.
    Silent,
    /// As lines of `[INFO] ...`, enroot's form.
    Lines,
    /// As lines and bars.
    Bars,
}

impl Progress {
    /// What suits stderr.
    pub fn for_stderr() -> Progress {
        if console::is_watched() { Progress::Bars } else { Progress::Lines }
    }

    /// Tells what happens next.
    pub fn step(&self, text: &str) {
        if !matches!(self, Progress::Silent) {
            line("[INFO]", text);
        }
    }

    /// Tells what another process told.
    pub fn pass_on(&self, text: &str) {
        if !matches!(self, Progress::Silent) {
            console::tell(text);
        }
    }

    /// Tells what may be wrong.
    pub fn warn(&self, text: &str) {
        if !matches!(self, Progress::Silent) {
            line("[WARN]", text);
        }
    }

    /// A bar over so many bytes; call `inc` and drop it.
    pub fn bar(&self, total: u64) -> Bar {
        let target = match self {
            Progress::Bars => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        if matches!(self, Progress::Bars) {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let lines = matches!(self, Progress::Lines).then(|| {
            let told = Mutex::new(Instant::now());
            Arc::new(Counted { total, done: AtomicU64::new(0), told })
        });
        Bar { bar, lines }
    }
}

fn line(level: &str, text: &str) {
    console::tell(format_args!("{level} {text}"));
}

/// A bar on a terminal, or a line now and then.
#[derive(Clone, Debug)]
pub struct Bar {
    bar: ProgressBar,
    lines: Option<Arc<Counted>>,
}

/// What a line says.
#[derive(Debug)]
struct Counted {
    total: u64,
    done: AtomicU64,
    told: Mutex<Instant>,
}

impl Counted {
    fn inc(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        // Of several threads one tells, and none waits.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() >= INTERVAL && self.total > 0 {
            *told = Instant::now();
            let percent = u128::from(done.min(self.total)) * 100 / u128::from(self.total);
            line("[INFO]", &format!("{percent} % of {}", bytes(self.total)));
        }
    }
}

impl Bar {
    /// So many bytes more.
    pub fn inc(&self, bytes: u64) {
        self.bar.inc(bytes);
        if let Some(lines) = &self.lines {
            lines.inc(bytes);
        }
    }

    /// Takes it off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

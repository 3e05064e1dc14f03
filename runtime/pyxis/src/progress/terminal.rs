//! A bar of whole lines, each in place of the last one. That is what Slurm brings from a task to srun's terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use handover::AGAIN;
use hygiene::console;
use images::progress::{Event, Meter, Observer};

use super::text::{INFO, how_far, percentage, say};

/// How often it is drawn.
const INTERVAL: Duration = Duration::from_millis(500);
/// Of one that does not say how wide it is.
const USUAL: usize = 80;
/// Cells of the bar, and how many are none.
const MOST: usize = 40;
const LEAST: usize = 10;

/// Who draws on it.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    /// What a line may have after [`INFO`].
    room: usize,
    /// The last line was a bar.
    drawn: Arc<Mutex<bool>>,
}

impl Terminal {
    pub(super) fn new(width: u16) -> Terminal {
        let width = if width == 0 { USUAL } else { width.into() };
        // A line in the last column may take two.
        Terminal { room: width.saturating_sub(INFO.len() + 1), drawn: Arc::default() }
    }

    fn draw(&self, percent: u64, text: &str) {
        let line = format!("{INFO}{}", self.line(percent, text));
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *drawn, true) {
            console::tell(format_args!("{AGAIN}{line}"));
        } else {
            console::tell(line);
        }
    }

    /// The bar and the text, as much as there is room for.
    fn line(&self, percent: u64, text: &str) -> String {
        let cells = MOST.min(self.room.saturating_sub(text.chars().count() + 3));
        if cells < LEAST {
            return text.chars().take(self.room).collect();
        }
        let full = cells * percent.min(100) as usize / 100;
        let tip = if full < cells { ">" } else { "" };
        format!("[{:<cells$}] {text}", "=".repeat(full) + tip)
    }
}

impl Observer for Terminal {
    fn tell(&self, event: Event<'_>) {
        if let Event::PassedOn(line) = event {
            if let Some(percent) = percentage(line) {
                return self.draw(percent, &line[INFO.len()..]);
            }
        }
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn = false;
        say(event);
    }

    fn measure(&self, total: u64) -> Arc<dyn Meter> {
        let now = Instant::now();
        let (terminal, done, due) = (self.clone(), AtomicU64::new(0), Mutex::new(now + INTERVAL));
        Arc::new(Bar { terminal, total, done, began: now, due })
    }
}

/// Something that is measured.
#[derive(Debug)]
struct Bar {
    terminal: Terminal,
    total: u64,
    done: AtomicU64,
    began: Instant,
    /// When it is to be drawn.
    due: Mutex<Instant>,
}

impl Bar {
    fn draw(&self) {
        let done = self.done.load(Ordering::Relaxed).min(self.total);
        if let Some(percent) = (u128::from(done) * 100).checked_div(self.total.into()) {
            self.terminal.draw(percent as u64, &how_far(done, self.total, self.began.elapsed()));
        }
    }
}

impl Meter for Bar {
    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        // Of several threads one draws, and none waits.
        let Ok(mut due) = self.due.try_lock() else { return };
        let now = Instant::now();
        if now >= *due {
            *due = now + INTERVAL;
            self.draw();
        }
    }

    /// It stays as it is at the end, if it took long enough to be seen at all.
    fn finish(&self) {
        if self.began.elapsed() >= INTERVAL {
            self.draw();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_takes_two() {
        let text = "25 % of 4.00 GiB, 102.40 MiB/s, 30 s left";
        for width in (0..200).chain([u16::MAX]) {
            for percent in [0, 1, 50, 99, 100, u64::MAX] {
                let line = Terminal::new(width).line(percent, text);
                let room = if width == 0 { 80 } else { usize::from(width) };
                assert!(line.len() + INFO.len() < room.max(INFO.len() + 1), "{width}: {line}");
                assert!(line.ends_with(text) || line.len() < text.len() && text.starts_with(&line));
            }
        }
    }

    #[test]
    fn a_bar_is_as_full_as_it_says() {
        let terminal = Terminal::new(80);
        let rows = [
            (0, "[>                                   ] half an hour and two minutes more"),
            (50, "[==================>                 ] half an hour and two minutes more"),
            (100, "[====================================] half an hour and two minutes more"),
        ];
        for (percent, line) in rows {
            assert_eq!(terminal.line(percent, "half an hour and two minutes more"), line);
        }
        assert_eq!(Terminal::new(40).line(50, "30 s left"), "[==========>         ] 30 s left");
    }
}

//! What is told of an import while it goes on: events. Who has it done shows them as suits whoever
//! looks, or nobody.

use std::fmt::Debug;
use std::sync::Arc;

/// What an import tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It begins with this.
    Step(&'a str),
    /// It goes on, but this may be wrong.
    Warning(&'a str),
    /// Another process has told this, in a form of its own.
    PassedOn(&'a str),
}

/// Whoever is told.
pub trait Observer: Debug + Send + Sync {
    /// Takes an event.
    fn tell(&self, event: Event<'_>);

    /// Begins to measure what comes to so many bytes.
    fn measure(&self, total: u64) -> Arc<dyn Meter>;
}

/// How far something is.
pub trait Meter: Debug + Send + Sync {
    /// Takes so many bytes more; from any thread.
    fn advance(&self, bytes: u64);

    /// There will be no more.
    fn finish(&self);
}

/// Where progress is told.
#[derive(Clone, Debug)]
pub struct Progress(Option<Arc<dyn Observer>>);

impl Progress {
    /// It is told to nobody.
    pub const SILENT: Progress = Progress(None);

    /// It is told to `observer`.
    pub fn to(observer: impl Observer + 'static) -> Progress {
        Progress(Some(Arc::new(observer)))
    }

    /// Tells what happens next.
    pub fn step(&self, text: &str) {
        self.tell(Event::Step(text));
    }

    /// Tells what another process told.
    pub fn pass_on(&self, text: &str) {
        self.tell(Event::PassedOn(text));
    }

    /// Tells what may be wrong.
    pub fn warn(&self, text: &str) {
        self.tell(Event::Warning(text));
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(observer) = &self.0 {
            observer.tell(event);
        }
    }

    /// A bar over so many bytes; call `inc` and `finish`.
    pub fn bar(&self, total: u64) -> Bar {
        Bar(self.0.as_ref().map(|observer| observer.measure(total)))
    }
}

/// How far something is that takes its time.
#[derive(Clone, Debug)]
pub struct Bar(Option<Arc<dyn Meter>>);

impl Bar {
    /// So many bytes more.
    pub fn inc(&self, bytes: u64) {
        if let Some(meter) = &self.0 {
            meter.advance(bytes);
        }
    }

    /// It is done, or has failed.
    pub fn finish(&self) {
        if let Some(meter) = &self.0 {
            meter.finish();
        }
    }
}

/// Bytes for people: in the largest unit of which there is one, with two digits.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.2} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Debug, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Observer for Notes {
        fn tell(&self, event: Event<'_>) {
            self.0.lock().unwrap().push(format!("{event:?}"));
        }

        fn measure(&self, total: u64) -> Arc<dyn Meter> {
            self.0.lock().unwrap().push(format!("of {total}"));
            Arc::new(self.clone())
        }
    }

    impl Meter for Notes {
        fn advance(&self, bytes: u64) {
            self.0.lock().unwrap().push(format!("+{bytes}"));
        }

        fn finish(&self) {
            self.0.lock().unwrap().push("done".to_owned());
        }
    }

    #[test]
    fn an_observer_is_told_all_in_order() {
        let notes = Notes::default();
        for progress in [Progress::to(notes.clone()), Progress::SILENT] {
            progress.step("a");
            let bar = progress.bar(7);
            let other = bar.clone();
            std::thread::spawn(move || other.inc(3)).join().unwrap();
            bar.inc(4);
            bar.finish();
            progress.warn("b");
            progress.pass_on("c");
        }
        let notes = notes.0.lock().unwrap();
        let events =
            ["Step(\"a\")", "of 7", "+3", "+4", "done", "Warning(\"b\")", "PassedOn(\"c\")"];
        assert_eq!(*notes, events);
    }

    #[test]
    fn bytes_are_for_people() {
        let rows = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (5 << 20, "5.00 MiB"),
            (3 << 30, "3.00 GiB"),
            (u64::MAX, "16.00 EiB"),
        ];
        for (count, text) in rows {
            assert_eq!(bytes(count), text);
        }
    }
}

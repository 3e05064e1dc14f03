//! `PYXIS_TIMING`: where the time of a command went, a line for each phase, and one for programs.

use std::time::{Duration, Instant};

use hygiene::console;
use linux::phases;
use pyxis::settings::Settings;
use serde_json::{Map, Value, json};

use super::Verb;

impl Verb {
    /// Its name, if it is one whose time matters. What others print is read by programs that know
    /// nothing of times.
    pub(crate) fn timed(&self) -> Option<&'static str> {
        match self {
            Verb::Create(_) => Some("create"),
            Verb::Start(_) => Some("start"),
            Verb::Batch(_) => Some("batch"),
            Verb::Export(_) => Some("export"),
            Verb::Import(_) => Some("import"),
            Verb::Load(_) => Some("load"),
            Verb::Pull(_) => Some("pull"),
            _ => None,
        }
    }
}

/// Begins to note the time of a verb, which has taken some already, if somebody wants to know.
pub(crate) fn watch(settings: &Settings, verb: Option<&'static str>, begun: Instant) {
    if settings.timing && verb.is_some() {
        phases::watch("settings", begun);
    }
}

/// Says where the time went, if somebody wants to know: for a command that goes on as another program,
/// before it does.
pub(crate) fn tell(verb: &str) {
    let Some(phases) = phases::end() else { return };
    let total = phases.iter().map(|(_, took)| *took).sum::<Duration>();
    for (name, took) in phases.iter().chain([&("total", total)]) {
        console::tell(format_args!("[INFO] timing: {name:<12} {:>12.3} ms", millis(*took)));
    }
    let of_phases: Map<String, Value> =
        phases.iter().map(|(name, took)| ((*name).to_owned(), json!(millis(*took)))).collect();
    let line = json!({ "verb": verb, "milliseconds": of_phases, "total": millis(total) });
    console::tell(format_args!("[INFO] timing: {line}"));
}

/// To the microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

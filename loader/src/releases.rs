//! Which release has which API number.

include!(concat!(env!("OUT_DIR"), "/releases.rs"));

/// The release of an API number (`24.11`).
pub(crate) fn name(api: u32) -> Option<&'static str> {
    RELEASES.iter().find(|(number, _)| *number == api).map(|(_, name)| *name)
}

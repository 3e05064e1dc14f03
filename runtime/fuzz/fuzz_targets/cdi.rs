//! CDI specifications, and names of devices.
#![no_main]

use containers::cdi::{Name, Visible, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = check(text) {
        // One line, with the place.
        assert!(error.to_string().starts_with("specification:"));
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string(), text);
    }
    if let Ok(Visible::Devices(names)) = Visible::parse(text) {
        assert!(!names.is_empty());
    }
});

//! What a registry answers: a manifest or index, and the configuration of an image, from which
//! the files in its `/etc` are made.
#![no_main]

use images::imageconf::ImageConfig;
use images::registry::{Document, Meaning, choose};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Document::new(bytes.to_vec()).meaning() {
        Ok(Meaning::Image(image)) => {
            for descriptor in image.layers.iter().chain([&image.config]) {
                // Part of a path in the store.
                let hex = descriptor.hex();
                assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
        Ok(Meaning::Index(manifests)) => {
            if let Ok(chosen) = choose(&manifests, "amd64") {
                assert_eq!(chosen.hex().len(), 64);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(config) = ImageConfig::parse(bytes) {
        let _ = config.files("docker://x");
    }
});

//! What a registry answers: a manifest or index, and the configuration of an image, from which
//! the files in its `/etc` are made.
#![no_main]

use images::imageconf::ImageConfig;
use images::registry::{Document, Machine, Manifest, candidates};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Document::new(bytes.to_vec()).manifest() {
        Ok(Manifest::Image(image)) => {
            for descriptor in image.layers.iter().chain([&image.config]) {
                // Part of a path in the store.
                let hex = descriptor.digest.hex();
                assert!(
                    [64, 128].contains(&hex.len())
                        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
                );
            }
        }
        Ok(Manifest::Index(manifests)) => {
            if let Ok(chosen) = candidates(&manifests, &Machine::new(Some("amd64"))) {
                assert!(chosen.iter().all(|one| [64, 128].contains(&one.digest.hex().len())));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(config) = ImageConfig::parse(bytes) {
        let _ = config.files("docker://x");
    }
});

//! What a user gives as an image.
#![no_main]

use images::uri::Uri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Uri>() {
        Ok(uri @ Uri::Registry(_)) => {
            let Uri::Registry(reference) = &uri else { return };
            let file = reference.file_name();
            assert!(!file.contains('/') && !file.starts_with('.'), "{file}");
            // Its full form means the same.
            let again: Uri = uri.to_string().parse().unwrap();
            assert_eq!(again.to_string(), uri.to_string());
        }
        Ok(uri) => assert!(!uri.to_string().is_empty()),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
});

//! Any arguments on the line of plugstack.conf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spank_pyxis::config::Config;

fuzz_target!(|line: &[u8]| {
    // Slurm splits the line at white space.
    let arguments: Vec<&[u8]> = line
        .split(|byte| byte.is_ascii_whitespace() || *byte == 0)
        .filter(|argument| !argument.is_empty())
        .collect();
    match Config::parse(arguments.iter().copied()) {
        Ok(config) => {
            assert!(config.runtime_path.is_absolute());
            assert!(config.importer.as_ref().is_none_or(|path| path.is_absolute()));
            // A later argument wins, so that all of them twice are the same.
            let twice = Config::parse(arguments.iter().chain(&arguments).copied());
            assert_eq!(twice, Ok(config));
        }
        Err(error) => assert!(error.to_string().ends_with("(in plugstack.conf)")),
    }
});

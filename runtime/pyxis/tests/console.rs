//! What others have written does not reach the terminal as it is; their variables do not reach the
//! programs that the runtime executes.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::Place;

/// ESC and BEL, CR and a forged line, C1 in UTF-8, and what turns the direction.
const HOSTILE: &str = "\x1b]0;t\x07\r\n[ERROR] forged\u{9b}2J\u{202e}";
const SHOWN: &str = r"\x1b]0;t\x07\r\n[ERROR] forged\u{9b}2J\u{202e}";

fn assert_fit(text: &[u8], shown: &str) {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.contains(shown), "{text:?}");
    let harmful = |c: char| c != '\n' && hygiene::text::is_harmful(c);
    assert!(!text.contains(harmful) && !text.contains("\n[ERROR] forged"), "{text:?}");
}

#[test]
fn errors_are_escaped() {
    let place = Place::new();
    let layout = place.path("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    // An index with images for machines of a hostile name only.
    let digest = format!("sha256:{}", "a".repeat(64));
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": kind, "digest": digest, "size": 2,
        "platform": { "os": "linux", "architecture": HOSTILE },
    }, {
        "mediaType": kind, "digest": digest, "size": 2,
        "platform": { "os": "linux", "architecture": "s390x" },
    }]});
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    place.give(&layout);
    let done = place.run(&["digest", &format!("oci:{}", layout.display())]);
    assert!(!done.0.status.success());
    assert_fit(&done.0.stderr, SHOWN);
    // Words of the command line, in an error of ours and in one of clap's.
    for words in [["remove", HOSTILE], ["create", HOSTILE], [HOSTILE, "x"], ["list", HOSTILE]] {
        let done = place.run(&words);
        assert!(!done.0.status.success());
        let text = String::from_utf8(done.0.stderr).unwrap();
        let harmful = |c: char| c != '\n' && hygiene::text::is_harmful(c);
        assert!(!text.contains(harmful), "{text:?}");
    }
}

#[test]
fn names_that_a_terminal_would_obey_are_none() {
    let place = Place::new();
    for name in ["a\u{9b}2J", "a\u{202e}b"] {
        fs::create_dir(place.path("data").join(name)).unwrap();
    }
    let image = place.image("image", |_| {});
    place.ok(&["create", "-n", "naïve 日本", image.to_str().unwrap()]);
    assert_eq!(place.ok(&["list"]), "naïve 日本\n");
    let refused = place.run(&["create", "-n", "b\u{9b}2J", image.to_str().unwrap()]).fails(1);
    assert!(refused.contains("control characters"), "{refused}");
    assert_fit(refused.as_bytes(), r"b\u{9b}2J");
}

#[test]
fn processes_are_shown_escaped() {
    let place = Place::new();
    let image = place.image("image", |_| {});
    place.ok(&["create", "-n", "c", image.to_str().unwrap()]);
    let script = "echo ready; while read -r x; do :; done; true";
    let running = place.background(&["start", "c", "sh", "-c", script, "x\u{1b}[2J\rforged\u{9b}"]);
    let table = place.ok(&["list", "-f"]);
    assert_fit(table.as_bytes(), r"x\x1b[2J\rforged\u{9b}");
    assert!(running.finish());
}

/// Its programs get nothing that makes them load other code.
#[test]
fn tools_get_no_unsecure_variables() {
    let place = Place::new();
    let image = place.image("image", |_| {});
    place.ok(&["create", "-n", "c", image.to_str().unwrap()]);
    // A mksquashfs that tells its environment.
    let tools = place.path("tools");
    fs::create_dir(&tools).unwrap();
    let seen = place.path("work/seen");
    let tool = tools.join("mksquashfs");
    let script = format!("#!/bin/sh\n/usr/bin/env > {}\nexit 1\n", seen.display());
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let variables = [
        "GCONV_PATH",
        "LOCPATH",
        "GLIBC_TUNABLES",
        "MALLOC_CHECK_",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "BASH_ENV",
        "PYTHONPATH",
    ];
    let mut command = place.pyxis(["export", "-o", "x.sqsh", "c"]);
    command.env("PATH", format!("{}:/usr/bin:/bin:/sbin:/usr/sbin", tools.display()));
    command.env("KEPT", "yes").env("ENROOT_SQUASH_OPTIONS", "-comp gzip");
    let command = variables.iter().fold(&mut command, |c, name| c.env(name, "/nonexistent"));
    // The loader's own complaint about LD_AUDIT is of this process, not of its children.
    assert!(!command.output().unwrap().status.success());
    let seen = place.read("work/seen");
    assert!(seen.contains("KEPT=yes"), "{seen}");
    for name in variables {
        assert!(!seen.contains(&format!("{name}=")), "{name}: {seen}");
    }
}

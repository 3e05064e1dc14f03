//! Images in files: what docker saves and exports, layouts, and what anybody has packed.

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Image, Layer, Place, gzip, hex, text, zstd};

fn read(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
}

/// The files of an image.
fn imported(place: &Place, uri: &str, name: &str) -> PathBuf {
    place.ok(&["import", "-o", &format!("{name}.sqsh"), uri]);
    place.assert_clean();
    place.unpack(&format!("{name}.sqsh"), &format!("{name}-root"))
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("no {program}: {error}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", text(&done.stderr));
}

fn image() -> Image {
    let base = Layer::new().file("bin/a", "1").file("gone", "");
    let top = Layer::new().file("b", "2").file(".wh.gone", "");
    Image::with_config(&[base.gzip(), top.tar()], r#"{"Env": ["A=b"], "Cmd": ["c"]}"#)
}

fn check(root: &Path) {
    assert_eq!((read(root, "bin/a"), read(root, "b")), ("1".to_owned(), "2".to_owned()));
    assert!(!root.join("gone").exists());
    assert_eq!(read(root, "etc/environment"), "A=b\n");
}

#[test]
fn what_docker_saves_is_an_image() {
    let place = Place::new();
    image().layout(&place.path("layout"), "x");
    let copy =
        ["copy", "-q", "--insecure-policy", "oci:layout:x", "docker-archive:saved.tar:reg/x:1"];
    run("skopeo", &copy, &place.path(""));
    check(&imported(&place, "oci-archive:saved.tar", "a"));
    check(&imported(&place, "docker-archive:saved.tar", "b"));
    check(&imported(&place, "docker-archive:saved.tar:reg/x:1", "c"));
    check(&imported(&place, "oci-archive:saved.tar:1", "d"));
    let error = place.fails(&["import", "docker-archive:saved.tar:reg/x:2"]);
    assert!(error.contains("it has no image reg/x:2") && error.contains("reg/x:1"), "{error}");
    // The same image each time.
    assert_eq!(
        place.ok(&["digest", "oci-archive:saved.tar"]),
        place.ok(&["digest", "docker-archive:saved.tar"])
    );
}

/// As docker wrote it for years: a folder for each layer, and links where images share one.
#[test]
fn what_old_dockers_saved_is_an_image() {
    let place = Place::new();
    let config = r#"{"architecture": "amd64", "config": {"Env": ["A=b"]}}"#;
    let layer = |name: &str| Layer::new().file(name, name).tar();
    let (first, second) = (layer("first"), layer("second"));
    let archive = |manifest: &str| {
        let file = |layer: Layer, path: &str, bytes: &[u8]| {
            layer.entry(path.as_bytes(), images::tarball::Kind::File, 0o644, bytes)
        };
        let layer = Layer::new().directory("./1/").file("1/json", "{}").file("repositories", "{}");
        let layer = file(file(layer, "./1/layer.tar", &first), "2/layer.tar", &second);
        let layer =
            layer.symlink("3/layer.tar", "../1/layer.tar").symlink("4/layer.tar", "layer.tar");
        layer.file("c.json", config).file("manifest.json", manifest).tar()
    };
    let two = r#"[{"Config": "c.json", "RepoTags": null, "Layers": ["3/layer.tar", "2/layer.tar"]},
        {"Config": "c.json", "RepoTags": ["docker.io/a/b:v1", "a:2"], "Layers": null}]"#;
    fs::write(place.path("old.tar"), archive(two)).unwrap();
    let error = place.fails(&["import", "oci-archive:old.tar"]);
    assert!(
        error.contains("several images, name one (PATH:TAG): docker.io/a/b:v1, a:2"),
        "{error}"
    );
    place.ok(&["import", "-o", "empty.sqsh", "oci-archive:old.tar:v1"]);
    let one = r#"[{"Config": "c.json", "Layers": ["3/layer.tar", "2/layer.tar", "1/layer.tar"]}]"#;
    fs::write(place.path("old.tar"), archive(one)).unwrap();
    let root = imported(&place, "oci-archive:old.tar", "a");
    assert_eq!((read(&root, "first"), read(&root, "second")), ("first".into(), "second".into()));
    assert_eq!(read(&root, "etc/environment"), "A=b\n");
    for (layers, why) in [("4/layer.tar", "it has no 4/layer.tar"), ("../x", "it has no ../x")] {
        let text = format!(r#"[{{"Config": "c.json", "Layers": ["{layers}"]}}]"#);
        fs::write(place.path("old.tar"), archive(&text)).unwrap();
        let error = place.fails(&["import", "oci-archive:old.tar"]);
        assert!(error.contains(why), "{error}");
    }
    fs::write(place.path("old.tar"), archive("{")).unwrap();
    assert!(place.fails(&["import", "oci-archive:old.tar"]).contains("manifest.json is malformed"));
}

#[test]
fn a_compressed_archive_is_read() {
    let place = Place::new();
    image().layout(&place.path("layout"), "x");
    for (name, arguments) in [
        ("plain.tar", vec!["-cf", "../plain.tar", "."]),
        ("a.tgz", vec!["-czf", "../a.tgz", "."]),
        ("a.tar.xz", vec!["-cJf", "../a.tar.xz", "."]),
        ("a.tar.bz2", vec!["-cjf", "../a.tar.bz2", "."]),
    ] {
        run("tar", &arguments, &place.path("layout"));
        check(&imported(&place, &format!("oci-archive:{name}"), &name.replace('.', "-")));
        check(&imported(&place, &format!("oci-archive:{name}:x"), &name.replace('.', "+")));
    }
    // The folder, and not what is in it.
    run("tar", &["-czf", "folder.tgz", "layout"], &place.path(""));
    check(&imported(&place, "oci-archive:folder.tgz", "folder"));
    let whole = fs::read(place.path("a.tgz")).unwrap();
    fs::write(place.path("cut.tgz"), &whole[..whole.len() / 2]).unwrap();
    let error = place.fails(&["import", "oci-archive:cut.tgz"]);
    assert!(error.contains("cut.tgz"), "{error}");
    let mut place = place;
    place.set("PYXIS_MAX_UNPACKED", "1000");
    let bomb = zstd(&Layer::new().file("bin/x", &"0".repeat(50 << 20)).tar());
    fs::write(place.path("bomb.tar"), bomb).unwrap();
    let error = place.fails(&["import", "oci-archive:bomb.tar"]);
    assert!(error.contains("unpacks to more than"), "{error}");
}

#[test]
fn a_packed_root_is_an_image() {
    let place = Place::new();
    let files = || {
        Layer::new()
            .file("./bin/a", "1")
            .file("etc/hostname", "h")
            .file("usr/.wh.kept", "not a whiteout")
            .file(".dockerenv", "")
            .file("manifest.json", "mine")
            .file("dev/console", "")
            .link("usr/b", "bin/a")
    };
    for (name, bytes) in [
        ("root.tar", files().tar()),
        ("root.tgz", gzip(&files().tar())),
        ("root.tar.zst", zstd(&files().tar())),
    ] {
        fs::write(place.path(name), bytes).unwrap();
        let root = imported(&place, &format!("oci-archive:{name}"), &name.replace('.', "-"));
        assert_eq!((read(&root, "bin/a"), read(&root, "usr/b")), ("1".into(), "1".into()));
        assert_eq!(read(&root, "usr/.wh.kept"), "not a whiteout");
        assert_eq!(read(&root, "manifest.json"), "mine");
        assert!(!root.join(".dockerenv").exists() && !root.join("dev/console").exists());
        assert!(read(&root, "etc/rc").contains("exec '/bin/sh'"));
    }
    let error = place.fails(&["import", "oci-archive:root.tar:x"]);
    assert!(error.contains("it is a root file system, and has no image x"), "{error}");
    // The same bytes as a layer of an image are another image.
    let tar = files().tar();
    let image = Image::with_config(std::slice::from_ref(&tar), "{}");
    assert!(image.layers == [hex(&tar)]);
    image.layout(&place.path("layout"), "x");
    let root = imported(&place, "oci:layout", "layer");
    assert!(!root.join("usr/.wh.kept").exists());
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let place = Place::new();
    for (bytes, why) in [
        (b"no archive".to_vec(), "it is no archive"),
        (Vec::new(), "it is neither an OCI layout"),
        (
            Layer::new().file("notes/a", "x").tar(),
            "nor a root file system (it has no bin, etc or usr)",
        ),
        (gzip(b"no archive"), "it is no archive"),
        (b"\x04\x22\x4d\x18....".to_vec(), "compressed with lz4, which is not supported"),
    ] {
        fs::write(place.path("file"), bytes).unwrap();
        let error = place.fails(&["import", "oci-archive:file"]);
        assert!(error.contains(why), "{error}");
    }
    let error = place.fails(&["import", "oci-archive:absent"]);
    assert!(error.contains("absent: No such file"), "{error}");
}

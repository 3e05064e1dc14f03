//! What images say of how they want to be run, and what they have where containers get something.

mod common;
mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use common::Place;
use fixtures::{Image, Layer};
use images::tarball::Kind;

/// A layer with a shell.
fn base() -> Layer {
    let busybox = fs::read("/bin/busybox").expect("no busybox-static");
    let mut layer = Layer::new().entry(b"bin/busybox", Kind::File, 0o755, &busybox);
    for applet in ["sh", "cat", "echo", "env", "ls", "mkdir", "pwd", "touch", "true", "test"] {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    layer
}

/// `work/NAME.sqsh` of these layers and this configuration, imported by the user.
fn image(place: &Place, name: &str, layer: Layer, config: &str) {
    let layout = place.path(name);
    Image::with_config(&[base().gzip(), layer.gzip()], config).layout(&layout, "x");
    place.give(&layout);
    let layout = format!("oci:{}:x", layout.display());
    place.ok(&["import", "-o", &format!("{name}.sqsh"), &layout]);
}

fn variables(block: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(block);
    let pairs = text.split('\0').filter_map(|variable| variable.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn variables_are_those_of_the_image_byte_by_byte() {
    let place = Place::new();
    let values = [
        ("LINES2", "a\nb"),
        ("ENDS", "\n\nx\r\n"),
        ("HOST", "${HOME}/x"),
        ("MORE", "$HOME ${A:-b} ${NONE} $(id) `id`"),
        ("QUOTED", "\"x\""),
        ("SINGLE", "'it''s'"),
        ("HALF", "\"x"),
        ("BLANKS", "  a  b  "),
        ("TABS", "\ta\t"),
        ("BACK", "a\\nb\\"),
        ("NOTE", "x\n#pyxis: NOTE=y"),
        ("FAKE", "x\nINJECTED=1"),
        ("BOTH", "\"a\n${HOME}\""),
        ("EMPTY", ""),
        ("UNICODE", "ä\u{1F600}"),
        // No shell can have them, programs can.
        ("discovery.type", "single-node"),
        ("my-name", "a\nb"),
        ("1X", "${HOME}"),
    ];
    let env: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let more = ["PATH=/bin", " LEADING=1", "no equals"].map(str::to_owned);
    let all = [env, more.to_vec()].concat();
    let env = serde_json::json!({ "Env": all });
    image(&place, "image", Layer::new(), &env.to_string());
    fs::write(place.path("work/conf"), "hooks() { :; }\n").unwrap();
    place.give(&place.path("work/conf"));
    place.ok(&["create", "-n", "named", "image.sqsh"]);
    for arguments in [
        &["start", "./image.sqsh", "cat", "/proc/self/environ"][..],
        &["start", "-c", "conf", "./image.sqsh", "cat", "/proc/self/environ"],
        &["start", "named", "cat", "/proc/self/environ"],
    ] {
        let got = variables(place.ok(arguments).as_bytes());
        for (name, value) in values {
            assert_eq!(got.get(name).map(String::as_str), Some(value), "{arguments:?} {name}");
        }
        for none in ["INJECTED", "LEADING", "no equals"] {
            assert!(!got.contains_key(none), "{arguments:?} {none}");
        }
    }
}

#[test]
fn a_file_that_somebody_wrote_is_read_as_enroot_reads_it() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(root.join("etc/environment"), "PATH=/bin\nA=${HOME}/x\nB=\"y\"\n").unwrap();
    });
    let got = place.ok(&["start", "./image.sqsh", "cat", "/proc/self/environ"]);
    let got = variables(got.as_bytes());
    assert_eq!(got["A"], format!("{}/x", place.path("home").display()));
    assert_eq!(got["B"], "y");
}

#[test]
fn volumes_are_directories() {
    let place = Place::new();
    let layer = Layer::new()
        .file("is/file", "kept")
        .directory("real")
        .symlink("link", "real")
        .symlink("loop", "loop")
        .symlink("file", "is/file")
        .symlink("dangling", "/made/there");
    let config = r#"{"Env": ["PATH=/bin"], "Volumes": {"/data": {}, "/a b/deep/er": null, "/is/file": {},
        "/is/file/below": {}, "/link/inside": {}, "/loop/x": {}, "/dangling": {}, "/file": {}, "/file/below": {}, "relative": {}, "/": {},
        "/../up": {}, "/new\nline": {}}}"#;
    image(&place, "image", layer, config);
    let look = "for d in /data '/a b/deep/er' /real/inside /made/there '/new\nline'; do \
        test -d \"$d\" || echo no $d; done; cat /is/file; test ! -e /relative; ls -d /up 2>&1 | cat";
    let seen = place.ok(&["start", "./image.sqsh", "sh", "-c", look]);
    assert_eq!(seen, "keptls: /up: No such file or directory\n");
    let write = "touch /data/f '/a b/deep/er/f' && echo done";
    assert_eq!(place.ok(&["start", "-w", "./image.sqsh", "sh", "-c", write]), "done\n");
}

#[test]
fn a_working_directory_takes_the_place_of_no_file() {
    let place = Place::new();
    for (at, path) in
        ["/is/file", "/is/file/below", "/link", "/loop", "/loop/below"].iter().enumerate()
    {
        let layer =
            Layer::new().file("is/file", "kept").symlink("link", "is/file").symlink("loop", "loop");
        image(&place, &format!("image{at}"), layer, &format!(r#"{{"WorkingDir": "{path}"}}"#));
        let file = format!("./image{at}.sqsh");
        let said = place.run(&["start", &file, "true"]).fails(1);
        assert!(said.contains(path), "{said}");
        let unsquashfs = |option: &str, name: &str| {
            let file = place.path(format!("work/image{at}.sqsh"));
            let output =
                Command::new("unsquashfs").arg(option).arg(file).arg(name).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(unsquashfs("-cat", "is/file"), "kept", "{path}");
        assert!(unsquashfs("-ll", "link").contains("/link -> is/file"), "{path}");
        assert!(unsquashfs("-ll", "loop").contains("/loop -> loop"), "{path}");
    }
}

#[test]
fn commands_are_the_images_word_by_word() {
    let place = Place::new();
    // What prints its words without a shell.
    let show = "/bin/busybox";
    for (at, (config, arguments, want)) in [
        (format!(r#"{{"Entrypoint": [""], "Cmd": ["{show}", "echo", "cmd"]}}"#), vec![], "cmd\n"),
        (r#"{"Entrypoint": [""]}"#.to_owned(), vec!["/bin/echo", "hi"], "hi\n"),
        (format!(r#"{{"Entrypoint": ["{show}", "echo"], "Cmd": ["a\nb", "", "$HOME", "'x'", "\"", " "]}}"#), vec![], "a\nb  $HOME 'x' \"  \n"),
        (format!(r##"{{"Entrypoint": ["{show}", "echo", "#x\n"], "Cmd": ["no"]}}"##), vec!["`y`", "a\n\nb"], "#x\n `y` a\n\nb\n"),
        (format!(r#"{{"Entrypoint": "{show}"}}"#), vec!["echo", "word"], "word\n"),
        (format!(r#"{{"Cmd": ["{show}", "pwd"], "WorkingDir": "a \"b\" $c\nd\\e"}}"#), vec![], "/a \"b\" $c\nd\\e\n"),
        (format!(r#"{{"Cmd": ["{show}", "pwd"], "WorkingDir": "/new/in/image/"}}"#), vec![], "/new/in/image\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("image{at}");
        image(&place, &name, Layer::new(), &config);
        let file = format!("./{name}.sqsh");
        let start = [&["start", file.as_str()][..], &arguments].concat();
        assert_eq!(place.ok(&start), want, "{config}");
        // A shell understands the same script.
        let local = format!("{name}-shell");
        image(&place, &local, Layer::new(), &config);
        let file = format!("./{local}.sqsh");
        let start = [&["start", file.as_str()][..], &arguments].concat();
        let output = place.pyxis(start).env("ENROOT_LOGIN_SHELL", "y").output().unwrap();
        assert_eq!(fixtures::text(&output.stdout), want, "{config}: {output:?}");
    }
}

/// As it was written by importers that do not know of it.
#[test]
fn an_empty_entrypoint_of_an_older_image_is_none() {
    let place = Place::new();
    place.image("image", |root| {
        let text = "mkdir -p \"/\" 2> /dev/null\ncd \"/\" && unset OLDPWD || exit 1\n\n\
            if [ -s /etc/rc.local ]; then\n    . /etc/rc.local\nfi\n\n\
            if [ $# -gt 0 ]; then\n    exec '' \"$@\"\nelse\n    exec '' 'echo' 'cmd'\nfi\n";
        fs::write(root.join("etc/rc"), text).unwrap();
    });
    assert_eq!(place.ok(&["start", "./image.sqsh", "/bin/echo", "hi"]), "hi\n");
    assert_eq!(place.ok(&["start", "./image.sqsh"]), "cmd\n");
}

/// What is no directory where every container gets one.
#[test]
fn odd_system_directories_are_as_the_image_has_them() {
    let place = Place::new();
    type Change = fn(Layer) -> Layer;
    let cases: [(&str, Change, &str, &str); 9] = [
        ("tmp-file", |l| l.file("tmp", "mine"), "cat /tmp", "mine"),
        ("run-file", |l| l.file("var/run", "mine"), "cat /var/run", "mine"),
        ("lock-file", |l| l.file("var/lock", "mine"), "cat /var/lock", "mine"),
        ("var-file", |l| l.file("var", "mine"), "cat /var", "mine"),
        ("tmp-link", |l| l.symlink("tmp", "/somewhere/else"), "touch /tmp/f; echo made", "made\n"),
        ("tmp-to-file", |l| l.file("f", "mine").symlink("tmp", "f"), "cat /tmp", "mine"),
        ("tmp-loop", |l| l.symlink("tmp", "tmp"), "echo started", "started\n"),
        ("run-link", |l| l.symlink("var/run", "/run"), "touch /run/f; echo made", "made\n"),
        ("run-to-file", |l| l.file("run", "mine").symlink("var/run", "../run"), "cat /run", "mine"),
    ];
    for (name, change, script, want) in cases {
        image(&place, name, change(Layer::new()), r#"{"Env": ["PATH=/bin"]}"#);
        let file = format!("./{name}.sqsh");
        place.ok(&["create", "-n", name, &file[2..]]);
        for arguments in [
            &["start", &file, "sh", "-c", script][..],
            &["start", "-w", &file, "sh", "-c", script],
            &["start", name, "sh", "-c", script],
        ] {
            let done = place.run(arguments);
            let said = String::from_utf8_lossy(&done.0.stderr).into_owned();
            assert_eq!(done.ok(), want, "{arguments:?}");
            let told = want == "mine" || name == "tmp-loop";
            assert_eq!(
                said.contains("is no directory in the image"),
                told,
                "{arguments:?}: {said}"
            );
        }
    }
}

/// What a file is mounted on is a directory, and the other way round.
#[test]
fn odd_system_files_do_not_keep_a_container_from_starting() {
    let place = Place::new();
    for (name, layer) in [
        ("hosts", Layer::new().file("etc/hosts/below", "x")),
        ("resolv", Layer::new().symlink("etc/resolv.conf", "/run/nothing/there")),
        ("passwd", Layer::new().file("etc/passwd/below", "x")),
        ("group", Layer::new().symlink("etc/group", "group")),
        ("proc", Layer::new().file("proc", "x")),
        ("dev", Layer::new().file("dev", "x")),
        ("sys", Layer::new().symlink("sys", "/nowhere")),
        ("localtime", Layer::new().file("etc/localtime/below", "x")),
        ("shm", Layer::new().symlink("dev", "usr/dev").file("usr/dev/shm", "x")),
    ] {
        image(&place, name, layer, r#"{"Env": ["PATH=/bin"]}"#);
        let start = ["start", &format!("./{name}.sqsh"), "echo", "started"];
        let output = place.run(&start);
        assert_eq!(output.ok(), "started\n", "{name}");
    }
}

/// Where a container has file systems in memory, what an image has there is seen, as with other engines.
#[test]
fn what_an_image_has_in_temporary_directories_is_there() {
    let place = Place::new();
    let layer = Layer::new()
        .entry(b"tmp", Kind::Directory, 0o700, b"")
        .file("tmp/file", "t")
        .file("tmp/deep/er/file", "d")
        .file("run/file", "r")
        .symlink("var/run", "/run")
        .file("run/lock/file", "l")
        .symlink("var/lock", "../run/lock");
    image(&place, "image", layer, r#"{"Env": ["PATH=/bin"], "Volumes": {"/tmp/volume": {}}}"#);
    place.ok(&["create", "-n", "named", "image.sqsh"]);
    let look = "cat /tmp/file /tmp/deep/er/file /run/file /var/run/file /var/lock/file; \
        test -d /tmp/volume && echo v; for d in /tmp /tmp/volume /tmp/deep /run /var/lock; do \
        test ! -e $d/new && touch $d/new || echo $d; done; echo x > /tmp/file; cat /tmp/file";
    for arguments in [
        &["start", "./image.sqsh", "sh", "-c", look][..],
        &["start", "-w", "./image.sqsh", "sh", "-c", look],
        &["start", "named", "sh", "-c", look],
        &["start", "-w", "named", "sh", "-c", look],
        // Nothing of it was kept.
        &["start", "-w", "named", "sh", "-c", look],
    ] {
        let done = place.run(arguments);
        let said = String::from_utf8_lossy(&done.0.stderr).into_owned();
        assert_eq!((done.ok().as_str(), said.as_str()), ("tdrrlv\nx\n", ""), "{arguments:?}");
    }
    let mode = "test -k /tmp && test ! -k /run && echo modes";
    assert_eq!(place.ok(&["start", "./image.sqsh", "sh", "-c", mode]), "modes\n");
    // Where it cannot be so, the image is named as the cause.
    let mut command = place.pyxis(["start", "./image.sqsh", "sh", "-c", "touch /tmp/new; ls /tmp"]);
    let output = command.env("ENROOT_NATIVE_OVERLAYFS", "n").output().unwrap();
    let said = fixtures::text(&output.stderr);
    assert_eq!(fixtures::text(&output.stdout), "new\n", "{said}");
    assert!(
        said.contains("the image has files in /tmp, which is a file system in memory"),
        "{said}"
    );
}

/// What most images have there is nothing, or directories alone: then it is as it always was.
#[test]
fn temporary_directories_without_files_are_new_file_systems() {
    let place = Place::new();
    let layer = Layer::new().directory("tmp").directory("run/lock/sub").symlink("var/run", "/run");
    image(&place, "image", layer, r#"{"Env": ["PATH=/bin"]}"#);
    place.ok(&["create", "-n", "named", "image.sqsh"]);
    for what in ["./image.sqsh", "named"] {
        let mounts = place.ok(&["start", what, "cat", "/proc/self/mounts"]);
        for at in ["/tmp", "/run"] {
            assert!(mounts.contains(&format!("tmpfs {at} tmpfs ")), "{what} {at}: {mounts}");
        }
    }
}

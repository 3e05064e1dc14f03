//! Images property by property: of each file what umoci unpacks of the same layout, of a configuration what umoci says of
//! the process. What is meant to differ is told by rules that have their reasons, and printed; all else is equal.

mod common;
mod fixtures;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use common::Place as UserPlace;
use fixtures::{Image, Layer, Place, gzip, hex, text};
use images::tarball::Kind;
use nix::libc;

/// What a file has, by the property's name.
type File = BTreeMap<&'static str, String>;

const ATTRIBUTES: [&str; 3] = ["user.test", "security.capability", "trusted.test"];

fn attribute(path: &Path, name: &str) -> Option<String> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = CString::new(name).unwrap();
    let mut value = [0u8; 256];
    // SAFETY: both strings are NUL-terminated and the buffer has the length stated.
    let length = unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    usize::try_from(length).ok().map(|length| hex(&value[..length]))
}

fn describe(root: &Path) -> BTreeMap<Vec<u8>, File> {
    let mut out = BTreeMap::new();
    let mut first_names: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            // What the importer itself writes.
            if name == b"etc" || name.starts_with(b"etc/") {
                continue;
            }
            let data = fs::symlink_metadata(&path).unwrap();
            let mut file = File::from([
                ("type", format!("{:o}", data.mode() & libc::S_IFMT)),
                ("mode", format!("{:o}", data.mode() & 0o7777)),
                ("owner", format!("{}:{}", data.uid(), data.gid())),
                ("time", data.mtime().to_string()),
            ]);
            for name in ATTRIBUTES {
                if let Some(value) = attribute(&path, name) {
                    file.insert(name, value);
                }
            }
            if data.is_dir() {
                todo.push(path.clone());
            } else {
                let first = first_names.entry(data.ino()).or_insert_with(|| name.clone());
                file.insert("links", data.nlink().to_string());
                file.insert("same as", text(first));
            }
            if data.is_symlink() {
                file.insert("content", fs::read_link(&path).unwrap().display().to_string());
            } else if data.is_file() {
                file.insert("content", hex(&fs::read(&path).unwrap()));
            }
            out.insert(name, file);
        }
    }
    out
}

/// Why a property differs, if it is meant to: `None` stands for what is not there.
fn reason(name: &[u8], property: &str, ours: Option<&File>, theirs: &File) -> Option<&'static str> {
    const DEVICES: [&str; 2] = ["20000", "60000"];
    let Some(ours) = ours else {
        return match theirs["type"].as_str() {
            kind if DEVICES.contains(&kind) => Some("devices: containers get the host's"),
            _ if name.starts_with(b".wh..wh.") => Some("notes of aufs: no files of the image"),
            _ => None,
        };
    };
    let (is, other) = (ours.get(property), theirs.get(property));
    let number = |text: Option<&String>, radix| i64::from_str_radix(text?, radix).ok();
    match property {
        "owner" if is.is_some_and(|owner| owner == "0:0") => {
            Some("owner: a container has one user, whose files all are")
        }
        "mode" => {
            let (is, other) = (number(is, 8)?, number(other, 8)?);
            let more = match theirs["type"].as_str() {
                "40000" => 0o700,
                _ if other & 0o111 == 0 => 0o400,
                _ => 0o500,
            };
            (is == other | more)
                .then_some("mode: the user reads each file and goes into each directory")
        }
        "time" => {
            let (is, other) = (number(is, 10)?, number(other, 10)?);
            if is == other.clamp(0, u32::MAX.into()) {
                return Some("time: squashfs counts seconds from 1970 to 2106");
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
            let unpacked = theirs["type"] == "40000" && (now - 3600..=now).contains(&other);
            unpacked.then_some("time: umoci's is that of unpacking where a layer says none")
        }
        "links" | "same as" if !matches!(theirs["type"].as_str(), "100000") => {
            Some("links: archives know further names of files only")
        }
        "security.capability" | "trusted.test" if is.is_none() => {
            Some("attributes: others than a user's mean something to the host")
        }
        _ => None,
    }
}

/// A layer by GNU tar.
fn by_tar(options: &[&str], fill: impl FnOnce(&Path)) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let done = Command::new("tar")
        .args(["--create", "--format=posix", "--no-recursion"])
        .args(options)
        .args(["-C", directory.path().to_str().unwrap()])
        .args(fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()))
        .output()
        .expect("no tar");
    assert!(done.status.success(), "{}", text(&done.stderr));
    gzip(&done.stdout)
}

fn base() -> Layer {
    let mut layer = Layer::new();
    for mode in [0o755, 0o644, 0o4755, 0o2755, 0o6711, 0o1644, 0o600, 0o444, 0o222, 0o111, 0] {
        layer = layer
            .entry(format!("modes/file-{mode:o}").as_bytes(), Kind::File, mode, b"x")
            .entry(format!("modes/directory-{mode:o}").as_bytes(), Kind::Directory, mode, b"");
    }
    layer
        .directory("wh")
        .file("wh/1", "1")
        .file("wh/2", "2")
        .directory("wh/d")
        .file("wh/d/3", "3")
        .directory("opaque")
        .file("opaque/1", "1")
        .directory("opaque/sub")
        .file("opaque/sub/2", "2")
        .directory("real")
        .file("real/1", "1")
        .file("real/2", "2")
        .symlink("way", "real")
        .symlink("link-to-directory", "real")
        .symlink("absolute", "/real")
        .symlink("dangling", "not/there")
        .file("file-to-directory", "f")
        .directory("directory-to-file")
        .file("directory-to-file/x", "x")
        .directory("directory-to-link")
        .file("directory-to-link/x", "x")
        .file("hard/a", "a")
        .link("hard/b", "hard/a")
        .file("replaced/a", "old")
        .link("replaced/b", "replaced/a")
        .file("gone/a", "a")
        .link("gone/b", "gone/a")
        .entry(b"special/fifo", Kind::Fifo, 0o600, b"")
        .link("special/fifo-again", "special/fifo")
        .symlink("special/link", "target")
        .link("special/link-again", "special/link")
        .entry(b"special/device", Kind::Device, 0o666, b"")
        .file("special/file-to-device", "f")
        .with_xattr("attributes/user", "user.test", b"value")
        .with_xattr("attributes/overwritten", "user.test", b"value")
        .with_xattr("attributes/trusted", "trusted.test", b"value")
        .with_xattr("attributes/capable", "security.capability", CAPABILITY)
        .entry(&[b'n'; 255], Kind::File, 0o644, b"long")
        .entry(&[b"d".repeat(200), b"e".repeat(200)].join(&b'/'), Kind::File, 0o644, b"deep")
        .entry(b"latin-\xe9\xff", Kind::File, 0o644, b"not utf-8")
        .entry(b" odd\n\t\\*=name ", Kind::File, 0o644, b"odd")
}

const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn changes() -> Layer {
    Layer::new()
        .file("wh/.wh.1", "")
        .file("wh/.wh.d", "")
        .file(".wh..wh.plnk/1", "x")
        .file("wh/.wh.never-there", "")
        // Before and after the whiteout that does not concern it.
        .file("opaque/before", "b")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/after", "a")
        .file("way/.wh.1", "")
        .file("way/3", "3")
        .file("absolute/4", "4")
        .file("dangling/5", "5")
        .directory("link-to-directory")
        .file("link-to-directory/y", "y")
        .directory("file-to-directory")
        .file("file-to-directory/y", "y")
        .file("directory-to-file", "f")
        .symlink("directory-to-link", "real")
        .file("directory-to-link/6", "6")
        .link("hard/c", "hard/b")
        .link("hard/through", "way/2")
        .file("replaced/a", "new")
        .file("gone/.wh.a", "")
        .entry(b"special/file-to-device", Kind::Device, 0o600, b"")
        .file("attributes/overwritten", "x")
        .file("no/such/parent", "p")
        .file("twice", "1")
        .file("twice", "2")
}

#[test]
#[ignore = "needs root"]
fn files_are_what_umoci_unpacks_but_for_what_is_meant_to_differ() {
    let named = |name: &'static str| move |place: &Path| fs::write(place.join(name), name).unwrap();
    let layers = [
        base().gzip(),
        changes().gzip(),
        Layer::new().directory("wh/d").file("wh/d/new", "n").gzip(),
        by_tar(&["--mtime=@-86400"], named("before-1970")),
        by_tar(&["--mtime=@4300000000"], named("after-2106")),
        by_tar(&["--mtime=@1700000000", "--owner=x:2097152", "--group=x:70000"], named("owned")),
        by_tar(&["--mtime=@1700000000", "--sparse"], |place| {
            fs::File::create(place.join("sparse")).unwrap().set_len(1 << 20).unwrap();
        }),
    ];
    let place = Place::new();
    Image::new(&layers).layout(&place.path("layout"), "x");
    place.ok(&["import", "-o", "image.sqsh", "oci:layout:x"]);
    let ours = describe(&place.unpack("image.sqsh", "ours"));
    umoci(&place.path(""), "layout:x");
    let theirs = describe(&place.path("bundle/rootfs"));

    let (mut meant, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, theirs) in &theirs {
        let is = ours.get(name);
        let properties: BTreeSet<&str> =
            is.into_iter().flat_map(File::keys).chain(theirs.keys()).copied().collect();
        for property in properties {
            let (one, other) = (is.and_then(|is| is.get(property)), theirs.get(property));
            if one != other {
                match reason(name, property, is, theirs) {
                    Some(reason) => drop(meant.entry(reason).or_insert_with(|| text(name))),
                    None => wrong.push(format!("{} {property}: {one:?} {other:?}", text(name))),
                }
            }
        }
    }
    wrong.extend(ours.keys().filter(|name| !theirs.contains_key(*name)).map(|name| text(name)));
    for (reason, example) in &meant {
        println!("meant to differ: {reason} ({example})");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(meant.len(), 8, "a rule that nothing needs: {meant:#?}");
}

/// A bundle of this image, in `bundle`.
fn umoci(place: &Path, image: &str) {
    let mut command = Command::new("umoci");
    command.args(["unpack", "--image", image, "bundle"]).current_dir(place);
    let done = command.output().expect("no umoci");
    assert!(done.status.success(), "{}", text(&done.stderr));
}

/// A layer with a program that tells what it was given: user, directory, words, and variables as they were.
fn showing() -> Vec<u8> {
    let busybox = fs::read("/bin/busybox").expect("no busybox-static");
    let script = b"#!/bin/sh\nprintf '%s\\0' \"$(id -u)\" \"$(pwd)\" \"$0\" \"$@\" --variables--\n\
        cat /proc/$$/environ\ntrue\n";
    let mut layer = Layer::new()
        .entry(b"bin/busybox", Kind::File, 0o755, &busybox)
        .entry(b"bin/show", Kind::File, 0o755, script)
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\njoe:x:1000:1001::/home/joe:/bin/sh\n")
        .file("etc/group", "root:x:0:\njoe:x:1001:\nteam:x:2000:joe\n")
        .directory("real")
        .symlink("link", "real");
    for applet in ["sh", "cat", "id", "mkdir"] {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    layer.gzip()
}

/// What a path leads to by its text alone, from the root on.
fn cleaned(path: &str) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

#[test]
#[ignore = "needs root"]
fn processes_are_what_umoci_makes_of_a_configuration() {
    let (layer, mut meant) = (showing(), BTreeSet::new());
    for config in [
        r#"{"Cmd": ["/bin/show"]}"#,
        r#"{"Entrypoint": ["/bin/show", "a b", ""], "Cmd": ["$HOME", "'q'", "\"", "l\nl", "\\", "`x`", "-n"]}"#,
        r#"{"Entrypoint": null, "Cmd": ["/bin/show", "--", "--env"], "Env": null, "Labels": null, "Volumes": null}"#,
        r#"{"Entrypoint": [], "Cmd": ["/bin/show", "ä"], "User": "joe"}"#,
        r#"{"Cmd": ["/bin/show"], "User": "1000:2000", "WorkingDir": "/link"}"#,
        r#"{"Cmd": ["/bin/show"], "User": "joe:team", "WorkingDir": "/made/here"}"#,
        r#"{"Cmd": ["/bin/show"], "User": "12345", "WorkingDir": "relative/"}"#,
        r#"{"Cmd": ["/bin/show"], "WorkingDir": "/real/../tmp/./x//y"}"#,
        r#"{"Cmd": ["/bin/show"], "WorkingDir": "/../.."}"#,
        r#"{"Cmd": ["/bin/show"], "WorkingDir": "/a \"b\" $c"}"#,
        r#"{"Cmd": ["/bin/show"], "Env": ["PATH=/bin", "A=", "B=x=y", "C=  x ", "D='x'", "E=\"x", "F=${PATH}/x", "G=$PATH",
            "H=a\nb", "I=\\n", "J=1", "J=2", "K=#x", "discovery.type=single-node", "my-name=1", "1X=2"]}"#,
        r#"{"Cmd": ["/bin/show"], "Env": ["PATH=/x", "PATH=/bin"], "StopSignal": "SIGKILL", "ExposedPorts": {"80/tcp": {}},
            "ArgsEscaped": true, "OnBuild": ["RUN x"], "Shell": ["/x"], "Healthcheck": {"Test": ["NONE"]},
            "Labels": {"a": "b\nexec false", "$(x)": "`y`"}}"#,
    ] {
        let user = UserPlace::new();
        Image::with_config(std::slice::from_ref(&layer), config).layout(&user.path("layout"), "x");
        umoci(&user.path(""), "layout:x");
        let process = fs::read(user.path("bundle/config.json")).unwrap();
        let process = &serde_json::from_slice::<serde_json::Value>(&process).unwrap()["process"];
        user.give(&user.path("layout"));
        user.ok(&["import", "-o", "image.sqsh", "oci:../layout:x"]);
        let shown = user.ok(&["start", "./image.sqsh"]);

        let (words, variables) = shown.split_once("--variables--\0").unwrap();
        let mut words = words.split_terminator('\0');
        assert_eq!(words.next(), Some(user.uid.to_string().as_str()), "{config}");
        if process["user"]["uid"] != 0 {
            meant.insert(format!("USER {}: a container runs as its user", process["user"]));
        }
        let directory = cleaned(process["cwd"].as_str().unwrap());
        assert_eq!(words.next().map(Path::new), Some(directory.as_path()), "{config}");
        let args: Vec<&str> =
            process["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        assert_eq!(words.collect::<Vec<_>>(), args, "{config}");
        for wanted in process["env"].as_array().unwrap() {
            let wanted = wanted.as_str().unwrap();
            let name = wanted.split_once('=').unwrap().0;
            if !config.contains(&format!("\"{name}=")) {
                meant.insert(format!("{wanted} of no image: as a login has it, or the job"));
                continue;
            }
            assert!(variables.split('\0').any(|is| is == wanted), "{wanted:?}: {variables:?}");
        }
    }
    meant.iter().for_each(|meant| println!("meant to differ: {meant}"));
}

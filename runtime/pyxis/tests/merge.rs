//! Merging layers, compared with what umoci unpacks of the same image, and with GNU tar's forms.

mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fixtures::{Image, Layer, Place, gzip, hex, text};
use images::tarball::Kind;

/// Everything about a file that an image keeps.
fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut out = BTreeMap::new();
    let mut links: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        let mut entries: Vec<_> = fs::read_dir(&directory).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            // What the importer itself writes.
            if name == b"etc" || name.starts_with(b"etc/") {
                continue;
            }
            let data = fs::symlink_metadata(&path).unwrap();
            let kind = data.file_type();
            let mode = data.permissions().mode() & 0o7777;
            let what = if kind.is_dir() {
                todo.push(path.clone());
                // The owner of an unpacked image needs to get into its directories.
                format!("directory {:o}", mode | 0o700)
            } else if kind.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_fifo() {
                format!("fifo {:o}", mode | 0o400)
            } else {
                let content = hex(&fs::read(&path).unwrap());
                let first = links.entry(data.ino()).or_insert_with(|| name.clone()).clone();
                format!("file {:o} {} {content} is {}", mode | 0o400, data.len(), text(&first))
            };
            let time = if kind.is_dir() { 0 } else { data.mtime() };
            out.insert(name, format!("{what} {time} {}", attributes(&path)));
        }
    }
    out
}

/// Extended attributes named `user.t...`; umoci keeps notes of its own.
fn attributes(path: &Path) -> String {
    use std::ffi::CString;
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = CString::new("user.test").unwrap();
    let mut value = [0u8; 256];
    // SAFETY: both strings are NUL-terminated and the buffer has the length stated.
    let length = unsafe {
        nix::libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    usize::try_from(length).map_or_else(|_| "-".to_owned(), |length| hex(&value[..length]))
}

/// Our import and umoci's unpacking of the same layers.
fn compare(layers: &[Vec<u8>]) {
    let place = Place::new();
    let image = Image::new(layers);
    image.layout(&place.path("layout"), "v1");
    place.ok(&["import", "-o", "image.sqsh", "oci:layout:v1"]);
    let root = place.unpack("image.sqsh", "ours");
    let mut umoci = Command::new("umoci");
    umoci.arg("unpack").args(["--image", "layout:v1"]);
    if !nix::unistd::geteuid().is_root() {
        umoci.arg("--rootless");
    }
    let done = umoci.arg("theirs").current_dir(place.path("")).output().expect("no umoci");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let (ours, theirs) = (describe(&root), describe(&place.path("theirs/rootfs")));
    for name in ours.keys().chain(theirs.keys()) {
        assert_eq!(ours.get(name), theirs.get(name), "{}", text(name));
    }
    assert!(!ours.is_empty());
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let base = Layer::new()
        .directory("a/")
        .file("a/1", "1")
        .file("a/2", "2")
        .directory("b")
        .file("b/1", "1")
        .directory("b/c")
        .file("b/c/d", "d")
        .directory("gone")
        .file("gone/x", "x")
        .file("file", "f")
        .file("becomes-directory", "f")
        .directory("becomes-file")
        .file("becomes-file/x", "x");
    let middle = Layer::new()
        .file("a/.wh.1", "")
        .file("a/3", "3")
        // Stands before the whiteout that does not concern it.
        .directory("b")
        .file("b/new", "new")
        .file("b/.wh..wh..opq", "")
        .file(".wh.gone", "")
        .file(".wh.absent", "")
        .directory("becomes-directory")
        .file("becomes-directory/y", "y")
        .file("becomes-file", "now a file");
    let top = Layer::new().directory("gone").file("gone/y", "y").file(".wh.file", "");
    compare(&[base.gzip(), middle.gzip(), top.tar()]);
}

#[test]
fn hard_links_stay_links_within_a_layer_and_across() {
    let base = Layer::new()
        .file("one", "content")
        .link("two", "one")
        .directory("d")
        .link("d/three", "two")
        .file("kept", "kept");
    let middle =
        Layer::new().file("one", "replaced").link("four", "kept").link("d/five", "d/three");
    let top = Layer::new().file(".wh.kept", "").link("six", "four");
    compare(&[base.gzip(), middle.gzip(), top.gzip()]);
}

#[test]
fn permissions_and_kinds_are_kept() {
    let mut layer = Layer::new();
    for mode in [0o755, 0o644, 0o4755, 0o2755, 0o600, 0o444, 0o777] {
        layer = layer.entry(format!("mode-{mode:o}").as_bytes(), Kind::File, mode, b"x");
    }
    layer = layer
        .entry(b"sticky", Kind::Directory, 0o1777, b"")
        .entry(b"private", Kind::Directory, 0o700, b"")
        .entry(b"fifo", Kind::Fifo, 0o644, b"")
        .symlink("absolute", "/etc/passwd")
        .symlink("dangling", "../../nowhere")
        .file("empty", "");
    compare(&[layer.gzip()]);
}

#[test]
fn names_are_bytes_and_may_be_long() {
    let long = vec![b'n'; 255];
    let deep = [b"d".repeat(200), b"e".repeat(200), b"f".repeat(200)].join(&b'/');
    let layer = Layer::new()
        .entry(&long, Kind::File, 0o644, b"long")
        .entry(&deep, Kind::File, 0o644, b"deep")
        .entry(b"latin-\xe9\xff", Kind::File, 0o644, b"not utf-8")
        .entry(b"new\nline and space", Kind::File, 0o644, b"odd")
        .entry(b"link", Kind::Symlink(vec![b't'; 300]), 0o777, b"")
        .entry(b"hard", Kind::HardLink(deep.clone()), 0o644, b"");
    compare(&[layer.gzip()]);
}

#[test]
fn directories_in_the_way_are_made_and_links_followed() {
    let base = Layer::new().directory("usr").directory("usr/lib").symlink("lib", "usr/lib");
    let top = Layer::new().file("lib/a.so", "a").file("no/such/parent", "p");
    compare(&[base.gzip(), top.gzip()]);
}

/// A layer by GNU tar, whose ways of writing differ from ours.
fn by_tar(fill: impl FnOnce(&Path), options: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let done = Command::new("tar")
        .args(["--create", "--sort=name", "--mtime=@1700000000"])
        .args(options)
        .args(["-C", directory.path().to_str().unwrap(), "."])
        .output()
        .expect("no tar");
    assert!(done.status.success(), "{}", text(&done.stderr));
    gzip(&done.stdout)
}

fn sparse(directory: &Path) {
    use std::os::unix::fs::FileExt;
    for (name, pieces) in [("few", 3u64), ("many", 60)] {
        let file = fs::File::create(directory.join(name)).unwrap();
        for piece in 0..pieces {
            file.write_all_at(b"data between holes", piece * 300_000 + 70_000).unwrap();
        }
        file.set_len(pieces * 300_000 + 500_000).unwrap();
    }
    fs::write(directory.join("dense"), "dense").unwrap();
    fs::File::create(directory.join("hole")).unwrap().set_len(1 << 20).unwrap();
}

#[test]
fn sparse_files_of_all_forms_are_whole() {
    for options in [
        &["--sparse", "--format=gnu"][..],
        &["--sparse", "--format=posix", "--sparse-version=0.0"],
        &["--sparse", "--format=posix", "--sparse-version=0.1"],
        &["--sparse", "--format=posix", "--sparse-version=1.0"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        sparse(directory.path());
        let layer = by_tar(sparse, options);
        // umoci refuses GNU's old form ("unknown typeflag").
        if !options.contains(&"--format=gnu") {
            compare(std::slice::from_ref(&layer));
        }
        let place = Place::new();
        Image::new(&[layer]).layout(&place.path("layout"), "v1");
        place.ok(&["import", "-o", "image.sqsh", "oci:layout:v1"]);
        let root = place.unpack("image.sqsh", "ours");
        for name in ["few", "many", "dense", "hole"] {
            let same = fs::read(root.join(name)).unwrap()
                == fs::read(directory.path().join(name)).unwrap();
            assert!(same, "{name} {options:?}");
        }
    }
}

#[test]
fn archives_of_gnu_tar_are_read() {
    let fill = |directory: &Path| {
        let deep = directory.join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        fs::hard_link(deep.join("file"), directory.join("link")).unwrap();
        symlink("s".repeat(150), directory.join("symlink")).unwrap();
        fs::write(directory.join("name=with=signs"), "y").unwrap();
    };
    for format in ["--format=gnu", "--format=posix"] {
        compare(&[by_tar(fill, &[format])]);
    }
    compare(&[by_tar(|directory| fs::write(directory.join("v7"), "x").unwrap(), &["--format=v7"])]);
}

#[test]
fn the_root_directory_is_as_old_as_the_image_says() {
    for (layer, time) in [
        (Layer::new().file("a", "1"), 0),
        (Layer::new().directory("./").file("a", "1"), 1_700_000_000),
    ] {
        let place = Place::new();
        Image::new(&[layer.gzip()]).layout(&place.path("layout"), "v1");
        place.ok(&["import", "-o", "image.sqsh", "oci:layout:v1"]);
        let root = place.unpack("image.sqsh", "root");
        assert_eq!(fs::metadata(&root).unwrap().mtime(), time);
    }
}

#[test]
fn a_layer_that_ends_without_padding_is_whole() {
    let mut archive = Layer::new().file("a", "1").file("b", "2").tar();
    let end = 3 * 512 + 1;
    assert_eq!(archive[end - 1], b'2');
    archive.truncate(end);
    compare(&[gzip(&archive)]);
}

#[test]
fn attributes_of_users_are_kept_and_others_dropped() {
    let layer = Layer::new()
        .with_xattr("plain", "user.test", b"value with \0 and = in it\n")
        .with_xattr("overlay", "user.overlay.opaque", b"y")
        .with_xattr("trusted", "trusted.overlay.opaque", b"y")
        .with_xattr(
            "capable",
            "security.capability",
            b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        );
    let layer = layer.gzip();
    compare(std::slice::from_ref(&layer));
    let place = Place::new();
    Image::new(&[layer]).layout(&place.path("layout"), "v1");
    place.ok(&["import", "-o", "image.sqsh", "oci:layout:v1"]);
    let root = place.unpack("image.sqsh", "ours");
    assert_eq!(attributes(&root.join("plain")), hex(b"value with \0 and = in it\n"));
    let done =
        Command::new("unsquashfs").arg("-stat").arg(place.path("image.sqsh")).output().unwrap();
    assert!(text(&done.stdout).contains("Number of xattr ids 1"), "{}", text(&done.stdout));
}

#[test]
fn an_old_mksquashfs_gets_a_directory() {
    // What they do not know is an error to them.
    with_old_mksquashfs("4.4 (2019/08/29)", "*-tar*|*-root-time*");
    with_old_mksquashfs(
        "4.3 (2014/05/12)",
        "*-tar*|*-root-time*|*-quiet*|*-root-mode*|*-mkfs-time*|*-all-time*",
    );
}

fn with_old_mksquashfs(version: &str, unknown: &str) {
    let mut place = Place::new();
    place.set("ENROOT_SQUASH_OPTIONS", "-comp gzip -noI -noD -noF -noX -exit-on-error");
    let layer = Layer::new()
        .entry(b"./", Kind::Directory, 0o1777, b"")
        .directory("d")
        .entry(b"d/file", Kind::File, 0o4755, b"x")
        .link("link", "d/file")
        .symlink("symlink", "d")
        .with_xattr("attribute", "user.test", b"value");
    Image::new(&[layer.gzip()]).layout(&place.path("layout"), "v1");
    let times = [None, Some("86400")];
    let import = |place: &mut Place, name: &str| {
        for time in times {
            let _ = fs::remove_dir_all(place.path("store"));
            let output = format!("{name}{}.sqsh", time.unwrap_or_default());
            let mut command = place.command(&["import", "-o", &output, "oci:layout:v1"]);
            command.envs(time.map(|time| ("SOURCE_DATE_EPOCH", time)));
            let done = command.output().unwrap();
            assert!(done.status.success(), "{version}: {}", text(&done.stderr));
        }
    };
    import(&mut place, "new");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
        -version) echo 'mksquashfs version {version}' ;;\n\
        {unknown}) echo 'invalid option' >&2; exit 1 ;;\n\
        *) exec /usr/bin/mksquashfs \"$@\" ;;\nesac\n"
    );
    fs::write(place.path("mksquashfs"), script).unwrap();
    fs::set_permissions(place.path("mksquashfs"), fs::Permissions::from_mode(0o755)).unwrap();
    place.set("PATH", &format!("{}:/usr/sbin:/usr/bin:/bin", place.path("").display()));
    import(&mut place, "old");
    for time in times.map(Option::unwrap_or_default) {
        let (new, old) = (format!("new{time}.sqsh"), format!("old{time}.sqsh"));
        let files = |image: &str| describe(&place.unpack(image, &image.replace(".sqsh", "")));
        assert_eq!(files(&new), files(&old), "{version}");
        // Of the file system itself, and of the root: mode, time.
        let made = |image: &str| fs::read(place.path(image)).unwrap()[8..12].to_vec();
        assert_eq!(made(&new), made(&old), "{version}");
        let root = |image: &str| {
            let done = Command::new("unsquashfs").arg("-lls").arg(place.path(image)).output();
            let listed = text(&done.unwrap().stdout);
            listed.lines().find(|line| line.ends_with(" squashfs-root")).unwrap().to_owned()
        };
        assert!(root(&old).starts_with("drwxrwxrwt "), "{version}: {}", root(&old));
        assert_eq!(root(&new), root(&old), "{version}");
    }
    place.assert_clean();
}

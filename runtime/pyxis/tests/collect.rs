//! What the collector leaves alone, for it is not the store's, and what is forgotten with images.

mod fixtures;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fixtures::{Image, Layer, Place, Registry, noise, text};
use images::store::mark_use;
use images::tarball::Kind;

fn image(name: &str) -> Image {
    let content = noise(u32::from(name.as_bytes()[0]), 1 << 20);
    Image::new(&[Layer::new().entry(name.as_bytes(), Kind::File, 0o644, &content).gzip()])
}

fn names(place: &Place, below: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path("store").join(below)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A directory with other things is named for the store: what has no name of the store's giving stays, however old.
#[test]
fn what_is_not_the_stores_is_neither_removed_nor_counted() {
    let (place, registry) = (Place::new(), Registry::start());
    let hex = "0123456789abcdef".repeat(4);
    let theirs = [
        "tmp/run42/result",
        "tmp/.pyxis-notes",
        "tmp/spread-sheet",
        "images/plot.png",
        "images/sub/plot.png",
        "images/a.sqsh",
        &format!("images/{hex}.png"),
        "locks/apt",
        "uses/list.txt",
        "uses/empty/../list",
        "blobs/model.bin",
        &format!("blobs/sha256/{hex}"),
        &format!("references/{hex}/x"),
        // As enroot has its layers.
        &hex,
        "notes",
    ];
    let old = SystemTime::now() - Duration::from_secs(200_000);
    for name in theirs {
        let path = place.path("store").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, noise(7, 100_000)).unwrap();
        File::open(&path).unwrap().set_modified(old).unwrap();
        File::open(path.parent().unwrap()).unwrap().set_modified(old).unwrap();
    }
    fs::set_permissions(place.path("store"), fs::Permissions::from_mode(0o700)).unwrap();
    // A directory by the name of a file, and a link by that of one.
    fs::create_dir_all(place.path(&format!("store/images/{hex}.sqsh/x"))).unwrap();
    std::os::unix::fs::symlink("model.bin", place.path("store/blobs").join("1".repeat(64)))
        .unwrap();
    let uri = registry.push(&image("a"), "a:1");
    for work in [&["pull", &uri][..], &["gc"], &["gc", "--all"]] {
        place.ok(work);
        for name in theirs {
            assert!(place.path("store").join(name).exists(), "{work:?}: {name}");
        }
        assert!(place.path(&format!("store/images/{hex}.sqsh/x")).exists(), "{work:?}");
        assert!(place.path("store/blobs").join("1".repeat(64)).is_symlink(), "{work:?}");
    }
    let held = place.ok(&["du"]);
    let counts = |line: &str| line.split_whitespace().nth(1).map(str::to_owned).unwrap();
    assert_eq!(held.lines().take(3).map(counts).collect::<Vec<_>>(), ["0", "0", "0"], "{held}");
}

/// The user's own link, or one that came with a directory.
#[test]
fn nothing_is_removed_where_a_link_leads() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    for folder in ["blobs", "images", "tmp", "locks", "uses"] {
        place.ok(&["pull", &uri]);
        let (from, to) = (place.path("store").join(folder), place.path("elsewhere"));
        fs::rename(&from, &to).unwrap();
        std::os::unix::fs::symlink(&to, &from).unwrap();
        let hex = "1".repeat(64);
        fs::write(to.join(&hex), "").unwrap();
        File::open(to.join(&hex)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let before = fs::read_dir(&to).unwrap().count();
        let output = place.run(&["gc", "--all"]);
        let said = text(&output.stderr);
        let expected =
            format!("{} is a symbolic link, and so nothing is removed in it", from.display());
        assert!(output.status.code() == Some(1) && said.contains(&expected), "{said}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), before, "{folder}");
        fs::remove_dir_all(place.path("store")).unwrap();
        fs::remove_dir_all(to).unwrap();
    }
}

/// Files by their digests in `blobs` are not told from the store's by their names: a cache of models has such.
#[test]
fn a_directory_of_something_else_that_looks_like_a_store_is_not_used() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    let theirs = place.path("store/blobs").join("1".repeat(64));
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::set_permissions(place.path("store"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&theirs, "weights").unwrap();
    for work in [&["pull", &uri][..], &["gc", "--all"]] {
        let said = place.fails(work);
        assert!(said.contains("has files of something else"), "{said}");
    }
    assert_eq!(fs::read(&theirs).unwrap(), b"weights");
    assert_eq!(names(&place, "").len(), 1, "nothing is made there");
    // The way out that the line names, where it is a store whose other folders somebody has removed.
    fs::create_dir(place.path("store/locks")).unwrap();
    place.ok(&["pull", &uri]);
}

/// Who can write there could put an image in.
#[test]
fn a_folder_that_was_there_before_is_not_used_if_others_can_write_to_it() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    let mode = |folder: &str, mode| {
        let path = place.path("store").join(folder);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("", 0o755);
    for folder in ["images", "blobs", "references", "locks", "tmp"] {
        mode(folder, 0o775);
        let said = place.fails(&["pull", &uri]);
        let path = place.path("store").join(folder);
        let expected = format!("{} can be written by others: chmod go-w it", path.display());
        assert!(said.ends_with(&expected), "{said}");
        mode(folder, 0o755);
    }
    mode("images", 0o1777);
    assert!(place.fails(&["pull", &uri]).contains("images can be written by others"));
    mode("images", 0o755);
    // A tmp as others are.
    mode("tmp", 0o1777);
    place.ok(&["pull", &uri]);
}

#[test]
#[ignore = "needs root, to give a folder away"]
fn a_folder_of_somebody_else_is_not_used() {
    let place = Place::new();
    fs::create_dir_all(place.path("store/images")).unwrap();
    fs::set_permissions(place.path("store"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(place.path("store/images"), Some(4242), None).unwrap();
    let said = place.fails(&["gc"]);
    assert!(said.contains("store/images belongs to user id 4242"), "{said}");
}

/// Whether it is remembered what that tag named.
fn knows(place: &Place, tag: &str) -> bool {
    let read = |name: &String| fs::read_to_string(place.path("store/references").join(name));
    names(place, "references").iter().any(|name| read(name).unwrap().contains(tag))
}

#[test]
fn what_tags_named_is_forgotten_with_their_images() {
    let (mut place, registry) = (Place::new(), Registry::start());
    let (gone, kept) = (registry.push(&image("a"), "a:1"), registry.push(&image("b"), "b:1"));
    place.ok(&["digest", "--index", &gone]);
    place.ok(&["pull", &gone]);
    let path = place.ok(&["pull", &kept]);
    let theirs = place.path("store/references").join("1".repeat(64));
    fs::write(&theirs, "notes").unwrap();
    let held = File::open(path.trim()).unwrap();
    mark_use(Path::new(path.trim()), &held);
    let before = names(&place, "references").len();
    place.ok(&["gc"]);
    place.ok(&["gc", "-n", "--all"]);
    assert_eq!(names(&place, "references").len(), before);
    place.ok(&["gc", "--all"]);
    assert!(knows(&place, "b:1"), "its image is in use");
    assert!(!knows(&place, "a:1"));
    assert!(theirs.exists());
    // With a store below that has the image, nothing is forgotten.
    let lower = Place::new();
    lower.ok(&["pull", &gone]);
    fs::set_permissions(lower.path("store"), fs::Permissions::from_mode(0o755)).unwrap();
    place.set("PYXIS_STORE_LOWER", lower.path("store").to_str().unwrap());
    place.ok(&["pull", &gone]);
    place.ok(&["gc", "--all"]);
    assert!(knows(&place, "a:1"));
}

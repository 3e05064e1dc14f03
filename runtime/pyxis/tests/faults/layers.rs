//! Layers that are refused, and what of a layer stays in the image.

use images::tarball::Kind;

use crate::fixtures::{Image, Layer, gzip, zstd};
use crate::server::{Reply, Server, failure, place};

/// What a layer with this content is refused with.
fn refusal(layer: Vec<u8>) -> String {
    let line = failure(&Image::new(&[layer]), |_| Reply::Good);
    line.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn names_that_point_outside_are_refused() {
    for name in ["../x", "a/../../x", "/../x", "..", "./../../etc/passwd"] {
        let line = refusal(Layer::new().file(name, "x").gzip());
        assert_eq!(line, format!("refused: the entry {name:?} points outside the image"));
    }
    let line = refusal(Layer::new().file("a", "").link("b", "../../etc/passwd").gzip());
    assert!(line.contains("points outside the image"), "{line}");
    let line = refusal(Layer::new().file(&"n".repeat(300), "").gzip());
    assert!(line.contains("a name that no file can have"), "{line}");
}

#[test]
fn entries_that_cannot_be_merged_are_named() {
    let refusal = |layer: Layer| {
        let (place, image) = (place(), Image::new(&[layer.tar()]));
        let server = Server::start(&image, |_| Reply::Good);
        place.fails(&["pull", &server.uri()]).split_once(": ").unwrap().1.to_owned()
    };
    let line = refusal(Layer::new().link("b", "/etc/passwd"));
    let want = "the entry \"b\" is a hard link to \"etc/passwd\", which is no file of the image";
    assert!(line.ends_with(want), "{line}");
    let line = refusal(Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", ""));
    assert!(line.contains("too many symbolic links"), "{line}");
}

#[test]
fn symbolic_links_lead_nowhere_but_into_the_image() {
    let place = place();
    let outside = place.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let layers = [
        Layer::new().symlink("absolute", target).symlink("up", "../../../../../../..").gzip(),
        Layer::new().file("absolute/a", "1").file("up/b", "2").file("/root", "3").gzip(),
    ];
    let server = Server::start(&Image::new(&layers), |_| Reply::Good);
    place.ok(&["import", "-o", "out.sqsh", &server.uri()]);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let root = place.unpack("out.sqsh", "root");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read(&format!("{}/a", &target[1..])), "1");
    assert_eq!((read("b"), read("root")), ("2".to_owned(), "3".to_owned()));
}

#[test]
fn bombs_do_not_go_off() {
    let mut place = place();
    place.set("PYXIS_MAX_UNPACKED", "10000000");
    let zeros = vec![0; 64 << 20];
    let bomb = zstd(&Layer::new().entry(b"zeros", Kind::File, 0o644, &zeros).tar());
    assert!(bomb.len() < 50_000, "{}", bomb.len());
    let server = Server::start(&Image::new(&[bomb]), |_| Reply::Good);
    let line = place.fails(&["import", "-o", "out.sqsh", &server.uri()]);
    assert!(line.contains("unpacks to more than") && line.contains("PYXIS_MAX_UNPACKED"), "{line}");
}

#[test]
fn damaged_archives_are_named() {
    let line = refusal(gzip(b"this is not an archive, and long enough to be a header block"));
    assert_eq!(line, "the archive ends in the middle of an entry");
    let line = refusal(gzip(&[b'x'; 2048]));
    assert!(line.contains("wrong header checksum"), "{line}");
    let whole = Layer::new().file("a", &"x".repeat(5000)).tar();
    assert_eq!(refusal(gzip(&whole[..2048])), "the archive ends in the middle of an entry");
    let mut broken = gzip(&whole);
    let middle = broken.len() / 2;
    broken.truncate(middle);
    assert!(refusal(broken).contains("cannot be decompressed"));
    assert!(refusal(b"BZh91AY&SY".to_vec()).contains("cannot be decompressed"));
    assert!(refusal(b"\x04\x22\x4d\x18....".to_vec()).contains("lz4"));
}

//! Images as they are found: what other tools write, or take, and few expect.

mod fixtures;
mod hoard;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixtures::{Image, Layer, Place, hex};
use hoard::Archive;
use images::tarball::Kind;
use sha2::{Digest, Sha512};

/// The files that an image of these layers has.
fn unpacked(place: &Place, name: &str, layers: &[Vec<u8>]) -> PathBuf {
    let layout = place.path(name);
    Image::new(layers).layout(&layout, "x");
    place.ok(&["import", "-o", &format!("{name}.sqsh"), &format!("oci:{name}:x")]);
    place.unpack(&format!("{name}.sqsh"), &format!("{name}-root"))
}

fn refused(place: &Place, layers: &[Vec<u8>]) -> String {
    let layout = place.path("refused");
    let _ = fs::remove_dir_all(&layout);
    Image::new(layers).layout(&layout, "x");
    place.fails(&["import", "-o", "refused.sqsh", "oci:refused:x"])
}

fn read(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
}

/// What a compressor on the command line makes of something.
fn compressed(program: &str, options: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("no {program}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn entries_without_a_name_are_passed_over() {
    let place = Place::new();
    let mut archive = Archive::new();
    archive.entry(b'0', b"first", b"", b"1");
    for name in [&b""[..], b".", b"./", b"/", b"././/"] {
        for (kind, link) in
            [(b'0', &b""[..]), (b'2', b"first"), (b'1', b"first"), (b'6', b""), (b'3', b"")]
        {
            archive.entry(kind, name, link, b"");
        }
        archive.entry(b'5', name, b"", b"");
    }
    archive.entry(b'0', b"last", b"", b"2");
    let root = unpacked(&place, "a", &[archive.tar()]);
    assert_eq!((read(&root, "first"), read(&root, "last")), ("1".to_owned(), "2".to_owned()));
}

#[test]
fn a_slash_at_the_end_means_a_directory_only_without_content() {
    let place = Place::new();
    let mut archive = Archive::new();
    archive.entry(b'0', b"empty/", b"", b"");
    archive.entry(b'0', b"file/", b"", b"content");
    // What has no type is as old as that convention. Its content belongs to nothing.
    archive.entry(0, b"old/", b"", b"content");
    archive.entry(b'0', b"./", b"", b"of the root");
    archive.entry(b'0', b"last", b"", b"2");
    let root = unpacked(&place, "a", &[archive.tar()]);
    assert_eq!((read(&root, "file"), read(&root, "last")), ("content".to_owned(), "2".to_owned()));
    assert!(root.join("empty").is_dir());
    assert!(root.join("old").is_dir());
}

#[test]
fn dots_within_a_name_lead_nowhere_but_back() {
    let place = Place::new();
    let layer = Layer::new()
        .file("a/../b", "b")
        .file("./c/./d/../../e", "e")
        .file("/x/y/../z", "z")
        .link("link", "a/../b")
        .file("x/../.wh.gone", "");
    let base = Layer::new().file("gone", "");
    let root = unpacked(&place, "a", &[base.gzip(), layer.gzip()]);
    for (name, want) in [("b", "b"), ("e", "e"), ("x/z", "z"), ("link", "b")] {
        assert_eq!(read(&root, name), want, "{name}");
    }
    for gone in ["a", "c", "x/y", "gone"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
}

#[test]
fn a_whiteout_is_longer_than_what_it_hides() {
    let place = Place::new();
    let names: Vec<String> = (250..=255).map(|length| "n".repeat(length)).collect();
    let (mut base, mut top) = (Layer::new().file("d/stays", ""), Layer::new());
    for name in &names {
        base = base.file(name, "gone").file(&format!("d/{name}"), "gone");
        base = base.file(&format!("{name}/below"), "gone");
        top = top.file(&format!(".wh.{name}"), "").file(&format!("d/.wh.{name}"), "");
    }
    let root = unpacked(&place, "a", &[base.gzip(), top.gzip()]);
    for name in &names {
        assert!(!root.join(name).exists(), "{}", name.len());
        assert!(!root.join("d").join(name).exists(), "{}", name.len());
    }
    assert!(root.join("d/stays").exists());
    for name in
        ["n".repeat(256), format!(".wh.{}", "n".repeat(256)), format!(".wh.{}/x", "n".repeat(255))]
    {
        let error = refused(&place, &[Layer::new().file(&name, "").gzip()]);
        assert!(error.contains("has a name that no file can have"), "{error}");
    }
}

#[test]
fn a_link_goes_with_what_is_left_out() {
    let place = Place::new();
    let base = Layer::new()
        .entry(b"x/null", Kind::Device, 0o666, b"")
        .link("y", "x/null")
        .link("z", "y")
        .file("dev/file", "content")
        .link("of-dev", "dev/file")
        .link("also", "/dev/file")
        .file("covered", "below")
        .file("kept", "k");
    let top = Layer::new()
        .link("upper", "x/null")
        .entry(b"covered", Kind::Device, 0o666, b"")
        .link("late", "dev/file")
        .file("y/now-a-directory", "d");
    let root = unpacked(&place, "a", &[base.gzip(), top.gzip()]);
    for gone in ["x/null", "z", "upper", "covered", "dev/file"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    for name in ["of-dev", "also", "late"] {
        assert_eq!(read(&root, name), "content", "{name}");
    }
    assert_eq!(read(&root, "kept"), "k");
    assert_eq!(read(&root, "y/now-a-directory"), "d");
    // What never was is an error as ever.
    let error = refused(&place, &[Layer::new().link("a", "x/none").gzip()]);
    assert!(error.contains("which is no file of the image"), "{error}");
}

#[test]
fn the_bookkeeping_of_aufs_is_not_in_the_image() {
    let place = Place::new();
    let layer = Layer::new()
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "shared")
        .link("a", ".wh..wh.plnk/1.2")
        .link("d/b", "./.wh..wh.plnk/1.2")
        .directory(".wh..wh.orph")
        .file(".wh..wh.orph/x", "")
        .file(".wh..wh.aufs", "");
    let root = unpacked(&place, "a", &[layer.gzip()]);
    assert_eq!((read(&root, "a"), read(&root, "d/b")), ("shared".to_owned(), "shared".to_owned()));
    let names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name());
    let odd: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".wh.")).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn layers_are_compressed_with_what_there_is() {
    let place = Place::new();
    let tar = |name: &str| Layer::new().file(name, &name.repeat(10_000)).tar();
    let (first, second) = (tar("first"), tar("second"));
    let half = second.len() / 2;
    let twice = |program: &str, options: &[&str]| {
        [&second[..half], &second[half..]].map(|part| compressed(program, options, part)).concat()
    };
    for (name, layers) in [
        ("xz", vec![compressed("xz", &["-c"], &first), twice("xz", &["-c", "-9"])]),
        (
            "xz-filters",
            vec![
                compressed("xz", &["-c", "--check=sha256", "--x86", "--lzma2"], &first),
                compressed("xz", &["-c", "-T2", "--block-size=4096", "--check=none"], &second),
            ],
        ),
        ("bzip2", vec![compressed("bzip2", &["-c"], &first), twice("bzip2", &["-c", "-1"])]),
        ("mixed", vec![compressed("bzip2", &["-c"], &first), compressed("xz", &["-c"], &second)]),
    ] {
        let root = unpacked(&place, name, &layers);
        for file in ["first", "second"] {
            assert_eq!(read(&root, file), file.repeat(10_000), "{name}");
        }
    }
    // A name is no compression.
    let root = unpacked(&place, "name", &[Layer::new().file("BZh91-notes", "n").tar()]);
    assert_eq!(read(&root, "BZh91-notes"), "n");
}

#[test]
fn a_compressed_layer_is_bounded_and_whole() {
    let place = Place::new();
    let tar = Layer::new().file("a", &"x".repeat(100_000)).tar();
    // A dictionary is memory.
    let greedy =
        compressed("xz", &["-c", "--format=xz", "--lzma2=dict=512MiB,nice=8,mode=fast"], &tar);
    let error = refused(&place, &[greedy]);
    assert!(error.contains("cannot be decompressed"), "{error}");
    for program in ["xz", "bzip2"] {
        let mut cut = compressed(program, &["-c"], &tar);
        cut.truncate(cut.len() / 2);
        let error = refused(&place, &[cut]);
        assert!(error.contains("layer sha256:"), "{program}: {error}");
    }
    let error = refused(&place, &[b"\x04\x22\x4d\x18 and more".to_vec()]);
    assert!(error.contains("compressed with lz4, which is not supported"), "{error}");
}

#[test]
fn archives_have_entries_of_old_kinds() {
    let place = Place::new();
    let mut archive = Archive::new();
    archive.entry(b'V', b"a label", b"", b"");
    archive.entry(b'D', b"dumped/", b"", b"Yfile\0\0");
    archive.entry(b'X', b"PaxHeaders/x", b"", b"16 path=renamed\n11 mtime=5\n");
    archive.entry(b'0', b"original", b"", b"1");
    archive.entry(b'7', b"contiguous", b"", b"2");
    // Nothing takes back what was said.
    archive.entry(b'x', b"PaxHeaders/x", b"", b"8 path=\n9 mtime=\n");
    archive.entry(b'0', b"own-name", b"", b"3");
    let root = unpacked(&place, "a", &[archive.tar()]);
    assert_eq!(read(&root, "renamed"), "1");
    assert_eq!(read(&root, "contiguous"), "2");
    assert_eq!(read(&root, "own-name"), "3");
    assert!(root.join("dumped").is_dir());
    assert!(!root.join("a label").exists());
}

/// A layout that is written blob by blob.
struct Blobs<'a> {
    layout: PathBuf,
    place: &'a Place,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl<'a> Blobs<'a> {
    fn new(place: &'a Place, name: &str) -> Blobs<'a> {
        let layout = place.path(name);
        for algorithm in ["sha256", "sha512"] {
            fs::create_dir_all(layout.join("blobs").join(algorithm)).unwrap();
        }
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Blobs { layout, place }
    }

    /// Adds a blob; its descriptor, without the closing brace.
    fn add(&self, kind: &str, bytes: &[u8]) -> String {
        self.add_as("sha256", kind, bytes)
    }

    fn add_as(&self, algorithm: &str, kind: &str, bytes: &[u8]) -> String {
        let digits = match algorithm {
            "sha512" => Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            _ => hex(bytes),
        };
        fs::write(self.layout.join("blobs").join(algorithm).join(&digits), bytes).unwrap();
        let size = bytes.len();
        format!(r#"{{"mediaType": "{kind}", "digest": "{algorithm}:{digits}", "size": {size}"#)
    }

    /// An image with one file, `which`, of this content.
    fn image(&self, which: &str, architecture: &str) -> String {
        self.image_as("sha256", which, architecture)
    }

    fn image_as(&self, algorithm: &str, which: &str, architecture: &str) -> String {
        let config =
            format!(r#"{{"architecture": "{architecture}", "os": "linux", "config": {{}}}}"#);
        let config =
            self.add_as(algorithm, "application/vnd.oci.image.config.v1+json", config.as_bytes());
        let layer = Layer::new().file("which", which).gzip();
        let layer = self.add_as(algorithm, "application/vnd.oci.image.layer.v1.tar+gzip", &layer);
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "{MANIFEST}", "config": {config}}}, "layers": [{layer}}}]}}"#
        );
        self.add_as(algorithm, MANIFEST, manifest.as_bytes())
    }

    fn index(&self, entries: &[String]) -> String {
        self.add(INDEX, index(entries).as_bytes())
    }

    /// What is imported, if the layout's own index has these entries.
    fn which(&self, entries: &[String]) -> String {
        fs::write(self.layout.join("index.json"), index(entries)).unwrap();
        let layout = format!("oci:{}", self.layout.display());
        let output = self.place.run(&["import", "-o", "which.sqsh", &layout]);
        if !output.status.success() {
            return fixtures::text(&output.stderr);
        }
        let root = self.place.unpack("which.sqsh", "which");
        let which = read(&root, "which");
        fs::remove_dir_all(root).unwrap();
        fs::remove_file(self.place.path("which.sqsh")).unwrap();
        which
    }
}

fn index(entries: &[String]) -> String {
    format!(
        r#"{{"schemaVersion": 2, "mediaType": "{INDEX}", "manifests": [{}]}}"#,
        entries.join(", ")
    )
}

/// An entry for a kind of machine.
fn platform(descriptor: &str, architecture: &str) -> String {
    format!(r#"{descriptor}, "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#)
}

fn silent(descriptor: &str) -> String {
    format!("{descriptor}}}")
}

fn attestation(descriptor: &str) -> String {
    format!(
        r#"{descriptor}, "platform": {{"os": "unknown", "architecture": "unknown"}},
            "annotations": {{"vnd.docker.reference.type": "attestation-manifest"}}}}"#
    )
}

#[test]
fn an_index_may_lead_to_another() {
    let place = Place::new();
    let own = images::registry::architecture(None);
    let blobs = Blobs::new(&place, "layout");
    let (image, note) = (blobs.image("own", &own), blobs.image("a note", "unknown"));
    let other = blobs.image("other", "s390x");
    let inner = blobs.index(&[attestation(&note), platform(&image, &own)]);
    // As builders write it: for each kind of machine an index of image and attestation.
    let built = blobs.index(&[platform(&other, "s390x"), platform(&inner, &own)]);
    assert_eq!(blobs.which(&[silent(&built)]), "own");
    // Without any platform on the way, and with other machines' first.
    let others = blobs.index(&[platform(&other, "s390x"), attestation(&note)]);
    let silently = blobs.index(&[silent(&others), silent(&inner)]);
    assert_eq!(blobs.which(&[silent(&silently)]), "own");
    // Deeper than anybody does it, and deeper than that.
    let third = blobs.index(&[silent(&silently)]);
    assert_eq!(blobs.which(&[silent(&third)]), "own");
    let deep = (0..5).fold(third, |below, _| blobs.index(&[silent(&below)]));
    let said = blobs.which(&[silent(&deep)]);
    assert!(said.contains("leads to more indices and manifests than any image needs"), "{said}");
}

#[test]
fn what_says_nothing_is_known_by_its_configuration() {
    let place = Place::new();
    let own = images::registry::architecture(None);
    let blobs = Blobs::new(&place, "layout");
    let (image, other) = (blobs.image("own", &own), blobs.image("other", "s390x"));
    let note = blobs.image("note", "unknown");
    let tied = format!(
        r#"{note}, "annotations": {{"vnd.docker.reference.type": "attestation-manifest"}}}}"#
    );
    let list = blobs.index(&[tied.clone(), silent(&other), silent(&image)]);
    assert_eq!(blobs.which(&[silent(&list)]), "own");
    // One that says so goes first.
    let said = blobs.image("said", &own);
    let list = blobs.index(&[silent(&image), platform(&said, &own)]);
    assert_eq!(blobs.which(&[silent(&list)]), "said");
    let list = blobs.index(&[tied.clone(), silent(&image)]);
    assert_eq!(blobs.which(&[silent(&list)]), "own");
    // Also where nothing has a name.
    assert_eq!(blobs.which(&[tied, silent(&other), silent(&image)]), "own");
    let list = blobs.index(&[silent(&other), silent(&blobs.image("more", "mips"))]);
    let said = blobs.which(&[silent(&list)]);
    assert!(
        said.contains(&format!("no image for the architecture {own}, only for: s390x, mips")),
        "{said}"
    );
    // A bomb of indices is not gone through.
    let leaf = blobs.index(&vec![silent(&blobs.index(&[silent(&other)])); 16]);
    let bomb = blobs.index(&vec![silent(&leaf); 16]);
    let bomb = blobs.index(&vec![silent(&bomb); 16]);
    let said = blobs.which(&[silent(&bomb)]);
    assert!(said.contains("than any image needs"), "{said}");
}

#[test]
fn a_variant_is_what_the_processor_can_do() {
    let place = Place::new();
    let blobs = Blobs::new(&place, "layout");
    let variant = |level: &str| {
        let image = blobs.image(level, "amd64");
        format!(
            r#"{image}, "platform": {{"os": "linux", "architecture": "amd64", "variant": "{level}"}}}}"#
        )
    };
    let plain = platform(&blobs.image("plain", "amd64"), "amd64");
    let list = blobs.index(&[variant("v4"), variant("v3"), plain, variant("v2")]);
    fs::write(blobs.layout.join("index.json"), index(&[silent(&list)])).unwrap();
    let digest = |arch: &str| place.ok(&["digest", "--arch", arch, "oci:layout"]);
    let all: Vec<String> =
        ["amd64/v1", "amd64/v2", "amd64/v3", "amd64/v4"].map(digest).into_iter().collect();
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one), "{all:?}");
    }
    assert!(
        !blobs.which(&[silent(&list)]).contains("plain")
            || !std::arch::is_x86_feature_detected!("sse4.2")
    );
}

#[test]
fn architectures_may_have_the_kernels_names() {
    let place = Place::new();
    let kernels = std::env::consts::ARCH;
    let blobs = Blobs::new(&place, "layout");
    let (image, other) = (blobs.image("own", kernels), blobs.image("other", "s390x"));
    let list = blobs.index(&[platform(&other, "s390x"), platform(&image, kernels)]);
    assert_eq!(blobs.which(&[silent(&list)]), "own");
    // The entry says nothing, the configuration does.
    let list = blobs.index(&[silent(&other), silent(&image)]);
    assert_eq!(blobs.which(&[silent(&list)]), "own");
    fs::write(blobs.layout.join("index.json"), index(&[silent(&image)])).unwrap();
    let said = fixtures::text(&place.run(&["import", "-o", "own.sqsh", "oci:layout"]).stderr);
    assert!(!said.contains("architecture"), "{said}");
}

#[test]
fn images_of_another_system_are_called_so() {
    let place = Place::new();
    for (name, system, warned) in [("a", "windows", true), ("b", "Linux", false), ("c", "", false)]
    {
        let blobs = Blobs::new(&place, name);
        let layer = Layer::new().file("a", "").gzip();
        let layer = blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", &layer);
        let config = format!(r#"{{"os": "{system}"}}"#);
        let config = blobs.add("application/vnd.oci.image.config.v1+json", config.as_bytes());
        let manifest =
            format!(r#"{{"schemaVersion": 2, "config": {config}}}, "layers": [{layer}}}]}}"#);
        let manifest = blobs.add(MANIFEST, manifest.as_bytes());
        fs::write(blobs.layout.join("index.json"), index(&[silent(&manifest)])).unwrap();
        let said = place.run(&["import", "-o", &format!("{name}.sqsh"), &format!("oci:{name}")]);
        let warning = format!("operating system {system}, not linux");
        let said = fixtures::text(&said.stderr);
        assert_eq!(said.contains("operating system"), warned, "{said}");
        assert_eq!(said.contains(&warning), warned, "{said}");
    }
}

#[test]
fn a_size_that_is_not_the_manifests_is_said() {
    let place = Place::new();
    let blobs = Blobs::new(&place, "layout");
    let config = blobs.add("application/vnd.oci.image.config.v1+json", b"{}");
    let gzip = Layer::new().file("a", "").gzip();
    let layer = blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", &gzip);
    let size = gzip.len();
    let wrong = layer.replace(&format!(r#""size": {size}"#), r#""size": 7"#);
    let manifest =
        format!(r#"{{"schemaVersion": 2, "config": {config}}}, "layers": [{wrong}}}]}}"#);
    let manifest = blobs.add(MANIFEST, manifest.as_bytes());
    fs::write(blobs.layout.join("index.json"), index(&[silent(&manifest)])).unwrap();
    let said = place.fails(&["import", "-o", "a.sqsh", "oci:layout"]);
    let digest = hex(&gzip);
    let want = format!("has {size} bytes for sha256:{digest}, and its manifest says 7");
    assert!(said.contains(&want), "{said}");
}

#[test]
fn digests_may_be_sha512() {
    let place = Place::new();
    let own = images::registry::architecture(None);
    let blobs = Blobs::new(&place, "layout");
    let image = blobs.image_as("sha512", "long", &own);
    assert_eq!(blobs.which(&[silent(&image)]), "long");
    let list = blobs.add_as("sha512", INDEX, index(&[platform(&image, &own)]).as_bytes());
    assert_eq!(blobs.which(&[silent(&list)]), "long");
    // Each of them is checked.
    for entry in fs::read_dir(blobs.layout.join("blobs/sha512")).unwrap() {
        let path = entry.unwrap().path();
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, bad).unwrap();
        fs::remove_dir_all(place.path("store")).unwrap();
        let said = blobs.which(&[silent(&list)]);
        assert!(said.contains("damaged or tampered with") && said.contains("sha512:"), "{said}");
        fs::write(&path, good).unwrap();
    }
    let odd = image.replace("sha512:", "sha384:");
    let said = blobs.which(&[silent(&odd)]);
    assert!(said.contains("digest"), "{said}");
}

#[test]
fn null_and_words_are_what_docker_takes_them_for() {
    let place = Place::new();
    let layer = Layer::new().file("a", "").gzip();
    for (config, want) in [
        (r#"{"Cmd": "one word"}"#, "exec 'one word'\n"),
        (r#"{"Entrypoint": "/e", "Cmd": null}"#, "exec '/e'\n"),
        (r#"{"Entrypoint": ["/e", null], "Cmd": []}"#, "exec '/e' ''\n"),
        (r#"{"Entrypoint": [""], "Cmd": ["c"]}"#, "exec 'c'\n"),
        (r#"{"Entrypoint": "", "Cmd": "c"}"#, "exec 'c'\n"),
        (
            r#"{"Entrypoint": null, "Cmd": null, "Env": null, "Labels": null, "Volumes": null,
            "WorkingDir": null, "User": null, "ExposedPorts": null, "OnBuild": null}"#,
            "exec '/bin/sh'\n",
        ),
        (
            r#"{"Env": [null, "A=b"], "Labels": {"x": null}, "Volumes": {"/v": null}}"#,
            "exec '/bin/sh'\n",
        ),
        ("null", "exec '/bin/sh'\n"),
    ] {
        let image = Image::with_config(std::slice::from_ref(&layer), config);
        image.layout(&place.path("layout"), "x");
        place.ok(&["import", "-o", "a.sqsh", "oci:layout:x"]);
        let root = place.unpack("a.sqsh", "root");
        let rc = read(&root, "etc/rc");
        assert!(rc.contains(&format!("else\n    {want}")), "{config}: {rc}");
        for path in ["layout", "root"] {
            fs::remove_dir_all(place.path(path)).unwrap();
        }
        fs::remove_file(place.path("a.sqsh")).unwrap();
    }
}

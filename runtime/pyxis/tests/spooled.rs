//! What is unpacked to be looked at is kept until it is written: where there is room for that.

mod fixtures;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use images::layers::{
    self, DirectorySink, Index, Interpretation, LayerError, LayerSource, LayerSpooler, Limits,
    Meta, Meter, OwnFiles, SpooledLayer, Tree,
};
use images::squash::{Squash, SquashError};
use images::tarball::Kind;
use squashfs::program::Program;
use squashfs::write::{Options, Packing, Room};

use fixtures::{Image, Layer, Place, Registry, noise, text};

/// As much as is wanted.
const ROOM: Room<'static> = Room { file: &|| Some(tempfile::tempfile().unwrap()), may: &|_| true };

fn archives() -> Vec<Vec<u8>> {
    let long = "many words of one kind, ".repeat(50_000);
    let lower = Layer::new()
        .directory("usr")
        .file("usr/gone", &long)
        .entry(b"usr/noise", Kind::File, 0o755, &noise(7, 900_000))
        .link("usr/noise-too", "usr/noise")
        .symlink("link", "usr")
        .entry(b"fifo", Kind::Fifo, 0o600, b"")
        .file("usr/twice", "once")
        .file("usr/twice", "again")
        .with_xattr("usr/named", "user.name", b"value");
    let upper = Layer::new()
        .file("usr/.wh.gone", "")
        .file("link/through", &long)
        .file("empty", "")
        .link("usr/third", "usr/noise");
    vec![lower.tar(), upper.tar()]
}

/// A layer, and what was kept of it.
struct Kept(Option<Vec<u8>>, Option<SpooledLayer>);

impl LayerSource for Kept {
    fn open(&self) -> Result<Box<dyn Read + '_>, LayerError> {
        let archive = self.0.as_ref().unwrap_or_else(|| panic!("it was read again"));
        Ok(Box::new(archive.as_slice()))
    }

    fn spooled(&self) -> Option<&SpooledLayer> {
        self.1.as_ref()
    }
}

#[derive(Debug)]
enum Refused {
    Squash(#[allow(dead_code, reason = "shown")] SquashError),
    Layer(#[allow(dead_code, reason = "shown")] LayerError),
}

impl From<SquashError> for Refused {
    fn from(error: SquashError) -> Refused {
        Refused::Squash(error)
    }
}

impl From<LayerError> for Refused {
    fn from(error: LayerError) -> Refused {
        Refused::Layer(error)
    }
}

/// The image of these archives, of which a spooler may have kept some.
fn image(archives: &[Vec<u8>], spooler: Option<&LayerSpooler>, again: &[usize]) -> Vec<u8> {
    let meter = Meter::new(Limits::for_others());
    let (mut tree, mut sources) = (Tree::default(), Vec::new());
    for (at, archive) in archives.iter().enumerate() {
        let spooler = spooler.filter(|_| !again.contains(&at));
        let mut spool = spooler.map(|it| it.begin(ROOM));
        let how = Interpretation::Layer;
        let index = Index::read(archive.as_slice(), &meter, how, spool.as_mut()).unwrap();
        tree.apply(index, &meter).unwrap();
        let kept = spool.map(|spool| spool.finish().expect("it is kept"));
        sources.push(Kept(kept.is_none().then(|| archive.clone()), kept));
    }
    let squash =
        Squash { program: Program::new("", Packing::default(), 2), mtime: 0, one_time: false };
    let root = Meta { mode: 0o755, mtime: 0, xattrs: Vec::new() };
    let output = tempfile::tempfile().unwrap();
    let written = squash.write::<Refused>(&output, u64::MAX, &root, "/tmp".as_ref(), |sink| {
        let sources: Vec<&dyn LayerSource> =
            sources.iter().map(|kept| kept as &dyn LayerSource).collect();
        layers::write(&tree, &sources, &OwnFiles::default(), 0, sink, &meter, &mut |_| {})
            .map_err(|(_, error)| Refused::Layer(error))
    });
    written.unwrap();
    let mut bytes = vec![0; output.metadata().unwrap().len() as usize];
    output.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_layer_that_was_kept_is_not_read_again_and_the_image_is_the_same() {
    let archives = archives();
    let spooler = LayerSpooler::new(Options::for_container(Packing::default()), 1 << 20).unwrap();
    let wanted = image(&archives, None, &[]);
    assert!(image(&archives, Some(&spooler), &[]) == wanted);
    assert!(image(&archives, Some(&spooler), &[0]) == wanted);
    assert!(image(&archives, Some(&spooler), &[1]) == wanted);
}

#[test]
fn of_a_layer_with_too_many_entries_nothing_is_kept() {
    let spooler = LayerSpooler::new(Options::for_container(Packing::default()), 30_000).unwrap();
    let small = Layer::new().file("a", "b").tar();
    let many = (0..500).fold(Layer::new(), |layer, n| layer.file(&n.to_string(), "x")).tar();
    let meter = Meter::new(Limits::for_others());
    // The room of what was not kept is the next one's.
    for (archive, kept) in [(&small, true), (&many, false), (&small, true)] {
        let mut spool = spooler.begin(ROOM);
        let how = Interpretation::Layer;
        Index::read(archive.as_slice(), &meter, how, Some(&mut spool)).unwrap();
        assert_eq!(spool.finish().is_some(), kept);
    }
}

/// Fails where it is at that place, once, and goes on behind a gap.
struct Gap<'a>(&'a [u8], usize);

impl Read for Gap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.len() == self.1 {
            self.0 = &self.0[512..];
            return Err(std::io::Error::other("damaged"));
        }
        let most = buffer.len().min(self.0.len().abs_diff(self.1)).max(1);
        self.0.read(&mut buffer[..most])
    }
}

/// A spool, which says nothing, may meet it first.
#[test]
fn what_could_not_be_read_is_not_passed_over() {
    // Without a block, what is in the second file follows the first.
    let inner = Layer::new().file("inner", "").tar();
    let layer = Layer::new().entry(b"first", Kind::File, 0o644, &noise(3, 9000));
    let archive = layer.entry(b"second", Kind::File, 0o644, &inner).tar();
    let meter = Meter::new(Limits::for_others());
    let spooler = LayerSpooler::new(Options::for_container(Packing::default()), 1 << 20).unwrap();
    for spooler in [None, Some(&spooler)] {
        let mut spool = spooler.map(|it| it.begin(ROOM));
        let gap = Gap(&archive, archive.len() - 2048);
        let read = Index::read(gap, &meter, Interpretation::Layer, spool.as_mut());
        assert_eq!(read.unwrap_err().to_string(), "it cannot be decompressed: damaged");
    }
}

/// Somebody else's layout, in which a file is replaced meanwhile. An old mksquashfs gets a directory.
#[test]
fn a_hard_link_that_was_none_when_it_was_looked_at_is_none() {
    let (place, meter) = (Place::new(), Meter::new(Limits::for_others()));
    let secret = place.path("secret");
    fs::write(&secret, "x").unwrap();
    fs::create_dir(place.path("root")).unwrap();
    let mut tree = Tree::default();
    let first = Layer::new().file("name", "text").tar();
    let index = Index::read(first.as_slice(), &meter, Interpretation::Layer, None).unwrap();
    tree.apply(index, &meter).unwrap();
    let later = Kept(Some(Layer::new().link("name", secret.to_str().unwrap()).tar()), None);
    let mut sink = DirectorySink::new(&place.path("root"));
    let own = OwnFiles::default();
    let written = layers::write(&tree, &[&later], &own, 0, &mut sink, &meter, &mut |_| {});
    assert!(matches!(written, Err((Some(0), LayerError::HardLink { .. }))), "{written:?}");
    assert!(!place.path("root/name").exists());
}

/// Imports to a store on a file system of so many MiB, in namespaces of the command's own.
fn import_within(place: &Place, size: u32, uri: &str) -> (Option<i32>, String) {
    let import = place.command(&["import", "-o", "store/x.sqsh", uri]);
    let script = format!(
        "mount -t tmpfs -o size={size}m,mode=755 none store || exit 77\n\
         \"$@\"; code=$?\n\
         cp store/x.sqsh . 2> /dev/null\n\
         find store/tmp -type f | grep . >&2 && exit 78\n\
         exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(import.get_program()).args(import.get_args()).current_dir(place.path(""));
    command.env_clear().envs(import.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = command.output().unwrap();
    (done.status.code(), text(&done.stderr))
}

/// A store that has room for layers and image has room for the import, as it had before anything was kept.
#[test]
fn what_is_kept_gives_way_to_what_is_needed() {
    let (mut place, registry) = (Place::new(), Registry::start());
    // What there is on the file system is the limit.
    place.set("PYXIS_STORE_MAX_BYTES", "10000000000");
    fs::create_dir(place.path("store")).unwrap();
    let file = |seed, path: &str| {
        Layer::new().entry(path.as_bytes(), Kind::File, 0o644, &noise(seed, 20 << 20)).tar()
    };
    // 60 MiB of layers, of which 40 are the image's.
    let image = Image::new(&[file(1, "a"), file(2, "b"), file(3, "a")]);
    let uri = registry.push(&image, "large:v1");
    let mut seen = Vec::new();
    for size in [300, 150, 125, 110, 104] {
        let _ = fs::remove_file(place.path("x.sqsh"));
        let (code, said) = import_within(&place, size, &uri);
        assert_eq!(code, Some(0), "{size}: {said}");
        seen.push(fs::read(place.path("x.sqsh")).unwrap());
    }
    assert!(seen.iter().all(|bytes| *bytes == seen[0]), "the image is the same");
    let (code, said) = import_within(&place, 80, &uri);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let mode = fs::metadata(place.path("store")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "nothing was mounted for others");
}

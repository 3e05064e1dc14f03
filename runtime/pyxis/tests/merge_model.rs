//! Merging, compared with a model of few lines; and reading of whatever bytes.

mod fixtures;

use std::collections::BTreeMap;

use fixtures::Layer;
use images::layers::{Index, Interpretation, Limits, Meter, Tree};
use images::tarball::{Header, Kind, Reader, Writer};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    File(String),
    Directory(String),
    Whiteout(String),
    Opaque(String),
    Link(String, String),
}

/// Few names, so that they meet.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => path().prop_map(Step::File),
        2 => path().prop_map(Step::Directory),
        2 => path().prop_map(Step::Whiteout),
        1 => path().prop_map(Step::Opaque),
        1 => (path(), path()).prop_map(|(link, target)| Step::Link(link, target)),
    ]
}

/// A directory, or a file of this content; and the layer that put it.
type Model = BTreeMap<String, (Option<(u32, u32)>, u32)>;

fn parents(path: &str) -> Vec<String> {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect()
}

fn put(model: &mut Model, path: &str, what: Option<(u32, u32)>, layer: u32) {
    for parent in parents(path) {
        if model.get(&parent).is_none_or(|(what, _)| what.is_some()) {
            model.insert(parent, (None, layer));
        }
    }
    let below = format!("{path}/");
    if what.is_some() || model.get(path).is_some_and(|(what, _)| what.is_some()) {
        model.retain(|known, _| !known.starts_with(&below));
    }
    model.insert(path.to_owned(), (what, layer));
}

fn hide(model: &mut Model, path: &str, own_too: bool, layer: u32) {
    let below = format!("{path}/");
    let all = model.clone();
    let mine = |known: &str| {
        all.iter().any(|(path, (_, by))| {
            *by == layer && (path == known || path.starts_with(&format!("{known}/")))
        })
    };
    model.retain(|known, _| {
        let meant = known.starts_with(&below) || own_too && known == path;
        !meant || mine(known)
    });
}

fn model(layers: &[Vec<Step>]) -> Option<Model> {
    let mut model = Model::new();
    for (layer, steps) in (0..).zip(layers) {
        for (ordinal, step) in (0..).zip(steps) {
            match step {
                Step::File(path) => put(&mut model, path, Some((layer, ordinal)), layer),
                Step::Directory(path) => put(&mut model, path, None, layer),
                Step::Whiteout(path) => hide(&mut model, path, true, layer),
                Step::Opaque(path) => hide(&mut model, path, false, layer),
                Step::Link(link, target) => {
                    let content = model.get(target)?.0?;
                    put(&mut model, link, Some(content), layer);
                }
            }
        }
    }
    Some(model)
}

fn archive(steps: &[Step]) -> Vec<u8> {
    let mut layer = Layer::new();
    for step in steps {
        layer = match step {
            Step::File(path) => layer.file(path, "x"),
            Step::Directory(path) => layer.directory(path),
            Step::Opaque(path) => layer.file(&format!("{path}/.wh..wh..opq"), ""),
            Step::Whiteout(path) => {
                let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
                layer.file(&format!("{parent}/.wh.{name}"), "")
            }
            Step::Link(link, target) => layer.link(link, target),
        };
    }
    layer.tar()
}

fn merged(layers: &[Vec<Step>]) -> Option<Model> {
    let meter = Meter::new(Limits::for_others());
    let mut tree = Tree::default();
    for steps in layers {
        let index = Index::read(&*archive(steps), &meter, Interpretation::Layer, None).unwrap();
        tree.apply(index, &meter).ok()?;
    }
    let mut out = Model::new();
    let name = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    tree.directories(|path, _| {
        out.insert(name(path), (None, 0));
    });
    for (content, path) in tree.contents(&meter).unwrap() {
        out.insert(name(&path), (Some((content.layer, content.ordinal)), 0));
    }
    out.remove("");
    Some(out)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_merge_as_the_model_says(
        layers in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..4)
    ) {
        let want = model(&layers).map(|model| {
            model.into_iter().map(|(path, (what, _))| (path, (what, 0))).collect::<Model>()
        });
        prop_assert_eq!(merged(&layers), want);
    }

    #[test]
    fn an_entry_is_read_as_it_was_written(
        path in prop::collection::vec(1u8.., 1..300),
        link in prop::collection::vec(1u8.., 1..300),
        mode in 0u32..0o10000,
        mtime in 0i64..1 << 32,
        content in prop::collection::vec(any::<u8>(), 0..1500),
        xattr in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assume!(!path.ends_with(b"/"));
        let xattrs = vec![(b"user.x".to_vec(), xattr)];
        let size = content.len() as u64;
        let entry = |kind, size| Header {
            path: path.clone(), kind, mode, mtime, size, xattrs: xattrs.clone(),
        };
        let entries = [
            entry(Kind::File, size), entry(Kind::Symlink(link.clone()), 0),
            entry(Kind::HardLink(link.clone()), 0), entry(Kind::Directory, 0), entry(Kind::Fifo, 0),
        ];
        let mut writer = Writer::new(Vec::new());
        for entry in &entries {
            writer.append(entry, content.as_slice()).unwrap();
        }
        let archive = writer.finish().unwrap();
        let mut reader = Reader::new(archive.as_slice());
        for entry in entries {
            prop_assert_eq!(reader.next().unwrap(), Some(entry.clone()));
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
            let want: &[u8] = if entry.kind == Kind::File { &content } else { b"" };
            prop_assert_eq!(read, want);
        }
        prop_assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn a_damaged_archive_is_an_error_or_not(
        place in 0usize..6000,
        byte in any::<u8>(),
        length in 0usize..7000,
    ) {
        let mut archive = Layer::new()
            .directory("a")
            .file("a/b", &"x".repeat(700))
            .with_xattr("c", "user.x", b"y")
            .symlink("d", &"t".repeat(200))
            .tar();
        if let Some(there) = archive.get_mut(place) {
            *there = byte;
        }
        archive.truncate(length);
        let meter = Meter::new(Limits::for_others());
        if let Ok(index) = Index::read(&*archive, &meter, Interpretation::Layer, None) {
            let _ = Tree::default().apply(index, &meter);
        }
    }
}

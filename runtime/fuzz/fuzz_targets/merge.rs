//! Layers merged: any archives give a tree whose names stay in it, and an archive of it, or an
//! error. Two layers, split at a byte that archives hardly have.
#![no_main]

use images::layers::{
    self, ArchiveSink, Index, Interpretation, LayerError, Limits, Meter, OwnFiles, LayerSource, Tree,
};
use images::tarball::Reader;
use libfuzzer_sys::fuzz_target;
use std::io::Read;

struct Layer<'a>(&'a [u8]);

impl LayerSource for Layer<'_> {
    fn open(&self) -> Result<Box<dyn Read + '_>, LayerError> {
        Ok(Box::new(self.0))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((split, bytes)) = bytes.split_first() else { return };
    let middle = (usize::from(*split) * 512).min(bytes.len());
    let (lower, upper) = bytes.split_at(middle);
    let meter = Meter::of(Limits::for_others(), bytes.len() as u64);
    let mut tree = Tree::default();
    let mut used = Vec::new();
    for layer in [lower, upper] {
        let Ok(index) = Index::read(layer, &meter, Interpretation::Layer, None) else { continue };
        for entry in &index.entries {
            inside(&entry.path);
        }
        if tree.apply(index, &meter).is_err() {
            return;
        }
        used.push(Layer(layer));
    }
    let Ok(contents) = tree.contents(&meter) else { return };
    for (_, path) in contents {
        inside(&path);
    }
    let sources: Vec<&dyn LayerSource> = used.iter().map(|layer| layer as &dyn LayerSource).collect();
    let mut sink = ArchiveSink::new(Vec::new());
    let own = OwnFiles::default();
    if layers::write(&tree, &sources, &own, 0, &mut sink, &meter, &mut |_| {}).is_err() {
        return;
    }
    let archive = sink.finish().unwrap();
    let mut reader = Reader::new(archive.as_slice());
    while let Some(header) = reader.next().expect("what we write can be read") {
        inside(&header.path);
    }
});

/// Fails for a path that leads out of where it is unpacked.
fn inside(path: &[u8]) {
    assert!(!path.starts_with(b"/"));
    for name in path.split(|byte| *byte == b'/') {
        assert!(name != b".." && name.len() <= 255 && !name.contains(&0));
    }
}

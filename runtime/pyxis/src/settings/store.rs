//! The image store, and those of others below it.

use std::path::PathBuf;

use images::store::StoreConfig;
use linux::environ::Environ;

use super::layers::Resolved;
use super::places::{base, place};
use super::table::Id;
use super::variables as v;
use crate::owner::{self, Untrusted};

impl Resolved {
    /// Takes out the stores below one's own that the site's file names and that somebody else could
    /// have made: whoever trusts the file would run what is in there. The environment is the user's
    /// own word, or the plugin's, who has looked.
    pub(super) fn disown_stores(&mut self) -> Vec<Untrusted> {
        let mut faults = Vec::new();
        for id in [Id::StoreShared, Id::StoreLower] {
            self.retain_paths_of_file(id, |path| match owner::of_store(path) {
                // Nothing is there yet.
                Some(Untrusted::Unseen { .. }) => false,
                fault => {
                    faults.extend(fault.clone());
                    fault.is_none()
                }
            });
        }
        faults
    }
}

pub(super) fn store(resolved: &Resolved, host: &Environ) -> Option<StoreConfig> {
    let absolute = |path: &PathBuf| path.is_absolute();
    // Where somebody squats in the first place, the next is taken.
    let places = [
        resolved.path(Id::StorePath),
        resolved.path(Id::Cache).map(|cache| cache.join("pyxis")),
        base(host, v::XDG_CACHE_HOME, ".cache").map(|cache| cache.join("pyxis")),
        place(host, v::HOME).map(|home| home.join(".cache/pyxis")),
    ];
    let mut places = places.into_iter().flatten();
    let path = places.next().filter(absolute)?;
    let shared = resolved.path(Id::StoreShared).filter(absolute);
    let lower = resolved.paths(Id::StoreLower).into_iter().filter(absolute);
    Some(StoreConfig {
        lower: shared.into_iter().chain(lower).filter(|lower| *lower != path).collect(),
        fallback: places.find(|other| other.is_absolute() && *other != path),
        max_bytes: resolved.number(Id::StoreMaxSize),
        ..StoreConfig::new(path)
    })
}

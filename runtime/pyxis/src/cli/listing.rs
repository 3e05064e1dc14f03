//! `pyxis images`: what is in the caller's own store, and in those of others that everybody reads.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use hygiene::console;
use hygiene::userinfo::redacted;
use images::progress::bytes;
use images::store::{Record, StoreError, images_at};
use serde_json::json;

use pyxis::settings::Settings;
use pyxis::{owner, progress};

use super::images::open;
use super::{CliError, Exit, account};

#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// As JSON: a list, for programs such as a scheduler's
    #[arg(long)]
    json: bool,
}

/// The images of one store, and when they were used last.
struct Listed {
    store: PathBuf,
    /// Nothing is written there.
    lower: bool,
    images: Vec<(Record, SystemTime)>,
}

impl ImagesArgs {
    /// Lists the images in the stores.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let mut stores = vec![own(settings)?];
        for store in lower(settings) {
            if stores.iter().any(|known| is_same(&known.store, &store)) {
                continue;
            }
            match images_at(&store) {
                Ok(images) => stores.push(Listed { store, lower: true, images }),
                Err(error) => progress::for_stderr().warn(&error.to_string()),
            }
        }
        match self.json {
            true => console::print_json(&document(&stores)),
            false => console::print_lines(table(&stores)),
        }
        .map_err(CliError::Output)?;
        Ok(Exit::SUCCESS)
    }
}

/// The caller's store, or the one that is named in its place: one of somebody else's can be read as well.
fn own(settings: &Settings) -> Result<Listed, CliError> {
    let error = match open(settings) {
        Ok(store) => {
            let (images, store) = (store.images()?, store.root().to_owned());
            return Ok(Listed { store, lower: false, images });
        }
        Err(error) => error,
    };
    let named = settings.store.as_ref().map(|config| &config.path);
    match (&error, named) {
        (StoreError::Foreign { path, .. }, Some(store)) if path == store => {
            let images = images_at(store).map_err(|_| error)?;
            Ok(Listed { store: store.clone(), lower: true, images })
        }
        _ => Err(error.into()),
    }
}

/// Stores of others that are there: the shared one, and those that the site names.
fn lower(settings: &Settings) -> Vec<PathBuf> {
    let named = settings.store.iter().flat_map(|config| config.lower.clone());
    // Only the plugin knows another place, from its line; a step's program is told of it.
    let usual = account::store(settings);
    let usual = Some(usual).filter(|store| owner::of_store(store).is_none());
    usual.into_iter().chain(named).filter(|store| store.is_dir()).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one) == real(other)
}

/// What programs read. Times are seconds since 1970.
fn document(stores: &[Listed]) -> String {
    let object = |listed: &Listed, (record, used): &(Record, SystemTime)| {
        let used = used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        json!({
            "digest": record.digest,
            "origin": redacted(&record.origin),
            "size": record.size,
            "created": record.created,
            "used": used,
            "private": record.private,
            "layers": record.layers,
            "store": listed.store.to_string_lossy(),
        })
    };
    let of = |listed| move |image| object(listed, image);
    let all = stores.iter().flat_map(|listed| listed.images.iter().map(of(listed)));
    serde_json::Value::Array(all.collect()).to_string()
}

fn table(stores: &[Listed]) -> Vec<String> {
    let mut lines = vec![format!("{:<12}  {:>10}  {:>10}  ORIGIN", "DIGEST", "SIZE", "USED")];
    for listed in stores {
        if listed.lower && !listed.images.is_empty() {
            lines.push(format!("{}, only read:", listed.store.display()));
        }
        lines.extend(listed.images.iter().map(line));
    }
    lines
}

fn line((record, used): &(Record, SystemTime)) -> String {
    let digest = record.digest.hex();
    let ago = SystemTime::now().duration_since(*used).unwrap_or_default().as_secs();
    let ago = match ago {
        0..=119 => format!("{ago} s ago"),
        120..=7199 => format!("{} min ago", ago / 60),
        7200..=172_799 => format!("{} h ago", ago / 3600),
        _ => format!("{} d ago", ago / 86400),
    };
    let size = bytes(record.size);
    format!("{digest:<12.12}  {size:>10}  {ago:>10}  {}", redacted(&record.origin))
}

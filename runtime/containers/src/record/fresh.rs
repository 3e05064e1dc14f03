//! What other nodes do to the names of a directory that they share.

use std::fs::File;
use std::path::Path;

/// A name that was looked for in vain, and that another node has made since, is seen, and one that another has taken away is not:
/// NFS believes what it knows of names until their directory is opened.
pub(crate) fn forget_names(directory: &Path) {
    let _ = File::open(directory);
}

//! Paths by their text alone.

use std::path::{Component, Path, PathBuf};

/// A path without `.` and `..`, whatever is there: a link on the way is not looked at.
pub fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_above_the_root() {
        for (path, without) in
            [("/a/./b/../c", "/a/c"), ("/../../x", "/x"), ("a/..", ""), ("/", "/"), ("../a", "a")]
        {
            assert_eq!(normalized(Path::new(path)), Path::new(without), "{path}");
        }
    }
}

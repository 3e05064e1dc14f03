//! What somebody may have meant.

/// The known word that was most likely meant by `word`: a third of its letters may be changed,
/// added, left out or swapped, and one more.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3 + 1)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_and_nothing_far_away() {
        let known = ["writable", "remap_root", "mount_home"];
        assert_eq!(nearest("writeable", known), Some("writable"));
        assert_eq!(nearest("remap-root", known), Some("remap_root"));
        assert_eq!(nearest("mount_hoem", known), Some("mount_home"));
        assert_eq!(nearest("completely_else", known), None);
    }
}

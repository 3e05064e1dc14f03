//! List options that are given several times: their entries add up.
//!
//! Slurm calls back for each, but sends only the last one's argument to the nodes. The earlier
//! ones travel in variables of the job's environment, which the node takes out again. Their names
//! begin with SLURM: so `--export=NONE` and `--export=NAME` leave them alone.

use super::Valued;
use std::ffi::{CStr, CString};

/// The list options and their variables.
pub const LISTS: [(Valued, &CStr); 3] = [
    (Valued::Mounts, c"SLURM_PYXIS_REPEATED_MOUNTS"),
    (Valued::Env, c"SLURM_PYXIS_REPEATED_ENV"),
    (Valued::Unshare, c"SLURM_PYXIS_REPEATED_UNSHARE"),
];

/// The arguments seen so far.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: [Vec<Vec<u8>>; LISTS.len()],
}

impl Repeats {
    /// Remembers one argument of a list option; of other options, nothing.
    pub fn note(&mut self, which: Valued, argument: &[u8]) {
        let Some(list) = LISTS.iter().position(|(list, _)| *list == which) else { return };
        if !self.seen[list].iter().any(|seen| seen == argument) {
            self.seen[list].push(argument.to_vec());
        }
    }

    /// What to hand on: variable and list, for options with more than one argument.
    pub fn variables(&self) -> impl Iterator<Item = (&'static CStr, CString)> {
        LISTS.iter().zip(&self.seen).filter(|(_, seen)| seen.len() > 1).filter_map(
            |((_, variable), seen)| Some((*variable, CString::new(seen.join(&b',')).ok()?)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_slurm_would_lose_is_handed_on() {
        let mut repeats = Repeats::default();
        repeats.note(Valued::Image, b"x");
        repeats.note(Valued::Env, b"A,B");
        repeats.note(Valued::Env, b"A,B"); // Slurm itself calls twice
        assert_eq!(repeats.variables().count(), 0);
        repeats.note(Valued::Mounts, b"/a:/b");
        repeats.note(Valued::Mounts, b"/c:/d");
        let handed: Vec<_> = repeats.variables().collect();
        assert_eq!(handed, [(c"SLURM_PYXIS_REPEATED_MOUNTS", c"/a:/b,/c:/d".to_owned())]);
    }

    /// `--export=NONE` keeps nothing else.
    #[test]
    fn variables_survive_an_empty_export() {
        assert!(LISTS.iter().all(|(_, variable)| variable.to_bytes().starts_with(b"SLURM")));
    }
}

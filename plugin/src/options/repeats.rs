//! List options that are given several times: their entries add up.
//!
//! Slurm calls back for each, but sends only the last one's argument to the nodes. The earlier
//! ones travel in variables of the job's environment, which the node takes out again. Their names
//! begin with SLURM: so `--export=NONE` and `--export=NAME` leave them alone.

use super::values::Valued;
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The list options and their variables.
pub const LISTS: [(Valued, &CStr); 3] = [
    (Valued::Mounts, c"SLURM_PYXIS_REPEATED_MOUNTS"),
    (Valued::Env, c"SLURM_PYXIS_REPEATED_ENV"),
    (Valued::Unshare, c"SLURM_PYXIS_REPEATED_UNSHARE"),
];

/// Their places among the options that are handed on.
pub const PLACES: [u8; LISTS.len()] = [1, 5, 6];

/// Where Slurm keeps those of an allocation, for the sruns in it.
const INHERITED: [&CStr; LISTS.len()] = [
    c"SLURM_SPANK__SLURM_SPANK_OPTION_pyxis_container_mounts",
    c"SLURM_SPANK__SLURM_SPANK_OPTION_pyxis_container_env",
    c"SLURM_SPANK__SLURM_SPANK_OPTION_pyxis_container_unshare",
];

/// A look into the environment.
type Get<'a> = &'a dyn Fn(&CStr) -> Option<OsString>;

/// The arguments seen so far.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: [Vec<Vec<u8>>; LISTS.len()],
    /// Whether the one that the allocation was made with has come.
    inherited: [bool; LISTS.len()],
}

impl Repeats {
    /// Remembers one argument of a list option; of other options, nothing.
    ///
    /// In an allocation Slurm calls back for the last argument of salloc first, which it has in a
    /// variable. As with any option, the command line of srun replaces it.
    pub fn note(&mut self, which: Valued, argument: &[u8], get: Get<'_>) {
        let Some(list) = LISTS.iter().position(|(list, _)| *list == which) else { return };
        let (seen, inherited) = (&mut self.seen[list], &mut self.inherited[list]);
        if !*inherited && seen.is_empty() {
            *inherited = true;
            if get(INHERITED[list]).is_some_and(|theirs| theirs.as_bytes() == argument) {
                return;
            }
        }
        if !seen.iter().any(|seen| seen == argument) {
            seen.push(argument.to_vec());
        }
    }

    /// The whole list of the option at that place, of the command line or of the allocation; `None` of other options.
    pub fn whole(&self, place: u8, get: Get<'_>) -> Option<Vec<u8>> {
        let list = PLACES.iter().position(|list| *list == place)?;
        let seen = &self.seen[list];
        if seen.is_empty() {
            return get(LISTS[list].1).or_else(|| get(INHERITED[list])).map(OsString::into_vec);
        }
        Some(seen.join(&b','))
    }

    /// What to `hand` on: variable and list, for options with more than one argument, or with
    /// others than the variable has already; of a job that is submitted all of them.
    pub fn hand_on(&mut self, submits: bool, get: Get<'_>, hand: &mut dyn FnMut(&CStr, &[u8])) {
        // The next component of a heterogeneous job gets the allocation's first again.
        self.inherited = Default::default();
        for ((_, variable), seen) in LISTS.iter().zip(&self.seen) {
            if seen.len() > 1 || (seen.len() == 1 && (submits || get(variable).is_some())) {
                hand(variable, &seen.join(&b','));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::defaults;

    fn handed(repeats: &mut Repeats, get: Get<'_>) -> Vec<String> {
        let mut all = Vec::new();
        repeats.hand_on(false, get, &mut |variable, list| {
            let list = String::from_utf8(list.to_vec()).unwrap();
            all.push(format!("{}={list}", variable.to_str().unwrap()));
        });
        all
    }

    #[test]
    fn only_what_slurm_would_lose_is_handed_on() {
        let none = |_: &CStr| None;
        let mut repeats = Repeats::default();
        repeats.note(Valued::Image, b"x", &none);
        repeats.note(Valued::Env, b"A,B", &none);
        repeats.note(Valued::Env, b"A,B", &none); // Slurm itself calls twice
        assert_eq!(handed(&mut repeats, &none), [""; 0]);
        repeats.note(Valued::Mounts, b"/a:/b", &none);
        repeats.note(Valued::Mounts, b"/c:/d", &none);
        assert_eq!(handed(&mut repeats, &none), ["SLURM_PYXIS_REPEATED_MOUNTS=/a:/b,/c:/d"]);
    }

    #[test]
    fn the_whole_of_a_list_is_found_by_its_place() {
        for (place, (which, _)) in PLACES.iter().zip(LISTS) {
            assert_eq!(defaults::sets(*place), defaults::Sets::Value(which));
        }
        let none = |_: &CStr| None;
        let mut repeats = Repeats::default();
        repeats.note(Valued::Mounts, b"/a:/b", &none);
        repeats.note(Valued::Mounts, b"/c:/d", &none);
        assert_eq!(repeats.whole(1, &none), Some(b"/a:/b,/c:/d".to_vec()));
        assert_eq!((repeats.whole(0, &none), repeats.whole(5, &none)), (None, None));
        // Of an allocation, all of its arguments, or the one that there is.
        let last = |name: &CStr| (name == INHERITED[1]).then(|| "A".into());
        assert_eq!(repeats.whole(5, &last), Some(b"A".to_vec()));
        let both = |name: &CStr| (name == LISTS[1].1).then(|| "B,A".into()).or_else(|| last(name));
        assert_eq!(repeats.whole(5, &both), Some(b"B,A".to_vec()));
    }

    /// `--export=NONE` keeps nothing else.
    #[test]
    fn variables_survive_an_empty_export() {
        assert!(LISTS.iter().all(|(_, variable)| variable.to_bytes().starts_with(b"SLURM")));
    }

    #[test]
    fn srun_replaces_what_its_allocation_was_made_with() {
        let salloc = |name: &CStr| match name.to_bytes() {
            b"SLURM_SPANK__SLURM_SPANK_OPTION_pyxis_container_mounts" => Some("/b".into()),
            b"SLURM_PYXIS_REPEATED_MOUNTS" => Some("/a,/b".into()),
            _ => None,
        };
        let handed = |given: &[&str]| {
            let mut repeats = Repeats::default();
            for argument in given {
                repeats.note(Valued::Mounts, argument.as_bytes(), &salloc);
            }
            handed(&mut repeats, &salloc)
        };
        // Nothing of srun's own: the whole list of salloc's stays.
        assert_eq!(handed(&["/b"]), [""; 0]);
        assert_eq!(handed(&["/b", "/c"]), ["SLURM_PYXIS_REPEATED_MOUNTS=/c"]);
        assert_eq!(handed(&["/b", "/b", "/c"]), ["SLURM_PYXIS_REPEATED_MOUNTS=/b,/c"]);
    }
}

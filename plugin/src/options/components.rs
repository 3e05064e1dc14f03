//! The components of a heterogeneous step: each has a container of its own, or none.
//!
//! srun reads the command line of one component after the other, and calls back for the options of each. But what it sends to
//! the nodes is the same for all: of each option the last argument that any component has. So the options of all components
//! travel in a variable of the job's environment, and the nodes take it out again. Its name begins with SLURM: so
//! `--export=NONE` and `--export=NAME` leave it alone.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What they travel in.
pub const VARIABLE: &CStr = c"SLURM_PYXIS_COMPONENTS";
/// After each component.
const NEXT: u8 = 0x1e;
/// After each option.
const END: u8 = 0x1f;
/// Stands for the first component, and for the first of the options that are handed on.
const FIRST: u8 = b'!';

/// What srun has read so far.
#[derive(Debug, Default)]
pub struct Components {
    /// The options of each, as they travel.
    read: Vec<Vec<u8>>,
    /// Those of the one that is being read.
    own: Vec<u8>,
    /// A value cannot travel.
    odd: bool,
}

impl Components {
    /// Remembers an option of this component, by its place among those that are handed on.
    pub fn note(&mut self, place: u8, value: &[u8]) {
        self.odd |= value.contains(&NEXT) || value.contains(&END);
        self.own.push(FIRST + place);
        self.own.extend_from_slice(value);
        self.own.push(END);
    }

    /// All options of this component are known. Returns what is to travel, which is nothing if all are the same.
    /// `arguments` are srun's.
    ///
    /// # Errors
    /// They differ, and no node could know which are its own.
    pub fn end(
        &mut self,
        get: fn(&CStr) -> Option<OsString>,
        arguments: &[OsString],
    ) -> Result<Vec<u8>, &'static str> {
        self.read.push(std::mem::take(&mut self.own));
        let mut all = Vec::new();
        if self.read.iter().all(|one| *one == self.read[0]) {
            return Ok(all);
        }
        if get(c"SLURM_JOB_ID").is_some() && get(c"SLURM_HET_SIZE").is_none() {
            return Err(
                "components of a step within one job cannot have different containers: start each with a srun of its own",
            );
        }
        if self.odd {
            return Err("an option of a heterogeneous step has a control character");
        }
        let groups = groups(arguments).filter(|groups| groups.len() >= self.read.len()).ok_or(
            "components with different containers are to be chosen as in --het-group=0,1, and each of them once",
        )?;
        for (group, own) in groups.iter().zip(&self.read) {
            all.push(FIRST + *group);
            all.extend_from_slice(own);
            all.push(NEXT);
        }
        Ok(all)
    }
}

/// Which component of the job is read when: Slurm takes those of `--het-group`, or the next one. `None` where it is said in
/// another form or order, or a component twice.
fn groups(arguments: &[OsString]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for (default, section) in (0..).zip(arguments.split(|argument| argument == ":")) {
        let Some(list) = section.iter().find(|one| one.as_bytes().starts_with(b"--het")) else {
            add(&mut all, default, default)?;
            continue;
        };
        let mut least = 0;
        for one in list.as_bytes().strip_prefix(b"--het-group=")?.split(|byte| *byte == b',') {
            let one = number(one)?;
            add(&mut all, least, one)?;
            least = one;
        }
    }
    Some(all)
}

/// Slurm has no more than 128.
fn add(all: &mut Vec<u8>, least: u32, one: u32) -> Option<()> {
    if one < least || one > 127 || all.contains(&(one as u8)) {
        return None;
    }
    all.push(one as u8);
    Some(())
}

/// A number of digits alone.
pub fn number(text: &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        number = (digit < 10).then_some(number)?.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!text.is_empty()).then_some(number)
}

/// The options of the component of that number, of what srun has handed on.
pub fn of(all: &[u8], number: u32) -> Option<&[u8]> {
    starting_with(all, NEXT, number)
}

/// The value of the option at that place, of the options of a component.
pub fn value(own: &[u8], place: u32) -> Option<&[u8]> {
    starting_with(own, END, place)
}

/// The rest of the part of `all` that begins with what stands for that number.
fn starting_with(all: &[u8], end: u8, number: u32) -> Option<&[u8]> {
    for part in all.split(|byte| *byte == end) {
        if let Some((first, rest)) = part.split_first() {
            if u32::from(first.wrapping_sub(FIRST)) == number {
                return Some(rest);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &CStr) -> Option<OsString> {
        None
    }

    fn ended(
        components: &mut Components,
        get: fn(&CStr) -> Option<OsString>,
        line: &str,
    ) -> Result<Vec<u8>, &'static str> {
        components.end(get, &line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn each_component_gets_its_own() {
        let mut components = Components::default();
        components.note(0, b"./a.sqsh");
        components.note(12, b"");
        assert_eq!(ended(&mut components, none, "srun a : b : c"), Ok(vec![]));
        let handed = ended(&mut components, none, "srun a : b : c").unwrap();
        assert_eq!(of(&handed, 1), Some(&b""[..]));
        components.note(0, b"./c.sqsh");
        let handed = ended(&mut components, none, "srun a : b : c").unwrap();
        let first = of(&handed, 0).unwrap();
        assert_eq!(value(first, 0), Some(&b"./a.sqsh"[..]));
        assert_eq!(value(first, 12), Some(&b""[..]));
        assert_eq!(value(first, 1), None);
        assert_eq!(of(&handed, 1), Some(&b""[..]));
        assert_eq!(value(of(&handed, 2).unwrap(), 0), Some(&b"./c.sqsh"[..]));
        assert_eq!(of(&handed, 3), None);
    }

    #[test]
    fn the_last_components_of_the_largest_job_differ() {
        let mut components = Components::default();
        let line = vec!["x"; 128].join(" : ");
        let mut handed = Vec::new();
        for image in 0..128 {
            components.note(0, format!("./{image}").as_bytes());
            handed = ended(&mut components, none, &line).unwrap();
        }
        for component in [0, 1, 126, 127] {
            let image = format!("./{component}");
            assert_eq!(value(of(&handed, component).unwrap(), 0), Some(image.as_bytes()));
        }
    }

    #[test]
    fn what_would_be_taken_for_two_options_is_refused() {
        for odd in [b"./a\x1fb", b"./a\x1eb"] {
            let mut components = Components::default();
            components.note(0, odd);
            ended(&mut components, none, "srun a : b").unwrap();
            let error = ended(&mut components, none, "srun a : b").unwrap_err();
            assert!(error.contains("control character"), "{error}");
        }
    }

    #[test]
    fn components_are_as_slurm_numbers_them() {
        let groups = |line: &str| groups(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(groups("srun a : b : c"), Some(vec![0, 1, 2]));
        assert_eq!(groups("srun --het-group=1,2 a : --het-group=0 b"), Some(vec![1, 2, 0]));
        assert_eq!(groups("srun --het-group=1 a : b"), None);
        assert_eq!(groups("srun --het-group 1 a : b"), None);
        assert_eq!(groups("srun --het-group=0-1 a"), None);
        assert_eq!(groups("srun --het-group=1,0 a"), None);
        assert_eq!(groups("srun --het-group=256 a"), None);
        assert_eq!(groups("srun --het-group= a"), None);
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        assert_eq!((number(b"4294967296"), number(b"+1"), number(b"")), (None, None, None));
    }

    #[test]
    fn where_nodes_cannot_know_it_only_the_same_is_taken() {
        let job = |name: &CStr| (name == c"SLURM_JOB_ID").then(|| "1".into());
        let mut components = Components::default();
        for image in [&b"./a"[..], b"./a"] {
            components.note(0, image);
            assert_eq!(ended(&mut components, job, "srun a : b"), Ok(vec![]));
        }
        components.note(0, b"./b");
        let error = ended(&mut components, job, "srun a : b : c").unwrap_err();
        assert!(error.contains("within one job"), "{error}");
        let mut components = Components::default();
        components.note(0, b"./a");
        ended(&mut components, none, "srun --het-group=0-1 a : b").unwrap();
        let error = ended(&mut components, none, "srun --het-group=0-1 a : b").unwrap_err();
        assert!(error.contains("--het-group"), "{error}");
    }
}

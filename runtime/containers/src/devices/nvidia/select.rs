//! Which GPUs, and which parts of them, a container gets.

use super::proc::{Gpu, Part};

/// Places of GPUs in the list, each with the places of its parts; no part is the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection(pub(crate) Vec<(usize, Vec<usize>)>);

impl Selection {
    /// These GPUs as wholes, with all that they are divided into.
    pub(crate) fn whole(places: impl IntoIterator<Item = usize>) -> Selection {
        let mut selection = Selection::default();
        places.into_iter().for_each(|place| selection.add(place, None));
        selection
    }

    /// Whether this process may use any of them.
    pub(crate) fn is_usable(&self, gpus: &[Gpu]) -> bool {
        self.0.iter().any(|(place, parts)| {
            let parts_usable = || parts.iter().any(|part| gpus[*place].parts[*part].usable);
            gpus[*place].usable && (parts.is_empty() || parts_usable())
        })
    }

    fn add(&mut self, gpu: usize, part: Option<usize>) {
        let at = match self.0.iter().position(|(known, _)| *known == gpu) {
            Some(at) => at,
            None => {
                self.0.push((gpu, Vec::new()));
                self.0.len() - 1
            }
        };
        let parts = &mut self.0[at].1;
        parts.extend(part.filter(|part| !parts.contains(part)));
    }
}

/// What names of GPUs mean: `all`, a number, a UUID, `GPU:PART`, a part's UUID.
pub(crate) fn select(gpus: &[Gpu], names: &[&str], counted: Counted) -> Result<Selection, String> {
    let mut selection = Selection::default();
    let mut hidden = Vec::new();
    let all = Names { gpus, names, counted };
    for name in names {
        match all.find(name) {
            Some(NamedGpu::All) => {
                // What this process cannot use, a container of its cannot either.
                let any = gpus.iter().any(|gpu| gpu.usable);
                for (place, gpu) in gpus.iter().enumerate().filter(|(_, gpu)| gpu.usable || !any) {
                    selection.add(place, None);
                    let parts = usable(&gpu.parts);
                    parts.into_iter().for_each(|part| selection.add(place, Some(part)));
                }
            }
            Some(NamedGpu::Gpu(place)) => {
                selection.add(place, None);
                let parts = 0..gpus[place].parts.len();
                parts.for_each(|part| selection.add(place, Some(part)));
            }
            Some(NamedGpu::Part(place, part)) => selection.add(place, Some(part)),
            Some(NamedGpu::Hidden) => hidden.push(*name),
            None => return Err(absent(gpus, name)),
        }
    }
    for (place, part) in uncover(gpus, &hidden)? {
        selection.add(place, Some(part));
    }
    Ok(selection)
}

/// What numbers count, in the order of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// What this process may use: a vendor's library opens nothing else.
    Usable,
    /// All that the node has.
    All,
}

impl Counted {
    /// What the numbers from 0 on stand for. If one of those that are named is not below the count of what
    /// can be used, all are the node's, as those of `SLURM_STEP_GPUS` are.
    fn places(self, usable: &[bool], named: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let among: Vec<usize> = (0..usable.len()).filter(|place| usable[*place]).collect();
        match self == Counted::Usable && named.into_iter().all(|number| number < among.len()) {
            true => among,
            false => (0..usable.len()).collect(),
        }
    }
}

/// The GPU, or the part of one, that a name means.
pub(crate) enum NamedGpu {
    All,
    Gpu(usize),
    Part(usize, usize),
    /// A part by a UUID that the kernel's part of the driver does not tell.
    Hidden,
}

/// Names that stand together: what the number in one counts depends on the others.
pub(crate) struct Names<'a> {
    pub(crate) gpus: &'a [Gpu],
    pub(crate) names: &'a [&'a str],
    pub(crate) counted: Counted,
}

impl Names<'_> {
    pub(crate) fn find(&self, name: &str) -> Option<NamedGpu> {
        let gpus = self.gpus;
        if name == "all" {
            return Some(NamedGpu::All);
        }
        if let Some((gpu, part)) = name.split_once(':') {
            let place = self.place(gpu.parse().ok()?)?;
            return self.part(place, gpu, part.parse().ok()?);
        }
        if let Ok(number) = name.parse() {
            return self.place(number).map(NamedGpu::Gpu);
        }
        let of_uuid =
            |wanted: &str| gpus.iter().position(|gpu| gpu.uuid.as_deref() == Some(wanted));
        if let Some(rest) = name.strip_prefix("MIG-") {
            // Drivers before 470 say which part of which GPU it is.
            if let Some((uuid, rest)) = rest.split_once('/') {
                let (gi, ci) = rest.split_once('/')?;
                let (gi, ci) = (gi.parse::<u32>().ok()?, ci.parse::<u32>().ok()?);
                let gpu = of_uuid(uuid)?;
                let part =
                    gpus[gpu].parts.iter().position(|part| (part.gi, part.ci) == (gi, ci))?;
                return Some(NamedGpu::Part(gpu, part));
            }
            return gpus.iter().any(|gpu| !gpu.parts.is_empty()).then_some(NamedGpu::Hidden);
        }
        if let Some(gpu) = of_uuid(name) {
            return Some(NamedGpu::Gpu(gpu));
        }
        // As CUDA takes it: as much as tells it apart.
        let begins = |gpu: &Gpu| gpu.uuid.as_deref().is_some_and(|uuid| uuid.starts_with(name));
        let mut alike = gpus.iter().enumerate().filter(|(_, gpu)| begins(gpu));
        match (alike.next(), alike.next()) {
            (Some((gpu, _)), None) if name.len() > "GPU-".len() => Some(NamedGpu::Gpu(gpu)),
            _ => None,
        }
    }

    /// The place of the GPU with this number.
    fn place(&self, number: usize) -> Option<usize> {
        let usable: Vec<bool> = self.gpus.iter().map(|gpu| gpu.usable).collect();
        let named = self.names.iter().filter_map(|name| name.split(':').next()?.parse().ok());
        self.counted.places(&usable, named).get(number).copied()
    }

    /// The part with this number of the GPU at that place, which the names call `gpu`.
    fn part(&self, place: usize, gpu: &str, number: usize) -> Option<NamedGpu> {
        let usable: Vec<bool> = self.gpus[place].parts.iter().map(|part| part.usable).collect();
        let parts = self.names.iter().filter_map(|name| name.split_once(':'));
        let named = parts.filter(|(of, _)| *of == gpu).filter_map(|(_, part)| part.parse().ok());
        let part = self.counted.places(&usable, named).get(number).copied()?;
        Some(NamedGpu::Part(place, part))
    }
}

/// Parts whose UUIDs are not told: clear if the process may use as many as were named.
fn uncover(gpus: &[Gpu], hidden: &[&str]) -> Result<Vec<(usize, usize)>, String> {
    let mut names: Vec<&str> = hidden.to_vec();
    names.sort_unstable();
    names.dedup();
    let Some(first) = names.first() else { return Ok(Vec::new()) };
    let all = gpus.iter().enumerate();
    let parts: Vec<(usize, usize)> = all
        .flat_map(|(place, gpu)| usable(&gpu.parts).into_iter().map(move |part| (place, part)))
        .collect();
    match parts.len() == names.len() {
        true => Ok(parts),
        false => Err(format!(
            "which MIG device {first} is cannot be told without NVIDIA's library; \
             name it as GPU:DEVICE, such as 0:1, as `nvidia-smi -L` counts them"
        )),
    }
}

fn usable(parts: &[Part]) -> Vec<usize> {
    let any = parts.iter().any(|part| part.usable);
    let all = parts.iter().enumerate().filter(|(_, part)| part.usable || !any);
    all.map(|(place, _)| place).collect()
}

fn absent(gpus: &[Gpu], name: &str) -> String {
    let mut known = Vec::new();
    for (place, gpu) in gpus.iter().enumerate() {
        known.push(place.to_string());
        known.extend((0..gpu.parts.len()).map(|part| format!("{place}:{part}")));
        known.extend(gpu.uuid.clone());
    }
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("no GPU {name} on this node: there are {known}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight GPUs, their minor numbers the other way round; the last two are divided.
    pub(crate) fn eight() -> Vec<Gpu> {
        let part = |gi, usable| Part { gi, ci: 0, caps: [gi * 9, gi * 9 + 1], usable };
        (0..8)
            .map(|place| Gpu {
                bus: format!("0000:{:02x}:00.0", place * 16 + 7),
                minor: 7 - place,
                uuid: Some(format!("GPU-{place}a{place}-f")),
                parts: match place {
                    6 => vec![part(1, false), part(2, true), part(7, true)],
                    7 => vec![part(1, false), part(5, false)],
                    _ => Vec::new(),
                },
                usable: true,
                ..Gpu::default()
            })
            .collect()
    }

    fn got(names: &[&str]) -> Vec<(usize, Vec<usize>)> {
        select(&eight(), names, Counted::Usable).unwrap().0
    }

    #[test]
    fn names_of_all_kinds() {
        assert_eq!(got(&["3", "0"]), [(3, vec![]), (0, vec![])]);
        assert_eq!(got(&["GPU-2a2-f", "2"]), [(2, vec![])]);
        assert_eq!(got(&["GPU-5"]), [(5, vec![])]);
        assert_eq!(got(&["6:2", "6:0"]), [(6, vec![2, 0])]);
        assert_eq!(got(&["6"]), [(6, vec![0, 1, 2])]);
        assert_eq!(got(&["MIG-GPU-6a6-f/7/0"]), [(6, vec![2])]);
        // Of those that can be used if some can.
        assert_eq!(got(&["all"])[6..], [(6, vec![1, 2]), (7, vec![0, 1])]);
        for name in ["8", "6:3", "0:0", "GPU-", "GPU-9", "MIG-GPU-6a6-f/3/0", "x"] {
            let error = select(&eight(), &[name], Counted::Usable).unwrap_err();
            assert!(
                error
                    .starts_with(&format!("no GPU {name} on this node: there are 0, GPU-0a0-f, 1")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_parts_uuid_is_clear_where_what_can_be_used_says_it() {
        let mut gpus = eight();
        gpus[7].parts.clear();
        // Slurm gave the step two.
        let names = [
            "MIG-3d5d7a0e-1a4c-5a8b-9abc-000000000001",
            "MIG-3d5d7a0e-1a4c-5a8b-9abc-000000000002",
        ];
        assert_eq!(select(&gpus, &names, Counted::Usable).unwrap().0, [(6, vec![1, 2])]);
        let error = select(&gpus, &names[..1], Counted::Usable).unwrap_err();
        assert!(error.contains("name it as GPU:DEVICE"), "{error}");
    }

    #[test]
    fn all_are_those_that_can_be_used() {
        let mut gpus = eight();
        gpus.iter_mut().for_each(|gpu| gpu.usable = gpu.minor == 3);
        assert_eq!(select(&gpus, &["all"], Counted::Usable).unwrap().0, [(4, vec![])]);
        assert_eq!(select(&gpus, &["0"], Counted::Usable).unwrap().0, [(4, vec![])]);
    }

    #[test]
    fn numbers_count_those_that_can_be_used() {
        let mut gpus = eight();
        gpus.iter_mut().for_each(|gpu| gpu.usable = [0, 1, 4, 5].contains(&(7 - gpu.minor)));
        let places = |names: &[&str]| -> Vec<usize> {
            select(&gpus, names, Counted::Usable)
                .unwrap()
                .0
                .iter()
                .map(|(place, _)| *place)
                .collect()
        };
        assert_eq!(places(&["0", "1", "2", "3"]), [0, 1, 4, 5]);
        assert_eq!(places(&["3", "2"]), [5, 4]);
        // One that is not below their count: numbers on the node, as in SLURM_STEP_GPUS.
        assert_eq!(places(&["0", "1", "4", "5"]), [0, 1, 4, 5]);
        assert_eq!(places(&["2", "4"]), [2, 4]);
        // A UUID is no number.
        assert_eq!(places(&["GPU-6a6-f", "2"]), [6, 4]);
        gpus.iter_mut().for_each(|gpu| gpu.usable = false);
        assert_eq!(select(&gpus, &["2"], Counted::Usable).unwrap().0, [(2, vec![])]);
    }

    #[test]
    fn numbers_of_parts_count_those_that_can_be_used() {
        let mut gpus = eight();
        assert_eq!(select(&gpus, &["6:0"], Counted::Usable).unwrap().0, [(6, vec![1])]);
        assert_eq!(select(&gpus, &["6:1", "6:0"], Counted::Usable).unwrap().0, [(6, vec![2, 1])]);
        assert_eq!(select(&gpus, &["6:1", "6:2"], Counted::Usable).unwrap().0, [(6, vec![1, 2])]);
        // The step's only GPU, and what it may use of that.
        gpus.iter_mut().for_each(|gpu| gpu.usable = gpu.minor == 1);
        assert_eq!(select(&gpus, &["0:1"], Counted::Usable).unwrap().0, [(6, vec![2])]);
        assert_eq!(select(&gpus, &["6:1"], Counted::Usable).unwrap().0, [(6, vec![2])]);
    }
}

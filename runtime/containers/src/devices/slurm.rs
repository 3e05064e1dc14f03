//! Which GPUs Slurm gave the step. Its numbers mean different things:
//!
//! - 20.11 numbers GPUs by their device files: `/dev/nvidia3` is 3, the minor number.
//! - Later releases number them by their places in the list that slurmd made: that of the PCI bus
//!   with `AutoDetect=nvml` in gres.conf, that of the device files' names otherwise.
//! - `CUDA_VISIBLE_DEVICES` and its like count from 0 in each step where Slurm constrains devices, and
//!   have UUIDs for MIG devices and with `Flags=nvidia_gpu_env` and `env_uuid`.
//!
//! Where the device cgroup lets the step use only some GPUs, those are the ones, whatever their
//! numbers.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::nvidia::proc::Gpu;
use super::nvidia::select::{Counted, Selection, select};
use super::variables::VISIBLE;
use linux::environ::Environ;

/// Lists of UUIDs, or of numbers that are of no use here.
const LISTS: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"];
/// Where gres.conf may be, beside slurm.conf.
const CONFIGURATION: [&str; 4] =
    ["/etc/slurm", "/run/slurm/conf", "/etc/slurm-llnl", "/usr/local/etc"];
/// Numbers of steps that are no `srun`: batch, interactive and so on.
const FIRST_SPECIAL: u32 = 0xffff_fff0;

/// The GPUs that Slurm gave the step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepGpus {
    /// As it wrote them.
    pub(crate) text: String,
    /// The numbers on the node.
    pub(crate) numbers: Vec<u32>,
    /// UUIDs of some or all of them.
    pub(crate) uuids: Vec<String>,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// A place on the PCI bus.
    Place,
    /// A place in the order of the device files, or their number, which is the same without gaps.
    Minor,
}

fn variable<'a>(environ: &'a Environ, name: &str) -> Option<&'a str> {
    let value = environ.get(OsStr::new(name)).and_then(|value| value.to_str());
    value.map(str::trim).filter(|value| !value.is_empty())
}

impl StepGpus {
    /// `None` if the step has no GPU of Slurm's.
    pub(crate) fn of(environ: &Environ) -> Option<StepGpus> {
        let step = variable(environ, "SLURM_STEP_ID").and_then(|id| id.parse::<u32>().ok());
        // A step inherits the variables of the batch script, whose node may be another.
        let is_srun = step.is_some_and(|id| id < FIRST_SPECIAL);
        let of_job = || variable(environ, "SLURM_JOB_GPUS").filter(|_| !is_srun);
        let text = variable(environ, "SLURM_STEP_GPUS").or_else(of_job)?;
        let numbers = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        let list = LISTS.iter().find_map(|name| variable(environ, name)).unwrap_or_default();
        let is_uuid = |word: &&str| word.starts_with("GPU-") || word.starts_with("MIG-");
        let uuids = list.split(',').map(str::trim).filter(is_uuid).map(str::to_owned).collect();
        Some(StepGpus { text: text.to_owned(), numbers, uuids })
    }

    /// The GPUs of the list that are meant. `order` is what a number most likely is.
    pub(crate) fn among(&self, gpus: &[Gpu], order: Number) -> Result<Selection, String> {
        let selection = self.meant(gpus, order)?;
        self.check(gpus, &selection)?;
        Ok(selection)
    }

    /// Whether the step may use something of a selection: with nothing a program would run without, and not say so.
    pub(crate) fn check(&self, gpus: &[Gpu], selection: &Selection) -> Result<(), String> {
        // Of a driver that names no GPU, specifications know more.
        if selection.0.is_empty() || selection.is_usable(gpus) {
            return Ok(());
        }
        let usable = gpus.iter().filter(|gpu| gpu.usable).count();
        Err(format!(
            "Slurm gave this step the GPUs {}, and the container would get none that the step may use \
             ({usable} of this node's {}); {VISIBLE}=void starts without one",
            self.text,
            gpus.len()
        ))
    }

    fn meant(&self, gpus: &[Gpu], order: Number) -> Result<Selection, String> {
        if self.uuids.iter().any(|uuid| uuid.starts_with("MIG-")) {
            let names: Vec<&str> = self.uuids.iter().map(String::as_str).collect();
            return select(gpus, &names, Counted::Usable);
        }
        let named = |uuid: &String| gpus.iter().position(|gpu| gpu.uuid.as_ref() == Some(uuid));
        let named: Vec<usize> = self.uuids.iter().filter_map(named).collect();
        let usable: Vec<usize> = (0..gpus.len()).filter(|place| gpus[*place].usable).collect();
        let constrained = !usable.is_empty() && usable.len() < gpus.len();
        let agrees = |places: &Vec<usize>| {
            let within = |some: &[usize], all: &[usize]| some.iter().all(|one| all.contains(one));
            within(&named, places)
                && (!constrained || within(&usable, places) || within(places, &usable))
        };
        if constrained && usable.len() == self.numbers.len() {
            return Ok(Selection::whole(usable));
        }
        let other = if order == Number::Place { Number::Minor } else { Number::Place };
        let candidates = [order, other].map(|order| self.places(gpus, order));
        let mut known = candidates.into_iter().flatten();
        let first = known.clone().next();
        if let Some(places) = known.find(agrees) {
            return Ok(Selection::whole(places));
        }
        match first {
            _ if !named.is_empty() => Ok(Selection::whole(named)),
            _ if constrained => Ok(Selection::whole(usable)),
            Some(places) => Ok(Selection::whole(places)),
            None => Err(format!(
                "Slurm gave this step the GPUs {}, and this node has {}: none of such numbers",
                self.text,
                gpus.len()
            )),
        }
    }

    /// Places in the list, if each number is of a GPU.
    fn places(&self, gpus: &[Gpu], order: Number) -> Option<Vec<usize>> {
        let mut minors: Vec<u32> = gpus.iter().map(|gpu| gpu.minor).collect();
        minors.sort_unstable();
        let of_minor = |minor: u32| gpus.iter().position(|gpu| gpu.minor == minor);
        let place = |number: &u32| match order {
            Number::Place => Some(*number as usize).filter(|place| *place < gpus.len()),
            // With a gap in the files, a number is a place in their order, unless it is a file's.
            Number::Minor => of_minor(*number)
                .or_else(|| minors.get(*number as usize).and_then(|minor| of_minor(*minor))),
        };
        let places: Option<Vec<usize>> = self.numbers.iter().map(place).collect();
        places.filter(|places| !places.is_empty())
    }
}

/// What a number is on this cluster, as far as gres.conf tells. `minor`: the release is 20.11.
pub(crate) fn order(environ: &Environ, by_file: bool) -> Number {
    if by_file {
        return Number::Minor;
    }
    let beside = variable(environ, "SLURM_CONF")
        .and_then(|conf| PathBuf::from(conf).parent().map(PathBuf::from));
    let places = beside.into_iter().chain(CONFIGURATION.map(PathBuf::from));
    let text = places.into_iter().find_map(|place| {
        let path = place.join("gres.conf");
        let small =
            std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() < 1 << 20);
        small.then(|| std::fs::read_to_string(path).ok()).flatten()
    });
    text.map_or(Number::Place, |text| order_of(&text))
}

fn order_of(gres: &str) -> Number {
    let lines = gres.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut words = lines.flat_map(str::split_whitespace).map(str::to_ascii_lowercase);
    match words.any(|word| word == "autodetect=nvml") {
        true => Number::Place,
        false => Number::Minor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environ(variables: &[(&str, &str)]) -> Environ {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    /// GPUs by their minor numbers, in the order of the bus.
    fn gpus(minors: &[u32]) -> Vec<Gpu> {
        let gpu = |minor: &u32| Gpu {
            minor: *minor,
            uuid: Some(format!("GPU-of-{minor}")),
            usable: true,
            ..Gpu::default()
        };
        minors.iter().map(gpu).collect()
    }

    /// The minor numbers of what is chosen.
    fn chosen(gpus: &[Gpu], variables: &[(&str, &str)], order: Number) -> Vec<u32> {
        let given = StepGpus::of(&environ(variables)).unwrap();
        let selection = given.among(gpus, order).unwrap();
        selection.0.iter().map(|(place, _)| gpus[*place].minor).collect()
    }

    #[test]
    fn whose_list_counts() {
        let numbers =
            |variables: &[(&str, &str)]| StepGpus::of(&environ(variables)).map(|given| given.text);
        let job = ("SLURM_JOB_GPUS", "2,3");
        assert_eq!(numbers(&[job]).as_deref(), Some("2,3"));
        assert_eq!(numbers(&[("SLURM_STEP_GPUS", "3"), job]).as_deref(), Some("3"));
        assert_eq!(numbers(&[("SLURM_STEP_ID", "4294967291"), job]).as_deref(), Some("2,3"));
        // `srun --gres=none` in a batch script: the script's own is not the step's.
        assert_eq!(numbers(&[("SLURM_STEP_ID", "0"), job]), None);
        assert_eq!(numbers(&[("SLURM_STEP_GPUS", "")]), None);
        assert_eq!(numbers(&[("CUDA_VISIBLE_DEVICES", "0")]), None);
    }

    #[test]
    fn a_number_is_a_minor_number_in_20_11() {
        let gpus = gpus(&[3, 2, 1, 0]);
        assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "0,3")], Number::Minor), [0, 3]);
    }

    #[test]
    fn a_number_is_a_place_on_the_bus_with_nvml() {
        let gpus = gpus(&[3, 2, 1, 0]);
        assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "0,2")], Number::Place), [3, 1]);
        assert_eq!(order_of("# AutoDetect=off\nAutoDetect=NVML\n"), Number::Place);
        assert_eq!(order_of("NodeName=a AutoDetect=nvml Name=gpu\n"), Number::Place);
    }

    #[test]
    fn a_number_is_a_place_among_the_files_without_nvml() {
        for text in
            ["Name=gpu File=/dev/nvidia[0-3]\n", "AutoDetect=nvidia\n", "#AutoDetect=nvml\n"]
        {
            assert_eq!(order_of(text), Number::Minor, "{text}");
        }
        // One of them is for another use: no nvidia1.
        let gpus = gpus(&[4, 3, 2, 0]);
        assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "1,3")], Number::Minor), [2, 3]);
    }

    #[test]
    fn a_uuid_says_it_whatever_the_numbers() {
        let gpus = gpus(&[3, 2, 1, 0]);
        let uuid = ("CUDA_VISIBLE_DEVICES", "GPU-of-0");
        for order in [Number::Place, Number::Minor] {
            assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "0"), uuid], order), [0]);
            assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "3"), uuid], order), [0]);
            // Neither number is that GPU's: the UUID is.
            assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "1"), uuid], order), [0]);
        }
        // The first task's, of a step with two: the numbers say the rest.
        assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "3,2"), uuid], Number::Minor), [0, 1]);
        let ordinal = ("GPU_DEVICE_ORDINAL", "GPU-of-0");
        assert_eq!(chosen(&gpus, &[("SLURM_STEP_GPUS", "3"), ordinal], Number::Minor), [0]);
    }

    #[test]
    fn what_the_device_cgroup_lets_the_step_use_is_what_it_was_given() {
        let mut gpus = gpus(&[3, 2, 1, 0]);
        let mut let_use = |minors: &[u32]| {
            gpus.iter_mut().for_each(|gpu| gpu.usable = minors.contains(&gpu.minor));
            gpus.clone()
        };
        let constrained = let_use(&[0]);
        for order in [Number::Place, Number::Minor] {
            // Numbers that count from 0 in the step.
            let variables = [("SLURM_STEP_GPUS", "3"), ("CUDA_VISIBLE_DEVICES", "0")];
            assert_eq!(chosen(&constrained, &variables, order), [0]);
            assert_eq!(chosen(&constrained, &[("SLURM_STEP_GPUS", "0")], order), [0]);
        }
        // A task is let use one of the step's two: of the ways to read the numbers, one has it.
        let bound = let_use(&[0]);
        for order in [Number::Place, Number::Minor] {
            assert_eq!(chosen(&bound, &[("SLURM_STEP_GPUS", "2,3")], order), [1, 0]);
        }
        // Of the job's three, a step was given one.
        let of_job = let_use(&[3, 2, 1]);
        assert_eq!(chosen(&of_job, &[("SLURM_STEP_GPUS", "3")], Number::Place), [3]);
        // None at all can be used: that is no constraint but a node that is shut.
        let shut = let_use(&[]);
        let given = StepGpus::of(&environ(&[("SLURM_STEP_GPUS", "3")])).unwrap();
        let error = given.among(&shut, Number::Minor).unwrap_err();
        assert!(error.contains("none that the step may use (0 of this node's 4)"), "{error}");
    }

    #[test]
    fn numbers_of_no_gpu_are_said() {
        let given = StepGpus::of(&environ(&[("SLURM_STEP_GPUS", "7")])).unwrap();
        let error = given.among(&gpus(&[1, 0]), Number::Place).unwrap_err();
        assert_eq!(
            error,
            "Slurm gave this step the GPUs 7, and this node has 2: none of such numbers"
        );
        let odd = StepGpus::of(&environ(&[("SLURM_STEP_GPUS", "NoDevFiles")])).unwrap();
        assert!(odd.among(&gpus(&[1, 0]), Number::Place).is_err());
    }
}

//! `NVIDIA_REQUIRE_*`: what an image says it needs, such as `cuda>=12.4 brand=tesla,driver>=535`: a
//! space is "or", a comma is "and", and several variables are all to be met.
//!
//! What cannot be known without asking the GPU itself is taken to be met: an image is refused only
//! where it certainly does not work.

use std::cmp::Ordering;

use super::super::compat::version;
use super::proc::Gpu;

/// The newest CUDA that a branch of the driver has, from NVIDIA's release notes.
const CUDA: [(u64, &str); 26] = [
    (390, "9.1"),
    (396, "9.2"),
    (410, "10.0"),
    (418, "10.1"),
    (440, "10.2"),
    (450, "11.0"),
    (455, "11.1"),
    (460, "11.2"),
    (465, "11.3"),
    (470, "11.4"),
    (495, "11.5"),
    (510, "11.6"),
    (515, "11.7"),
    (520, "11.8"),
    (525, "12.0"),
    (530, "12.1"),
    (535, "12.2"),
    (545, "12.3"),
    (550, "12.4"),
    (555, "12.5"),
    (560, "12.6"),
    (565, "12.7"),
    (570, "12.8"),
    (575, "12.9"),
    (580, "13.0"),
    (590, "13.1"),
];

/// The newest CUDA that works with a driver; `None` for one that is newer than what is known here.
pub(crate) fn cuda_of(driver: &str) -> Option<&'static str> {
    let branch = *version(driver)?.first()?;
    let (newest, _) = CUDA.last()?;
    let node = CUDA.iter().rev().find(|(node, _)| *node <= branch);
    (branch < newest + 10).then_some(())?;
    node.map(|(_, cuda)| *cuda)
}

/// What NVML may call the brand of a GPU of this name.
fn brands(model: &str) -> &'static [&'static str] {
    let has = |word: &str| model.to_ascii_lowercase().contains(word);
    match () {
        () if has("geforce") => &["geforce"],
        () if has("titan rtx") => &["titanrtx", "titan"],
        () if has("titan") => &["titan"],
        () if has("quadro rtx") => &["quadrortx", "quadro"],
        () if has("quadro") => &["quadro"],
        () if has("rtx") => &["nvidiartx", "quadrortx"],
        // A100 and later were renamed from one driver to the next.
        () => &["tesla", "nvidia", "unknown"],
    }
}

/// The facts of the node that requirements are compared with.
pub(super) struct NodeFacts<'a> {
    pub(super) driver: &'a str,
    pub(super) gpus: Vec<&'a Gpu>,
}

/// Fails with a line if a requirement is not met.
pub(super) fn check(node: &NodeFacts<'_>, requirements: &[(String, String)]) -> Result<(), String> {
    for (variable, value) in requirements {
        let mut terms = value.split_whitespace().peekable();
        if terms.peek().is_none() {
            continue;
        }
        let mut met = false;
        for term in terms {
            // Each is read, for what is wrong with it.
            let conditions = term.split(',').filter(|condition| !condition.is_empty());
            let conditions = conditions.map(|condition| {
                holds(node, condition)
                    .ok_or_else(|| format!("{variable}: {condition:?} is no condition"))
            });
            met |= conditions.collect::<Result<Vec<bool>, String>>()?.into_iter().all(|met| met);
        }
        if !met {
            let cuda = cuda_of(node.driver).map(|cuda| format!(" (CUDA {cuda})"));
            return Err(format!(
                "the image needs {value:?} ({variable}), and the driver of this node is {}{}; \
                 NVIDIA_DISABLE_REQUIRE=1 starts it all the same",
                node.driver,
                cuda.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Whether one condition holds, or may hold; `None` if it is none.
fn holds(node: &NodeFacts<'_>, condition: &str) -> Option<bool> {
    let at = condition.find(['<', '>', '=', '!'])?;
    let (property, rest) = condition.split_at(at);
    let operators = ["!=", "<=", ">=", "=", "<", ">"];
    let operator = operators.into_iter().find(|operator| rest.starts_with(operator))?;
    let value = &rest[operator.len()..];
    let versions = |have: Option<&str>| -> Option<bool> {
        let wanted = version(value)?;
        let Some(have) = have.and_then(version) else { return Some(true) };
        let order = have.cmp(&wanted);
        Some(match operator {
            "!=" => order != Ordering::Equal,
            "<=" => order != Ordering::Greater,
            ">=" => order != Ordering::Less,
            "=" => order == Ordering::Equal,
            "<" => order == Ordering::Less,
            _ => order == Ordering::Greater,
        })
    };
    match property {
        "driver" => versions(Some(node.driver)),
        "cuda" => versions(cuda_of(node.driver)),
        // What a GPU can compute, the kernel's part does not say.
        "arch" => versions(None),
        "brand" => {
            let brands = node.gpus.iter().map(|gpu| brands(&gpu.model));
            let may_be = |brands: &[&str]| match operator {
                "=" => brands.contains(&value),
                "!=" => brands.iter().any(|brand| *brand != value),
                _ => true,
            };
            Some(node.gpus.is_empty() || brands.into_iter().all(may_be))
        }
        // As NVIDIA's own do: a property that is not known says nothing.
        _ => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(model: &str) -> Gpu {
        Gpu { model: model.to_owned(), ..Gpu::default() }
    }

    fn checked(driver: &str, model: &str, value: &str) -> Result<(), String> {
        let gpu = gpu(model);
        let node = NodeFacts { driver, gpus: vec![&gpu] };
        check(&node, &[("NVIDIA_REQUIRE_CUDA".to_owned(), value.to_owned())])
    }

    #[test]
    fn what_an_image_needs() {
        // As CUDA's images have it.
        let image = "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=tesla,driver>=535,driver<536 \
                     brand=geforce,driver>=535,driver<536,cuda>=99.0";
        for (driver, model, expected) in [
            ("550.54.14", "NVIDIA H100 80GB HBM3", true),
            ("535.216.01", "NVIDIA H100 80GB HBM3", true),
            ("535.216.01", "Tesla V100-SXM2-16GB", true),
            ("535.216.01", "NVIDIA GeForce RTX 4090", false),
            ("525.147.05", "Tesla V100-SXM2-16GB", false),
            ("470.256.02", "Tesla V100-SXM2-16GB", true),
            ("999.1", "Tesla V100-SXM2-16GB", true),
        ] {
            assert_eq!(checked(driver, model, image).is_ok(), expected, "{driver} {model}");
        }
        let error = checked("525.147.05", "Tesla T4", "cuda>=12.4").unwrap_err();
        assert_eq!(
            error,
            "the image needs \"cuda>=12.4\" (NVIDIA_REQUIRE_CUDA), and the driver of this node is \
             525.147.05 (CUDA 12.0); NVIDIA_DISABLE_REQUIRE=1 starts it all the same"
        );
    }

    #[test]
    fn all_operators_and_properties() {
        for (value, expected) in [
            ("", true),
            ("driver=535.216.01", true),
            ("driver!=535.216.01", false),
            ("driver<535.216", false),
            ("driver>535.216", true),
            ("driver>=535.216.01,driver<=535.216.01", true),
            ("cuda=12.2", true),
            ("cuda<12.10", true),
            ("cuda>=12.2.0", true),
            ("arch>=9.0", true),
            ("brand!=tesla", true),
            ("brand=geforce", false),
            ("unknown>5", true),
        ] {
            assert_eq!(checked("535.216.01", "NVIDIA A100", value).is_ok(), expected, "{value}");
        }
        for wrong in ["cuda", "cuda>=x", "driver>=", "cuda>=12.2 nonsense"] {
            let error = checked("535.216.01", "NVIDIA A100", wrong).unwrap_err();
            assert!(error.contains("is no condition"), "{error}");
        }
        assert_eq!(
            (cuda_of("470.256.02"), cuda_of("999.1"), cuda_of("x")),
            (Some("11.4"), None, None)
        );
    }
}

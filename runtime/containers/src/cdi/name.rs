//! Names of devices, and which of them `NVIDIA_VISIBLE_DEVICES` means.

use std::fmt;
use std::str::FromStr;

use super::CdiError;

/// The kind that `NVIDIA_VISIBLE_DEVICES` is about.
const GPU: &str = "nvidia.com/gpu";
/// Every device of a kind.
pub(super) const ALL: &str = "all";

/// `VENDOR/CLASS=NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `VENDOR/CLASS`.
    pub kind: String,
    /// One of that kind, or `all`.
    pub device: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.device)
    }
}

impl FromStr for Name {
    type Err = CdiError;

    fn from_str(name: &str) -> Result<Name, CdiError> {
        let fail = |problem| CdiError::Name { name: name.to_owned(), problem };
        let (kind, device) = name.split_once('=').ok_or_else(|| fail("it has no \"=\""))?;
        check_kind(kind).map_err(fail)?;
        check_device(device).map_err(fail)?;
        Ok(Name { kind: kind.to_owned(), device: device.to_owned() })
    }
}

/// Whether `kind` is a `VENDOR/CLASS`.
pub(super) fn check_kind(kind: &str) -> Result<(), &'static str> {
    let (vendor, class) = kind.split_once('/').ok_or("the kind has no \"/\"")?;
    if !word(vendor, "_-.") || !vendor.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("the vendor is a letter, then letters, digits, \"_\", \"-\" and \".\"");
    }
    if !word(class, "_-.") || !class.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("the class is a letter, then letters, digits, \"_\", \"-\" and \".\"");
    }
    Ok(())
}

/// Whether `device` can be the name of one.
pub(super) fn check_device(device: &str) -> Result<(), &'static str> {
    if word(device, "_-.:") {
        Ok(())
    } else {
        Err(
            "a name is letters, digits, \"_\", \"-\", \".\" and \":\", and neither begins nor ends with a sign",
        )
    }
}

fn word(text: &str, signs: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || signs.contains(c))
}

/// What `NVIDIA_VISIBLE_DEVICES` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Nothing at all.
    Nothing,
    /// The driver, and no device.
    Driver,
    /// These.
    Devices(Vec<Name>),
}

impl Visible {
    /// Reads the variable's value: empty or `void`, `none`, `all`, or a list of indices, UUIDs,
    /// MIG devices and full names.
    ///
    /// # Errors
    /// [`CdiError::Name`].
    pub fn parse(value: &str) -> Result<Visible, CdiError> {
        match value.trim() {
            "" | "void" => return Ok(Visible::Nothing),
            "none" => return Ok(Visible::Driver),
            _ => {}
        }
        let mut names = Vec::new();
        for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            // Drivers before 470 name a MIG device so. No specification can.
            if item.starts_with("MIG-GPU-") && word(item, "-/") {
                names.push(Name { kind: GPU.to_owned(), device: item.to_owned() });
                continue;
            }
            names.push(match item.contains('=') {
                true => item.parse()?,
                false => format!("{GPU}={item}").parse().map_err(|error| match error {
                    CdiError::Name { problem, .. } => {
                        CdiError::Name { name: item.to_owned(), problem }
                    }
                    error => error,
                })?,
            });
        }
        Ok(if names.is_empty() { Visible::Nothing } else { Visible::Devices(names) })
    }

    /// The kind that [`Visible::Driver`] is of.
    pub fn kind() -> &'static str {
        GPU
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> Vec<String> {
        match Visible::parse(value).unwrap() {
            Visible::Devices(names) => names.iter().map(Name::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_variable_means() {
        for nothing in ["", " ", "void", ","] {
            assert_eq!(Visible::parse(nothing).unwrap(), Visible::Nothing, "{nothing:?}");
        }
        assert_eq!(Visible::parse("none").unwrap(), Visible::Driver);
        assert_eq!(names("all"), ["nvidia.com/gpu=all"]);
        assert_eq!(
            names("0, 2,1:0"),
            ["nvidia.com/gpu=0", "nvidia.com/gpu=2", "nvidia.com/gpu=1:0"]
        );
        assert_eq!(names("GPU-8d-1"), ["nvidia.com/gpu=GPU-8d-1"]);
        assert_eq!(names("amd.com/gpu=0"), ["amd.com/gpu=0"]);
        assert!(Visible::parse("0,../1").is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!("nvidia.com/gpu=0".parse::<Name>().is_ok());
        for (name, problem) in [
            ("gpu0", "no \"=\""),
            ("gpu=0", "no \"/\""),
            ("/gpu=0", "vendor"),
            ("1a/gpu=0", "vendor"),
            ("a/=0", "class"),
            ("a/b=", "a name is"),
            ("a/b=-0", "a name is"),
            ("a/b=x y", "a name is"),
        ] {
            let error = name.parse::<Name>().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}

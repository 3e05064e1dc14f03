//! enroot's start configuration: a bash script with the mounts, the variables and the hook of one
//! container.

use crate::options::Mount;
use crate::step::error::StepError;
use crate::step::plan::Plan;
use nix::sys::stat::{Mode, fchmod};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file, removed when dropped.
pub(crate) struct ConfFile(PathBuf);

/// The step's one file: whoever is killed while it is there, slurmstepd knows its name.
pub(crate) fn path(plan: &Plan) -> PathBuf {
    plan.squashfs.with_extension("conf")
}

impl ConfFile {
    /// Writes it to the user's runtime directory.
    pub(crate) fn write(plan: &Plan, mounts: &[Mount]) -> Result<ConfFile, StepError> {
        let path = path(plan);
        let failed = |source| StepError::Write { path: path.clone(), source };
        // Of a step of that number before the job was requeued.
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // Whatever the job's mask has taken from it: the runtime opens it, too.
        let _ = fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR);
        file.write_all(&script(plan, mounts)).map_err(failed)?;
        Ok(ConfFile(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ConfFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The image's command script changes to its directory and then reads `/etc/rc.local`. This runs on
/// the node's tree, where a link in the image would lead to a file of the user's.
const NO_ENTRYPOINT: &[u8] = br#"hooks() {
    local root="${ENROOT_ROOTFS}" etc="${ENROOT_ROOTFS}/etc"
    if [ -L "${etc}" ]; then
        case "$(readlink -f -- "${etc}")" in
            "$(readlink -f -- "${root}")"/*) ;;
            *) echo "/etc of the image is a link that leads out of it" >&2; exit 1 ;;
        esac
    fi
    rm -f -- "${etc}/rc.local"
    printf '%s\n' 'exec "$@"' > "${etc}/rc.local"
}
"#;

fn script(plan: &Plan, mounts: &[Mount]) -> Vec<u8> {
    let mut script = Vec::new();
    if !mounts.is_empty() {
        script.extend_from_slice(b"mounts() {\n");
        for mount in mounts {
            script.extend_from_slice(b"    printf '%s\\n' ");
            script.extend(quoted(&mount.fstab_line()));
            script.push(b'\n');
        }
        script.extend_from_slice(b"}\n");
    }
    if !plan.entrypoint {
        script.extend_from_slice(NO_ENTRYPOINT);
    }
    let names: Vec<_> = plan.env.iter().filter_map(|name| variable(name)).collect();
    if !names.is_empty() {
        script.extend_from_slice(b"environ() {\n");
        for name in names {
            let line =
                format!("    [ -z \"${{{name}-}}\" ] || printf '%s\\n' \"{name}=${{{name}}}\"\n");
            script.extend_from_slice(line.as_bytes());
        }
        script.extend_from_slice(b"}\n");
    }
    script
}

/// A name that a shell has as a variable.
fn variable(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?;
    let head = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (head && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')).then_some(name)
}

/// In single quotes, for a shell.
fn quoted(text: &OsStr) -> Vec<u8> {
    let mut out = vec![b'\''];
    for &byte in text.as_bytes() {
        if byte == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(byte);
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn a_shell_gets_back_what_was_quoted() {
        let hostile: OsString = "/a'$(touch x)`\"\\ b".into();
        let mut script = b"printf %s ".to_vec();
        script.extend(quoted(&hostile));
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(OsStr::from_bytes(&script))
            .output()
            .unwrap();
        assert_eq!(output.stdout, hostile.as_bytes());
    }

    #[test]
    fn only_names_of_variables_are_asked_for() {
        assert_eq!(variable(OsStr::new("PATH_2")), Some("PATH_2"));
        for bad in ["", "2A", "A-B", "A;rm", "A=B"] {
            assert_eq!(variable(OsStr::new(bad)), None, "{bad}");
        }
    }
}

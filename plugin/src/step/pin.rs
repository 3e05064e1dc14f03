//! One digest for all nodes of a step: what a tag names is looked up once, in srun, and sent to
//! the nodes in the job's environment, which take it out again.
//!
//! The command that is asked for it also has the nodes send each other the image's layers, where the site
//! wants that (`spread`).
//!
//! Where srun's host cannot ask the registry, each node asks for itself, as it does in a batch
//! script and for a step of one node.

use super::image::Image;
use crate::config::Config;
use crate::options::Options;
use crate::root::child::{Caller, Ending, Outcome, Patience};
use crate::root::user::Credentials;
use handover::request::Request;
use hygiene::userinfo::without_password;
use nix::libc::{self, SIG_DFL, SIG_SETMASK, SIG_UNBLOCK, SYS_rt_sigprocmask};
use nix::libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use nix::sys::signal::raise;
use nix::sys::wait::WaitStatus;
use nix::unistd::{getegid, geteuid, getgroups};
use spank_bindings::log;
use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A registry that does not answer must not keep a step from starting: seconds.
const LIMITS: [&CStr; 3] =
    [c"ENROOT_CONNECT_TIMEOUT=5", c"ENROOT_TRANSFER_TIMEOUT=10", c"ENROOT_TRANSFER_RETRIES=0"];

/// In srun, before the tasks are launched: whether there is something for the nodes to agree on.
pub(crate) fn is_wanted(config: &Config, options: &Options) -> bool {
    let nodes = ["SLURM_STEP_NUM_NODES", "SLURM_NNODES"].iter().find_map(std::env::var_os);
    let Some(asked) = options.image.as_ref() else { return false };
    let image = Image::parse(asked);
    matches!(image, Image::Remote { .. })
        && !(nodes.is_some_and(|nodes| nodes == "1")
            || config.importer.is_some()
            || image.is_daemon()
            || image.is_archive())
}

/// The variable's value, where that is so.
pub(crate) fn look_up(options: &Options, caller: Caller<'_>, program: &Path) -> Option<CString> {
    let asked = options.image.as_ref()?;
    let image = Image::parse(asked);
    let Image::Remote { uri, .. } = &image else { return None };
    let digest = ask(caller, program, uri).map_err(|why| {
        log::verbose!("pyxis: {}: each node looks it up: {why}", image.shown());
    });
    let mut value = digest.ok()?;
    value.push(b' ');
    value.extend_from_slice(&without_password(asked.as_bytes()));
    CString::new(value).ok()
}

unsafe extern "C" {
    #[link_name = "environ"]
    static ENVIRON: *const *const c_char;
}

/// The caller of the runtime's command in srun: the user, with what srun has, and not for long where a
/// registry does not answer.
pub(crate) struct SrunCaller {
    user: Credentials,
    environ: Vec<CString>,
}

impl SrunCaller {
    pub(crate) fn new() -> SrunCaller {
        let mut environ = Vec::new();
        // SAFETY: C's own list, of C strings up to null. std's way to it is 1 KiB, and waits for nobody but std itself; that nobody
        // changes it now is SAFETY.md, section 6.
        unsafe {
            let mut next = ENVIRON;
            while !next.is_null() && !(*next).is_null() {
                environ.push(CStr::from_ptr(*next).to_owned());
                next = next.add(1);
            }
        }
        // What comes last counts.
        environ.extend(LIMITS.map(CStr::to_owned));
        let user = Credentials {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect(),
        };
        SrunCaller { user, environ }
    }

    pub(crate) fn caller(&self) -> Caller<'_> {
        let (user, environ) = (&self.user, &self.environ);
        Caller { user, environ, patience: Patience::OfUser, cgroup: None }
    }
}

/// What ends srun, and as the kernel has a set of signals.
const SIGNALS: [u8; 4] = [SIGHUP as u8, SIGINT as u8, SIGQUIT as u8, SIGTERM as u8];
static ENDING: u64 = 0x4007;

fn ask(caller: Caller<'_>, program: &Path, uri: &OsStr) -> Result<Vec<u8>, String> {
    // srun's thread for signals takes these, and forgets them as long as there are no tasks to pass them on to. Meanwhile they
    // end it, and its shepherd gives back what it has of slurmctld. (With nix's sets of signals this is 0.5 KiB more.)
    let mut blocked = 0u64;
    // SAFETY: sets of 8 bytes. No code of ours handles a signal.
    unsafe {
        libc::syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &raw const ENDING, &raw mut blocked, 8);
        // These handlers of srun's are of what it has done, and it blocks the signals otherwise. That of 26.05 has others.
        if cfg!(not(slurm_ge_26_05)) {
            SIGNALS.iter().for_each(|signal| {
                libc::signal(i32::from(*signal), SIG_DFL);
            });
        }
    }
    let asked =
        caller.ask(program, &Request::Digest { uri }, &[], &mut |command| command.run_for_output());
    if let Ok(Outcome { ending: Ending::Status(WaitStatus::Signaled(_, signal, _)), .. }) = asked {
        // Whoever ends the command means all of it.
        if (ENDING >> (signal as i32 - 1)) & 1 == 1 {
            let _ = raise(signal);
        }
    }
    // SAFETY: as above.
    unsafe { libc::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &raw const blocked, 0, 8) };
    let outcome = asked.map_err(|error| error.to_string())?;
    let digest = outcome.output.trim_ascii();
    if outcome.success() && is_digest(digest) {
        return Ok(digest.to_vec());
    }
    Err(outcome.last_words())
}

/// On the node: the digest, if it is that of this image. Steps of a heterogeneous job share srun's
/// environment and may have images of their own.
pub(crate) fn digest_for(variable: &CStr, image: &OsString) -> Option<OsString> {
    let text = variable.to_bytes();
    let space = text.iter().position(|byte| *byte == b' ')?;
    let (digest, of) = (&text[..space], &text[space + 1..]);
    (of == &*without_password(image.as_bytes()) && is_digest(digest))
        .then(|| OsString::from_vec(digest.to_vec()))
}

fn is_digest(text: &[u8]) -> bool {
    text.strip_prefix(b"sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_taken_for_its_own_image_only() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let variable = CString::new(format!("{digest} host:5000#a b:1")).unwrap();
        let taken = |image: &str| digest_for(&variable, &OsString::from(image));
        assert_eq!(taken("host:5000#a b:1"), Some(OsString::from(&digest)));
        assert_eq!(taken("host:5000#a"), None);
        for broken in ["", "sha256:12 x", "x x", &digest[..70]] {
            let variable = CString::new(broken).unwrap();
            assert_eq!(digest_for(&variable, &OsString::from("x")), None, "{broken}");
        }
    }
}

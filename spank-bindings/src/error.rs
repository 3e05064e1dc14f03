//! What SPANK's functions report.

use crate::raw;
use std::fmt;

/// Why a call failed, the same for every release (their numbers differ).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// ESPANK_ERROR
    Generic,
    /// ESPANK_BAD_ARG
    BadArg,
    /// ESPANK_NOT_TASK
    NotTask,
    /// ESPANK_ENV_EXISTS
    EnvExists,
    /// ESPANK_ENV_NOEXIST
    EnvNoExist,
    /// ESPANK_NOSPACE
    NoSpace,
    /// ESPANK_NOT_REMOTE
    NotRemote,
    /// ESPANK_NOEXIST
    NoExist,
    /// ESPANK_NOT_EXECD
    NotExecd,
    /// ESPANK_NOT_AVAIL
    NotAvail,
    /// ESPANK_NOT_LOCAL
    NotLocal,
    /// A code this release of the bindings has no name for.
    Other(u32),
}

impl ErrorKind {
    fn of(code: raw::spank_err_t) -> ErrorKind {
        match code {
            raw::ESPANK_ERROR => ErrorKind::Generic,
            raw::ESPANK_BAD_ARG => ErrorKind::BadArg,
            raw::ESPANK_NOT_TASK => ErrorKind::NotTask,
            raw::ESPANK_ENV_EXISTS => ErrorKind::EnvExists,
            raw::ESPANK_ENV_NOEXIST => ErrorKind::EnvNoExist,
            raw::ESPANK_NOSPACE => ErrorKind::NoSpace,
            raw::ESPANK_NOT_REMOTE => ErrorKind::NotRemote,
            raw::ESPANK_NOEXIST => ErrorKind::NoExist,
            raw::ESPANK_NOT_EXECD => ErrorKind::NotExecd,
            raw::ESPANK_NOT_AVAIL => ErrorKind::NotAvail,
            raw::ESPANK_NOT_LOCAL => ErrorKind::NotLocal,
            other => ErrorKind::Other(other),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Generic => "failed",
            ErrorKind::BadArg => "bad argument",
            ErrorKind::NotTask => "not in the context of a task",
            ErrorKind::EnvExists => "environment variable exists",
            ErrorKind::EnvNoExist => "no such environment variable",
            ErrorKind::NoSpace => "no space for the value",
            ErrorKind::NotRemote => "only possible on the compute node (slurmstepd)",
            ErrorKind::NoExist => "no such id on this node",
            ErrorKind::NotExecd => "the tasks have not been started",
            ErrorKind::NotAvail => "not available from this hook",
            ErrorKind::NotLocal => "only possible in srun, sbatch and salloc",
            ErrorKind::Other(code) => return write!(f, "unknown error {code}"),
        })
    }
}

/// A SPANK call that failed: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpankError {
    call: &'static str,
    kind: ErrorKind,
}

impl SpankError {
    pub(crate) const fn new(call: &'static str, kind: ErrorKind) -> SpankError {
        SpankError { call, kind }
    }

    /// Why it failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for SpankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.kind)
    }
}

impl std::error::Error for SpankError {}

/// The code that `call` returned, as a result.
pub(crate) fn check(call: &'static str, code: raw::spank_err_t) -> Result<(), SpankError> {
    if code == raw::ESPANK_SUCCESS {
        Ok(())
    } else {
        Err(SpankError::new(call, ErrorKind::of(code)))
    }
}

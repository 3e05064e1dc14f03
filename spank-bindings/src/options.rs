//! Options that a plugin adds to srun, sbatch and salloc.

use crate::error::{ErrorKind, SpankError, check};
use crate::{Spank, export, raw};
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Whether an option takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasArg {
    /// `--name`
    No = 0,
    /// `--name=value`
    Required = 1,
    /// `--name` or `--name=value`
    Optional = 2,
}

/// Called with the option's `val`, its argument, and whether this is slurmstepd; an `Err` is
/// reported as one error line and makes Slurm refuse the option.
///
/// Slurm may call it more than once for one option on the command line.
pub type OptionCallback = fn(val: i32, arg: Option<&CStr>, remote: bool) -> Result<(), String>;

/// One option.
#[derive(Debug)]
pub struct OptionSpec {
    /// Without the dashes; at most SPANK_OPTION_MAXLEN bytes.
    pub name: &'static CStr,
    /// One word for its argument in `srun --help`.
    pub arginfo: Option<&'static CStr>,
    /// Its text in `srun --help`.
    pub usage: &'static CStr,
    /// Whether it takes an argument.
    pub has_arg: HasArg,
    /// Given to the callback.
    pub val: i32,
    /// Called when the option is used.
    pub callback: OptionCallback,
}

/// The registered table. Slurm gives its callbacks an int and no pointer: the place in this table.
static TABLE: Mutex<&'static [OptionSpec]> = Mutex::new(&[]);

impl Spank<'_> {
    /// Registers every option of `table`; only in the init hook.
    ///
    /// One table per plugin: a later call replaces the earlier table.
    pub fn register_options(&self, table: &'static [OptionSpec]) -> Result<(), SpankError> {
        *TABLE.lock().unwrap_or_else(PoisonError::into_inner) = table;
        for (index, spec) in table.iter().enumerate() {
            let call = "spank_option_register";
            let place =
                c_int::try_from(index).map_err(|_| SpankError::new(call, ErrorKind::BadArg))?;
            let mut option = spec.raw(place);
            // SAFETY: the handle is valid; Slurm copies the option and its strings.
            check(call, unsafe { raw::spank_option_register(self.raw, &raw mut option) })?;
        }
        Ok(())
    }
}

impl OptionSpec {
    /// Slurm's form of it; Slurm does not write through the pointers.
    fn raw(&self, val: c_int) -> raw::spank_option {
        raw::spank_option {
            name: self.name.as_ptr().cast_mut(),
            arginfo: self.arginfo.map_or(ptr::null_mut(), |text| text.as_ptr().cast_mut()),
            usage: self.usage.as_ptr().cast_mut(),
            has_arg: self.has_arg as c_int,
            val,
            cb: Some(trampoline),
        }
    }
}

/// What Slurm calls for every option.
unsafe extern "C" fn trampoline(val: c_int, optarg: *const c_char, remote: c_int) -> c_int {
    export::guard("option", &|| {
        let table = *TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = usize::try_from(val)
            .ok()
            .and_then(|place| table.get(place))
            .ok_or_else(|| format!("Slurm called for option {val}, which was never registered"))?;
        // SAFETY: Slurm gives null or a C string that outlives this call.
        let arg = (!optarg.is_null()).then(|| unsafe { CStr::from_ptr(optarg) });
        (spec.callback)(spec.val, arg, remote == 1)
    })
}

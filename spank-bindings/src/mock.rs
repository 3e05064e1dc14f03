//! A Slurm for tests, one per thread (feature `mock`): what a plugin asks, it answers from
//! [`Slurm`], and what a plugin does to it can be read there.
//!
//! ```
//! use spank_bindings::mock::{self, Item, Level};
//! mock::with(|slurm| {
//!     slurm.items.insert(spank_bindings::raw::S_JOB_UID, Item::Number(1000));
//!     slurm.env.insert("HOME".into(), "/home/me".into());
//! });
//! let spank = mock::handle();
//! assert_eq!(spank.job_uid(), Ok(1000));
//! spank_bindings::log::error!("pyxis: no");
//! assert_eq!(mock::take_lines(), [(Level::Error, "pyxis: no".to_owned())]);
//! ```

use crate::raw::{self, spank_err_t};
use crate::{Args, Spank, export};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::Display;
use std::ptr;

/// Which of Slurm's functions a line went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Info,
    Verbose,
    Debug,
    SpankLog,
}

/// The answer to one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Written in the width that the item has.
    Number(u64),
    /// Arguments or an environment.
    Strings(Vec<String>),
    /// Group ids.
    Gids(Vec<u32>),
    /// An error code (`raw::ESPANK_...`).
    Fails(spank_err_t),
}

/// An option that the plugin has registered.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Registered {
    pub name: String,
    pub arginfo: Option<String>,
    pub usage: String,
    pub has_arg: c_int,
    raw: raw::spank_option,
}

/// What the stand-ins know.
#[derive(Debug)]
pub struct Slurm {
    /// What `spank_context` returns; remote by default.
    pub context: raw::spank_context_t,
    /// Items it answers; any other is "not available from this hook".
    pub items: HashMap<raw::spank_item_t, Item>,
    /// The job's environment. Only there in the remote context.
    pub env: HashMap<String, String>,
    /// What was logged.
    pub lines: Vec<(Level, String)>,
    /// What was registered.
    pub options: Vec<Registered>,
    /// What was put in front of the task's command.
    pub prepended: Vec<String>,
}

impl Default for Slurm {
    fn default() -> Self {
        Slurm {
            context: raw::S_CTX_REMOTE,
            items: HashMap::new(),
            env: HashMap::new(),
            lines: Vec::new(),
            options: Vec::new(),
            prepended: Vec::new(),
        }
    }
}

thread_local! {
    static SLURM: RefCell<Slurm> = RefCell::default();
}

/// Looks at or changes this thread's Slurm.
pub fn with<R>(f: impl FnOnce(&mut Slurm) -> R) -> R {
    SLURM.with_borrow_mut(f)
}

/// Forgets everything.
pub fn reset() {
    with(|slurm| *slurm = Slurm::default());
}

/// The lines logged since the last call.
pub fn take_lines() -> Vec<(Level, String)> {
    with(|slurm| std::mem::take(&mut slurm.lines))
}

/// A handle on this thread's Slurm.
pub fn handle() -> Spank<'static> {
    // SAFETY: the stand-ins do not look at the handle.
    unsafe { Spank::from_raw(ptr::NonNull::dangling().as_ptr()) }
}

/// Runs a hook as Slurm would, with the arguments of a plugstack.conf line: 0 or -1.
pub fn call_hook<E: Display>(
    hook: impl Fn(&Spank<'_>, Args<'_>) -> Result<(), E>,
    args: &[&str],
) -> c_int {
    let args: Vec<CString> = args.iter().map(|arg| owned(arg)).collect();
    let mut argv: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    let ac = c_int::try_from(argv.len()).expect("few arguments");
    let raw = handle().raw;
    // SAFETY: a handle of ours, and `ac` C strings that live until the end of this function.
    unsafe { export::run_hook("pyxis", "hook", raw, ac, argv.as_mut_ptr(), hook) }
}

/// Uses an option as on a command line, and returns what its callback told Slurm.
pub fn use_option(name: &str, arg: Option<&str>, remote: bool) -> c_int {
    let find = |slurm: &mut Slurm| slurm.options.iter().position(|o| o.name == name);
    let place = with(find).unwrap_or_else(|| panic!("no option {name} was registered"));
    let option = with(|slurm| slurm.options[place].raw);
    let arg = arg.map(owned);
    let pointer = arg.as_ref().map_or(ptr::null(), |arg| arg.as_ptr());
    // SAFETY: the callback the plugin registered, called as Slurm does.
    unsafe { option.cb.expect("a callback")(option.val, pointer, c_int::from(remote)) }
}

fn owned(text: &str) -> CString {
    CString::new(text).expect("no NUL in a test's text")
}

/// # Safety
/// `text` is null or a C string.
unsafe fn string(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[unsafe(no_mangle)]
extern "C" fn pyxis_mock_log(level: c_int, line: *const c_char) {
    let level = match level {
        0 => Level::Error,
        1 => Level::Info,
        2 => Level::Verbose,
        3 => Level::Debug,
        _ => Level::SpankLog,
    };
    // SAFETY: mock.c gives a C string.
    let line = unsafe { string(line) }.unwrap_or_default();
    with(|slurm| slurm.lines.push((level, line)));
}

#[unsafe(no_mangle)]
extern "C" fn pyxis_mock_context() -> raw::spank_context_t {
    with(|slurm| slurm.context)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pyxis_mock_item(
    item: raw::spank_item_t,
    first: *mut c_void,
    second: *mut c_void,
) -> spank_err_t {
    let Some(answer) = with(|slurm| slurm.items.get(&item).cloned()) else {
        return raw::ESPANK_NOT_AVAIL;
    };
    // SAFETY: the caller passes what the item asks for: the widths below, or pointers. Strings
    // and arrays are leaked: Slurm's outlive the hook, too.
    unsafe {
        match answer {
            Item::Fails(code) => return code,
            Item::Number(n) => match item {
                raw::S_STEP_ALLOC_MEM => *first.cast::<u64>() = n,
                _ => *first.cast::<u32>() = n as u32,
            },
            Item::Strings(all) => {
                let count = all.len() as c_int;
                let mut pointers: Vec<_> = all.iter().map(|s| owned(s).into_raw()).collect();
                pointers.push(ptr::null_mut());
                let array = pointers.leak().as_mut_ptr();
                if item == raw::S_JOB_ARGV {
                    *first.cast::<c_int>() = count;
                    *second.cast::<*mut *mut c_char>() = array;
                } else {
                    *first.cast::<*mut *mut c_char>() = array;
                }
            }
            Item::Gids(gids) => {
                *second.cast::<c_int>() = gids.len() as c_int;
                *first.cast::<*mut u32>() = gids.leak().as_mut_ptr();
            }
        }
    }
    raw::ESPANK_SUCCESS
}

/// The job's environment, or the code Slurm returns for it in this context.
fn environment(slurm: &mut Slurm) -> Result<&mut HashMap<String, String>, spank_err_t> {
    match slurm.context == raw::S_CTX_REMOTE {
        true => Ok(&mut slurm.env),
        false => Err(raw::ESPANK_NOT_REMOTE),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pyxis_mock_getenv(
    name: *const c_char,
    buffer: *mut c_char,
    length: c_int,
) -> spank_err_t {
    // SAFETY: the caller gives a C string.
    let name = unsafe { string(name) }.unwrap_or_default();
    let found = with(|slurm| environment(slurm).map(|env| env.get(&name).cloned()));
    let value = match found {
        Ok(Some(value)) => owned(&value),
        Ok(None) => return raw::ESPANK_ENV_NOEXIST,
        Err(code) => return code,
    };
    let bytes = value.as_bytes_with_nul();
    let room = usize::try_from(length).unwrap_or(0);
    let part = bytes.len().min(room);
    // SAFETY: the caller's buffer has `length` bytes.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), part) };
    if part < bytes.len() { raw::ESPANK_NOSPACE } else { raw::ESPANK_SUCCESS }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pyxis_mock_setenv(
    name: *const c_char,
    value: *const c_char,
    overwrite: c_int,
) -> spank_err_t {
    // SAFETY: the caller gives C strings.
    let (name, value) = unsafe { (string(name), string(value)) };
    let (Some(name), Some(value)) = (name, value) else { return raw::ESPANK_BAD_ARG };
    with(|slurm| match environment(slurm) {
        Ok(env) if overwrite == 0 && env.contains_key(&name) => raw::ESPANK_ENV_EXISTS,
        Ok(env) => {
            env.insert(name, value);
            raw::ESPANK_SUCCESS
        }
        Err(code) => code,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pyxis_mock_unsetenv(name: *const c_char) -> spank_err_t {
    // SAFETY: the caller gives a C string.
    let name = unsafe { string(name) }.unwrap_or_default();
    with(|slurm| match environment(slurm) {
        Ok(env) => {
            env.remove(&name);
            raw::ESPANK_SUCCESS
        }
        Err(code) => code,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pyxis_mock_register(option: *mut raw::spank_option) -> spank_err_t {
    // SAFETY: the caller gives an option whose strings are null or C strings.
    let registered = unsafe {
        let raw = *option;
        Registered {
            name: string(raw.name).unwrap_or_default(),
            arginfo: string(raw.arginfo),
            usage: string(raw.usage).unwrap_or_default(),
            has_arg: raw.has_arg,
            raw,
        }
    };
    if registered.name.len() > raw::SPANK_OPTION_MAXLEN as usize {
        return raw::ESPANK_NOSPACE;
    }
    with(|slurm| slurm.options.push(registered));
    raw::ESPANK_SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pyxis_mock_prepend(argc: c_int, argv: *const *const c_char) -> spank_err_t {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the caller gives `argc` C strings.
    let all = (0..count).filter_map(|i| unsafe { string(*argv.add(i)) }).collect();
    with(|slurm| slurm.prepended = all);
    raw::ESPANK_SUCCESS
}

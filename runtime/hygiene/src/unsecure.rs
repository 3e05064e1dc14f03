//! Variables that make a program run other code than its own, or read and write other files: the
//! job's program may want them, programs that the runtime executes outside of the container do not.
//!
//! What glibc takes from programs with more rights than their caller (`sysdeps/generic/unsecvars.h`),
//! by prefix where it has many of a kind, and the like of the shells and interpreters that hooks and
//! credential helpers are written in. `TMPDIR` stays: it says where there is room.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// Whole families: the loader's, malloc's, glibc's tunables, functions that bash imports. (Lists are
/// text: in the plugin each item of an array would be one more address to relocate.)
const PREFIXES: &[u8] = b"LD_ MALLOC_ GLIBC_ RESOLV_ BASH_FUNC_ PYTHON PERL RUBY";

/// glibc's; those of shells; those of interpreters and libraries that load what a variable names.
const NAMES: &[u8] = b"GCONV_PATH GETCONF_DIR HOSTALIASES LOCALDOMAIN LOCPATH NIS_PATH NLSPATH RES_OPTIONS TZDIR \
    BASH_ENV BASHOPTS CDPATH ENV FPATH GLOBIGNORE IFS NULLCMD PS4 READNULLCMD SHELLOPTS ZDOTDIR \
    GIO_EXTRA_MODULES JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS LUA_INIT LUA_PATH NODE_OPTIONS OPENSSL_CONF \
    OPENSSL_ENGINES OPENSSL_MODULES _JAVA_OPTIONS";

/// Whether a program outside of the container is not to get the variable `name`.
pub fn is_unsecure(name: &[u8]) -> bool {
    is_among(NAMES, name) || words(PREFIXES).any(|prefix| name.starts_with(prefix))
}

/// Whether the list, text with blanks, has the word.
pub fn is_among(list: &[u8], word: &[u8]) -> bool {
    words(list).any(|have| have == word)
}

fn words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b' ')
}

/// A program that runs outside of the container, with this process's environment but for what
/// [`is_unsecure`].
#[expect(clippy::disallowed_methods, reason = "what children do not get is in nobody else's hands")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if is_unsecure(name.as_bytes()) {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// As of glibc 2.41.
    const OF_GLIBC: &str = "GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES LD_AUDIT LD_BIND_NOT \
        LD_BIND_NOW LD_DEBUG LD_DEBUG_OUTPUT LD_DYNAMIC_WEAK LD_HWCAP_MASK LD_LIBRARY_PATH \
        LD_ORIGIN_PATH LD_PRELOAD LD_PROFILE LD_PROFILE_OUTPUT LD_SHOW_AUXV LD_VERBOSE LD_WARN \
        LOCALDOMAIN LOCPATH MALLOC_ARENA_MAX MALLOC_ARENA_TEST MALLOC_CHECK_ MALLOC_MMAP_MAX_ \
        MALLOC_MMAP_THRESHOLD_ MALLOC_PERTURB_ MALLOC_TCACHE_COUNT MALLOC_TOP_PAD_ MALLOC_TRACE \
        MALLOC_TRIM_THRESHOLD_ NIS_PATH NLSPATH RESOLV_HOST_CONF RES_OPTIONS TZDIR";

    #[test]
    fn what_glibc_calls_unsecure_is() {
        for name in OF_GLIBC.split_whitespace() {
            assert!(is_unsecure(name.as_bytes()), "{name}");
        }
        for name in ["BASH_ENV", "ENV", "BASH_FUNC_echo%%", "PERL5OPT", "PYTHONPATH"] {
            assert!(is_unsecure(name.as_bytes()), "{name}");
        }
        for name in ["HOME", "PATH", "LD", "TMPDIR", "ENROOT_DATA_PATH", "SSL_CERT_FILE", "LANG"] {
            assert!(!is_unsecure(name.as_bytes()), "{name}");
        }
    }

    /// Programs are executed by [`command`], but for those in the container, which get its
    /// environment, and hooks of devices, which get what the site's specification says.
    #[test]
    fn no_program_is_executed_otherwise() {
        const OTHERS: [&str; 6] = [
            "hygiene/src/unsecure.rs",
            "containers/src/verbs/exec.rs",
            "containers/src/launch/mod.rs",
            // Compiled for tests only.
            "containers/src/devices/tree.rs",
            "containers/src/start/environment/device_hooks.rs",
            "pyxis/src/doctor/ask.rs",
        ];
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let pattern = source.join("*/src/**/*.rs");
        let mut found = Vec::new();
        for path in glob::glob(&pattern.to_string_lossy()).unwrap() {
            let path = path.unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            if code.replace("clap::Command::new", "").contains("Command::new(") {
                found.push(path.strip_prefix(source).unwrap().to_string_lossy().into_owned());
            }
        }
        found.retain(|name| !OTHERS.contains(&name.as_str()));
        assert!(found.is_empty(), "std::process::Command::new in {found:?}");
    }
}

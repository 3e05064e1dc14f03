//! A C file that compiles only against a header that is what the facts say.

use slurm_releases::Release;
use std::fmt::Write;

/// The text of the probe: each assertion names what it found wrong.
/// With `conf` there is a slurm.h as well.
pub(crate) fn source(f: &Release, conf: bool) -> String {
    let mut out = String::from(
        "#include <stddef.h>\n#include <slurm/spank.h>\n\
         #define SAME(what, value) _Static_assert((what) == (value), #what \" is not \" #value)\n",
    );
    for list in [f.items, f.contexts] {
        for (value, name) in list.iter().enumerate() {
            let _ = writeln!(out, "SAME({name}, {value});");
        }
    }
    let _ = writeln!(out, "SAME(ESPANK_SUCCESS, 0);");
    for (name, value) in f.errors {
        let _ = writeln!(out, "SAME({name}, {value});");
    }
    let _ = writeln!(out, "SAME(SPANK_OPTION_MAXLEN, {});", f.option_maxlen);
    layout(&mut out);
    if conf {
        let _ = writeln!(out, "#include <slurm/slurm.h>");
        let place = f.task_prolog;
        let _ = writeln!(out, "SAME(offsetof(slurm_conf_t, task_prolog), {place});");
    }

    // Named first, so that one the header lacks is an error; declared again, so that one of
    // another type is.
    let _ = writeln!(out, "const void *const probe_names[] = {{");
    for name in f.functions.iter().chain(f.hooks).chain(f.data) {
        let _ = writeln!(out, "    (const void *)&{name},");
    }
    let _ = writeln!(out, "}};");
    f.prototypes.iter().for_each(|prototype| {
        let _ = writeln!(out, "extern {prototype};");
    });
    for hook in f.hooks {
        let _ = writeln!(out, "extern int {hook}(spank_t spank, int ac, char *argv[]);");
    }
    f.data.iter().for_each(|name| {
        let _ = writeln!(out, "extern int {name};");
    });
    out
}

/// `struct spank_option`, for 64-bit targets, and the sizes of what goes through pointers.
fn layout(out: &mut String) {
    let fields =
        [("name", 0), ("arginfo", 8), ("usage", 16), ("has_arg", 24), ("val", 28), ("cb", 32)];
    for (name, offset) in fields {
        let _ = writeln!(out, "SAME(offsetof(struct spank_option, {name}), {offset});");
    }
    for (what, size) in [
        ("struct spank_option", 40),
        ("spank_t", 8),
        ("spank_err_t", 4),
        ("spank_item_t", 4),
        ("spank_context_t", 4),
        ("spank_opt_cb_f", 8),
    ] {
        let _ = writeln!(out, "SAME(sizeof({what}), {size});");
    }
    let _ = writeln!(out, "extern int probe_callback(int val, const char *optarg, int remote);");
    let _ = writeln!(out, "const spank_opt_cb_f probe_cb = probe_callback;");
}

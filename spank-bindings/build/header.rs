//! Writes a minimal spank.h from the facts of a release.
//!
//! Slurm's own header is under the GPL and is not carried here; names, numbers and prototypes are
//! enough for bindgen to give the same bytes (tests/real_headers.rs holds it to that).

use slurm_releases::Release;
use std::fmt::Write;

/// The text of `slurm/spank.h`.
pub(crate) fn spank_h(f: &Release) -> String {
    let mut out = String::from("#include <slurm/slurm_version.h>\n");
    // Order decides the order of the bindings: a shared error enum comes with an #include.
    let own_errors = f.error_type.starts_with("enum ");
    if !own_errors {
        line(&mut out, &errors(f));
    }
    line(&mut out, "typedef struct spank_handle *spank_t;");
    line(&mut out, "typedef int (spank_f)(spank_t spank, int ac, char *argv[]);");
    let mut hooks = f.hooks.iter();
    // Data follow the first hook, as in Slurm's header.
    if let Some(first) = hooks.next() {
        line(&mut out, &format!("extern spank_f {first};"));
    }
    f.data.iter().for_each(|name| line(&mut out, &format!("extern int {name};")));
    hooks.for_each(|name| line(&mut out, &format!("extern spank_f {name};")));

    line(&mut out, &format!("enum spank_item {{ {} }};", f.items.join(", ")));
    line(&mut out, "typedef enum spank_item spank_item_t;");
    if own_errors {
        line(&mut out, &errors(f));
    }
    line(&mut out, &format!("typedef {} spank_err_t;", f.error_type));
    line(&mut out, &format!("enum spank_context {{ {} }};", f.contexts.join(", ")));
    line(&mut out, "typedef enum spank_context spank_context_t;");
    line(&mut out, "typedef int (*spank_opt_cb_f)(int val, const char *optarg, int remote);");
    line(
        &mut out,
        "struct spank_option { char *name; char *arginfo; char *usage; int has_arg; int val; \
         spank_opt_cb_f cb; };",
    );
    line(&mut out, &format!("#define SPANK_OPTION_MAXLEN {}", f.option_maxlen));
    f.prototypes.iter().for_each(|prototype| line(&mut out, &format!("extern {prototype};")));
    out
}

/// The text of `slurm/slurm_version.h`.
pub(crate) fn version_h(number: u32) -> String {
    format!("#define SLURM_VERSION_NUMBER {number:#08x}\n")
}

/// 20.11 has an enum of its own; later releases share one with all of Slurm, success is a macro.
fn errors(f: &Release) -> String {
    let mut values = String::new();
    for (name, value) in f.errors {
        let _ = write!(values, "{name} = {value}, ");
    }
    match f.error_type.strip_prefix("enum ") {
        Some(tag) => format!("enum {tag} {{ ESPANK_SUCCESS = 0, {values}}};"),
        None => format!("#define ESPANK_SUCCESS 0\ntypedef enum {{ {values}}} {};", f.error_type),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

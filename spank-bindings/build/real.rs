//! The interface of a header at hand: checked by the C compiler, read by bindgen.

use crate::{header, probe, write};
use bindgen::callbacks::{EnumVariantCustomBehavior, EnumVariantValue, ParseCallbacks};
use slurm_releases::Release;
use slurm_releases::header::{release_name, version_number};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The value of SLURM_SPANK_INCLUDE that stands for a header written from the facts themselves:
/// how the committed bindings are made.
const FROM_FACTS: &str = "facts";

/// The variable by which `build-matrix diff` asks for the bindings of any header, whatever its release
/// and whether or not a plugin could be built with it.
const COMPARE: &str = "SLURM_SPANK_COMPARE";

/// Bindings and SLURM_VERSION_NUMBER of the header below SLURM_SPANK_INCLUDE.
pub(crate) fn interface(f: &Release, out: &Path) -> Result<(String, u32), String> {
    let given = env::var_os("SLURM_SPANK_INCLUDE").ok_or(
        "the feature `real-header` needs SLURM_SPANK_INCLUDE=DIR, where DIR/slurm/spank.h is the \
         header of the Slurm to build for",
    )?;
    let include = if given == FROM_FACTS { from_facts(f, out)? } else { PathBuf::from(given) };
    println!("cargo::rerun-if-changed={}", include.join("slurm").display());

    let number = version_number(&include).ok_or_else(|| {
        format!(
            "no SLURM_VERSION_NUMBER in {0}/slurm/slurm_version.h or slurm.h: is \
             SLURM_SPANK_INCLUDE right? For a source tree there is `build-matrix build --slurm`",
            include.display()
        )
    })?;
    println!("cargo::rerun-if-env-changed={COMPARE}");
    if env::var_os(COMPARE).is_some() {
        // The crate is empty then: what it says about functions may not hold.
        println!("cargo::rustc-cfg=compared");
        return Ok((bindings(&include)?, number));
    }
    let found = release_name(number);
    if found != f.name {
        return Err(format!(
            "the header in {} is Slurm {found}, but {} was asked for: ask for {found}, or give the \
             headers of {}",
            include.display(),
            f.name,
            f.name
        ));
    }
    compile_probe(f, &include, out)?;
    Ok((bindings(&include)?, number))
}

fn from_facts(f: &Release, out: &Path) -> Result<PathBuf, String> {
    let include = out.join("facts");
    fs::create_dir_all(include.join("slurm")).map_err(|e| format!("{}: {e}", include.display()))?;
    write(&include.join("slurm/spank.h"), &header::spank_h(f))?;
    write(&include.join("slurm/slurm_version.h"), &header::version_h(f.number))?;
    Ok(include)
}

/// Compiles the probe; the compiler's own words say what differs.
fn compile_probe(f: &Release, include: &Path, out: &Path) -> Result<(), String> {
    let source = out.join("probe.c");
    let conf = include.join("slurm/slurm.h").exists();
    write(&source, &probe::source(f, conf))?;
    let mut build = cc::Build::new();
    build.file(&source).include(include).cargo_metadata(false).cargo_warnings(false);
    let mut command = build.get_compiler().to_command();
    // Not -fsyntax-only: zig, which packages are built with, looks for the object.
    command.arg("-I").arg(include).arg("-c").arg(&source).arg("-o").arg(out.join("probe.o"));
    let run = command.output().map_err(|e| format!("cannot run the C compiler: {e}"))?;
    if run.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&run.stderr);
    let faults: Vec<&str> = words.lines().filter(|line| line.contains("error:")).collect();
    for fault in &faults {
        println!("cargo::error={fault}");
    }
    Err(format!(
        "{}/slurm/spank.h is not the interface of Slurm {} that this plugin relies on ({} faults)",
        include.display(),
        f.name,
        faults.len()
    ))
}

/// Hides what Slurm's own error enum holds beside SPANK's codes.
#[derive(Debug)]
struct SpankErrorsOnly;

impl ParseCallbacks for SpankErrorsOnly {
    fn enum_variant_behavior(
        &self,
        _enum: Option<&str>,
        variant: &str,
        _value: EnumVariantValue,
    ) -> Option<EnumVariantCustomBehavior> {
        let known = ["ESPANK_", "S_"].iter().any(|prefix| variant.starts_with(prefix));
        (!known).then_some(EnumVariantCustomBehavior::Hide)
    }
}

fn bindings(include: &Path) -> Result<String, String> {
    // bindgen panics where it finds no libclang.
    let result = std::panic::catch_unwind(|| builder(include).generate()).map_err(|_| {
        "bindgen reads spank.h with libclang, which is not here: install libclang-dev (Debian) or \
         clang-libs (RPM), or build without a header"
            .to_owned()
    })?;
    let text = result
        .map_err(|e| format!("bindgen on {}/slurm/spank.h: {e}", include.display()))?
        .to_string();
    Ok(format!("// Made by bindgen (`build-matrix bindings`). Do not edit.\n{text}"))
}

fn builder(include: &Path) -> bindgen::Builder {
    bindgen::Builder::default()
        .header_contents("wrapper.h", "#include <slurm/spank.h>\n")
        .clang_arg(format!("-I{}", include.display()))
        .allowlist_function("spank_.*|slurm_spank_.*|slurm_(info|error|verbose|debug[23]?)")
        .allowlist_type("spank_.*")
        .allowlist_var("S_.*|ESPANK_.*|SPANK_OPTION_MAXLEN|slurm_spank_.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .parse_callbacks(Box::new(SpankErrorsOnly))
        .generate_comments(false)
        .disable_header_comment()
        .layout_tests(true)
        .use_core()
        .merge_extern_blocks(true)
        .sort_semantically(true)
        .rust_target(bindgen::RustTarget::stable(85, 0).unwrap_or_default())
        .rust_edition(bindgen::RustEdition::Edition2024)
        .formatter(bindgen::Formatter::Prettyplease)
}

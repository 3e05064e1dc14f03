//! Which build is taken, and what Slurm sees of it.

mod common;

use common::{B24, B25, Build, Tree, compile_host, host, loader, said};
use object::{Object, ObjectSymbol};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn the_build_for_the_running_slurm_is_taken() {
    let tree = Tree::new(&[B24, B25]);
    let old = tree.load(42);
    assert!(old.contains("name pyxis type spank version 0x180b07\n"), "{old}");
    // The arguments arrive: host has three.
    assert!(old.contains("slurm_spank_init returns 103\n"), "{old}");
    // What the build lacks is not there.
    assert!(!old.contains("epilog") && !old.contains("failure mode"), "{old}");
    assert!(!old.contains("error") && old.contains("again 0x180b07\n"), "{old}");

    let new = tree.load(43);
    assert!(new.contains("version 0x190508\n"), "{new}");
    assert!(new.contains("slurm_spank_job_epilog returns 7\n"), "{new}");
    assert!(new.contains("failure mode 3012\n"), "{new}");
}

#[test]
fn no_build_means_a_plugin_that_no_slurm_takes() {
    let tree = Tree::new(&[B24, B25]);
    let none = tree.load(38);
    assert!(none.contains("version 0\n"), "{none}");
    // Releases that compare no versions refuse a plugin without hooks.
    assert!(!none.contains("returns"), "{none}");
    let dir = tree.dir.path().join("lib/pyxis");
    let line = format!(
        "error: pyxis: no build for this Slurm (22.05) in {}: install the package \
         pyxis-slurm22.05; installed: 24.11, 25.05\n",
        dir.display()
    );
    assert!(none.contains(&line), "{none}");

    let newer = tree.load(99);
    assert!(newer.contains("(API 99)") && newer.contains("install a newer pyxis"), "{newer}");
    let older = tree.load(12);
    assert!(older.contains("this release is not supported"), "{older}");

    let empty = Tree::new(&[]).load(42);
    assert!(empty.contains("pyxis-slurm24.11; installed: none"), "{empty}");
}

/// As a recipe copies the one file, or mounts it into a jail of its own.
#[test]
#[ignore = "needs root, who alone can mount"]
fn a_loader_elsewhere_finds_the_builds_that_packages_have_installed() {
    let tree = Tree::new(&[B24, B25]);
    let dir = tree.dir.path();
    fs::create_dir_all(dir.join("opt/pyxis")).unwrap();
    let copy = dir.join("opt/pyxis/spank_pyxis.so");
    fs::copy(loader(), &copy).unwrap();
    compile_host(&[], &dir.join("host"));
    // Packages' directory with builds in it, for this process alone.
    let script = "mkdir $1/layer; mount -t tmpfs layer $1/layer; mkdir $1/layer/upper $1/layer/work
        cp -R $1/lib/pyxis $1/layer/upper/pyxis; chmod -R go-w $1/layer/upper/pyxis
        mount -t overlay overlay -o lowerdir=$2,upperdir=$1/layer/upper,workdir=$1/layer/work $2
        exec $1/host $3 $4";
    let installed = if cfg!(target_arch = "aarch64") {
        "/usr/lib/aarch64-linux-gnu"
    } else {
        "/usr/lib/x86_64-linux-gnu"
    };
    let load = |api: &str, plugin: &std::path::Path| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-ec", script, "sh"]).arg(dir).arg(installed).arg(api);
        said(command.arg(plugin))
    };
    let found = load("42", &copy);
    assert!(found.contains("version 0x180b07\n") && !found.contains("error"), "{found}");
    fs::remove_dir(dir.join("layer")).unwrap();
    // The original's file, kept beside it, is no build.
    fs::create_dir_all(dir.join("opt/pyxis/original")).unwrap();
    fs::write(dir.join("opt/pyxis/original/spank_pyxis.so"), "").unwrap();
    let found = load("42", &copy);
    assert!(found.contains("version 0x180b07\n") && !found.contains("error"), "{found}");
    fs::remove_dir_all(dir.join("opt/pyxis/original")).unwrap();
    fs::remove_dir(dir.join("layer")).unwrap();
    let missing = load("38", &copy);
    let line = format!("no build for this Slurm (22.05) in {installed}/pyxis: install");
    assert!(missing.contains(&line) && missing.contains("installed: 24.11, 25.05"), "{missing}");
    // Without packages, what is missing is what was looked for first.
    let none = host(&[], "42", &copy);
    assert!(none.contains(&format!("in {}/opt/pyxis: install", dir.display())), "{none}");
}

#[test]
fn a_process_without_slurm_is_told_so_on_stderr() {
    let tree = Tree::new(&[B24]);
    let text = host(&["-DNO_SLURM"], "0", &tree.loader());
    assert!(text.contains("pyxis: not loaded by Slurm"), "{text}");
    assert!(text.contains("version 0\n"), "{text}");
}

#[test]
fn of_two_builds_for_one_slurm_the_last_by_name_is_taken() {
    let tree = Tree::new(&[B24]);
    tree.add_as("24.11-site", &Build { number: "0x180b01", ..B24 });
    assert!(tree.load(42).contains("version 0x180b01\n"));
    // A sound one rather than a faulty one, whatever its name.
    fs::write(tree.build("24.11-site"), "").unwrap();
    assert!(tree.load(42).contains("version 0x180b07\n"));
}

#[test]
fn links_to_the_loader_and_to_a_build_are_followed() {
    let tree = Tree::new(&[B24]);
    let link = tree.dir.path().join("elsewhere.so");
    symlink(tree.loader(), &link).unwrap();
    assert!(host(&[], "42", &link).contains("version 0x180b07\n"));

    let real = tree.dir.path().join("real.so");
    fs::rename(tree.build("24.11"), &real).unwrap();
    symlink(&real, tree.build("24.11")).unwrap();
    assert!(tree.load(42).contains("version 0x180b07\n"));
}

#[test]
fn it_is_small_and_exports_what_slurm_looks_up() {
    let file = fs::read(loader()).unwrap();
    assert!(file.len() <= 100 * 1024, "{} bytes", file.len());
    let elf = object::File::parse(&*file).unwrap();
    let symbols = elf.dynamic_symbols().filter(|symbol| !symbol.is_undefined());
    let mut exports: Vec<_> = symbols.map(|symbol| symbol.name().unwrap()).collect();
    exports.sort_unstable();
    let mut expected = vec![
        "plugin_name",
        "plugin_type",
        "plugin_version",
        "slurm_spank_init_failure_mode",
        "spank_options",
        "spank_plugin_version",
    ];
    let newest = slurm_releases::RELEASES.last().unwrap();
    expected.extend(newest.hooks);
    expected.sort_unstable();
    assert_eq!(exports, expected);
}

/// The bound is 1 ms; printed with --nocapture.
#[test]
fn it_costs_less_than_a_millisecond() {
    let tree = Tree::new(&[]);
    for release in slurm_releases::RELEASES {
        let number = format!("{:#x}", release.number);
        let (slurm, api) = (release.name, release.api);
        tree.add(&Build { slurm, api, number: &number, options: &[] });
    }
    let median = |plugin| {
        let us = |text: String| -> i64 {
            text.lines().find_map(|l| l.strip_prefix("us ")).unwrap().parse().unwrap()
        };
        let mut times: Vec<i64> = (0..15).map(|_| us(host(&[], "42", plugin))).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (through, direct) = (median(&tree.loader()), median(&tree.build("24.11")));
    println!("{through} us through the loader, {direct} us directly");
    assert!(through - direct < 1000, "{through} us and {direct} us");
}

//! The epilog is there only where the line of plugstack.conf asks for it: the plugin as slurmd opens it, with that file open.

#![allow(clippy::disallowed_methods)] // No daemon runs this.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stands in for slurmd: opens the files that follow, then the plugin, and says which of its hooks it finds.
const HOST: &str = r#"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (open(argv[i], O_RDONLY | O_CLOEXEC) < 0)
			return 1;
	void *plugin = dlopen(argv[1], RTLD_LAZY);
	if (!plugin) {
		puts(dlerror());
		return 1;
	}
	printf("%s %s\n", dlsym(plugin, "slurm_spank_init") ? "init" : "-",
	       dlsym(plugin, "slurm_spank_job_epilog") ? "epilog" : "-");
	return 0;
}
"#;

/// The .so that cargo has built beside this program.
fn plugin() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.parent().unwrap().join("libspank_pyxis.so");
    assert!(file.exists(), "{}", file.display());
    file
}

/// What a program of that name finds, with these files open.
fn finds(dir: &Path, program: &str, open: &[&str]) -> String {
    let (source, file) = (dir.join("host.c"), dir.join(program));
    if !file.exists() {
        fs::write(&source, HOST).unwrap();
        let mut cc = Command::new("cc");
        cc.arg("-o").arg(&file).arg(&source).arg("-ldl");
        assert!(cc.status().unwrap().success());
    }
    let mut host = Command::new(&file);
    host.arg(plugin());
    for (number, text) in open.iter().enumerate() {
        let conf = dir.join(format!("plugstack.{number}"));
        fs::write(&conf, text).unwrap();
        host.arg(conf);
    }
    let output = host.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.trim().to_owned()
}

#[test]
fn slurmd_finds_an_epilog_only_where_the_line_asks_for_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("epilog");
    fs::create_dir_all(&dir).unwrap();
    let line = |arguments: &str| format!("required /usr/lib/slurm/spank_pyxis.so {arguments}\n");
    let (plain, global, job) =
        (line(""), line("container_scope=global"), line("runtime=pyxis container_scope=job"));
    let include = "include /etc/slurm/plugstack.conf.d/*\n";
    for (program, open, expected) in [
        ("slurmd", &[include, &plain][..], "init -"),
        ("slurmd", &[&global], "init -"),
        ("slurmd", &[include, &job], "init epilog"),
        ("slurmd", &[&job], "init epilog"),
        ("slurmd", &[&plain, &job], "init epilog"),
        // Nothing that says which line it is.
        ("slurmd", &[], "init epilog"),
        ("slurmd", &[include], "init epilog"),
        // It runs the hook, and reads the file again for that.
        ("slurmstepd", &[&plain], "init -"),
        ("slurmstepd", &[&job], "init epilog"),
    ] {
        assert_eq!(finds(&dir, program, open), expected, "{program} {open:?}");
    }
}

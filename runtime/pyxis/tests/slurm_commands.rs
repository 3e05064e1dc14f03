//! Commands of a made-up Slurm in containers, with `slurm_commands`; tests/slurm-commands.bats has a real one.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use common::Place;

/// A place with an image, commands that are programs and a script, and a configuration.
fn place() -> Place {
    let place = Place::new();
    place.image("image", |_| {});
    for directory in ["node/bin", "node/real", "node/etc/slurm", "node/elsewhere"] {
        fs::create_dir_all(place.path(directory)).unwrap();
    }
    fs::copy("/usr/bin/env", place.path("node/real/env")).unwrap();
    symlink("../real/env", place.path("node/bin/srun")).unwrap();
    let script = place.path("node/bin/squeue");
    fs::write(&script, "#!/bin/sh\necho \"script $*\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let more = place.path("node/elsewhere/more.conf");
    fs::write(&more, "SlurmUser=daemon\n").unwrap();
    let conf = format!("ClusterName=x\nInclude {}\n", more.display());
    fs::write(place.path("node/etc/slurm/slurm.conf"), conf).unwrap();
    place
}

fn start(place: &Place, options: &[&str], script: &str) -> Command {
    let mut words = vec!["start"];
    words.extend_from_slice(options);
    words.extend(["./image.sqsh", "sh", "-c", script]);
    let mut command = place.pyxis(words);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.path("node/bin").display());
    command.env("PATH", path).env("PYXIS_SLURM_COMMANDS", "yes");
    command.env("SLURM_CONF", place.path("node/etc/slurm/slurm.conf"));
    command
}

fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn programs_run_with_the_nodes_libraries_and_scripts_as_they_are() {
    let place = place();
    let script = "srun -i A=1 sh -c 'echo $A'; squeue -a b; srun sh -c 'echo $SLURM_CONF'; cat $SLURM_CONF \
                  $(dirname $SLURM_CONF)/../../elsewhere/more.conf; cat /etc/passwd; ls -d /lib* /usr/lib*; true";
    let script =
        script.replace("$(dirname $SLURM_CONF)/../..", place.path("node").to_str().unwrap());
    let said = said(start(&place, &[], &script).stderr(std::process::Stdio::null()));
    let conf = place.path("node/etc/slurm/slurm.conf");
    assert!(
        said.starts_with(&format!("1\nscript -a b\n{}\nClusterName=x\n", conf.display())),
        "{said}"
    );
    assert!(said.contains("SlurmUser=daemon\n"), "{said}");
    assert!(said.contains("daemon:*:1:1:"), "the account that Slurm asks for: {said}");
    // What the image has not it has not now either.
    assert!(!said.contains("\n/lib"), "{said}");
}

#[test]
fn without_the_setting_there_are_none() {
    let place = place();
    let script =
        "command -v srun || echo none; ls /run; grep daemon /etc/passwd; echo [$SLURM_CONF]";
    let mut command = start(&place, &[], &format!("{script}; true"));
    assert_eq!(said(command.env("PYXIS_SLURM_COMMANDS", "no")), "none\n[]\n");
}

#[test]
fn as_the_containers_root_they_are_run_as_the_caller() {
    let place = place();
    let script = "echo $(id -u) $(srun id -u) $(srun id -g); srun sh -c 'id -un'";
    let said = said(&mut start(&place, &["--root"], script));
    let uid = place.uid;
    assert_eq!(said, format!("0 {uid} {uid}\nuser{uid}\n"));
}

#[test]
fn a_configuration_that_is_not_there_is_an_error() {
    let place = place();
    let mut command = start(&place, &[], "echo ran");
    let done = command.env("SLURM_CONF", place.path("absent/slurm.conf")).output().unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), &*String::from_utf8(done.stdout).unwrap()), (Some(1), ""));
    assert!(error.contains("slurm_commands is set") && error.contains("no slurm.conf"), "{error}");
}

/// As packages do it: plugstack.conf includes a directory of links to what is not Slurm's.
#[test]
fn what_links_of_the_configuration_lead_to_is_there() {
    let place = place();
    let node = place.path("node");
    let conf = node.join("etc/slurm");
    for directory in ["etc/slurm/plugstack.conf.d", "share", "alternatives", "lib/slurm"] {
        fs::create_dir_all(node.join(directory)).unwrap();
    }
    let include = format!("include {}/plugstack.conf.d/*.conf\n", conf.display());
    fs::write(conf.join("plugstack.conf"), include).unwrap();
    let plugin = node.join("lib/slurm/spank_x.so");
    fs::write(&plugin, "x").unwrap();
    let line = format!("required {}\n", plugin.display());
    for name in ["absolute", "relative", "twice"] {
        fs::write(node.join("share").join(name), &line).unwrap();
    }
    let links = conf.join("plugstack.conf.d");
    symlink(node.join("share/absolute"), links.join("absolute.conf")).unwrap();
    symlink("../../../share/relative", links.join("relative.conf")).unwrap();
    symlink(node.join("share/twice"), node.join("alternatives/twice")).unwrap();
    symlink("link/twice", links.join("twice.conf")).unwrap();
    symlink(node.join("alternatives"), links.join("link")).unwrap();
    let script = "cd $(dirname $SLURM_CONF)/plugstack.conf.d; for name in absolute relative twice; do cat $name.conf; done; \
                  cat $(sed 's/.* //' absolute.conf)";
    let said = said(&mut start(&place, &[], script));
    assert_eq!(said, format!("{}x", line.repeat(3)));
}

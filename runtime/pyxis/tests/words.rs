//! What people read, kept as snapshots in `snapshots/`: a change of it is seen where it is reviewed. Where a
//! change is meant, `INSTA_UPDATE=always cargo test -p pyxis --test words` writes them anew.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::Place;
use insta::assert_snapshot;

const PYXIS: &str = env!("CARGO_BIN_EXE_pyxis");

fn words(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap());
    format!("{out}{err}(exit code {})\n", done.status.code().unwrap())
}

/// The help of the command and of each of its verbs.
#[test]
fn help() {
    let help = |arguments: &[&str]| words(Command::new(PYXIS).args(arguments).env_clear());
    let all = help(&["--help"]);
    let (_, verbs) = all.split_once("Commands:\n").unwrap();
    let verbs = verbs.lines().take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = verbs
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() > 10, "{verbs:?}");
    let of_verbs =
        verbs.iter().map(|verb| format!("\n$ pyxis {verb} --help\n{}", help(&[verb, "--help"])));
    assert_snapshot!(format!("$ pyxis --help\n{all}{}", of_verbs.collect::<String>()));
}

/// An ordinary user's, with nothing of this machine's in /etc.
fn away_from_etc(arguments: &[&str], files: &[(&str, &str)]) -> String {
    let mut script = String::from("mount -t tmpfs none /etc && cd /etc");
    for (name, text) in files {
        let directory = Path::new(name).parent().unwrap().display();
        script += &format!(" && mkdir -p ./{directory} && printf '%s' '{text}' > {name}");
    }
    script += " && exec unshare --user --map-user=1000 --map-group=1000 \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh", PYXIS]);
    words(
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", "/home/user"),
    )
}

#[test]
fn manual_of_the_settings() {
    let directory = tempfile::tempdir().unwrap();
    let done = Command::new(PYXIS).args(["generate", "man"]).arg(directory.path()).status();
    assert!(done.unwrap().success());
    assert_snapshot!(fs::read_to_string(directory.path().join("pyxis.toml.5")).unwrap());
}

#[test]
fn config_of_a_node_with_nothing_set() {
    assert_snapshot!(away_from_etc(&["config"], &[]));
}

#[test]
fn config_of_a_node_with_a_file() {
    let toml = "[paths]\nlayers = \"/scratch\"\n\n[store]\nmax_size = \"10G\"\n";
    let files = [("pyxis/pyxis.toml", toml)];
    assert_snapshot!(away_from_etc(&["config"], &files));
}

#[test]
fn config_with_mistakes() {
    let mistakes = [
        "[paths]\ndata = 3\n",
        "[paths]\ndatta = \"/x\"\n",
        "[store]\nmax_size = \"10Q\"\n",
        "[container]\nlogin_shell = \"perhaps\"\n",
        "[paths\n",
    ];
    let said = mistakes.map(|toml| {
        format!("{toml}=> {}\n", away_from_etc(&["config"], &[("pyxis/pyxis.toml", toml)]))
    });
    assert_snapshot!(said.concat());
}

/// A node's image with nothing but a configuration of Slurm's.
#[test]
fn doctor_of_an_image_of_a_node() {
    let root = tempfile::tempdir().unwrap();
    let path = |below: &str| root.path().join(below);
    for directory in ["etc/slurm", "usr/bin", "usr/lib", "usr/share/pyxis", "proc", "sys", "dev"] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    let conf = "ClusterName=c\nSlurmctldHost=localhost\nNodeName=n1\nPartitionName=p Nodes=ALL\n";
    fs::write(path("etc/slurm/slurm.conf"), conf).unwrap();
    let lines = "# comment\noptional /usr/lib/slurm/spank_pyxis.so\nrequired pyxis.so runtime=docker\n\
                 include /etc/slurm/none.d/*\n";
    fs::write(path("etc/slurm/plugstack.conf"), lines).unwrap();
    fs::set_permissions(path("etc/slurm/slurm.conf"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", PYXIS, "doctor", "--verbose", "--root"]);
    let said = words(command.arg(root.path()).env_clear().env("PATH", "/usr/bin:/bin"));
    assert_snapshot!(said.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

/// The lines of docs/faults.md that are the command's own.
#[test]
fn faults() {
    let place = Place::new();
    let image = place.image("x", |_| {});
    let work = image.parent().unwrap().to_owned();
    let bytes = fs::read(&image).unwrap();
    fs::write(work.join("short.sqsh"), &bytes[..4096]).unwrap();
    fs::write(work.join("text.sqsh"), "no image, but long enough to be one: ".repeat(10)).unwrap();
    fs::write(work.join("empty.sqsh"), "").unwrap();
    fs::create_dir(work.join("closed")).unwrap();
    fs::set_permissions(work.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    place.give(&work.join("closed"));
    let mut said = String::new();
    for arguments in [
        &["start", "./none.sqsh", "true"][..],
        &["start", "./short.sqsh", "true"],
        &["start", "./text.sqsh", "true"],
        &["start", "./empty.sqsh", "true"],
        &["start", "./closed/x.sqsh", "true"],
        &["start", "nobody", "true"],
        &["start", "./x.sqsh", "no-such-program"],
        &["start", "--mount", "/none:/x", "./x.sqsh", "true"],
        &["start", "--mount", "fstab of four words", "./x.sqsh", "true"],
        &["start", "--env", "1=2", "./x.sqsh", "true"],
        &["create", "-n", "a/b", "./x.sqsh"],
        &["create", "-n", "x", "./none.sqsh"],
        &["export", "nobody"],
        &["remove", "nobody"],
        &["exec", "nobody", "true"],
        &["import", "ftp://x"],
        &["import", "docker://UPPER"],
        &["digest", "docker://x@sha256:12"],
        &["load", "dockerd://x"],
        &["strat"],
    ] {
        let done = place.run(arguments).0;
        assert!(done.stdout.is_empty(), "{done:?}");
        let text = String::from_utf8(done.stderr).unwrap();
        let text = text.replace(&place.path("").display().to_string(), "/place/");
        said += &format!(
            "$ pyxis {}\n{text}(exit code {})\n\n",
            arguments.join(" "),
            done.status.code().unwrap()
        );
    }
    // As its superblock says; names and times of this run are in it, compressed.
    let size = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
    let size = format!("{size} bytes");
    assert_snapshot!(said.replace(&size, "N bytes"));
}

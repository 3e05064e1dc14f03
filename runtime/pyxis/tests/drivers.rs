//! GPUs with nothing but the driver, on nodes that are made up.

mod common;
mod driver;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;

use common::Place;
use driver::{cached, fails, node_with_driver, says};

fn place() -> Place {
    let place = Place::new();
    place.image("image", |root| fs::create_dir(root.join("usr")).unwrap());
    place
}

fn start_on_node(place: &Place, variables: &[(&str, &str)], script: &str) -> Output {
    let mut command = place.pyxis(["start", "./image.sqsh", "sh", "-c", script]);
    command.env("PYXIS_CDI_PATH", place.path("absent")).env("PYXIS_CDI_ROOT", place.path("node"));
    command.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_driver_alone_gives_a_container_its_gpus() {
    let place = place();
    node_with_driver(&place);
    let show = "cd /usr/lib64; for f in libcuda.so libcuda.so.1 libnvidia-ml.so.1; do readlink $f; done; \
                [ -s libcuda.so.550.1 ] && touch libcuda.so.550.1 2>/dev/null || echo ro; \
                nvidia-smi -L; echo $NVIDIA_CTK_LIBCUDA_DIR $NVIDIA_VISIBLE_DEVICES; \
                cd /dev; for f in nvidia0 nvidia1 nvidiactl nvidia-uvm; do [ -c $f ] && echo $f; done; true";
    let driver = "libcuda.so.1\nlibcuda.so.550.1\nlibnvidia-ml.so.550.1\nro\n/usr/bin/nvidia-smi -L\n/usr/lib64\n";
    let is_root = nix::unistd::geteuid().is_root();
    for (variables, nodes) in [
        (
            &[("SLURM_STEP_GPUS", "0"), ("CUDA_VISIBLE_DEVICES", "0")][..],
            "nvidia1\nnvidiactl\nnvidia-uvm\n",
        ),
        (
            &[("SLURM_STEP_GPUS", "0"), ("PYXIS_SLURM_RELEASE", "20.11")],
            "nvidia0\nnvidiactl\nnvidia-uvm\n",
        ),
        (
            &[("SLURM_STEP_GPUS", "1"), ("CUDA_VISIBLE_DEVICES", "GPU-1")],
            "nvidia1\nnvidiactl\nnvidia-uvm\n",
        ),
        (
            &[("SLURM_STEP_GPUS", "0,1"), ("ENROOT_RESTRICT_DEV", "y")],
            "nvidia0\nnvidia1\nnvidiactl\nnvidia-uvm\n",
        ),
    ] {
        let output = start_on_node(&place, variables, show);
        let nodes = if is_root { nodes } else { "" };
        assert_eq!(says(&output), format!("{driver}{nodes}"), "{variables:?} {output:?}");
    }
    let output = start_on_node(&place, &[("NVIDIA_VISIBLE_DEVICES", "none")], show);
    assert!(says(&output).starts_with("libcuda.so.1\nlibcuda.so.550.1\n"), "{output:?}");
    let cache = cached(&start_on_node(
        &place,
        &[("NVIDIA_VISIBLE_DEVICES", "none")],
        "cat /etc/ld.so.cache",
    ));
    assert_eq!(
        cache,
        ["libnvidia-ml.so.1 /usr/lib64/libnvidia-ml.so.1", "libcuda.so.1 /usr/lib64/libcuda.so.1"]
    );
    // Nothing of it without a word, nor with the word for nothing.
    for variables in [&[][..], &[("SLURM_STEP_GPUS", "0"), ("NVIDIA_VISIBLE_DEVICES", "void")]] {
        assert_eq!(
            says(&start_on_node(&place, variables, "ls /usr/lib64 2>/dev/null; echo none")),
            "none\n"
        );
    }
}

#[test]
fn what_the_driver_cannot_do_ends_the_start_in_a_line() {
    let place = place();
    node_with_driver(&place);
    let line = |variables: &[(&str, &str)]| {
        let error = fails(&start_on_node(&place, variables, "true"));
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let visible = ("NVIDIA_VISIBLE_DEVICES", "none");
    let error = line(&[visible, ("NVIDIA_REQUIRE_CUDA", "cuda>=12.8")]);
    assert!(error.contains("the driver of this node is 550.1 (CUDA 12.4)"), "{error}");
    let error = line(&[visible, ("NVIDIA_DRIVER_CAPABILITIES", "games")]);
    assert!(error.contains("NVIDIA_DRIVER_CAPABILITIES: there is no \"games\""), "{error}");
    assert!(
        line(&[("NVIDIA_VISIBLE_DEVICES", "7")])
            .contains("no GPU 7 on this node: there are 0, GPU-1, 1, GPU-0")
    );
    assert!(line(&[("SLURM_STEP_GPUS", "7")]).contains("none of such numbers"));
    fs::remove_dir_all(place.path("node/proc")).unwrap();
    assert!(line(&[("SLURM_STEP_GPUS", "0")]).contains("the container would get none"));
}

#[test]
fn the_drivers_files_stay_in_a_hostile_image() {
    let place = place();
    node_with_driver(&place);
    let shared = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let image = place.path("image");
    for at in ["usr/lib64", "usr/bin"] {
        let link = image.join(at);
        symlink(shared.path(), &link).unwrap();
        place.give(&image);
        let mut command = place.pyxis(["start", "../image", "sh", "-c", "true"]);
        command.env("PYXIS_CDI_PATH", "/absent").env("PYXIS_CDI_ROOT", place.path("node"));
        let error = fails(&command.env("NVIDIA_VISIBLE_DEVICES", "none").output().unwrap());
        assert!(error.contains("a link of the image leads from there to /dev/shm/"), "{error}");
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 0);
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn what_enroot_conf_says_of_gpus_is_the_nodes_default_and_no_jobs_word() {
    let place = place();
    let sysconf = place.path("sysconf");
    fs::create_dir(&sysconf).unwrap();
    fs::write(sysconf.join("enroot.conf"), "# GPUs\nNVIDIA_VISIBLE_DEVICES all\n").unwrap();
    let start = |variables: &[(&str, &str)]| {
        let sysconf = ("ENROOT_SYSCONF_PATH", sysconf.to_str().unwrap());
        start_on_node(&place, &[&[sysconf], variables].concat(), "ls /dev | grep -c nvidia")
    };
    // A node without GPUs may have the same file; who asks for one in a job is told.
    let without = start(&[]);
    assert_eq!((&*without.stdout, &*without.stderr), (&b"0\n"[..], &b""[..]));
    let asked = start(&[("NVIDIA_VISIBLE_DEVICES", "all")]);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(said.contains("no NVIDIA driver and no CDI specification"), "{said}");

    // Stronger than the image, weaker than the job.
    node_with_driver(&place);
    let count = |variables: &[(&str, &str)]| {
        String::from_utf8(start(variables).stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    assert!(count(&[]) > count(&[("NVIDIA_VISIBLE_DEVICES", "none")]));
    assert_eq!(count(&[("NVIDIA_VISIBLE_DEVICES", "void")]), 0);
    let image = cuda_image(&place, "older", "12.2.0", &verbs);
    let variables = [("ENROOT_SYSCONF_PATH", sysconf.to_str().unwrap())];
    fs::write(sysconf.join("enroot.conf"), "# GPUs\nNVIDIA_VISIBLE_DEVICES void\n").unwrap();
    let (_, findings) = examined(&place, &image, &variables);
    let (_, text) = finding(&findings, "image-devices");
    let ends = format!("NVIDIA_VISIBLE_DEVICES=void of {}/enroot.conf:2", sysconf.display());
    assert!(text.ends_with(&ends), "{text}");
}

/// The doctor's findings about an image, and whether all is well.
fn examined(
    place: &Place,
    image: &str,
    variables: &[(&str, &str)],
) -> (bool, Vec<(String, String, String)>) {
    let mut command = place.pyxis(["doctor", "--json", "--image", image]);
    command.env("PYXIS_CDI_PATH", place.path("absent")).env("PYXIS_CDI_ROOT", place.path("node"));
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = document["findings"].as_array().unwrap().iter();
    let findings = findings
        .map(|finding| (word(finding, "level"), word(finding, "check"), word(finding, "text")))
        .collect();
    assert_eq!(output.status.success(), document["healthy"].as_bool().unwrap());
    (output.status.success(), findings)
}

fn finding<'a>(findings: &'a [(String, String, String)], check: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|(_, known, _)| known == check);
    let (level, _, text) = found.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    (level, text)
}

/// An image with CUDA and NCCL, and changes.
fn cuda_image(place: &Place, name: &str, cuda: &str, change: &dyn Fn(&Path)) -> String {
    place.image(name, |root| {
        let text =
            format!("NVIDIA_VISIBLE_DEVICES=all\nCUDA_VERSION={cuda}\nNCCL_VERSION=2.26.5\n");
        fs::write(root.join("etc/environment"), text).unwrap();
        fs::create_dir_all(root.join("usr/lib/x86_64-linux-gnu")).unwrap();
        change(root);
    });
    format!("./{name}.sqsh")
}

fn verbs(root: &Path) {
    fs::write(root.join("usr/lib/x86_64-linux-gnu/libibverbs.so.1.14"), "").unwrap();
}

/// The node with the driver, and an InfiniBand adapter.
fn node_with_fabric() -> Place {
    let place = place();
    node_with_driver(&place);
    fs::create_dir_all(place.path("node/sys/class/infiniband/mlx5_0")).unwrap();
    fs::create_dir_all(place.path("node/dev/infiniband")).unwrap();
    fs::write(place.path("node/dev/infiniband/uverbs0"), "").unwrap();
    place
}

#[test]
fn the_doctor_says_what_an_image_would_get() {
    let place = node_with_fabric();
    let (well, findings) = examined(&place, &cuda_image(&place, "older", "12.2.0", &verbs), &[]);
    assert!(well, "{findings:?}");
    let (_, text) = finding(&findings, "node-driver");
    let begins = "NVIDIA driver 550.1, up to CUDA 12.4; 0: NVIDIA H100 (GPU-1, /dev/nvidia1";
    assert!(text.starts_with(begins), "{text}");
    let (_, text) = finding(&findings, "image-devices");
    let ends = "2 libraries and 1 other files, by the driver's files: NVIDIA_VISIBLE_DEVICES=all of the image";
    assert!(text.ends_with(ends), "{text}");
    // The same as a directory.
    let (well, of_directory) = examined(&place, "../older", &[]);
    assert!(well && of_directory == findings, "{of_directory:?}");

    // Why a start would fail, and what a container without a word would get.
    let (well, findings) = examined(&place, "./older.sqsh", &[("NVIDIA_VISIBLE_DEVICES", "7")]);
    assert!(!well);
    assert!(finding(&findings, "image-devices").1.contains("no GPU 7 on this node"));
    let (well, findings) = examined(&place, "./older.sqsh", &[("NVIDIA_VISIBLE_DEVICES", "void")]);
    assert!(well, "{findings:?}");
    let nothing = "a container gets no devices: NVIDIA_VISIBLE_DEVICES=void of the environment";
    assert_eq!(finding(&findings, "image-devices").1, nothing);
    assert!(finding(&findings, "image-devices-all").1.contains("2 libraries"));
    let output = place.pyxis(["doctor", "--image", "./absent.sqsh"]).output().unwrap();
    assert!(fails(&output).contains("cannot look at ./absent.sqsh: No such file"));
}

#[test]
fn the_doctor_compares_an_images_cuda_with_the_driver() {
    let place = node_with_fabric();
    let compat = |root: &Path| {
        verbs(root);
        fs::create_dir_all(root.join("usr/local/cuda/compat")).unwrap();
        fs::write(root.join("usr/local/cuda/compat/libcuda.so.580.65.06"), "").unwrap();
    };
    for (name, cuda, change, expected) in [
        ("same", "12.4.1", &verbs as &dyn Fn(&Path), Ok("the driver 550.1 has 12.4")),
        ("minor", "12.8.1", &verbs, Ok("minor version compatibility")),
        ("major", "13.0.0", &verbs, Err("the image has no compatibility libraries")),
        ("compat", "13.0.0", &compat, Ok("compatibility libraries (580.65.06) are used")),
    ] {
        let (well, findings) = examined(&place, &cuda_image(&place, name, cuda, change), &[]);
        let (level, text) = finding(&findings, "image-cuda");
        let (level_expected, part) = match expected {
            Ok(part) => ("ok", part),
            Err(part) => ("error", part),
        };
        assert_eq!((level, well), (level_expected, expected.is_ok()), "{name}: {findings:?}");
        assert!(text.contains(part), "{name}: {text}");
    }
}

#[test]
fn the_doctor_says_whether_nccl_finds_the_fabric() {
    let place = node_with_fabric();
    let with = cuda_image(&place, "with", "12.2.0", &verbs);
    let without = cuda_image(&place, "without", "12.2.0", &|_| ());
    let (well, findings) = examined(&place, &with, &[]);
    let found = "NCCL (2.26.5) finds mlx5_0 by /usr/lib/x86_64-linux-gnu/libibverbs.so.1.14";
    assert_eq!((well, finding(&findings, "image-fabric")), (true, ("ok", found)));
    let (well, findings) = examined(&place, &without, &[]);
    let (level, text) = finding(&findings, "image-fabric");
    assert!(!well && level == "warning" && text.contains("the image no libibverbs.so.1"), "{text}");
    fs::remove_file(place.path("node/dev/infiniband/uverbs0")).unwrap();
    let (well, findings) = examined(&place, &with, &[]);
    assert!(!well && finding(&findings, "image-fabric").1.contains("no /dev/infiniband/uverbs*"));
    // Neither says anything where there is no fabric.
    fs::remove_dir_all(place.path("node/sys/class/infiniband")).unwrap();
    let (well, findings) = examined(&place, &without, &[]);
    assert!(well && !findings.iter().any(|(_, check, _)| check == "image-fabric"));
}

/// Starts a container on the made-up node with recipes of the site's.
fn start_with_recipes(place: &Place, image: &str, recipes: &str, script: &str) -> Output {
    fs::write(place.path("pyxis.toml"), recipes).unwrap();
    let mut command = place.pyxis(["start", image, "sh", "-c", script]);
    command.env("PYXIS_CDI_ROOT", place.path("node")).env("PYXIS_CONFIG", place.path("pyxis.toml"));
    command.output().unwrap()
}

#[test]
fn a_fabrics_libraries_go_where_they_work_and_nowhere_in_part() {
    let place = place();
    let put = |path: &str, contents: &[u8]| {
        let at = place.path("node").join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, contents).unwrap();
    };
    put("opt/fabric/lib/libown.so.1.2", &driver::library("libown.so.1"));
    put("opt/fabric/device", b"");
    let recipe = "[inject.own]\nwhen = ['/opt/fabric/dev*']\nlibraries = ['/opt/fabric/lib/libown.so.*'MORE]\n\
                  environment = { FABRIC = 'own' }\n";
    let own = recipe.replace("MORE", "");
    let show = "echo $FABRIC; readlink /opt/fabric/lib/libown.so.1; ls /opt 2>/dev/null; true";
    let output = start_with_recipes(&place, "./image.sqsh", &own, show);
    assert_eq!(says(&output), "own\nlibown.so.1.2\nfabric\n", "{output:?}");
    let print = start_with_recipes(&place, "./image.sqsh", &own, "cat /etc/ld.so.cache");
    assert_eq!(cached(&print), ["libown.so.1 /opt/fabric/lib/libown.so.1"]);

    // A library of this machine: it needs a glibc, which busybox's image has not, or has in name only.
    let libz = driver::cached_library("libz.so.1");
    put("opt/fabric/lib/libz.so.1.0", &fs::read(libz).unwrap());
    let both = recipe.replace("MORE", ", '/opt/fabric/lib/libz.so.*'");
    place.image("old", |root| {
        fs::create_dir_all(root.join("usr/lib64")).unwrap();
        fs::write(root.join("usr/lib64/libc.so.6"), driver::library("libc.so.6")).unwrap();
    });
    for (image, lack) in [
        ("./image.sqsh", "libz.so.1.0 needs libc.so.6, which the image has not"),
        ("./old.sqsh", " of libc.so.6, and the image has up to none of them"),
    ] {
        let output = start_with_recipes(&place, image, &both, show);
        assert_eq!(says(&output), "\n", "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("pyxis: inject.own is left out of this container: "), "{said}");
        assert!(said.contains(lack) && said.lines().count() == 1, "{said}");
    }
    // Off, or for another node: nothing, and no word.
    for off in [own.replace("when", "enabled = false\nwhen"), own.replace("dev*", "other*")] {
        let output = start_with_recipes(&place, "./image.sqsh", &off, show);
        assert_eq!((says(&output).as_str(), &*output.stderr), ("\n", &b""[..]));
    }
    let wrong = start_with_recipes(&place, "./image.sqsh", "[inject.own]\nwhat = 1\n", show);
    assert!(!wrong.status.success());
    assert!(
        String::from_utf8(wrong.stderr).unwrap().contains("pyxis.toml:2: unknown field `what`")
    );
}

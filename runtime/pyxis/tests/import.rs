//! Importing from a registry, a layout and an engine; the image store.

mod fixtures;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use images::tarball::Kind;

use fixtures::{Image, Layer, Place, Registry, gzip, text, zstd};

fn three_layers() -> Vec<Vec<u8>> {
    let base = Layer::new().directory("usr").file("usr/one", "1").file("usr/two", "2");
    let middle = Layer::new().file("usr/.wh.two", "").file("usr/three", "3");
    vec![base.gzip(), zstd(&middle.tar()), Layer::new().file("top", "4").tar()]
}

#[test]
fn an_image_comes_from_a_registry() {
    let (place, registry) = (Place::new(), Registry::start());
    let config = r#"{"Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": ["c"], "WorkingDir": "/work/dir",
        "Labels": {"l": "m"}, "Volumes": {"/v": {}}}"#;
    let image = Image::with_config(&three_layers(), config);
    let uri = registry.push(&image, "team/image:v1");
    assert_eq!(place.ok(&["digest", &uri]), format!("{}\n", image.digest()));

    assert_eq!(place.ok(&["import", &uri]), "", "stdout is not for messages");
    let root = place.unpack("team+image+v1.sqsh", "root");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(
        (read("usr/one"), read("usr/three"), read("top")),
        ("1".into(), "3".into(), "4".into())
    );
    assert!(!root.join("usr/two").exists());
    assert!(root.join("work/dir").is_dir());
    assert_eq!(read("etc/environment"), "A=b\n");
    assert_eq!(read("etc/fstab"), "${ENROOT_ROOTFS}/v /v none x-create=dir,bind,rw,nosuid,nodev\n");
    let provenance =
        format!("# enroot-provenance: docker://{}#team/image:v1\n# l m\n", registry.host);
    assert!(read("etc/rc").starts_with(&provenance), "{}", read("etc/rc"));
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("etc"), mode("etc/rc"), mode("usr")), (0o755, 0o644, 0o755));

    let error = place.fails(&["import", &uri]);
    assert_eq!(error, "pyxis: File already exists: team+image+v1.sqsh");
    place.assert_clean();
}

/// Nothing is run for it, and the bytes are those of the image, whatever the machine.
#[test]
fn an_image_is_written_by_nobody_else_and_always_the_same() {
    let mut place = Place::new();
    let large = "many words of one kind, ".repeat(100_000);
    let layers = [three_layers(), vec![Layer::new().file("large", &large).gzip()]].concat();
    Image::new(&layers).layout(&place.path("layout"), "v1");
    place.set("PATH", "/nonexistent");
    for processors in ["1", "3", "8"] {
        let _ = fs::remove_dir_all(place.path("store"));
        let output = format!("{processors}.sqsh");
        let mut command = place.command(&["import", "-o", &output, "oci:layout:v1"]);
        let done = command.env("ENROOT_MAX_PROCESSORS", processors).output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let image = |name: &str| fs::read(place.path(name)).unwrap();
    let first = image("1.sqsh");
    assert!(first == image("3.sqsh") && first == image("8.sqsh"));
    assert!(first.len() < 200_000, "{}", first.len());
    // With options for it, mksquashfs is wanted.
    let _ = fs::remove_dir_all(place.path("store"));
    place.set("ENROOT_SQUASH_OPTIONS", "-comp gzip");
    let error = place.fails(&["import", "-o", "no.sqsh", "oci:layout:v1"]);
    assert!(error.contains("cannot run mksquashfs: "), "{error}");
}

/// A damaged layer is told from an output that does not take the image.
#[test]
fn an_image_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    let noise: String =
        (0..400_000u64).map(|n| format!("{:x}", n.wrapping_mul(n) % 99_991)).collect();
    Image::new(&[Layer::new().file("large", &noise).tar()]).layout(&place.path("layout"), "v1");
    let import = place.command(&["import", "-o", "x.sqsh", "oci:layout:v1"]);
    let mut command = Command::new("/bin/sh");
    // In blocks of 512 bytes.
    command.args(["-c", "ulimit -f 500; exec \"$@\"", "sh"]);
    command.arg(import.get_program()).args(import.get_args()).current_dir(place.path(""));
    command.env_clear().envs(import.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let error = text(&done.stderr);
    assert!(error.contains("cannot write the image: File too large"), "{error}");
    assert!(!place.path("x.sqsh").exists());
    place.assert_clean();
}

/// mksquashfs takes two seconds here; all else is the rest.
#[test]
fn it_is_said_where_the_time_goes() {
    let mut place = Place::new();
    Image::new(&three_layers()).layout(&place.path("layout"), "v1");
    let script = "#!/bin/sh\ncase \"$*\" in\n-version) ;;\n*) sleep 4 ;;\nesac\n\
        exec /usr/bin/mksquashfs \"$@\"\n";
    fs::create_dir(place.path("bin")).unwrap();
    fs::write(place.path("bin/mksquashfs"), script).unwrap();
    fs::set_permissions(place.path("bin/mksquashfs"), fs::Permissions::from_mode(0o755)).unwrap();
    place.set("PATH", &format!("{}:/usr/bin:/bin", place.path("bin").display()));
    place.set("ENROOT_SQUASH_OPTIONS", "-comp gzip");
    let run = |arguments: &[&str], timing: &str| {
        let begin = std::time::Instant::now();
        let done = place.command(arguments).env("PYXIS_TIMING", timing).output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
        (text(&done.stderr), begin.elapsed().as_secs_f64() * 1000.0)
    };
    let (said, wall) = run(&["pull", "oci:layout:v1"], "1");
    let line = said.lines().find_map(|line| line.strip_prefix("[INFO] timing: {")).unwrap();
    let times: serde_json::Value = serde_json::from_str(&format!("{{{line}")).unwrap();
    let total = times["total"].as_f64().unwrap();
    let phases = times["milliseconds"].as_object().unwrap();
    let names: Vec<&str> = phases.keys().map(String::as_str).collect();
    let mut expected =
        ["settings", "resolve", "shared store", "lock", "download", "merge", "write", "publish"];
    expected.sort_unstable();
    assert_eq!(names, expected, "{said}");
    let sum: f64 = phases.values().map(|took| took.as_f64().unwrap()).sum();
    assert!((sum - total).abs() < 1.0, "{said}");
    // Beside what the start and the end of a process take, which is a few hundred on a busy machine.
    assert!(total <= wall && total > wall - 2000.0, "{wall}: {said}");
    let write = phases["write"].as_f64().unwrap();
    assert!(write > 3990.0 && sum - write < 3990.0, "{said}");
    for name in expected.iter().chain(&["total"]) {
        let is_told = |line: &str| line.starts_with(&format!("[INFO] timing: {name} "));
        assert_eq!(said.lines().filter(|line| is_told(line)).count(), 1, "{name}: {said}");
    }
    // A container that is made, and one that is written.
    run(&["import", "-o", "image.sqsh", "oci:layout:v1"], "no");
    for (arguments, expected) in [
        (
            &["create", "-n", "timed", "image.sqsh"][..],
            &["open", "publish", "settings", "write"][..],
        ),
        (&["export", "-o", "timed.sqsh", "timed"], &["mount", "publish", "settings", "write"]),
    ] {
        let (said, _) = run(arguments, "1");
        let line = said.lines().find_map(|line| line.strip_prefix("[INFO] timing: {")).unwrap();
        let times: serde_json::Value = serde_json::from_str(&format!("{{{line}")).unwrap();
        let names: Vec<_> = times["milliseconds"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, expected, "{said}");
    }
    // Nobody reads times where names are expected, or without asking.
    for (arguments, timing) in [(["images", "--json"], "1"), (["pull", "oci:layout:v1"], "no")] {
        let (said, _) = run(&arguments, timing);
        assert!(!said.contains("timing"), "{said}");
    }
}

#[test]
fn an_image_is_loaded_as_a_container() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&Image::new(&three_layers()), "team/image:v1");
    assert_eq!(place.ok(&["load", "-n", "mine", &uri]), "");
    let blobs = registry.requests("/blobs/");
    assert_eq!(place.ok(&["load", &uri]), "");
    assert_eq!(registry.requests("/blobs/"), blobs, "nothing is fetched twice");
    assert_eq!(place.ok(&["list"]), "mine\nteam+image+v1\n");
    let error = place.fails(&["load", "-n", "mine", "docker://nowhere.invalid/x"]);
    assert!(error.contains("File already exists: "), "{error}");
    place.ok(&["load", "-f", "-n", "mine", &uri]);
    let error = place.fails(&["load", "-n", "a/b", &uri]);
    assert!(error.contains("Invalid argument: \"a/b\""), "{error}");
}

#[test]
fn the_store_is_asked_before_the_registry() {
    let (place, registry) = (Place::new(), Registry::start());
    let image = Image::new(&three_layers());
    let uri = registry.push(&image, "a:1");
    let path = place.ok(&["pull", &uri]);
    let blobs = registry.requests("/blobs/");
    assert_eq!(place.ok(&["pull", &uri]), path);
    place.ok(&["import", "-o", "a.sqsh", &uri]);
    assert_eq!(registry.requests("/blobs/"), blobs, "nothing is fetched twice");

    // One layer more: one layer is fetched, and the new configuration.
    let mut layers = three_layers();
    layers.push(Layer::new().file("more", "5").gzip());
    let other = registry.push(&Image::new(&layers), "a:2");
    place.ok(&["pull", &other]);
    assert_eq!(registry.requests("/blobs/"), blobs + 2);

    // Without a network: a digest, and a tag that was looked up before.
    let manifests = registry.requests("/manifests/");
    let by_digest = format!("docker://{}/a@{}", registry.host, image.digest());
    assert_eq!(place.ok(&["pull", &by_digest]), path);
    assert_eq!(place.ok(&["pull", "--policy", "missing", &uri]), path);
    assert_eq!(place.ok(&["pull", "--policy", "never", &uri]), path);
    assert_eq!(registry.requests("/manifests/"), manifests);
    let error = place.fails(&["pull", "--policy", "never", "docker://absent"]);
    assert!(error.contains("knows no image by the name"), "{error}");
    assert_eq!(place.ok(&["images"]).lines().count(), 3);
    assert!(place.ok(&["du"]).contains("images           2"));
}

#[test]
fn fifty_ask_at_once_and_one_fetches() {
    let (place, registry) = (Place::new(), Registry::start());
    let image = Image::new(&three_layers());
    let uri = registry.push(&image, "a:1");
    let children: Vec<_> = (0..50)
        .map(|_| {
            place
                .command(&["pull", &uri])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut paths: Vec<String> =
        children.into_iter().map(|child| text(&child.wait_with_output().unwrap().stdout)).collect();
    paths.dedup();
    assert_eq!(paths.len(), 1);
    assert!(fs::metadata(paths[0].trim()).unwrap().len() > 0);
    for layer in &image.layers {
        assert_eq!(registry.requests(&format!("/blobs/sha256:{layer}")), 1);
    }
    place.assert_clean();
}

#[test]
fn credentials_are_those_of_enroot_and_docker() {
    let (mut place, registry) = (Place::new(), Registry::private());
    let uri = registry.push(&Image::new(&three_layers()), "a:1");
    let error = place.fails(&["digest", &uri]);
    assert!(
        error.contains("denies access to a: ") && error.contains("login USER password"),
        "{error}"
    );

    let config = place.path("home/.config/enroot");
    fs::create_dir_all(&config).unwrap();
    let write = |password: &str| {
        let line = format!("machine {} login user password {password}\n", registry.host);
        fs::write(config.join(".credentials"), line).unwrap();
    };
    write("wrong");
    let error = place.fails(&["digest", &uri]);
    assert!(error.contains("your credentials do not allow it"), "{error}");
    write("$(echo secret)");
    place.ok(&["digest", &uri]);
    let with_user = uri.replace("docker://", "docker://user@");
    place.ok(&["digest", &with_user]);
    let stranger = uri.replace("docker://", "docker://stranger@");
    let error = place.fails(&["digest", &stranger]);
    assert!(error.contains("no password for user stranger"), "{error}");

    fs::remove_file(config.join(".credentials")).unwrap();
    let docker = place.path("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    let auths = format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#, registry.host);
    fs::write(docker.join("config.json"), auths).unwrap();
    place.ok(&["digest", &uri]);

    let helper = place.path("docker-credential-test");
    fs::write(&helper, "#!/bin/sh\nread host\necho \"{\\\"Username\\\": \\\"user\\\", \\\"Secret\\\": \\\"secret\\\"}\"\n").unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(docker.join("config.json"), r#"{"credsStore": "test"}"#).unwrap();
    place.set("PATH", &format!("{}:/usr/sbin:/usr/bin:/bin", place.path("").display()));
    place.ok(&["pull", &uri]);
    assert!(place.ok(&["images"]).contains("#a:1"));
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_when_it_fails() {
    let (mut place, mirror, registry) = (Place::new(), Registry::start(), Registry::start());
    let image = Image::new(&three_layers());
    let uri = registry.push(&image, "a:1");
    place.set("PYXIS_REGISTRY_MIRRORS", &format!("{}={}", registry.host, mirror.host));
    place.ok(&["digest", &uri]);
    assert_eq!((mirror.requests("/manifests/"), registry.requests("/manifests/")), (1, 1));
    mirror.push(&image, "a:1");
    let before = mirror.requests("/blobs/");
    place.ok(&["pull", &uri]);
    assert!(mirror.requests("/blobs/") > before);
    assert_eq!(registry.requests("/blobs/"), 0);
}

#[test]
fn layouts_are_read_in_place() {
    let place = Place::new();
    let image = Image::new(&three_layers());
    image.layout(&place.path("layout"), "v1");
    place.ok(&["import", "oci:layout:v1"]);
    place.ok(&["import", "-o", "any.sqsh", "oci:layout"]);
    let done = Command::new("tar")
        .args(["-cf", "archive.tar", "-C", "layout", "."])
        .current_dir(place.path(""))
        .status();
    assert!(done.unwrap().success());
    place.ok(&["import", "-o", "archive.sqsh", "oci-archive:archive.tar:v1"]);
    assert_eq!(place.ok(&["digest", "oci-archive:archive.tar"]), format!("{}\n", image.digest()));
    let root = place.unpack("archive.sqsh", "root");
    assert_eq!(fs::read_to_string(root.join("usr/three")).unwrap(), "3");
    // The same image, so the same file.
    let inode = |name: &str| fs::metadata(place.path(name)).unwrap().ino();
    assert_eq!(inode("layout+v1.sqsh"), inode("archive.sqsh"));

    let error = place.fails(&["import", "-o", "x", "oci:layout:v2"]);
    assert_eq!(error, "pyxis: layout: it has no image v2; there is: v1");
    let blob = place.path("layout/blobs/sha256").join(&image.layers[0]);
    fs::write(&blob, gzip(b"damaged")).unwrap();
    fs::remove_dir_all(place.path("store")).unwrap();
    let error = place.fails(&["import", "-o", "x", "oci:layout:v1"]);
    assert!(error.contains("damaged or tampered with"), "{error}");
}

#[test]
fn an_image_may_have_dockers_own_media_types() {
    let (place, registry) = (Place::new(), Registry::start());
    let layers = [Layer::new().file("one", "1").gzip(), Layer::new().file("two", "2").gzip()];
    Image::new(&layers).layout(&place.path("layout"), "x");
    let uri = registry.push_layout(&place.path("layout"), "a:1", &["--format", "v2s2"]);
    place.ok(&["import", "-o", "a.sqsh", &uri]);
    let manifest = place.ok(&["digest", &uri]);
    let path = place.path("store/blobs").join(manifest.trim().trim_start_matches("sha256:"));
    let manifest = fs::read_to_string(path).unwrap();
    assert!(manifest.contains("application/vnd.docker.image.rootfs.diff.tar.gzip"), "{manifest}");
    let root = place.unpack("a.sqsh", "root");
    assert_eq!(fs::read_to_string(root.join("two")).unwrap(), "2");
}

/// An index of two images, as the image `x` of a layout.
fn index_of(images: &[(&str, &Image)], layout: &std::path::Path) -> String {
    let mut entries = Vec::new();
    for (architecture, image) in images {
        image.layout(layout, "x");
        entries.push(format!(
            r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{}",
                "size": {}, "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#,
            image.digest(),
            image.manifest.len()
        ));
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{kind}", "manifests": [{}]}}"#,
        entries.join(", ")
    );
    let digest = fixtures::hex(index.as_bytes());
    fs::write(layout.join("blobs/sha256").join(&digest), &index).unwrap();
    let top = format!(
        r#"{{"schemaVersion": 2, "manifests": [{{"mediaType": "{kind}", "digest": "sha256:{digest}",
            "size": {}, "annotations": {{"org.opencontainers.image.ref.name": "x"}}}}]}}"#,
        index.len()
    );
    fs::write(layout.join("index.json"), top).unwrap();
    format!("sha256:{digest}")
}

#[test]
fn of_an_index_the_machines_own_image_is_taken() {
    let (place, registry) = (Place::new(), Registry::start());
    let own = Image::new(&[Layer::new().file("which", "own").gzip()]);
    let other = Image::new(&[Layer::new().file("which", "other").gzip()]);
    let architecture = images::registry::architecture(None);
    let layout = place.path("layout");
    let index = index_of(&[("s390x", &other), (&architecture, &own)], &layout);
    let uri = registry.push_layout(&layout, "a:1", &["--all", "--preserve-digests"]);
    assert_eq!(place.ok(&["digest", &uri]), format!("{}\n", own.digest()));
    assert_eq!(place.ok(&["digest", "--arch", "s390x", &uri]), format!("{}\n", other.digest()));
    assert_eq!(place.ok(&["digest", "--index", &uri]), format!("{index}\n"));
    let error = place.fails(&["digest", "--arch", "mips", &uri]);
    assert!(error.contains("s390x"), "{error}");
    // What srun has found the tag to name: each machine takes its own, and asks once.
    let path = place.ok(&["pull", "--resolved", &index, &uri]);
    assert!(path.contains(&own.digest()[7..]), "{path}");
    let asked = registry.requests("/v2/");
    assert_eq!(place.ok(&["pull", "--resolved", &index, &uri]), path);
    assert_eq!(registry.requests("/v2/"), asked);
    let error = place.fails(&["pull", "--resolved", "sha256:1", &uri]);
    assert!(error.contains("64 hexadecimal digits"), "{error}");
}

#[test]
fn a_tag_is_looked_up_as_the_policy_says() {
    let (mut place, registry) = (Place::new(), Registry::start());
    let first = registry.push(&Image::new(&[Layer::new().file("a", "1").gzip()]), "a:1");
    let path = place.ok(&["pull", &first]);
    registry.push(&Image::new(&[Layer::new().file("a", "2").gzip()]), "a:1");
    let config = place.path("pyxis.toml");
    place.set("PYXIS_CONFIG", config.to_str().unwrap());
    for (policy, same) in [("never", true), ("missing", true), ("always", false)] {
        fs::write(&config, format!("[registries]\npull_policy = \"{policy}\"\n")).unwrap();
        assert_eq!(place.ok(&["pull", &first]) == path, same, "{policy}");
    }
    fs::write(&config, "[registries]\npull_policy = \"daily\"\n").unwrap();
    let error = place.fails(&["pull", &first]);
    assert!(
        error.ends_with("pyxis.toml:2: pull_policy: \"daily\" is none of always, missing, never"),
        "{error}"
    );
}

#[test]
fn an_engine_exports_its_image() {
    engine_exports("docker", "dockerd");
    engine_exports("podman", "podman");
}

fn engine_exports(program: &str, scheme: &str) {
    let mut place = Place::new();
    let archive = Layer::new()
        .file("a", "b")
        .file(".wh.kept", "")
        .file(".dockerenv", "")
        .file("dev/console", "")
        .tar();
    fs::write(place.path("export.tar"), archive).unwrap();
    let docker = place.path(program);
    let script = "#!/bin/sh\necho \"$@\" >> $HOME/log\ncase $1 in\n\
        inspect) echo '[{\"Architecture\": \"amd64\", \"Config\": {\"Env\": [\"X=y\"], \"Cmd\": [\"z\"]}}]' ;;\n\
        export) cat export.tar ;;\n esac\n";
    fs::write(&docker, script).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    place.set("PATH", &format!("{}:/usr/sbin:/usr/bin:/bin", place.path("").display()));
    place.ok(&["import", &format!("{scheme}://team/image:v1")]);
    let root = place.unpack("team+image+v1.sqsh", "root");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "b");
    assert!(root.join(".wh.kept").exists(), "an export has no whiteouts");
    assert!(!root.join(".dockerenv").exists() && !root.join("dev/console").exists());
    assert_eq!(fs::read_to_string(root.join("etc/environment")).unwrap(), "X=y\n");
    let log = fs::read_to_string(place.path("home/log")).unwrap();
    assert!(log.lines().last().unwrap().starts_with("rm -f -v pyxis-import-"), "{log}");
    place.assert_clean();
    let error = place.fails(&["digest", &format!("{scheme}://x")]);
    assert!(error.contains("has no digest"), "{error}");
    // Whatever this machine has.
    place.set("PATH", "/nonexistent");
    let error = place.fails(&["import", &format!("{scheme}://x")]);
    assert_eq!(error, format!("pyxis: Command not found: {program}"));
    let done =
        place.command(&["import", &format!("{scheme}://x")]).arg0("enroot").output().unwrap();
    assert_eq!(text(&done.stderr), format!("[ERROR] Command not found: {program}\n"));
}

#[test]
fn an_image_that_was_changed_where_it_was_linked_is_made_again() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&Image::new(&three_layers()), "a:1");
    place.ok(&["import", "-o", "a.sqsh", &uri]);
    let linked = place.path("a.sqsh");
    let original = fs::read(&linked).unwrap();
    fs::set_permissions(&linked, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&linked, "changed").unwrap();
    place.ok(&["import", "-o", "b.sqsh", &uri]);
    assert!(fs::read(place.path("b.sqsh")).unwrap() == original, "another image was made");
}

#[test]
fn layers_are_not_taken_for_damaged_when_another_one_fails() {
    let (place, registry) = (Place::new(), Registry::start());
    let noise = fixtures::noise(1, 8 << 20);
    let large = Layer::new().entry(b"noise", Kind::File, 0o644, &noise).gzip();
    place.ok(&["pull", &registry.push(&Image::new(std::slice::from_ref(&large)), "a:1")]);
    let mut broken = vec![large];
    broken.extend((0..4).map(|at| gzip(format!("no archive {at}").as_bytes())));
    let image = Image::new(&broken);
    let uri = registry.push(&image, "a:2");
    for _ in 0..5 {
        let output = place.run(&["pull", &uri]);
        assert!(!output.status.success());
        assert!(!text(&output.stderr).contains("damaged"), "{}", text(&output.stderr));
        assert!(place.path("store/blobs").join(&image.layers[0]).exists());
    }
}

#[test]
fn a_damaged_layer_in_the_store_is_fetched_again() {
    let (place, registry) = (Place::new(), Registry::start());
    let image = Image::new(&three_layers());
    let uri = registry.push(&image, "a:1");
    place.ok(&["pull", &uri]);
    let blob = place.path("store/blobs").join(&image.layers[0]);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "zeros after a power cut").unwrap();
    fs::remove_dir_all(place.path("store/images")).unwrap();
    place.ok(&["pull", &uri]);
    assert!(fs::read(&blob).unwrap() == image.blobs[&image.layers[0]]);
}

//! Devices by CDI, with specifications over devices that every machine has.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use common::Place;

/// `/dev/null` and `/dev/zero` as two GPUs, with what nvidia-ctk writes about real ones.
const GPUS: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      hostPath: /dev/null
      type: c
      major: 1
      minor: 3
      permissions: rw
- name: "1"
  containerEdits:
    deviceNodes:
    - path: /dev/dri/card1
      hostPath: /dev/zero
- name: GPU-8c-f
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
      hostPath: /dev/zero
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  - DRIVER=550
  deviceNodes:
  - path: /dev/full
  mounts:
  - hostPath: PLACE/lib
    containerPath: /usr/lib/gpu
    options: [ro, nosuid, nodev, rbind, rprivate]
  hooks:
  - hookName: createContainer
    path: PLACE/hook
    args: [cdi-hook, create-symlinks, --link, "libgpu.so.1::/usr/lib/libgpu.so"]
    env: [FROM_SPEC=1]
"#;

/// As nvidia-cdi-hook works: the state on stdin names the bundle, its configuration the root.
const HOOK: &str = r#"#!/bin/sh
set -eu
state=$(cat)
bundle=$(echo "$state" | sed 's/.*"bundle":"\([^"]*\)".*/\1/')
root=$(sed 's/.*"path":"\([^"]*\)".*/\1/' "$bundle/config.json")
pid=$(echo "$state" | sed 's/.*"pid":\([0-9]*\).*/\1/')
[ "$(env | grep -vE '^(PWD|SHLVL|_)=')" = FROM_SPEC=1 ]
[ "$1" = create-symlinks ] && [ -e "$root/usr/lib/gpu/libgpu.so.1" ] && kill -0 "$pid"
[ "$(id -u)" = "$(stat -c %u "$root")" ]
mount -t tmpfs none "$root/mnt"
echo ran > "$root/mnt/by-hook"
ln -s gpu/libgpu.so.1 "$root/usr/lib/libgpu.so"
echo "nobody sees this"
"#;

fn place() -> Place {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir(root.join("mnt")).unwrap();
    });
    fs::create_dir(place.path("cdi")).unwrap();
    fs::create_dir(place.path("lib")).unwrap();
    fs::write(place.path("lib/libgpu.so.1"), "the library\n").unwrap();
    fs::write(place.path("hook"), HOOK).unwrap();
    fs::set_permissions(place.path("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = place.path("").display().to_string();
    let text = GPUS.replace("PLACE", directory.trim_end_matches('/'));
    fs::write(place.path("cdi/nvidia.yaml"), text).unwrap();
    place
}

fn start(place: &Place, variables: &[(&str, &str)], options: &[&str], script: &str) -> Output {
    let arguments = [&["start"], options, &["./image.sqsh", "sh", "-c", script]].concat();
    let mut command = place.pyxis(arguments);
    command.env("PYXIS_CDI_PATH", place.path("cdi")).envs(variables.iter().copied());
    command.output().unwrap()
}

fn says(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

const SHOW: &str = "cd /dev; for f in nvidia0 nvidia1 dri/card1; do [ -c $f ] && echo $f; done; \
                    echo $DRIVER $NVIDIA_VISIBLE_DEVICES";

#[test]
fn a_device_brings_nodes_mounts_variables_and_hooks() {
    let place = place();
    let script = "cat /usr/lib/libgpu.so /mnt/by-hook; touch /usr/lib/gpu/x 2>/dev/null || echo ro; \
                  echo x > /dev/nvidia0 && cat /dev/nvidia0; readlink /dev/stdin; ls -d /dev/null /dev/shm; \
                  [ -e /dev/nvidia1 ] || echo one; test -w /dev/fuse && echo fuse";
    let output = start(&place, &[("NVIDIA_VISIBLE_DEVICES", "0")], &[], script);
    let text = says(&output);
    let mut expected =
        String::from("the library\nran\nro\n/proc/self/fd/0\n/dev/null\n/dev/shm\none\nfuse\n");
    if fs::read_link("/dev/stdin").is_err() {
        expected = expected.replace("/proc/self/fd/0\n", "");
    }
    assert_eq!(text, expected, "{output:?}");
    // The node's own /dev is as it was.
    assert!(!std::path::Path::new("/dev/nvidia0").exists());
}

#[test]
fn which_devices_the_variable_names() {
    let place = place();
    for (value, expected) in [
        ("0", "nvidia0\n550 void\n"),
        ("1", "dri/card1\n550 void\n"),
        ("GPU-8c-f,0", "nvidia0\nnvidia1\n550 void\n"),
        ("nvidia.com/gpu=1", "dri/card1\n550 void\n"),
        ("all", "nvidia0\nnvidia1\ndri/card1\n550 void\n"),
        ("none", "550 void\n"),
        ("void", "\n"),
        ("", "\n"),
    ] {
        let got = says(&start(&place, &[("NVIDIA_VISIBLE_DEVICES", value)], &[], SHOW));
        assert_eq!(got, expected, "{value}");
    }
    // Slurm's word where nobody else has one; the least /dev has them too.
    let slurm = [("SLURM_STEP_GPUS", "1"), ("ENROOT_RESTRICT_DEV", "y")];
    assert_eq!(says(&start(&place, &slurm, &[], SHOW)), "dri/card1\n550 void\n");
    let off = [("NVIDIA_VISIBLE_DEVICES", "all"), ("PYXIS_CDI_NVIDIA", "no")];
    assert_eq!(says(&start(&place, &off, &[], SHOW)), "\n");
    let by_name = start(&place, &[], &["--device", "nvidia.com/gpu=0", "-r"], SHOW);
    assert_eq!(says(&by_name), "nvidia0\n550 void\n");
    let site = start(&place, &[("PYXIS_CDI_DEVICES", "nvidia.com/gpu=1")], &[], SHOW);
    assert_eq!(says(&site), "dri/card1\n550 void\n");
}

#[test]
fn an_image_that_can_use_a_gpu_starts_where_there_is_none() {
    let place = place();
    place.image("cuda", |root| {
        fs::write(root.join("etc/environment"), "PATH=/bin\nNVIDIA_VISIBLE_DEVICES=all\n").unwrap();
    });
    let run = |cdi: &str| {
        let mut command = place.pyxis(["start", "./cuda.sqsh", "sh", "-c", SHOW]);
        command.env("PYXIS_CDI_PATH", place.path(cdi)).output().unwrap()
    };
    let without = run("absent");
    assert_eq!((says(&without).as_str(), &*without.stderr), ("all\n", &b""[..]));
    fs::write(place.path("image/etc/environment"), "").unwrap();
    fs::remove_file(place.path("hook")).unwrap();
    let failed = fails(&run("cdi"));
    assert!(failed.contains("hook ") && failed.contains("No such file"), "{failed}");
}

#[test]
fn what_cannot_be_given_is_said() {
    let place = place();
    let with = |device: &str| fails(&start(&place, &[], &["--device", device], "true"));
    let error = with("nvidia.com/gpu=7");
    assert!(
        error.contains("no device nvidia.com/gpu=7 on this node: there are 0, 1, GPU-8c-f"),
        "{error}"
    );
    assert!(with("gpu0").contains("a device is named VENDOR/CLASS=NAME"));
    let file = |text: &str| fs::write(place.path("cdi/other.json"), text).unwrap();
    file(
        "{\"cdiVersion\": \"0.6.0\",\n\"kind\": \"v/d\",\n\"devices\": [{\"name\": \"x\",\n\"containerEdits\": {\"deviceNode\": []}}]}",
    );
    let error = with("v/d=x");
    assert!(
        error.contains(
            "cdi/other.json:4: containerEdits has no key `deviceNode`; did you mean `deviceNodes`?"
        ),
        "{error}"
    );
    let edits = |edits: &str| {
        file(&format!(
            "{{\"cdiVersion\": \"0.6.0\", \"kind\": \"v/d\", \"devices\": [{{\"name\": \"x\", \"containerEdits\": {edits}}}]}}"
        ));
        with("v/d=x")
    };
    let error = edits("{\"deviceNodes\": [{\"path\": \"/dev/absent9\"}]}");
    assert!(error.contains("cannot use device /dev/absent9: No such file"), "{error}");
    let error = edits("{\"deviceNodes\": [{\"path\": \"/dev/null\", \"minor\": 9}]}");
    assert!(error.contains("it has the numbers 1:3, other ones"), "{error}");
    let error = edits("{\"mounts\": [{\"hostPath\": \"/absent9\", \"containerPath\": \"/x\"}]}");
    assert!(error.contains("cannot mount /absent9: No such file"), "{error}");
    let error = edits(
        "{\"hooks\": [{\"hookName\": \"createRuntime\", \"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"exit 4\"]}]}",
    );
    assert!(error.contains("hook /bin/sh: exit status: 4"), "{error}");
    let error = edits(
        "{\"hooks\": [{\"hookName\": \"prestart\", \"path\": \"/bin/sleep\", \"args\": [\"sleep\", \"60\"], \"timeout\": 1}]}",
    );
    assert!(error.contains("hook /bin/sleep: it did not end within 1 s"), "{error}");
}

//! Devices by CDI, with specifications over devices that every machine has.

mod common;
mod driver;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use common::Place;
use driver::{cached, fails, library, says};

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
    start_from(place, "./image.sqsh", variables, options, script)
}

fn start_from(
    place: &Place,
    image: &str,
    variables: &[(&str, &str)],
    options: &[&str],
    script: &str,
) -> Output {
    let arguments = [&["start"], options, &[image, "sh", "-c", script]].concat();
    let mut command = place.pyxis(arguments);
    command.env("PYXIS_CDI_PATH", place.path("cdi")).envs(variables.iter().copied());
    command.output().unwrap()
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

/// Writes a specification of `v/d=x` with these edits, and starts a container with it.
fn with_edits(place: &Place, version: &str, edits: &str, script: &str) -> Output {
    write_edits(place, version, edits);
    start(place, &[], &["--device", "v/d=x"], script)
}

fn write_edits(place: &Place, version: &str, edits: &str) {
    let text = format!(
        "{{\"cdiVersion\": \"{version}\", \"kind\": \"v/d\", \"devices\": [{{\"name\": \"x\", \"containerEdits\": {edits}}}]}}"
    );
    fs::write(place.path("cdi/other.json"), text).unwrap();
}

#[test]
fn what_current_toolkits_write_is_no_error() {
    let place = place();
    let node = r#"{"deviceNodes": [{"path": "/dev/null"}], "additionalGids": [44]}"#;
    let output = with_edits(&place, "0.7.0", node, "echo started");
    assert_eq!((says(&output).as_str(), &*output.stderr), ("started\n", &b""[..]));
    let arguments = ["start", "--device", "v/d=x", "./image.sqsh", "true"];
    let mut verbose = place.pyxis(arguments);
    verbose.env("PYXIS_CDI_PATH", place.path("cdi")).env("PYXIS_CDI_VERBOSE", "y");
    let said = String::from_utf8(verbose.output().unwrap().stderr).unwrap();
    assert_eq!(said, "pyxis: a device is for the group 44, which the user is not in\n");

    let more = r#"{"env": ["A=1"], "netDevices": [{"hostInterfaceName": "eth0", "name": "eth1"}],
        "intelRdt": {"closID": "x", "enableMonitoring": true}}"#;
    let output = with_edits(&place, "1.1.0", more, "echo $A");
    assert_eq!(says(&output), "1\n");
    let said = String::from_utf8(output.stderr).unwrap();
    for key in ["netDevices", "intelRdt"] {
        assert!(said.contains(&format!("pyxis: `{key}` is left out: ")), "{said}");
    }
    // A version that is not known can have keys that are not known; one that is cannot.
    let later = r#"{"env": ["A=1"], "newThing": {"x": 1}, "mounts": [{"hostPath": "PLACE", "containerPath": "/usr/lib/gpu", "newer": 1}]}"#;
    let later = later.replace("PLACE", place.path("lib").to_str().unwrap());
    let output = with_edits(&place, "1.4.0", &later, "echo $A; cat /usr/lib/gpu/libgpu.so.1");
    assert_eq!(says(&output), "1\nthe library\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cdi/other.json:1: `newThing` of containerEdits is not known"), "{said}");
    assert!(said.contains("`newer` of a mount is not known"), "{said}");
    assert!(fails(&with_edits(&place, "1.1.0", &later, "true")).contains("no key `newThing`"));
    assert!(fails(&with_edits(&place, "2.0.0", &later, "true")).contains("0.3.0 to 1.1.0"));
}

/// As Intel's hook for FPGAs works: the configuration says what the container was asked to have, and
/// which nodes it gets.
const HOOK_OF_FPGA: &str = r#"#!/bin/sh
set -eu
bundle=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/')
cd "$bundle"
root=$(sed 's/.*"root":{"path":"\([^"]*\)".*/\1/' config.json)
for part in '"FPGA_REGION_1=ce48969398f05f33"' '"FPGA_AFU_1=d8424dc4"' '"FROM_IMAGE=yes"' \
    '"devices":\[{' '"path":"/dev/intel-fpga-port.0"' '"major":1,' '"minor":3,' '"type":"c"'; do
    grep -q "$part" config.json || { echo "no $part in $(cat config.json)" >&2; exit 1; }
done
echo programmed > "$root/run/by-hook"
"#;

#[test]
fn what_other_vendors_generators_write() {
    let place = place();
    fs::write(place.path("hook"), HOOK_OF_FPGA).unwrap();
    fs::create_dir(place.path("by-path")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.path("by-path/pci-0000:03:00.0-card")).unwrap();
    let fifo = place.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let write = |name: &str, text: &str| {
        let directory = place.path("").display().to_string();
        let text = text.replace("PLACE", directory.trim_end_matches('/'));
        fs::write(place.path("cdi").join(name), text).unwrap();
    };
    let run = |device: &str, script: &str| {
        let output = start(&place, &[], &["--device", device], script);
        (says(&output), String::from_utf8(output.stderr).unwrap())
    };

    // A device's own mounts below /dev, of links.
    write(
        "intel.com-gpu.yaml",
        "cdiVersion: 0.5.0\ncontainerEdits: {}\ndevices:\n- containerEdits:\n    deviceNodes:\n    - hostPath: /dev/zero\n      path: /dev/dri/card0\n      type: c\n    mounts:\n    - containerPath: /dev/dri/by-path/pci-0000:03:00.0-card\n      hostPath: PLACE/by-path/pci-0000:03:00.0-card\n      options:\n      - bind\n      - rw\n      type: none\n  name: 0000-03-00-0-0x56a0\nkind: intel.com/gpu\n",
    );
    let script = "cd /dev/dri; [ -c card0 ] && [ -c by-path/pci-0000:03:00.0-card ] && ls";
    assert_eq!(
        run("intel.com/gpu=0000-03-00-0-0x56a0", script),
        ("by-path\ncard0\n".into(), "".into())
    );
    assert_eq!(run("intel.com/gpu=all", script).0, "by-path\ncard0\n");

    // A hook that wants to know what for.
    write(
        "fpga.json",
        r#"{"cdiVersion": "0.5.0", "kind": "intel.cdi.k8s.io/fpga", "devices": [{"name": "region1", "containerEdits": {
        "env": ["FPGA_REGION_1=ce48969398f05f33", "FPGA_AFU_1=d8424dc4"],
        "deviceNodes": [{"path": "/dev/intel-fpga-port.0", "hostPath": "/dev/null", "permissions": "rw"}],
        "hooks": [{"hookName": "createRuntime", "path": "PLACE/hook"}]}}]}"#,
    );
    let script = "cat /run/by-hook; [ -c /dev/intel-fpga-port.0 ] && echo $FPGA_REGION_1";
    assert_eq!(
        run("intel.cdi.k8s.io/fpga=region1", script),
        ("programmed\nce48969398f05f33\n".into(), "".into())
    );

    // What the interface allows beside.
    write(
        "odd.json",
        r#"{"cdiVersion": "1.0.0", "kind": "v/odd", "devices": [
        {"name": "x", "containerEdits": {
            "env": ["TWO=a\nb", "QUOTED=\"q\"", "odd.name=1"],
            "deviceNodes": [
                {"path": "/dev/vendor/null", "hostPath": "/dev/null", "permissions": "none", "fileMode": 69206454},
                {"path": "/dev/vendor/fifo", "hostPath": "PLACE/fifo", "type": "p"},
                {"path": "/run/vendor/fifo", "hostPath": "PLACE/fifo", "type": "p"}],
            "mounts": [{"hostPath": "PLACE/lib", "containerPath": "/usr/lib/gpu",
                "options": ["rbind", "rro", "rnosuid", "rnodev", "idmap"]}]}},
        {"name": "later", "containerEdits": {"hooks": [{"hookName": "poststop", "path": "/bin/true"}]}}]}"#,
    );
    let script = "[ -c /dev/vendor/null ] && [ -p /dev/vendor/fifo ] && [ -p /run/vendor/fifo ] && echo nodes; \
                  echo \"$TWO$QUOTED\"; touch /usr/lib/gpu/x 2>/dev/null || echo ro";
    let (text, said) = run("v/odd=x", script);
    assert_eq!(text, "nodes\na\nb\"q\"\nro\n");
    assert_eq!(said, "pyxis: \"odd.name\" is left out: no shell has such a variable\n");
    let error = fails(&start(&place, &[], &["--device", "v/odd=later"], "true"));
    assert!(error.contains("odd.json:10: a poststop hook cannot be run"), "{error}");
}

/// What nvidia-ctk writes of a driver, with the hooks of a toolkit that is not installed.
fn edits_with_hooks(lib: &str, driver: &str) -> String {
    let hook = |arguments: &str| {
        format!(
            r#"{{"hookName": "createContainer", "path": "/absent9/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", {arguments}]}}"#
        )
    };
    let hooks = [
        hook(
            r#""create-symlinks", "--link", "libaux.so.1::/usr/lib/libaux.so", "--link", "../libx.so::/usr/lib/new/x.so""#,
        ),
        hook(&format!(r#""enable-cuda-compat", "--host-driver-version={driver}""#)),
        hook(r#""update-ldcache", "--folder", "/usr/lib", "--folder", "/opt/gpu""#),
        hook(r#""disable-device-node-modification""#),
        hook(r#""update-application-profile""#),
        hook(r#""of-a-later-version""#),
    ];
    format!(
        r#"{{"mounts": [{{"hostPath": "{lib}/libaux.so.550.1", "containerPath": "/usr/lib/libaux.so.550.1"}},
            {{"hostPath": "{lib}", "containerPath": "/opt/gpu"}}], "hooks": [{}]}}"#,
        hooks.join(",")
    )
}

#[test]
fn the_toolkits_hooks_are_done_without_the_toolkit() {
    let place = place();
    fs::write(place.path("lib/libgpu.so.550.1"), library("libgpu.so.1")).unwrap();
    fs::write(place.path("lib/libaux.so.550.1"), library("libaux.so.1")).unwrap();
    place.image("cuda", |root| {
        fs::create_dir_all(root.join("usr/local/cuda-12.8/compat")).unwrap();
        std::os::unix::fs::symlink("cuda-12.8", root.join("usr/local/cuda")).unwrap();
        let newer = root.join("usr/local/cuda-12.8/compat/libcuda.so.570.86.10");
        fs::write(newer, library("libcuda.so.1")).unwrap();
    });
    let lib = place.path("lib").display().to_string();
    let with_driver = |driver: &str, script: &str| {
        write_edits(&place, "1.0.0", &edits_with_hooks(&lib, driver));
        start_from(&place, "./cuda.sqsh", &[], &["--device", "v/d=x"], script)
    };
    let show = "for f in libaux.so libaux.so.1 new/x.so; do readlink /usr/lib/$f; done; \
                ls /etc/nvidia 2>&1; true";
    let output = with_driver("570.90", show);
    let text = says(&output);
    assert!(text.starts_with("libaux.so.1\nlibaux.so.550.1\n../libx.so\nls: "), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\"/absent9/nvidia-cdi-hook of-a-later-version\" is left out"), "{said}");

    let print = "cat /etc/ld.so.cache";
    let ours = [
        "libgpu.so.1 /opt/gpu/libgpu.so.550.1",
        "libaux.so.1 /usr/lib/libaux.so.1",
        "libaux.so.1 /opt/gpu/libaux.so.550.1",
    ];
    assert_eq!(cached(&with_driver("570.90", print)), ours);
    let have = cached(&with_driver("535.1", print));
    let compat = "libcuda.so.1 /usr/local/cuda/compat/libcuda.so.1".to_owned();
    assert!(have.contains(&compat), "{have:?}");

    // What an image has already is kept.
    place.image("glibc", |root| {
        fs::copy("/etc/ld.so.cache", root.join("etc/ld.so.cache")).unwrap();
        fs::create_dir_all(root.join("usr/lib")).unwrap();
    });
    let of_glibc =
        |options: &[&str]| cached(&start_from(&place, "./glibc.sqsh", &[], options, print));
    write_edits(&place, "1.0.0", &edits_with_hooks(&lib, "570.90"));
    let both = of_glibc(&["--device", "v/d=x"]);
    assert_eq!(both.len(), 3 + of_glibc(&[]).len());
    assert!(both.iter().any(|line| line.starts_with("libc.so.6 ")));
}

#[test]
fn links_of_a_hostile_image_lead_nowhere() {
    let place = place();
    let shared = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let target = shared.path().display().to_string();
    fs::write(place.path("lib/libgpu.so.550.1"), library("libgpu.so.1")).unwrap();
    let lib = place.path("lib/libgpu.so.550.1").display().to_string();
    let edits = format!(
        r#"{{"mounts": [{{"hostPath": "{lib}", "containerPath": "/usr/lib/gpu/libgpu.so.550.1"}}], "hooks": [
        {{"hookName": "createContainer", "path": "/x/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "libgpu.so.1::/usr/lib/gpu/libgpu.so"]}},
        {{"hookName": "createContainer", "path": "/x/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "update-ldcache", "--folder", "/usr/lib/gpu"]}}]}}"#
    );
    write_edits(&place, "1.0.0", &edits);
    // What leads away, where to, and whether the container can start.
    for (at, to, starts) in [
        ("usr/lib", target.clone(), false),
        ("usr/lib/gpu", target.clone(), false),
        ("usr/lib/gpu", format!("{target}/absent"), false),
        ("usr/lib/gpu", format!("../../../..{target}"), false),
        ("usr/lib/gpu", "/proc/self/cwd".into(), false),
        ("usr/lib/gpu", "/proc/1/root/tmp".into(), false),
        ("usr/lib/gpu", "/sys/kernel".into(), false),
        ("usr/lib/gpu/libgpu.so.550.1", format!("{target}/file"), true),
        ("usr/lib/gpu/libgpu.so.550.1", "/proc/self/exe".into(), true),
        ("usr/lib/gpu/libgpu.so", format!("{target}/file"), true),
        ("usr/lib/gpu/libgpu.so.1", "/dev/null".into(), true),
        ("etc/ld.so.cache", format!("{target}/file"), true),
        ("etc/ld.so.cache", "/dev/zero".into(), true),
        ("usr/lib/gpu", "/real".into(), true),
    ] {
        let image = place.path("image");
        for left in ["usr", "etc/ld.so.cache"] {
            let _ = fs::remove_dir_all(image.join(left));
            let _ = fs::remove_file(image.join(left));
        }
        let link = image.join(at);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::create_dir_all(image.join("real")).unwrap();
        std::os::unix::fs::symlink(&to, link).unwrap();
        place.give(&image);
        let script = "cat /usr/lib/gpu/libgpu.so > /tmp/x && readlink /usr/lib/gpu/libgpu.so";
        let output = start_from(&place, "../image", &[], &["--device", "v/d=x"], script);
        if starts {
            assert_eq!(says(&output), "libgpu.so.1\n", "{at} {to}: {output:?}");
        } else {
            let error = fails(&output);
            assert!(error.contains("/usr/lib/gpu/libgpu.so.550.1: "), "{at} {to}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 0, "{at} {to}");
    }
}

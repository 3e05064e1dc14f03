//! One specification: a file that says what a container needs to use devices of one kind.
//!
//! The format is that of the Container Device Interface, versions 0.3.0 to 1.1.0
//! (github.com/cncf-tags/container-device-interface). What an unprivileged process cannot do is an
//! error, not passed over: a container without part of its device is no container with the device.

use std::path::{Path, PathBuf};

use super::CdiError;
use super::name::{check_device, check_kind};
use super::yaml::{self, Node, Problem};
use linux::environ::is_name;

/// Versions that are understood.
const VERSIONS: [&str; 9] =
    ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "0.8.1", "1.0.0", "1.1.0"];

/// A file's contents.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) path: PathBuf,
    /// `VENDOR/CLASS`.
    pub(super) kind: String,
    /// What every device of the file needs.
    pub(super) edits: Edits,
    pub(super) devices: Vec<Device>,
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) edits: Edits,
}

/// What a container needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Device nodes.
    pub nodes: Vec<DeviceNode>,
    /// Files and directories.
    pub mounts: Vec<Mount>,
    /// Programs that change the container's tree.
    pub hooks: Vec<Hook>,
}

/// A device node of the node, to be found in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// On the node.
    pub host_path: String,
    /// `b` or `c`, where the specification says so.
    pub block: Option<bool>,
    /// Major and minor number, where the specification says so.
    pub numbers: (Option<u64>, Option<u64>),
}

/// A bind mount, or one of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// On the node, or what the file system is called.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Type of a file system that is not bound.
    pub fstype: Option<String>,
    /// As mount(8) has them.
    pub options: Vec<String>,
}

/// A program of the node, run before the container's root is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where in the container's life.
    pub stage: Stage,
    /// On the node.
    pub path: PathBuf,
    /// All of them, with the program's name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds until it is killed.
    pub timeout: Option<u32>,
}

/// In the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The oldest of the three.
    Prestart,
    /// When the namespaces are there.
    CreateRuntime,
    /// When the mounts are there.
    CreateContainer,
}

impl Spec {
    /// Reads the contents of the file at `path`.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Spec, CdiError> {
        let fail =
            |Problem { line, text }| CdiError::Line { path: path.to_owned(), line, problem: text };
        let (kind, edits, devices) = read(text).map_err(fail)?;
        Ok(Spec { path: path.to_owned(), kind, edits, devices })
    }
}

fn wrong(line: usize, text: impl std::fmt::Display) -> Problem {
    Problem { line, text: text.to_string() }
}

fn read(text: &str) -> Result<(String, Edits, Vec<Device>), Problem> {
    let document = yaml::parse(text)?;
    // First: a file of another version may well have other keys.
    if let Some((_, version)) = document.pairs().find(|(key, _)| *key == "cdiVersion") {
        let have = version.text()?.trim_start_matches('v');
        if !VERSIONS.contains(&have) {
            let [oldest, .., newest] = VERSIONS;
            return Err(wrong(
                version.line,
                format_args!("cdiVersion {have}: {oldest} to {newest} are understood"),
            ));
        }
    }
    let keys = ["cdiVersion", "kind", "annotations", "devices", "containerEdits"];
    let fields = document.fields("a specification", &keys)?;
    fields.text("cdiVersion")?;
    let kind = fields.text("kind")?;
    let line = fields.get("kind").map_or(1, |node| node.line);
    check_kind(kind).map_err(|problem| wrong(line, format_args!("kind {kind:?}: {problem}")))?;
    let edits = fields.get("containerEdits").map_or(Ok(Edits::default()), edits)?;
    let mut devices: Vec<Device> = Vec::new();
    for node in fields.list("devices")? {
        let device = device(node)?;
        if devices.iter().any(|known| known.name == device.name) {
            return Err(wrong(node.line, format_args!("device {:?} is there twice", device.name)));
        }
        devices.push(device);
    }
    if devices.is_empty() {
        return Err(wrong(fields.line, "it has no device (`devices`)"));
    }
    Ok((kind.to_owned(), edits, devices))
}

fn device(node: &Node) -> Result<Device, Problem> {
    let fields = node.fields("a device", &["name", "annotations", "containerEdits"])?;
    let name = fields.text("name")?;
    check_device(name)
        .map_err(|problem| wrong(node.line, format_args!("device {name:?}: {problem}")))?;
    let edits = fields.get("containerEdits").map_or(Ok(Edits::default()), edits)?;
    if edits == Edits::default() {
        return Err(wrong(node.line, format_args!("device {name:?} has no `containerEdits`")));
    }
    Ok(Device { name: name.to_owned(), edits })
}

fn edits(node: &Node) -> Result<Edits, Problem> {
    let keys =
        ["env", "deviceNodes", "mounts", "hooks", "additionalGids", "intelRdt", "netDevices"];
    let fields = node.fields("containerEdits", &keys)?;
    for privileged in ["additionalGids", "intelRdt", "netDevices"] {
        if let Some(node) = fields.get(privileged) {
            if !node.list().is_ok_and(<[Node]>::is_empty) {
                return Err(wrong(
                    node.line,
                    format_args!(
                        "`{privileged}` is nothing that an unprivileged container can have"
                    ),
                ));
            }
        }
    }
    let mut edits = Edits { env: fields.texts("env")?, ..Edits::default() };
    for (variable, node) in edits.env.iter().zip(fields.list("env")?) {
        let name = variable.split_once('=').map(|(name, _)| name);
        if !name.is_some_and(|name| is_name(name.as_bytes())) || variable.contains('\n') {
            return Err(wrong(node.line, format_args!("{variable:?} is no NAME=VALUE")));
        }
    }
    edits.nodes = fields.list("deviceNodes")?.iter().map(device_node).collect::<Result<_, _>>()?;
    edits.mounts = fields.list("mounts")?.iter().map(mount).collect::<Result<_, _>>()?;
    edits.hooks = fields.list("hooks")?.iter().map(hook).collect::<Result<_, _>>()?;
    Ok(edits)
}

/// A path that can be a target: absolute, and without a way up.
fn absolute<'a>(node: &Node, path: &'a str) -> Result<&'a str, Problem> {
    let up = path.split('/').any(|part| part == "..");
    if !path.starts_with('/') || up || path.contains('\0') {
        return Err(wrong(node.line, format_args!("{path:?} is no absolute path without \"..\"")));
    }
    Ok(path)
}

fn device_node(node: &Node) -> Result<DeviceNode, Problem> {
    let keys =
        ["path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"];
    let fields = node.fields("a device node", &keys)?;
    let path = absolute(node, fields.text("path")?)?;
    let host_path = match fields.optional_text("hostPath")?.filter(|path| !path.is_empty()) {
        Some(host_path) => absolute(node, host_path)?,
        None => path,
    };
    let block = match fields.optional_text("type")?.unwrap_or_default() {
        "" => None,
        "b" => Some(true),
        "c" | "u" => Some(false),
        other => {
            return Err(wrong(node.line, format_args!("type {other:?}: there are b, c and u")));
        }
    };
    let positive = |key| -> Result<Option<u64>, Problem> {
        let number = fields.number(key)?;
        let number = number.map(|number| {
            u64::try_from(number).map_err(|_| wrong(node.line, format_args!("{key} is negative")))
        });
        number.transpose()
    };
    let numbers = (positive("major")?, positive("minor")?);
    // Modes and owners are those of the node: they are checked and otherwise without effect.
    for key in ["fileMode", "uid", "gid"] {
        positive(key)?;
    }
    if let Some(permissions) = fields.optional_text("permissions")? {
        if permissions.chars().any(|c| !"rwm".contains(c)) {
            return Err(wrong(
                node.line,
                format_args!("permissions {permissions:?}: there are r, w and m"),
            ));
        }
    }
    Ok(DeviceNode {
        path: path.to_owned(),
        host_path: host_path.to_owned(),
        block,
        numbers: if block.is_some() || numbers.0 != Some(0) { numbers } else { (None, None) },
    })
}

fn mount(node: &Node) -> Result<Mount, Problem> {
    let fields = node.fields("a mount", &["hostPath", "containerPath", "options", "type"])?;
    let fstype =
        fields.optional_text("type")?.filter(|kind| !matches!(*kind, "" | "bind" | "none"));
    let source = fields.text("hostPath")?;
    let source = if fstype.is_none() { absolute(node, source)? } else { source };
    let target = absolute(node, fields.text("containerPath")?)?;
    let options = fields.texts("options")?;
    if let Some(option) = options.iter().find(|option| option.contains([' ', '\t', '\n', '\0'])) {
        return Err(wrong(node.line, format_args!("{option:?} is no mount option")));
    }
    Ok(Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        fstype: fstype.map(str::to_owned),
        options,
    })
}

fn hook(node: &Node) -> Result<Hook, Problem> {
    let fields = node.fields("a hook", &["hookName", "path", "args", "env", "timeout"])?;
    let stage = match fields.text("hookName")? {
        "prestart" => Stage::Prestart,
        "createRuntime" => Stage::CreateRuntime,
        "createContainer" => Stage::CreateContainer,
        later @ ("startContainer" | "poststart" | "poststop") => {
            return Err(wrong(
                node.line,
                format_args!(
                    "a {later} hook cannot be run: nothing of the runtime is left by then; \
                     prestart, createRuntime and createContainer can"
                ),
            ));
        }
        other => return Err(wrong(node.line, format_args!("there is no hook {other:?}"))),
    };
    let path = absolute(node, fields.text("path")?)?;
    let env = fields.texts("env")?;
    if let Some(variable) = env.iter().find(|variable| !variable.contains('=')) {
        return Err(wrong(node.line, format_args!("{variable:?} is no NAME=VALUE")));
    }
    let args = fields.texts("args")?;
    if args.iter().chain(&env).any(|word| word.contains('\0')) {
        return Err(wrong(node.line, "a hook's arguments have no NUL"));
    }
    let timeout = match fields.number("timeout")? {
        None => None,
        Some(seconds) => Some(
            u32::try_from(seconds)
                .ok()
                .filter(|seconds| *seconds > 0)
                .ok_or_else(|| wrong(node.line, "timeout takes seconds, one or more"))?,
        ),
    };
    Ok(Hook { stage, path: path.into(), args, env, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nvidia-ctk writes, shortened.
    const GPU: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
              major: 195
              fileMode: 438
              permissions: rw
              uid: 0
              gid: 0
            - path: /dev/dri/card1
              hostPath: /dev/dri/card0
              type: c
containerEdits:
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    hooks:
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - update-ldcache
            - --folder
            - /usr/lib/x86_64-linux-gnu
          timeout: 5
    mounts:
        - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.1
          containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.1
          options:
            - ro
            - rbind
"#;

    fn error(text: &str) -> String {
        Spec::parse(text, Path::new("/s.yaml")).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_generators_write() {
        let spec = Spec::parse(GPU, Path::new("/s.yaml")).unwrap();
        assert_eq!((spec.kind.as_str(), spec.devices.len()), ("nvidia.com/gpu", 1));
        let nodes = &spec.devices[0].edits.nodes;
        assert_eq!(
            (nodes[0].host_path.as_str(), nodes[0].numbers),
            ("/dev/nvidia0", (Some(195), None))
        );
        assert_eq!((nodes[1].host_path.as_str(), nodes[1].block), ("/dev/dri/card0", Some(false)));
        assert_eq!(spec.edits.env, ["NVIDIA_VISIBLE_DEVICES=void"]);
        assert_eq!(spec.edits.hooks[0].args[1..3], ["update-ldcache", "--folder"]);
        assert_eq!(spec.edits.hooks[0].timeout, Some(5));
        assert_eq!(spec.edits.mounts[0].options, ["ro", "rbind"]);
        // The same as JSON.
        let json = r#"{"cdiVersion": "0.6.0", "kind": "a/b", "devices": [{"name": "x",
            "containerEdits": {"env": ["A=1"]}}]}"#;
        assert_eq!(Spec::parse(json, Path::new("/s.json")).unwrap().devices[0].edits.env, ["A=1"]);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let with = |device: &str| {
            format!("cdiVersion: 0.5.0\nkind: a/b\ndevices:\n- name: x\n  {device}\n")
        };
        for (text, expected) in [
            ("kind: a/b\n".to_owned(), "/s.yaml:1: a specification has no `cdiVersion`"),
            ("cdiVersion: 9.0.0\nother: 1\n".into(), ":1: cdiVersion 9.0.0: 0.3.0 to 1.1.0 are understood"),
            ("cdiVersion: 0.5.0\n\nkind: ab\n".into(), ":3: kind \"ab\": the kind has no \"/\""),
            ("cdiVersion: 0.5.0\nkind: a/b\n".into(), "it has no device"),
            ("cdiVersion: 0.5.0\nkind: a/b\ndevcies: []\n".into(), ":3: a specification has no key `devcies`; did you mean `devices`?"),
            (with(""), ":4: device \"x\" has no `containerEdits`"),
            (with("containerEdits: {env: [A]}"), ":5: \"A\" is no NAME=VALUE"),
            (with("containerEdits: {deviceNodes: [{path: dev/x}]}"), "\"dev/x\" is no absolute path"),
            (with("containerEdits: {deviceNodes: [{path: /dev/../x}]}"), "without \"..\""),
            (with("containerEdits: {deviceNodes: [{path: /dev/x, type: q}]}"), "there are b, c and u"),
            (with("containerEdits: {deviceNodes: [{path: /dev/x, major: q}]}"), "it takes a whole number"),
            (with("containerEdits: {mounts: [{hostPath: /a}]}"), "a mount has no `containerPath`"),
            (with("containerEdits: {mounts: [{hostPath: /a, containerPath: /b, options: ['a b']}]}"), "\"a b\" is no mount option"),
            (with("containerEdits: {hooks: [{hookName: poststop, path: /x}]}"), "a poststop hook cannot be run"),
            (with("containerEdits: {hooks: [{hookName: x, path: /x}]}"), "there is no hook \"x\""),
            (with("containerEdits: {hooks: [{hookName: prestart, path: /x, timeout: 0}]}"), "seconds, one or more"),
            (with("containerEdits: {additionalGids: [44]}"), "`additionalGids` is nothing"),
            (with("containerEdits: 7"), "containerEdits is a table"),
            ("cdiVersion: 0.5.0\nkind: a/b\ndevices:\n- {name: x, containerEdits: {env: [A=1]}}\n- {name: x, containerEdits: {env: [A=1]}}\n".into(), ":5: device \"x\" is there twice"),
        ] {
            let error = error(&text);
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
    }
}

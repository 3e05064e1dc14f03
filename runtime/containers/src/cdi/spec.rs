//! One specification: a file that says what a container needs to use devices of one kind.
//!
//! The format is that of the Container Device Interface, versions 0.3.0 to 1.1.0
//! (github.com/cncf-tags/container-device-interface). Later ones of the same major version can only add
//! keys: those that are not known are left out, and a line says so. What concerns the network or
//! the caches of the processor, which an unprivileged process cannot set, is left out likewise.

use std::path::{Path, PathBuf};

use super::CdiError;
use super::edits::{DeviceNode, Edits, Hook, HookPoint, Mount, NodeKind};
use super::name::{check_device, check_kind};
use super::native;
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
    /// Why no device of the file can be given.
    pub(super) refused: Option<Problem>,
    pub(super) devices: Vec<Device>,
    /// Keys of a later version, a line each.
    pub(super) unknown: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) edits: Edits,
    /// Why it cannot be given. The file's other devices can.
    pub(super) refused: Option<Problem>,
}

impl Spec {
    /// Reads the contents of the file at `path`.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Spec, CdiError> {
        let fail =
            |Problem { line, text }| CdiError::Line { path: path.to_owned(), line, problem: text };
        let mut document = yaml::parse(text).map_err(fail)?;
        let mut unknown = Vec::new();
        if is_later(&document).map_err(fail)? {
            KEYS.prune(&mut document, &mut |what, key, line| {
                let key = key.escape_debug();
                unknown.push(format!("{}:{line}: `{key}` of {what} is not known", path.display()));
            });
        }
        let spec = read(&document).map_err(fail)?;
        Ok(Spec { path: path.to_owned(), unknown, ..spec })
    }

    /// The error of a device that cannot be given.
    pub(super) fn check(&self, device: Option<&Device>) -> Result<(), CdiError> {
        let refused = self.refused.as_ref().or_else(|| device?.refused.as_ref());
        refused.map_or(Ok(()), |Problem { line, text }| {
            let (path, problem) = (self.path.clone(), text.clone());
            Err(CdiError::Line { path, line: *line, problem })
        })
    }

    /// What kind a file that cannot be used says that it is of.
    pub(super) fn kind_of(text: &str) -> Option<String> {
        let document = yaml::parse(text).ok()?;
        let (_, kind) = document.pairs().find(|(key, _)| *key == "kind")?;
        kind.text().ok().filter(|kind| check_kind(kind).is_ok()).map(str::to_owned)
    }
}

fn wrong(line: usize, text: impl std::fmt::Display) -> Problem {
    Problem { line, text: text.to_string() }
}

/// Whether the file is of a version after those that are known, and of the same major one.
fn is_later(document: &Node) -> Result<bool, Problem> {
    let Some((_, version)) = document.pairs().find(|(key, _)| *key == "cdiVersion") else {
        return Ok(false);
    };
    let have = version.text()?.trim_start_matches('v');
    if VERSIONS.contains(&have) {
        return Ok(false);
    }
    let [oldest, .., newest] = VERSIONS;
    let parts: Vec<Option<u32>> = have.split('.').map(|part| part.parse().ok()).collect();
    match parts[..] {
        [Some(1), Some(minor), Some(_)] if minor >= 1 => Ok(true),
        _ => Err(wrong(
            version.line,
            format_args!("cdiVersion {have}: {oldest} to {newest} are understood"),
        )),
    }
}

/// Keys of a table, and of the tables in it.
struct Keys {
    what: &'static str,
    known: &'static [&'static str],
    below: &'static [(&'static str, &'static Keys)],
}

const SPEC_KEYS: [&str; 5] = ["cdiVersion", "kind", "annotations", "devices", "containerEdits"];
const DEVICE_KEYS: [&str; 3] = ["name", "annotations", "containerEdits"];
const EDITS_KEYS: [&str; 7] =
    ["env", "deviceNodes", "mounts", "hooks", "additionalGids", "intelRdt", "netDevices"];
const NODE_KEYS: [&str; 9] =
    ["path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"];
const MOUNT_KEYS: [&str; 4] = ["hostPath", "containerPath", "options", "type"];
const HOOK_KEYS: [&str; 5] = ["hookName", "path", "args", "env", "timeout"];

const KEYS: Keys = Keys {
    what: "a specification",
    known: &SPEC_KEYS,
    below: &[
        (
            "devices",
            &Keys {
                what: "a device",
                known: &DEVICE_KEYS,
                below: &[("containerEdits", &KEYS_OF_EDITS)],
            },
        ),
        ("containerEdits", &KEYS_OF_EDITS),
    ],
};
const KEYS_OF_EDITS: Keys = Keys {
    what: "containerEdits",
    known: &EDITS_KEYS,
    below: &[
        ("deviceNodes", &Keys { what: "a device node", known: &NODE_KEYS, below: &[] }),
        ("mounts", &Keys { what: "a mount", known: &MOUNT_KEYS, below: &[] }),
        ("hooks", &Keys { what: "a hook", known: &HOOK_KEYS, below: &[] }),
    ],
};

impl Keys {
    /// Takes out what is not known, here and below.
    fn prune(&self, node: &mut Node, report: &mut dyn FnMut(&str, &str, usize)) {
        node.each_table(&mut |table| {
            table.retain(|(key, value)| {
                let known = self.known.contains(&key.as_str());
                if !known {
                    report(self.what, key, value.line);
                }
                known
            });
            for (key, value) in table {
                if let Some((_, keys)) = self.below.iter().find(|(known, _)| known == key) {
                    keys.prune(value, report);
                }
            }
        });
    }
}

fn read(document: &Node) -> Result<Spec, Problem> {
    let fields = document.fields("a specification", &SPEC_KEYS)?;
    fields.text("cdiVersion")?;
    let kind = fields.text("kind")?;
    let line = fields.get("kind").map_or(1, |node| node.line);
    check_kind(kind).map_err(|problem| wrong(line, format_args!("kind {kind:?}: {problem}")))?;
    let (edits, refused) = fields.get("containerEdits").map_or(Ok(Default::default()), edits)?;
    let mut devices: Vec<Device> = Vec::new();
    for node in fields.list("devices")? {
        let device = device(node)?;
        if devices.iter().any(|known| known.name == device.name) {
            return Err(wrong(node.line, format_args!("device {:?} is there twice", device.name)));
        }
        devices.push(device);
    }
    let (path, kind, unknown) = (PathBuf::new(), kind.to_owned(), Vec::new());
    Ok(Spec { path, kind, edits, refused, devices, unknown })
}

fn device(node: &Node) -> Result<Device, Problem> {
    let fields = node.fields("a device", &DEVICE_KEYS)?;
    let name = fields.text("name")?;
    check_device(name)
        .map_err(|problem| wrong(node.line, format_args!("device {name:?}: {problem}")))?;
    let (edits, refused) = fields.get("containerEdits").map_or(Ok(Default::default()), edits)?;
    // One that wants a chmod, which is nothing here, is no mistake.
    if edits.is_empty() && fields.get("containerEdits").is_none_or(Node::is_nothing) {
        return Err(wrong(node.line, format_args!("device {name:?} has no `containerEdits`")));
    }
    Ok(Device { name: name.to_owned(), edits, refused })
}

/// What a device needs, and why it cannot be given.
fn edits(node: &Node) -> Result<(Edits, Option<Problem>), Problem> {
    let fields = node.fields("containerEdits", &EDITS_KEYS)?;
    let mut edits = Edits::default();
    let mut refused = None;
    for node in fields.list("env")? {
        let variable = node.text()?;
        match variable.split_once('=') {
            Some((name, _)) if name.is_empty() || variable.contains('\0') => {
                return Err(wrong(node.line, format_args!("{variable:?} is no NAME=VALUE")));
            }
            Some((name, _)) if is_name(name.as_bytes()) => edits.env.push(variable.to_owned()),
            // To the specification it is one; no file of variables can have it.
            Some((name, _)) => {
                edits.left_out.push(format!("{name:?} is left out: no shell has such a variable"));
            }
            None => return Err(wrong(node.line, format_args!("{variable:?} is no NAME=VALUE"))),
        }
    }
    edits.nodes = fields.list("deviceNodes")?.iter().map(device_node).collect::<Result<_, _>>()?;
    edits.mounts = fields.list("mounts")?.iter().map(mount).collect::<Result<_, _>>()?;
    for node in fields.list("hooks")? {
        match hook(node)? {
            Ok(hook) => match native::actions(&hook) {
                Some(actions) => edits.actions.extend(actions),
                None => edits.hooks.push(hook),
            },
            Err(problem) => refused = refused.or(Some(problem)),
        }
    }
    for node in fields.list("additionalGids")? {
        let gid = u32::try_from(node.number()?);
        edits.gids.push(gid.map_err(|_| wrong(node.line, "additionalGids takes ids of groups"))?);
    }
    for (key, what) in [
        ("netDevices", "network devices are not moved into a container"),
        ("intelRdt", "shares of caches and memory bandwidth are not set"),
    ] {
        if fields.get(key).is_some_and(|node| !node.is_nothing()) {
            edits.left_out.push(format!("`{key}` is left out: {what} by an unprivileged user"));
        }
    }
    Ok((edits, refused))
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
    let fields = node.fields("a device node", &NODE_KEYS)?;
    let path = absolute(node, fields.text("path")?)?;
    let host_path = match fields.optional_text("hostPath")?.filter(|path| !path.is_empty()) {
        Some(host_path) => absolute(node, host_path)?,
        None => path,
    };
    let kind = match fields.optional_text("type")?.unwrap_or_default() {
        "" => None,
        "b" => Some(NodeKind::Block),
        "c" | "u" => Some(NodeKind::Character),
        "p" => Some(NodeKind::Fifo),
        other => {
            return Err(wrong(node.line, format_args!("type {other:?}: there are b, c, u and p")));
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
        // They are for a cgroup of the container's own, which there is none of here.
        if permissions != "none" && permissions.chars().any(|c| !"rwm".contains(c)) {
            return Err(wrong(
                node.line,
                format_args!("permissions {permissions:?}: there are r, w and m, or none"),
            ));
        }
    }
    Ok(DeviceNode {
        path: path.to_owned(),
        host_path: host_path.to_owned(),
        kind,
        numbers: match kind {
            Some(NodeKind::Fifo) => (None, None),
            None if numbers.0 == Some(0) => (None, None),
            _ => numbers,
        },
    })
}

fn mount(node: &Node) -> Result<Mount, Problem> {
    let fields = node.fields("a mount", &MOUNT_KEYS)?;
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

/// A hook, or why a device that wants it cannot be given.
fn hook(node: &Node) -> Result<Result<Hook, Problem>, Problem> {
    let fields = node.fields("a hook", &HOOK_KEYS)?;
    let point = match fields.text("hookName")? {
        "prestart" => HookPoint::Prestart,
        "createRuntime" => HookPoint::CreateRuntime,
        "createContainer" => HookPoint::CreateContainer,
        later @ ("startContainer" | "poststart" | "poststop") => {
            return Ok(Err(wrong(
                node.line,
                format_args!(
                    "a {later} hook cannot be run: nothing of the runtime is left by then; \
                     prestart, createRuntime and createContainer can"
                ),
            )));
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
    Ok(Ok(Hook { point, path: path.into(), args, env, timeout }))
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
        assert_eq!(
            (nodes[1].host_path.as_str(), nodes[1].kind),
            ("/dev/dri/card0", Some(NodeKind::Character))
        );
        assert_eq!(spec.edits.env, ["NVIDIA_VISIBLE_DEVICES=void"]);
        let folders = vec!["/usr/lib/x86_64-linux-gnu".to_owned()];
        assert_eq!(spec.edits.actions, [crate::cdi::Action::Cache { folders }]);
        let other = GPU.replace("/usr/bin/nvidia-cdi-hook", "/usr/bin/other");
        let spec = Spec::parse(&other, Path::new("/s.yaml")).unwrap();
        assert_eq!(spec.edits.hooks[0].args[1..3], ["update-ldcache", "--folder"]);
        assert_eq!(spec.edits.hooks[0].timeout, Some(5));
        assert_eq!(spec.edits.mounts[0].options, ["ro", "rbind"]);
        // On a node whose last GPU has been taken out.
        let none = "cdiVersion: 0.3.0\nkind: nvidia.com/gpu\ndevices: null\ncontainerEdits: {}\n";
        assert!(Spec::parse(none, Path::new("/s.yaml")).unwrap().devices.is_empty());
        // The same as JSON.
        let json = r#"{"cdiVersion": "0.6.0", "kind": "a/b", "devices": [{"name": "x",
            "containerEdits": {"env": ["A=1"]}}]}"#;
        assert_eq!(Spec::parse(json, Path::new("/s.json")).unwrap().devices[0].edits.env, ["A=1"]);
    }

    #[test]
    fn reads_what_the_interface_allows() {
        let text = r#"{"cdiVersion": "v1.0.0", "kind": "k8s.gpu.amd.com/gpu.x", "annotations": {"a": "b"},
            "devices": [
              {"name": "8f-gpu-0-128", "annotations": {"c": "1"}, "containerEdits": {
                "deviceNodes": [
                  {"path": "/dev/a", "permissions": "none"}, {"path": "/dev/b", "permissions": ""},
                  {"path": "/dev/p", "type": "p", "major": 0}, {"path": "/dev/u", "type": "u", "major": 1},
                  {"path": "/dev/m", "fileMode": 69206454, "uid": 0, "gid": 4294967295}],
                "mounts": [{"hostPath": "tmpfs", "containerPath": "/t", "type": "tmpfs", "options": ["mode=755"]}],
                "env": ["A=1\n2", "a.b-c=1", "B="], "additionalGids": [0, 44]}},
              {"name": "with-poststop", "containerEdits": {"hooks": [{"hookName": "poststop", "path": "/x"}]}}],
            "containerEdits": {}}"#;
        let spec = Spec::parse(text, Path::new("/s.json")).unwrap();
        let edits = &spec.devices[0].edits;
        let kinds: Vec<_> = edits.nodes.iter().map(|node| node.kind).collect();
        let (fifo, character) = (Some(NodeKind::Fifo), Some(NodeKind::Character));
        assert_eq!(kinds, [None, None, fifo, character, None]);
        assert_eq!(edits.env, ["A=1\n2", "B="]);
        assert_eq!(edits.left_out, ["\"a.b-c\" is left out: no shell has such a variable"]);
        assert_eq!(edits.mounts[0].fstype.as_deref(), Some("tmpfs"));
        // It costs the one device.
        assert!(spec.check(Some(&spec.devices[0])).is_ok());
        let refused = spec.check(Some(&spec.devices[1])).unwrap_err().to_string();
        assert!(refused.contains("/s.json:10: a poststop hook cannot be run"), "{refused}");
        let all = text.replace(
            "\"containerEdits\": {}}",
            "\"containerEdits\": {\"hooks\": [{\"hookName\": \"startContainer\", \"path\": \"/x\"}]}}",
        );
        let spec = Spec::parse(&all, Path::new("/s.json")).unwrap();
        assert!(spec.check(Some(&spec.devices[0])).is_err());
        assert!(spec.check(None).is_err());
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
            ("cdiVersion: 0.5.0\nkind: a/b\ndevcies: []\n".into(), ":3: a specification has no key `devcies`; did you mean `devices`?"),
            (with(""), ":4: device \"x\" has no `containerEdits`"),
            (with("containerEdits: {env: [A]}"), ":5: \"A\" is no NAME=VALUE"),
            (with("containerEdits: {deviceNodes: [{path: dev/x}]}"), "\"dev/x\" is no absolute path"),
            (with("containerEdits: {deviceNodes: [{path: /dev/../x}]}"), "without \"..\""),
            (with("containerEdits: {deviceNodes: [{path: /dev/x, type: q}]}"), "there are b, c, u and p"),
            (with("containerEdits: {deviceNodes: [{path: /dev/x, major: q}]}"), "it takes a whole number"),
            (with("containerEdits: {mounts: [{hostPath: /a}]}"), "a mount has no `containerPath`"),
            (with("containerEdits: {mounts: [{hostPath: /a, containerPath: /b, options: ['a b']}]}"), "\"a b\" is no mount option"),
            (with("containerEdits: {hooks: [{hookName: x, path: /x}]}"), "there is no hook \"x\""),
            (with("containerEdits: {hooks: [{hookName: prestart, path: /x, timeout: 0}]}"), "seconds, one or more"),
            (with("containerEdits: {additionalGids: [video]}"), "it takes a whole number"),
            (with("containerEdits: {additionalGids: [-1]}"), "additionalGids takes ids of groups"),
            ("cdiVersion: 2.0.0\nkind: a/b\n".into(), ":1: cdiVersion 2.0.0: 0.3.0 to 1.1.0 are understood"),
            ("cdiVersion: 1.x\nkind: a/b\n".into(), ":1: cdiVersion 1.x: "),
            (with("containerEdits: 7"), "containerEdits is a table"),
            ("cdiVersion: 0.5.0\nkind: a/b\ndevices:\n- {name: x, containerEdits: {env: [A=1]}}\n- {name: x, containerEdits: {env: [A=1]}}\n".into(), ":5: device \"x\" is there twice"),
        ] {
            let error = error(&text);
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
    }
}

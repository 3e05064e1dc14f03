//! What hooks of NVIDIA's toolkit do, for us to do: `nvidia-cdi-hook NAME` (1.17 and later) or
//! `nvidia-ctk hook NAME` (before), which need not be installed then, and need no process.

use super::edits::{Action, Hook};

/// Where images have CUDA's libraries for drivers older than themselves.
const COMPAT: &str = "/usr/local/cuda/compat";

/// What the hook does, if it is one of those that are known with arguments that are known.
pub(super) fn actions(hook: &Hook) -> Option<Vec<Action>> {
    let program = hook.path.file_name()?.to_str()?;
    let arguments = hook.args.get(1..).unwrap_or_default();
    let (name, options) = match (program, arguments) {
        ("nvidia-cdi-hook", [name, options @ ..]) => (name, options),
        ("nvidia-ctk", [hook, name, options @ ..]) if hook == "hook" => (name, options),
        _ => return None,
    };
    let options = options_of(options)?;
    let only = |known: &[&str]| options.iter().all(|(name, _)| known.contains(name)).then_some(());
    let all = |wanted: &'static str| {
        options.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value)
    };
    let last =
        |wanted| all(wanted).next_back().filter(|value| !value.is_empty()).map(str::to_owned);
    match name.as_str() {
        "create-symlinks" => {
            only(&["link"])?;
            all("link").flat_map(|list| list.split(',')).map(link).collect()
        }
        "update-ldcache" => {
            only(&["folder", "ldconfig-path"])?;
            let folders = all("folder").flat_map(|list| list.split(','));
            let folders = folders.map(checked).collect::<Option<_>>()?;
            Some(vec![Action::Cache { folders }])
        }
        "enable-cuda-compat" => {
            only(&["host-driver-version", "host-cuda-version", "cuda-compat-container-root"])?;
            let folder = last("cuda-compat-container-root");
            Some(vec![Action::Compat {
                driver: last("host-driver-version"),
                cuda: last("host-cuda-version"),
                folder: checked(folder.as_deref().unwrap_or(COMPAT))?,
            }])
        }
        "update-application-profile" => only(&[]).map(|()| vec![Action::Profile]),
        // It keeps the driver's library from making device nodes. Nobody here can.
        "disable-device-node-modification" => only(&[]).map(|()| Vec::new()),
        // It opens /dev/dri and /dev/nvidia-caps to others than root. Ours are.
        "chmod" => only(&["mode", "path"]).map(|()| Vec::new()),
        _ => None,
    }
}

/// `--name value` and `--name=value`.
fn options_of(mut words: &[String]) -> Option<Vec<(&str, &str)>> {
    let mut options = Vec::new();
    while let [first, rest @ ..] = words {
        let name = first.strip_prefix("--").or_else(|| first.strip_prefix('-'))?;
        let (option, left) = match (name.split_once('='), rest) {
            (Some(option), left) => (option, left),
            (None, [value, left @ ..]) => ((name, value.as_str()), left),
            (None, []) => return None,
        };
        options.push(option);
        words = left;
    }
    Some(options)
}

fn link(text: &str) -> Option<Action> {
    let (target, link) = text.split_once("::").filter(|(_, link)| !link.contains("::"))?;
    (!target.is_empty() && !target.contains('\0'))
        .then_some(Action::Link { target: target.to_owned(), link: checked(link)? })
}

/// An absolute path without a way up.
fn checked(path: &str) -> Option<String> {
    let up = path.split('/').any(|part| part == "..");
    (path.starts_with('/') && !up && !path.contains('\0')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::edits::HookPoint;
    use super::*;

    fn of(path: &str, args: &[&str]) -> Option<Vec<Action>> {
        actions(&Hook {
            point: HookPoint::CreateContainer,
            path: path.into(),
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            env: Vec::new(),
            timeout: None,
        })
    }

    #[test]
    fn the_toolkits_hooks_are_known() {
        let hook =
            |args: &[&str]| of("/usr/bin/nvidia-cdi-hook", &[&["nvidia-cdi-hook"], args].concat());
        let link =
            Action::Link { target: "libcuda.so.1".into(), link: "/usr/lib/libcuda.so".into() };
        for args in [
            &["create-symlinks", "--link", "libcuda.so.1::/usr/lib/libcuda.so"][..],
            &["create-symlinks", "--link=libcuda.so.1::/usr/lib/libcuda.so"],
        ] {
            assert_eq!(hook(args).unwrap(), std::slice::from_ref(&link));
        }
        let old = [
            "nvidia-ctk",
            "hook",
            "create-symlinks",
            "--link",
            "libcuda.so.1::/usr/lib/libcuda.so",
        ];
        assert_eq!(of("/usr/bin/nvidia-ctk", &old).unwrap(), [link]);
        assert_eq!(
            hook(&[
                "update-ldcache",
                "--ldconfig-path",
                "/sbin/ldconfig",
                "--folder",
                "/a",
                "--folder",
                "/b"
            ])
            .unwrap(),
            [Action::Cache { folders: vec!["/a".into(), "/b".into()] }]
        );
        assert_eq!(
            hook(&["enable-cuda-compat", "--host-driver-version=570.1.2"]).unwrap(),
            [Action::Compat { driver: Some("570.1.2".into()), cuda: None, folder: COMPAT.into() }]
        );
        assert_eq!(hook(&["update-application-profile"]).unwrap(), [Action::Profile]);
        assert_eq!(hook(&["disable-device-node-modification"]).unwrap(), []);
        assert_eq!(hook(&["chmod", "--mode", "755", "--path", "/dev/dri"]).unwrap(), []);
    }

    #[test]
    fn what_is_not_known_is_left_to_the_hook() {
        let hook =
            |args: &[&str]| of("/opt/bin/nvidia-cdi-hook", &[&["nvidia-cdi-hook"], args].concat());
        for args in [
            &["of-a-later-version"][..],
            &[],
            &["create-symlinks", "--new-option", "x"],
            &["create-symlinks", "--link"],
            &["create-symlinks", "--link", "a"],
            &["create-symlinks", "--link", "a::/b::/c"],
            &["create-symlinks", "--link", "a::../../etc/passwd"],
            &["update-ldcache", "--folder", "/a/../../b"],
            &["update-ldcache", "/a"],
            &["enable-cuda-compat", "--cuda-compat-container-root=x"],
        ] {
            assert_eq!(hook(args), None, "{args:?}");
        }
        assert_eq!(of("/usr/bin/other", &["nvidia-cdi-hook", "chmod"]), None);
        assert_eq!(of("/usr/bin/nvidia-ctk", &["nvidia-ctk", "cdi", "chmod"]), None);
    }
}

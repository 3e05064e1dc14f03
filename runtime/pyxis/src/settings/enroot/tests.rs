use super::*;
use proptest::prelude::*;
use std::os::unix::fs::chown;
use std::time::Duration;

fn user() -> User {
    let name = |_| "alice".to_owned();
    User { uid: 1000, gid: 100, name, home: Some("/home/alice".into()) }
}

/// PATH is for the shell.
fn environ() -> Environ {
    let variables = [
        ("HOME", "/home/alice"),
        ("PATH", "/usr/bin:/bin"),
        ("EMPTY", ""),
        ("BLANK", "a  b"),
        ("STAR", "/et*"),
        ("LC_ALL", "C"),
    ];
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// What the files of these names and texts say.
fn conf_of(files: &[(&str, &str)]) -> EnrootConf {
    let temp = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut conf =
        EnrootConf::of_directory(temp.path(), Trusted::CallersToo, &environ(), &user(), Shell::Run);
    for remark in &mut conf.remarks {
        remark.path = remark.path.strip_prefix(temp.path()).unwrap().to_owned();
    }
    conf
}

fn conf(text: &str) -> EnrootConf {
    conf_of(&[(FILE, text)])
}

fn value(conf: &EnrootConf, name: &str) -> Option<String> {
    Some(conf.variables.get(OsStr::new(name))?.value.to_str().unwrap().to_owned())
}

fn remarks(conf: &EnrootConf) -> Vec<String> {
    conf.remarks.iter().map(ToString::to_string).collect()
}

/// What enroot's loop over lines gives: `read` splits them, `eval echo` tells the value.
fn by_bash(lines: &[String]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let script = r#"
        set -uo pipefail
        for line; do
            IFS=$' \t=' read -r name words <<< "$line"
            if value=$(eval "echo $words" 2> /dev/null); then code=y; else code=; fi
            printf '%s\0%s\0%s\0' "$name" "$code" "$value"
        done"#;
    let mut command = hygiene::unsecure::command("bash");
    command.args(["--norc", "-c", script, "bash"]).args(lines);
    command.env_clear().envs(environ()).current_dir("/usr");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    let one =
        |three: &[&[u8]]| (three[0].to_vec(), (!three[1].is_empty()).then(|| three[2].to_vec()));
    fields.chunks_exact(3).map(one).collect()
}

/// Each line says the same to us as to bash, or is left to bash.
fn same_as_bash(lines: &[String]) -> usize {
    let mut by_ourselves = 0;
    let ids = User { uid: nix::unistd::getuid().as_raw(), ..user() };
    for (line, (name, value)) in lines.iter().zip(by_bash(lines)) {
        let mut split = line::split(format!("{line}\n").as_bytes());
        let Some((1, Ok(ours))) = split.pop() else { continue };
        assert_eq!(ours.name.as_bytes(), name, "{line:?}");
        if let Some(ours) = expand::expand(&ours.value, &environ(), &ids) {
            assert_eq!(Some(ours), value, "{line:?}");
            by_ourselves += 1;
        }
    }
    by_ourselves
}

/// Values as people write them, and as nobody should.
const VALUES: &[&str] = &[
    "yes",
    "= yes",
    "=yes",
    " =\tyes ",
    "\tyes",
    "==yes",
    "yes=",
    "a=b",
    "a=b=",
    "a = b",
    "a b=",
    "",
    "=",
    "==",
    "  ",
    "-comp lzo -noD -exit-on-error",
    "a   b",
    "'a   b'",
    "\"a   b\" c",
    "\"\" a",
    "a # comment",
    "a#b",
    "# comment",
    "''# c",
    "$EMPTY# c",
    "$EMPTY",
    "a$EMPTY",
    "$EMPTY''",
    "~",
    "~/x",
    "a~",
    "~x",
    "a=~/x",
    "\\~",
    "\\$HOME",
    "'$HOME'",
    "\"$HOME\"",
    "$HOME/x",
    "${HOME}/x",
    "${HOME}x",
    "${TMPDIR:-/tmp}",
    "${EMPTY:-x}",
    "${EMPTY-x}",
    "${HOME:-x}/y",
    "${ABSENT}",
    "$ABSENT",
    "${ABSENT:-${HOME}/z}",
    "${ABSENT:-}",
    "$BLANK",
    "\"$BLANK\"",
    "$STAR",
    "\"$STAR\"",
    "*",
    "/et?",
    "{a,b}",
    "a;echo b",
    "a>b",
    "a|cat",
    "a&",
    "(a)",
    "$(echo x)",
    "`echo x`",
    "\"$(echo x)\"",
    "$((1+1))",
    "-n x",
    "-e a\\\\tb",
    "-E",
    "-",
    "-nope",
    "a\\ b",
    "\"a\\b\\\"c\\$\"",
    "'",
    "\"",
    "\\",
    "${",
    "${}",
    "${HOME",
    "$",
    "a$",
    "\"$\"",
    "$'a'",
    "$1",
    "!x",
    "[ab]",
    "a%b,c@d+e:f^g",
    "http://u:p@h:1/?q",
    "ä",
    "\"ä b\"",
    "${#HOME}",
    "${HOME%/*}",
    "${UID}",
    "$EUID/x",
    "/run/user-$(id -u)/x",
];

#[test]
fn forms_of_lines_mean_what_they_mean_to_a_shell() {
    let lines: Vec<String> = VALUES
        .iter()
        .flat_map(|value| {
            ["ENROOT_X", " ENROOT_X ", "NVIDIA_X="].map(|name| format!("{name} {value}"))
        })
        .chain(VALUES.iter().map(|value| format!("ENROOT_X={value}")))
        .collect();
    let by_ourselves = same_as_bash(&lines);
    assert!(by_ourselves > lines.len() / 2, "{by_ourselves} of {}", lines.len());
}

#[test]
fn what_a_wiki_and_clouds_write() {
    let got = conf(
        "# comment\n\n#ENROOT_MOUNT_HOME yes\n  # more\n\
         ENROOT_RUNTIME_PATH /run/enroot/user-$(id -u)\n\
         ENROOT_CACHE_PATH=/raid/enroot-cache/group-$(id -g)\n\
         ENROOT_DATA_PATH = \"/mnt/localssd/${UID}/enroot\"\n\
         ENROOT_CONFIG_PATH         ${HOME}/.enroot\n\
         ENROOT_SQUASH_OPTIONS      -comp lzo -noD -exit-on-error\n\
         https_proxy http://proxy:3128 # ours\n\
         MELLANOX_VISIBLE_DEVICES all\n\
         ENROOT_TEMP_PATH $(printf /tmp/%s-%s a b)\n\
         SSL_CERT_FILE ${ENROOT_TEMP_PATH}/x\n",
    );
    assert_eq!(remarks(&got), [""; 0]);
    for (name, wanted) in [
        ("ENROOT_RUNTIME_PATH", "/run/enroot/user-1000"),
        ("ENROOT_CACHE_PATH", "/raid/enroot-cache/group-100"),
        ("ENROOT_DATA_PATH", "/mnt/localssd/1000/enroot"),
        ("ENROOT_CONFIG_PATH", "/home/alice/.enroot"),
        ("ENROOT_SQUASH_OPTIONS", "-comp lzo -noD -exit-on-error"),
        ("https_proxy", "http://proxy:3128"),
        ("MELLANOX_VISIBLE_DEVICES", "all"),
        ("ENROOT_TEMP_PATH", "/tmp/a-b"),
        ("SSL_CERT_FILE", "/tmp/a-b/x"),
    ] {
        assert_eq!(value(&got, name).as_deref(), Some(wanted), "{name}");
    }
    assert_eq!(got.variables[OsStr::new("https_proxy")].line, 10);
    assert_eq!(got.variables.len(), 9);
}

/// A value had the carriage return in it, as it has with enroot, and a line that is blank had one.
#[test]
fn a_file_of_another_systems_editor_is_read() {
    let got = conf("\u{feff}ENROOT_TEMP_PATH /a\r\n\r\n# x\r\nENROOT_REMAP_ROOT yes\r\n");
    assert_eq!(remarks(&got), [""; 0]);
    assert_eq!(value(&got, "ENROOT_TEMP_PATH").as_deref(), Some("/a"));
    assert_eq!(value(&got, "ENROOT_REMAP_ROOT").as_deref(), Some("yes"));
}

#[test]
fn a_line_that_means_nothing_stops_nothing_but_itself() {
    let got = conf(
        "export ENROOT_MOUNT_HOME=yes\nENROOT_DATA_PATH \"/open\nENROOT_CACHE_PATH $(exit 3)$NOT_SET\n\
         ENROOT_TEMP_PATH /a/$(no-such-program)/b\nNVIDIA_A-B x\nENROOT_CR a\rb\nif [ -d /x ]; then\n\
         ENROOT_MAX_PROCESSORS many\nENROOT_LOGIN_SHELL $(sleep 99 > /dev/null & echo yes)\n\
         ENROOT_RESTRICT_DEV yes\nENROOT_REMAP_ROOT yes",
    );
    let said = remarks(&got);
    for beginning in [
        "enroot.conf:1: \"export\" is no variable that enroot.conf sets",
        "enroot.conf:2: unexpected EOF",
        "enroot.conf:3: NOT_SET: unbound variable",
        "enroot.conf:4: no-such-program: command not found",
        "enroot.conf:5: it has characters",
        "enroot.conf:6: it has characters",
        "enroot.conf:7: \"if\" is no variable",
        "enroot.conf:11: there is no newline at its end",
    ] {
        assert!(said.iter().any(|remark| remark.starts_with(beginning)), "{beginning}: {said:?}");
    }
    assert_eq!(said.len(), 8, "{said:?}");
    assert_eq!(value(&got, "ENROOT_TEMP_PATH").as_deref(), Some("/a//b"));
    assert_eq!(value(&got, "ENROOT_RESTRICT_DEV").as_deref(), Some("yes"));
    assert_eq!(value(&got, "ENROOT_LOGIN_SHELL").as_deref(), Some("yes"));
    assert_eq!(value(&got, "ENROOT_DATA_PATH"), None);
    assert_eq!(value(&got, "ENROOT_REMAP_ROOT"), None);
    // It is text enough for enroot, but for no setting of ours.
    let mut got = got;
    let _ = got.layer();
    assert!(
        remarks(&got)[8].ends_with(
            "enroot.conf:8: ENROOT_MAX_PROCESSORS: it takes a whole number, zero or more"
        ),
        "{:?}",
        remarks(&got)
    );
}

#[test]
fn who_comes_first_is_heard() {
    let got = conf_of(&[
        (
            FILE,
            "ENROOT_MOUNT_HOME\nENROOT_MOUNT_HOME yes\nENROOT_MOUNT_HOME no\nENROOT_TEMP_PATH ${HOME}/t\n",
        ),
        ("enroot.conf.d/20.conf", "NVIDIA_A two\nENROOT_MOUNT_HOME no\n"),
        ("enroot.conf.d/10.conf", "NVIDIA_A one\nNVIDIA_B ${ENROOT_TEMP_PATH}\n"),
        ("enroot.conf.d/.30.conf", "NVIDIA_C x\n"),
        ("enroot.conf.d/README", "nonsense\n"),
    ]);
    assert_eq!(remarks(&got), [""; 0]);
    let all: Vec<_> = got
        .variables
        .iter()
        .map(|(name, said)| (name.to_str().unwrap(), said.value.to_str().unwrap()))
        .collect();
    assert_eq!(
        all,
        [
            ("ENROOT_MOUNT_HOME", "yes"),
            ("ENROOT_TEMP_PATH", "/home/alice/t"),
            ("NVIDIA_A", "one"),
            ("NVIDIA_B", "/home/alice/t"),
        ]
    );
    assert_eq!(got.files.len(), 3);
    assert_eq!(conf_of(&[]).files.len(), 0);
}

#[test]
fn others_files_are_not_believed() {
    assert!(nix::unistd::geteuid().is_root(), "to give files away, this test must run as root");
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join(FILE);
    let marker = temp.path().join("executed");
    fs::write(&path, format!("ENROOT_MOUNT_HOME $(touch {})yes\n", marker.display())).unwrap();
    let load =
        |whose| EnrootConf::of_directory(temp.path(), whose, &environ(), &user(), Shell::Run);
    chown(&path, Some(1234), None).unwrap();
    for whose in [Trusted::Roots, Trusted::CallersToo] {
        let got = load(whose);
        assert!(got.variables.is_empty() && got.files.is_empty(), "{got:?}");
        let expected = format!(
            "{0}: it is not believed: {0} belongs to uid 1234, not to root",
            path.display()
        );
        assert_eq!(remarks(&got), [expected]);
    }
    chown(&path, Some(0), None).unwrap();
    chown(temp.path(), Some(1234), None).unwrap();
    assert!(load(Trusted::Roots).variables.is_empty());
    assert!(!marker.exists());
    chown(temp.path(), Some(0), None).unwrap();
    assert_eq!(load(Trusted::Roots).variables.len(), 1);
    assert!(marker.exists());
    // Nor is a shell asked where nobody is to run one.
    let got =
        EnrootConf::of_directory(temp.path(), Trusted::Roots, &environ(), &user(), Shell::Never);
    assert_eq!(remarks(&got), [format!("{}:1: it is for a shell", path.display())]);
}

#[test]
fn a_shell_that_does_not_end_is_ended() {
    let lines = [("ENROOT_A", "1".as_bytes()), ("ENROOT_B", b"$(sleep 1000)"), ("ENROOT_C", b"3")];
    let answers = shell::evaluate(lines.into_iter(), &environ(), Duration::from_millis(500));
    assert_eq!(answers[0].as_ref().unwrap().value, b"1");
    assert_eq!(answers[1].as_ref().unwrap_err(), "it does not end");
    assert_eq!(answers[2].as_ref().unwrap_err(), "it does not end");
}

#[test]
fn a_shell_does_not_inherit_descriptors_or_what_makes_it_run_other_code() {
    let kept = tempfile::tempfile().unwrap();
    nix::fcntl::fcntl(&kept, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut environ = environ();
    environ.insert("BASH_ENV".into(), "/proc/none".into());
    let lines =
        [("ENROOT_A", "$(ls /proc/self/fd)".as_bytes()), ("ENROOT_B", b"${BASH_ENV-unset}")];
    let answers = shell::evaluate(lines.into_iter(), &environ, shell::PATIENCE);
    let said: Vec<_> = answers.iter().map(|a| a.as_ref().unwrap().value.clone()).collect();
    // The last is the directory's.
    assert_eq!(said[0], b"0 1 2 3");
    assert_eq!(said[1], b"unset");
}

#[test]
fn every_variable_of_enroots_file_does_something_or_it_is_said_why_not() {
    let known = [
        "LIBRARY_PATH",
        "SYSCONF_PATH",
        "RUNTIME_PATH",
        "CONFIG_PATH",
        "CACHE_PATH",
        "DATA_PATH",
        "TEMP_PATH",
        "GZIP_PROGRAM",
        "ZSTD_OPTIONS",
        "SQUASH_OPTIONS",
        "ROOTFS_WRITABLE",
        "NATIVE_OVERLAYFS",
        "REMAP_ROOT",
        "UNSHARE_NET",
        "UNSHARE_PID",
        "UNSHARE_IPC",
        "UNSHARE_UTS",
        "MAX_PROCESSORS",
        "MAX_CONNECTIONS",
        "CONNECT_TIMEOUT",
        "TRANSFER_TIMEOUT",
        "TRANSFER_RETRIES",
        "LOGIN_SHELL",
        "ALLOW_SUPERUSER",
        "ALLOW_HTTP",
        "BUNDLE_ALL",
        "BUNDLE_CHECKSUM",
        "MOUNT_HOME",
        "RESTRICT_DEV",
        "FORCE_OVERRIDE",
    ];
    for name in known {
        assert_ne!(effect_of(&format!("ENROOT_{name}")), Effect::Hooks, "{name}");
    }
    assert_eq!(effect_of("ENROOT_MOUNT_HMOE"), Effect::Hooks);
}

/// Pieces that lines are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/=. \t'\"#~$\\\\-]{1,3}",
        prop::sample::select(vec![
            "${HOME}",
            "$HOME",
            "$EMPTY",
            "${ABSENT:-x}",
            "${EMPTY:-y}",
            "${EMPTY-y}",
            "$BLANK",
            "$STAR",
            "\"$BLANK\"",
            "'a b'",
            "\"a  b\"",
            "\\",
            "-n",
            "=",
            "==",
            " = ",
            "\t",
            "#",
            "~",
            "~/",
            "*",
            ";",
            "(",
            "$(",
            ")",
            "`",
            "{",
            "}",
            "|",
            "&",
            "<",
            ">",
            "!",
            "?",
            "[",
            "é",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_line_means_another_thing_than_to_a_shell(
        lines in prop::collection::vec(prop::collection::vec(piece(), 0..7), 40)
    ) {
        // What a random line would do is not to be done.
        let harmless = |line: &String| !line.contains(['|', '&', '<', '>', ';', '(', '`']);
        let lines = lines.into_iter().map(|pieces| format!("ENROOT_X{}", pieces.concat()));
        let lines: Vec<String> = lines.filter(harmless).collect();
        same_as_bash(&lines);
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, line) in line::split(&text) {
            if let Ok(line) = line {
                let _ = expand::expand(&line.value, &environ(), &user());
            }
        }
    }
}

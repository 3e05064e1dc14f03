use super::*;
use crate::config::Config;
use crate::options::{Options, Valued};
use crate::root::child::{Caller, Patience};
use crate::root::job::Job;
use crate::root::runtime::Runtime;
use crate::root::shared::pair;
use crate::root::user::Credentials;
use crate::step::plan::Plan;
use handover::MISMATCH;
use spank_bindings::StepId;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Stands in for the command: leaves its arguments and its request in its directory.
const NOTES: &str = "#!/bin/sh\n\
    cat /proc/$$/cmdline > ${0%/*}/cmdline\n\
    cat /proc/$$/fd/3 > ${0%/*}/request\n";

/// A command that ends with `script`, and what the plugin says to it.
struct Noted {
    directory: tempfile::TempDir,
    command: RuntimeCommand,
}

impl Noted {
    fn new(script: &str) -> Noted {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("pyxis");
        fs::write(&program, format!("{NOTES}{script}")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Noted { directory, command: RuntimeCommand { name: "pyxis", program } }
    }

    fn arguments(&self) -> String {
        let bytes = fs::read(self.directory.path().join("cmdline")).unwrap();
        let words = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        words.skip(2).collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    fn request(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("request")).unwrap()
    }
}

/// Has `run` called with what a start of these options works with.
fn with_context<T>(options: &[(Valued, &str)], run: impl FnOnce(Context<'_>) -> T) -> T {
    let user = || Credentials { uid: 0, gid: 0, groups: vec![] };
    let job = Job {
        user: user(),
        job_id: 42,
        step_id: StepId(7),
        local_tasks: 1,
        total_tasks: 1,
        pinned: None,
        privileged: false,
    };
    let mut parsed = Options::default();
    for (which, value) in options {
        parsed.set(*which, value.as_bytes()).unwrap();
    }
    let config = Config::default();
    let plan = Plan::new(&config, &parsed, &job, None).unwrap();
    let environ = [c"PATH=/usr/bin:/bin".to_owned(), c"SECRET=x".to_owned(), c"EMPTY=".to_owned()];
    let user = user();
    let caller =
        Caller { user: &user, environ: &environ, patience: Patience::OfUser, cgroup: None };
    run(Context { config: &config, plan: &plan, caller, talkative: false, one_node: true })
}

const OPTIONS: [(Valued, &str); 3] = [
    (Valued::Image, "/secret image.sqsh"),
    (Valued::Mounts, "/secret\\dir:/mnt:ro"),
    (Valued::Env, "SECRET,EMPTY,ABSENT"),
];

fn started(noted: &Noted, target: Target<'_>) -> Result<(), StepError> {
    let (socket, step_socket) = pair().unwrap();
    let (mounter, _root) = pair().unwrap();
    let mounter = Some(mounter.as_fd());
    let channels = Channels { socket: socket.as_fd(), step_socket: step_socket.as_fd(), mounter };
    with_context(&OPTIONS, |context| start(&noted.command, context, target, channels))
}

#[test]
fn nothing_of_the_users_is_an_argument_of_a_start() {
    let noted = Noted::new("");
    started(&noted, Target::File(Path::new("/secret image.sqsh"))).unwrap();
    assert_eq!(noted.arguments(), "start --request=3,4,5");
    let bytes = noted.request();
    let Request::Start(asked) = Request::parse(&bytes).unwrap() else { panic!("no start") };
    let (path, label) = (OsStr::new("/secret image.sqsh"), OsStr::new("pyxis_42.7"));
    assert_eq!(asked.target, request::Target::File { path, label });
    let (source, target) = (OsStr::new("/secret\\dir"), OsStr::new("/mnt"));
    let options = OsStr::new("x-create=auto,rbind,ro");
    assert_eq!(asked.mounts, [request::Mount { source, target, options }]);
    assert_eq!((asked.env, asked.joining), (vec![OsStr::new("SECRET")], Joining::Never));
}

/// By its name below the shared store; and before the command, which then waits for the answer.
#[test]
fn root_is_asked_for_an_image_of_the_shared_store_before_the_command_is_executed() {
    let hex = "0123456789abcdef".repeat(4);
    let (socket, step_socket) = (pair().unwrap(), pair().unwrap());
    for (store, asked) in [(Some("/s"), true), (Some("/other"), false), (None, false)] {
        let (ours, root) = pair().unwrap();
        // A command that finds the request on its way.
        let noted = Noted::new("");
        let (socket, step_socket) = (socket.0.as_fd(), step_socket.0.as_fd());
        let channels = Channels { socket, step_socket, mounter: Some(ours.as_fd()) };
        let image = PathBuf::from(format!("/s/images/{hex}.sqsh"));
        let config = Config { shared_store: store.map(PathBuf::from), ..Config::default() };
        with_context(&OPTIONS, |context| {
            let context = Context { config: &config, ..context };
            start(&noted.command, context, Target::File(&image), channels).unwrap();
        });
        let expected = if asked { ",6" } else { "" };
        assert_eq!(noted.arguments(), format!("start --request=3,4,5{expected}"), "{store:?}");
        let mut bytes = [0; 100];
        let length = nix::sys::socket::recv(root.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT);
        let sent = length.map(|length| &bytes[..length]);
        assert_eq!(sent, if asked { Ok(hex.as_bytes()) } else { Err(Errno::EAGAIN) }, "{store:?}");
    }
}

/// What is for who looks for it.
#[test]
fn a_verbose_line_of_the_command_is_one_of_the_log() {
    use spank_bindings::mock::{self, Level};
    let noted = Noted::new("echo '[VERBOSE] pyxis: a reason' >&2; echo word >&2");
    mock::take_lines();
    started(&noted, Target::Name("c")).unwrap();
    let lines = mock::take_lines();
    let said = |level, line: &str| lines.contains(&(level, line.to_owned()));
    assert!(said(Level::Info, "word"), "{lines:?}");
    assert!(said(Level::Verbose, "pyxis: a reason"), "{lines:?}");
}

#[test]
fn a_container_that_runs_is_joined_without_mounts() {
    let noted = Noted::new("exit 10");
    started(&noted, Target::Running("secret", 1)).unwrap();
    assert!(!noted.arguments().contains("secret"), "{}", noted.arguments());
    let bytes = noted.request();
    let Request::Start(asked) = Request::parse(&bytes).unwrap() else { panic!("no start") };
    assert_eq!(asked.target, request::Target::Name(OsStr::new("secret")));
    assert_eq!((asked.mounts.len(), asked.joining), (0, Joining::IfRunning));
}

#[test]
fn nor_is_it_of_a_pull() {
    let image = Image::parse(OsStr::new("user@secret.example#image:1"));
    let (socket, _other) = pair().unwrap();
    for (broker, words) in
        [(None, "pull --request=3"), (Some(socket.as_fd()), "pull --request=3,4")]
    {
        let noted = Noted::new("echo /dev/null");
        let stored = with_context(&[(Valued::Image, "x")], |context| {
            pull(&noted.command, context, &image, broker).unwrap().map(|stored| stored.path)
        });
        assert_eq!(stored, Some("/dev/null".into()));
        assert_eq!(noted.arguments(), words);
        let uri = OsStr::new("docker://user@secret.example#image:1");
        let bytes = noted.request();
        assert_eq!(Request::parse(&bytes).unwrap(), Request::Pull { uri, digest: None });
    }
}

#[test]
fn who_gets_the_image_for_others_says_once_which() {
    use spank_bindings::mock;
    let told = |announced: bool| {
        mock::take_lines();
        let mut tell = teller(announced, "ubuntu");
        ["[INFO] 5 % of 1.00 GiB", "odd"].into_iter().for_each(&mut tell);
        mock::take_lines().into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    let which = "pyxis: importing docker image: ubuntu";
    assert_eq!(told(false), [which, "pyxis: 5 % of 1.00 GiB", "pyxis: odd"]);
    assert_eq!(told(true), ["pyxis: 5 % of 1.00 GiB", "pyxis: odd"]);
}

/// Nothing else that the command says moves the cursor.
#[test]
fn a_bar_is_drawn_in_place_and_nothing_else_is() {
    use spank_bindings::mock;
    mock::take_lines();
    let mut tell = teller(true, "ubuntu");
    for line in ["[INFO] 1 %", "[AGAIN] [INFO] 2 %\x1b[A", "\x1b[A\x1b[2Kx", "x [AGAIN] y"] {
        tell(line);
    }
    let lines: Vec<String> = mock::take_lines().into_iter().map(|(_, line)| line).collect();
    let expected = [
        "pyxis: 1 %",
        "\x1b[A\x1b[2Kpyxis: 2 %\\u{1b}[A",
        "pyxis: \\u{1b}[A\\u{1b}[2Kx",
        "pyxis: x [AGAIN] y",
    ];
    assert_eq!(lines, expected);
}

/// The image's path is the answer, which is nobody's to read.
#[test]
fn what_is_told_of_a_pull_is_what_the_command_says() {
    use spank_bindings::mock;
    let noted = Noted::new(
        "echo '[INFO] word' >&2; echo /dev/null; sleep 3; echo '[INFO] more' >&2; sleep 1",
    );
    let image = Image::parse(OsStr::new("ubuntu"));
    mock::take_lines();
    with_context(&[(Valued::Image, "x")], |context| {
        pull(&noted.command, context, &image, None).unwrap();
    });
    let lines: Vec<String> = mock::take_lines().into_iter().map(|(_, line)| line).collect();
    assert!(lines.contains(&"pyxis: word".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("/dev/null")), "{lines:?}");
}

/// On a terminal it was drawn over; in a log it would be a line for each half of a second.
#[test]
fn a_bar_is_not_among_what_is_reported_of_a_failure() {
    let noted = Noted::new("echo '[INFO] 1 %' >&2; echo '[AGAIN] [INFO] 2 %' >&2; exit 1");
    let error = started(&noted, Target::Name("c")).unwrap_err().to_string();
    assert!(error.contains("[INFO] 1 %") && !error.contains("2 %"), "{error}");
}

#[test]
fn nor_of_anything_else_that_is_asked_for() {
    let text = OsStr::new;
    let (uri, name, file) = (text("docker://secret"), text("pyxis_secret"), text("/secret file"));
    for (request, words) in [
        (Request::Digest { uri }, "digest --request=3"),
        (Request::Import { uri, file }, "import --request=3"),
        (Request::Load { uri, name }, "load --request=3"),
        (Request::Create { file, name }, "create --request=3"),
        (Request::Ensure { file, name }, "create --request=3"),
        (Request::Export { name, to: file }, "export --request=3"),
        (Request::MayPush { uri }, "push --request=3"),
        (Request::Remove { name }, "remove --request=3"),
        (Request::List, "list --request=3"),
        (Request::Processes, "list --request=3"),
        (Request::Discard { file }, "discard --request=3"),
    ] {
        let noted = Noted::new("");
        let program = noted.command.program.clone();
        let runtime = Runtime::Builtin(RuntimeCommand { name: "pyxis", program });
        with_context(&[], |context| runtime.ask(context.caller, &request, "x").map(drop).unwrap());
        assert_eq!(noted.arguments(), words);
        assert_eq!(Request::parse(&noted.request()).unwrap(), request);
    }
}

/// What root has done at the end, and tasks before, is asked for in full.
#[test]
fn each_verb_asks_for_what_it_is_given() {
    let text = OsStr::new;
    let asked = |run: &dyn Fn(&Runtime, Context<'_>)| {
        let noted = Noted::new("");
        let program = noted.command.program.clone();
        let runtime = Runtime::Builtin(RuntimeCommand { name: "pyxis", program });
        with_context(&[], |context| run(&runtime, context));
        noted.request()
    };
    let image = Image::parse(text("dockerd://secret"));
    let (uri, name, file) = (text("dockerd://secret"), text("c"), Path::new("/a/b.sqsh"));
    let bytes = asked(&|runtime, context| {
        runtime.import(context.caller, &image, file).unwrap();
    });
    let expected = Request::Import { uri, file: file.as_os_str() };
    assert_eq!(Request::parse(&bytes).unwrap(), expected);
    let bytes = asked(&|runtime, context| {
        runtime.create(context.caller, &image, file, "c", true).unwrap();
    });
    assert_eq!(Request::parse(&bytes).unwrap(), Request::Create { file: file.as_os_str(), name });
    let bytes = asked(&|runtime, context| {
        runtime.create(context.caller, &image, file, "c", false).unwrap();
    });
    assert_eq!(Request::parse(&bytes).unwrap(), Request::Ensure { file: file.as_os_str(), name });
    let bytes = asked(&|runtime, context| {
        runtime.export(context.caller, "c", file, &|_| {}).unwrap();
    });
    assert_eq!(Request::parse(&bytes).unwrap(), Request::Export { name, to: file.as_os_str() });
    let bytes = asked(&|runtime, context| runtime.remove(context.caller, "c").unwrap());
    assert_eq!(Request::parse(&bytes).unwrap(), Request::Remove { name });
    let bytes = asked(&|runtime, context| runtime.remove_partial(context.caller, file, 17));
    let partial = Path::new("/a").join(handover::nodes::partial(17, text("b.sqsh")));
    assert_eq!(Request::parse(&bytes).unwrap(), Request::Discard { file: partial.as_os_str() });
}

/// As the argument parser of a command without requests ends.
#[test]
fn a_command_that_knows_no_request_is_said_to_be_of_another_version() {
    let old = "echo \"error: unexpected argument '--request' found\" >&2; exit 2";
    let noted = Noted::new(old);
    let error = started(&noted, Target::Name("c")).unwrap_err().to_string();
    assert_eq!(error, format!("container start failed: {MISMATCH}"));
    let image = Image::parse(OsStr::new("image"));
    let error = with_context(&[], |context| {
        pull(&noted.command, context, &image, None).map(drop).unwrap_err().to_string()
    });
    assert_eq!(error, format!("container start failed: {MISMATCH}"));
    let (uri, name) = (OsStr::new("docker://x"), OsStr::new("c"));
    let file = OsStr::new("/f");
    let program = noted.command.program.clone();
    let runtime = Runtime::Builtin(RuntimeCommand { name: "pyxis", program });
    for request in [
        Request::Digest { uri },
        Request::Import { uri, file },
        Request::Create { file, name },
        Request::Ensure { file, name },
        Request::Export { name, to: file },
        Request::MayPush { uri },
        Request::Remove { name },
        Request::List,
        Request::Processes,
    ] {
        let error = with_context(&[], |context| {
            runtime.ask(context.caller, &request, "x").map(drop).unwrap_err().to_string()
        });
        assert_eq!(error, format!("container start failed: {MISMATCH}"), "{request:?}");
    }
}

//! `pyxis mount-image`, which root has the kernel mount images of the shared store with, and a start that
//! gets one.
//!
//! Where the machine has no block devices of files, root says so and the start has a server: that is tested
//! in place of the mount.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, next_uid};
use handover::namespaces::NewUser;
use handover::request::{Joining, Request, Start, Target};
use handover::{Handover, Part};
use linux::{channel, detached};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixCredentials, sendmsg,
    setsockopt, socketpair,
};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, setgroups, setresgid, setresuid};

/// A shared store with one image, on a way that is root's.
struct Store {
    directory: tempfile::TempDir,
    account: u32,
    hex: String,
    place: Place,
}

impl Store {
    fn new(change: impl FnOnce(&Path)) -> Store {
        // Where everybody can write, no store is believed.
        let directory = tempfile::tempdir_in("/run").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (account, place) = (next_uid(), Place::new());
        let number = format!("{:x}", u128::from(account) << 64 | u128::from(std::process::id()));
        let store = Store { directory, account, hex: format!("{number:0>64}"), place };
        let image = store.place.image("stored", change);
        for folder in ["store", "store/images", "store/locks"] {
            fs::create_dir(store.path(folder)).unwrap();
            store.give(&store.path(folder), 0o755);
        }
        fs::copy(image, store.image()).unwrap();
        store.give(&store.image(), 0o444);
        store.write_record(&|text| text);
        store
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn image(&self) -> PathBuf {
        self.path("store/images").join(format!("{}.sqsh", self.hex))
    }

    fn record(&self) -> PathBuf {
        self.image().with_extension("json")
    }

    fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        chown(path, Some(self.account), Some(self.account)).unwrap();
    }

    fn write_record(&self, change: &dyn Fn(String) -> String) {
        use std::os::unix::fs::MetadataExt;
        let data = fs::metadata(self.image()).unwrap();
        let (hex, size, modified) = (&self.hex, data.len(), data.mtime());
        let record = format!(
            "{{\"digest\":\"sha256:{hex}\",\"origin\":\"x\",\"size\":{size},\"modified\":{modified},\
             \"layers\":[],\"private\":false,\"created\":0,\"writer\":\"pyxis\"}}"
        );
        fs::write(self.record(), change(record)).unwrap();
        self.give(&self.record(), 0o644);
    }

    /// Root's process, which has this socket.
    fn lender(&self, socket: &OwnedFd) -> Command {
        let mut command = Command::new("/bin/sh");
        let fd = socket.as_raw_fd();
        command
            .args(["-c", &format!("exec \"$@\" 3<&{fd}"), "sh", env!("CARGO_BIN_EXE_pyxis")])
            .args([OsStr::new("mount-image"), self.path("store").as_os_str()])
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    /// The mount that root gives to who sends that.
    fn ask(&self, text: &str) -> Result<OwnedFd, String> {
        let (ours, theirs) = sockets();
        send_as(self.place.uid, &ours, text);
        self.lender(&theirs).status().unwrap();
        drop(theirs);
        let mut said = [0; 300];
        let peeked = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let length = nix::sys::socket::recv(ours.as_raw_fd(), &mut said, peeked).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]).into_owned();
        channel::receive(ours.as_raw_fd()).map_err(|_| said)
    }

    /// Block devices of the image.
    fn devices(&self) -> Vec<String> {
        let backing =
            |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file")).ok();
        let all = fs::read_dir("/sys/block").unwrap().flatten().filter_map(backing);
        all.filter(|file| file.contains(&self.hex)).collect()
    }

    fn no_device_is_left(&self) {
        wait_for("the end of the device", || self.devices().is_empty());
    }
}

fn has_devices() -> bool {
    Path::new("/dev/loop-control").exists()
}

/// Without block devices of files that is what root says.
fn without_devices(answer: Result<OwnedFd, String>) {
    let words = answer.unwrap_err();
    assert!(words.contains("No such file"), "{words}");
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    setsockopt(&theirs, PassCred, &true).unwrap();
    (ours, passed_on(theirs))
}

/// As that user would.
fn send_as(uid: u32, socket: &OwnedFd, text: &str) {
    let sender = nix::libc::ucred { pid: std::process::id() as i32, uid, gid: uid };
    let sender = UnixCredentials::from(sender);
    let control = [ControlMessage::ScmCredentials(&sender)];
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg::<()>(socket.as_raw_fd(), &text, &control, MsgFlags::empty(), None).unwrap();
}

fn passed_on<T: AsFd>(fd: T) -> T {
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fd
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: nothing for 60 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a user finds at `/sys` who has mounted it there, in namespaces of their own: the first thing that is
/// wrong, by its number.
fn as_user(uid: u32, mount: &OwnedFd, look: fn(&OwnedFd) -> Result<(), i32>) -> i32 {
    // SAFETY: the child makes system calls and leaves by _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            ended => panic!("{ended:?}"),
        },
        ForkResult::Child => {
            let code = enter(uid, mount).and_then(|()| look(mount)).err().unwrap_or(0);
            // SAFETY: as said above.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

fn enter(uid: u32, mounted: &OwnedFd) -> Result<(), i32> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[]).and_then(|()| setresgid(group, group, group)).map_err(|_| 101)?;
    setresuid(user, user, user).map_err(|_| 102)?;
    nix::sys::prctl::set_dumpable(true).map_err(|_| 103)?;
    NewUser::new((uid, uid), (uid, uid)).enter().map_err(|_| 104)?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|_| 105)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|_| 106)?;
    let place = open("/sys", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|_| 107)?;
    detached::attach(mounted.as_fd(), place.as_fd()).map_err(|_| 108)
}

#[test]
#[ignore = "needs root: it has the kernel mount an image"]
fn what_the_kernel_has_mounted_is_its_users_and_gives_nothing_more() {
    let store = Store::new(|root| {
        let made = Command::new("mknod").arg(root.join("zero")).args(["c", "1", "5"]).status();
        assert!(made.unwrap().success());
        fs::set_permissions(root.join("zero"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(root.join("own"), "hidden").unwrap();
        fs::set_permissions(root.join("own"), fs::Permissions::from_mode(0o600)).unwrap();
    });
    let answer = store.ask(&store.hex);
    if !has_devices() {
        return without_devices(answer);
    }
    let mounted = answer.unwrap();
    assert_eq!(store.devices().len(), 1);
    let found = as_user(store.place.uid, &mounted, |mounted| {
        // Whatever it is that the user tries on the mount:
        let none: Option<&str> = None;
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        let kept = mount(none, "/sys", none, again, none) == Err(Errno::EPERM);
        kept.then_some(()).ok_or(1)?;
        let kept = detached::make_writable(mounted.as_fd()) == Err(Errno::EPERM);
        kept.then_some(()).ok_or(2)?;
        let copy = detached::copy(OsStr::new("/sys"), false).map_err(|_| 3)?;
        let kept = detached::make_writable(copy.as_fd()) == Err(Errno::EPERM);
        kept.then_some(()).ok_or(4)?;
        // Its files are the user's, its devices are nobody's.
        let open = |path| open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let file = open("/sys/own").map_err(|_| 5)?;
        let read = nix::unistd::read(&file, &mut [0; 16]) == Ok(6);
        read.then_some(()).ok_or(6)?;
        match open("/sys/zero") {
            Err(Errno::EACCES) => Ok(()),
            _ => Err(7),
        }
    });
    assert_eq!(found, 0);
    // Another user gets the same file system, by a mount of their own.
    let again = store.ask(&store.hex).unwrap();
    assert_eq!(store.devices().len(), 1);
    let file_system = |mount: &OwnedFd| nix::sys::stat::fstat(mount).unwrap().st_dev;
    assert_eq!(file_system(&again), file_system(&mounted));
    drop(mounted);
    assert_eq!(store.devices().len(), 1);
    drop(again);
    store.no_device_is_left();
}

#[test]
#[ignore = "needs root: it has the kernel mount an image"]
fn nothing_is_mounted_that_the_stores_account_has_not_published_for_all() {
    type Spoil = fn(&Store);
    let cases: [(&str, Spoil); 15] = [
        ("not the store's account's", |s| chown(s.image(), Some(s.place.uid), None).unwrap()),
        ("not the store's account's", |s| s.give(&s.image(), 0o664)),
        ("not for everybody", |s| s.give(&s.image(), 0o400)),
        ("loop|symbolic", |s| {
            fs::rename(s.image(), s.path("elsewhere")).unwrap();
            symlink(s.path("elsewhere"), s.image()).unwrap();
        }),
        ("not the store's account's", |s| {
            fs::remove_file(s.image()).unwrap();
            nix::unistd::mkfifo(&s.image(), Mode::from_bits_truncate(0o444)).unwrap();
            s.give(&s.image(), 0o444);
        }),
        ("No such file", |s| fs::remove_file(s.record()).unwrap()),
        ("not the store's account's", |s| chown(s.record(), Some(s.place.uid), None).unwrap()),
        ("its record is none", |s| s.write_record(&|_| "{".to_owned())),
        ("its record is of", |s| s.write_record(&|text| text.replacen("sha256:0", "sha256:1", 1))),
        ("its record is of", |s| s.write_record(&|text| text.replace("\"size\":", "\"size\":1"))),
        ("not for everybody", |s| s.write_record(&|text| text.replace("false", "true"))),
        ("own writer", |s| s.write_record(&|text| text.replace(",\"writer\":\"pyxis\"", ""))),
        ("others than the store's account", |s| s.give(&s.path("store/images"), 0o775)),
        ("others can write to the store", |s| s.give(&s.path("store"), 0o777)),
        ("others than root could have put", |s| s.give(s.directory.path(), 0o755)),
    ];
    for (expected, spoil) in cases {
        let store = Store::new(|_| {});
        spoil(&store);
        let said = store.ask(&store.hex).expect_err(expected);
        let found = expected.split('|').any(|words| said.contains(words));
        assert!(found, "{expected}: {said}");
        store.no_device_is_left();
    }
    // A store that is reached by a link, and one that is root's.
    let store = Store::new(|_| {});
    fs::rename(store.path("store"), store.path("real")).unwrap();
    symlink("real", store.path("store")).unwrap();
    assert!(store.ask(&store.hex).is_err());
    fs::remove_file(store.path("store")).unwrap();
    fs::rename(store.path("real"), store.path("store")).unwrap();
    chown(store.path("store"), Some(0), Some(0)).unwrap();
    let said = store.ask(&store.hex).unwrap_err();
    assert!(said.contains("the store belongs to root"), "{said}");
}

#[test]
#[ignore = "needs root: it has the kernel mount an image"]
fn root_takes_a_digest_and_nothing_else() {
    let store = Store::new(|_| {});
    let path = store.image().to_string_lossy().into_owned();
    let below = format!("../images/{}", &store.hex[10..]);
    for text in ["", "x", &path, &below, &store.hex[1..], &format!("{}\0", store.hex)] {
        // Nothing is said to who does not ask.
        assert_eq!(store.ask(text).unwrap_err(), "", "{text}");
    }
    assert!(store.ask(&"0".repeat(64)).unwrap_err().contains("No such file"));
    // Nor is it anybody's but root's to say.
    let (ours, theirs) = sockets();
    send_as(store.place.uid, &ours, &store.hex);
    let fd = theirs.as_raw_fd();
    let run = format!("exec \"$@\" 3<&{fd}");
    let user = store.place.uid.to_string();
    let status = Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "/bin/sh", "-c", &run, "sh"])
        .args([store.place.path("pyxis").as_os_str(), OsStr::new("mount-image")])
        .arg(store.path("store"))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    store.no_device_is_left();
}

/// A step that begins: root's process has been asked, and `pyxis start` is executed as the plugin does it.
struct Beginning {
    lender: Child,
    start: Child,
    ours: OwnedFd,
    lease: OwnedFd,
}

fn begin(store: &Store) -> Beginning {
    let (asking, asked) = sockets();
    send_as(store.place.uid, &asking, &store.hex);
    let lender = store.lender(&asked).spawn().unwrap();
    // Whoever else had it would not see the lender's end.
    drop(asked);
    let asking = passed_on(asking);
    let ((ours, theirs), (lease, leased)) = (sockets(), sockets());
    let image = store.image();
    let request = Request::Start(Start {
        target: Target::File { path: image.as_os_str(), label: OsStr::new("of_store") },
        joining: Joining::Never,
        entrypoint: false,
        mounts: vec![],
        env: vec![],
    });
    let request = passed_on(request.file().unwrap());
    let numbers = [&request, &theirs, &leased, &asking].map(|fd| fd.as_raw_fd().to_string());
    let mut command = store.place.pyxis(["start", &format!("--request={}", numbers.join(","))]);
    let start = command.stderr(Stdio::piped()).spawn().unwrap();
    Beginning { lender, start, ours, lease }
}

/// A step whose container has started.
struct Running {
    ours: OwnedFd,
    lease: OwnedFd,
    said: String,
}

fn start(store: &Store) -> Running {
    let Beginning { mut lender, start, ours, lease } = begin(store);
    lender.wait().unwrap();
    let output = start.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    Running { ours, lease, said }
}

/// A program in the container, as its user: a server answers nobody else.
fn enter_program(store: &Store, container: &Handover, program: &[&str]) -> Command {
    let namespace = |part| {
        let descriptor = passed_on(container.get(part).unwrap().as_fd());
        format!("/proc/self/fd/{}", descriptor.as_raw_fd())
    };
    let user = store.place.uid.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "nsenter"])
        .arg(format!("--user={}", namespace(Part::User)))
        .arg(format!("--mount={}", namespace(Part::Mount)))
        .arg("--preserve-credentials")
        .args(program);
    command
}

/// Numbers and names of the processes of that user, those included that nobody may look into.
fn processes(uid: u32) -> Vec<(i32, String)> {
    let of = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name| status.lines().find_map(|line: &str| line.strip_prefix(name));
        let user = field("Uid:")?.split_whitespace().next()?.parse::<u32>().ok()?;
        // What has ended and is not reaped yet is init's.
        let ended = field("State:")?.trim().starts_with('Z');
        (user == uid && !ended).then_some((number, field("Name:")?.trim().to_owned()))
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

#[test]
#[ignore = "needs root: it has the kernel mount an image"]
fn a_container_of_the_shared_store_has_the_kernels_mount_and_leaves_nothing() {
    let store = Store::new(|root| fs::write(root.join("etc/word"), "of the image\n").unwrap());
    let Running { ours, lease, said } = start(&store);
    let container = Handover::dequeue(ours.as_fd()).unwrap().unwrap();
    let inside = enter_program(&store, &container, &["/bin/cat", "/etc/word"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout), "of the image\n", "{inside:?}");
    let servers = || processes(store.place.uid).iter().any(|(_, name)| name == "pyxis-image");
    if has_devices() {
        assert_eq!((store.devices().len(), said.as_str(), servers()), (1, "", false));
    } else {
        let reason = "[VERBOSE] pyxis: the kernel does not mount the image: a loop device: ";
        assert!(said.starts_with(reason), "{said}");
        assert!(servers());
    }
    drop((container, ours, lease));
    store.no_device_is_left();
    wait_for("the end of the step", || processes(store.place.uid).is_empty());
}

/// Who of a step is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Lender,
    Start,
    Keeper,
    /// What runs in the container.
    Program,
    /// Its descriptors are closed, without a word.
    Slurmstepd,
    /// All of the user's, and root's.
    Everybody,
}

const VICTIMS: [Victim; 6] = [
    Victim::Lender,
    Victim::Start,
    Victim::Keeper,
    Victim::Program,
    Victim::Slurmstepd,
    Victim::Everybody,
];

/// So long after a step has begun `victim` is killed; then the step ends.
fn kill_in_step(store: &Store, victim: Victim, after: Duration) {
    let Beginning { mut lender, mut start, ours, lease } = begin(store);
    std::thread::sleep(after);
    let kill_users = |name: &str| {
        for (number, found) in processes(store.place.uid) {
            if found.starts_with(name) {
                // It may have ended meanwhile.
                let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
            }
        }
    };
    let mut descriptors = Some((ours, lease));
    match victim {
        Victim::Lender => lender.kill().unwrap(),
        Victim::Start => start.kill().unwrap(),
        Victim::Keeper => kill_users("pyxis-keeper"),
        Victim::Program => {
            start.wait().unwrap();
            let (ours, _) = descriptors.as_ref().unwrap();
            let container = Handover::dequeue(ours.as_fd()).unwrap().unwrap();
            let mut program =
                enter_program(store, &container, &["/bin/sleep", "1000"]).spawn().unwrap();
            program.kill().unwrap();
            program.wait().unwrap();
        }
        Victim::Slurmstepd => descriptors = None,
        Victim::Everybody => {
            lender.kill().unwrap();
            start.kill().unwrap();
            kill_users("");
        }
    }
    // Of what was killed late there may be nothing to wait for; what hangs would be seen here.
    lender.wait().unwrap();
    start.wait().unwrap();
    drop(descriptors);
    let gone = || processes(store.place.uid).is_empty();
    wait_for(&format!("the end of a step whose {victim:?} was killed after {after:?}"), gone);
}

/// At each phase of a step, from before the first of its processes runs until after the container has started.
/// For more rounds, where it is compiled: `PYXIS_KILL_ROUNDS=200`.
#[test]
#[ignore = "needs root: it has the kernel mount an image"]
fn whoever_is_killed_and_when_no_device_and_no_mount_is_left() {
    let rounds: u32 = option_env!("PYXIS_KILL_ROUNDS").map_or(48, |rounds| rounds.parse().unwrap());
    let store = Store::new(|_| {});
    let names = |folder: PathBuf| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        names
    };
    let left = || {
        let own = ["data", "home", "run"].map(|own| names(store.place.path(own)));
        (own, ["store", "store/images", "store/locks"].map(|own| names(store.path(own))))
    };
    // One whole step: how long it takes, and what it leaves for the next.
    let begun = Instant::now();
    drop(start(&store));
    let whole = begun.elapsed();
    wait_for("the end of the first step", || processes(store.place.uid).is_empty());
    let before = left();
    for round in 0..rounds {
        let victim = VICTIMS[round as usize % VICTIMS.len()];
        // Somewhat longer than all of it.
        kill_in_step(&store, victim, whole * (round * 5 / 4) / rounds);
        store.no_device_is_left();
    }
    assert_eq!(left(), before);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&store.hex), "{mounts}");
    let locked = |path: &Path| {
        use linux::sys::{FlockKind, flock};
        !flock(&fs::File::open(path).unwrap(), FlockKind::TryExclusive).unwrap()
    };
    wait_for("the end of the lock on the image", || !locked(&store.image()));
    // Somebody else may be at it just now.
    wait_for("the end of the lock on devices", || {
        !has_devices() || !locked("/dev/loop-control".as_ref())
    });
}

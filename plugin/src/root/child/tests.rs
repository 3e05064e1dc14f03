use super::output::KEPT;
use super::*;
use crate::root::user::Credentials;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::{CString, OsStr};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

fn root() -> Credentials {
    Credentials { uid: 0, gid: 0, groups: vec![] }
}

fn of(script: &str) -> [&OsStr; 2] {
    ["-c", script].map(OsStr::new)
}

fn command<'a>(
    arguments: &'a [&'a OsStr; 2],
    environ: &'a [CString],
    user: &'a Credentials,
) -> Command<'a> {
    let caller = Caller { user, environ, patience: Patience::OfUser, cgroup: None };
    caller.command(Path::new("sh"), arguments, [None; 4])
}

fn environ() -> [CString; 2] {
    [c"A=1".to_owned(), c"PATH=/usr/bin:/bin".to_owned()]
}

fn shell(script: &str, apart: bool) -> Outcome {
    let (socket, other) = UnixStream::pair().unwrap();
    let (environ, user, arguments) = (environ(), root(), of(script));
    let given = [Some(socket.as_fd()), Some(other.as_fd()), None, None];
    let command = Command { given, ..command(&arguments, &environ, &user) };
    if apart { command.run_for_output().unwrap() } else { command.run().unwrap() }
}

/// As root waits: so long.
fn limited(script: &str, patience: Patience) -> (Outcome, Duration) {
    let (environ, user, begin) = (environ(), root(), Instant::now());
    let arguments = of(script);
    let mut command = command(&arguments, &environ, &user);
    command.caller.patience = patience;
    (command.run().unwrap(), begin.elapsed())
}

fn soon() -> Allowance {
    Allowance::of(Duration::from_secs(2))
}

#[test]
fn output_ending_environment_and_descriptors() {
    let outcome = shell("echo out; echo err >&2; echo A=$A; ls /proc/self/fd | xargs", false);
    // ls opens its directory as 5
    assert!(outcome.success());
    assert_eq!(outcome.log, "out\nerr\nA=1\n0 1 2 3 4 5\n");
    assert_eq!(shell("exit 3", false).ending(), "failed with error code 3");
    assert_eq!(shell("kill -9 $$", false).ending(), "terminated by SIGKILL");
    let apart = shell("echo path; echo words >&2", true);
    assert_eq!((apart.path(), apart.log.as_str()), (Path::new("path"), "words\n"));
}

/// As an image's or an importer's path may be.
#[test]
fn a_path_need_not_be_utf_8() {
    let outcome = shell("printf '/a\\377\\n/b\\n'", true);
    assert_eq!(outcome.path().as_os_str().as_bytes(), b"/a\xff");
}

#[test]
fn a_missing_program_is_named() {
    let user = root();
    let program = Path::new("/nonexistent/pyxis");
    let arguments = of("");
    let command = Command { program, ..command(&arguments, &[], &user) };
    let error = command.run().unwrap_err().to_string();
    assert!(error.starts_with("couldn't execute /nonexistent/pyxis"), "{error}");
}

#[test]
fn of_much_output_both_ends_are_kept_and_nothing_is_waited_for() {
    let lines = "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i + 1)); done";
    let log = shell(lines, false).log;
    assert!(log.len() < KEPT + 100, "{}", log.len());
    assert!(log.starts_with("line 0\n") && log.ends_with("line 29999\n"));
    assert!(log.contains(" bytes were cut here]\n"));
    // Somebody else has the pipe: its end is not the child's.
    let (outcome, took) = limited("sleep 30 & echo said", Patience::OfUser);
    assert_eq!(outcome.log, "said\n");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Nor is it read for as long as somebody writes.
    let (outcome, took) = limited("yes & sleep 0.2; kill -9 $$", Patience::OfUser);
    assert_eq!(outcome.ending(), "terminated by SIGKILL");
    assert!(outcome.log.len() < KEPT + 100 && took < Duration::from_secs(10), "{took:?}");
}

/// There is no file of it that could be opened and grown.
#[test]
fn output_is_a_pipe() {
    let outcome = shell("readlink /proc/$$/fd/1; readlink /proc/$$/fd/2 >&2", true);
    assert!(outcome.output.starts_with(b"pipe:"));
    assert!(outcome.log.starts_with("pipe:"), "{}", outcome.log);
}

#[test]
fn root_waits_until_its_deadline_and_not_for_the_end() {
    // It ignores what it can, and so does who is with it.
    let script = "trap '' TERM HUP INT; echo $$; sleep 60";
    let (outcome, took) = limited(script, Patience::Within(&soon()));
    assert_eq!(outcome.ending(), "took too long and was killed");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let group = Pid::from_raw(-outcome.log.trim().parse::<i32>().unwrap());
    // Nobody has waited for the shell itself.
    let gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", -group.as_raw())).unwrap();
        stat.contains(") Z ")
    });
    assert!(gone);
}

/// A user may stop each of what root has run at a step's end.
#[test]
fn all_waits_of_a_hook_together_take_what_it_is_allowed_and_no_more() {
    let whole = Duration::from_secs(4);
    let allowance = Allowance::of(whole);
    // What takes its time without being held up takes nothing off.
    let (outcome, _) = limited("sleep 1", Patience::OfStep(&allowance));
    assert!(outcome.success());
    assert_eq!(allowance.left(), whole);
    // What is stopped leaves something for what is cleaned up after it.
    let (outcome, _) = limited("kill -STOP $$", Patience::OfStep(&allowance));
    assert_eq!(outcome.ending(), "was stopped and was killed");
    let left = allowance.left();
    assert!(left <= whole / 2, "{left:?}");
    let (outcome, _) = limited("sleep 60", Patience::Within(&Allowance::of(whole / 8)));
    assert_eq!(outcome.ending(), "took too long and was killed");
    let rest = Allowance::of(whole / 2);
    for _ in 0..2 {
        limited("sleep 0.1", Patience::Within(&rest));
    }
    assert!(rest.left() <= whole / 2 - Duration::from_millis(200), "{rest:?}");
    limited("kill -STOP $$", Patience::Within(&rest));
    assert_eq!(rest.left(), Duration::ZERO);
}

/// As many containers as a user likes may be there to be removed.
#[test]
fn after_its_deadline_root_starts_nothing_more() {
    let (environ, user) = (environ(), root());
    let file = format!("/tmp/pyxis-late-{}", std::process::id());
    let script = format!("echo > {file}");
    let arguments = of(&script);
    let mut late = command(&arguments, &environ, &user);
    let nothing = Allowance::of(Duration::ZERO);
    late.caller.patience = Patience::Within(&nothing);
    let error = late.run().unwrap_err().to_string();
    assert!(error.contains("timed out"), "{error}");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!Path::new(&file).exists());
}

#[test]
fn a_stopped_child_holds_root_no_longer_than_its_deadline() {
    let (outcome, took) = limited("kill -STOP $$", Patience::Within(&soon()));
    assert!(!outcome.success());
    assert!(took < Duration::from_secs(30), "{took:?}");
    // For what may take its time, too.
    let (outcome, took) = limited("kill -STOP $$", Patience::OfStep(&soon()));
    assert_eq!(outcome.ending(), "was stopped and was killed");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// The kernel sends SIGKILL to all threads but the one that has the process exit.
#[test]
fn a_child_of_many_threads_that_ends_by_itself_is_not_taken_for_one_that_was_killed() {
    let script = "exec python3 -c 'import os, sys, threading, time
for _ in range(100): threading.Thread(target=time.sleep, args=(60,)).start()
print(\"said\", flush=True)
os.close(1); os.close(2)
os._exit(0)'";
    for _ in 0..40 {
        let (outcome, _) = limited(script, Patience::OfStep(&soon()));
        assert!(outcome.success(), "{}", outcome.ending());
    }
}

#[test]
fn what_may_take_its_time_is_waited_for_and_ends_with_its_step() {
    let (outcome, _) = limited("sleep 1; echo done", Patience::OfStep(&soon()));
    assert!(outcome.success());
    let (environ, user) = (environ(), root());
    // As Slurm kills a step.
    let file = format!("/tmp/pyxis-child-{}", std::process::id());
    let environ = [CString::new(format!("A={}", std::process::id())).unwrap(), environ[1].clone()];
    let named = file.clone();
    let slurm = std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let pid = std::fs::read_to_string(&named).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse() {
                return kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            }
        }
    });
    let arguments = of("echo $$ > /tmp/pyxis-child-$A; exec sleep 60");
    let mut long = command(&arguments, &environ, &user);
    let allowance = Allowance::new();
    long.caller.patience = Patience::OfStep(&allowance);
    let begin = Instant::now();
    let outcome = long.run().unwrap();
    slurm.join().unwrap();
    std::fs::remove_file(file).unwrap();
    // Of a child that has been sent SIGKILL the end may not be awaited.
    let ending = outcome.ending();
    assert!(["terminated by SIGKILL", "was killed with its step"].contains(&&*ending), "{ending}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
#[ignore = "needs root: an ordinary user can become nobody else"]
fn a_user_is_become_whole() {
    let user = Credentials { uid: 4242, gid: 4343, groups: vec![4444] };
    let environ = environ();
    let log = command(&of("id -ru; id -u; id -rg; id -G"), &environ, &user).run().unwrap().log;
    assert_eq!(log, "4242\n4242\n4343\n4343 4444\n");
}

/// slurmstepd's own is -1000, and what it starts would be spared by the OOM killer, too.
#[test]
#[ignore = "needs root: an ordinary user can become nobody else"]
fn the_oom_score_of_slurmstepd_is_not_inherited() {
    let own = "/proc/self/oom_score_adj";
    let before = std::fs::read_to_string(own).unwrap();
    std::fs::write(own, "123").unwrap();
    let user = Credentials { uid: 4242, gid: 4343, groups: vec![] };
    let environ = environ();
    let at_once = command(&of("cat /proc/self/oom_score_adj"), &environ, &user).run().unwrap().log;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let script = "head -c 1 <&3; cat /proc/self/oom_score_adj >&3; id -u >&3; id -G >&3";
    let given = [Some(theirs.as_fd()), None, None, None];
    // In user_init root is the user for a while.
    // SAFETY: this thread alone, as Slurm's main one.
    unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, -1, 4545, -1) };
    Command { given, ..command(&of(script), &environ, &user) }.spawn_on_demand().unwrap();
    // SAFETY: as above.
    unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, -1, 0, -1) };
    drop(theirs);
    ours.write_all(b"x").unwrap();
    let mut on_demand = String::new();
    ours.read_to_string(&mut on_demand).unwrap();
    std::fs::write(own, before.trim()).unwrap();
    assert_eq!((at_once.as_str(), on_demand.as_str()), ("0\n", "0\n4242\n4343\n"));
}

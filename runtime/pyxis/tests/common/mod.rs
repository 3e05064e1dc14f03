//! A place for an unprivileged user, an image, and the command under test.
//!
//! The tests want root, to become somebody else, or to be an ordinary user already; and FUSE,
//! user namespaces, squashfs-tools and a static busybox. What is missing fails the test by name.

#![allow(dead_code, reason = "each test crate uses its part")]

pub(crate) mod asked;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use nix::sys::signal::Signal;

/// Users in no database, another one for each place: tests do not see each other's processes.
static UID: AtomicU32 = AtomicU32::new(0);

/// The mounts that enroot gives to every container, as its own list has them.
pub(crate) const ENROOT_SYSTEM: &str = "\
/proc       /proc       none    x-create=dir,rbind,rw,nosuid,nodev,noexec,rslave   0   -1\n\
/sys        /sys        none    x-create=dir,rbind,ro,nosuid,nodev,noexec,rslave   0   -1\n\
/dev        /dev        none    x-create=dir,rbind,rw,nosuid,noexec,rslave         0   -1\n\
tmpfs       /tmp        tmpfs   x-create=dir,rw,nosuid,nodev,mode=755,slave        0   -1\n\
tmpfs       /var/run    tmpfs   x-create=dir,rw,nosuid,nodev,mode=755,slave        0   -1\n\
tmpfs       /var/lock   tmpfs   x-create=dir,rw,nosuid,nodev,mode=755,slave        0   -1\n\
/dev/shm    /dev/shm    none    x-create=dir,bind,rw,nosuid,nodev,noexec,rslave    0   -1\n";
/// The files of the node, likewise.
pub(crate) const ENROOT_CONFIG: &str = "\
/etc/hosts          /etc/hosts          none    x-create=file,bind,ro,nosuid,nodev,noexec,private                0   -1\n\
/etc/hostname       /etc/hostname       none    x-create=file,bind,ro,nosuid,nodev,noexec,private                0   -1\n\
/etc/resolv.conf    /etc/resolv.conf    none    x-create=file,bind,ro,nosuid,nodev,noexec,private                0   -1\n\
/etc/machine-id     /etc/machine-id     none    x-create=file,bind,ro,nosuid,nodev,noexec,private,nofail,silent  0   -1\n";

pub(crate) fn next_uid() -> u32 {
    200_000 + std::process::id() % 10_000 * 100 + UID.fetch_add(1, Ordering::Relaxed)
}

pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) uid: u32,
    /// `/dev/fuse` is closed to the user and gets replaced in a mount namespace.
    own_fuse: bool,
}

impl Place {
    pub(crate) fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let me = nix::unistd::geteuid().as_raw();
        let uid = if me == 0 { next_uid() } else { me };
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let fuse = fs::metadata("/dev/fuse").expect("no /dev/fuse on this machine");
        let place = Place { directory, uid, own_fuse: me == 0 && fuse.mode() & 0o6 != 0o6 };
        for own in ["data", "home", "run", "work"] {
            fs::create_dir(place.path(own)).unwrap();
            chown(place.path(own), Some(uid), Some(uid)).unwrap();
        }
        // Where the user can execute it, whoever owns the build directory.
        fs::copy(env!("CARGO_BIN_EXE_pyxis"), place.path("pyxis")).unwrap();
        symlink("pyxis", place.path("enroot")).unwrap();
        place
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap_or_else(|e| panic!("{below}: {e}"))
    }

    /// A root filesystem of busybox, after `change`, as `NAME` and, owned by the user,
    /// `work/NAME.sqsh`.
    pub(crate) fn image(&self, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
        self.packed(name, "gzip", change)
    }

    /// The same with another compression.
    pub(crate) fn packed(&self, name: &str, with: &str, change: impl FnOnce(&Path)) -> PathBuf {
        let root = self.path(name);
        for below in ["bin", "etc", "root", "tmp", "proc", "sys", "dev", "var", "run"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("no busybox-static");
        for applet in [
            "sh", "cat", "ls", "id", "env", "sleep", "echo", "touch", "rm", "mkdir", "true", "pwd",
            "printenv", "test", "grep", "ln", "hostname", "stat", "chown", "readlink", "ps",
            "kill", "false",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        fs::write(root.join("etc/environment"), "PATH=/usr/bin:/bin\nFROM_IMAGE=yes\n").unwrap();
        change(&root);
        let image = self.path("work").join(format!("{name}.sqsh"));
        let made = Command::new("mksquashfs")
            .args([&root, &image])
            .args(["-all-root", "-noappend", "-quiet", "-no-progress", "-comp", with])
            .output()
            .expect("no mksquashfs");
        assert!(made.status.success(), "{made:?}");
        chown(&image, Some(self.uid), Some(self.uid)).unwrap();
        image
    }

    /// Makes the user the owner of a tree.
    pub(crate) fn give(&self, path: &Path) {
        let ids = format!("{0}:{0}", self.uid);
        assert!(Command::new("chown").arg("-R").arg(ids).arg(path).status().unwrap().success());
    }

    /// The command as the user.
    pub(crate) fn pyxis<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.command("pyxis", arguments)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(if self.own_fuse {
            "mount -t tmpfs none run && mknod run/fuse c 10 229 && chmod 666 run/fuse && \
             mount --bind run/fuse /dev/fuse && umount -l run && cd work && \
             exec setpriv --reuid $PLACE_UID --regid $PLACE_UID --clear-groups \"$@\""
        } else {
            "cd work && exec setpriv --reuid $PLACE_UID --regid $PLACE_UID --clear-groups \"$@\""
        });
        if self.own_fuse {
            let script = command.get_args().map(OsStr::to_owned).collect::<Vec<_>>();
            command = Command::new("unshare");
            command.args(["--mount", "/bin/sh"]).args(script);
        }
        if !nix::unistd::geteuid().is_root() {
            command = Command::new("/bin/sh");
            command.args(["-c", "cd work && exec \"$@\""]);
        }
        command
            .arg("sh")
            .arg(self.path(program))
            .args(arguments)
            .current_dir(self.path(""))
            .env_clear()
            .env("PLACE_UID", self.uid.to_string())
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("home"))
            .env("ENROOT_DATA_PATH", self.path("data"))
            .env("ENROOT_RUNTIME_PATH", self.path("run"))
            .stdin(Stdio::null());
        command
    }

    /// Where nothing is installed that a start could use: what [`Place::command`] itself executes.
    pub(crate) fn few_programs(&self) -> PathBuf {
        let few = self.path("few");
        fs::create_dir(&few).unwrap();
        for program in ["unshare", "setpriv", "mount", "umount", "mknod", "chmod"] {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|path| path.exists()).expect(program);
            symlink(found, few.join(program)).unwrap();
        }
        few
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done(self.pyxis(arguments).output().unwrap(), arguments.join(" "))
    }

    /// What it prints; it must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// Starts it and waits for the line "ready" on its output.
    pub(crate) fn background(&self, arguments: &[&str]) -> Background {
        use std::io::BufRead;
        let mut child =
            self.pyxis(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{arguments:?}");
        Background(child)
    }

    /// Hidden leftovers in the data path.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("data")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect()
    }
}

/// A process that ends when its stdin does.
pub(crate) struct Background(Child);

impl Background {
    /// Ends it and returns whether it was content.
    pub(crate) fn finish(mut self) -> bool {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().success()
    }
}

impl Background {
    /// Sends SIGTERM and returns what it exits with.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.send(Signal::SIGTERM);
        self.0.wait().unwrap().code()
    }

    /// Sends SIGHUP and returns by which signal it has ended.
    pub(crate) fn hang_up(mut self) -> Option<i32> {
        self.send(Signal::SIGHUP);
        self.0.wait().unwrap().signal()
    }

    fn send(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Done(pub(crate) Output, pub(crate) String);

impl Done {
    pub(crate) fn ok(&self) -> String {
        assert!(self.0.status.success(), "{}: {:?}", self.1, self.0);
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    /// It must fail with this code; what it said.
    pub(crate) fn fails(&self, code: i32) -> String {
        assert_eq!(self.0.status.code(), Some(code), "{}: {:?}", self.1, self.0);
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}

/// Makes these system calls of the command fail with EOPNOTSUPP, as a kernel or file system would that lacks them.
pub(crate) fn without(command: &mut Command, calls: &[libc::c_long]) {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let (jump, ret) = ((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, libc::BPF_RET as u16);
    let filter = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![filter(load, 0, 0, 0)];
    for call in calls {
        program.push(filter(jump, 0, 1, *call as u32));
        program.push(filter(ret, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32));
    }
    program.push(filter(ret, 0, 0, libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let program =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: numbers, and a program that lives as long as the call.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(install) };
}

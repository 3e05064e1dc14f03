//! What the kernel is answered, asked by hand through a socket in the device's place.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair,
};
use squashfs::Image;
use squashfs::fuse::Server;

const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const IOCTL: u32 = 39;
const INIT: u32 = 26;
const READDIR: u32 = 28;
const ROOT: u64 = 1;

/// The kernel's side.
struct Kernel(OwnedFd);

impl Kernel {
    /// The answer, or the error number.
    fn ask(&self, operation: u32, node: u64, arguments: &[u8]) -> Result<Vec<u8>, i32> {
        let mut request = ((40 + arguments.len()) as u32).to_ne_bytes().to_vec();
        request.extend(operation.to_ne_bytes());
        request.extend(7u64.to_ne_bytes());
        request.extend(node.to_ne_bytes());
        request.extend([0; 16]);
        request.extend(arguments);
        send(self.0.as_raw_fd(), &request, MsgFlags::empty()).unwrap();
        let mut answer = vec![0; 2 << 20];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
        answer.truncate(length);
        let word = |at: usize| u32::from_ne_bytes(answer[at..at + 4].try_into().unwrap());
        assert_eq!((word(0) as usize, word(8), word(12)), (length, 7, 0));
        match word(4) as i32 {
            0 => Ok(answer.split_off(16)),
            error => Err(-error),
        }
    }

    fn lookup(&self, node: u64, name: &str) -> u64 {
        let answer = self.ask(LOOKUP, node, format!("{name}\0").as_bytes()).unwrap();
        u64::from_ne_bytes(answer[..8].try_into().unwrap())
    }

    fn read(&self, node: u64, offset: u64, size: u32) -> Vec<u8> {
        self.ask(READ, node, &range(offset, size)).unwrap()
    }

    fn attribute(&self, node: u64, room: u32, name: &str) -> Result<Vec<u8>, i32> {
        let arguments = [&room.to_ne_bytes()[..], &[0; 4], name.as_bytes(), &[0]].concat();
        self.ask(GETXATTR, node, &arguments)
    }
}

fn range(offset: u64, size: u32) -> Vec<u8> {
    [&[0; 8][..], &offset.to_ne_bytes(), &size.to_ne_bytes(), &[0; 20]].concat()
}

/// Asks about an image of a tree that `fill` makes.
fn asked(fill: impl FnOnce(&Path), ask: impl FnOnce(&Kernel)) {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (place.path().join("root"), place.path().join("x.sqsh"));
    fs::create_dir(&root).unwrap();
    fill(&root);
    let packed = Command::new("mksquashfs").args([&root, &file]).arg("-quiet").output().unwrap();
    assert!(packed.status.success(), "{packed:?}");
    let image = Image::open(File::open(&file).unwrap()).unwrap();
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    std::thread::scope(|scope| {
        let image = &image;
        let server = scope.spawn(move || Server::new(theirs, image, (1234, 5678)).run());
        let kernel = Kernel(ours);
        ask(&kernel);
        drop(kernel);
        server.join().unwrap().unwrap();
    });
}

fn set_attribute(path: &Path, name: &std::ffi::CStr, value: &[u8]) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: both strings end with a zero, and the value has the length that is given.
    let done = unsafe {
        let value_start = value.as_ptr().cast();
        nix::libc::lsetxattr(path.as_ptr(), name.as_ptr(), value_start, value.len(), 0)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn the_kernel_is_agreed_with_and_offered_no_more_than_it_knows() {
    asked(
        |_| {},
        |kernel| {
            let offer = |minor: u32, flags: u32| {
                let words = [7, minor, 1 << 17, flags];
                let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
                let answer = kernel.ask(INIT, 0, &words).unwrap();
                let word = |at: usize| u32::from_ne_bytes(answer[at..at + 4].try_into().unwrap());
                (answer.len(), [word(0), word(4), word(8), word(12)])
            };
            assert_eq!(offer(27, 1), (64, [7, 27, 1 << 17, 1]));
            let (_, [_, minor, _, flags]) = offer(99, u32::MAX);
            assert_eq!(minor, 31);
            // Neither locks nor ACLs, nor anything that writes.
            assert_eq!(flags & (1 << 1 | 1 << 10 | 1 << 16 | 1 << 20), 0);
        },
    );
}

#[test]
fn files_are_looked_up_and_read() {
    let text = "0123456789".repeat(50_000);
    asked(
        |root| {
            fs::create_dir(root.join("directory")).unwrap();
            fs::write(root.join("directory/file"), &text).unwrap();
        },
        |kernel| {
            assert_eq!(kernel.lookup(ROOT, "absent"), 0, "which may be believed");
            let directory = kernel.lookup(ROOT, "directory");
            let file = kernel.lookup(directory, "file");
            let answer = kernel.ask(GETATTR, file, &[0; 16]).unwrap();
            assert_eq!(answer.len(), 104);
            let owner = [1234u32, 5678].iter().flat_map(|id| id.to_ne_bytes()).collect::<Vec<_>>();
            assert_eq!(answer[84..92], owner, "whoever starts the container");
            assert!(kernel.read(file, 0, 4096) == text.as_bytes()[..4096]);
            assert!(kernel.read(file, 131_000, 300) == text.as_bytes()[131_000..131_300]);
            assert!(kernel.read(file, 499_990, 4096) == *b"0123456789");
            assert_eq!(kernel.read(file, 500_000, 4096), b"");
            assert_eq!(kernel.read(file, u64::MAX, 4096), b"");
            // Over several blocks: a short answer would be the end of the file.
            assert!(kernel.read(file, 5, 200_000) == text.as_bytes()[5..200_005]);
            assert_eq!(kernel.ask(LOOKUP, file, b"x\0"), Err(nix::libc::ENOTDIR));
            assert_eq!(kernel.ask(READ, directory, &range(0, 10)), Err(nix::libc::EINVAL));
            assert_eq!(kernel.ask(READ, 1 << 50, &range(0, 10)), Err(nix::libc::EIO));
            assert_eq!(kernel.ask(OPEN, file, &[0; 8]), Err(nix::libc::ENOSYS), "nothing to do");
            assert_eq!(kernel.ask(IOCTL, file, &[0; 32]), Err(nix::libc::ENOTTY));
            assert_eq!(kernel.ask(STATFS, ROOT, &[]).unwrap().len(), 80);
        },
    );
}

/// What is sent unasked: its code, node, offset and bytes.
fn notices(kernel: &Kernel) -> Vec<(u32, u64, u64, Vec<u8>)> {
    // The end, to whoever reads; what was sent before can still be received.
    shutdown(kernel.0.as_raw_fd(), Shutdown::Write).unwrap();
    let mut notices = Vec::new();
    let mut message = vec![0; 2 << 20];
    while let length @ 1.. = recv(kernel.0.as_raw_fd(), &mut message, MsgFlags::empty()).unwrap() {
        let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().unwrap());
        assert_eq!((word(0) as usize, long(8)), (length, 0));
        assert_eq!(word(32) as usize, length - 40, "so many bytes as it says");
        notices.push((word(4), long(16), long(24), message[40..length].to_vec()));
    }
    notices
}

/// By notices of the protocol (`FUSE_NOTIFY_STORE`), once there is a thread that answers meanwhile.
#[test]
fn the_rest_of_a_block_comes_unasked() {
    let text = "0123456789".repeat(50_000);
    asked(
        |root| fs::write(root.join("file"), &text).unwrap(),
        |kernel| {
            let file = kernel.lookup(ROOT, "file");
            // By one thread: what follows would be taken for the answer to what is asked next.
            assert!(kernel.read(file, 400_000, 4096) == text.as_bytes()[400_000..404_096]);
            for _ in 0..100 {
                kernel.ask(GETATTR, file, &[0; 16]).unwrap();
            }
            assert!(kernel.read(file, 131_072, 4096) == text.as_bytes()[131_072..135_168]);
            let rest = text.as_bytes()[135_168..262_144].to_vec();
            assert!(notices(kernel) == [(4, file, 135_168, rest)]);
        },
    );
}

#[test]
fn a_directory_is_listed_in_pieces_of_any_size() {
    asked(
        |root| {
            for number in 0..700 {
                fs::write(root.join(format!("file {number:03}")), "").unwrap();
            }
        },
        |kernel| {
            for size in [64, 100, 1000, 4096, 1 << 20] {
                let (mut names, mut offset) = (Vec::new(), 0);
                loop {
                    let answer = kernel.ask(READDIR, ROOT, &range(offset, size)).unwrap();
                    assert!(answer.len() <= size as usize);
                    let mut at = 0;
                    while at < answer.len() {
                        let word = |at: usize| {
                            u32::from_ne_bytes(answer[at..at + 4].try_into().unwrap()) as usize
                        };
                        offset = word(at + 8) as u64 | (word(at + 12) as u64) << 32;
                        let name = &answer[at + 24..at + 24 + word(at + 16)];
                        names.push(String::from_utf8(name.to_vec()).unwrap());
                        at += (24 + name.len()).next_multiple_of(8);
                    }
                    if answer.is_empty() {
                        break;
                    }
                }
                assert_eq!(names.len(), 702, "{size}");
                assert_eq!(names[..3], [".", "..", "file 000"]);
                assert!(names[2..].is_sorted() && names[701] == "file 699");
            }
        },
    );
}

#[test]
fn attributes() {
    let long = [b'v'; 3000];
    asked(
        |root| {
            for name in ["one", "two", "none"] {
                fs::write(root.join(name), "").unwrap();
            }
            // The same long value twice is stored once.
            for name in ["one", "two"] {
                set_attribute(&root.join(name), c"user.long", &long);
            }
            set_attribute(&root.join("one"), c"user.short", b"short");
        },
        |kernel| {
            let [one, two, none] = ["one", "two", "none"].map(|name| kernel.lookup(ROOT, name));
            assert_eq!(kernel.attribute(one, 100, "user.short").unwrap(), b"short");
            assert_eq!(kernel.attribute(one, 0, "user.short").unwrap(), [5, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(kernel.attribute(one, 4, "user.short"), Err(nix::libc::ERANGE));
            assert_eq!(kernel.attribute(two, 4096, "user.long").unwrap(), long);
            assert_eq!(kernel.attribute(two, 4096, "user.short"), Err(nix::libc::ENODATA));
            let list = |node| {
                kernel
                    .ask(LISTXATTR, node, &[&4096u32.to_ne_bytes()[..], &[0; 4]].concat())
                    .unwrap()
            };
            let mut names: Vec<_> =
                list(one).split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
            names.sort();
            assert_eq!(names, [&b""[..], b"user.long", b"user.short"]);
            assert_eq!(list(none), b"");
        },
    );
    // Where nothing has any, the kernel is told not to ask.
    asked(
        |root| fs::write(root.join("file"), "").unwrap(),
        |kernel| {
            let file = kernel.lookup(ROOT, "file");
            assert_eq!(kernel.attribute(file, 0, "user.x"), Err(nix::libc::ENOSYS));
            let room = [&4096u32.to_ne_bytes()[..], &[0; 4]].concat();
            assert_eq!(kernel.ask(LISTXATTR, file, &room).unwrap(), b"");
        },
    );
}

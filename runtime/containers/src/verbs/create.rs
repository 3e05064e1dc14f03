//! Making a container: everything is put together under a hidden name, which the making process
//! has locked, and appears under its own name by one rename.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use hygiene::console;
use linux::file_error::FileError;
use linux::phases;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::hold::Hold;
use crate::HostSide;
use crate::record::data_path::make;
use crate::record::forget_names;
use crate::record::removal::remove_tree;
use crate::record::trash::{UNFINISHED, make_accessible, sweep, to_trash};
use crate::record::usage::{is_at, open};
use crate::record::{Container, ContainerError, DataPath, Metadata, Name};
use crate::start;
use crate::unpack::unpack;
use linux::sys::{FlockKind, Umask, flock, memory_file};
use squashfs::image::Image;
use squashfs::unsquashfs::{self, UNSQUASHFS};

/// A container being made. Its lock is the container's own: those who start it wait for us.
struct Unfinished {
    path: PathBuf,
    lock: File,
}

impl DataPath {
    /// Makes a container over the squashfs file `image`; `force` replaces one that exists.
    ///
    /// Of several at once, one makes the container and the others find that it exists.
    ///
    /// A signal that ends the process ends it when what was begun is cleared away.
    ///
    /// # Errors
    /// [`ContainerError::Exists`] and others; nothing is left then.
    pub fn create(
        &self,
        name: &Name,
        image: &Path,
        force: bool,
        host: &HostSide,
    ) -> Result<Container, ContainerError> {
        let _umask = Umask::ours();
        let create = || create_in(&self.holder_for_new(name)?, name, image, force, host);
        match create() {
            Err(error) if self.keeps_apart(&error) => create(),
            made => made,
        }
    }

    /// The container called `name`, made over `image` if there is none.
    ///
    /// # Errors
    /// As [`DataPath::create`], except that an existing container is none.
    pub fn create_if_absent(
        &self,
        name: &Name,
        image: &Path,
        host: &HostSide,
    ) -> Result<Container, ContainerError> {
        match self.container(name) {
            Err(ContainerError::Absent { .. }) => match self.create(name, image, false, host) {
                Err(ContainerError::Exists { .. }) => self.container(name),
                result => result,
            },
            result => result,
        }
    }
}

fn create_in(
    data: &Path,
    name: &Name,
    image: &Path,
    force: bool,
    host: &HostSide,
) -> Result<Container, ContainerError> {
    sweep(data);
    let place = data.join(name.as_os_str());
    phases::begin("open");
    let Image::Squashfs { file, .. } = Image::open(image, host.in_use)? else {
        return Err(squashfs::image::ImageError::not_squashfs(image).into());
    };
    let unfinished = begin(data, name)?;
    let hold = Hold::begin().map_err(|error| FileError::new("create", &place, error))?;
    forget_names(data);
    if place.symlink_metadata().is_ok() && !force {
        unfinished.discard();
        return Err(ContainerError::exists(place));
    }
    phases::begin("write");
    let made = unfinished.fill(&file, image, &hold, host).and_then(|rootfs| {
        // Read now: somebody may remove the container as soon as it is there.
        let layered = Metadata::read(&rootfs)?;
        phases::begin("publish");
        publish(data, &rootfs, &place, force)?;
        Ok(Container { name: name.clone(), path: place, layered })
    });
    unfinished.discard(); // what an extracted root leaves; a layered one took it along
    made
}

/// The right to make `name`, once nobody else is making it. What a crash left is cleared.
fn begin(data: &Path, name: &Name) -> Result<Unfinished, ContainerError> {
    let mut hidden = std::ffi::OsString::from(UNFINISHED);
    hidden.push(name.as_os_str());
    let path = data.join(hidden);
    loop {
        match DirBuilder::new().mode(0o700).create(&path) {
            // Another step's last container was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(data)?;
                continue;
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FileError::new("create", &path, error).into());
            }
            _ => {}
        }
        let lock_path = path.join("lock");
        let lock = match open(&lock_path) {
            // Published or swept between the two calls.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result.map_err(|error| FileError::new("lock", &lock_path, error))?,
        };
        flock(&lock, FlockKind::Exclusive)
            .map_err(|error| FileError::new("lock", &lock_path, error))?;
        if is_at(&lock, &lock_path) {
            match clear(&path) {
                Ok(()) => return Ok(Unfinished { path, lock }),
                // Another node has published it or given it up, which was not seen here yet.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(FileError::new("clear", &path, error).into()),
            }
        }
    }
}

/// Removes everything but the lock.
fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() != "lock" {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

impl Unfinished {
    /// Puts the container together. Returns the directory to be renamed.
    fn fill(
        &self,
        file: &File,
        image: &Path,
        hold: &Hold,
        host: &HostSide,
    ) -> Result<PathBuf, ContainerError> {
        for directory in ["upper", "work"] {
            let path = self.path.join(directory);
            // The root directory of the container: programs of any id inside may pass.
            DirBuilder::new()
                .mode(0o755)
                .create(&path)
                .map_err(|error| FileError::new("create", &path, error))?;
        }
        match start::can_layer(file, &self.path, host) {
            Ok(()) => self.layer(file, image, hold).map(|()| self.path.clone()),
            Err(reason) => {
                let image_shown = image.display();
                let mend = reason.mend();
                console::tell(format_args!("pyxis: {reason}; extracting {image_shown}{mend}"));
                self.extract(file, image, hold)
            }
        }
    }

    fn layer(&self, file: &File, image: &Path, hold: &Hold) -> Result<(), ContainerError> {
        let kept = self.path.join("image.sqsh");
        let failed = |error| FileError::new("link or copy the image to", &kept, error);
        let origin = fs::canonicalize(image).map_err(failed)?;
        let linked = fs::hard_link(&origin, &kept).is_ok();
        if !linked || !is_at(file, &kept) {
            let _ = fs::remove_file(&kept);
            let mut copy = File::create_new(&kept).map_err(failed)?;
            hold.copy(&mut &*file, &mut copy).and_then(|()| copy.sync_all()).map_err(failed)?;
        }
        open(&self.path.join("used")).map_err(failed)?;
        // As it is under its name: writing to it by another one comes after this.
        let image = File::open(&kept).map_err(failed)?;
        Metadata::new(&origin, &image)
            .and_then(|metadata| metadata.write(&self.path))
            .map_err(|error| FileError::new("write", &self.path, error).into())
    }

    /// As enroot does it, where the image cannot be mounted or changes cannot be layered.
    fn extract(&self, file: &File, image: &Path, hold: &Hold) -> Result<PathBuf, ContainerError> {
        let rootfs = self.path.join("rootfs");
        let failed = |problem| ContainerError::Extract { image: image.to_owned(), problem };
        DirBuilder::new()
            .mode(0o700)
            .create(&rootfs)
            .map_err(|error| FileError::new("create", &rootfs, error))?;
        let directory =
            File::open(&rootfs).map_err(|error| FileError::new("open", &rootfs, error))?;
        match unpack(file, directory.as_fd(), &|| hold.interrupted()) {
            Ok(Some(_)) => {}
            Ok(None) => {
                // The program makes it.
                let _ = fs::remove_dir(&rootfs);
                extract_by_program(&rootfs, (file, image), hold)?;
            }
            Err(error) => return Err(failed(error.to_string())),
        }
        make_accessible(&rootfs)
            .map_err(|error| FileError::new("set permissions of", &rootfs, error))?;
        Ok(rootfs)
    }

    /// Removes what is left below the hidden name, while others still wait for the lock.
    fn discard(self) {
        if is_at(&self.lock, &self.path.join("lock")) {
            let _ = remove_tree(&self.path);
            // NFS keeps a directory until what was open in it is closed. Who makes it anew has a file in it, or tries again.
            drop(self.lock);
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// By the host's unsquashfs, of an image that is not read here.
fn extract_by_program(
    rootfs: &Path,
    (file, image): (&File, &Path),
    hold: &Hold,
) -> Result<(), ContainerError> {
    let failed = |problem| ContainerError::Extract { image: image.to_owned(), problem };
    let log = memory_file(UNSQUASHFS, b"").and_then(|log| Ok((log.try_clone()?, log)));
    let (theirs, log) = log.map_err(|error| FileError::new("extract", image, error))?;
    let mut program = unsquashfs::command(Path::new(UNSQUASHFS), (file, image), rootfs, false);
    let status = hold
        .run(program.stderr(theirs))
        .map_err(|error| failed(format!("{UNSQUASHFS}: {error}; install squashfs-tools")))?;
    if !unsquashfs::succeeded(status) {
        let (mut log, mut text) = (File::from(log), Vec::new());
        let _ = log.rewind().and_then(|()| log.read_to_end(&mut text));
        return Err(failed(unsquashfs::last_words(&text)));
    }
    Ok(())
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

fn publish(data: &Path, rootfs: &Path, place: &Path, force: bool) -> Result<(), ContainerError> {
    loop {
        match renameat2(AT_FDCWD, rootfs, AT_FDCWD, place, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EEXIST) if force => to_trash(data, place)?,
            Err(Errno::EEXIST) => return Err(ContainerError::exists(place.to_owned())),
            // NFS and others know no flags; a container is never empty, so rename(2) refuses too.
            Err(Errno::EINVAL | Errno::ENOSYS) => match fs::rename(rootfs, place) {
                Ok(()) => return Ok(()),
                // It may be another node's, which this one sees only when it looks again.
                Err(error) if is_taken(&error) || place.is_dir() => {
                    forget_names(data);
                    if !force {
                        return Err(ContainerError::exists(place.to_owned()));
                    }
                    to_trash(data, place).map_err(|_| FileError::new("replace", place, error))?;
                }
                Err(error) => return Err(FileError::new("create", place, error).into()),
            },
            Err(errno) => return Err(FileError::new("create", place, errno).into()),
        }
    }
}

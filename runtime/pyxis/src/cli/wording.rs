//! What the command says under the name `enroot`, where scripts that call it look for enroot's own
//! words: the usual errors, and the lines of what it does.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use containers::record::ContainerError;
use containers::start::StartError;
use containers::verbs::{ExecError, ExportError};
use hygiene::console;
use images::import::ImportError;
use images::uri::UriError;
use linux::file_error::FileError;
use pyxis::directives::DirectiveError;
use squashfs::image::ImageError;

use super::{CliError, as_enroot};

impl CliError {
    /// What is said of it, in enroot's words under its name.
    pub(crate) fn line(&self) -> String {
        if !as_enroot() {
            return format!("pyxis: {self}");
        }
        format!("[ERROR] {}", of_error(self).unwrap_or_else(|| self.to_string()))
    }
}

/// The error as enroot has it; `None` where it has no such error, or says less than we do.
fn of_error(error: &CliError) -> Option<String> {
    match error {
        CliError::Container(error) => of_container(error),
        CliError::Start(StartError::Image(ImageError::NotSquashfs { path, .. })) => {
            Some(invalid(path))
        }
        CliError::Start(StartError::Image(ImageError::Open { path, source })) => {
            is_absent(source).then(|| invalid(path))
        }
        CliError::Export(ExportError::Exists { path })
        | CliError::Import(ImportError::Exists(path)) => Some(exists(path)),
        CliError::Export(ExportError::File(FileError { path, source, .. }))
        | CliError::Directive(DirectiveError::Read(FileError { path, source, .. }))
        | CliError::Script(FileError { path, source, .. }) => {
            is_no_file(source).then(|| absent(path))
        }
        CliError::Import(ImportError::Uri(UriError::Scheme(uri))) => {
            Some(format!("Invalid argument: {uri}"))
        }
        CliError::Import(ImportError::Uri(UriError::Part { uri, problem })) => {
            Some(format!("Invalid image reference: {uri}: {problem}"))
        }
        CliError::Variable(word) => Some(invalid(word)),
        CliError::Exec(ExecError::Open { pid, .. } | ExecError::Foreign { pid, .. }) => {
            Some(format!("Process not found: {pid}"))
        }
        _ => None,
    }
}

fn of_container(error: &ContainerError) -> Option<String> {
    match error {
        ContainerError::Name { name, .. } => Some(invalid(name)),
        ContainerError::Image(ImageError::Open { path, source }) => {
            is_absent(source).then(|| absent(Path::new(path)))
        }
        ContainerError::Image(ImageError::NotSquashfs { path, .. })
            if !Path::new(path).is_file() =>
        {
            Some(absent(Path::new(path)))
        }
        ContainerError::Image(ImageError::NotSquashfs { path, .. }) => {
            Some(format!("Invalid image format: {}", resolved(Path::new(path)).display()))
        }
        _ => None,
    }
}

/// A line of what is being done. Ours says nothing of what takes no time.
pub(super) fn tell_step(text: &str) {
    if as_enroot() {
        console::tell(format_args!("[INFO] {text}"));
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// To enroot, a directory in a file's place is as good as nothing.
fn is_no_file(error: &io::Error) -> bool {
    is_absent(error) || error.kind() == io::ErrorKind::IsADirectory
}

fn invalid(word: &str) -> String {
    if word.is_empty() {
        "Invalid argument".to_owned()
    } else {
        format!("Invalid argument: {word}")
    }
}

fn absent(path: &Path) -> String {
    format!("No such file or directory: {}", resolved(path).display())
}

fn exists(path: &Path) -> String {
    format!("File already exists: {}", resolved(path).display())
}

/// Absolute and without links, as far as there is something; a path that leads nowhere as it is.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(whole) = fs::canonicalize(path) {
        return whole;
    }
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return path.to_owned();
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return path.to_owned(),
    };
    match (fs::canonicalize(parent), path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_where_its_directory_is_there() {
        let place = tempfile::tempdir().unwrap();
        let whole = fs::canonicalize(place.path()).unwrap();
        std::os::unix::fs::symlink(&whole, whole.join("link")).unwrap();
        assert_eq!(resolved(&whole.join("link/new")), whole.join("new"));
        assert_eq!(resolved(&whole.join("link/a/new")), whole.join("link/a/new"));
        assert_eq!(resolved(Path::new("/")), Path::new("/"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(resolved(Path::new("nosuch")), fs::canonicalize(here).unwrap().join("nosuch"));
    }
}

//! Whether a container's image is still what the container was made over.

use std::fs::{self, File};
use std::path::PathBuf;

use linux::file_error::FileError;

use super::container::Container;
use super::error::ContainerError;

impl Container {
    /// The image below the changes of this container, which the caller has locked, if it is still
    /// the one that the container was made over.
    ///
    /// # Errors
    /// [`ContainerError::ImageChanged`], or that it cannot be read.
    pub(crate) fn checked_image(&self) -> Result<PathBuf, ContainerError> {
        let path = self.image();
        let Some(metadata) = &self.layered else { return Ok(path) };
        let failed = |error| FileError::new("read", &path, error);
        if metadata.is_untouched(&fs::metadata(&path).map_err(failed)?) {
            return Ok(path);
        }
        let renewed =
            File::open(&path).and_then(|image| metadata.renewed(&image)).map_err(failed)?;
        let Some(renewed) = renewed else {
            return Err(ContainerError::ImageChanged { path: self.path.clone() });
        };
        // Where it cannot be noted, the next start looks again.
        let _ = renewed.write(&self.path);
        Ok(path)
    }
}

//! A new file for a secret: readable by its owner only, never in the place of another, and gone again unless it was written to the end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A file that was made and is empty.
pub(crate) struct PrivateFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl PrivateFile {
    /// Makes it; [`io::ErrorKind::AlreadyExists`] where there is something already, which stays as it is.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            written: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of it; it is on the disk when this returns.
    pub(crate) fn write(mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        self.written = true;
        Ok(())
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if !self.written {
            // Whoever made it has an error to tell already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

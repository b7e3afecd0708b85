//! Folders and passwords that exist for one test.

use std::fs::{DirBuilder, File};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// A folder below the system's temporary one, removed with all that is in it when dropped.
///
/// Others may enter it (mode 0755), because servers run as users of their own.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A new, empty folder whose name begins with `bulkhead-`.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("bulkhead-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .map_err(Error::io("cannot make a scratch folder"))?;
        Ok(Self {
            path: folder.keep(),
            keep: false,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it, which need not exist.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder `name`, mode 0755, and those above it.
    pub fn folder(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(Error::on_path("make", &path))?;
        Ok(path)
    }

    /// Writes the file `name` with mode 0600.
    pub fn private_file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, content.as_ref()));
        written.map_err(Error::on_path("write", &path))?;
        Ok(path)
    }

    /// Leaves the folder where it is when the value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing can be done about a failure here, and the system empties its temporary folder in the end.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A password that occurs nowhere else, so that a test can search output for it: 32 hexadecimal digits.
pub fn random_secret() -> Result<String> {
    let mut bytes = [0_u8; 16];
    let mut source = File::open("/dev/urandom").map_err(Error::io("cannot open /dev/urandom"))?;
    source.read_exact(&mut bytes).map_err(Error::io("cannot read /dev/urandom"))?;
    Ok(hex::encode(bytes))
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::on_path("open", path))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(Error::on_path("read", path))?;
    Ok(hex::encode(hasher.finalize()))
}

//! Compiled components on disk.
//!
//! A file is machine code that runs without any further check, so only what this host wrote itself is loaded: the folder and the file must belong to this
//! user and be writable by nobody else, and the file ends in the SHA-256 of what is before it. Its name has the component's digest and that of everything
//! about the engine that the code depends on. Files are replaced whole: temporary name, fsync, rename.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::{PluginDigest, RuntimeError};

const DIGEST: usize = 32;

/// A folder of compiled components for one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    engine_hash: String,
}

impl Cache {
    /// Makes the folder (0700) where it is missing, and checks that it is ours alone.
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Self, RuntimeError> {
        let failed = |error: std::io::Error| RuntimeError::Cache {
            path: folder.clone(),
            cause: error.to_string(),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        check_owner(&folder, &fs::symlink_metadata(&folder).map_err(failed)?)?;
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_hash = hex::encode(&hasher.0.finalize()[..8]);
        Ok(Self { folder, engine_hash })
    }

    fn path(&self, digest: &PluginDigest) -> PathBuf {
        self.folder.join(format!("{}-{}.compiled", digest.hex(), self.engine_hash))
    }

    /// The compiled component; `None` where there is none, or where the file is damaged or cannot be read.
    pub(crate) fn load(&self, engine: &Engine, digest: &PluginDigest) -> Result<Option<Component>, RuntimeError> {
        let path = self.path(digest);
        let code = match read_checked(&path) {
            Ok(Some(code)) => code,
            Ok(None) => return Ok(None),
            Err(RuntimeError::Cache { path, cause }) => {
                tracing::warn!(path = %path.display(), cause, "a compiled plugin cannot be read: compiling anew");
                return Ok(None);
            }
            Err(foreign) => return Err(foreign),
        };
        // SAFETY: the bytes are what `Component::serialize` gave to `store` of this same host: the file and its folder belong to this user and nobody
        // else can write them, and their SHA-256 was just verified. The engine checks version and configuration itself.
        #[expect(unsafe_code, reason = "loading code that this host compiled: see the comment")]
        let loaded = unsafe { Component::deserialize(engine, &code) };
        match loaded {
            Ok(component) => Ok(Some(component)),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a compiled plugin is not for this engine: compiling anew");
                Ok(None)
            }
        }
    }

    /// Keeps a compiled component. A cache that cannot be written costs time, not the run.
    pub(crate) fn store(&self, digest: &PluginDigest, component: &Component) {
        let path = self.path(digest);
        let stored = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| self.write(&path, &code).map_err(|e| e.to_string()));
        if let Err(cause) = stored {
            tracing::warn!(path = %path.display(), cause, "a compiled plugin cannot be kept: it is compiled again next time");
        }
    }

    fn write(&self, path: &Path, code: &[u8]) -> std::io::Result<()> {
        static UNIQUE: AtomicU64 = AtomicU64::new(0);
        let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{unique}.tmp", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(code)?;
            file.write_all(&Sha256::digest(code))?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// The file's content without its digest; `None` where it is missing or damaged.
fn read_checked(path: &Path) -> Result<Option<Vec<u8>>, RuntimeError> {
    let failed = |error: std::io::Error| RuntimeError::Cache {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = match OpenOptions::new().read(true).custom_flags(no_follow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            return Err(RuntimeError::ForeignCache {
                path: path.to_owned(),
                fault: "is a symbolic link".to_owned(),
            });
        }
        Err(error) => return Err(failed(error)),
    };
    check_owner(path, &file.metadata().map_err(failed)?)?;
    let mut code = Vec::new();
    file.read_to_end(&mut code).map_err(failed)?;
    let Some(end) = code.len().checked_sub(DIGEST) else {
        return Ok(None);
    };
    if Sha256::digest(&code[..end])[..] != code[end..] {
        tracing::warn!(path = %path.display(), "a compiled plugin is damaged: compiling anew");
        return Ok(None);
    }
    code.truncate(end);
    Ok(Some(code))
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), RuntimeError> {
    let user = rustix::process::geteuid().as_raw();
    let fault = if metadata.is_symlink() {
        "is a symbolic link".to_owned()
    } else if metadata.uid() != user {
        format!("belongs to user {}, not to {user}", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!("is writable by others (mode {:04o})", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(RuntimeError::ForeignCache {
        path: path.to_owned(),
        fault,
    })
}

/// SHA-256 over what a `Hash` feeds: the same for the same build of this host.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

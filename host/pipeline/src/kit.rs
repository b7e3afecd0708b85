//! `bulkhead key kit`: a page for the safe. It has a password of its own, as text and as a QR code, and says where the vault is and how plain restic opens
//! it: all that is needed when this machine, its configuration and this program are gone.
//!
//! The page is written once, into a new file that only its owner can read, or handed to who shows it. The password is in no message and no document.

mod code;
mod page;
pub(crate) mod password;
mod place;

use std::{
    io,
    path::{Path, PathBuf},
};

use bulkhead_vault::Password;
use qrcode::types::QrError;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    clock,
    failure::{Explain, Failure, FailureClass},
    host::BuildError,
    keys::{self, ChangeKeyError},
    maintenance::SinkOutcome,
    operation::{Interrupted, Operation},
    private_file::PrivateFile,
};
use page::Page;

/// What the key file of a kit has where others have the host that made them.
const HOST: &str = "recovery-kit";

/// What was made, without the password.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KitReport {
    /// The vault.
    pub vault: String,
    /// The key's id: 64 hexadecimal digits.
    pub key: String,
    /// Where the page is; `None` where the caller has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Each further sink that the key was to go to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkOutcome>,
}

/// A kit. The page is wiped when it is dropped, and has no `Debug`.
pub struct Kit {
    /// What was made.
    pub report: KitReport,
    /// The page, where it was not to go to a file.
    pub page: Option<Zeroizing<String>>,
}

/// Why there is no kit.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The password could not be let in.
    #[error(transparent)]
    Key(#[from] ChangeKeyError),
    /// The file for the page can't be made. No key was added.
    #[error("cannot make the file {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The page can't be written. The key was added, and nobody knows its password.
    #[error("cannot write the file {}", .path.display())]
    Write {
        /// The file, which is gone.
        path: PathBuf,
        /// The vault.
        vault: String,
        /// The key.
        key: String,
        /// Why not.
        source: io::Error,
    },
    /// The password has no QR code. No key was added.
    #[error("cannot make the QR code")]
    Code(#[from] QrError),
    /// Cut short. A key whose page was not written can be removed: `key list` shows it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<BuildError> for KitError {
    fn from(error: BuildError) -> Self {
        Self::Key(error.into())
    }
}

impl Explain for KitError {
    fn explain(&self) -> Failure {
        match self {
            Self::Key(error) => error.explain(),
            Self::File { .. } => {
                Failure::new(FailureClass::Config, self).hint("name a file that isn't there yet, in a folder that you may write to")
            }
            Self::Write { vault, key, .. } => Failure::new(FailureClass::Internal, self).hint(format!(
                "`bulkhead key remove {vault} {}` removes the key that was made for it; then call it again",
                &key[..8]
            )),
            Self::Code(_) => Failure::new(FailureClass::Internal, self),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
        }
    }
}

/// Makes a recovery kit for the vault called `name`, with a key of its own on all sinks: written into the new file `file`, or returned.
///
/// # Errors
/// See [`KitError`]; what couldn't be done on a further sink is in the report, and the next run does it.
pub async fn recovery_kit(operation: &Operation, name: &str, file: Option<&Path>) -> Result<Kit, KitError> {
    operation.until_interrupted(None, make(operation, name, file)).await?
}

#[tracing::instrument(name = "key kit", skip(operation))]
async fn make(operation: &Operation, name: &str, file: Option<&Path>) -> Result<Kit, KitError> {
    let vault = operation.vault_named(name)?;
    let password = password::generate();
    let code = code::draw(&password)?;
    // Before the key: a page that has no place is no reason for one.
    let file = file.map(create).transpose()?;
    let new = Password::new(password.as_bytes());
    let added = keys::admit(operation, vault, &new, HOST).await?;
    let page = Page {
        vault: name,
        repository: added.opened.id(),
        key: &added.id.to_string(),
        made: &clock::rfc3339(clock::now()),
        host: &operation.host.name,
        places: place::of(&operation.config, vault),
    };
    let page = page.write(&password, &code);
    let mut report = KitReport {
        vault: name.to_owned(),
        key: added.id.to_string(),
        file: None,
        sinks: added.sinks,
    };
    let Some(file) = file else {
        return Ok(Kit { report, page: Some(page) });
    };
    let path = file.path().to_owned();
    file.write(page.as_bytes()).map_err(|source| KitError::Write {
        path: path.clone(),
        vault: report.vault.clone(),
        key: report.key.clone(),
        source,
    })?;
    report.file = Some(path);
    Ok(Kit { report, page: None })
}

fn create(path: &Path) -> Result<PrivateFile, KitError> {
    PrivateFile::create(path).map_err(|source| KitError::File {
        path: path.to_owned(),
        source,
    })
}

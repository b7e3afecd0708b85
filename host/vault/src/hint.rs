//! The next action after an error: data, so that a front end can set it apart.

use bulkhead_model::FaultKind;

use crate::{
    error::{
        Cause, CopyError, Corruption, InitError, KeyError, MaintenanceError, OpenError, ReadError, ResolveError, StoreError, VerifyError,
        WriteError,
    },
    survey::SearchError,
};

/// The next action after an error, where there is one worth naming.
pub trait Hint {
    /// One sentence.
    fn hint(&self) -> Option<String>;
}

/// For keys without a `config`.
const INCOMPLETE: &str = "if creating the vault was interrupted, remove the objects below `keys/` and create it again; if there were backups in it, copy the object `config` back from a replica";

fn some(hint: &str) -> Option<String> {
    Some(hint.to_owned())
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        self.fault.hint.clone().or_else(|| match self.fault.kind {
            FaultKind::StorageFull => some("make room in the store and run again; what was stored already is found again"),
            _ if self.fault.retryable => some("try again later"),
            _ => None,
        })
    }
}

impl Hint for Corruption {
    fn hint(&self) -> Option<String> {
        some("verify the vault to learn which snapshots are affected; another replica of it may have this object intact")
    }
}

impl Hint for InitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => some("use it as it is, or choose another place"),
            Self::Incomplete { .. } => some(INCOMPLETE),
            Self::EmptyPassword => {
                some("give the vault a password that cannot be guessed, and keep it in a second place: without it nothing can be restored")
            }
            Self::Store(error) => error.hint(),
            Self::Repository(_) => None,
            Self::Open(error) => error.hint(),
        }
    }
}

impl Hint for OpenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAVault { .. } => some("check the location, or create a vault there first"),
            Self::ConfigMissing { .. } => some(INCOMPLETE),
            Self::NoKeys { .. } => {
                some("copy the objects below `keys/` back from a replica; without one of them the vault cannot be opened")
            }
            Self::WrongPassword { .. } => some("check that the password is this vault's, and that it ends without a line break"),
            Self::BadKey { .. } => some("copy this object back from a replica, or remove it if another key opens the vault"),
            Self::UnsupportedVersion { .. } => some("use a newer version of this program"),
            Self::Corrupt(_) => some("copy the object back from a replica"),
            Self::Store(error) => error.hint(),
        }
    }
}

impl Hint for WriteError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cancelled {
                cause: Cause::Failed(error),
            } => error.hint(),
            Self::Locked { by, .. } => Some(format!(
                "wait until that process has ended{}; if it is not running any more on {}, the lock expires half an hour after its last refresh, or `bulkhead unlock` removes it",
                if by.is_alone {
                    ""
                } else {
                    ", or stop it for as long where it follows a log and has no end"
                },
                by.host
            )),
            Self::LockLost { .. } => some("run again; leave the vault's locks alone while a run is at work"),
            Self::OldFormat { .. } => some("upgrade it with `restic migrate upgrade_repo_v2`"),
            Self::ReservedPath(_) => some("choose a path outside `.bulkhead`"),
            Self::NothingToKeep { .. } | Self::KeptContentMissing { .. } => some("write the entry anew"),
            Self::TooManyChunks { .. } => some("write it as several entries"),
            Self::ObjectTooLarge { .. } => some("use a store that takes larger objects, or spread the entries over more folders"),
            Self::SetAside(_) => {
                some("look at the disk with the folder of compiled plugins, where it was, and run again; the vault has all that it had")
            }
            Self::Read(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Cancelled { .. }
            | Self::DuplicateEntry(_)
            | Self::NotAFolder { .. }
            | Self::WrongType { .. }
            | Self::TooLate(_)
            | Self::Unfinished(_)
            | Self::Internal(_) => None,
        }
    }
}

impl Hint for ReadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Corrupt(corruption) => corruption.hint(),
            Self::BlobMissing { .. } => some("`bulkhead repair index` finds what the index has lost; then `bulkhead verify`"),
            Self::Store(error) => error.hint(),
            Self::NoSuchEntry { .. } | Self::NotAFile(_) | Self::NoSuchSnapshot(_) | Self::Internal(_) => None,
        }
    }
}

impl Hint for CopyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::SameVault { .. } => some(
                "make the vault that is fed anew, at another place; for a further copy under the same keys, give the vault a further sink",
            ),
            Self::Source(error) => error.hint(),
            Self::SourceLock(error) | Self::Target(error) => error.hint(),
        }
    }
}

impl Hint for ResolveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Empty { .. } => some("run the pipeline first"),
            Self::NotFound { pipeline: Some(_), .. } => {
                some("list the snapshots to see their ids; one that something else took is named with `--vault`, and no pipeline")
            }
            Self::NotFound { .. } | Self::TooFarBack { .. } => some("list the snapshots to see their ids"),
            Self::Ambiguous { candidates, .. } => {
                let candidates: Vec<String> = candidates
                    .iter()
                    .take(5)
                    .map(|id| id.to_string().chars().take(16).collect())
                    .collect();
                Some(format!("give more digits: {}", candidates.join(", ")))
            }
            Self::NotAnId(_) => {
                some("give the first digits of the id that `bulkhead snapshots` lists: what `latest` means changes while snapshots go")
            }
            Self::Malformed(_) => some("give `latest`, `latest~1` for the one before it, or the first digits of an id in lower case"),
            Self::Read(error) => error.hint(),
        }
    }
}

impl Hint for SearchError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => some("give the whole id of a blob or tree to look for what no index names any more"),
            Self::Malformed(_) => some("give the id that `bulkhead verify` or `restic` shows, or its first digits"),
            Self::Read(error) => error.hint(),
        }
    }
}

impl Hint for KeyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::LastKey(_) => some("add another key first"),
            Self::EmptyPassword => InitError::EmptyPassword.hint(),
            Self::Corrupt(corruption) => corruption.hint(),
            Self::Store(error) => error.hint(),
            Self::NotFound(_) => some("list the keys to see their ids"),
            Self::Internal(_) => None,
        }
    }
}

impl Hint for VerifyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Internal(_) => None,
        }
    }
}

impl Hint for MaintenanceError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Repository(_) => some("nothing that a snapshot needs was removed: `bulkhead verify` says what is wrong with the vault"),
            Self::Changed => some("run it again and look at the new plan"),
            Self::ReservedTag(_) => some("choose another tag"),
            Self::MalformedTag(_) => some("give one tag at a time"),
            Self::MalformedHold(_) => some("say in one line who wants it, and why"),
            Self::NotHeld => some("`bulkhead hold list` shows what is held, and by which holds"),
            Self::SeveralHolds(_) => some("name one of them with `--hold`"),
            Self::Behind(_) => some("it catches up with the next run or prune"),
            Self::Strays(_) => some(
                "if they were forgotten, tagged or repaired while this sink could not be reached, forget them once more; if the first sink has lost them, \
                 restore them from this one (`--sink`), or copy their files in `snapshots/` back to the first, with the stores' own tools",
            ),
            Self::Stopped => some("run it again: it goes on from where it was"),
            Self::Store(error) => error.hint(),
            Self::Internal(_) => None,
        }
    }
}

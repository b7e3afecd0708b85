//! What the operator writes under `config`: [`Config`].

use std::num::NonZeroU32;

use bulkhead_sdk::{backoff::Backoff, config::ByteSize, prelude::*};

/// What pieces of an upload must be a multiple of: Drive's own unit.
const UNIT: u64 = 256 << 10;

/// How much of an object is sent at once, where nothing is said: a vault's usual pack. A request that breaks off goes on where Drive says that it has got to.
const PIECE: u64 = 64 << 20;

/// Attempts where nothing is said: pauses of about 50 s in all, because Drive counts requests by the minute.
const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

/// The first pause.
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// Settings of the sink. Whose Drive it is, is the `auth` of the endpoint `drive`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The id of the vault's folder: the end of its address in a browser (`https://drive.google.com/drive/folders/ID`). It may be in a shared drive, or
    /// be one ("0A…PVA"). One vault each, and nothing beside it.
    pub folder: String,
    /// What becomes of objects that `forget` and `prune` remove.
    #[serde(default)]
    pub removed: Removed,
    /// How much of an object is sent at once, a multiple of 256 KiB: "64 MiB" by default. More is faster on a line that holds, less wastes less on one
    /// that breaks.
    #[serde(default)]
    pub piece: Option<ByteSize>,
    /// How often a request is tried, from 1: 8 by default, with pauses of about 50 s in all.
    #[serde(default)]
    pub attempts: Option<NonZeroU32>,
    /// Instances that work at the same time, from 1 to 32: 8 by default; Drive lets one account make a few files a second.
    #[serde(default)]
    pub concurrency: Option<NonZeroU32>,
}

/// What becomes of removed objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Removed {
    /// They are gone at once. In a shared drive this takes the role of a manager.
    #[default]
    Deleted,
    /// They go to the trash, which Drive empties after 30 days; until then they count against the quota.
    Trashed,
}

impl Config {
    /// What the types cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        let is_id = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_id(&self.folder) {
            return Err(
                Error::config("folder", format!("`{}` cannot be the id of a folder", self.folder)).with_hint(
                    "open the folder in a browser and take what is behind `/folders/` in its address; the folder's name does not do",
                ),
            );
        }
        if !self.piece().is_multiple_of(UNIT) || self.piece() == 0 {
            return Err(Error::config("piece", "Drive takes pieces of a multiple of 256 KiB").with_hint("\"8 MiB\", say"));
        }
        if self.concurrency.is_some_and(|instances| instances.get() > 32) {
            return Err(Error::config("concurrency", "at most 32 instances work at the same time"));
        }
        Ok(())
    }

    /// Bytes that are sent at once.
    pub(crate) fn piece(&self) -> u64 {
        self.piece.map_or(PIECE, |size| size.0)
    }

    /// How requests are tried again.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.attempts.unwrap_or(ATTEMPTS)).starting_with(FIRST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<String> {
        let config: Config = bulkhead_sdk::config::parse(json).ok()?;
        config.check().err()?.setting
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        for (json, setting) in [
            (r#"{"folder":"Backups of ours"}"#, "folder"),
            (r#"{"folder":"https://drive.google.com/drive/folders/1a"}"#, "folder"),
            (r#"{"folder":"1a","piece":"300 KiB"}"#, "piece"),
            (r#"{"folder":"1a","piece":"0 B"}"#, "piece"),
            (r#"{"folder":"1a","concurrency":33}"#, "concurrency"),
        ] {
            assert_eq!(refused(json).as_deref(), Some(setting), "{json}");
        }
        assert_eq!(refused(r#"{"folder":"1a-_Z","piece":"512 KiB","removed":"trashed"}"#), None);
    }
}

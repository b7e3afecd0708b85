//! What one run leaves for the next: [`Checkpoint`].

use bulkhead_postgres_client::{Lsn, TimelineId};
use bulkhead_sdk::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The only version so far.
const VERSION: u32 = 1;
/// What tells it from that of another mode.
const MODE: &str = "wal";

/// How far a snapshot's log goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Checkpoint {
    version: u32,
    mode: String,
    /// Of the cluster.
    pub(crate) system_identifier: u64,
    /// The timeline that is followed.
    pub(crate) timeline: u32,
    /// Up to where the log is stored, exclusive.
    lsn: String,
    /// Where the log begins.
    start_lsn: String,
    /// Bytes.
    pub(crate) wal_segment_size: u64,
    /// The replication slot.
    pub(crate) slot: String,
}

impl Checkpoint {
    /// That of a log from `start` to `end`.
    pub(crate) fn new(system_identifier: u64, wal_segment_size: u64, slot: &str, start: Lsn, end: Lsn, timeline: TimelineId) -> Self {
        Self {
            version: VERSION,
            mode: MODE.to_owned(),
            system_identifier,
            timeline: timeline.0,
            lsn: end.to_string(),
            start_lsn: start.to_string(),
            wal_segment_size,
            slot: slot.to_owned(),
        }
    }

    /// Reads one that came back from the host.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let foreign = |what: &str| {
            Error::new(ErrorKind::Conflict, format!("the last snapshot of this pipeline {what}"))
                .with_hint("give the log a pipeline of its own, under a name that no other mode has used in this vault")
        };
        let checkpoint: Self = serde_json::from_slice(bytes).map_err(|_| foreign("is not one of mode `wal`"))?;
        if checkpoint.mode != MODE {
            return Err(foreign("is not one of mode `wal`"));
        }
        if checkpoint.version != VERSION {
            return Err(foreign("was taken by a newer version of this plugin"));
        }
        Ok(checkpoint)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
    }

    /// Up to where the log is stored.
    pub(crate) fn end(&self) -> Result<Lsn> {
        position(&self.lsn)
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> Result<Lsn> {
        position(&self.start_lsn)
    }
}

fn position(text: &str) -> Result<Lsn> {
    text.parse().map_err(|_| {
        Error::new(
            ErrorKind::Corrupt,
            format!("the last snapshot's checkpoint has the log position `{text}`"),
        )
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_went() {
        let checkpoint = Checkpoint::new(7, 16 << 20, "bulkhead", Lsn(1 << 24), Lsn(0x300_0028), TimelineId(2));
        let back = Checkpoint::read(&checkpoint.to_bytes().unwrap()).unwrap();
        assert_eq!(back, checkpoint);
        assert_eq!((back.start().unwrap(), back.end().unwrap()), (Lsn(1 << 24), Lsn(0x300_0028)));
    }

    #[test]
    fn those_of_other_modes_are_refused() {
        let physical = r#"{"version":1,"mode":"physical","system-identifier":7,"timeline":1,"start-lsn":"0/1","end-lsn":"0/2"}"#;
        for foreign in [physical, "{}", "\u{0}"] {
            let error = Checkpoint::read(foreign.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Conflict, "{foreign}");
        }
    }
}

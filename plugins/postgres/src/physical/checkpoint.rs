//! What one base backup leaves for the next: [`Checkpoint`].

use bulkhead_postgres_client::{Lsn, TimelineId};
use bulkhead_sdk::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{parent::Run, unpack::Unpacked};
use crate::server::Server;

/// The only version so far.
const VERSION: u32 = 1;
/// What tells it from that of another mode.
const MODE: &str = "physical";

/// What a snapshot was, for whoever continues from it: the log of mode `wal`, and the next base backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Checkpoint {
    version: u32,
    mode: String,
    pub(crate) system_identifier: u64,
    timeline: u32,
    start_lsn: String,
    end_lsn: String,
    server_version: String,
    wal_segment_size: u64,
    tablespaces: Vec<u32>,
    finished: i64,
    /// Which run of the server it was, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// Whether it has pages that the server found damaged, which the operator accepts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    damaged: bool,
}

impl Checkpoint {
    /// That of a backup of `server`.
    pub(crate) fn of(server: &Server, run: Option<&Run>, backup: &Unpacked, damaged: bool) -> Self {
        Self {
            version: VERSION,
            mode: MODE.to_owned(),
            system_identifier: server.identity.system_identifier,
            timeline: backup.end.timeline.0,
            start_lsn: backup.start.lsn.to_string(),
            end_lsn: backup.end.lsn.to_string(),
            server_version: server.version.clone(),
            wal_segment_size: server.wal_segment_size,
            tablespaces: backup.tablespaces.clone(),
            finished: backup.finished,
            run: run.map(|run| run.text().to_owned()),
            damaged,
        }
    }

    /// Reads one that came back from the host; `None` for one of another mode or of a newer plugin.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let checkpoint: Self = serde_json::from_slice(bytes).ok()?;
        (checkpoint.mode == MODE && checkpoint.version == VERSION).then_some(checkpoint)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
    }

    /// On which the backup ended.
    pub(crate) fn timeline(&self) -> TimelineId {
        TimelineId(self.timeline)
    }

    /// Which run of the server it was.
    pub(crate) fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }

    /// Whether it has pages that the server found damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Where its log begins.
    pub(crate) fn start(&self) -> Option<Lsn> {
        self.start_lsn.parse().ok()
    }
}

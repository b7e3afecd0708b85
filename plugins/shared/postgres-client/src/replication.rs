//! Commands of the replication protocol that every kind of backup begins with: [`SystemIdentity`].
//!
//! Source: PostgreSQL's documentation, chapter "Streaming Replication Protocol".

use crate::{ClientError, Lsn, Session, Transport};

/// A line of history of a cluster; a promotion begins a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId(pub u32);

impl std::fmt::Display for TimelineId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Which cluster this is and where its log stands: the answer to `IDENTIFY_SYSTEM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemIdentity {
    /// Made by `initdb`, the same on all replicas.
    pub system_identifier: u64,
    /// The current timeline.
    pub timeline: TimelineId,
    /// The end of the log: flushed on a primary, replayed on a standby.
    pub position: Lsn,
}

impl<T: Transport> Session<T> {
    /// Asks which cluster this is; needs a replication connection.
    pub fn identify_system(&mut self) -> Result<SystemIdentity, ClientError> {
        const COMMAND: &str = "IDENTIFY_SYSTEM";
        fn field<F: std::str::FromStr>(value: Option<&str>, what: &'static str) -> Result<F, ClientError> {
            value
                .and_then(|value| value.parse().ok())
                .ok_or(ClientError::Answer { command: COMMAND, what })
        }
        let sets = self.query(COMMAND)?;
        let set = sets.first().ok_or(ClientError::Answer {
            command: COMMAND,
            what: "a row",
        })?;
        Ok(SystemIdentity {
            system_identifier: field(set.value(0, "systemid"), "the system identifier")?,
            timeline: TimelineId(field(set.value(0, "timeline"), "the timeline")?),
            position: field(set.value(0, "xlogpos"), "the log position")?,
        })
    }

    /// The value of a configuration parameter of the server. `name` goes into the command as it is: give constants.
    pub fn show(&mut self, name: &'static str) -> Result<String, ClientError> {
        let sets = self.query(&format!("SHOW {name}"))?;
        let value = sets.first().and_then(|set| set.rows.first()?.first()?.clone());
        value.ok_or(ClientError::Answer {
            command: "SHOW",
            what: name,
        })
    }

    /// The server's version as a number (150018 for 15.18), from what it reported at login.
    #[must_use]
    pub fn version_number(&self) -> Option<u32> {
        let text = self.parameter("server_version")?;
        let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next().and_then(Result::ok).unwrap_or(0);
        major.checked_mul(10_000)?.checked_add(minor.min(9_999))
    }
}

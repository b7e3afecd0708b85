//! What must be known of a server before its files or its log are read: [`Server`].

use bulkhead_postgres_client::{ClientError, Session, SystemIdentity, Transport};
use bulkhead_sdk::{Error, Result, ResultExt};

use crate::segment::is_segment_size;

/// Major versions whose replication protocol this plugin knows and was tested with.
const MAJORS: std::ops::RangeInclusive<u32> = 13..=17;

/// A server, as its replication connection shows it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// "15.18 (Debian 15.18-1)"
    pub(crate) version: String,
    pub(crate) major: u32,
    pub(crate) identity: SystemIdentity,
    /// Bytes.
    pub(crate) wal_segment_size: u64,
    /// Permission bits of PGDATA itself, which the archive doesn't have.
    pub(crate) data_mode: u32,
    pub(crate) data_checksums: bool,
    /// `None` where the server doesn't say (13).
    pub(crate) standby: Option<bool>,
    /// `replica` or `logical`: with `minimal` a server has no WAL senders, and nobody gets this far.
    pub(crate) wal_level: String,
}

impl Server {
    /// Asks the server; `session` is a replication connection.
    pub(crate) fn inspect<T: Transport>(session: &mut Session<T>) -> Result<Self> {
        let version = session.parameter("server_version").unwrap_or("unknown").to_owned();
        let major = session.version_number().unwrap_or(0) / 10_000;
        if !MAJORS.contains(&major) {
            return Err(Error::unsupported(format!(
                "the server is PostgreSQL {version}; modes `physical` and `wal` support 13 to 17"
            ))
            .with_hint("use a Bulkhead release that knows this version of PostgreSQL"));
        }
        let identity = session
            .identify_system()
            .context(|| "asking the server which cluster it is failed")?;
        let mut show = |name| session.show(name).context(|| format!("reading the server's `{name}` failed"));
        let wal_level = show("wal_level")?;
        let server = Self {
            version,
            major,
            identity,
            wal_segment_size: segment_size(&show("wal_segment_size")?)?,
            data_mode: data_mode(&show("data_directory_mode")?),
            data_checksums: show("data_checksums")? == "on",
            standby: session.parameter("in_hot_standby").map(|value| value == "on"),
            wal_level,
        };
        Ok(server)
    }
}

/// "16MB", as `SHOW wal_segment_size` writes it.
fn segment_size(text: &str) -> Result<u64> {
    let answer = ClientError::Answer {
        command: "SHOW",
        what: "a usable wal_segment_size",
    };
    bytes(text).filter(|&size| is_segment_size(size)).ok_or_else(|| answer.into())
}

/// "1GB", as `SHOW` writes sizes of memory and of files.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit.trim() {
        "B" | "" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => 0,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// "0700" or "0750"; anything else is taken for the stricter.
fn data_mode(text: &str) -> u32 {
    if text == "0750" { 0o750 } else { 0o700 }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_of_segments() {
        assert_eq!(segment_size("16MB").unwrap(), 16 << 20);
        assert_eq!(segment_size("1GB").unwrap(), 1 << 30);
        for wrong in ["", "0MB", "3MB", "2GB", "16", "x", "99999999999999999999MB"] {
            assert!(segment_size(wrong).is_err(), "{wrong}");
        }
    }
}

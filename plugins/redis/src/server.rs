//! What a server says of itself: [`Info`], the parsed answer to `INFO`.

use std::{collections::BTreeMap, time::Duration};

use bulkhead_resp::{RespError, Session, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, config::Period};

/// The answer to `INFO`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Info(BTreeMap<String, String>);

/// A server's part in replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Replica,
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Master => "master",
            Self::Replica => "replica",
        })
    }
}

impl Info {
    /// Asks.
    pub(crate) fn ask<T: Transport>(session: &mut Session<T>) -> Result<Self> {
        let answer = session.call(&["INFO"]).context(|| "asking the server about itself (INFO) failed")?;
        let text = answer.as_bytes().ok_or(RespError::Answer {
            command: "INFO".to_owned(),
            expected: "a text",
        })?;
        Ok(Self::parse(&String::from_utf8_lossy(text)))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// `Valkey 9.1.2` or `Redis 7.0.15`.
    pub(crate) fn version(&self) -> String {
        match self.get("valkey_version") {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", self.get("redis_version").unwrap_or("of unknown version")),
        }
    }

    /// Valkey's own version.
    pub(crate) fn valkey_version(&self) -> Option<&str> {
        self.get("valkey_version")
    }

    pub(crate) fn role(&self) -> Role {
        if self.get("role") == Some("slave") {
            Role::Replica
        } else {
            Role::Master
        }
    }

    /// Whether a replica is in touch with its master; masters are.
    pub(crate) fn is_linked(&self) -> bool {
        self.role() == Role::Master || self.get("master_link_status") == Some("up")
    }

    /// How long ago a replica heard from its master last; none for a master.
    pub(crate) fn silence(&self) -> Option<Period> {
        let seconds = self.number("master_last_io_seconds_ago").filter(|_| self.role() == Role::Replica);
        seconds.map(|seconds| Period(Duration::from_secs(seconds)))
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.number("loading").unwrap_or(0) != 0
    }

    /// Fails where the server is loading its dataset: it then neither gives nor takes any.
    pub(crate) fn loaded(&self, place: &str) -> Result<()> {
        if !self.is_loading() {
            return Ok(());
        }
        let message = format!("{place} is loading its dataset into memory");
        Err(Error::new(ErrorKind::Unreachable, message).with_hint("try again when INFO there says loading:0"))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.get("cluster_enabled") == Some("1")
    }

    /// Where the server is in its own replication stream.
    pub(crate) fn offset(&self) -> Option<u64> {
        self.number("master_repl_offset")
    }

    /// Whether any key of any database expires.
    pub(crate) fn has_expiries(&self) -> bool {
        let expiring = |value: &str| {
            value
                .split(',')
                .any(|field| field.strip_prefix("expires=").is_some_and(|count| count != "0"))
        };
        let is_database = |name: &str| name.strip_prefix("db").is_some_and(|index| index.parse::<u64>().is_ok());
        self.0.iter().any(|(name, value)| is_database(name) && expiring(value))
    }

    /// Keys by database, as the server counts them: those that have expired and have not been looked at since are among them.
    pub(crate) fn keyspace(&self) -> BTreeMap<u64, u64> {
        let database = |(name, value): (&String, &String)| {
            let index = name.strip_prefix("db")?.parse().ok()?;
            let keys = value.split(',').find_map(|field| field.strip_prefix("keys="))?;
            Some((index, keys.parse().ok()?))
        };
        self.0.iter().filter_map(database).filter(|(_, keys)| *keys > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_answer() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n# Replication\r\nrole:slave\r\nmaster_link_status:down\r\n\
             master_repl_offset:14\r\n# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\ndb0_distrib_strings_sizes:1=1\r\ndb3:keys=0,expires=0\r\n\
             db11:keys=7,expires=1,avg_ttl=5,subexpiry=0\r\n",
        );
        assert_eq!(info.version(), "Valkey 9.1.2");
        assert_eq!((info.role(), info.is_linked(), info.offset()), (Role::Replica, false, Some(14)));
        assert_eq!(info.keyspace(), BTreeMap::from([(0, 2), (11, 7)]));
        assert!(info.has_expiries());
        assert!(!Info::parse("db0:keys=2,expires=0\r\ndbfilename:x,expires=1\r\n").has_expiries());
    }
}

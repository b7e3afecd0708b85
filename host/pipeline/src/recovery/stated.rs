//! What a snapshot states of its log: [`Stated`], and positions in a log.

use bulkhead_model::{Proof, Timestamp};

use super::RecoveryError;
use crate::clock;

/// What a snapshot states of its log.
#[derive(Debug)]
pub(crate) struct Stated {
    pub(super) id: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(super) timeline: u32,
    pub(super) system: String,
    /// Seconds since 1970.
    pub(super) time: i64,
}

impl Stated {
    /// That of a base backup.
    pub(crate) fn of_base(id: &str, proof: Option<&Proof>) -> Result<Self, RecoveryError> {
        Self::of(id, proof, "finished")
    }

    /// That of a log.
    pub(crate) fn of_log(id: &str, proof: Option<&Proof>) -> Result<Self, RecoveryError> {
        Self::of(id, proof, "server-time")
    }

    fn of(id: &str, proof: Option<&Proof>, time: &'static str) -> Result<Self, RecoveryError> {
        let fact = |name: &'static str| {
            let missing = || RecoveryError::Fact {
                snapshot: short(id),
                fact: name,
            };
            let found = proof.and_then(|proof| proof.facts.iter().find(|fact| fact.name == name));
            found.map(|fact| fact.value.clone()).ok_or_else(missing)
        };
        let unusable = |name| RecoveryError::Fact {
            snapshot: short(id),
            fact: name,
        };
        Ok(Self {
            id: id.to_owned(),
            start: lsn(&fact("start-lsn")?)?,
            end: lsn(&fact("end-lsn")?)?,
            timeline: fact("timeline")?.parse().map_err(|_| unusable("timeline"))?,
            system: fact("system-identifier")?,
            time: fact(time)?.parse().map_err(|_| unusable(time))?,
        })
    }

    /// From where to where it goes, for people.
    pub(super) fn told(&self) -> String {
        format!("{} from {} to {}", short(&self.id), position(self.start), position(self.end))
    }

    /// One of timeline 1.
    #[cfg(test)]
    pub(crate) fn example(id: &str, start: u64, end: u64, time: i64) -> Self {
        Self {
            id: id.to_owned(),
            start,
            end,
            timeline: 1,
            system: "7".to_owned(),
            time,
        }
    }

    /// Its time, RFC 3339.
    pub(super) fn time(&self) -> String {
        clock::rfc3339(Timestamp {
            seconds: self.time,
            nanoseconds: 0,
        })
    }
}

/// The first digits of an id.
pub(super) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A position as PostgreSQL writes it.
pub(crate) fn position(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

/// A position as a number.
pub(crate) fn lsn(text: &str) -> Result<u64, RecoveryError> {
    let half = |text: &str| {
        let digits = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| digits)
    };
    let parsed = text.split_once('/').and_then(|(high, low)| Some(half(high)? << 32 | half(low)?));
    parsed.ok_or_else(|| RecoveryError::NotALsn(text.to_owned()))
}

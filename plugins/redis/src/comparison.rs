//! Whether an RDB file has the keys that the server has: [`compare`], with the bounds that make it right.
//!
//! An RDB file written by a master or replica has exactly the keys that `INFO` counts at the moment of the fork: keys that have expired unseen are in both.
//! The server is asked right after it has said at which offset of its replication stream it forked. Where it is still at that offset, nothing has changed in
//! between and the counts must be equal. Otherwise the stream tells how much can have changed: the shortest way of adding or removing a key in it is an
//! argument of a command such as DEL, `$1\r\nk\r\n`, seven bytes; so counts may differ by a seventh of the bytes in between, and no more.

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind};

/// Bytes of the replication stream that the creation or removal of one key takes at least.
const BYTES_OF_A_CHANGE: u64 = 7;

/// What a server counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// By database.
    pub(crate) keys: BTreeMap<u64, u64>,
    /// Where its replication stream was then.
    pub(crate) offset: u64,
}

/// How well the counts were comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Nothing was written between the fork and the counting: equal.
    Exact,
    /// At most so many keys can have come or gone.
    Within(u64),
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact => formatter.write_str("exact"),
            Self::Within(keys) => write!(formatter, "within {keys}, the most that can have changed meanwhile"),
        }
    }
}

/// Compares the file's keys with the server's, where the fork was at `forked` of the replication stream.
pub(crate) fn compare(file: &BTreeMap<u64, u64>, server: &Counted, forked: u64) -> Result<Agreement, Error> {
    let passed = server.offset.abs_diff(forked);
    let bound = passed / BYTES_OF_A_CHANGE;
    let agreement = if passed == 0 { Agreement::Exact } else { Agreement::Within(bound) };
    let databases = file.keys().chain(server.keys.keys());
    let wrong: Vec<String> = databases
        .filter_map(|database| {
            let count = |counts: &BTreeMap<u64, u64>| counts.get(database).copied().unwrap_or(0);
            let (ours, theirs) = (count(file), count(&server.keys));
            (ours.abs_diff(theirs) > bound).then(|| (database, format!("database {database}: {ours} keys instead of {theirs}")))
        })
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .take(16)
        .collect();
    if wrong.is_empty() {
        return Ok(agreement);
    }
    let message = format!(
        "the RDB does not have the keys that the server counts ({agreement}): {}",
        wrong.join(", ")
    );
    Err(Error::new(ErrorKind::Conflict, message)
        .with_retryable(true)
        .with_hint("run it again; if it happens again, compare INFO keyspace with `redis-check-rdb` on the server's own dump.rdb"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn server(keys: &[(u64, u64)], offset: u64) -> Counted {
        Counted {
            keys: keys.iter().copied().collect(),
            offset,
        }
    }

    #[test]
    fn nothing_written_means_equal() {
        let file = BTreeMap::from([(0, 10), (3, 1)]);
        assert_eq!(compare(&file, &server(&[(0, 10), (3, 1)], 100), 100).unwrap(), Agreement::Exact);
        for keys in [&[(0, 9), (3, 1)][..], &[(0, 10)], &[(0, 10), (3, 1), (4, 1)], &[]] {
            let error = compare(&file, &server(keys, 100), 100).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Conflict, "{keys:?}");
        }
    }

    #[test]
    fn what_was_written_bounds_the_difference() {
        let file = BTreeMap::from([(0, 10)]);
        assert_eq!(compare(&file, &server(&[(0, 12)], 114), 100).unwrap(), Agreement::Within(2));
        compare(&file, &server(&[(0, 13)], 114), 100).unwrap_err();
        let error = compare(&file, &server(&[], 114), 100).unwrap_err();
        assert!(error.message.contains("database 0: 10 keys instead of 0"), "{error}");
    }
}

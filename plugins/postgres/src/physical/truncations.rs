//! To where relations were cut while an incremental backup's parent became old: [`Truncations`].
//!
//! A file that was cut and grew again may have pages that no record of the log names: where many are added at once, those that get no rows are only zeros on the disk. They are not what
//! was there before the cut. What the server sends of the file doesn't tell, since the length in its head is never less than the file's present one. Its summaries of the log do: for each
//! relation, they have the fewest blocks to which it was cut.

use std::collections::BTreeMap;

use bulkhead_postgres_client::{ClientError, Lsn, ResultSet, TimelineId};
use bulkhead_sdk::Result;

use super::{
    layout::{GLOBAL, Place, below, oid},
    parent::Full,
};
use crate::connection::Connection;

/// The OID of the tablespace `pg_default`, whose files are in PGDATA.
const DEFAULT_TABLESPACE: u32 = 1663;

/// The OID of the tablespace `pg_global`, which has what all databases share.
const GLOBAL_TABLESPACE: u32 = 1664;

/// A part of a relation, which the server cuts as one: `<relation>` with its rows, `<relation>_init` with what an unlogged one begins with after a crash, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fork {
    tablespace: u32,
    database: u32,
    relation: u32,
    /// As the server counts them.
    fork: u32,
}

/// A file of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelationFile {
    fork: Fork,
    /// Which of its files: each but the last is as long as the server makes them.
    segment: u32,
}

impl RelationFile {
    /// The one at a path of the snapshot; `None` for any other file, of which a server never sends only what has changed.
    pub(crate) fn of(path: &[u8]) -> Option<Self> {
        let (tablespace, database, name) = match Place::of(path)? {
            Place::Data(path) => match below(path, GLOBAL) {
                Some(name) => (GLOBAL_TABLESPACE, 0, name),
                None => in_database(DEFAULT_TABLESPACE, below(path, b"base")?)?,
            },
            // The folder in it has the server's version in its name.
            Place::Tablespace(oid, path) => in_database(oid, split(path, b'/').1?)?,
            Place::Tablespaces | Place::Manifest => return None,
        };
        let (name, segment) = split(name, b'.');
        let (relation, fork) = split(name, b'_');
        Some(Self {
            fork: Fork {
                tablespace,
                database,
                relation: oid(relation)?,
                fork: match fork {
                    None => 0,
                    Some(b"fsm") => 1,
                    Some(b"vm") => 2,
                    Some(b"init") => 3,
                    Some(_) => return None,
                },
            },
            segment: segment.map_or(Some(0), oid)?,
        })
    }
}

fn in_database(tablespace: u32, path: &[u8]) -> Option<(u32, u32, &[u8])> {
    let (database, name) = split(path, b'/');
    Some((tablespace, oid(database)?, name?))
}

/// What is before and behind the first `separator`.
fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == separator) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

/// The fewest blocks to which relations were cut. About 40 bytes of memory for each that was.
#[derive(Debug, Default)]
pub(crate) struct Truncations(BTreeMap<Fork, u32>);

impl Truncations {
    /// Why the role of this session may not read them, if so.
    pub(crate) fn closed(sql: &mut Connection) -> Result<Option<Full>> {
        let sets = sql.query(
            "SELECT has_function_privilege('pg_available_wal_summaries()', 'EXECUTE') \
             AND has_function_privilege('pg_wal_summary_contents(bigint, pg_lsn, pg_lsn)', 'EXECUTE'), current_user",
        )?;
        let row = sets.first().and_then(|set| set.rows.first());
        let value = |column: usize| row.and_then(|row| row.get(column)?.as_deref());
        Ok((value(0) != Some("t")).then(|| {
            let role = value(1).unwrap_or_default();
            Full::NoTruncations(format!(
                "`{role}` may not call pg_available_wal_summaries or pg_wal_summary_contents"
            ))
        }))
    }

    /// Those between two places in the log that a server has summarized: it waits for that before it sends the first byte of an incremental backup which begins at `end`.
    ///
    /// What was cut to nothing is left out, as every new relation is: the server sends it whole.
    pub(crate) fn read(sql: &mut Connection, timeline: TimelineId, start: Lsn, end: Lsn) -> Result<Self> {
        let between = format!("s.tli = {} AND s.end_lsn > '{start}' AND s.start_lsn < '{end}'", timeline.0);
        let cuts = sql.query(&format!(
            "SELECT c.reltablespace, c.reldatabase, c.relfilenode, c.relforknumber, min(c.relblocknumber) \
             FROM pg_available_wal_summaries() s, pg_wal_summary_contents(s.tli, s.start_lsn, s.end_lsn) c \
             WHERE {between} AND c.is_limit_block AND c.relblocknumber > 0 GROUP BY 1, 2, 3, 4"
        ))?;
        // The server removes the oldest first. So if the first is still there, all were.
        let first = sql.query(&format!(
            "SELECT coalesce(min(s.start_lsn) <= '{start}' AND max(s.end_lsn) >= '{end}', false) FROM pg_available_wal_summaries() s WHERE {between}"
        ))?;
        if first.first().and_then(|set| set.rows.first()?.first()?.as_deref()) != Some("t") {
            return Err(lacks("all summaries of its log since the last snapshot"));
        }
        cuts.first().ok_or_else(|| lacks("to where relations were cut")).and_then(Self::of)
    }

    fn of(cuts: &ResultSet) -> Result<Self> {
        let cut = |row: &Vec<Option<String>>| {
            let number = |column: usize| row.get(column)?.as_deref()?.parse().ok();
            let fork = Fork {
                tablespace: number(0)?,
                database: number(1)?,
                relation: number(2)?,
                fork: number(3)?,
            };
            Some((fork, number(4)?))
        };
        let cuts: Option<_> = cuts.rows.iter().map(cut).collect();
        cuts.map(Self).ok_or_else(|| lacks("numbers of relations and blocks"))
    }

    /// How many blocks of a file were never cut off it, where files have `segment_blocks` at most.
    pub(crate) fn uncut(&self, file: RelationFile, segment_blocks: u32) -> u32 {
        let before = u64::from(file.segment) * u64::from(segment_blocks);
        let cut = self.0.get(&file.fork).map_or(u64::MAX, |&blocks| u64::from(blocks));
        u32::try_from(cut.saturating_sub(before)).map_or(segment_blocks, |blocks| blocks.min(segment_blocks))
    }
}

fn lacks(what: &'static str) -> bulkhead_sdk::Error {
    ClientError::Answer {
        command: "pg_wal_summary_contents",
        what,
    }
    .into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn file(tablespace: u32, fork: u32, segment: u32) -> RelationFile {
        RelationFile {
            fork: Fork {
                tablespace,
                database: 5,
                relation: 1259,
                fork,
            },
            segment,
        }
    }

    #[test]
    fn files_of_relations_are_known_by_their_paths() {
        for (path, expected) in [
            ("data/base/5/1259", Some(file(1663, 0, 0))),
            ("data/base/5/1259.2", Some(file(1663, 0, 2))),
            ("data/base/5/1259_init.1", Some(file(1663, 3, 1))),
            ("tablespaces/16384/PG_17_202406281/5/1259_vm", Some(file(16384, 2, 0))),
            (
                "data/global/1260",
                Some(RelationFile {
                    fork: Fork {
                        tablespace: 1664,
                        database: 0,
                        relation: 1260,
                        fork: 0,
                    },
                    segment: 0,
                }),
            ),
            ("data/global/pg_control", None),
            ("data/base/5/PG_VERSION", None),
            ("data/base/5/1259_x", None),
            ("data/base/5/1259.x", None),
            ("data/base/1259", None),
            ("data/1259", None),
            ("tablespaces/16384/5/1259", None),
            ("backup_manifest", None),
        ] {
            assert_eq!(RelationFile::of(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_cut_is_in_one_file_and_beyond_it_nothing_is_left() {
        let set = ResultSet {
            columns: Vec::new(),
            rows: vec![["1663", "5", "1259", "0", "150"].map(|text| Some(text.to_owned())).to_vec()],
        };
        let truncations = Truncations::of(&set).unwrap();
        let uncut = |tablespace, fork, segment| truncations.uncut(file(tablespace, fork, segment), 100);
        assert_eq!([uncut(1663, 0, 0), uncut(1663, 0, 1), uncut(1663, 0, 2)], [100, 50, 0]);
        assert_eq!([uncut(1664, 0, 1), uncut(1663, 3, 1)], [100, 100], "another's");
        let wrong = ResultSet {
            columns: Vec::new(),
            rows: vec![vec![Some("x".into())]],
        };
        assert!(Truncations::of(&wrong).is_err());
    }
}

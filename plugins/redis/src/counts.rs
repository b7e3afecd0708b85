//! What an RDB file holds, counted as it passes: [`Counts`].

use std::collections::BTreeMap;

use bulkhead_rdb::{Parser, RdbError, Record, Visitor, type_name};

/// Databases that are told apart. Servers have 16 by default; a file that names more than this is counted in one heap, and so agrees with no server.
const MAX_DATABASES: usize = 1 << 16;

/// What passed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Keys by database; none for those without.
    pub(crate) keys: BTreeMap<u64, u64>,
    /// Keys that expire.
    pub(crate) expires: u64,
    pub(crate) functions: u64,
    /// Keys whose names have more than [`bulkhead_rdb::KEY_LIMIT`] bytes.
    pub(crate) long_names: u64,
    /// Collections without elements, which servers pass over when they load a file.
    pub(crate) empty: u64,
    /// Keys by type.
    types: BTreeMap<&'static str, u64>,
    /// The database that keys are just in, and how many; not in `keys` yet.
    current: (u64, u64),
    kinds: [u64; 32],
}

impl Counts {
    /// Adds what is still apart. To be called at the end.
    pub(crate) fn settle(&mut self) {
        let (database, keys) = std::mem::take(&mut self.current);
        if keys > 0 {
            let known = self.keys.len() < MAX_DATABASES || self.keys.contains_key(&database);
            *self.keys.entry(if known { database } else { u64::MAX }).or_default() += keys;
        }
        for (kind, count) in (0..).zip(&mut self.kinds) {
            if *count > 0 {
                *self.types.entry(type_name(kind).0).or_default() += std::mem::take(count);
            }
        }
    }

    /// All keys.
    pub(crate) fn total(&self) -> u64 {
        self.keys.values().sum()
    }

    /// Keys by type.
    pub(crate) fn types(&self) -> &BTreeMap<&'static str, u64> {
        &self.types
    }
}

impl Visitor for Counts {
    type Error = RdbError;

    fn begin(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        match record {
            Record::Function => self.functions += 1,
            Record::Key(key) => {
                if key.database != self.current.0 {
                    self.settle();
                    self.current.0 = key.database;
                }
                self.current.1 += 1;
                self.expires += u64::from(key.expires.is_some());
                if let Some(count) = self.kinds.get_mut(usize::from(key.kind)) {
                    *count += 1;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        if let Record::Key(key) = record {
            self.long_names += u64::from(key.long_name.is_some());
            self.empty += u64::from(key.empty);
        }
        Ok(())
    }
}

/// A file that is counted as it passes.
#[derive(Debug)]
pub(crate) struct Counted {
    parser: Parser,
    pub(crate) counts: Counts,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self {
            parser: Parser::without_names(),
            counts: Counts::default(),
        }
    }

    /// Takes the next piece in; how much of it belongs to the file.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<usize, RdbError> {
        let read = self.parser.feed(piece, &mut self.counts)?;
        if self.parser.is_done() {
            self.counts.settle();
        }
        Ok(read)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.parser.is_done()
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&self) -> Result<(), RdbError> {
        self.parser.finish()
    }

    pub(crate) fn checksum(&self) -> u64 {
        self.parser.checksum().unwrap_or(0)
    }

    pub(crate) fn version(&self) -> String {
        self.parser.version().map_or_else(String::new, |version| version.to_string())
    }

    pub(crate) fn position(&self) -> u64 {
        self.parser.position()
    }
}

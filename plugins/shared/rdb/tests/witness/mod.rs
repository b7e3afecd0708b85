//! A reader of dump files that notes all that it is told, for tests and for the fuzz target `rdb`, which includes this file.

use std::hash::{DefaultHasher, Hash, Hasher};

use bulkhead_rdb::{Parser, RdbError, Record, Version, Visitor};

/// A digest of all that was told, in order.
#[derive(Default)]
struct Witness {
    digest: DefaultHasher,
    within: bool,
    bytes: u64,
}

impl Witness {
    fn record(&mut self, record: Record<'_>) {
        match record {
            Record::Function => 0.hash(&mut self.digest),
            Record::Key(key) => {
                let beside = (key.kind, key.database, key.expires, key.idle, key.frequency, key.offset);
                (&key.name, beside).hash(&mut self.digest);
            }
        }
    }
}

impl Visitor for Witness {
    type Error = RdbError;

    fn version(&mut self, version: Version) -> Result<(), RdbError> {
        version.hash(&mut self.digest);
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), RdbError> {
        (name, value).hash(&mut self.digest);
        Ok(())
    }

    fn resize(&mut self, database: u64, keys: u64, expires: u64) -> Result<(), RdbError> {
        (database, keys, expires).hash(&mut self.digest);
        Ok(())
    }

    fn begin(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        assert!(!self.within, "a record begins in another");
        self.within = true;
        self.record(record);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        assert!(self.within, "bytes of no record");
        self.bytes += bytes.len() as u64;
        bytes.iter().for_each(|byte| self.digest.write_u8(*byte));
        Ok(())
    }

    fn end(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        assert!(self.within, "no record ends");
        self.within = false;
        self.record(record);
        Ok(())
    }
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Where it ended.
    pub(crate) result: Result<u64, RdbError>,
    pub(crate) checksum: Option<u64>,
    told: Option<u64>,
}

/// Parses a file in pieces: of so much that is left, `cut` says how much comes next, at least one byte.
pub(crate) fn parse(file: &[u8], mut cut: impl FnMut(usize) -> usize) -> Outcome {
    let mut parser = Parser::new();
    let mut witness = Witness::default();
    let mut rest = file;
    let mut result = Ok(());
    while !rest.is_empty() && !parser.is_done() && result.is_ok() {
        let (piece, behind) = rest.split_at(cut(rest.len()).max(1));
        result = parser.feed(piece, &mut witness).map(drop);
        rest = behind;
    }
    assert!(witness.bytes <= file.len() as u64, "more bytes than there are");
    let result = result.and_then(|()| parser.finish()).map(|()| parser.position());
    // How much is told of the piece that the error is in depends on the pieces.
    let is_all_told = matches!(result, Ok(_) | Err(RdbError::Checksum { .. } | RdbError::Truncated(_)));
    Outcome {
        result,
        checksum: parser.checksum(),
        told: is_all_told.then(|| witness.digest.finish()),
    }
}

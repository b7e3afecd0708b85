//! Redis' dump files: the parser says the same of a file whole and in pieces.
#![no_main]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bulkhead_rdb::{Parser, RdbError, Record, Visitor};
use libfuzzer_sys::fuzz_target;

/// A digest of all that was told.
#[derive(Default)]
struct Witness {
    digest: DefaultHasher,
    bytes: u64,
}

impl Witness {
    fn record(&mut self, record: Record<'_>) {
        if let Record::Key(key) = record {
            (&key.name, key.kind, key.database, key.expires).hash(&mut self.digest);
        }
    }
}

impl Visitor for Witness {
    type Error = RdbError;

    fn begin(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        self.record(record);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        self.bytes += bytes.len() as u64;
        bytes.iter().for_each(|byte| self.digest.write_u8(*byte));
        Ok(())
    }

    fn end(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        self.record(record);
        Ok(())
    }
}

/// Where the file ended, and what was told until then; nothing of the piece that an error is in.
fn parse(file: &[u8], piece: usize) -> Result<(u64, u64), RdbError> {
    let mut parser = Parser::new();
    let mut witness = Witness::default();
    for part in file.chunks(piece.max(1)) {
        if parser.is_done() {
            break;
        }
        parser.feed(part, &mut witness)?;
    }
    parser.finish()?;
    assert!(witness.bytes <= file.len() as u64, "more bytes than there are");
    Ok((parser.position(), witness.digest.finish()))
}

fuzz_target!(|file: &[u8]| {
    let whole = parse(file, file.len());
    assert_eq!(whole, parse(file, 7));
});

//! Files of real servers, damaged at random: the parser always comes to an end, says the same in whatever pieces the bytes come, and lets nothing pass whose
//! checksum is not right.
//!
//! The damage is the same in each run. `BULKHEAD_MUTATIONS` says how many files are made of each seed, for a run that looks further.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::hash::{DefaultHasher, Hash, Hasher};

use bulkhead_rdb::{Crc64, Parser, RdbError, Record, Version, Visitor};
use bulkhead_test_support::{
    mutation::{self, Random},
    seeds,
};

/// Files that are made of each seed.
const MUTATIONS: u64 = 500;

/// Bytes that mean something in many places: lengths, encodings, types, opcodes.
const MEANINGFUL: [u8; 24] = [
    0, 1, 2, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc1, 0xc2, 0xc3, 7, 15, 21, 22, 24, 0xf3, 0xf5, 0xf7, 0xf8, 0xfa, 0xfe, 0xff,
];

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
struct Outcome {
    /// Where it ended.
    result: Result<u64, RdbError>,
    checksum: Option<u64>,
    told: Option<u64>,
}

/// Parses the pieces that the dice cut; whole without dice.
fn parse(file: &[u8], mut dice: Option<&mut Random>) -> Outcome {
    let mut parser = Parser::new();
    let mut witness = Witness::default();
    let mut rest = file;
    let mut result = Ok(());
    while !rest.is_empty() && !parser.is_done() && result.is_ok() {
        let length = dice.as_deref_mut().map_or(rest.len(), |dice| dice.part(rest.len()).len().max(1));
        let (piece, behind) = rest.split_at(length);
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

/// Where the checksum `stored` stands, behind the bytes whose checksum is `computed`.
fn body(file: &[u8], stored: u64, computed: u64) -> usize {
    let is_it = |place: &usize| {
        let mut crc = Crc64::default();
        crc.update(&file[..*place]);
        crc.value() == computed
    };
    (0..file.len())
        .filter(|place| file[*place..].starts_with(&stored.to_le_bytes()))
        .find(is_it)
        .unwrap()
}

#[test]
fn damaged_files_of_real_servers() {
    let seeds = seeds::rdb().unwrap();
    let mut dice = Random::new(0x5eed_fa11);
    let words: Vec<&[u8]> = MEANINGFUL.chunks(1).collect();
    let mut repaired = 0;
    for (position, seed) in seeds.iter().enumerate() {
        let whole = parse(seed, None);
        assert_eq!(whole.result, Ok(seed.len() as u64), "seed {position}");
        for number in 0..mutation::count(MUTATIONS) {
            let name = format!("seed {position}, mutation {number}");
            let mut file = seed.clone();
            for _ in 0..=dice.below(3) {
                dice.change(&mut file, &seeds[(position + 1) % seeds.len()], &words);
            }
            let outcome = parse(&file, None);
            assert_eq!(outcome, parse(&file, Some(&mut dice)), "{name}: in pieces");
            match outcome.result {
                // Damage behind the end is not in the file; and a sum of zero says that there is none.
                Ok(end) => {
                    let end = usize::try_from(end).unwrap();
                    assert!(outcome.checksum == Some(0) || seed.starts_with(&file[..end]), "{name}: passed");
                }
                // Sound but for its sum: with the right one it must pass.
                Err(RdbError::Checksum { stored, computed }) => {
                    let body = body(&file, stored, computed);
                    file[body..body + 8].copy_from_slice(&computed.to_le_bytes());
                    let right = parse(&file, Some(&mut dice));
                    assert_eq!(right.result, Ok(body as u64 + 8), "{name}: with its checksum repaired");
                    repaired += 1;
                }
                Err(_) => {}
            }
        }
    }
    assert!(repaired > 0, "no damage left a file sound: the mutations are too coarse");
}

//! Files of real servers, damaged at random: the parser always comes to an end, says the same in whatever pieces the bytes come, and lets nothing pass whose
//! checksum is not right.
//!
//! The damage is the same in each run. `BULKHEAD_MUTATIONS` says how many files are made of each seed, for a run that looks further.
#![expect(clippy::unwrap_used, reason = "tests")]

mod witness;

use bulkhead_rdb::{Crc64, RdbError};
use bulkhead_test_support::{
    mutation::{self, Random},
    seeds,
};
use witness::parse;

/// Files that are made of each seed.
const MUTATIONS: u64 = 500;

/// Bytes that mean something in many places: lengths, encodings, types, opcodes.
const MEANINGFUL: [u8; 24] = [
    0, 1, 2, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc1, 0xc2, 0xc3, 7, 15, 21, 22, 24, 0xf3, 0xf5, 0xf7, 0xf8, 0xfa, 0xfe, 0xff,
];

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
        let whole = parse(seed, |left| left);
        assert_eq!(whole.result, Ok(seed.len() as u64), "seed {position}");
        for number in 0..mutation::count(MUTATIONS) {
            let name = format!("seed {position}, mutation {number}");
            let mut file = seed.clone();
            for _ in 0..=dice.below(3) {
                dice.change(&mut file, &seeds[(position + 1) % seeds.len()], &words);
            }
            let outcome = parse(&file, |left| left);
            assert_eq!(outcome, parse(&file, |left| dice.part(left).len()), "{name}: in pieces");
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
                    let right = parse(&file, |left| dice.part(left).len());
                    assert_eq!(right.result, Ok(body as u64 + 8), "{name}: with its checksum repaired");
                    repaired += 1;
                }
                Err(_) => {}
            }
        }
    }
    assert!(repaired > 0, "no damage left a file sound: the mutations are too coarse");
}

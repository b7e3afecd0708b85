//! Replies of a real server, damaged at random: the decoder always comes to an end, keeps to its limits, and says the same in whatever pieces the bytes come.
//!
//! The damage is the same in each run. `BULKHEAD_MUTATIONS` says how many streams are made of each seed, for a run that looks further.
#![expect(clippy::unwrap_used, reason = "tests")]

mod readers;

use bulkhead_resp::Value;
use bulkhead_test_support::{
    mutation::{self, Random},
    seeds,
};
use readers::{decode, read_strings};

/// Streams that are made of each seed.
const MUTATIONS: u64 = 400;

/// What a stream of replies is made of.
const MEANINGFUL: &[u8] = b"+-:$*_,#!=(%~>|\r\n0123456789-.tfx";

/// How replies begin.
const HEADS: [&[u8]; 6] = [
    b"*1\r\n",
    b"%2\r\n",
    b"$-1\r\n",
    b"*2147483647\r\n",
    b"$9223372036854775807\r\n",
    b"|1\r\n",
];

fn cut<'b>(stream: &'b [u8], dice: &mut Random) -> Vec<&'b [u8]> {
    let mut rest = stream;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(dice.part(rest.len()).len());
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

#[test]
fn damaged_replies_of_a_real_server() {
    let seeds = seeds::resp().unwrap();
    let mut dice = Random::new(0x5eed_fa11);
    let words: Vec<&[u8]> = MEANINGFUL.chunks(1).chain(HEADS).collect();
    let mut refused = 0;
    for (position, seed) in seeds.iter().enumerate() {
        let (replies, violation) = decode([seed.as_slice()]);
        let text = seed.escape_ascii();
        assert_eq!(violation, None, "seed {position}: {text}");
        assert_eq!(replies.last().and_then(Value::as_str), Some("the mark"), "seed {position}: {text}");
        // A reply with a push before it is two.
        assert!((2..=3).contains(&replies.len()), "seed {position}: {text}");
        for number in 0..mutation::count(MUTATIONS) {
            let mut stream = seed.clone();
            for _ in 0..=dice.below(3) {
                dice.change(&mut stream, &seeds[(position + 1) % seeds.len()], &words);
            }
            let whole = decode([stream.as_slice()]);
            let pieces = cut(&stream, &mut dice);
            assert_eq!(whole, decode(pieces), "seed {position}, mutation {number}: in pieces");
            refused += u32::from(whole.1.is_some());
            read_strings(&stream, |left| dice.part(left).len());
        }
    }
    assert!(refused > 0, "no damage was noticed: the mutations are too gentle");
}

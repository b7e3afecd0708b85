//! Replies of a real server, damaged at random: the decoder always comes to an end, keeps to its limits, and says the same in whatever pieces the bytes come.
//!
//! The damage is the same in each run. `BULKHEAD_MUTATIONS` says how many streams are made of each seed, for a run that looks further.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bulkhead_resp::{Decoder, RespError, Session, Transport, Value, Violation};
use bulkhead_sdk::Result;
use bulkhead_test_support::{
    mutation::{self, Random},
    seeds,
};

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

/// A connection over which a server has said all that it will say.
struct Played<'d> {
    rest: Vec<u8>,
    dice: &'d mut Random,
}

impl Transport for Played<'_> {
    fn read(&mut self, max: usize, _: Option<Duration>) -> Result<Option<Vec<u8>>> {
        let length = self.dice.part(self.rest.len()).len().min(max);
        let rest = self.rest.split_off(length);
        let piece = std::mem::replace(&mut self.rest, rest);
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// All replies until the end or until what cannot be one.
fn decode<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<Value>, Option<Violation>) {
    let mut decoder = Decoder::default();
    let mut replies = Vec::new();
    for piece in pieces {
        decoder.add(piece.to_vec());
        loop {
            match decoder.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(violation) => return (replies, Some(violation)),
            }
        }
    }
    (replies, None)
}

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

/// Reads a stream as a session does that expects one large string after the other.
fn stream_through(stream: &[u8], dice: &mut Random) -> u64 {
    let mut session = Session::new(Played {
        rest: stream.to_vec(),
        dice,
    });
    let mut bytes = 0;
    loop {
        match session.bulk() {
            Ok(Some(mut bulk)) => loop {
                match bulk.next_piece() {
                    Ok(Some(piece)) => bytes += piece.len() as u64,
                    Ok(None) => break,
                    Err(_) => return bytes,
                }
            },
            Ok(None) | Err(RespError::Server(_)) => {}
            Err(_) => return bytes,
        }
    }
}

#[test]
fn damaged_replies_of_a_real_server() {
    let seeds = seeds::resp().unwrap();
    let mut dice = Random::new(0x5eed_fa11);
    let words: Vec<&[u8]> = MEANINGFUL.chunks(1).chain(HEADS).collect();
    let mut refused = 0;
    for (position, seed) in seeds.iter().enumerate() {
        let (replies, violation) = decode(std::iter::once(seed.as_slice()));
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
            let whole = decode(std::iter::once(stream.as_slice()));
            let pieces = cut(&stream, &mut dice);
            assert_eq!(whole, decode(pieces.into_iter()), "seed {position}, mutation {number}: in pieces");
            refused += u32::from(whole.1.is_some());
            assert!(stream_through(&stream, &mut dice) <= stream.len() as u64);
        }
    }
    assert!(refused > 0, "no damage was noticed: the mutations are too gentle");
}

//! Replies of Redis: the decoder says the same of them whole and byte by byte, and a large string is never longer than what came.
#![no_main]

#[path = "../../plugins/shared/resp/tests/readers/mod.rs"]
mod readers;

use readers::{decode, read_strings};

libfuzzer_sys::fuzz_target!(|stream: &[u8]| {
    assert_eq!(decode([stream]), decode(stream.chunks(1)));
    read_strings(stream, |left| left.min(64));
});

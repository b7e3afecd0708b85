//! Messages of etcd, whatever is in them; a key that was read can be written and read again.
#![no_main]

#[path = "../../plugins/etcd/tests/etcd/decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|message: &[u8]| decoders::decode_as_everything(message));

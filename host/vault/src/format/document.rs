//! Documents outside packs (`config`, index, snapshots, locks): JSON, in format version 2 compressed behind a byte that says so ("Unpacked Data Format").

use std::io::Read;

use serde::{Serialize, de::DeserializeOwned};

use crate::{crypto::MasterKey, id::ObjectId};

/// The encoding byte of a zstd-compressed document.
const ZSTD: u8 = 2;
/// zstd level of documents: small, and written once.
const LEVEL: i32 = 3;
/// Bytes that a document may have when decompressed: an index file is kept below 8 MiB by everyone who writes them, a hundred times that is an attack.
const MAX_DOCUMENT: u64 = 1 << 30;

/// What is wrong with a stored document, in words.
pub(crate) type Reason = String;

/// Fails unless an object's content hashes to its name, as that of all objects but `config` does.
pub(crate) fn check_name(name: ObjectId, content: &[u8]) -> Result<(), String> {
    if ObjectId::of(content) == name {
        Ok(())
    } else {
        Err("its content does not match its name".to_owned())
    }
}

/// Serializes, compresses and encrypts.
pub(crate) fn encode<T: Serialize>(key: &MasterKey, document: &T) -> Result<Vec<u8>, Reason> {
    let json = serde_json::to_vec(document).map_err(|error| error.to_string())?;
    let compressed = zstd::bulk::compress(&json, LEVEL).map_err(|error| error.to_string())?;
    let mut plaintext = Vec::with_capacity(compressed.len() + 1);
    plaintext.push(ZSTD);
    plaintext.extend_from_slice(&compressed);
    key.seal_copy(&plaintext).map_err(|_| "it could not be encrypted".to_owned())
}

/// Decrypts, decompresses and parses.
pub(crate) fn decode<T: DeserializeOwned>(key: &MasterKey, mut message: Vec<u8>) -> Result<T, Reason> {
    let plaintext = key.open(&mut message).map_err(|error| error.to_string())?;
    match plaintext.split_first() {
        Some((b'{' | b'[', _)) => parse(plaintext),
        Some((&ZSTD, compressed)) => parse(&decompress(compressed)?),
        Some((other, _)) => Err(format!("its encoding is {other}, which this program does not know")),
        None => Err("it is empty".to_owned()),
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Reason> {
    serde_json::from_slice(json).map_err(|error| format!("it is not the JSON expected: {error}"))
}

/// Memory that is taken because a document says that it needs it.
const MAX_BELIEVED: u64 = 64 << 20;

/// Decompresses at most [`MAX_DOCUMENT`].
fn decompress(compressed: &[u8]) -> Result<Vec<u8>, Reason> {
    let undecodable = |error: std::io::Error| format!("it cannot be decompressed: {error}");
    // At once, where the frame says how much: growing step by step takes twice as much for a moment.
    let stated = zstd::zstd_safe::get_frame_content_size(compressed).ok().flatten().unwrap_or(0);
    let mut json = Vec::with_capacity(stated.min(MAX_BELIEVED) as usize);
    let decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(undecodable)?;
    decoder.take(MAX_DOCUMENT + 1).read_to_end(&mut json).map_err(undecodable)?;
    if json.len() as u64 > MAX_DOCUMENT {
        Err("it has more than 1 GiB when decompressed".to_owned())
    } else {
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn plain_json_and_compressed_json_are_read() {
        let key = MasterKey::random();
        assert_eq!(decode::<Vec<u32>>(&key, encode(&key, &[1, 2]).unwrap()).unwrap(), [1, 2]);
        assert_eq!(decode::<Vec<u32>>(&key, key.seal_copy(b"[3]").unwrap()).unwrap(), [3]);
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        let key = MasterKey::random();
        for (plaintext, reason) in [
            (&b""[..], "empty"),
            (b"\x01x", "encoding is 1"),
            (b"\x02x", "decompressed"),
            (b"[x", "JSON"),
        ] {
            let error = decode::<Vec<u32>>(&key, key.seal_copy(plaintext).unwrap()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}

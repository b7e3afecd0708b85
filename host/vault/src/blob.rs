//! From stored bytes back to a blob: decrypted, decompressed, and compared with its name.

use std::ops::Range;

use bulkhead_model::FaultKind;
use bytes::{Bytes, BytesMut};

use crate::{
    crew::Tools,
    crypto::{MasterKey, NONCE},
    error::{Corruption, ReadError, StoreError},
    id::ObjectId,
    index::Location,
};

/// Opens a stored blob; decrypts it where it stands.
pub(crate) fn open(key: &MasterKey, id: &ObjectId, location: &Location, stored: &mut [u8], tools: &mut Tools) -> Result<Vec<u8>, String> {
    let mut content = Vec::with_capacity(location.content_length() as usize);
    open_into(key, id, location, stored, &mut content, tools).map(|()| content)
}

/// Opens a stored blob into `content`, whose room (at least the length that the index promises) bounds what decompression may yield.
pub(crate) fn open_into(
    key: &MasterKey,
    id: &ObjectId,
    location: &Location,
    stored: &mut [u8],
    content: &mut Vec<u8>,
    tools: &mut Tools,
) -> Result<(), String> {
    content.clear();
    let plaintext = key.open(stored).map_err(|error| error.to_string())?;
    match location.uncompressed {
        None => content.extend_from_slice(plaintext),
        Some(length) => {
            let decompressed = tools
                .decompressor()
                .and_then(|decompressor| decompressor.decompress_to_buffer(plaintext, content));
            decompressed.map_err(|error| format!("it cannot be decompressed: {error}"))?;
            if content.len() as u64 != u64::from(length) {
                return Err(format!("it has {} bytes instead of {length}", content.len()));
            }
        }
    }
    check_name(id, content)
}

/// Opens a stored blob that is not compressed, where it stands: returns where in `stored` its content is.
pub(crate) fn open_plain(key: &MasterKey, id: &ObjectId, stored: &mut [u8]) -> Result<Range<usize>, String> {
    let content = key.open(stored).map_err(|error| error.to_string())?;
    check_name(id, content)?;
    Ok(NONCE..NONCE + content.len())
}

fn check_name(id: &ObjectId, content: &[u8]) -> Result<(), String> {
    if ObjectId::of(content) == *id {
        Ok(())
    } else {
        Err("its content does not match its name".to_owned())
    }
}

/// Bytes to decrypt where they stand: those of the store, when nobody else holds them, or a copy.
pub(crate) fn own(stored: Bytes) -> BytesMut {
    stored.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// A pack that is gone or too short is damage to the vault, not a failure of the store.
pub(crate) fn damaged_pack(error: StoreError, blob: Option<ObjectId>) -> ReadError {
    match error.fault.kind {
        FaultKind::NotFound => Corruption {
            object: error.key,
            blob,
            reason: "it is missing from the store".to_owned(),
        }
        .into(),
        FaultKind::Corrupt => Corruption {
            object: error.key,
            blob,
            reason: error.fault.to_string(),
        }
        .into(),
        _ => error.into(),
    }
}

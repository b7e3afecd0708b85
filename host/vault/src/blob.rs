//! From stored bytes back to a blob: decrypted, decompressed, and compared with its name.

use bulkhead_model::FaultKind;

use crate::{
    crypto::MasterKey,
    error::{Corruption, ReadError, StoreError},
    id::ObjectId,
    index::Location,
};

/// Opens a stored blob. The length that the index promises bounds what decompression may yield.
pub(crate) fn open(key: &MasterKey, id: &ObjectId, location: &Location, mut stored: Vec<u8>) -> Result<Vec<u8>, String> {
    let plaintext = key.open(&mut stored).map_err(|error| error.to_string())?;
    let content = match location.uncompressed {
        None => plaintext.to_vec(),
        Some(length) => {
            let content =
                zstd::bulk::decompress(plaintext, length as usize).map_err(|error| format!("it cannot be decompressed: {error}"))?;
            if content.len() as u64 != u64::from(length) {
                return Err(format!("it has {} bytes instead of {length}", content.len()));
            }
            content
        }
    };
    if ObjectId::of(&content) == *id {
        Ok(content)
    } else {
        Err("its content does not match its name".to_owned())
    }
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

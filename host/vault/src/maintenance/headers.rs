//! What a pack says of itself: the blobs in its header, for when no index says it.

use bytes::Bytes;

use crate::{
    access,
    error::StoreError,
    format::{
        index_file::IndexBlob,
        pack::{self, LENGTH_FIELD},
    },
    id::ObjectId,
    vault::Core,
};

/// Bytes of a pack's end that are read at first: the header of some 1,500 blobs.
const FIRST_READ: u64 = 64 << 10;

/// Reads the header of a pack of `size` bytes; the inner error says what is wrong with it.
pub(super) async fn read(core: &Core, id: ObjectId, size: u64) -> Result<Result<Vec<IndexBlob>, String>, StoreError> {
    let key = access::pack_key(&id);
    let end = async |bytes: u64| match access::get(&*core.store, &key, Some(size - bytes..size)).await {
        Ok(end) => Ok(Ok(end)),
        Err(error) => match error.fault.kind {
            bulkhead_model::FaultKind::NotFound | bulkhead_model::FaultKind::Corrupt => Ok(Err(error.fault.to_string())),
            _ => Err(error),
        },
    };
    let mut tail = match end(size.min(FIRST_READ)).await? {
        Ok(tail) => tail,
        Err(reason) => return Ok(Err(reason)),
    };
    let needed = match header_bytes(&tail) {
        Some(needed) if needed <= size => needed,
        _ => return Ok(Err("it has no room for its header".to_owned())),
    };
    if needed > tail.len() as u64 {
        tail = match end(needed).await? {
            Ok(tail) => tail,
            Err(reason) => return Ok(Err(reason)),
        };
    }
    Ok(decode(core, &tail, size))
}

/// Bytes of the header and its length field.
fn header_bytes(tail: &Bytes) -> Option<u64> {
    let (_, length) = tail.split_last_chunk::<LENGTH_FIELD>()?;
    Some(u64::from(u32::from_le_bytes(*length)) + LENGTH_FIELD as u64)
}

fn decode(core: &Core, tail: &Bytes, size: u64) -> Result<Vec<IndexBlob>, String> {
    let needed = header_bytes(tail)
        .and_then(|needed| usize::try_from(needed).ok())
        .unwrap_or(usize::MAX);
    let header = tail
        .len()
        .checked_sub(needed)
        .and_then(|begin| tail.get(begin..tail.len() - LENGTH_FIELD));
    let mut header = header.ok_or("it has no room for its header")?.to_vec();
    let records = core
        .key
        .open(&mut header)
        .map_err(|error| format!("its header is damaged: {error}"))?;
    let blobs = pack::decode_records(records)?;
    let expected = blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>() + pack::header_size(&blobs) as u64;
    if expected == size {
        Ok(blobs)
    } else {
        Err(format!("it has {size} bytes, but its header accounts for {expected}"))
    }
}

//! The header at the end of a pack ("Pack Format"): one record per blob, encrypted, and its length.

use crate::{
    crypto::{MasterKey, OVERHEAD},
    format::index_file::IndexBlob,
    id::ObjectId,
    index::BlobKind,
};

/// Bytes of the header's length, the last of a pack.
pub(crate) const LENGTH_FIELD: usize = 4;
/// Bytes of the record of an uncompressed blob: type, length, hash.
const PLAIN_RECORD: usize = 1 + 4 + 32;
/// Bytes of the record of a compressed blob: type, length, content's length, hash.
const COMPRESSED_RECORD: usize = PLAIN_RECORD + 4;
/// Bytes of a header beside its records.
pub(crate) const HEADER_FRAME: usize = OVERHEAD + LENGTH_FIELD;
/// Bytes of the longest record.
pub(crate) const MAX_RECORD: usize = COMPRESSED_RECORD;

/// Bytes that the header of these blobs takes at the end of a pack.
pub(crate) fn header_size(blobs: &[IndexBlob]) -> usize {
    blobs.iter().map(record_size).sum::<usize>() + HEADER_FRAME
}

/// Bytes of a blob's record.
pub(crate) fn record_size(blob: &IndexBlob) -> usize {
    record_size_of(blob.uncompressed_length.is_some())
}

/// Bytes of the record of a blob that is compressed, or not.
pub(crate) fn record_size_of(is_compressed: bool) -> usize {
    if is_compressed { COMPRESSED_RECORD } else { PLAIN_RECORD }
}

/// Makes the end of a pack whose blobs stand in this order: encrypted header and length.
pub(crate) fn encode_header(key: &MasterKey, blobs: &[IndexBlob]) -> Result<Vec<u8>, String> {
    let mut records = Vec::with_capacity(header_size(blobs));
    for blob in blobs {
        let kind = u8::from(blob.kind == BlobKind::Tree) | if blob.uncompressed_length.is_some() { 2 } else { 0 };
        records.push(kind);
        records.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            records.extend_from_slice(&length.to_le_bytes());
        }
        records.extend_from_slice(blob.id.as_bytes());
    }
    let mut header = key
        .seal_copy(&records)
        .map_err(|_| "a pack's header could not be encrypted".to_owned())?;
    let length = u32::try_from(header.len()).map_err(|_| "a pack's header is too long".to_owned())?;
    header.extend_from_slice(&length.to_le_bytes());
    Ok(header)
}

/// Reads a decrypted header.
pub(crate) fn decode_records(mut records: &[u8]) -> Result<Vec<IndexBlob>, String> {
    let mut blobs = Vec::new();
    let mut offset: u32 = 0;
    while let Some(&kind) = records.first() {
        let size = if kind & 2 == 0 { PLAIN_RECORD } else { COMPRESSED_RECORD };
        let (record, rest) = records
            .split_at_checked(size)
            .filter(|_| kind < 4)
            .ok_or("its header is malformed")?;
        let length = u32_at(record, 1);
        let mut id = [0; 32];
        id.copy_from_slice(&record[size - 32..]);
        blobs.push(IndexBlob {
            id: ObjectId::from(id),
            kind: if kind & 1 == 0 { BlobKind::Data } else { BlobKind::Tree },
            offset,
            length,
            uncompressed_length: (kind & 2 != 0).then(|| u32_at(record, 5)),
        });
        offset = offset
            .checked_add(length)
            .ok_or("its header names more bytes than a pack can have")?;
        records = rest;
    }
    Ok(blobs)
}

fn u32_at(bytes: &[u8], position: usize) -> u32 {
    bytes
        .get(position..position + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let key = MasterKey::random();
        let blob = |kind, offset, length, uncompressed_length| IndexBlob {
            id: ObjectId::of(b"x"),
            kind,
            offset,
            length,
            uncompressed_length,
        };
        let blobs = [
            blob(BlobKind::Data, 0, 40, None),
            blob(BlobKind::Tree, 40, 50, Some(70)),
            blob(BlobKind::Data, 90, 60, Some(90)),
            blob(BlobKind::Tree, 150, 33, None),
        ];
        let mut header = encode_header(&key, &blobs).unwrap();
        assert_eq!(header.len(), header_size(&blobs));
        let length = header.len() - LENGTH_FIELD;
        assert_eq!(u32_at(&header, length) as usize, length);
        assert_eq!(decode_records(key.open(&mut header[..length]).unwrap()).unwrap(), blobs);
    }

    #[test]
    fn a_malformed_header_is_refused() {
        for bad in [&[0_u8; 36][..], &[2; 40], &[4; 41], &[0xff; 37]] {
            assert!(decode_records(bad).is_err());
        }
    }
}

//! [`Request`]: blobs that stand close to each other in a pack, and are fetched as one.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::{
    access, blob,
    error::{Corruption, ReadError, StoreError},
    id::ObjectId,
    index::Location,
};

/// Bytes between two blobs that are fetched and thrown away, rather than making a request of their own.
pub(super) const GAP: u64 = 16 << 10;
/// The same between blobs of many small files that are scattered over packs: what a request costs a sink next door, and more so one that is far away, is more than to
/// read this.
pub(super) const SCATTERED_GAP: u64 = 64 << 10;
/// Bytes of one request, unless a single blob is larger: several are on their way at once.
pub(super) const REQUEST: u64 = 4 << 20;

/// Of what a request brings, one part in so many may be gaps that stay in memory until its last blob is opened; where there are more, its blobs are copied.
const GAPS: u64 = 4;

/// One request.
pub(super) struct Request {
    pack: ObjectId,
    start: u64,
    end: u64,
    pub(super) blobs: Vec<(ObjectId, Location)>,
}

/// A blob as it is stored, to be decrypted where it stands.
pub(super) struct StoredBlob {
    pub(super) id: ObjectId,
    pub(super) location: Location,
    pub(super) bytes: BytesMut,
}

/// The requests that get all blobs, each once; those that are no further apart than `gap` in one.
pub(super) fn requests(blobs: &[(ObjectId, Location)], gap: u64) -> Vec<Request> {
    let mut sorted = blobs.to_vec();
    sorted.sort_unstable_by_key(|(id, location)| (location.pack, location.offset, *id));
    sorted.dedup_by_key(|(id, _)| *id);
    let mut requests: Vec<Request> = Vec::new();
    for (id, location) in sorted {
        let start = u64::from(location.offset);
        let end = start + u64::from(location.length);
        match requests.last_mut() {
            Some(last) if last.pack == location.pack && start >= last.end && start - last.end <= gap && end - last.start <= REQUEST => {
                last.end = end;
                last.blobs.push((id, location));
            }
            _ => requests.push(Request::of(id, location)),
        }
    }
    requests
}

impl Request {
    /// The request for one blob alone.
    pub(super) fn of(id: ObjectId, location: Location) -> Self {
        let start = u64::from(location.offset);
        Self {
            pack: location.pack,
            start,
            end: start + u64::from(location.length),
            blobs: vec![(id, location)],
        }
    }

    /// The pack's key.
    pub(super) fn key(&self) -> String {
        access::pack_key(&self.pack)
    }

    /// Where in the pack.
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// That the pack is damaged; at one blob, where that is known.
    pub(super) fn corrupt(&self, blob: Option<ObjectId>, reason: String) -> ReadError {
        let object = self.key();
        Corruption { object, blob, reason }.into()
    }

    /// Cuts what one replica has sent into its blobs.
    pub(super) fn cut(&self, stored: Result<Bytes, StoreError>) -> Result<Vec<StoredBlob>, ReadError> {
        let only = (self.blobs.len() == 1).then(|| self.blobs[0].0);
        let stored = stored.map_err(|error| blob::damaged_pack(error, only))?;
        if stored.len() as u64 != self.end - self.start {
            let reason = format!("{} bytes were read instead of {}", stored.len(), self.end - self.start);
            return Err(self.corrupt(only, reason));
        }
        Ok(if self.is_sparse() { self.copy(&stored) } else { self.split(stored) })
    }

    /// Whether much of it is gaps.
    fn is_sparse(&self) -> bool {
        let blobs: u64 = self.blobs.iter().map(|(_, location)| u64::from(location.length)).sum();
        let bytes = self.end - self.start;
        bytes.saturating_sub(blobs) > bytes / GAPS
    }

    /// The blobs, each by itself.
    fn copy(&self, stored: &[u8]) -> Vec<StoredBlob> {
        let copy = |(id, location): &(ObjectId, Location)| {
            let begin = (u64::from(location.offset) - self.start) as usize;
            StoredBlob {
                id: *id,
                location: *location,
                bytes: BytesMut::from(&stored[begin..begin + location.length as usize]),
            }
        };
        self.blobs.iter().map(copy).collect()
    }

    /// The blobs where they stand.
    fn split(&self, stored: Bytes) -> Vec<StoredBlob> {
        let mut rest = blob::own(stored);
        let mut at = self.start;
        let cut = |(id, location): &(ObjectId, Location)| {
            let _gap = rest.split_to((u64::from(location.offset) - at) as usize);
            at = u64::from(location.offset) + u64::from(location.length);
            StoredBlob {
                id: *id,
                location: *location,
                bytes: rest.split_to(location.length as usize),
            }
        };
        self.blobs.iter().map(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn blob(name: u8, pack: u8, offset: u32, length: u32) -> (ObjectId, Location) {
        let location = Location {
            pack: ObjectId::of(&[pack]),
            offset,
            length,
            uncompressed: None,
        };
        (ObjectId::of(&[name]), location)
    }

    #[test]
    fn neighbours_are_one_request_in_whatever_order_they_are_needed() {
        let far = 1000 + GAP as u32 + 1;
        let blobs = [
            blob(2, 1, 300, 100),
            blob(1, 1, 0, 300),
            blob(1, 1, 0, 300),
            blob(3, 1, 500, 500),
            blob(4, 2, 0, 10),
            blob(5, 1, far, 10),
        ];
        let mut ranges: Vec<_> = requests(&blobs, GAP)
            .iter()
            .map(|request| (request.start, request.end, request.blobs.len()))
            .collect();
        ranges.sort_unstable();
        assert_eq!(ranges, [(0, 10, 1), (0, 1000, 3), (far.into(), u64::from(far) + 10, 1)]);
    }

    #[test]
    fn what_is_scattered_is_read_with_what_stands_between_up_to_a_bound() {
        let apart = 50 << 10;
        let blobs: Vec<_> = (0..200_u8).map(|number| blob(number, 1, u32::from(number) * apart, 100)).collect();
        assert_eq!(requests(&blobs, GAP).len(), 200);
        let requests = requests(&blobs, SCATTERED_GAP);
        assert!(requests.iter().all(|request| request.end - request.start <= REQUEST));
        assert_eq!(requests.len(), 3, "9.7 MiB");
    }

    #[test]
    fn what_was_sent_is_cut_into_its_blobs_without_what_stands_between() {
        let blobs = [blob(1, 1, 100, 3), blob(2, 1, 105, 2)];
        let requests = requests(&blobs, GAP);
        let cut = requests[0].cut(Ok(Bytes::from_static(b"abc--de"))).unwrap();
        let parts: Vec<_> = cut.iter().map(|blob| (blob.id, &blob.bytes[..])).collect();
        assert_eq!(parts, [(blobs[0].0, &b"abc"[..]), (blobs[1].0, b"de")]);
        assert!(requests[0].cut(Ok(Bytes::from_static(b"abc--d"))).is_err());
    }

    #[test]
    fn blobs_that_are_far_apart_are_copied_and_neighbours_are_not() {
        let sparse = requests(&[blob(1, 1, 100, 3), blob(2, 1, 105, 2)], GAP);
        let dense = requests(&[blob(1, 1, 100, 5), blob(2, 1, 106, 2)], GAP);
        assert!(sparse[0].is_sparse() && !dense[0].is_sparse());
        let cut = dense[0].cut(Ok(Bytes::from_static(b"abcde-fg"))).unwrap();
        assert_eq!(cut.iter().map(|blob| &blob.bytes[..]).collect::<Vec<_>>(), [&b"abcde"[..], b"fg"]);
    }
}

//! etcd's multi-version store in its bbolt file: [`Store`].
//!
//! The bucket `key` has one element for each change, in order: its key is the revision (main and sub number, and a `t` for a deletion), its value the
//! key-value pair as it was from then on. What is *live* at a revision is, of each key, the last change up to it, unless that is a deletion.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::{Algorithm, digest},
    snapshot::{self, EntryReader},
};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use crate::{
    bolt::{Bucket, Database, Joined, LeafPlace, ReadAt},
    facts,
    rpc::messages::{KeyValue, StoredLease},
};

/// Distinct keys that are told apart at once, at about 20 bytes each: 72 MiB where their number is known beforehand, half as much again where not.
const MAX_KEYS: usize = 3_600_000;

/// Leases that a store may have; each is held in memory.
const MAX_LEASES: usize = 1_000_000;

/// When a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// Of the transaction.
    pub main: i64,
    /// Within it.
    pub sub: i64,
    /// Whether the change is a deletion.
    pub deletion: bool,
}

impl Revision {
    /// Reads the key of an element: 8 bytes, `_`, 8 bytes, and perhaps `t`.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (main, rest) = key.split_first_chunk::<8>()?;
        let (sub, mark) = rest.strip_prefix(b"_")?.split_first_chunk::<8>()?;
        let deletion = match mark {
            b"" => false,
            b"t" => true,
            _ => return None,
        };
        Some(Self {
            main: i64::from_be_bytes(*main),
            sub: i64::from_be_bytes(*sub),
            deletion,
        })
    }
}

/// One change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// When.
    pub revision: Revision,
    /// The element's own key.
    raw: &'a [u8],
    /// The element's value, a [`KeyValue`].
    value: &'a [u8],
}

impl<'a> Change<'a> {
    /// The changed key, without decoding the rest.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn key(&self) -> Result<&'a [u8]> {
        key_of(self.value).ok_or_else(|| self.damaged())
    }

    /// All of it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn decode(&self) -> Result<KeyValue> {
        KeyValue::decode(self.value).map_err(|error| self.damaged().with_cause(error))
    }

    fn damaged(&self) -> Error {
        let Revision { main, sub, .. } = self.revision;
        Error::new(ErrorKind::Corrupt, format!("the value at revision {main}.{sub} cannot be read"))
    }
}

/// Field 1 of a [`KeyValue`].
fn key_of(mut value: &[u8]) -> Option<&[u8]> {
    while !value.is_empty() {
        let (tag, wire) = decode_key(&mut value).ok()?;
        if tag == 1 && wire == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut value).ok()?).ok()?;
            return value.get(..length);
        }
        skip_field(wire, tag, &mut value, DecodeContext::default()).ok()?;
    }
    None
}

/// Which changes are live at a revision: a bit for each, counted from the last.
#[derive(Debug, Default)]
pub struct Live {
    bits: Vec<u64>,
    changes: usize,
    /// How many are live.
    pub count: u64,
}

impl Live {
    fn push(&mut self, live: bool) {
        if self.changes.is_multiple_of(64) {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut().filter(|_| live) {
            *last |= 1 << (self.changes % 64);
            self.count += 1;
        }
        self.changes += 1;
    }

    /// Whether the change that is the `index`-th from the first one is live.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        let Some(place) = self.changes.checked_sub(index + 1) else {
            return false;
        };
        self.bits.get(place / 64).is_some_and(|bits| (bits >> (place % 64)) & 1 == 1)
    }
}

/// A store.
pub struct Store<R> {
    database: Database<R>,
    leaves: Vec<LeafPlace>,
    /// Keys that room is made for at once.
    expected: usize,
}

impl<R> std::fmt::Debug for Store<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Store({} leaves)", self.leaves.len())
    }
}

impl Store<EntryReader> {
    /// The store of the snapshot at hand.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn of_snapshot() -> Result<Self> {
        let keys = snapshot::info().facts.into_iter().find(|fact| fact.name == facts::TOTAL_KEYS);
        let keys = keys.and_then(|fact| fact.value.parse().ok()).unwrap_or(0);
        Ok(Self::open(snapshot::open(facts::SNAPSHOT)?)?.expecting(keys))
    }
}

impl<R: ReadAt> Store<R> {
    /// Opens a store.
    ///
    /// # Errors
    /// `Corrupt`; those of the reader.
    pub fn open(reader: R) -> Result<Self> {
        let mut database = Database::open(reader)?;
        let bucket = database.bucket("key")?;
        let leaves = database.leaves(&bucket)?;
        Ok(Self {
            database,
            leaves,
            expected: 0,
        })
    }

    /// With the number of keys, all revisions included, that the store is said to have: a table that grows leaves its smaller ones behind, in a memory that
    /// never shrinks.
    #[must_use]
    pub fn expecting(self, keys: u64) -> Self {
        let expected = usize::try_from(keys).unwrap_or(MAX_KEYS).min(MAX_KEYS);
        Self { expected, ..self }
    }

    /// Calls `visit` with every change, the first one first, until it says to stop (`false`).
    ///
    /// # Errors
    /// `Corrupt`; those of the reader and of `visit`.
    pub fn forwards(&mut self, mut visit: impl FnMut(Change<'_>) -> Result<bool>) -> Result<()> {
        for place in &self.leaves {
            let page = self.database.leaf(place)?;
            for element in page.elements() {
                if !visit(change(element?)?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// As [`Self::forwards`], the last change first.
    ///
    /// # Errors
    /// As [`Self::forwards`].
    pub fn backwards(&mut self, mut visit: impl FnMut(Change<'_>) -> Result<bool>) -> Result<()> {
        for place in self.leaves.iter().rev() {
            let page = self.database.leaf(place)?;
            for element in page.elements().rev() {
                if !visit(change(element?)?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The last change; `None` in an empty store.
    ///
    /// # Errors
    /// As [`Self::forwards`].
    pub fn last(&mut self) -> Result<Option<Revision>> {
        let mut last = None;
        self.backwards(|change| {
            last = Some(change.revision);
            Ok(false)
        })?;
        Ok(last)
    }

    /// What is live at revision `at`. Later changes are passed over.
    ///
    /// # Errors
    /// As [`Self::forwards`]; `Limit` for more keys than are told apart.
    pub fn live(&mut self, at: i64) -> Result<Live> {
        let (mut live, mut keys) = (Live::default(), Keys::expecting(self.expected));
        self.backwards(|change| {
            let is_last = change.revision.main <= at && keys.add(change.key()?)?;
            live.push(is_last && !change.revision.deletion);
            Ok(true)
        })?;
        Ok(live)
    }

    /// The leases and their time to live in seconds.
    ///
    /// # Errors
    /// As [`Self::forwards`]; `Limit`.
    pub fn leases(&mut self) -> Result<HashMap<i64, i64>> {
        let mut leases = HashMap::new();
        let buckets = self.database.buckets()?;
        let Some((_, bucket)) = buckets.into_iter().find(|(name, _)| name == b"lease") else {
            return Ok(leases);
        };
        for place in self.places(&bucket)? {
            for element in self.database.leaf(&place)?.elements() {
                let damaged = |error| Error::new(ErrorKind::Corrupt, "a stored lease cannot be read").with_cause(error);
                let lease = StoredLease::decode(element?.value).map_err(damaged)?;
                leases.insert(lease.id, lease.ttl);
                if leases.len() > MAX_LEASES {
                    return Err(Error::new(ErrorKind::Limit, format!("the store has more than {MAX_LEASES} leases")));
                }
            }
        }
        Ok(leases)
    }

    fn places(&mut self, bucket: &Bucket) -> Result<Vec<LeafPlace>> {
        self.database.leaves(bucket)
    }

    /// etcd's `HashKV` at revision `at` of a member that was compacted at `compacted`: CRC-32C over the bucket's name and, in order, every change up
    /// to `at` that is later than `compacted` or still live at `at`.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn hash(&mut self, at: i64, compacted: i64) -> Result<u32> {
        let (hash, live) = self.hash_of_live(at, compacted)?;
        // A member that finds nothing live leaves nothing out.
        if live == 0 {
            Ok(self.hash_of_live(at, i64::MIN)?.0)
        } else {
            Ok(hash)
        }
    }

    /// What is live is known from the end, so the parts are hashed from there; a CRC does not mind. Also how many changes are live.
    fn hash_of_live(&mut self, at: i64, compacted: i64) -> Result<(u32, u64)> {
        let (mut keys, mut live) = (Keys::expecting(self.expected), 0);
        let (mut later, mut length) = (Joined::default(), 0);
        let mut prepend = |part: &[u8]| {
            let mut joined = Joined::of(crc32c(part));
            joined.append(later.crc(), length);
            later = joined;
            length += part.len() as u64;
        };
        for place in self.leaves.iter().rev() {
            let page = self.database.leaf(place)?;
            let (mut part, mut kept) = (Vec::new(), Vec::new());
            for element in page.elements().rev() {
                let change = change(element?)?;
                if change.revision.main > at {
                    continue;
                }
                let is_live = keys.add(change.key()?)? && !change.revision.deletion;
                live += u64::from(is_live);
                if is_live || change.revision.main > compacted {
                    kept.push(change);
                }
            }
            for change in kept.iter().rev() {
                part.extend_from_slice(change.raw);
                part.extend_from_slice(change.value);
            }
            prepend(&part);
        }
        prepend(b"key");
        Ok((later.crc(), live))
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    digest(Algorithm::Crc32c, bytes).try_into().map_or(0, u32::from_be_bytes)
}

fn change(element: crate::bolt::Element<'_>) -> Result<Change<'_>> {
    let odd = || Error::new(ErrorKind::Corrupt, "the bucket `key` has an element that is no revision");
    Ok(Change {
        revision: Revision::parse(element.key).ok_or_else(odd)?,
        raw: element.key,
        value: element.value,
    })
}

/// Keys that were seen, as hashes of 128 bits with random keys: no two of a store's are ever taken for one, not even if somebody tries.
struct Keys {
    seen: HashSet<(u64, u64)>,
    hashers: (RandomState, RandomState),
}

impl Keys {
    fn expecting(keys: usize) -> Self {
        Self {
            seen: HashSet::with_capacity(keys),
            hashers: Default::default(),
        }
    }

    /// Whether the key is new.
    fn add(&mut self, key: &[u8]) -> Result<bool> {
        let hashes = (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key));
        let is_new = self.seen.insert(hashes);
        if self.seen.len() > MAX_KEYS {
            let message = format!("the store has more than {MAX_KEYS} distinct keys, which is more than this plugin tells apart");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_from_their_17_or_18_bytes() {
        let key = b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t";
        let revision = |deletion| {
            Some(Revision {
                main: 258,
                sub: 3,
                deletion,
            })
        };
        assert_eq!(Revision::parse(key), revision(true));
        assert_eq!(Revision::parse(&key[..17]), revision(false));
        for wrong in [
            &key[..16],
            b"",
            b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03",
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x",
        ] {
            assert_eq!(Revision::parse(wrong), None);
        }
    }

    #[test]
    fn a_key_is_found_wherever_it_stands_in_its_message() {
        assert_eq!(key_of(b"\x0a\x03abc\x10\x01"), Some(&b"abc"[..]));
        assert_eq!(key_of(b"\x10\x01\x0a\x03abc"), Some(&b"abc"[..]));
        for wrong in [
            &b""[..],
            b"\x0a\x04abc",
            b"\x10\x01",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(key_of(wrong), None);
        }
    }

    #[test]
    fn live_changes_are_counted_from_the_first() {
        let mut live = Live::default();
        for change in 0..200 {
            live.push(change % 3 == 0);
        }
        assert_eq!((live.count, live.has(200)), (67, false));
        assert!((0..200).all(|index| live.has(index) == ((199 - index) % 3 == 0)));
    }

    #[test]
    fn room_for_keys_is_made_once_whatever_is_expected() {
        assert!(Keys::expecting(1_000_000).seen.capacity() >= 1_000_000);
        let mut keys = Keys::expecting(MAX_KEYS);
        let room = keys.seen.capacity();
        // The key that is one too many is in before it is refused.
        assert!(room > MAX_KEYS, "{room}");
        assert!(keys.add(b"a").is_ok_and(|is_new| is_new) && keys.add(b"a").is_ok_and(|is_new| !is_new));
    }
}

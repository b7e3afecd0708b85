//! [`Records`]: what is known about the entries of a run, as compactly as it can be kept until the commit: names, owners, times, content and the rest as bytes, with numbers as
//! short as they are and every owner's name once.

use std::{borrow::Cow, collections::HashMap};

use bulkhead_model::{EntryMetadata, ExtendedAttribute, NodeType, Timestamp};

use crate::{
    error::WriteError,
    id::ObjectId,
    writer::spool::{Position, Spool},
};

/// Bytes of a record's buffer that are kept for the next one.
const SCRATCH: usize = 64 << 10;

/// Records of entries: a name each and, unless the entry is only implied by others, its metadata; and what files contain.
pub(crate) struct Records {
    spool: Spool,
    names: Names,
    /// Room for the record being made.
    scratch: Vec<u8>,
}

/// Names of users and groups, by number.
#[derive(Default)]
struct Names {
    all: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u64>,
}

impl Names {
    /// The number of a name, from 1; 0 is none.
    fn number(&mut self, name: Option<&str>) -> u64 {
        let Some(name) = name else { return 0 };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.all.push(name.into());
        let number = self.all.len() as u64;
        self.numbers.insert(name.into(), number);
        number
    }

    fn name(&self, number: u64) -> Option<String> {
        let position = usize::try_from(number.checked_sub(1)?).ok()?;
        self.all.get(position).map(|name| name.to_string())
    }
}

/// What stands in the place of a node's type where there is no metadata.
const IMPLIED: u8 = 0;
const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 3;
const FIFO: u8 = 4;
const SOCKET: u8 = 5;
const CHARACTER_DEVICE: u8 = 6;
const BLOCK_DEVICE: u8 = 7;
/// Added to the type: the time of modification, and that of change, follow.
const MODIFIED: u8 = 1 << 6;
const CHANGED: u8 = 1 << 7;

impl Records {
    /// None yet.
    pub(crate) fn new(spool: Spool) -> Self {
        Self {
            spool,
            names: Names::default(),
            scratch: Vec::new(),
        }
    }

    /// Adds a record. `None` where 4,294,967,296 segments are not enough.
    pub(crate) fn add(&mut self, name: &[u8], metadata: Option<&EntryMetadata>) -> Option<Position> {
        let mut record = std::mem::take(&mut self.scratch);
        push_bytes(&mut record, name);
        match metadata {
            Some(metadata) => self.push_metadata(&mut record, metadata),
            None => record.push(IMPLIED),
        }
        self.finish(record)
    }

    /// Adds what a file contains: its bytes, and the names of their chunks. `None` as [`Self::add`].
    pub(crate) fn add_content(&mut self, size: u64, ids: &[ObjectId]) -> Option<Position> {
        let mut record = std::mem::take(&mut self.scratch);
        push(&mut record, size);
        push(&mut record, ids.len() as u64);
        ids.iter().for_each(|id| record.extend_from_slice(id.as_bytes()));
        self.finish(record)
    }

    fn finish(&mut self, mut record: Vec<u8>) -> Option<Position> {
        let position = self.spool.add(&record);
        record.clear();
        record.shrink_to(SCRATCH);
        self.scratch = record;
        position
    }

    /// What a file contains.
    pub(crate) fn content(&self, position: Position) -> Result<(u64, Vec<ObjectId>), WriteError> {
        let bytes = self.spool.read(position)?;
        let mut record = Bytes(&bytes);
        let (size, chunks) = (record.number(), record.number() as usize);
        Ok((
            size,
            record.0.as_chunks().0.iter().take(chunks).map(|id| ObjectId::from(*id)).collect(),
        ))
    }

    /// A record.
    pub(crate) fn read(&self, position: Position) -> Result<Record<'_>, WriteError> {
        Ok(Record {
            bytes: self.spool.read(position)?,
            names: &self.names,
        })
    }

    fn push_metadata(&mut self, record: &mut Vec<u8>, metadata: &EntryMetadata) {
        let node_type = match metadata.node_type {
            NodeType::File => FILE,
            NodeType::Directory => DIRECTORY,
            NodeType::Symlink(_) => SYMLINK,
            NodeType::Fifo => FIFO,
            NodeType::Socket => SOCKET,
            NodeType::CharacterDevice(_) => CHARACTER_DEVICE,
            NodeType::BlockDevice(_) => BLOCK_DEVICE,
        };
        let times = [(MODIFIED, metadata.modified), (CHANGED, metadata.changed)];
        let there = times.iter().filter(|(_, time)| time.is_some());
        record.push(there.fold(node_type, |bits, (bit, _)| bits | bit));
        match &metadata.node_type {
            NodeType::Symlink(target) => push_bytes(record, target),
            NodeType::CharacterDevice(device) | NodeType::BlockDevice(device) => push(record, *device),
            _ => {}
        }
        for (_, time) in times {
            let Some(time) = time else { continue };
            // The sign in the lowest bit, so that times before 1970 are short as well.
            push(record, (time.seconds << 1 ^ time.seconds >> 63).cast_unsigned());
            push(record, u64::from(time.nanoseconds));
        }
        push(record, u64::from(metadata.mode));
        push(record, u64::from(metadata.uid));
        push(record, u64::from(metadata.gid));
        push(record, self.names.number(metadata.user.as_deref()));
        push(record, self.names.number(metadata.group.as_deref()));
        push(record, metadata.device);
        push(record, metadata.inode);
        push(record, metadata.links);
        push(record, metadata.extended_attributes.len() as u64);
        for attribute in &metadata.extended_attributes {
            push_bytes(record, &attribute.name);
            push_bytes(record, &attribute.value);
        }
    }
}

/// A record of an entry.
pub(crate) struct Record<'r> {
    bytes: Cow<'r, [u8]>,
    names: &'r Names,
}

impl<'r> Record<'r> {
    /// The entry's name.
    pub(crate) fn name(&self) -> &[u8] {
        Bytes(&self.bytes).bytes()
    }

    /// The same, without the rest.
    pub(crate) fn into_name(self) -> Cow<'r, [u8]> {
        match self.bytes {
            Cow::Borrowed(bytes) => Bytes(bytes).bytes().into(),
            Cow::Owned(bytes) => Bytes(&bytes).bytes().to_vec().into(),
        }
    }

    /// Whether the entry is only implied.
    pub(crate) fn is_implied(&self) -> bool {
        let mut record = Bytes(&self.bytes);
        record.bytes();
        record.byte() == IMPLIED
    }

    /// The entry's metadata; `None` where it is only implied.
    pub(crate) fn metadata(&self) -> Option<EntryMetadata> {
        let mut record = Bytes(&self.bytes);
        record.bytes();
        let kind = record.byte();
        let node_type = match kind & !(MODIFIED | CHANGED) {
            FILE => NodeType::File,
            DIRECTORY => NodeType::Directory,
            SYMLINK => NodeType::Symlink(record.bytes().to_vec()),
            FIFO => NodeType::Fifo,
            SOCKET => NodeType::Socket,
            CHARACTER_DEVICE => NodeType::CharacterDevice(record.number()),
            BLOCK_DEVICE => NodeType::BlockDevice(record.number()),
            _ => return None,
        };
        let mut time = |bit| (kind & bit != 0).then(|| record.time());
        let (modified, changed) = (time(MODIFIED), time(CHANGED));
        Some(EntryMetadata {
            node_type,
            modified,
            changed,
            mode: record.number() as u32,
            uid: record.number() as u32,
            gid: record.number() as u32,
            user: self.names.name(record.number()),
            group: self.names.name(record.number()),
            device: record.number(),
            inode: record.number(),
            links: record.number(),
            extended_attributes: (0..record.number())
                .map(|_| ExtendedAttribute {
                    name: record.bytes().to_vec(),
                    value: record.bytes().to_vec(),
                })
                .collect(),
        })
    }
}

/// Seven bits in each byte, the lowest first; the top bit says that more follow.
fn push(record: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        record.push(number as u8 | 0x80);
        number >>= 7;
    }
    record.push(number as u8);
}

fn push_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    push(record, bytes.len() as u64);
    record.extend_from_slice(bytes);
}

/// What is still to be read of a record. All that is read was written here: there is nothing to check.
struct Bytes<'r>(&'r [u8]);

impl<'r> Bytes<'r> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 || shift > 63 {
                return number;
            }
        }
    }

    fn bytes(&mut self) -> &'r [u8] {
        let length = self.number() as usize;
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn time(&mut self) -> Timestamp {
        let seconds = self.number();
        Timestamp {
            seconds: (seconds >> 1).cast_signed() ^ -(seconds & 1).cast_signed(),
            nanoseconds: self.number() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_recorded_is_read_again() {
        let time = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        let types = [
            NodeType::File,
            NodeType::Directory,
            NodeType::Symlink(vec![0xff; 3000]),
            NodeType::Fifo,
            NodeType::Socket,
            NodeType::CharacterDevice(u64::MAX),
            NodeType::BlockDevice(0),
        ];
        let mut records = Records::new(Spool::new(None));
        let mut added = Vec::new();
        for (number, node_type) in types.iter().cycle().take(5_000).enumerate() {
            let large = ExtendedAttribute {
                name: b"user.x".to_vec(),
                value: vec![7; if number % 500 == 3 { 256 << 10 } else { 0 }],
            };
            let metadata = EntryMetadata {
                mode: 0o7777,
                uid: u32::MAX,
                gid: number as u32,
                user: Some(format!("user {}", number % 3)),
                group: (number % 2 == 0).then(String::new),
                modified: [time(i64::MIN, 999_999_999), time(-1, 0), time(i64::MAX, 1), None][number % 4],
                changed: [None, time(1_700_000_000, 5)][number % 2],
                device: u64::MAX,
                inode: number as u64,
                links: 1,
                extended_attributes: vec![large; number % 3],
                ..EntryMetadata::private(node_type.clone())
            };
            let name = vec![number as u8; number % 256];
            added.push((records.add(&name, Some(&metadata)).unwrap(), name, metadata));
        }
        let implied = records.add(b"implied", None).unwrap();
        for (position, name, metadata) in added {
            let record = records.read(position).unwrap();
            assert_eq!(record.name(), name);
            assert!(!record.is_implied());
            assert_eq!(record.metadata(), Some(metadata));
        }
        let implied = records.read(implied).unwrap();
        assert_eq!(implied.name(), b"implied");
        assert!(implied.is_implied() && implied.metadata().is_none());
        assert_eq!(records.names.all.len(), 4);
        for ids in [vec![], vec![ObjectId::of(b"1")], vec![ObjectId::of(b"2"); 300]] {
            let position = records.add_content(u64::MAX, &ids).unwrap();
            assert_eq!(records.content(position).unwrap(), (u64::MAX, ids));
        }
    }
}

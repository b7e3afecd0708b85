//! Listing the keys of a stored RDB file: [`browse`].
//!
//! A file has its keys in the order of a hash table and a listing is in order of names, so each page reads the file once and keeps the first names behind
//! the last page's: time is spent, and memory is not, whatever the number of keys.

use bulkhead_rdb::{Key, Parser, RdbError, Record, Visitor, type_name};
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    host::BEST_TRANSFER,
    page::Page,
    snapshot,
    source::{BrowseRequest, Item},
    types::Fact,
};

use crate::{backup::DUMP, clock, failure};

/// Bytes of the names of a page; a page of long names is shorter.
const PAGE_BYTES: usize = 8 << 20;

/// One page.
pub(crate) fn browse(request: &BrowseRequest) -> Result<Vec<Item>> {
    let path = String::from_utf8_lossy(&request.entry).into_owned();
    if path.rsplit('/').next() != Some(DUMP) {
        return Err(Error::new(ErrorKind::Unsupported, format!("{path} has no inside")).with_hint(format!("list the keys of {DUMP}")));
    }
    let mut keys = Keys {
        prefix: &request.prefix,
        after: request.after.as_deref(),
        page: Page::new(PAGE_BYTES),
        size: 0,
    };
    let mut parser = Parser::new();
    let mut reader = snapshot::open(&request.entry)?;
    while let Some(piece) = reader.read_bytes(BEST_TRANSFER)? {
        parser.feed(&piece, &mut keys).map_err(|error| failure::stored(&error, &path))?;
    }
    parser.finish().map_err(|error| failure::stored(&error, &path))?;
    Ok(keys.page.into_iter().map(|(name, told)| told.item(name)).collect())
}

/// The first of those that are asked for.
struct Keys<'r> {
    prefix: &'r str,
    after: Option<&'r str>,
    page: Page<Told>,
    /// Of the value that passes.
    size: u64,
}

/// What is told of a key.
struct Told {
    kind: u8,
    size: u64,
    expires: Option<u64>,
}

impl Visitor for Keys<'_> {
    type Error = RdbError;

    fn begin(&mut self, _: Record<'_>) -> Result<(), RdbError> {
        self.size = 0;
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        if let Record::Key(key) = record {
            let name = name(key);
            if name.starts_with(self.prefix) && self.after.is_none_or(|after| name.as_str() > after) {
                let told = Told {
                    kind: key.kind,
                    size: self.size,
                    expires: key.expires,
                };
                self.page.add(name, told);
            }
        }
        Ok(())
    }
}

/// `0/user:1`: the database, and the key with everything but printable ASCII escaped; valid UTF-8 stays as it is.
fn name(key: &Key) -> String {
    match std::str::from_utf8(&key.name) {
        Ok(text) if !text.chars().any(|character| character.is_control() || character == '\\') => format!("{}/{text}", key.database),
        _ => format!("{}/{}", key.database, key.name.escape_ascii()),
    }
}

impl Told {
    fn item(self, name: String) -> Item {
        let (kind, encoding) = type_name(self.kind);
        let mut facts = vec![Fact::new("type", kind), Fact::new("stored-as", encoding)];
        if let Some(expires) = self.expires {
            facts.push(Fact::new("expires-at-ms", expires));
            let left = expires.saturating_sub(clock::now()) / 1000;
            facts.push(Fact::new("ttl", if left == 0 { "expired".to_owned() } else { format!("{left} s") }));
        }
        Item {
            name,
            size: Some(self.size),
            facts,
        }
    }
}

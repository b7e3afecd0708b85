//! A plain store: a file for an object, `/` in the key written as `@`. Fit for tests; the plugin `local` shows how to do it for data of value.

use bulkhead_sdk::{
    directory::{Folder, OpenMode},
    prelude::*,
};

/// Bytes of one transfer.
const PIECE: usize = 256 << 10;
/// Suffix of what is not whole yet.
const UNFINISHED: &str = "@unfinished";

/// The granted folder.
#[derive(Debug)]
pub(crate) struct Store(Folder);

fn name(key: &str) -> String {
    key.replace('/', "@")
}

impl Store {
    pub(crate) fn open() -> Result<Self> {
        directory::open("root").map(Self)
    }

    /// Stores all but the last `missing` bytes.
    pub(crate) fn put(&self, key: &str, body: &mut ObjectReader<'_>, if_absent: bool, missing: u64) -> Result<()> {
        let unfinished = name(key) + UNFINISHED;
        let mut file = self.0.open_file(&unfinished, OpenMode::Replace)?;
        while let Some(piece) = body.read_bytes(PIECE)? {
            file.write_bytes(&piece)?;
        }
        file.set_size(body.size().saturating_sub(missing))?;
        if if_absent {
            self.0.create_hard_link(&unfinished, name(key))?;
            return self.0.remove_file(&unfinished);
        }
        self.0.rename(&unfinished, name(key))
    }

    pub(crate) fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>> {
        let content = self.0.read(name(key), 256 << 20)?;
        let Some(range) = range else { return Ok(content) };
        let start = usize::try_from(range.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(range.length).unwrap_or(usize::MAX));
        let part = content.get(start..end).map(<[u8]>::to_vec);
        part.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{key} ends before byte {end}")))
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        for entry in self.0.list("")? {
            let file = entry?.name;
            let key = String::from_utf8_lossy(&file).replace('@', "/");
            if key.starts_with(prefix) && !key.ends_with("/unfinished") {
                objects.push(Object {
                    key,
                    size: self.0.stat(&file)?.size,
                });
            }
        }
        Ok(objects)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        match self.0.remove_file(name(key)) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

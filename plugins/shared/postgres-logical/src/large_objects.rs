//! Content of large objects: [`dump`] writes it, [`read`] hands it on. One statement a line, so that a restore can run them as they come.

use std::io::{BufRead, Read};

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, entries, metadata::Metadata, progress, snapshot};

use super::{
    database::Run,
    index::Record,
    replay::{LONGEST_LINE, damaged, ends_with, unread},
    session::Sql,
};

/// Bytes of content in one statement; twice that in the script.
const PIECE: usize = 64 << 10;

/// What stands before and after the number, the offset and the digits of a statement, and between them.
const STATEMENT: &str = "SELECT pg_catalog.lo_put(";
const CONTENT: &str = ", '\\x";
const STATEMENT_END: &str = "');\n";

/// The script's last line.
pub(crate) const END: &str = "-- end of large objects\n";

/// Writes the content of these objects.
pub(crate) fn dump(run: &mut Run<'_>, sql: &mut Sql, database: &str, objects: &[u32]) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let path = run.settings.layout.script(database, "large-objects");
    let mut entry = entries::create(&path, &Metadata::file())?;
    let mut bytes = 0;
    for object in objects {
        let mut offset = 0;
        loop {
            let piece = sql
                .value(&format!("SELECT pg_catalog.lo_get({object}, {offset}, {PIECE})"))
                .context(|| format!("reading large object {object} of database `{database}` failed"))?;
            let Some(digits) = piece.strip_prefix("\\x") else {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("large object {object} was not sent in hexadecimal digits"),
                ));
            };
            let length = digits.len() / 2;
            if length > 0 {
                entry.write_bytes(format!("{STATEMENT}{object}, {offset}{CONTENT}{digits}{STATEMENT_END}").as_bytes())?;
                bytes += length as u64;
                progress::report("reading large objects", run.proof.bytes + bytes, None);
            }
            if length < PIECE {
                break;
            }
            offset += PIECE as u64;
        }
    }
    entry.write_bytes(END.as_bytes())?;
    run.proof.count(&entry.finish()?);
    run.index.add(&Record::LargeObjects {
        entry: path,
        objects: objects.len() as u64,
        bytes,
    })
}

/// Hands each statement of the entry at `path` to `each`. Fails where they are not of as many bytes as the index says, or of more objects; objects
/// without content have none.
pub(crate) fn read(path: &str, objects: u64, bytes: u64, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut entry = snapshot::open(path)?;
    ends_with(&entry, path, END.as_bytes())?;
    let mut found = Found::default();
    let mut line = String::new();
    loop {
        line.clear();
        let reading = entry.by_ref().take(LONGEST_LINE).read_line(&mut line);
        reading.map_err(|error| unread(path, error))?;
        if line == END {
            break;
        }
        found
            .count(&line)
            .ok_or_else(|| damaged(path, "has a line that is no piece of a large object"))?;
        each(&line)?;
    }
    let Found {
        objects: some,
        bytes: stored,
        ..
    } = found;
    if stored != bytes || some > objects {
        let message =
            format!("has {stored} bytes of {some} large objects, the index says {bytes} bytes of {objects}, empty ones among them");
        return Err(damaged(path, &message));
    }
    Ok(())
}

/// What has been read of an entry.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    objects: u64,
    bytes: u64,
    /// The number of the last object, whose pieces stand together.
    last: Option<u32>,
}

impl Found {
    /// Counts a statement; `None` where it is none.
    fn count(&mut self, line: &str) -> Option<()> {
        let (place, digits) = line.strip_prefix(STATEMENT)?.strip_suffix(STATEMENT_END)?.split_once(CONTENT)?;
        let object = place.split_once(", ")?.0.parse().ok()?;
        if self.last.replace(object) != Some(object) {
            self.objects += 1;
        }
        self.bytes += digits.len() as u64 / 2;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_with_their_objects() {
        let mut found = Found::default();
        for (object, offset) in [(7, 0), (7, 3), (4_294_967_295_u32, 0)] {
            let line = format!("SELECT pg_catalog.lo_put({object}, {offset}, '\\x00ff41');\n");
            assert_eq!(found.count(&line), Some(()), "{line}");
        }
        assert_eq!((found.objects, found.bytes), (2, 9));
        for line in [
            "",
            "\n",
            "SELECT pg_catalog.lo_put(7, 0, '\\x00');",
            "SELECT pg_catalog.lo_put(x, 0, '\\x00');\n",
            "DROP TABLE t;\n",
        ] {
            assert_eq!(found.count(line), None, "{line}");
        }
    }
}

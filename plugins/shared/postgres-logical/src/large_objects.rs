//! Content of large objects: [`dump`]. One statement a line, so that a restore can run them as they come.

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, entries, metadata::Metadata, progress};

use super::{database::Run, index::Record, session::Sql};

/// Bytes of content in one statement; twice that in the script.
const PIECE: usize = 64 << 10;

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
                entry.write_bytes(format!("SELECT pg_catalog.lo_put({object}, {offset}, '\\x{digits}');\n").as_bytes())?;
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

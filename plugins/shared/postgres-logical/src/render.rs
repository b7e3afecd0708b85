//! A stored dump as one script that psql alone replays into an empty server: [`render`].
//!
//! psql takes the end of a file for the end of rows, and ends well. So all of the script is within an `\if`: where its `\endif` is missing, psql with `ON_ERROR_STOP`, which the
//! script sets, fails. Whatever ends the rendering early (damage, a signal, a full disk) leaves such a script behind.
//!
//! What comes from the vault is within `\restrict`, so that nothing of it is a command to psql, whoever has written it.

use std::io::{BufRead, BufWriter, Write};

use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, progress, snapshot, source::RenderRequest};

use super::{
    data, globals,
    index::{IndexReader, Record},
    large_objects,
    layout::Layout,
    options::Content,
    replay::{Scripts, Statement, WITHOUT_TRIGGERS, ends_with, head},
    script::{PREAMBLE, comment},
    session::quoted,
};

/// Bytes of the name by which psql's restriction is lifted. It must not be guessed by whoever wrote the snapshot.
const KEY_BYTES: usize = 16;

/// Writes what `request` selects: everything, or whole databases, or roles and tablespaces.
pub(crate) fn render(layout: &Layout, request: &RenderRequest, into: &mut dyn Write) -> Result<()> {
    let content = refuse_unmatched(layout, request)?;
    let mut index = IndexReader::open(layout)?;
    let mut script = Rendering {
        layout,
        request,
        content,
        into: BufWriter::with_capacity(BEST_TRANSFER, into),
        key: key()?,
        takes: request.selects(layout.globals().as_bytes()),
        scripts: Scripts::default(),
        written: 0,
    };
    script.begin()?;
    while let Some(record) = index.next_record()? {
        script.record(record)?;
    }
    script.end()
}

/// Reads the whole index, and fails where it is damaged, or has nothing that is asked for; returns what of databases it has.
fn refuse_unmatched(layout: &Layout, request: &RenderRequest) -> Result<Content> {
    let mut index = IndexReader::open(layout)?;
    let mut chosen = request.selects(layout.globals().as_bytes());
    let mut folders = Vec::new();
    while let Some(record) = index.next_record()? {
        if let Record::Database { name, .. } = record {
            let folder = layout.database(&name);
            chosen |= request.selects(folder.as_bytes());
            folders.push(folder);
        }
    }
    if chosen {
        return Ok(index.content);
    }
    let has = folders.join("`, `");
    Err(Error::new(ErrorKind::NotFound, "the snapshot has no database at this path").with_hint(format!("it has `{has}`")))
}

/// A name that nobody knows before this script.
fn key() -> Result<String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Error::new(ErrorKind::Internal, format!("no random numbers: {error}")))?;
    Ok(hex::encode(bytes))
}

/// A script that is being written.
struct Rendering<'a> {
    layout: &'a Layout,
    request: &'a RenderRequest,
    content: Content,
    into: BufWriter<&'a mut dyn Write>,
    key: String,
    /// Whether what comes next is chosen.
    takes: bool,
    scripts: Scripts,
    /// Bytes of rows and large objects so far.
    written: u64,
}

impl Rendering<'_> {
    fn begin(&mut self) -> Result<()> {
        self.text("-- Databases as SQL, for psql: `psql --no-psqlrc --file FILE`. The last line is `\\endif`; without it, something is missing, and psql fails.\n")?;
        self.text("\\set ON_ERROR_STOP on\n\\if true\n")?;
        self.restrict()?;
        self.text(PREAMBLE)
    }

    fn end(mut self) -> Result<()> {
        self.unrestrict()?;
        self.text("\\endif\n")?;
        Ok(self.into.flush()?)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        Ok(self.into.write_all(text.as_bytes())?)
    }

    /// From here on, psql takes SQL and rows only.
    fn restrict(&mut self) -> Result<()> {
        self.text(&format!("\\restrict {}\n", self.key))
    }

    fn unrestrict(&mut self) -> Result<()> {
        self.text(&format!("\\unrestrict {}\n", self.key))
    }

    fn record(&mut self, record: Record) -> Result<()> {
        match record {
            Record::Database { name, statements, .. } => {
                self.takes = self.request.selects(self.layout.database(&name).as_bytes());
                if self.takes { self.database(&name, &statements) } else { Ok(()) }
            }
            _ if !self.takes => Ok(()),
            Record::Statement {
                entry,
                offset,
                length,
                kind,
                name,
                ..
            } => self.statement(&Statement {
                entry,
                offset,
                length,
                kind,
                name,
            }),
            Record::Data { entry, rows, .. } => self.rows(&entry, rows),
            Record::LargeObjects { entry, objects, bytes } => self.large_objects(&entry, objects, bytes),
            Record::Header { .. } | Record::End { .. } => Ok(()),
        }
    }

    /// Makes a database, and goes on in it.
    fn database(&mut self, name: &str, statements: &[(String, String)]) -> Result<()> {
        let with_rows_only = self.content == Content::Data;
        if !with_rows_only {
            self.text(&comment("DATABASE", name))?;
            for statement in globals::statements(name, statements) {
                self.text(&format!("{statement};\n"))?;
            }
        }
        self.unrestrict()?;
        self.text(&connect(name)?)?;
        self.restrict()?;
        self.text(PREAMBLE)?;
        if with_rows_only {
            self.text(&format!("{WITHOUT_TRIGGERS};\n"))?;
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement) -> Result<()> {
        let text = self.scripts.read(statement)?;
        self.text(&comment(&statement.kind, &statement.name))?;
        self.text(&text)
    }

    /// An entry with rows is a script by itself.
    fn rows(&mut self, path: &str, expected: u64) -> Result<()> {
        let mut entry = snapshot::open(path)?;
        ends_with(&entry, path, data::END)?;
        let statement = head(path, &mut entry)?;
        self.text(&format!("\n{}{statement}", data::HEAD))?;
        let lines = self.copy(entry)?;
        // The end mark is a line too.
        let rows = lines.saturating_sub(1);
        if rows == expected {
            return Ok(());
        }
        let message = format!("{path} has {rows} rows, the index says {expected}");
        Err(Error::new(ErrorKind::Corrupt, message).with_hint("take another snapshot"))
    }

    fn large_objects(&mut self, path: &str, objects: u64, bytes: u64) -> Result<()> {
        self.text("\n")?;
        large_objects::read(path, objects, bytes, |piece| {
            self.text(piece)?;
            self.report(piece.len());
            Ok(())
        })?;
        self.text(large_objects::END)
    }

    fn report(&mut self, written: usize) {
        self.written += written as u64;
        progress::report("writing a script", self.written, None);
    }

    /// Writes the rest of an entry, and counts its lines.
    fn copy(&mut self, mut entry: impl BufRead) -> Result<u64> {
        let mut lines = 0;
        loop {
            let piece = entry.fill_buf()?;
            let length = piece.len();
            if length == 0 {
                return Ok(lines);
            }
            lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.into.write_all(piece)?;
            entry.consume(length);
            self.report(length);
        }
    }
}

/// Makes psql go on in another database of the same server.
fn connect(name: &str) -> Result<String> {
    if name.contains(['\n', '\r']) {
        let message = format!("psql cannot be told to connect to database {name:?}, whose name has a line break");
        return Err(Error::unsupported(message).with_hint("restore it through the plugin, or take the other databases one by one"));
    }
    let value = name.replace('\\', "\\\\").replace('\'', "\\'");
    Ok(format!("\n\\connect -reuse-previous=on {}\n", quoted(&format!("dbname='{value}'"))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_of_databases_are_quoted_for_psql_and_for_its_library() {
        assert_eq!(connect("shop").unwrap(), "\n\\connect -reuse-previous=on \"dbname='shop'\"\n");
        assert_eq!(
            connect("a 'b' \\ \"c\"").unwrap(),
            "\n\\connect -reuse-previous=on \"dbname='a \\'b\\' \\\\ \"\"c\"\"'\"\n"
        );
        assert_eq!(connect("a\nb").unwrap_err().kind, ErrorKind::Unsupported);
    }
}

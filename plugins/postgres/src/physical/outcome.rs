//! Whether what was stored is what the server sent: [`Comparison`]. And what the server itself found wrong: [`damaged_files`].

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_postgres_client::{ServerReport, Severity};
use bulkhead_sdk::{Error, ErrorKind, types::Finding};

use super::{
    incremental::Sum,
    layout,
    manifest::ManifestFile,
    member::{Instead, Received},
};

/// Names that a message lists at most; the rest is counted.
const NAMED: usize = 10;

/// A file that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    size: u64,
    crc: u32,
    instead: Option<Instead>,
}

/// Files that were sent against the manifest. About 110 bytes of memory for each file: 120 MB for a cluster of a million files.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// By path in the manifest; those that it has listed are gone.
    unlisted: BTreeMap<Box<[u8]>, Sent>,
    agreed: u64,
    wrong: Named,
}

/// The first few of many.
#[derive(Debug, Default)]
pub(crate) struct Named {
    names: Vec<String>,
    count: u64,
}

impl Named {
    pub(crate) fn push(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(name());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn list(&self) -> String {
        let more = self.count - self.names.len() as u64;
        let list = self.names.join(", ");
        if more == 0 { list } else { format!("{list} and {more} more") }
    }
}

impl Comparison {
    /// A file was received.
    pub(crate) fn stored(&mut self, file: Received) {
        let sent = Sent {
            size: file.size,
            crc: file.crc,
            instead: file.instead,
        };
        self.unlisted.insert(file.path.into_boxed_slice(), sent);
    }

    /// The manifest lists a file. What is listed in its place comes back, where something else was stored.
    pub(crate) fn listed(&mut self, file: &ManifestFile) -> Option<ManifestFile> {
        let name = || String::from_utf8_lossy(&file.path).into_owned();
        match self.unlisted.remove(file.path.as_slice()) {
            Some(sent) if sent.size == file.size && file.checksum.is(sent.crc) => {
                self.agreed += 1;
                return sent.instead.map(|instead| in_place(file, sent.crc, instead));
            }
            Some(sent) if sent.size != file.size => {
                self.wrong
                    .push(|| format!("{} ({} bytes instead of {})", name(), sent.size, file.size));
            }
            Some(_) => self.wrong.push(|| format!("{} (checksum)", name())),
            None => self.wrong.push(|| format!("{} (missing)", name())),
        }
        None
    }

    /// Files that agree; or an error that names those that don't. The log's segments are not in the manifest.
    pub(crate) fn finish(mut self) -> Result<u64, Error> {
        for path in self.unlisted.keys().filter(|path| layout::below(path, layout::WAL).is_none()) {
            self.wrong
                .push(|| format!("{} (not in the manifest)", String::from_utf8_lossy(path)));
        }
        if self.wrong.is_empty() {
            return Ok(self.agreed);
        }
        let message = format!(
            "{} files differ from the server's backup manifest: {}",
            self.wrong.count,
            self.wrong.list()
        );
        Err(Error::new(ErrorKind::Corrupt, message)
            .with_hint("run the backup again; if it happens again, something between server and vault changes data"))
    }
}

/// What the manifest is to say of a file that was stored in the place of `file`, whose checksum is that of `sent`.
fn in_place(file: &ManifestFile, sent: u32, instead: Instead) -> ManifestFile {
    ManifestFile {
        path: layout::whole(&file.path).unwrap_or_else(|| file.path.clone()),
        size: instead.size,
        checksum: match instead.checksum {
            Sum::Computed(crc) => file.checksum.like(sent, crc),
            Sum::Stated(checksum) => checksum,
        },
    }
}

/// Files with damaged pages, from the warnings that the server sent during the backup. The texts may be translated; the file's name is quoted in all.
pub(crate) fn damaged_files(notices: &[ServerReport]) -> Named {
    let from_backup = |notice: &&ServerReport| {
        notice.severity == Severity::Warning && ["sendFile", "verify_page_checksum"].iter().any(|routine| notice.is_from(routine))
    };
    let files: BTreeSet<&str> = notices
        .iter()
        .filter(from_backup)
        .filter_map(|notice| quoted(&notice.message))
        .collect();
    let mut named = Named::default();
    files.into_iter().for_each(|file| named.push(|| file.to_owned()));
    named
}

/// What is in the first pair of quotation marks of any language.
fn quoted(text: &str) -> Option<&str> {
    const MARKS: [char; 7] = ['"', '«', '»', '„', '“', '”', '‟'];
    let (_, rest) = text.split_once(MARKS)?;
    let (name, _) = rest.split_once(MARKS)?;
    let name = name.trim();
    Some(name.strip_prefix("./").unwrap_or(name))
}

fn damage_message(files: &Named) -> String {
    if files.is_empty() {
        "the server found pages with wrong checksums".into()
    } else {
        format!("the server found pages with wrong checksums in {}", files.list())
    }
}

const DAMAGE_HINT: &str = "find the relation: in the database whose OID follows `base/`, SELECT pg_filenode_relation(0, <last number>); restore it from an \
                           earlier snapshot or rebuild it. `accept-damaged-pages = true` keeps such a backup, with a finding";

/// The failure of a backup with damaged pages.
pub(crate) fn damage_error(files: &Named, report: &ServerReport) -> Error {
    Error::new(ErrorKind::SourceDamaged, damage_message(files))
        .with_cause(report)
        .with_setting("accept-damaged-pages")
        .with_hint(DAMAGE_HINT)
}

/// The same, where the operator accepts it.
pub(crate) fn damage_finding(files: &Named) -> Finding {
    Finding::warning("damaged-pages", damage_message(files))
        .with_hint(DAMAGE_HINT)
        .with_setting("accept-damaged-pages")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bulkhead_sdk::entries::Finished;

    use super::*;
    use crate::physical::manifest::Checksum;

    fn file(path: &str, size: u64, checksum: u32) -> ManifestFile {
        ManifestFile {
            path: path.into(),
            size,
            checksum: Checksum::of(checksum),
        }
    }

    fn received(path: &str, size: u64, crc: u32) -> Received {
        Received {
            path: path.into(),
            size,
            crc,
            instead: None,
            reread: 0,
            finished: Finished::default(),
            head: Vec::new(),
        }
    }

    #[test]
    fn what_was_stored_instead_is_told_only_where_the_server_sent_what_it_says() {
        for (checksum, listed) in [(9, true), (8, false)] {
            let mut comparison = Comparison::default();
            let mut changes = received("base/5/INCREMENTAL.1259", 12, 9);
            changes.instead = Some(Instead {
                size: 8192,
                checksum: Sum::Computed(7),
            });
            comparison.stored(changes);
            let whole = comparison.listed(&file("base/5/INCREMENTAL.1259", 12, checksum));
            assert_eq!(whole, listed.then(|| file("base/5/1259", 8192, 7)));
            assert_eq!(comparison.finish().is_ok(), listed);
        }
    }

    #[test]
    fn the_log_need_not_be_listed_but_all_else() {
        let mut comparison = Comparison::default();
        comparison.stored(received("PG_VERSION", 3, 9));
        comparison.stored(received("pg_wal/000000010000000000000001", 16, 1));
        comparison.listed(&file("PG_VERSION", 3, 9));
        assert_eq!(comparison.finish().unwrap(), 1);

        let mut comparison = Comparison::default();
        for name in ["a", "b", "c"] {
            comparison.stored(received(name, 3, 9));
        }
        comparison.listed(&file("a", 4, 9));
        comparison.listed(&file("b", 3, 8));
        comparison.listed(&file("d", 0, 0));
        let error = comparison.finish().unwrap_err();
        assert_eq!(
            error.message,
            "4 files differ from the server's backup manifest: a (3 bytes instead of 4), b (checksum), d (missing), c (not in the manifest)"
        );
    }

    #[test]
    fn names_are_quoted_in_every_language() {
        assert_eq!(
            quoted(r#"checksum verification failed in file "./base/5/1259", block 3"#),
            Some("base/5/1259")
        );
        assert_eq!(quoted("échec … du fichier « ./base/5/1259 », bloc 3"), Some("base/5/1259"));
        assert_eq!(quoted("Prüfsumme in Datei »base/5/1259«"), Some("base/5/1259"));
        assert_eq!(quoted("nothing"), None);
    }

    #[test]
    fn long_lists_are_counted() {
        let mut named = Named::default();
        (0..12).for_each(|number| named.push(|| number.to_string()));
        assert_eq!(named.list(), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}

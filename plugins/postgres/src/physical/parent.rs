//! What an incremental backup builds on: the last snapshot ([`Parent`]), if it fits and can be trusted; else why the backup is a full one ([`Full`]).
//!
//! The server sends the blocks that its summaries of the log name as changed since the parent began. That is right only if the server's files came from the
//! state that the parent shows, and a server does not know whether they did: one that was set back to an older backup and went on writes the same timeline
//! with other log. For that it had to be stopped. So a parent fits only a server that has not been restarted since ([`Run`]).

use std::{collections::BTreeMap, fmt};

use bulkhead_postgres_client::{ClientError, CopyEvent, Lsn, ServerReport, Session, TimelineId, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, metadata::NodeType, snapshot, types::Finding};

use super::{
    base_backup::is_refusal,
    checkpoint::Checkpoint,
    incremental::{Pages, is_lost},
    layout,
    manifest::{Checksum, ManifestFile, ManifestItem, ManifestReader},
    manifest_writer::ManifestWriter,
    truncations::{RelationFile, Truncations},
};
use crate::{
    config::Incremental,
    connection::Connection,
    server::{Server, bytes},
};

/// The first version that summarizes its log.
pub(crate) const FIRST_MAJOR: u32 = 17;

/// The last snapshot, which fits.
#[derive(Debug)]
pub(crate) struct Parent {
    /// Where it begins.
    pub(crate) start: Lsn,
    sizes: Sizes,
    /// To where relations were cut since.
    truncations: Truncations,
    files: Files,
}

/// By path in the snapshot. About 100 bytes of memory for each.
type Files = BTreeMap<Box<[u8]>, ParentFile>;

/// How the server stores relations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Bytes of a page.
    pub(crate) page: u32,
    /// Pages of a file that has another one behind it.
    pub(crate) segment: u32,
}

impl Sizes {
    /// Asks the server.
    pub(crate) fn of<T: Transport>(session: &mut Session<T>) -> Result<Self> {
        /// PostgreSQL can be built with pages of these sizes, in bytes.
        const PAGES: std::ops::RangeInclusive<u32> = 1 << 10..=32 << 10;
        let page = session.show("block_size")?.parse().ok();
        let page = page.filter(|size: &u32| size.is_power_of_two() && PAGES.contains(size));
        let segment = bytes(&session.show("segment_size")?);
        let sizes = page.zip(segment).and_then(|(page, segment)| {
            let segment = u32::try_from(segment / u64::from(page)).ok()?;
            (segment > 0).then_some(Self { page, segment })
        });
        let unusable = ClientError::Answer {
            command: "SHOW",
            what: "a usable block_size and segment_size",
        };
        sizes.ok_or_else(|| unusable.into())
    }
}

/// A file of the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParentFile {
    pub(crate) size: u64,
    /// As its manifest states it. The log has none.
    pub(crate) checksum: Option<Checksum>,
}

/// Why a backup is a full one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Full {
    /// The config wants it.
    Asked,
    /// The server's version.
    Version(u32),
    /// The server doesn't summarize its log.
    NotSummarized,
    /// There is nothing to build on.
    NoParent,
    /// The last snapshot is another mode's, or a newer plugin's.
    ForeignParent,
    /// It is of another cluster.
    Cluster(u64),
    /// It is of another timeline.
    Timeline(TimelineId),
    /// It has pages that the server found damaged: an incremental backup would neither read nor name them.
    Damaged,
    /// It has lost what it needs to build on.
    Incomplete(String),
    /// It has a file of somebody's own that is called as the server calls what has changed of a relation's: the server would take it for that.
    Named(String),
    /// SQL is closed to the role, so nobody knows whether the server was restarted.
    NoSql(String),
    /// The last snapshot doesn't say of which run it is: then, the server didn't summarize its log, or SQL was closed.
    Unmarked,
    /// It was restarted.
    Restarted,
    /// It doesn't tell to where relations were cut since the last snapshot.
    NoTruncations(String),
    /// The server refuses, and what helps.
    Refused { why: String, hint: Option<String> },
}

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => formatter.write_str("`incremental` is \"never\""),
            Self::Version(major) => write!(formatter, "PostgreSQL {major} does not tell what has changed; {FIRST_MAJOR} does"),
            Self::NotSummarized => formatter.write_str("`summarize_wal` is off on the server"),
            Self::NoParent => formatter.write_str("this run has no snapshot to build on"),
            Self::ForeignParent => formatter.write_str("the last snapshot is not one of mode `physical` that this version knows"),
            Self::Cluster(system) => write!(formatter, "the last snapshot is of another cluster, system {system}"),
            Self::Timeline(timeline) => write!(formatter, "the last snapshot is of timeline {timeline}"),
            Self::Damaged => formatter.write_str("the last snapshot has damaged pages, which only a full backup finds again"),
            Self::Incomplete(what) => write!(formatter, "the last snapshot cannot be built on: {what}"),
            Self::Named(path) => write!(
                formatter,
                "the last snapshot has {path}, which is called as the server calls what has changed of a file"
            ),
            Self::NoSql(why) => write!(
                formatter,
                "only SQL tells whether the server was restarted since the last snapshot, and {why}"
            ),
            Self::Unmarked => formatter.write_str("the last snapshot was taken where an incremental backup could not be had"),
            Self::Restarted => {
                formatter.write_str("the server was restarted since the last snapshot, and may have been set back to an older one")
            }
            Self::NoTruncations(why) => write!(
                formatter,
                "the server does not tell to where relations were cut since the last snapshot: {why}"
            ),
            Self::Refused { why, .. } => write!(formatter, "the server refuses an incremental one: {why}"),
        }
    }
}

impl Full {
    /// What the server says where it refuses.
    pub(crate) fn refused(report: &ServerReport) -> Self {
        // Of what this function says, only missing summaries remain on the server's own timeline, where it has no advice itself.
        let lacks_summaries = report.is_from("PrepareForIncrementalBackup") && report.hint.is_none();
        let ours = lacks_summaries.then(|| KEEP_SUMMARIES.to_owned());
        Self::Refused {
            why: report.message.clone(),
            hint: report.hint.clone().or(ours),
        }
    }

    /// What is worth telling of it; nothing where an incremental backup was not to be expected.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let finding = Finding::info("full-backup", format!("all of the cluster was read: {self}"));
        match self {
            Self::Asked | Self::Version(_) | Self::NotSummarized | Self::NoParent | Self::Unmarked | Self::Damaged => None,
            Self::NoSql(_) => Some(finding.with_hint(SQL_HINT)),
            Self::NoTruncations(_) => Some(finding.with_hint(SUMMARIES_HINT)),
            Self::Named(_) => Some(finding.with_hint("move that file elsewhere: PGDATA is the server's alone")),
            Self::Refused { hint, .. } => Some(Finding {
                hint: hint.clone(),
                ..finding
            }),
            Self::ForeignParent | Self::Cluster(_) | Self::Timeline(_) | Self::Restarted => Some(finding),
            Self::Incomplete(_) => Some(finding.with_hint("`bulkhead verify` tells which snapshots are whole")),
        }
    }
}

/// What keeps the server from refusing.
const KEEP_SUMMARIES: &str = "the next run can be incremental again; where this comes often, raise `wal_summary_keep_time` on the server above the time between two runs";

/// How the role gets at what the server knows of cuts.
pub(crate) const SUMMARIES_HINT: &str = "everybody may call these functions by default; where that was revoked, in database `postgres`: GRANT EXECUTE ON FUNCTION \
     pg_available_wal_summaries(), pg_wal_summary_contents(bigint, pg_lsn, pg_lsn) TO the role";

/// How the role gets at SQL.
pub(crate) const SQL_HINT: &str = "give the role a line for database `postgres` in pg_hba.conf; it needs no rights there";

/// A server's process from its start to its end: when it began by the server's clock, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run(String);

impl Run {
    /// That of the server now. A replication connection that is open before and after is to the same one.
    pub(crate) fn of(sql: &mut Connection) -> Result<Self> {
        let sets = sql.query("SELECT extract(epoch FROM pg_postmaster_start_time())")?;
        let began = sets.first().and_then(|set| set.rows.first()?.first()?.clone());
        Ok(Self(began.ok_or(ClientError::Answer {
            command: "SELECT",
            what: "the time of the server's start",
        })?))
    }

    /// As a checkpoint has it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Whether a backup of this server can be incremental, as far as that doesn't depend on the last snapshot.
pub(crate) fn offered<T: Transport>(incremental: Incremental, server: &Server, session: &mut Session<T>) -> Result<Result<(), Full>> {
    if incremental == Incremental::Never {
        return Ok(Err(Full::Asked));
    }
    if server.major < FIRST_MAJOR {
        return Ok(Err(Full::Version(server.major)));
    }
    Ok(if session.show("summarize_wal")? == "on" {
        Ok(())
    } else {
        Err(Full::NotSummarized)
    })
}

impl Parent {
    /// The parent of a backup of `server` in this `run` of it; `checkpoint` is that of the last snapshot.
    pub(crate) fn find(checkpoint: Option<&[u8]>, server: &Server, run: &Run, sizes: Sizes) -> Result<Result<Self, Full>> {
        let start = match Self::start(checkpoint, server, run) {
            Ok(start) => start,
            Err(why) => return Ok(Err(why)),
        };
        Ok(read_files()?.map(|files| Self {
            start,
            sizes,
            truncations: Truncations::default(),
            files,
        }))
    }

    /// Where the last snapshot begins, if it fits.
    fn start(checkpoint: Option<&[u8]>, server: &Server, run: &Run) -> Result<Lsn, Full> {
        let parent = Checkpoint::read(checkpoint.ok_or(Full::NoParent)?).ok_or(Full::ForeignParent)?;
        if parent.system_identifier != server.identity.system_identifier {
            return Err(Full::Cluster(parent.system_identifier));
        }
        if parent.timeline() != server.identity.timeline {
            return Err(Full::Timeline(parent.timeline()));
        }
        if parent.run().ok_or(Full::Unmarked)? != run.text() {
            return Err(Full::Restarted);
        }
        if parent.is_damaged() {
            return Err(Full::Damaged);
        }
        parent.start().ok_or(Full::ForeignParent)
    }

    /// Gives the server the parent's manifest. It knows from it where the parent begins and which files it has, and sends whole what it doesn't find there.
    ///
    /// Visibility maps are not to be found: PostgreSQL's log does not name their blocks where bits are cleared (seen with 17.10), so its summaries lack them, and a map that
    /// says more than is true makes queries wrong. They are small: 32 KiB for 1 GiB of rows.
    pub(crate) fn upload<T: Transport>(session: &mut Session<T>) -> Result<Result<(), Full>> {
        session.start("UPLOAD_MANIFEST")?;
        loop {
            match session.next_event() {
                Ok(CopyEvent::CopyIn) => {}
                Ok(CopyEvent::Ready) => return Ok(Ok(())),
                Ok(_) => continue,
                Err(ClientError::Server(report)) if is_refusal(&report) => return Ok(Err(Full::refused(&report))),
                Err(error) => return Err(error.into()),
            }
            send_manifest(session)?;
        }
    }

    /// What it has at a path of the snapshot.
    pub(crate) fn file(&self, path: &[u8]) -> Option<ParentFile> {
        self.files.get(path).copied()
    }

    /// The same, less what was cut off since.
    pub(crate) fn without(self, truncations: Truncations) -> Self {
        Self { truncations, ..self }
    }

    /// What is known of a file's pages.
    pub(crate) fn pages(&self, file: RelationFile) -> Pages {
        Pages {
            size: self.sizes.page,
            segment: self.sizes.segment,
            uncut: self.truncations.uncut(file, self.sizes.segment),
        }
    }
}

/// Sends the parent's manifest with other names for files that the server is to send whole.
fn send_manifest<T: Transport>(session: &mut Session<T>) -> Result<()> {
    let mut stored = snapshot::open(layout::MANIFEST)?;
    let (mut reader, mut writer) = (ManifestReader::default(), ManifestWriter::default());
    while let Some(part) = stored.read_bytes(BEST_TRANSFER)? {
        let mut sent = Vec::with_capacity(part.len());
        reader.feed_lines(&part, |line, item| {
            let renamed = match item {
                Some(ManifestItem::File(file)) if layout::is_visibility_map(&file.path) => Some(ManifestFile {
                    path: [&file.path[..], b".whole"].concat(),
                    ..file
                }),
                _ => None,
            };
            sent.extend(writer.line(line, renamed.as_ref()));
            Ok::<_, Error>(())
        })?;
        session.copy_data(&sent)?;
    }
    Ok(session.copy_done()?)
}

/// All files of the parent that its manifest lists, each there and as long as it says.
fn read_files() -> Result<Result<Files, Full>> {
    let read = list_files().and_then(|mut files| Ok(read_manifest(&mut files)?.map(|()| files)));
    let files = read.or_else(|error| incomplete(error).map(Err))?;
    Ok(files.and_then(|files| match files.keys().find(|path| is_named_as_changes(path)) {
        Some(path) => Err(Full::Named(String::from_utf8_lossy(path).into_owned())),
        None => Ok(files),
    }))
}

/// Whether the server would take a file of the parent for what has changed of a relation's.
fn is_named_as_changes(path: &[u8]) -> bool {
    layout::whole(path).is_some_and(|whole| RelationFile::of(&whole).is_some())
}

/// An error that the same snapshot gives tomorrow, too. Any other is no reason to read everything: it fails the run.
fn incomplete(error: Error) -> Result<Full> {
    if is_lost(&error) || error.kind == ErrorKind::Unsupported {
        Ok(Full::Incomplete(error.to_string()))
    } else {
        Err(error)
    }
}

fn list_files() -> Result<Files> {
    let mut files = Files::new();
    for entry in snapshot::walk("")? {
        let entry = entry?;
        if entry.metadata.node_type == NodeType::File {
            let file = ParentFile {
                size: entry.size,
                checksum: None,
            };
            files.insert(entry.path.into_boxed_slice(), file);
        }
    }
    Ok(files)
}

fn read_manifest(files: &mut Files) -> Result<Result<(), Full>> {
    let mut lacking = None;
    let mut reader = snapshot::open(layout::MANIFEST)?;
    let mut manifest = ManifestReader::default();
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        manifest.feed(&part, |item| {
            let ManifestItem::File(file) = item else { return Ok(()) };
            let path = layout::from_manifest(&file.path);
            match files.get_mut(path.as_slice()) {
                Some(known) if known.size == file.size => known.checksum = Some(file.checksum),
                _ => lacking = Some(String::from_utf8_lossy(&path).into_owned()),
            }
            Ok::<_, Error>(())
        })?;
    }
    manifest.finish()?;
    Ok(match lacking {
        Some(path) => Err(Full::Incomplete(format!("{path} is not what its manifest says"))),
        None => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use bulkhead_postgres_client::Severity;

    use super::*;

    #[test]
    fn a_refusal_comes_with_the_servers_advice_or_with_ours_where_summaries_are_missing() {
        let hint = |routine: &str, hint: Option<&str>| {
            let report = ServerReport {
                severity: Severity::Error,
                code: "55000".into(),
                message: "no".into(),
                detail: None,
                hint: hint.map(str::to_owned),
                context: None,
                routine: Some(routine.into()),
            };
            Full::refused(&report).finding().and_then(|finding| finding.hint)
        };
        assert_eq!(hint("PrepareForIncrementalBackup", None).as_deref(), Some(KEEP_SUMMARIES));
        assert_eq!(hint("PrepareForIncrementalBackup", Some("wait")).as_deref(), Some("wait"));
        assert_eq!(hint("WaitForWalSummarization", None), None);
    }

    #[test]
    fn what_passes_by_itself_does_not_make_a_backup_full() {
        for (kind, is_full) in [
            (ErrorKind::Corrupt, true),
            (ErrorKind::NotFound, true),
            (ErrorKind::Unsupported, true),
            (ErrorKind::TimedOut, false),
            (ErrorKind::Unreachable, false),
            (ErrorKind::ConnectionLost, false),
            (ErrorKind::Cancelled, false),
            (ErrorKind::Io, false),
        ] {
            assert_eq!(incomplete(Error::new(kind, "x")).is_ok(), is_full, "{kind:?}");
        }
    }
}

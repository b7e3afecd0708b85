//! Log that the server hands over, file by file: [`backup`] is what `bulkhead wal-push` runs as `archive_command`.
//!
//! The host names the files: the one that the server asks about, and others that are ready, so that one commit takes several; none that is stored already. They
//! lie in the granted directory, which is the server's `pg_wal`. What comes of them is a snapshot as streaming makes it, so that all that reads a log reads this one.

use bulkhead_postgres_client::TimelineId;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Folder},
    source::{BackupRequest, BackupResult},
};

use super::{
    archive::{Archive, Cluster, MAX_SEGMENT},
    checkpoint::Checkpoint,
    layout,
};
use crate::{
    config::Config,
    segment::{self, FirstPage, HEAD, SegmentName},
};

/// The grant for the server's `pg_wal`.
pub(crate) const GRANT: &str = "log";

/// What a file of the log is.
enum Kind {
    Segment,
    /// The last segment of a timeline that ended, of which another timeline has the rest.
    Partial,
    History(TimelineId),
    /// Where a base backup began and ended, for people.
    Label,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        if let Some(timeline) = layout::history_timeline(name) {
            return Some(Self::History(timeline));
        }
        let is_segment = |name: &str| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        match name.strip_suffix(layout::PARTIAL_SUFFIX) {
            Some(segment) => is_segment(segment).then_some(Self::Partial),
            None if is_segment(name) => Some(Self::Segment),
            None => layout::is_label(name).then_some(Self::Label),
        }
    }
}

/// Stores the files that `config.push` names.
pub(crate) fn backup(config: &Config, request: &BackupRequest) -> Result<BackupResult> {
    let folder = directory::open(GRANT)?;
    let mut archive = match request.checkpoint.as_deref().map(Checkpoint::read).transpose()? {
        Some(checkpoint) => {
            let mut archive = Archive::resume(&checkpoint)?;
            config.expire_before()?.map_or(Ok(()), |limit| archive.expire(limit))?;
            archive
        }
        None => begin(config, &folder)?,
    };
    for name in &config.push {
        store(&mut archive, &folder, name).context(|| format!("storing {name} failed"))?;
    }
    archive.finish(Vec::new())
}

/// A log that begins with the first segment that is handed over; where there is none, with what the server has. Whose it is, segments say.
fn begin(config: &Config, folder: &Folder) -> Result<Archive> {
    let handed = config.push.iter().find(|name| matches!(Kind::of(name), Some(Kind::Segment)));
    let name = match handed {
        Some(name) => name.clone(),
        None => newest_segment(folder)?,
    };
    let file = folder.open_file(&name, directory::OpenMode::Read)?;
    let head = file.read_at(0, HEAD)?.unwrap_or_default();
    let size = file.stat()?.size;
    let page = FirstPage::read(&head, size).filter(|_| segment::is_segment_size(size));
    let cluster = Cluster {
        system_identifier: page.ok_or_else(|| not_a_segment(&name))?.system_identifier,
        segment_size: size,
    };
    let segment = SegmentName::parse(name.as_bytes(), size).ok_or_else(|| not_a_segment(&name))?;
    Archive::begin(cluster, config.slot(), segment.start(size), segment.timeline)
}

/// The name of the last segment that the server has.
pub(crate) fn newest_segment(folder: &Folder) -> Result<String> {
    let mut newest = None;
    for entry in folder.list("")? {
        let name = String::from_utf8_lossy(&entry?.name).into_owned();
        if matches!(Kind::of(&name), Some(Kind::Segment)) {
            newest = newest.max(Some(name));
        }
    }
    newest.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "there is no segment of a log in `directory.log`").with_hint("grant the `pg_wal` of the server")
    })
}

fn store(archive: &mut Archive, folder: &Folder, name: &str) -> Result<()> {
    let limit = usize::try_from(MAX_SEGMENT).unwrap_or(usize::MAX);
    let kind = Kind::of(name).ok_or_else(|| not_a_segment(name))?;
    let content = folder.read(name, limit)?;
    let size = archive.cluster.segment_size;
    let segment = SegmentName::parse(name.get(..24).unwrap_or_default().as_bytes(), size);
    match (kind, segment) {
        (Kind::History(timeline), _) => archive.add_history(timeline, &String::from_utf8_lossy(&content)),
        (Kind::Label, Some(_)) => archive.add_file(&layout::label(name), &content),
        (Kind::Partial, Some(segment)) => {
            archive.is_of_it(segment, &content)?;
            archive.add_file(&layout::partial(name), &content)
        }
        (Kind::Segment, Some(segment)) => {
            let written = folder.stat(name)?.modified;
            archive.put(segment, &content, written.seconds)
        }
        (_, None) => Err(not_a_segment(name)),
    }
}

fn not_a_segment(name: &str) -> Error {
    Error::new(
        ErrorKind::SourceDamaged,
        format!("{name} is no file of a log that PostgreSQL wrote"),
    )
    .with_hint("archive_command has the path: `bulkhead wal-push PIPELINE %p`")
}

//! Where things are in a snapshot of the log.

use bulkhead_postgres_client::{Lsn, TimelineId};

use crate::segment::SegmentName;

/// Segments and history files.
pub(crate) const WAL: &str = "wal";
/// Segments of which only the beginning is there.
pub(crate) const PARTIAL: &str = "partial";
/// What their names end in, as `pg_receivewal` calls them.
pub(crate) const PARTIAL_SUFFIX: &str = ".partial";

/// Digits of a segment's name that name its folder: timeline, and the upper half of its number.
const FOLDER_DIGITS: usize = 16;

/// The entry of a whole segment.
pub(crate) fn segment(name: SegmentName, segment_size: u64) -> String {
    let file = name.file_name(segment_size);
    format!("{WAL}/{}/{file}", &file[..FOLDER_DIGITS])
}

/// The file name of a partial segment.
pub(crate) fn partial_name(name: SegmentName, segment_size: u64) -> String {
    format!("{}{PARTIAL_SUFFIX}", name.file_name(segment_size))
}

/// The entry of a partial segment.
pub(crate) fn partial(file: &str) -> String {
    format!("{PARTIAL}/{file}")
}

/// The file name of a timeline's history.
pub(crate) fn history_name(timeline: TimelineId) -> String {
    format!("{:08X}.history", timeline.0)
}

/// The entry of a timeline's history.
pub(crate) fn history(timeline: TimelineId) -> String {
    format!("{WAL}/{}", history_name(timeline))
}

/// The timeline whose history a file has.
pub(crate) fn history_timeline(file: &str) -> Option<TimelineId> {
    let digits = file.strip_suffix(".history").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().map(TimelineId)
}

/// Whether a file is the label of a base backup, which PostgreSQL archives with the log: a segment's name, and the offset in it.
pub(crate) fn is_label(file: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = file.strip_suffix(".backup").and_then(|name| name.split_once('.'));
    parts.is_some_and(|(segment, offset)| digits(segment, 24) && digits(offset, 8))
}

/// The entry of such a label, beside its segment.
pub(crate) fn label(file: &str) -> String {
    format!("{WAL}/{}/{file}", &file[..FOLDER_DIGITS])
}

/// Where the log in the folder called `name` begins; that of a segment's file is its folder's. `None` for what is neither.
pub(crate) fn folder_start(name: &str) -> Option<Lsn> {
    let digits = name
        .get(..FOLDER_DIGITS)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(&digits[8..], 16).ok().map(|log| Lsn(log << 32))
}

/// Where the folder begins that has this position.
pub(crate) fn folder_of(position: Lsn) -> Lsn {
    Lsn(position.0 >> 32 << 32)
}

/// Where it ends, exclusive.
pub(crate) fn folder_end(name: &str) -> Option<Lsn> {
    folder_start(name).map(|start| Lsn(start.0.saturating_add(1 << 32)))
}

/// The last component of a path.
pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_postgres_own() {
        let name = SegmentName {
            number: 0x1FE,
            timeline: TimelineId(2),
        };
        assert_eq!(segment(name, 16 << 20), "wal/0000000200000001/0000000200000001000000FE");
        assert_eq!(partial(&partial_name(name, 16 << 20)), "partial/0000000200000001000000FE.partial");
        assert_eq!(history(TimelineId(18)), "wal/00000012.history");
        assert_eq!(history_timeline("00000012.history"), Some(TimelineId(18)));
        assert_eq!(history_timeline("12.history"), None);
        assert_eq!(file_name(b"wal/a/b"), b"b");
        let backup = "000000010000000000000002.00000028.backup";
        assert!(is_label(backup) && !is_label("000000010000000000000002") && !is_label("00000002.history"));
        assert_eq!(label(backup), format!("wal/0000000100000000/{backup}"));
        assert_eq!(folder_end("0000000200000001"), Some(Lsn(2 << 32)));
        assert_eq!(folder_start("000000020000000100000012.partial"), Some(Lsn(1 << 32)));
        assert_eq!(folder_start("00000012.history"), None);
        assert_eq!(
            (folder_of(Lsn(2 << 32)), folder_of(Lsn((2 << 32) - 1))),
            (Lsn(2 << 32), Lsn(1 << 32))
        );
    }
}

//! What a recovering server's `restore_command` reads: [`fetch_log`].

use bulkhead_config::Pipeline;
use bulkhead_model::EntryPath;

use super::{
    RecoveryError,
    stated::{Stated, lsn, short},
};
use crate::{
    browse::{Content, OpenSnapshot, SnapshotError, open_snapshot},
    operation::Operation,
    push::is_none_yet,
};

/// What a recovery needs of a log, as [`RecoverySpan::from`] and `to` positions such as `16/B374D848`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverySpan {
    /// Where the base backup begins.
    pub from: String,
    /// Where the log ended when the recovery was planned.
    pub to: String,
}

/// Opens a snapshot of the log `wal`. Where it was forgotten since the recovery was planned that needs `span`, the newest is opened, if it has all of that; the
/// caller sees by its id that it is another one.
///
/// # Errors
/// See [`RecoveryError`]. A log that was begun anew lacks what the recovery needs, and would look as if it ended early.
pub async fn open_log(
    operation: &Operation,
    wal: &Pipeline,
    selector: &str,
    span: Option<&RecoverySpan>,
) -> Result<OpenSnapshot, RecoveryError> {
    match (open_snapshot(operation, wal, selector).await, span) {
        (Err(error), Some(span)) if is_none_yet(&error) => {
            let newest = open_snapshot(operation, wal, "latest").await?;
            let record = newest.reader().record().await.map_err(SnapshotError::from)?;
            let stated = Stated::of_log(&newest.id(), record.as_ref().map(|record| &record.proof))?;
            covers(&stated, selector, span).map(|()| newest)
        }
        (opened, _) => Ok(opened?),
    }
}

/// Whether a log has what a recovery needs that was planned with the snapshot `forgotten`.
fn covers(newest: &Stated, forgotten: &str, span: &RecoverySpan) -> Result<(), RecoveryError> {
    if newest.start <= lsn(&span.from)? && lsn(&span.to)? <= newest.end {
        return Ok(());
    }
    Err(RecoveryError::Forgotten {
        snapshot: short(forgotten),
        newest: newest.told(),
        from: span.from.clone(),
        to: span.to.clone(),
    })
}

/// Whether a segment of which only the beginning is stored will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPart {
    /// It will: it is padded to its size, and where nothing follows it is the end of the log.
    Partial,
    /// It won't.
    Whole,
}

/// A file of the log, as a recovering server asks for it by name.
///
/// # Errors
/// See [`SnapshotError`]; a file that the log doesn't have is `None`.
pub async fn fetch_log(snapshot: &OpenSnapshot, file: &str, part: LogPart) -> Result<Option<Content>, SnapshotError> {
    let places = places(file);
    let count = if part == LogPart::Whole { 1 } else { places.len() };
    for path in places.into_iter().take(count) {
        let Ok(path) = EntryPath::new(path.as_bytes()) else { continue };
        match snapshot.content(&path).await {
            Ok(content) => return Ok(Some(content)),
            Err(SnapshotError::Read(error)) if matches!(*error, bulkhead_vault::ReadError::NoSuchEntry { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether PostgreSQL gives such a name to a file of its log: a segment or the beginning of one, a timeline's history, a base backup's label.
#[must_use]
pub fn is_log_file(file: &str) -> bool {
    !places(file).is_empty()
}

/// Where the plugin puts a file of that name; nowhere for what is no part of a log.
fn places(file: &str) -> Vec<String> {
    /// Digits of a segment's name that name its folder.
    const FOLDER_DIGITS: usize = 16;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let beside_segments = || format!("wal/{}/{file}", &file[..FOLDER_DIGITS]);
    match file.split_once('.') {
        None if digits(file, 24) => vec![beside_segments(), format!("partial/{file}.partial")],
        Some((segment, "partial")) if digits(segment, 24) => vec![format!("partial/{file}")],
        Some((timeline, "history")) if digits(timeline, 8) => vec![format!("wal/{file}")],
        Some((segment, label)) if digits(segment, 24) && label.strip_suffix(".backup").is_some_and(|offset| digits(offset, 8)) => {
            vec![beside_segments()]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_begun_anew_does_not_stand_in_for_another() {
        let span = RecoverySpan {
            from: "0/200".to_owned(),
            to: "0/900".to_owned(),
        };
        for (start, end, covered) in [
            (0x200, 0x900, true),
            (0x100, 0xA00, true),
            (0x201, 0xA00, false),
            (0x100, 0x8FF, false),
        ] {
            let newest = Stated::example("newest", start, end, 900);
            assert_eq!(covers(&newest, "forgotten", &span).is_ok(), covered, "{start:X} to {end:X}");
        }
    }

    #[test]
    fn files_of_a_log_have_their_places() {
        assert_eq!(
            places("0000000100000000000000A3"),
            [
                "wal/0000000100000000/0000000100000000000000A3",
                "partial/0000000100000000000000A3.partial"
            ]
        );
        assert_eq!(places("00000002.history"), ["wal/00000002.history"]);
        assert_eq!(
            places("0000000100000000000000A3.partial"),
            ["partial/0000000100000000000000A3.partial"]
        );
        let label = "000000010000000000000002.00000028.backup";
        assert_eq!(places(label), [format!("wal/0000000100000000/{label}")]);
        for other in [
            "",
            "../../etc/passwd",
            "000000010000000000000002.x.backup",
            "2.history",
            "00000001000000000000000G",
        ] {
            assert!(places(other).is_empty(), "{other}");
        }
    }
}

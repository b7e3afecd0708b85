//! What a recovering server's `restore_command` reads: [`fetch_log`].

use bulkhead_model::EntryPath;

use crate::browse::{Content, OpenSnapshot, SnapshotError};

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

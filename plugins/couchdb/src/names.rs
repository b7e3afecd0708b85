//! Names of databases and documents as paths of entries and of URLs.

use std::fmt::Write as _;

use bulkhead_sdk::digest::{Algorithm, digest};

/// The longest component that is readable as it is; a component of an entry may have 255 bytes, and suffixes have to fit.
const LONGEST: usize = 200;
/// What is left of the beginning of a longer one, before its SHA-256.
const KEPT: usize = 150;

/// What every design document's id begins with.
pub(crate) const DESIGN: &str = "_design/";
/// What every local document's id begins with.
pub(crate) const LOCAL: &str = "_local/";

/// How many levels of folders the documents of a database are spread over: restic keeps a folder as one object, which each change in it writes anew.
pub(crate) fn levels(documents: u64) -> u8 {
    match documents {
        0..=1_000 => 0,
        1_001..=250_000 => 1,
        _ => 2,
    }
}

/// A name as one component of a path: readable, and no two names alike.
pub(crate) fn component(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (position, letter) in name.char_indices() {
        match letter {
            '/' | '%' | '\\' | '\u{7f}' => escape(&mut encoded, letter),
            '.' if position == 0 => escape(&mut encoded, letter),
            letter if letter.is_control() => escape(&mut encoded, letter),
            letter => encoded.push(letter),
        }
    }
    if encoded.len() <= LONGEST {
        return encoded;
    }
    let mut end = KEPT;
    while !encoded.is_char_boundary(end) {
        end -= 1;
    }
    encoded.truncate(end);
    encoded.push('~');
    encoded.push_str(&hex(&digest(Algorithm::Sha256, name.as_bytes())));
    encoded
}

/// The name that became a component; `None` of one that is told by its SHA-256.
pub(crate) fn name(component: &str) -> Option<String> {
    let is_digest = |end: &str| end.len() == 64 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    if component.rsplit_once('~').is_some_and(|(_, end)| is_digest(end)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A segment of a URL's path, or a value in its query.
pub(crate) fn url(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

/// A document's id in a URL: the slash behind `_design` and `_local` is one.
pub(crate) fn document_url(id: &str) -> String {
    for prefix in [DESIGN, LOCAL] {
        if let Some(name) = id.strip_prefix(prefix) {
            return format!("{prefix}{}", url(name));
        }
    }
    url(id)
}

/// The folder of a database.
pub(crate) fn folder(database: &str) -> String {
    format!("databases/{}", component(database))
}

/// The entry of a document.
pub(crate) fn document(folder: &str, id: &str, levels: u8) -> String {
    match id.strip_prefix(DESIGN) {
        Some(name) => format!("{folder}/design/{}.json", component(name)),
        None => format!("{folder}/documents/{}{}.json", spread(id, levels), component(id)),
    }
}

/// The folder of a document's attachments.
pub(crate) fn attachments(folder: &str, id: &str, levels: u8) -> String {
    format!("{folder}/attachments/{}{}", spread(id, levels), component(id))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The folders between: `""`, `"3f/"`, `"3f/a1/"`.
fn spread(id: &str, levels: u8) -> String {
    // FNV-1a: the same for ever, and no secret: whoever chooses ids that fall into one folder makes that one large.
    let hash = id
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let bytes = hash.to_be_bytes();
    (0..usize::from(levels)).fold(String::new(), |mut path, level| {
        let _ = write!(path, "{:02x}/", bytes[3 - level]);
        path
    })
}

fn escape(into: &mut String, letter: char) {
    let mut buffer = [0; 4];
    for byte in letter.encode_utf8(&mut buffer).bytes() {
        let _ = write!(into, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart_and_paths_stay_paths() {
        assert_eq!(component("plain-id:7"), "plain-id:7");
        assert_eq!(component("a/b%2F c\n"), "a%2Fb%252F c%0A");
        assert_eq!(component(".."), "%2E.");
        assert_eq!(component("ü.txt"), "ü.txt");
        let long = |last: char| component(&format!("{}{last}", "ü".repeat(300)));
        assert_ne!(long('a'), long('b'));
        assert_eq!(name(&long('a')), None);
        for plain in ["plain-id:7", "a/b%2F c\n", "..", "ü.txt", "\\x~y"] {
            assert_eq!(name(&component(plain)).as_deref(), Some(plain));
        }
        assert!(long('a').len() <= 215, "{}", long('a').len());
    }

    #[test]
    fn urls_have_the_slash_of_design_documents_only() {
        assert_eq!(document_url("_design/a/b"), "_design/a%2Fb");
        assert_eq!(document_url("a/b ü"), "a%2Fb%20%C3%BC");
        assert_eq!(document_url("_local/x"), "_local/x");
    }

    #[test]
    fn documents_are_spread_by_their_number() {
        assert_eq!(document("databases/x", "doc1", levels(9)), "databases/x/documents/doc1.json");
        assert_eq!(document("databases/x", "doc1", levels(9_000)).matches('/').count(), 4);
        assert_eq!(attachments("databases/x", "doc1", 2).matches('/').count(), 5);
        assert_eq!(document("databases/x", "_design/app", 2), "databases/x/design/app.json");
    }
}

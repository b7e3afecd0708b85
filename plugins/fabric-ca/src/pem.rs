//! The blocks of a PEM file: [`blocks`]. Text before, between and after them is passed over, as Go's parser does.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What every block begins with.
pub(crate) const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// Characters of a line.
const LINE: usize = 64;

/// One block.
pub(crate) struct Block {
    /// `CERTIFICATE`, `PRIVATE KEY`, …
    pub(crate) label: String,
    /// `None` where its text is no Base64.
    pub(crate) der: Option<Vec<u8>>,
    /// Whether a password is needed to read it, as its first lines say.
    pub(crate) is_encrypted: bool,
}

/// One block as text.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines = body.as_bytes().chunks(LINE).map(String::from_utf8_lossy);
    let body: String = lines.flat_map(|line| [line, "\n".into()]).collect();
    format!("{BEGIN}{label}{DASHES}\n{body}-----END {label}{DASHES}\n")
}

/// All blocks in order; one that does not end is not among them. What is around them may be in any encoding.
pub(crate) fn blocks(text: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(text);
    let mut rest = &text[..];
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once(BEGIN) {
        rest = after;
        let Some((label, body)) = after.split_once(DASHES) else { break };
        if label.contains('\n') {
            continue;
        }
        let Some((body, after)) = body.split_once(&format!("-----END {label}-----")) else {
            continue;
        };
        let is_encrypted = label.starts_with("ENCRYPTED") || body.contains(",ENCRYPTED");
        let body: String = body.split_whitespace().collect();
        found.push(Block {
            label: label.to_owned(),
            der: STANDARD.decode(body).ok(),
            is_encrypted,
        });
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text =
            b"Bag\n-----BEGIN A-----\nAAEC\n-----END A-----\nx\n-----BEGIN B C-----\n!\n-----END B C-----\n-----BEGIN D-----\nAAEC\n";
        let found: Vec<_> = blocks(text).into_iter().map(|block| (block.label, block.der)).collect();
        assert_eq!(found, [("A".to_owned(), Some(vec![0, 1, 2])), ("B C".to_owned(), None)]);
        assert!(blocks(b"\xff\xfe").is_empty());
        let text = b"friendlyName: \xddivn\xfd\r\n-----BEGIN A-----\r\nAAEC\r\n-----END A-----\r\n";
        assert_eq!(
            blocks(text)[0].der.as_deref(),
            Some(&[0, 1, 2][..]),
            "another encoding, another line's end"
        );
        let text = encode("A", &[7; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(blocks(text.as_bytes())[0].der.as_deref(), Some(&[7; 100][..]));
    }
}

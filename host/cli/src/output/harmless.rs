//! Text that others wrote (names in a vault, words of a plugin or a server) made fit for a terminal: nothing in it moves the cursor, erases, hides or reorders.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
};

/// A name on one line. What is no character of a line is told as an escape, and so are bytes that are no UTF-8; a backslash stays one, because names have it.
pub(crate) fn shown(bytes: impl AsRef<[u8]>) -> String {
    let mut told = String::new();
    for chunk in bytes.as_ref().utf8_chunks() {
        chunk
            .valid()
            .chars()
            .for_each(|character| push(&mut told, character, is_harmful(character)));
        for byte in chunk.invalid() {
            append(&mut told, &format_args!("\\x{byte:02x}"));
        }
    }
    told
}

/// Output of several lines: as [`shown`], but for line breaks, tabs and the colours that this program gives its own words.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful_in_lines) {
        return text.into();
    }
    let mut told = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let (next, after) = rest.split_at(colour(rest).unwrap_or(character.len_utf8()));
        if next.len() > character.len_utf8() {
            told.push_str(next);
        } else {
            push(&mut told, character, is_harmful_in_lines(character));
        }
        rest = after;
    }
    told.into()
}

fn push(told: &mut String, character: char, escaped: bool) {
    if escaped {
        append(told, &character.escape_default());
    } else {
        told.push(character);
    }
}

fn append(told: &mut String, what: &dyn Display) {
    // Into memory, which does not fail.
    let _ = write!(told, "{what}");
}

fn is_harmful_in_lines(character: char) -> bool {
    !matches!(character, '\n' | '\t') && is_harmful(character)
}

/// Control characters, what some take for the end of a line, and what reorders the characters around it.
fn is_harmful(character: char) -> bool {
    character.is_control() || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes of the colour that `text` begins with: bold, faint, italic, underlined, or one that is seen on any ground. Nothing that hides.
fn colour(text: &str) -> Option<usize> {
    const BEGIN: &str = "\x1b[";
    let (codes, _) = text.strip_prefix(BEGIN)?.split_once('m')?;
    let is_seen = |code: &str| matches!(code.parse::<u8>(), Ok(0..=4 | 31..=37 | 39 | 91..=97));
    codes.split(';').all(is_seen).then_some(BEGIN.len() + codes.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line_and_shows_what_it_is() {
        assert_eq!(shown("plain/\\x2d/日本語 e\u{301}"), "plain/\\x2d/日本語 e\u{301}");
        assert_eq!(shown(b"a\x1b[2K\r\nb\xff\xfe"), r"a\u{1b}[2K\r\nb\xff\xfe");
        assert_eq!(shown("gpj.\u{202e}exe\u{85}\u{2028}"), r"gpj.\u{202e}exe\u{85}\u{2028}");
    }

    #[test]
    fn lines_keep_their_colours_and_nothing_else() {
        let ours = "\x1b[1m\x1b[91merror\x1b[0m\x1b[1m: so\x1b[0m\n\tand so \x1b[1;31m!\x1b[0m";
        assert_eq!(lines(ours), ours);
        for (hostile, told) in [
            ("\x1b[2K\x1b[1Gx", r"\u{1b}[2K\u{1b}[1Gx"),
            ("\x1b[8mhidden", r"\u{1b}[8mhidden"),
            ("\x1b]0;title\x07", r"\u{1b}]0;title\u{7}"),
            ("\x1b[1;8m", r"\u{1b}[1;8m"),
            ("\x1b[m", r"\u{1b}[m"),
            ("\r\u{9b}2K", r"\r\u{9b}2K"),
        ] {
            assert_eq!(lines(hostile), told);
        }
    }
}

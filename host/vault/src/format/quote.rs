//! Names in trees, which are any bytes, in JSON, which is Unicode: Go's `strconv.Quote` without its quotation marks.

/// Writes a name: printable characters stand for themselves, all else is escaped.
pub(crate) fn quote(name: &[u8]) -> String {
    let mut quoted = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push_character(&mut quoted, character));
        chunk
            .invalid()
            .iter()
            .for_each(|byte| push_hex(&mut quoted, 'x', u32::from(*byte), 2));
    }
    quoted
}

fn push_character(quoted: &mut String, character: char) {
    match character {
        '"' | '\\' => {
            quoted.push('\\');
            quoted.push(character);
        }
        ' '..='~' => quoted.push(character),
        '\x07' => quoted.push_str("\\a"),
        '\x08' => quoted.push_str("\\b"),
        '\x0c' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\x0b' => quoted.push_str("\\v"),
        '\0'..='\x1f' | '\x7f' => push_hex(quoted, 'x', u32::from(character), 2),
        _ if is_printable(character) => quoted.push(character),
        '\0'..='\u{ffff}' => push_hex(quoted, 'u', u32::from(character), 4),
        _ => push_hex(quoted, 'U', u32::from(character), 8),
    }
}

/// Letters, marks, numbers, punctuation and symbols. Rust's `escape_debug` draws the same line as Go's `IsPrint`, except for combining marks at the
/// beginning of a string: hence the letter in front.
fn is_printable(character: char) -> bool {
    let mut text = String::from('a');
    text.push(character);
    text.escape_debug().nth(1) == Some(character)
}

fn push_hex(quoted: &mut String, letter: char, value: u32, digits: u32) {
    quoted.push('\\');
    quoted.push(letter);
    for position in (0..digits).rev() {
        quoted.push(char::from_digit((value >> (4 * position)) & 15, 16).unwrap_or('0'));
    }
}

/// Reads a name as Go's `strconv.Unquote` does.
pub(crate) fn unquote(quoted: &str) -> Result<Vec<u8>, String> {
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = if byte == b'\\' {
            unescape(after, &mut name).ok_or_else(|| format!("the name {quoted:?} is malformed"))?
        } else {
            name.push(byte);
            after
        };
    }
    Ok(name)
}

/// Reads what follows a backslash; returns what is behind it.
fn unescape<'q>(escape: &'q [u8], name: &mut Vec<u8>) -> Option<&'q [u8]> {
    let (&letter, after) = escape.split_first()?;
    let simple = match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' | b'\'' => letter,
        b'x' => return byte_escape(after, 2, 16, name),
        b'0'..=b'7' => return byte_escape(escape, 3, 8, name),
        b'u' => return character_escape(after, 4, name),
        b'U' => return character_escape(after, 8, name),
        _ => return None,
    };
    name.push(simple);
    Some(after)
}

fn number(text: &[u8], digits: usize, radix: u32) -> Option<(u32, &[u8])> {
    let (digits, after) = text.split_at_checked(digits)?;
    let digits = str::from_utf8(digits).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    Some((u32::from_str_radix(digits, radix).ok()?, after))
}

fn byte_escape<'q>(text: &'q [u8], digits: usize, radix: u32, name: &mut Vec<u8>) -> Option<&'q [u8]> {
    let (value, after) = number(text, digits, radix)?;
    name.push(u8::try_from(value).ok()?);
    Some(after)
}

fn character_escape<'q>(text: &'q [u8], digits: usize, name: &mut Vec<u8>) -> Option<&'q [u8]> {
    let (value, after) = number(text, digits, 16)?;
    name.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(after)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_written_as_go_writes_them() {
        for (name, quoted) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            (b"quote\"back\\slash", "quote\\\"back\\\\slash"),
            (b"tab\tnewline\nbell\x07", "tab\\tnewline\\nbell\\a"),
            (b"\x01\x7f", "\\x01\\x7f"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("grüße 日本 e\u{301}".as_bytes(), "grüße 日本 e\u{301}"),
            ("\u{200b}\u{e000}\u{f0000}\u{a0}".as_bytes(), "\\u200b\\ue000\\U000f0000\\u00a0"),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
        ] {
            assert_eq!(quote(name), quoted);
            assert_eq!(unquote(quoted).unwrap(), name);
        }
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unquote(&quote(&all)).unwrap(), all);
    }

    #[test]
    fn malformed_names_are_refused() {
        for bad in ["\\", "\\q", "\\x1", "\\xg0", "\\u12", "\\ud800", "\\U00110000", "\\400", "\\x+1"] {
            assert!(unquote(bad).is_err(), "{bad}");
        }
        assert_eq!(unquote("\\101").unwrap(), b"A");
    }
}

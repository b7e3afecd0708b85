//! Strings of an RDB file: how a length or string begins ([`Prefix`]), and names that are read whole ([`Name`]).
//! [`decode`] is for a whole string, as the bytes of a function's record are.

use crate::{RdbError, lzf};

/// How a length or a string begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// A length; of a string, so many bytes follow.
    Length(u64),
    /// A string that is an integer of so many bytes.
    Integer(u8),
    /// A compressed string: its compressed length, its length, and the compressed bytes follow.
    Compressed,
}

/// The number of bytes that a prefix takes, by its first one; `None` where there is no such prefix.
pub(crate) fn prefix_length(first: u8) -> Option<usize> {
    Some(match first >> 6 {
        0 => 1,
        1 => 2,
        2 if first == 0x80 => 5,
        2 if first == 0x81 => 9,
        3 if first <= 0xc3 => 1,
        _ => return None,
    })
}

/// What a whole prefix says.
pub(crate) fn prefix(bytes: &[u8]) -> Option<Prefix> {
    Some(match *bytes {
        [first] if first >> 6 == 0 => Prefix::Length(u64::from(first)),
        [0xc0] => Prefix::Integer(1),
        [0xc1] => Prefix::Integer(2),
        [0xc2] => Prefix::Integer(4),
        [0xc3] => Prefix::Compressed,
        [first, second] => Prefix::Length(u64::from(u16::from_be_bytes([first & 0x3f, second]))),
        [0x80, ref rest @ ..] => Prefix::Length(u64::from(u32::from_be_bytes(rest.try_into().ok()?))),
        [0x81, ref rest @ ..] => Prefix::Length(u64::from_be_bytes(rest.try_into().ok()?)),
        _ => return None,
    })
}

/// The most that LZF makes of a byte: a reference of three bytes stands for 264.
const MAX_EXPANSION: usize = 88;

/// What a string says that is stored as `stored`, raw or compressed; `None` where that is not exactly one such string.
#[must_use]
pub fn decode(stored: &[u8]) -> Option<Vec<u8>> {
    let next = |bytes: &'_ [u8]| -> Option<(Prefix, usize)> {
        let length = prefix_length(*bytes.first()?)?;
        Some((prefix(bytes.get(..length)?)?, length))
    };
    let whole = |bytes: &[u8], length: u64| bytes.len() as u64 == length;
    let number = |bytes: &[u8]| match next(bytes)? {
        (Prefix::Length(number), length) => Some((number, length)),
        _ => None,
    };
    let (form, length) = next(stored)?;
    let rest = &stored[length..];
    match form {
        Prefix::Length(length) => whole(rest, length).then(|| rest.to_vec()),
        Prefix::Integer(_) => None,
        Prefix::Compressed => {
            let (compressed, length) = number(rest)?;
            let rest = &rest[length..];
            let (plain, length) = number(rest)?;
            let rest = &rest[length..];
            let plain = usize::try_from(plain).ok()?;
            let believable = whole(rest, compressed) && plain <= rest.len().saturating_mul(MAX_EXPANSION);
            believable.then(|| lzf::decompress(rest, plain)).flatten()
        }
    }
}

/// A string that is kept: collected as it is stored, then decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Name {
    stored: Vec<u8>,
    form: Form,
}

#[derive(Debug, Clone, Copy, Default)]
enum Form {
    #[default]
    Raw,
    Integer,
    Compressed {
        length: usize,
    },
}

impl Name {
    pub(crate) fn begin_raw(&mut self) {
        self.begin(Form::Raw);
    }

    pub(crate) fn begin_integer(&mut self) {
        self.begin(Form::Integer);
    }

    pub(crate) fn begin_compressed(&mut self, length: usize) {
        self.begin(Form::Compressed { length });
    }

    fn begin(&mut self, form: Form) {
        self.stored.clear();
        self.form = form;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.stored.extend_from_slice(bytes);
    }

    /// Decodes what was collected into `into`.
    pub(crate) fn finish(&mut self, into: &mut Vec<u8>, offset: u64) -> Result<(), RdbError> {
        match self.form {
            Form::Raw => {
                into.clear();
                std::mem::swap(into, &mut self.stored);
            }
            Form::Integer => {
                let integer = match *self.stored.as_slice() {
                    [a] => i64::from(i8::from_le_bytes([a])),
                    [a, b] => i64::from(i16::from_le_bytes([a, b])),
                    [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                    _ => 0,
                };
                *into = integer.to_string().into_bytes();
            }
            Form::Compressed { length } => {
                *into = lzf::decompress(&self.stored, length).ok_or(RdbError::Compression { offset })?;
            }
        }
        self.stored.clear();
        Ok(())
    }
}

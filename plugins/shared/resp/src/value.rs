//! A reply: [`Value`].

use crate::ServerError;

/// A reply, whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A line: `OK`.
    Simple(Vec<u8>),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// A floating point number (RESP3).
    Double(f64),
    /// True or false (RESP3).
    Boolean(bool),
    /// Nothing.
    Null,
    /// An error; at the top level sessions return it as [`RespError::Server`](crate::RespError::Server).
    Error(ServerError),
    /// A list; RESP3's sets and pushed messages are lists too.
    List(Vec<Self>),
    /// Names and values (RESP3); RESP2 has a list of both in turn.
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// The bytes of a line or string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a line or string, where it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer, also where it comes as text.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// The elements of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Names and values of a map, or of a list that has them in turn.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&Self, &Self)> {
        match self {
            Self::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
            Self::List(elements) => elements.as_chunks::<2>().0.iter().map(|[name, value]| (name, value)).collect(),
            _ => Vec::new(),
        }
    }

    /// The value called `name` in a map, or in a list of names and values in turn.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let named = |key: &Self| key.as_bytes() == Some(name.as_bytes());
        self.pairs().into_iter().find_map(|(key, value)| named(key).then_some(value))
    }

    /// Whether it is the line `OK`.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(line) if line == b"OK")
    }
}

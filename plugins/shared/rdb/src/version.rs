//! Which RDB a file is: [`Version`].

use std::fmt;

use crate::RdbError;

/// Whose types 22 and up, and whose opcode 243, a file has: Redis and Valkey went separate ways after version 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Redis, and Valkey up to 8.
    Redis,
    /// Valkey from 9 on.
    Valkey,
}

/// The version of an RDB file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// The number, which `DUMP` payloads carry too.
    pub number: u16,
    /// Whose.
    pub dialect: Dialect,
}

/// Length of a file's magic and version.
pub(crate) const HEADER: usize = 9;

/// From this number on, a version is Valkey's.
const FIRST_OF_VALKEY: u16 = 80;

const SUPPORTED: &str = "9 to 12 (Redis 5 to 8.2, Valkey 7 and 8) and VALKEY 80 (Valkey 9)";

impl Version {
    /// The version with this number, as in a `DUMP` payload.
    ///
    /// # Errors
    /// `Version`, where it is not known here.
    pub fn from_number(number: u16) -> Result<Self, RdbError> {
        let dialect = match number {
            9..=12 => Dialect::Redis,
            FIRST_OF_VALKEY => Dialect::Valkey,
            _ => {
                return Err(RdbError::Version {
                    found: number.to_string(),
                    supported: SUPPORTED,
                });
            }
        };
        Ok(Self { number, dialect })
    }

    /// What a file begins with.
    #[must_use]
    pub fn header(self) -> [u8; HEADER] {
        let text = match self.dialect {
            Dialect::Redis => format!("REDIS{:04}", self.number),
            Dialect::Valkey => format!("VALKEY{:03}", self.number),
        };
        let mut header = [b'0'; HEADER];
        header.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        header
    }

    pub(crate) fn from_header(header: [u8; HEADER]) -> Result<Self, RdbError> {
        let (name, digits) = match &header {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => ("", &digits[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => ("VALKEY ", &digits[..]),
            _ => return Err(RdbError::Magic(String::from_utf8_lossy(&header).into_owned())),
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(RdbError::Magic(String::from_utf8_lossy(&header).into_owned()));
        }
        let number = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        let is_valkey = !name.is_empty();
        Self::from_number(number)
            .ok()
            .filter(|version| (version.dialect == Dialect::Valkey) == is_valkey)
            .ok_or_else(|| RdbError::Version {
                found: format!("{name}{number}"),
                supported: SUPPORTED,
            })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dialect {
            Dialect::Redis => write!(formatter, "{}", self.number),
            Dialect::Valkey => write!(formatter, "VALKEY {}", self.number),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn headers_name_versions_and_nothing_else_passes() {
        for number in [9, 10, 11, 12, 80] {
            let version = Version::from_number(number).unwrap();
            assert_eq!(Version::from_header(version.header()).unwrap(), version);
        }
        for (header, complaint) in [
            (*b"REDIS0013", "13"),
            (*b"REDIS0080", "80"),
            (*b"VALKEY011", "VALKEY 11"),
            (*b"VALKEY081", "VALKEY 81"),
            (*b"REDIS0006", "version 6"),
            (*b"REDIS00 9", "does not begin"),
            (*b"HTTP/1.1 ", "does not begin"),
        ] {
            let error = Version::from_header(header).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}

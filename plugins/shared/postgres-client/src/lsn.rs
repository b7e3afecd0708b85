//! A position in the write-ahead log: [`Lsn`].

use std::{fmt, str::FromStr};

/// A log sequence number, in bytes since the cluster's log began. Written as PostgreSQL does: two halves in hexadecimal, `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number of the segment that holds this position, for segments of `segment_size` bytes (not 0).
    #[must_use]
    pub fn segment(self, segment_size: u64) -> u64 {
        self.0 / segment_size
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is not a log position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a log position of the form 16/B374D848")]
pub struct ParseLsnError;

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

fn half(text: &str) -> Result<u64, ParseLsnError> {
    let hexadecimal = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal {
        u64::from_str_radix(text, 16).map_err(|_| ParseLsnError)
    } else {
        Err(ParseLsnError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_postgres_notation() {
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert_eq!(Lsn(0x0300_0028).to_string(), "0/3000028");
        for wrong in ["", "/", "1/", "1", "1/2/3", "+1/2", "1/123456789", "g/1", " 1/2"] {
            assert_eq!(wrong.parse::<Lsn>(), Err(ParseLsnError), "{wrong:?}");
        }
    }

    #[test]
    fn knows_its_segment() {
        assert_eq!(Lsn(0x0300_0028).segment(16 << 20), 3);
    }
}

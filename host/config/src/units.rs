//! Durations, sizes and rates as people write them: a number and a unit, always.
//!
//! "10" could be seconds, minutes or bytes; so the unit is part of the value, and a value without one is an error that shows how to write it.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

/// A number of bytes. Serialized as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// Bytes per second. Serialized as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteRate(pub u64);

/// A length of time. Serialized as seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A share, 0 to 100. Serialized as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Percent(pub u8);

/// Why a quantity can't be read; each is the label at the caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitError {
    NoNumber,
    NoUnit,
    UnknownUnit(String),
    TooSmall,
    TooLarge,
}

const DURATIONS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// The units of durations, for messages.
pub(crate) fn duration_units() -> String {
    unit_names(DURATIONS, "")
}

/// The units of sizes, for messages; `suffix` makes rates of them.
pub(crate) fn size_units(suffix: &str) -> String {
    unit_names(SIZES, suffix)
}

fn unit_names(units: &[(&str, u64)], suffix: &str) -> String {
    units
        .iter()
        .map(|(name, _)| format!("{name}{suffix}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Period {
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        quantity(text, DURATIONS).map(|milliseconds| Self(Duration::from_millis(milliseconds)))
    }
}

impl ByteSize {
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        quantity(text, SIZES).map(Self)
    }
}

impl ByteRate {
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let Some(size) = text.strip_suffix("/s") else {
            let size = quantity(text, SIZES);
            return Err(size
                .err()
                .unwrap_or_else(|| UnitError::UnknownUnit(text.trim_start_matches(is_numeric).trim().into())));
        };
        quantity(size, SIZES).map(Self)
    }
}

impl Percent {
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        let share = quantity(text, &[("%", 1)])?;
        u8::try_from(share)
            .ok()
            .filter(|share| *share <= 100)
            .map(Self)
            .ok_or(UnitError::TooLarge)
    }
}

fn is_numeric(character: char) -> bool {
    character.is_ascii_digit() || character == '.' || character == '_'
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let text = text.trim();
    let end = text.find(|character| !is_numeric(character)).unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().map_err(|_| UnitError::NoNumber)?;
    let unit = text[end..].trim();
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| UnitError::UnknownUnit(unit.into()))?;
    scaled(number, *factor)
}

/// Exact up to 2^53, far beyond what any limit needs.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against the range first"
)]
fn scaled(number: f64, factor: u64) -> Result<u64, UnitError> {
    let value = (number * factor as f64).round();
    if value == 0.0 && number > 0.0 {
        return Err(UnitError::TooSmall);
    }
    if value < (1_u64 << 53) as f64 {
        Ok(value as u64)
    } else {
        Err(UnitError::TooLarge)
    }
}

/// `value` in the largest unit that leaves it whole.
fn display(value: u64, units: &[(&str, u64)], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fitting = units
        .iter()
        .rev()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    let (name, factor) = fitting.unwrap_or(&units[0]);
    write!(formatter, "{} {name}", value / factor)
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &DURATIONS[..5], formatter)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.0, &SIZES[..5], formatter)
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/s", ByteSize(self.0))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} %", self.0)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_unit() {
        assert_eq!(Period::parse("5 min"), Ok(Period(Duration::from_secs(300))));
        assert_eq!(Period::parse("1.5h"), Ok(Period(Duration::from_secs(5400))));
        assert_eq!(ByteSize::parse("128 MiB"), Ok(ByteSize(128 << 20)));
        assert_eq!(ByteSize::parse("2 GB"), Ok(ByteSize(2_000_000_000)));
        assert_eq!(ByteRate::parse("10 MiB/s"), Ok(ByteRate(10 << 20)));
        assert_eq!(Percent::parse("90 %"), Ok(Percent(90)));
    }

    #[test]
    fn a_quantity_without_unit_or_number_says_which_is_missing() {
        assert_eq!(Period::parse("10"), Err(UnitError::NoUnit));
        assert_eq!(Period::parse("min"), Err(UnitError::NoNumber));
        assert_eq!(Period::parse("10 m"), Err(UnitError::UnknownUnit("m".into())));
        assert_eq!(Period::parse("-1 s"), Err(UnitError::NoNumber));
        assert_eq!(ByteRate::parse("10 MiB"), Err(UnitError::UnknownUnit("MiB".into())));
        assert_eq!(ByteSize::parse("99999999999 TiB"), Err(UnitError::TooLarge));
        assert_eq!(ByteSize::parse("0.4 B"), Err(UnitError::TooSmall));
        assert_eq!(ByteSize::parse("0 B"), Ok(ByteSize(0)));
        assert_eq!(Percent::parse("101 %"), Err(UnitError::TooLarge));
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for text in ["1 h", "90 s", "1 d", "250 ms"] {
            assert_eq!(Period::parse(text).map(|period| period.to_string()), Ok(text.to_owned()));
        }
        for text in ["128 MiB", "1 GiB", "1500 B"] {
            assert_eq!(ByteSize::parse(text).map(|size| size.to_string()), Ok(text.to_owned()));
        }
    }
}

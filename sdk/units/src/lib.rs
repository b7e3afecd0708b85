//! Durations, sizes and rates as people write them: a number and a unit, always.
//!
//! "10" could be seconds, minutes or bytes; so the unit is part of the value, and a value without one is an error that shows how to write it.
//! The host reads its own settings with this crate, and plugins theirs, so that an operator learns one way of writing.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number of bytes. Read from text (`128 MiB`), serialized as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// Bytes per second. Serialized as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteRate(pub u64);

/// A length of time. Read from text (`90 s`), serialized as seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A share, 0 to 100. Serialized as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Percent(pub u8);

/// Why a quantity can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitError {
    /// It does not begin with a number.
    NoNumber,
    /// Nothing is behind the number.
    NoUnit,
    /// What is behind the number is none of the units.
    UnknownUnit(String),
    /// A fraction of the smallest unit.
    TooSmall,
    /// 2^53 of the smallest unit, or more.
    TooLarge,
}

impl fmt::Display for UnitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => formatter.write_str("does not begin with a number"),
            Self::NoUnit => formatter.write_str("the unit is missing"),
            Self::UnknownUnit(unit) => write!(formatter, "`{unit}` is not one of the units"),
            Self::TooSmall => formatter.write_str("rounds to nothing: a fraction of the smallest unit"),
            Self::TooLarge => formatter.write_str("too large"),
        }
    }
}

impl std::error::Error for UnitError {}

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
#[must_use]
pub fn duration_units() -> String {
    unit_names(DURATIONS, "")
}

/// The units of sizes, for messages; `suffix` makes rates of them.
#[must_use]
pub fn size_units(suffix: &str) -> String {
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
    /// Reads text such as `90 s`.
    ///
    /// # Errors
    /// See [`UnitError`].
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        quantity(text, DURATIONS).map(|milliseconds| Self(Duration::from_millis(milliseconds)))
    }
}

impl ByteSize {
    /// Reads text such as `128 MiB`.
    ///
    /// # Errors
    /// See [`UnitError`].
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        quantity(text, SIZES).map(Self)
    }
}

impl ByteRate {
    /// Reads text such as `10 MiB/s`.
    ///
    /// # Errors
    /// See [`UnitError`].
    pub fn parse(text: &str) -> Result<Self, UnitError> {
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
    /// Reads text such as `90 %`.
    ///
    /// # Errors
    /// See [`UnitError`].
    pub fn parse(text: &str) -> Result<Self, UnitError> {
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

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let example = format!("write it as `90 s`; units: {}", duration_units());
        from_text(deserializer, Self::parse, &example)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let example = format!("write it as `128 MiB`; units: {}", size_units(""));
        from_text(deserializer, Self::parse, &example)
    }
}

fn from_text<'de, D: Deserializer<'de>, T>(deserializer: D, parse: fn(&str) -> Result<T, UnitError>, example: &str) -> Result<T, D::Error> {
    let text = Cow::<'_, str>::deserialize(deserializer).map_err(|error| D::Error::custom(format!("{error}; {example}")))?;
    parse(&text).map_err(|error| D::Error::custom(format!("`{text}`: {error}; {example}")))
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(DURATIONS, "90 s")
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(SIZES, "128 MiB")
    }
}

fn schema(units: &[(&str, u64)], example: &str) -> Schema {
    let names = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("|");
    json_schema!({ "type": "string", "pattern": format!("^[0-9._]+ *({names})$"), "examples": [example] })
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
    fn a_config_has_them_as_text_and_is_told_how() {
        let period = |json| serde_json::from_str::<Period>(json).map_err(|error| error.to_string());
        assert_eq!(period("\"30 s\""), Ok(Period(Duration::from_secs(30))));
        for (json, part) in [
            ("30", "write it as `90 s`"),
            ("\"30\"", "the unit is missing"),
            ("\"30 m\"", "units: ms, s, min"),
        ] {
            let error = period(json);
            assert!(error.as_ref().is_err_and(|error| error.contains(part)), "{error:?}");
        }
        assert_eq!(serde_json::from_str::<ByteSize>("\"1 MiB\"").ok(), Some(ByteSize(1 << 20)));
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

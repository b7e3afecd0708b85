//! How fast a sink may be written to, by the time of day: [`Bandwidth`].

use std::fmt;

use bulkhead_units::ByteRate;
use serde::{Serialize, Serializer};

use crate::{
    diagnostic::Diagnostic,
    reader::{FromNode, Reader},
    tree::{Entry, Node, Value},
};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A rate that always holds, or a timetable: from each time of the day on that rate, until the next one in it, over midnight too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// In the order of the day; never empty.
    periods: Vec<BandwidthPeriod>,
}

/// A part of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct BandwidthPeriod {
    #[serde(serialize_with = "as_time")]
    from: u16,
    rate: Option<ByteRate>,
}

impl Bandwidth {
    /// The same at all times.
    #[must_use]
    pub fn always(rate: ByteRate) -> Self {
        Self {
            periods: vec![BandwidthPeriod { from: 0, rate: Some(rate) }],
        }
    }

    /// The rate that holds so many minutes after midnight, by the host's own clock; `None` where there is no bound then.
    #[must_use]
    pub fn at(&self, minute: u16) -> Option<ByteRate> {
        let begun = self.periods.iter().rev().find(|period| period.from <= minute);
        // Before the first time of the day, yesterday's last one goes on.
        begun.or(self.periods.last())?.rate
    }

    fn constant(&self) -> Option<ByteRate> {
        match self.periods[..] {
            [BandwidthPeriod { from: 0, rate }] => rate,
            _ => None,
        }
    }
}

/// "at most 10 MiB/s", "at most 2 MiB/s from 08:00, unlimited from 18:00".
impl fmt::Display for Bandwidth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rate) = self.constant() {
            return write!(formatter, "at most {rate}");
        }
        for (number, period) in self.periods.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let from = time(period.from);
            match period.rate {
                Some(rate) => write!(formatter, "{comma}at most {rate} from {from}")?,
                None => write!(formatter, "{comma}unlimited from {from}")?,
            }
        }
        Ok(())
    }
}

/// A number of bytes per second where it is always the same; else the periods, each with `from` and `rate`, which is `null` where there is no bound.
impl Serialize for Bandwidth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.constant() {
            Some(rate) => rate.serialize(serializer),
            None => self.periods.serialize(serializer),
        }
    }
}

impl FromNode for Bandwidth {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            return rate(node, path, reader).map(Self::always);
        };
        if table.0.is_empty() {
            let message = format!("`{path}` is a timetable without a time");
            let help = "`{ \"08:00\" = \"2 MiB/s\", \"18:00\" = \"unlimited\" }`, or one rate for all times: `\"10 MiB/s\"`";
            reader.report.push(Diagnostic::error(message, node.span.clone()).help(help));
            return None;
        }
        let periods: Vec<Option<BandwidthPeriod>> = table.0.iter().map(|entry| period(entry, path, reader)).collect();
        let mut periods: Vec<BandwidthPeriod> = periods.into_iter().collect::<Option<_>>()?;
        periods.sort_by_key(|period| period.from);
        Some(Self { periods })
    }
}

fn period(entry: &Entry, path: &str, reader: &mut Reader<'_>) -> Option<BandwidthPeriod> {
    let from = minute(&entry.key);
    if from.is_none() {
        let message = format!("`{}` is not a time of the day", entry.key);
        let help = "hours and minutes, from \"00:00\" to \"23:59\", by the clock of this host; quoted, since it is a key";
        reader.report.push(Diagnostic::error(message, entry.key_span.clone()).help(help));
    }
    let path = format!("{path}.{}", entry.key);
    let rate = match &entry.node.value {
        Value::String(text) if text == "unlimited" => Some(None),
        Value::String(text) if !text.starts_with(|first: char| first.is_ascii_digit()) => {
            let message = format!("`{path}` is neither a rate nor `unlimited`");
            let help = "for example `\"2 MiB/s\"`; `\"unlimited\"` ends a bound";
            reader.report.push(Diagnostic::error(message, entry.node.span.clone()).help(help));
            None
        }
        _ => rate(&entry.node, &path, reader).map(Some),
    };
    Some(BandwidthPeriod { from: from?, rate: rate? })
}

/// A rate above nothing: at a rate of nothing no run ever ends.
fn rate(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<ByteRate> {
    let rate = ByteRate::read(node, path, reader)?;
    if rate.0 == 0 {
        reader
            .report
            .push(Diagnostic::error(format!("`{path}` must be more than nothing"), node.span.clone()));
        return None;
    }
    Some(rate)
}

/// `HH:MM`, two digits each, so that no two keys are the same time.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| -> Option<u16> {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { digits.parse().ok() } else { None }
    };
    let minutes = number(minutes).filter(|minutes| *minutes < 60)?;
    Some(number(hours)? * 60 + minutes).filter(|minute| *minute < DAY)
}

fn time(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn as_time<S: Serializer>(minute: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timetable(periods: &[(&str, Option<u64>)]) -> Bandwidth {
        let period = |(from, rate): &(&str, Option<u64>)| BandwidthPeriod {
            from: minute(from).unwrap_or(DAY),
            rate: rate.map(ByteRate),
        };
        Bandwidth {
            periods: periods.iter().map(period).collect(),
        }
    }

    #[test]
    fn a_rate_holds_until_the_next_one_over_midnight_too() {
        let office = timetable(&[("08:00", Some(2)), ("18:00", None), ("22:30", Some(9))]);
        let at = |text: &str| office.at(minute(text).unwrap_or(DAY)).map(|rate| rate.0);
        assert_eq!(["08:00", "17:59", "18:00", "22:29"].map(at), [Some(2), Some(2), None, None]);
        assert_eq!(["22:30", "23:59", "00:00", "07:59"].map(at), [Some(9); 4]);
        assert_eq!(Bandwidth::always(ByteRate(7)).at(0), Some(ByteRate(7)));
    }

    #[test]
    fn times_have_two_digits_of_hours_and_of_minutes() {
        assert_eq!(minute("00:00"), Some(0));
        assert_eq!(minute("23:59"), Some(DAY - 1));
        for bad in ["24:00", "12:60", "8:00", "08:0", "+8:00", "0800", "", "08:00:00"] {
            assert_eq!(minute(bad), None, "{bad}");
        }
    }
}

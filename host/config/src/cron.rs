//! Cron expressions: five fields (minute, hour, day of the month, month, day of the week), as cron(5) defines them, and `@hourly` to `@yearly`.

use serde::{Serialize, Serializer};

use crate::{
    diagnostic::Diagnostic,
    reader::{FromNode, Reader},
    tree::Node,
};

/// Points in time that repeat. Serialized as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// As the operator wrote it.
    pub expression: String,
    /// Bit n: minute n.
    pub minutes: u64,
    /// Bit n: hour n.
    pub hours: u64,
    /// Bit n: day n of the month, from 1.
    pub days: u64,
    /// Bit n: month n, from 1.
    pub months: u64,
    /// Bit n: day n of the week, 0 being Sunday.
    pub weekdays: u64,
    /// Whether the day of the month and the day of the week are both restricted: either then suffices.
    pub either_day: bool,
}

struct Unit {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const UNITS: [Unit; 5] = [
    Unit {
        name: "minute",
        first: 0,
        last: 59,
        names: &[],
    },
    Unit {
        name: "hour",
        first: 0,
        last: 23,
        names: &[],
    },
    Unit {
        name: "day of the month",
        first: 1,
        last: 31,
        names: &[],
    },
    Unit {
        name: "month",
        first: 1,
        last: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Unit {
        name: "day of the week",
        first: 0,
        last: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const SHORTHANDS: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

/// Longest possible month by number, from 1; leap years count.
const DAYS: [u32; 13] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    /// Reads an expression; the error is what to say at the caret.
    pub(crate) fn parse(expression: &str) -> Result<Self, String> {
        let written = expression.trim();
        let expanded = SHORTHANDS
            .iter()
            .find(|(name, _)| *name == written)
            .map_or(written, |(_, expanded)| expanded);
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        if fields.len() != UNITS.len() {
            return Err(format!("has {} fields instead of 5", fields.len()));
        }
        let mut sets = [0_u64; 5];
        for ((set, unit), field) in sets.iter_mut().zip(&UNITS).zip(&fields) {
            *set = parse_field(field, unit)?;
        }
        let [minutes, hours, days, months, mut weekdays] = sets;
        if weekdays & 1 << 7 != 0 {
            weekdays = weekdays & !(1 << 7) | 1;
        }
        let either_day = !fields[2].starts_with('*') && !fields[4].starts_with('*');
        let cron = Self {
            expression: written.to_owned(),
            minutes,
            hours,
            days,
            months,
            weekdays,
            either_day,
        };
        if cron.can_match() {
            Ok(cron)
        } else {
            Err("no month has such a day".to_owned())
        }
    }

    fn can_match(&self) -> bool {
        let in_month = |month: u32| self.months & 1 << month != 0 && (1..=DAYS[month as usize]).any(|day| self.days & 1 << day != 0);
        self.either_day || (1..=12).any(in_month)
    }
}

fn parse_field(field: &str, unit: &Unit) -> Result<u64, String> {
    field.split(',').try_fold(0, |set, item| Ok(set | parse_item(item, unit)?))
}

fn parse_item(item: &str, unit: &Unit) -> Result<u64, String> {
    let (range, step) = match item.split_once('/') {
        None => (item, 1),
        Some((range, step)) => {
            let step = step.parse().ok().filter(|step| *step > 0);
            (range, step.ok_or_else(|| format!("{}: `{item}` has no valid step", unit.name))?)
        }
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (unit.first, if unit.last == 7 { 6 } else { unit.last }),
        Some((first, last)) => (parse_value(first, unit)?, parse_value(last, unit)?),
        None if item.contains('/') => (parse_value(range, unit)?, unit.last),
        None => (parse_value(range, unit)?, parse_value(range, unit)?),
    };
    if first > last {
        return Err(format!("{}: `{range}` runs backwards", unit.name));
    }
    Ok((first..=last).step_by(step).fold(0, |set, value| set | 1 << value))
}

fn parse_value(text: &str, unit: &Unit) -> Result<u32, String> {
    if let Some(at) = unit.names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
        return Ok(u32::try_from(at).unwrap_or(0) + unit.first);
    }
    text.parse()
        .ok()
        .filter(|value| (unit.first..=unit.last).contains(value))
        .ok_or_else(|| format!("{}: `{text}` is not in {} to {}", unit.name, unit.first, unit.last))
}

impl FromNode for Cron {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = String::read(node, path, reader)?;
        Self::parse(&text)
            .map_err(|label| {
                reader.report.push(
                    Diagnostic::error(format!("`{path}` is not a cron expression"), node.span.clone())
                        .label(label)
                        .help("minute, hour, day of the month, month, day of the week: `\"0 */6 * * *\"` is every six hours, `\"30 4 * * mon\"` Mondays at 04:30"),
                );
            })
            .ok()
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(values: &[u32]) -> u64 {
        values.iter().fold(0, |set, value| set | 1 << value)
    }

    #[test]
    fn fields_are_read_as_cron_reads_them() -> Result<(), String> {
        let cron = Cron::parse("0,30 */6 1-3 jan,Dec 7")?;
        assert_eq!(cron.minutes, bits(&[0, 30]));
        assert_eq!(cron.hours, bits(&[0, 6, 12, 18]));
        assert_eq!(cron.days, bits(&[1, 2, 3]));
        assert_eq!(cron.months, bits(&[1, 12]));
        assert_eq!(cron.weekdays, bits(&[0]));
        assert!(cron.either_day);
        assert_eq!(Cron::parse("5/20 * * * *")?.minutes, bits(&[5, 25, 45]));
        assert_eq!(Cron::parse("@daily")?.hours, bits(&[0]));
        assert_eq!(Cron::parse("* * * * *")?.weekdays, bits(&[0, 1, 2, 3, 4, 5, 6]));
        Ok(())
    }

    #[test]
    fn what_never_comes_is_refused() {
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "0 0 31 2 *",
            "0 0 31 4,6 *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "@often",
        ] {
            assert!(Cron::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Cron::parse("0 0 29 2 *").is_ok());
        assert!(Cron::parse("0 0 31 2 mon").is_ok(), "Mondays in February come");
    }
}

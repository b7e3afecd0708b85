//! Which snapshots a `retention` keeps, and why: restic's rules, on the snapshots of one pipeline.
//!
//! Each rule that counts keeps the newest snapshot of so many of its periods, in which there is one. `within` counts back from the newest snapshot, not from
//! now: when backups fail for a month, what there is stays. The newest snapshot always stays. So does one of the future, which a clock that was wrong has left,
//! and it counts for none of the rules: it would take the place of every snapshot to come.

use bulkhead_config::Retention;
use bulkhead_model::Timestamp;
use jiff::{Zoned, tz::TimeZone};

/// Whether a snapshot stays, and by which rules; no rule at all says that it goes.
pub(crate) type Reasons = Vec<&'static str>;

/// In which period of a rule a snapshot lies: by its time, or its number.
type Period = fn(&Zoned, usize) -> i64;

/// A rule that counts, and what it has seen.
struct Rule {
    name: &'static str,
    left: u32,
    period: Period,
    last: Option<i64>,
}

fn rules(retention: &Retention) -> Vec<Rule> {
    let rules: [(&'static str, Option<u32>, Period); 6] = [
        ("last", retention.last, |_, number| i64::try_from(number).unwrap_or(i64::MAX)),
        ("hourly", retention.hourly, |time, _| day(time) * 100 + i64::from(time.hour())),
        ("daily", retention.daily, |time, _| day(time)),
        ("weekly", retention.weekly, |time, _| {
            let week = time.date().iso_week_date();
            i64::from(week.year()) * 100 + i64::from(week.week())
        }),
        ("monthly", retention.monthly, |time, _| day(time) / 100),
        ("yearly", retention.yearly, |time, _| i64::from(time.year())),
    ];
    rules
        .into_iter()
        .filter_map(|(name, left, period)| {
            Some(Rule {
                name,
                left: left.filter(|left| *left > 0)?,
                period,
                last: None,
            })
        })
        .collect()
}

fn day(time: &Zoned) -> i64 {
    i64::from(time.year()) * 10_000 + i64::from(time.month()) * 100 + i64::from(time.day())
}

/// What becomes of snapshots that were taken at `times`, in any order: for each, by which rules it stays. Periods begin and end in `zone`; `now` tells
/// which snapshots are of the future.
pub(crate) fn apply(retention: &Retention, times: &[Timestamp], zone: &TimeZone, now: Timestamp) -> Vec<Reasons> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|number| std::cmp::Reverse((times[*number], *number)));
    let newest = times.iter().filter(|time| **time <= now).max();
    let mut rules = rules(retention);
    let mut kept: Vec<Reasons> = vec![Vec::new(); times.len()];
    let is_future = |number: &usize| times[*number] > now;
    for number in order.iter().filter(|number| is_future(number)) {
        kept[*number].push("future");
    }
    for (position, number) in order.into_iter().filter(|number| !is_future(number)).enumerate() {
        let (time, reasons) = (times[number], &mut kept[number]);
        let local = zoned(time, zone);
        for rule in rules.iter_mut().filter(|rule| rule.left > 0) {
            let period = (rule.period)(&local, position);
            if rule.last != Some(period) {
                rule.last = Some(period);
                rule.left -= 1;
                reasons.push(rule.name);
            }
        }
        if let (Some(within), Some(newest)) = (retention.within, newest)
            && is_within(time, *newest, within.0)
        {
            reasons.push("within");
        }
        if position == 0 && reasons.is_empty() {
            reasons.push("newest");
        }
    }
    kept
}

/// Whether less than `period` lies between a snapshot and the newest.
fn is_within(time: Timestamp, newest: Timestamp, period: std::time::Duration) -> bool {
    let nanoseconds = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let age = nanoseconds(newest) - nanoseconds(time);
    age < i128::try_from(period.as_nanos()).unwrap_or(i128::MAX)
}

fn zoned(time: Timestamp, zone: &TimeZone) -> Zoned {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    jiff::Timestamp::new(time.seconds, nanoseconds)
        .unwrap_or_default()
        .to_zoned(zone.clone())
}

#[cfg(test)]
mod tests;

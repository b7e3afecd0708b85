//! Which snapshots a `retention` keeps, and why: restic's rules, on the snapshots of one pipeline.
//!
//! Each rule that counts keeps the newest snapshot of so many of its periods, in which there is one. `within` counts back from the newest snapshot, not from
//! now: when backups fail for a month, what there is stays.
//!
//! All that counts time does so without the longest pause between two snapshots, which may have been a clock that jumped forward, as far as anybody can tell
//! from what such a clock has left: `within` keeps what is younger by the rest, and a rule with periods gives a place more where a pause is longer than one of them, since the
//! snapshot after it may be of the same period as the one before. Wherever the clock jumped, and however far, nothing goes for it that would not go with the runs of the
//! next two periods by a clock that is right; and who knows that there was a pause says so (`clock_is_right`), and has restic's rules to the letter.
//!
//! The newest snapshot always stays, and the newest whole one where that is what remained of a
//! damaged one (`repaired`): it takes nobody's place as the last that can be trusted. So do those that a clock that was wrong has left, one of the
//! future and one that is older than the snapshot it continues; they count for none of the rules, since they would take the place of others. And where the
//! newest is older than the pipeline's RPO, everything stays: what there is may be all that there will be.
//!
//! Nor does age take the last that were verified: of each depth at which `verify` looks, so many as `verified` says stay.
//!
//! Snapshots of one identity, as two copies at the same moment leave them, are one: the last of them counts, and the others go.

use std::{collections::BTreeSet, time::Duration};

use bulkhead_config::Retention;
use bulkhead_model::Timestamp;
use bulkhead_vault::{Depth, SnapshotIdentity, SnapshotInfo, between};
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
    /// How long one of its periods is at most; `None` where time does not matter.
    longest: Option<Duration>,
    last: Option<i64>,
    /// Whether it has given a place more for a pause.
    has_paused: bool,
}

impl Rule {
    /// Gives a place more, once, where a pause before the next older snapshot is so long that what came after it takes a place which may not be its own.
    fn pause(&mut self, pause: Duration) {
        if self.left > 0 && !self.has_paused && self.longest.is_some_and(|longest| pause > longest) {
            self.has_paused = true;
            self.left += 1;
        }
    }

    /// By what it keeps a snapshot of `period`, if it does. The place more is the last one.
    fn keeps(&mut self, period: i64) -> Option<&'static str> {
        if self.left == 0 || self.last == Some(period) {
            return None;
        }
        self.last = Some(period);
        self.left -= 1;
        Some(if self.has_paused && self.left == 0 { PAUSE } else { self.name })
    }
}

/// The longest an hour, a day, … can be, with what a change to winter time adds.
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(25 * 3600);

fn rules(retention: &Retention) -> Vec<Rule> {
    let rules: [(&'static str, Option<u32>, Option<Duration>, Period); 6] = [
        ("last", retention.last, None, |_, number| i64::try_from(number).unwrap_or(i64::MAX)),
        ("hourly", retention.hourly, Some(HOUR), |time, _| {
            day(time) * 100 + i64::from(time.hour())
        }),
        ("daily", retention.daily, Some(DAY), |time, _| day(time)),
        ("weekly", retention.weekly, Some(7 * DAY), |time, _| {
            let week = time.date().iso_week_date();
            i64::from(week.year()) * 100 + i64::from(week.week())
        }),
        ("monthly", retention.monthly, Some(31 * DAY), |time, _| day(time) / 100),
        ("yearly", retention.yearly, Some(366 * DAY), |time, _| i64::from(time.year())),
    ];
    rules
        .into_iter()
        .filter_map(|(name, left, longest, period)| {
            Some(Rule {
                name,
                left: left.filter(|left| *left > 0)?,
                period,
                longest,
                last: None,
                has_paused: false,
            })
        })
        .collect()
}

fn day(time: &Zoned) -> i64 {
    i64::from(time.year()) * 10_000 + i64::from(time.month()) * 100 + i64::from(time.day())
}

/// A snapshot, as far as the rules go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) identity: SnapshotIdentity,
    /// When it was taken.
    pub(crate) time: Timestamp,
    /// When the snapshot was taken that it continues, where that is still there.
    pub(crate) parent: Option<Timestamp>,
    /// Whether it is what remained of a damaged one.
    pub(crate) is_repaired: bool,
    /// At which depths it was verified, in the order of [`Depth::ALL`].
    pub(crate) verified: [bool; Depth::ALL.len()],
}

impl Taken {
    /// What there is to know of `snapshot`, which continues one of the time `parent` and was `verified`.
    pub(crate) fn of(snapshot: &SnapshotInfo, parent: Option<Timestamp>, verified: [bool; Depth::ALL.len()]) -> Self {
        Self {
            identity: snapshot.identity(),
            time: snapshot.time,
            parent,
            is_repaired: snapshot.is_repaired(),
            verified,
        }
    }
}

/// What the rules are applied with.
pub(crate) struct Circumstances {
    /// Periods begin and end here.
    pub(crate) zone: TimeZone,
    pub(crate) now: Timestamp,
    /// Whether the longest pause was one, and not a clock that jumped.
    pub(crate) clock_is_right: bool,
    /// How old the newest snapshot may be for others to go.
    pub(crate) rpo: Option<Duration>,
}

impl Circumstances {
    /// What keeps a snapshot that an unsure clock has left.
    fn wrong_clock(&self, taken: &Taken) -> Option<&'static str> {
        if taken.time > self.now {
            Some("future")
        } else if taken.parent.is_some_and(|parent| parent > taken.time) {
            Some("clock")
        } else {
            None
        }
    }

    fn is_overdue(&self, newest: Option<Timestamp>) -> bool {
        let (Some(rpo), Some(newest)) = (self.rpo, newest) else {
            return false;
        };
        between(newest, self.now) >= rpo
    }
}

/// What becomes of snapshots, in any order: for each, by which rules it stays.
pub(crate) fn apply(retention: &Retention, snapshots: &[Taken], circumstances: &Circumstances) -> Vec<Reasons> {
    let mut order: Vec<usize> = (0..snapshots.len()).collect();
    order.sort_by_key(|number| std::cmp::Reverse((snapshots[*number].time, *number)));
    let (unsure, order): (Vec<usize>, Vec<usize>) = order
        .into_iter()
        .partition(|number| circumstances.wrong_clock(&snapshots[*number]).is_some());
    let mut met = BTreeSet::new();
    let order: Vec<usize> = order.into_iter().filter(|number| met.insert(snapshots[*number].identity)).collect();
    let verified = last_verified(&order, snapshots, retention.verified.unwrap_or(0));
    let newest = order.first().map(|number| snapshots[*number].time);
    let newest_whole = order.iter().copied().find(|number| !snapshots[*number].is_repaired);
    let mut rules = rules(retention);
    let mut kept: Vec<Reasons> = vec![Vec::new(); snapshots.len()];
    for number in unsure {
        kept[number].extend(circumstances.wrong_clock(&snapshots[number]));
    }
    let (mut newer, mut longest_pause) = (newest, Duration::ZERO);
    for (position, number) in order.into_iter().enumerate() {
        let (time, reasons) = (snapshots[number].time, &mut kept[number]);
        let pause = newer.replace(time).map_or(Duration::ZERO, |newer| between(time, newer));
        if !circumstances.clock_is_right {
            longest_pause = longest_pause.max(pause);
            rules.iter_mut().for_each(|rule| rule.pause(pause));
        }
        let local = zoned(time, &circumstances.zone);
        let periods = rules.iter_mut().map(|rule| rule.keeps((rule.period)(&local, position)));
        reasons.extend(periods.flatten());
        let age = newest.map_or(Duration::ZERO, |newest| between(time, newest));
        reasons.extend(retention.within.and_then(|within| keeps_within(within.0, age, longest_pause)));
        reasons.dedup();
        if verified.contains(&number) {
            reasons.push(VERIFIED);
        }
        if position == 0 && reasons.is_empty() {
            reasons.push("newest");
        }
    }
    if let Some(reasons) = newest_whole.map(|number| &mut kept[number])
        && reasons.is_empty()
    {
        reasons.push("whole");
    }
    if retention.indefinite {
        kept.iter_mut().for_each(|reasons| reasons.push("indefinite"));
    }
    if circumstances.is_overdue(newest) {
        let going = kept.iter_mut().filter(|reasons| reasons.is_empty());
        going.for_each(|reasons| reasons.push(OVERDUE));
    }
    kept
}

/// Those of `order`, the newest first, that are among the last `count` that were verified, at any depth: the last whose bytes were all read need not be the last of
/// which that was too much to read. What remained of a damaged one takes nobody's place.
fn last_verified(order: &[usize], snapshots: &[Taken], count: u32) -> BTreeSet<usize> {
    let of_depth = |depth: usize| {
        let is_verified = move |number: &&usize| snapshots[**number].verified[depth] && !snapshots[**number].is_repaired;
        order.iter().filter(is_verified).take(count as usize)
    };
    (0..Depth::ALL.len()).flat_map(of_depth).copied().collect()
}

/// By what `within` keeps a snapshot, if it does, with the longest pause since.
fn keeps_within(within: Duration, age: Duration, longest_pause: Duration) -> Option<&'static str> {
    if age < within {
        return Some("within");
    }
    (age - longest_pause < within).then_some(PAUSE)
}

/// What keeps a snapshot that would go if the longest pause counted.
pub(crate) const PAUSE: &str = "pause";

/// What keeps one of the last that were verified.
pub(crate) const VERIFIED: &str = "verified";

/// What keeps a snapshot that no rule keeps, while the newest one is older than the RPO.
pub(crate) const OVERDUE: &str = "overdue";

fn zoned(time: Timestamp, zone: &TimeZone) -> Zoned {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    jiff::Timestamp::new(time.seconds, nanoseconds)
        .unwrap_or_default()
        .to_zoned(zone.clone())
}

#[cfg(test)]
mod tests;

//! Time, as far as snapshots bear witness to it.
//!
//! A clock that jumped forward leaves what a pause leaves: two snapshots, far from each other. What removes something because time has passed therefore counts
//! that time without the longest pause in it. Whenever the clock jumped, and however far, no more is counted then than has passed.

use std::time::Duration;

use bulkhead_model::Timestamp;

/// How long it is from one moment to a later one; nothing where it is earlier.
#[must_use]
pub fn between(moment: Timestamp, later: Timestamp) -> Duration {
    let nanoseconds = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let nanoseconds = (nanoseconds(later) - nanoseconds(moment)).max(0);
    u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos)
}

/// How long ago something must have been for `time` to have passed since without the longest pause between snapshots, which were taken at `snapshots`; `None` where
/// nothing was long enough ago.
pub(crate) fn age_after(time: Duration, mut snapshots: Vec<Timestamp>, now: Timestamp) -> Option<Duration> {
    snapshots.retain(|snapshot| *snapshot <= now);
    snapshots.sort_unstable_by_key(|snapshot| std::cmp::Reverse(*snapshot));
    let (mut later, mut longest) = (now, Duration::ZERO);
    // Between two snapshots, and before the first: what lies there has that pause, as far as it reaches, and those since.
    for earlier in snapshots.into_iter().map(Some).chain([None]) {
        let (since, age) = (between(later, now), time.saturating_add(longest));
        if since >= time && earlier.is_none_or(|earlier| age <= between(earlier, now)) {
            return Some(age.max(since));
        }
        let earlier = earlier?;
        longest = longest.max(between(earlier, later));
        later = earlier;
    }
    None
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    const HOUR: i64 = 3600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    fn age(hours: i64, snapshots: &[i64], now: i64) -> Option<i64> {
        let time = Duration::from_secs((hours * HOUR).unsigned_abs());
        let snapshots = snapshots.iter().map(|hour| at(hour * HOUR)).collect();
        let age = age_after(time, snapshots, at(now * HOUR))?;
        i64::try_from(age.as_secs()).ok().map(|seconds| seconds / HOUR)
    }

    #[test]
    fn the_longest_pause_does_not_count() {
        // A snapshot each hour: one hour more.
        assert_eq!(age(23, &(0..100).collect::<Vec<_>>(), 100), Some(24));
        // One each day, and now directly after the last: a day more.
        assert_eq!(age(23, &[0, 24, 48, 72], 72), Some(47));
        // One each day, and then a month's pause or a clock that jumped.
        assert_eq!(age(23, &[0, 24, 48, 72], 72 + 720), Some(720 + 23));
        assert_eq!(age(23, &[0, 24, 48, 72, 792], 792), Some(720 + 23));
        // Nothing says that time has passed.
        assert_eq!(age(23, &[], 1000), None);
        assert_eq!(age(23, &[1000, 1001], 1001), None);
        // What is of the future says nothing.
        assert_eq!(age(23, &[2000, 3000], 1000), None);
    }

    #[test]
    fn no_jump_of_the_clock_makes_anything_older_than_it_is() {
        let mut counted = 0;
        for seed in 0..20_000 {
            let mut random = StdRng::seed_from_u64(seed);
            // Moments as they were; one of them is that of which it is asked, and the last is now.
            let mut moment = 0;
            let moments: Vec<i64> = (0..random.random_range(2..30))
                .map(|_| {
                    let longest = HOUR << random.random_range(0..8);
                    moment += random.random_range(1..longest);
                    moment
                })
                .collect();
            let (now, asked) = (moments.len() - 1, random.random_range(0..moments.len() - 1));
            let (jump, far) = (random.random_range(0..=now), random.random_range(0..1000 * 24 * HOUR));
            let by_clock = |number: usize| at(moments[number] + if number >= jump { far } else { 0 });
            let snapshots = (0..now).filter(|number| *number != asked).map(by_clock).collect();
            let time = Duration::from_secs(random.random_range(1..100 * 3600));
            let Some(age) = age_after(time, snapshots, by_clock(now)) else {
                continue;
            };
            if between(by_clock(asked), by_clock(now)) >= age {
                counted += 1;
                assert!(between(at(moments[asked]), at(moments[now])) >= time, "seed {seed}");
            }
        }
        assert!(counted > 1000, "{counted} times only");
    }
}

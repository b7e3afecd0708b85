//! How long to wait before a request is tried again: [`Backoff`].

use std::{num::NonZeroU32, time::Duration};

use crate::digest::{Algorithm, digest};

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause of our own.
const LONGEST: Duration = Duration::from_secs(20);
/// The longest pause that a server can ask for with `Retry-After`: one that wants more is as good as down.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// How often a request is tried, and how long is waited in between: 250 ms, 500 ms, 1 s and so on up to 20 s, each shortened by up to a half at random,
/// so that instances which were refused together do not come back together. What the server asks for (`Retry-After`) is the least, up to 2 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    attempts: NonZeroU32,
    first: Duration,
}

impl Backoff {
    /// So many attempts.
    #[must_use]
    pub fn new(attempts: NonZeroU32) -> Self {
        Self { attempts, first: FIRST }
    }

    /// With another first pause.
    #[must_use]
    pub fn starting_with(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// How long to wait after attempt number `attempt` (from 1) failed; `None` where it was the last one. `seed` makes pauses differ.
    #[must_use]
    pub fn pause(&self, attempt: u32, asked: Option<u64>, seed: &str) -> Option<Duration> {
        if attempt >= self.attempts.get() {
            return None;
        }
        let full = self.first.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST);
        let half = full / 2;
        let jittered = half + half.mul_f64(random(seed, attempt));
        let asked = asked.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_ASKED);
        Some(jittered.max(asked))
    }
}

/// Six attempts: pauses of about 6 s in all.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(NonZeroU32::MIN.saturating_add(5))
    }
}

/// Between 0 and 1, of the seed and of the clock: what is wanted is that instances differ, no more.
fn random(seed: &str, attempt: u32) -> f64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let hash = digest(Algorithm::Crc32c, format!("{seed} {attempt} {now}").as_bytes());
    hash.iter().fold(0.0, |value, byte| (value + f64::from(*byte)) / 256.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        let backoff = Backoff::new(NonZeroU32::MIN.saturating_add(11));
        let mut expected = FIRST;
        for attempt in 1..12 {
            let pause = backoff.pause(attempt, None, "a").unwrap_or_default();
            assert!(pause >= expected / 2 && pause <= expected, "{attempt}: {pause:?}");
            expected = (expected * 2).min(LONGEST);
        }
        assert_eq!(backoff.pause(12, None, "a"), None);
        assert_ne!(backoff.pause(9, None, "a"), backoff.pause(9, None, "b"));
    }

    #[test]
    fn what_the_server_asks_for_is_the_least() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(1, Some(7), "a"), Some(Duration::from_secs(7)));
        assert_eq!(backoff.pause(1, Some(100_000), "a"), Some(LONGEST_ASKED));
        assert!(backoff.pause(1, Some(0), "a").is_some_and(|pause| pause >= FIRST / 2));
    }
}

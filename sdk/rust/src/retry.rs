//! Trying again what may go well in a moment: [`Attempts`], for reaching a server that is being restarted, is loading its data or is between two leaders.
//!
//! Only what can be repeated from the beginning belongs into it, and nothing of which a part may have been done: what is written into an entry stays there.

use std::{borrow::Cow, num::NonZeroU32, thread::sleep, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::{Result, warn};

/// The pause after the first attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often something is tried, a number from 1 in a plugin's config; 3 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Attempts(NonZeroU32);

impl Attempts {
    /// Does it until it goes well, fails with what is not [`retryable`](crate::Error::retryable), or has been tried so often. In between it waits: 1 s, 2 s, 4 s
    /// and so on, at most 30 s. Each failure but the last is in the log.
    ///
    /// # Errors
    /// Those of the last attempt.
    pub fn run<T>(self, action: impl FnMut() -> Result<T>) -> Result<T> {
        self.run_pausing(FIRST_PAUSE, sleep, action)
    }

    fn run_pausing<T>(self, first: Duration, mut wait: impl FnMut(Duration), mut action: impl FnMut() -> Result<T>) -> Result<T> {
        let pauses = std::iter::successors(Some(first), |pause| Some((*pause * 2).min(LONGEST_PAUSE)));
        for (attempt, pause) in (1..self.0.get()).zip(pauses) {
            match action() {
                Err(error) if error.retryable => {
                    warn!(attempt = attempt, attempts = self.0; "trying again in {} s: {error}", pause.as_secs());
                    wait(pause);
                }
                ended => return ended,
            }
        }
        action()
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self(NonZeroU32::MIN.saturating_add(2))
    }
}

impl JsonSchema for Attempts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Attempts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": u32::MAX, "default": Self::default().0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};

    /// Fails `failures` times; what came of it, the number of attempts and the pauses.
    fn tried(attempts: u32, failures: u32, kind: ErrorKind) -> (Result<u32>, u32, Vec<u64>) {
        let (mut calls, mut pauses) = (0, Vec::new());
        let attempts = Attempts(NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN));
        let result = attempts.run_pausing(
            FIRST_PAUSE,
            |pause| pauses.push(pause.as_secs()),
            || {
                calls += 1;
                if calls > failures {
                    Ok(calls)
                } else {
                    Err(Error::new(kind, format!("number {calls}")))
                }
            },
        );
        (result, calls, pauses)
    }

    #[test]
    fn what_may_pass_is_tried_again_with_longer_and_longer_pauses() {
        let (result, calls, pauses) = tried(9, 7, ErrorKind::Unreachable);
        assert_eq!((result.ok(), calls), (Some(8), 8));
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn the_last_failure_is_told_and_what_does_not_pass_is_told_at_once() {
        let (result, calls, pauses) = tried(3, 5, ErrorKind::TimedOut);
        assert_eq!((result.map_err(|error| error.message), calls), (Err("number 3".to_owned()), 3));
        assert_eq!(pauses, [1, 2]);
        let (result, calls, _) = tried(3, 5, ErrorKind::Unauthenticated);
        assert_eq!((result.is_err(), calls), (true, 1));
        assert_eq!(tried(1, 5, ErrorKind::Unreachable).1, 1);
    }

    #[test]
    fn a_config_has_at_least_one() {
        assert_eq!(serde_json::from_str::<Attempts>("3").ok(), Some(Attempts::default()));
        assert!(serde_json::from_str::<Attempts>("0").is_err());
    }
}

//! What a base backup reaches with a log, and whether a target lies within it: [`Reach`].

use super::{
    Log, RecoveryError, RecoveryOptions, RecoveryTarget,
    stated::{Stated, lsn, position, short},
};
use crate::clock;

/// What a base backup reaches with the log.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) base: Stated,
    /// The timeline that the log is followed to.
    pub(super) timeline: u32,
    /// Up to where.
    pub(super) end: u64,
}

impl Reach {
    /// That of `base`, if what `options` ask for lies within it.
    pub(super) fn find(log: &Log, base: Stated, options: &RecoveryOptions) -> Result<Self, RecoveryError> {
        let Log { stated, lineage } = log;
        if stated.system != base.system {
            return Err(RecoveryError::OtherCluster { base: short(&base.id) });
        }
        let timeline = match options.timeline.as_deref() {
            None | Some("latest") => stated.timeline,
            Some("current") => base.timeline,
            // What is no number is no timeline of the log's.
            Some(text) => text.parse().unwrap_or(0),
        };
        let Some(end) = lineage.reach(base.timeline, base.end, timeline) else {
            return Err(RecoveryError::OtherTimeline {
                target: timeline,
                base: short(&base.id),
                end: position(base.end),
                timeline: base.timeline,
                from: position(stated.start),
                to: position(stated.end),
                last: stated.timeline,
            });
        };
        if stated.start > base.start || base.end > stated.end {
            return Err(RecoveryError::NotCovered {
                base: short(&base.id),
                from: position(stated.start),
                to: position(stated.end),
                start: position(base.start),
                end: position(base.end),
            });
        }
        let end = end.min(stated.end);
        let reach = Self { base, timeline, end };
        reach.includes(stated, &options.target).map(|()| reach)
    }

    /// Whether a target lies within it. Of a transaction or a restore point only the server knows where it is.
    fn includes(&self, log: &Stated, target: &RecoveryTarget) -> Result<(), RecoveryError> {
        let base = &self.base;
        let (within, text) = match target {
            RecoveryTarget::Latest | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => return Ok(()),
            RecoveryTarget::Time(time) => ((base.time..=log.time).contains(&time.seconds), clock::rfc3339(*time)),
            // The server stops at the first record that begins there or later: at the log's end there is none.
            RecoveryTarget::Lsn(text) => ((base.end..self.end).contains(&lsn(text)?), text.clone()),
        };
        if within {
            return Ok(());
        }
        Err(RecoveryError::OutOfReach {
            target: text,
            reach: format!(
                "from the base backup {} it is {} ({}) to {} ({})",
                short(&base.id),
                base.time(),
                position(base.end),
                log.time(),
                position(self.end)
            ),
        })
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use bulkhead_model::Timestamp;

    use super::*;
    use crate::recovery::{TargetAction, timelines::Lineage};

    /// A log from 0/100 to 0/900 that ends on `timeline`.
    fn log(timeline: u32, history: &str) -> Log {
        Log {
            stated: Stated {
                timeline,
                ..Stated::example("log", 0x100, 0x900, 900)
            },
            lineage: Lineage::parse(timeline, history).expect("a history"),
        }
    }

    fn options(target: RecoveryTarget) -> RecoveryOptions {
        RecoveryOptions {
            target,
            timeline: None,
            action: TargetAction::Promote,
            standby: None,
            program: "bulkhead".into(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    #[test]
    fn a_target_must_lie_between_base_and_end() {
        let log = log(1, "");
        let base = |start, end| Stated::example("base", start, end, 300);
        for (target, reached) in [
            (RecoveryTarget::Latest, true),
            (RecoveryTarget::Lsn("0/300".into()), true),
            (RecoveryTarget::Lsn("0/2FF".into()), false),
            (RecoveryTarget::Lsn("0/901".into()), false),
            (RecoveryTarget::Time(at(900)), true),
            (RecoveryTarget::Time(at(299)), false),
            (RecoveryTarget::Time(at(901)), false),
        ] {
            let found = Reach::find(&log, base(0x200, 0x300), &options(target.clone()));
            assert_eq!(found.is_ok(), reached, "{target:?}");
        }
        let nowhere = options(RecoveryTarget::Lsn("nowhere".into()));
        assert!(Reach::find(&log, base(0x200, 0x300), &nowhere).is_err());
        for (start, end) in [(0xFF, 0x300), (0x200, 0x901)] {
            let found = Reach::find(&log, base(start, end), &options(RecoveryTarget::Latest));
            assert!(matches!(found, Err(RecoveryError::NotCovered { .. })), "{found:?}");
        }
    }

    #[test]
    fn a_base_backup_needs_a_log_that_goes_on_from_its_timeline() {
        let of = |timeline, end| Stated {
            timeline,
            ..Stated::example("base", 0x200, end, 300)
        };
        let latest = options(RecoveryTarget::Latest);
        let found = Reach::find(&log(1, ""), of(2, 0x300), &latest);
        assert!(matches!(found, Err(RecoveryError::OtherTimeline { last: 1, .. })), "{found:?}");

        let promoted = log(2, "1\t0/500\tno recovery target specified\n");
        let reached = |base, timeline: &str| {
            let mut options = options(RecoveryTarget::Latest);
            options.timeline = Some(timeline.to_owned());
            Reach::find(&promoted, base, &options).map(|reach| (reach.timeline, reach.end))
        };
        assert!(matches!(reached(of(1, 0x300), "latest"), Ok((2, 0x900))));
        assert!(
            matches!(reached(of(1, 0x300), "current"), Ok((1, 0x500))),
            "up to where it was left"
        );
        assert!(matches!(reached(of(1, 0x300), "1"), Ok((1, 0x500))));
        assert!(matches!(reached(of(2, 0x600), "current"), Ok((2, 0x900))));
        for (base, timeline) in [(of(1, 0x501), "latest"), (of(2, 0x600), "1"), (of(1, 0x300), "3")] {
            let found = reached(base, timeline);
            assert!(matches!(found, Err(RecoveryError::OtherTimeline { .. })), "{timeline}: {found:?}");
        }
    }
}

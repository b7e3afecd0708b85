//! What a recovery is asked for: [`RecoveryOptions`].

use bulkhead_model::Timestamp;

use super::RecoveryError;
use crate::clock;

/// Where a recovery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// Where the log ends.
    Latest,
    /// At the last commit up to this time.
    Time(Timestamp),
    /// At this position of the log, as `16/B374D848`.
    Lsn(String),
    /// With the commit of this transaction.
    Xid(String),
    /// At the restore point of this name.
    Name(String),
}

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time with its distance from UTC")]
pub struct TargetTimeError(String);

impl RecoveryTarget {
    /// The last commit up to `text`: a date and a time with `Z` or an offset, such as `2026-11-21 08:00:00+01:00`.
    ///
    /// # Errors
    /// See [`TargetTimeError`]. A time without an offset would mean another moment on another machine.
    pub fn time(text: &str) -> Result<Self, TargetTimeError> {
        let parsed: jiff::Timestamp = text.trim().parse().map_err(|_| TargetTimeError(text.to_owned()))?;
        Ok(Self::Time(clock::timestamp(parsed)))
    }
}

/// What the server does when it has reached the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// It ends the recovery and begins a new timeline.
    Promote,
    /// It waits, for reading only.
    Pause,
    /// It shuts down.
    Shutdown,
}

/// What a recovery is asked for.
#[derive(Debug, Clone)]
pub struct RecoveryOptions {
    /// Where it ends.
    pub target: RecoveryTarget,
    /// The timeline to follow: a number, `current` or `latest`; the server's default where `None`.
    pub timeline: Option<String>,
    /// What comes then.
    pub action: TargetAction,
    /// `Some` for a standby: how it connects to its primary, in libpq's words; may be empty.
    pub standby: Option<String>,
    /// How the server calls this program, quoted for a shell, up to and without the subcommand.
    pub program: String,
}

impl RecoveryOptions {
    /// Refuses what would end a line of the server's configuration.
    pub(super) fn check(&self) -> Result<(), RecoveryError> {
        let target = match &self.target {
            RecoveryTarget::Lsn(text) | RecoveryTarget::Xid(text) | RecoveryTarget::Name(text) => Some(text),
            RecoveryTarget::Latest | RecoveryTarget::Time(_) => None,
        };
        let given = [
            ("the recovery's target", target),
            ("the connection to the primary", self.standby.as_ref()),
            ("the path of this program, or of its configuration,", Some(&self.program)),
        ];
        match given
            .iter()
            .find(|(_, text)| text.is_some_and(|text| text.contains(char::is_control)))
        {
            Some((what, _)) => Err(RecoveryError::ControlCharacter { what }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(target: RecoveryTarget) -> RecoveryOptions {
        RecoveryOptions {
            target,
            timeline: None,
            action: TargetAction::Promote,
            standby: None,
            program: "bulkhead".into(),
        }
    }

    #[test]
    fn nothing_ends_a_line_of_the_servers_configuration() {
        assert!(options(RecoveryTarget::Name("before the move".into())).check().is_ok());
        assert!(options(RecoveryTarget::Name("a\nrestore_command = 'x'".into())).check().is_err());
        let mut standby = options(RecoveryTarget::Latest);
        standby.standby = Some("host=a\rport=1".into());
        assert!(standby.check().is_err());
    }

    #[test]
    fn times_have_an_offset() {
        let moment = RecoveryTarget::Time(Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        });
        for text in ["2023-11-14T22:13:20Z", "2023-11-14 23:13:20+01:00", "2023-11-14 22:13:20+00"] {
            assert_eq!(RecoveryTarget::time(text).as_ref(), Ok(&moment), "{text}");
        }
        for text in ["", "2023-11-14 22:13:20", "yesterday", "2023-11-14"] {
            assert!(RecoveryTarget::time(text).is_err(), "{text}");
        }
    }
}

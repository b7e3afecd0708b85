//! Exit codes: a written contract, explained in `docs/exit-codes.md`.

use std::process::ExitCode;

use bulkhead_pipeline::FailureClass;

/// How the program ends. The numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything went well.
    Ok = 0,
    /// A defect in this program, or an operating system out of resources.
    Internal = 1,
    /// The command line is wrong (also clap's own code).
    Usage = 2,
    /// The configuration is wrong, or does not grant what is needed.
    Config = 3,
    /// A secret could not be had, was refused, or does not suffice.
    Credentials = 4,
    /// Something could not be reached, or broke off.
    Unreachable = 5,
    /// A plugin, or the system behind it, reported an error.
    Plugin = 6,
    /// A plugin trapped, or its component can't be used.
    Trapped = 7,
    /// A limit was hit.
    Limit = 8,
    /// The proof, or an expectation, failed: nothing was committed.
    Proof = 9,
    /// Stored content, or the source, is damaged.
    Damaged = 10,
    /// No space left.
    StorageFull = 11,
    /// Something is in the way.
    Conflict = 12,
    /// What was asked for is not there.
    NotFound = 13,
    /// `check` found something that a run would fail on.
    Findings = 14,
    /// The snapshot is safe on the first sink, but not on all.
    Replica = 15,
    /// `diff --exit-code` found a difference.
    Differs = 16,
    /// `wal-fetch` can't tell whether the log has a file: above 125, where PostgreSQL stops a recovery and does not take it for the end of the log.
    Undecided = 126,
    /// Interrupted (128 + SIGINT, as shells have it).
    Cancelled = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<FailureClass> for Exit {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Config => Self::Config,
            FailureClass::Credentials => Self::Credentials,
            FailureClass::Unreachable => Self::Unreachable,
            FailureClass::Plugin => Self::Plugin,
            FailureClass::Trapped => Self::Trapped,
            FailureClass::Limit => Self::Limit,
            FailureClass::Proof => Self::Proof,
            FailureClass::Damaged => Self::Damaged,
            FailureClass::StorageFull => Self::StorageFull,
            FailureClass::Conflict => Self::Conflict,
            FailureClass::NotFound => Self::NotFound,
            FailureClass::Findings => Self::Findings,
            FailureClass::Replica => Self::Replica,
            FailureClass::Cancelled => Self::Cancelled,
            FailureClass::Internal => Self::Internal,
        }
    }
}

impl Exit {
    /// The class that a JSON document names, as in `docs/exit-codes.md`.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Credentials => "credentials",
            Self::Unreachable => "unreachable",
            Self::Plugin => "plugin",
            Self::Trapped => "trapped",
            Self::Limit => "limit",
            Self::Proof => "proof",
            Self::Damaged => "damaged",
            Self::StorageFull => "storage-full",
            Self::Conflict => "conflict",
            Self::NotFound => "not-found",
            Self::Findings => "findings",
            Self::Replica => "replica",
            Self::Differs => "differs",
            Self::Undecided => "undecided",
            Self::Cancelled => "cancelled",
        }
    }

    /// The exit of a verification of several things: damage is worse than not being able to look, and being interrupted is told as such.
    pub(crate) fn or_worse(self, next: Self) -> Self {
        let badness = |exit: Self| match exit {
            Self::Ok => 0,
            Self::Cancelled => 2,
            Self::Damaged => 3,
            _ => 1,
        };
        if badness(next) > badness(self) { next } else { self }
    }

    /// The exit of a command that did several things: the first that went wrong.
    pub(crate) fn and(self, next: Self) -> Self {
        if self == Self::Ok { next } else { self }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_code_is_documented() {
        let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md")).unwrap();
        for code in (0..=16).chain([126, 130]) {
            assert!(documented.contains(&format!("| {code} |")), "{code} is not in docs/exit-codes.md");
        }
    }

    #[test]
    fn every_class_is_documented_beside_its_code() {
        let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md")).unwrap();
        for exit in [
            Exit::Internal,
            Exit::Usage,
            Exit::Config,
            Exit::Credentials,
            Exit::Unreachable,
            Exit::Plugin,
            Exit::Trapped,
            Exit::Limit,
            Exit::Proof,
            Exit::Damaged,
            Exit::StorageFull,
            Exit::Conflict,
            Exit::NotFound,
            Exit::Findings,
            Exit::Replica,
            Exit::Differs,
            Exit::Undecided,
            Exit::Cancelled,
        ] {
            let row = format!("| {} | {} |", exit as u8, exit.class());
            assert!(documented.contains(&row), "{row} is not in docs/exit-codes.md");
        }
    }

    #[test]
    fn damage_is_worse_than_anything_else() {
        assert_eq!(Exit::Limit.or_worse(Exit::Damaged).or_worse(Exit::Credentials), Exit::Damaged);
        assert_eq!(Exit::Ok.or_worse(Exit::Limit).or_worse(Exit::Plugin), Exit::Limit);
    }

    #[test]
    fn the_first_failure_counts() {
        assert_eq!(Exit::Ok.and(Exit::Proof).and(Exit::Limit), Exit::Proof);
        assert_eq!(Exit::Ok.and(Exit::Ok), Exit::Ok);
    }
}

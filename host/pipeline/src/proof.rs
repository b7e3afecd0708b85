//! Whether a snapshot may be believed: what the source says it sent against what was stored, and both against what the operator expects.

use bulkhead_config::Expectations;
use bulkhead_model::{Finding, Proof, Severity};

/// What a run stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Entries with content.
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Why a snapshot is not believed. Nothing is committed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The source's own end marker is missing.
    #[error("the source did not see the end of its data: what was stored may be truncated")]
    Incomplete,
    /// Another number of entries.
    #[error("the source says that it sent {}, but {stored} were stored", entries(*.said))]
    Entries {
        /// The source's number.
        said: u64,
        /// The vault's.
        stored: u64,
    },
    /// Another number of bytes.
    #[error("the source says that it sent {said} bytes, but {stored} were stored")]
    Bytes {
        /// The source's number.
        said: u64,
        /// The vault's.
        stored: u64,
    },
    /// The source found something that makes its data worthless.
    #[error("the source reports: {}", .0.message)]
    Finding(Finding),
    /// Fewer entries than expected.
    #[error("the snapshot would have {}, fewer than the {expected} expected", entries(*.stored))]
    FewEntries {
        /// The vault's number.
        stored: u64,
        /// The operator's.
        expected: u64,
    },
    /// Fewer bytes than expected.
    #[error("the snapshot would have {stored} bytes, fewer than the {expected} expected")]
    FewBytes {
        /// The vault's number.
        stored: u64,
        /// The operator's.
        expected: u64,
    },
    /// Much smaller than the last one.
    #[error("the snapshot would have {stored} bytes, {shrunk} % less than the last one's {parent}; at most {allowed} % are expected")]
    Shrunk {
        /// The vault's number.
        stored: u64,
        /// The parent's.
        parent: u64,
        /// By how much, in percent, rounded down.
        shrunk: u64,
        /// The operator's limit.
        allowed: u8,
    },
}

fn entries(number: u64) -> String {
    format!("{number} {}", if number == 1 { "entry" } else { "entries" })
}

impl ProofError {
    /// The setting that would allow it, and what to do.
    pub(crate) fn advice(&self) -> (Option<&'static str>, String) {
        match self {
            Self::Incomplete => (None, "look at the source's log: it may have been stopped".to_owned()),
            Self::Entries { .. } | Self::Bytes { .. } => (None, "this is a defect in the plugin: report it to its author".to_owned()),
            Self::Finding(finding) => (
                None,
                finding
                    .hint
                    .clone()
                    .unwrap_or_else(|| "repair the source, then run again".to_owned()),
            ),
            Self::FewEntries { .. } => (Some("expect.min-entries"), allow("min-entries = 0")),
            Self::FewBytes { .. } => (Some("expect.min-bytes"), allow("min-bytes = \"0 B\"")),
            Self::Shrunk { .. } => (
                Some("expect.max-shrink"),
                "look whether the source lost data; if it is meant to be so, run once with `--accept-small`".to_owned(),
            ),
        }
    }
}

fn allow(setting: &str) -> String {
    format!("look whether the source is the right one and not empty; if it is meant to be so, set `expect = {{ {setting} }}`")
}

/// Whether the source's numbers are the vault's.
pub(crate) fn agrees(proof: &Proof, stored: Stored) -> Result<(), ProofError> {
    if !proof.complete {
        return Err(ProofError::Incomplete);
    }
    if proof.entries != stored.entries {
        return Err(ProofError::Entries {
            said: proof.entries,
            stored: stored.entries,
        });
    }
    if proof.bytes != stored.bytes {
        return Err(ProofError::Bytes {
            said: proof.bytes,
            stored: stored.bytes,
        });
    }
    Ok(())
}

/// Whether none of the source's findings is an error.
pub(crate) fn no_error_among(findings: &[Finding]) -> Result<(), ProofError> {
    match findings.iter().find(|finding| finding.severity == Severity::Error) {
        Some(finding) => Err(ProofError::Finding(finding.clone())),
        None => Ok(()),
    }
}

/// Whether the snapshot is as large as the operator expects; `parent` has the bytes of the last one.
pub(crate) fn is_expected(expect: &Expectations, stored: Stored, parent: Option<u64>) -> Result<(), ProofError> {
    if stored.entries < expect.min_entries {
        return Err(ProofError::FewEntries {
            stored: stored.entries,
            expected: expect.min_entries,
        });
    }
    if stored.bytes < expect.min_bytes.0 {
        return Err(ProofError::FewBytes {
            stored: stored.bytes,
            expected: expect.min_bytes.0,
        });
    }
    let Some(parent) = parent.filter(|parent| *parent > stored.bytes) else {
        return Ok(());
    };
    let shrunk = u128::from(parent - stored.bytes) * 100;
    let allowed = u128::from(parent) * u128::from(expect.max_shrink.0);
    if shrunk > allowed {
        let shrunk = u64::try_from(shrunk / u128::from(parent)).unwrap_or(100);
        return Err(ProofError::Shrunk {
            stored: stored.bytes,
            parent,
            shrunk,
            allowed: expect.max_shrink.0,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: Stored = Stored { entries: 2, bytes: 100 };

    fn proof(entries: u64, bytes: u64, complete: bool) -> Proof {
        Proof {
            entries,
            bytes,
            complete,
            facts: Vec::new(),
        }
    }

    #[test]
    fn a_proof_holds_only_if_everything_agrees() {
        assert_eq!(agrees(&proof(2, 100, true), STORED), Ok(()));
        assert_eq!(agrees(&proof(2, 100, false), STORED), Err(ProofError::Incomplete));
        assert_eq!(
            agrees(&proof(3, 100, true), STORED),
            Err(ProofError::Entries { said: 3, stored: 2 })
        );
        assert_eq!(
            agrees(&proof(2, 99, true), STORED),
            Err(ProofError::Bytes { said: 99, stored: 100 })
        );
    }

    #[test]
    fn an_empty_snapshot_is_not_believed_unless_expected() {
        let empty = Stored { entries: 0, bytes: 0 };
        assert!(matches!(
            is_expected(&Expectations::default(), empty, None),
            Err(ProofError::FewEntries { .. })
        ));
        assert!(matches!(
            is_expected(&Expectations::default(), Stored { entries: 1, bytes: 0 }, None),
            Err(ProofError::FewBytes { .. })
        ));
        let expect = Expectations {
            min_entries: 0,
            min_bytes: bulkhead_config::ByteSize(0),
            ..Expectations::default()
        };
        assert_eq!(is_expected(&expect, empty, None), Ok(()));
    }

    #[test]
    fn a_snapshot_that_shrank_too_much_is_not_believed() {
        let expect = Expectations::default();
        assert_eq!(is_expected(&expect, STORED, Some(1000)), Ok(()), "90 % smaller is still allowed");
        assert!(matches!(
            is_expected(&expect, STORED, Some(1001)),
            Err(ProofError::Shrunk { shrunk: 90, .. })
        ));
        assert_eq!(is_expected(&expect, STORED, Some(50)), Ok(()), "growing is fine");
        let anything = Expectations {
            max_shrink: bulkhead_config::Percent(100),
            ..expect
        };
        assert_eq!(is_expected(&anything, STORED, Some(u64::MAX)), Ok(()));
    }

    #[test]
    fn an_error_among_the_findings_fails_the_run() {
        let finding = |severity| Finding {
            severity,
            code: "x".into(),
            message: "y".into(),
            hint: None,
            setting: None,
        };
        assert_eq!(no_error_among(&[finding(Severity::Warning), finding(Severity::Info)]), Ok(()));
        assert!(no_error_among(&[finding(Severity::Warning), finding(Severity::Error)]).is_err());
    }
}

//! How many files this process may have open.
//!
//! The usual soft limit of 1,024 is a relic of `select`, and the hard limit is what the system really allows. A source and the pool of a sink's instances together may
//! have more open (256 files, 64 connections, … each): they should meet their own limits, which are told by name, and not this one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for what the plugin host lets a source and all instances of its sinks have open.
const WANTED: u64 = 16 << 10;

/// Raises the soft limit as far as that is wanted and allowed.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum.unwrap_or(WANTED).min(WANTED);
    // `None` is no limit at all.
    if current.is_none_or(|current| current >= raised) {
        return;
    }
    let limit = Rlimit {
        current: Some(raised),
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_and_the_hard_one_kept() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: Some(256),
            maximum: before.maximum,
        };
        assert!(setrlimit(Resource::Nofile, low).is_ok());
        raise();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
        assert_eq!(after.current, Some(before.maximum.unwrap_or(WANTED).min(WANTED)));
    }
}

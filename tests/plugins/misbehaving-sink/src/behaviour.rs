//! The ways of going wrong.

use std::{hint::black_box, time::Duration};

use bulkhead_sdk::prelude::*;

/// What the sink does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Nothing goes wrong.
    #[default]
    Good,
    /// Every call fails with hint and causes.
    Error,
    /// `put` and `get` fail, but say that a retry may help.
    RetryableError,
    /// `put` fails as a full disk does; reading works.
    StorageFull,
    /// A panic in `put` and `get`.
    Panic,
    /// An endless loop in `put` and `get`.
    LoopForever,
    /// A sleep without end in `put` and `get`.
    Hang,
    /// Allocates and touches memory without end in `put` and `get`.
    EatMemory,
    /// Logs without end in `put` and `get`.
    FloodLog,
    /// `put` says that it stored, and did not.
    Lose,
    /// `put` says that it stored, and the last byte is missing.
    Truncate,
    /// `get` flips a bit of the first byte.
    Corrupt,
    /// `get` writes half of what was asked for, without an error.
    ReadShort,
    /// `get` writes 4 KiB more than was asked for.
    ReadTooMuch,
    /// `list` leaves one object out.
    ListShort,
    /// `list` has always another page.
    ListForever,
    /// `list` names the page that was asked for as the next one.
    ListSamePage,
}

/// An error with everything that an error can have.
pub(crate) fn refused(operation: &str) -> Error {
    Error::new(ErrorKind::Server, format!("the store refused {operation}"))
        .with_hint("set `behaviour = \"good\"`")
        .with_setting("behaviour")
        .with_cause("it was told to")
}

impl Behaviour {
    /// Goes wrong in `operation`, where that is the way.
    pub(crate) fn act(self, operation: &str) -> Result<()> {
        match self {
            Self::Error => return Err(refused(operation)),
            Self::RetryableError => return Err(refused(operation).with_retryable(true)),
            Self::StorageFull => return Err(Error::new(ErrorKind::StorageFull, "there is no room left").with_hint("make room")),
            Self::Panic => told_to_panic(),
            Self::LoopForever => loop {
                black_box(());
            },
            Self::Hang => {
                // For a test that waits for it.
                bulkhead_sdk::info!("going wrong now");
                std::thread::sleep(Duration::from_secs(u64::from(u32::MAX)));
            }
            Self::EatMemory => eat_memory(),
            Self::FloodLog => (0..u64::MAX).for_each(|line| bulkhead_sdk::info!(line = line; "once more")),
            Self::Good
            | Self::Lose
            | Self::Truncate
            | Self::Corrupt
            | Self::ReadShort
            | Self::ReadTooMuch
            | Self::ListShort
            | Self::ListForever
            | Self::ListSamePage => {}
        }
        Ok(())
    }
}

#[expect(clippy::panic, reason = "it was told to")]
fn told_to_panic() {
    panic!("told to panic");
}

fn eat_memory() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 1 << 20]);
        black_box(&eaten);
    }
}

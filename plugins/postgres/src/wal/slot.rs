//! The replication slot that keeps the server from removing log before the vault has it: [`prepare`].

use bulkhead_postgres_client::{ClientError, Lsn, Session, TimelineId, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, types::Finding};

/// SQLSTATE `duplicate_object`.
const EXISTS: &str = "42710";
/// SQLSTATE `object_in_use`.
const IN_USE: &str = "55006";

/// A slot that is ready to be used.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// From where on it keeps the log, and on which timeline; `None` where the server does not say (before 15).
    pub(crate) kept_from: Option<(Lsn, TimelineId)>,
    /// Whether it was made just now.
    pub(crate) made: bool,
    /// What became of a slot that was there.
    pub(crate) finding: Option<Finding>,
}

/// What `READ_REPLICATION_SLOT` says.
enum State {
    Missing,
    /// There, but it keeps nothing: the server gave it up, or nobody has used it yet.
    Idle,
    Keeps(Lsn, TimelineId),
}

/// Makes the slot called `name` where it is missing. `expected` says that an earlier run has made it.
pub(crate) fn prepare<T: Transport>(session: &mut Session<T>, major: u32, name: &str, expected: bool) -> Result<Slot> {
    if major < 15 {
        let made = create(session, major, name)?;
        return Ok(Slot {
            kept_from: None,
            made,
            finding: (made && expected).then(|| vanished(name)),
        });
    }
    let finding = match read(session, name)? {
        State::Keeps(lsn, timeline) => {
            return Ok(Slot {
                kept_from: Some((lsn, timeline)),
                made: false,
                finding: None,
            });
        }
        State::Missing => expected.then(|| vanished(name)),
        State::Idle => {
            remove(session, name)?;
            expected.then(|| given_up(name))
        }
    };
    let made = create(session, major, name)?;
    let kept_from = match read(session, name)? {
        State::Keeps(lsn, timeline) => Some((lsn, timeline)),
        State::Missing | State::Idle => None,
    };
    Ok(Slot { kept_from, made, finding })
}

/// Drops a slot that keeps nothing of use.
pub(crate) fn remove<T: Transport>(session: &mut Session<T>, name: &str) -> Result<()> {
    let dropped = session.query(&format!("DROP_REPLICATION_SLOT {name}"));
    dropped.map(drop).map_err(|error| {
        explain(
            error,
            name,
            "dropping the replication slot, whose log the server has removed, failed",
        )
    })
}

/// Whether it was made; it may be there.
fn create<T: Transport>(session: &mut Session<T>, major: u32, name: &str) -> Result<bool> {
    let command = if major >= 15 {
        format!("CREATE_REPLICATION_SLOT {name} PHYSICAL (RESERVE_WAL)")
    } else {
        format!("CREATE_REPLICATION_SLOT {name} PHYSICAL RESERVE_WAL")
    };
    match session.query(&command) {
        Ok(_) => {
            bulkhead_sdk::info!("made the replication slot `{name}`");
            Ok(true)
        }
        Err(ClientError::Server(report)) if report.code == EXISTS => Ok(session.recover().map(|()| false)?),
        Err(error) => Err(explain(error, name, "making the replication slot failed")),
    }
}

fn read<T: Transport>(session: &mut Session<T>, name: &str) -> Result<State> {
    let sets = session
        .query(&format!("READ_REPLICATION_SLOT {name}"))
        .context(|| format!("looking at the replication slot `{name}` failed"))?;
    let value = |column| sets.first().and_then(|set| set.value(0, column));
    if value("slot_type").is_none() {
        return Ok(State::Missing);
    }
    let lsn = value("restart_lsn").and_then(|text| text.parse().ok());
    let timeline = value("restart_tli").and_then(|text| text.parse().ok());
    Ok(match (lsn, timeline) {
        (Some(lsn), Some(timeline)) => State::Keeps(lsn, TimelineId(timeline)),
        _ => State::Idle,
    })
}

/// Says what failed, and what to do where somebody else uses the slot. That may be the connection of a run that has just been killed, so trying again may
/// help.
pub(crate) fn explain(error: ClientError, name: &str, what: &str) -> Error {
    let in_use = matches!(&error, ClientError::Server(report) if report.code == IN_USE);
    let error = Error::from(error);
    if !in_use {
        return error.context(what);
    }
    let mut error = error
        .context(format!("somebody else streams through the replication slot `{name}`"))
        .with_setting("slot")
        .with_hint("give each pipeline, and each standby, a slot of its own; SELECT * FROM pg_stat_replication on the server tells who uses this one")
        .with_retryable(true);
    error.kind = ErrorKind::Conflict;
    error
}

fn vanished(name: &str) -> Finding {
    Finding::warning(
        "slot-recreated",
        format!("the replication slot `{name}` had vanished from the server; it was made again, and no log was lost"),
    )
    .with_hint("find out who dropped it: until now the server was free to remove log that the vault did not have")
}

fn given_up(name: &str) -> Finding {
    Finding::warning(
        "slot-recreated",
        format!("the server had given up the replication slot `{name}`, as it kept more than `max_slot_wal_keep_size`; it was made again, and no log was lost"),
    )
    .with_hint("raise `max_slot_wal_keep_size` on the server, or see that runs follow each other sooner")
}

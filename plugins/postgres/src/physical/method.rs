//! Whether a base backup is incremental or full, and its beginning: [`start`].
//!
//! An incremental one is tried where the last snapshot fits ([`Parent`]). Whatever is in its way is found out before the first entry is written, and a full backup
//! is taken instead, over a connection of its own.

use std::{
    fmt,
    thread::sleep,
    time::{Duration, Instant},
};

use bulkhead_postgres_client::Lsn;
use bulkhead_sdk::{ErrorKind, Result, ResultExt, progress, types::Finding};

use super::{
    backup::{explain_backup, reserve_log},
    base_backup::{self, Beginning, Begun, Command, Point},
    parent::{Full, Parent, Run, Sizes, offered},
    truncations::Truncations,
};
use crate::{
    config::Config,
    connection::{self, Connection, Purpose},
    server::Server,
};

/// How a backup is taken.
#[derive(Debug)]
pub(crate) enum Method {
    /// What has changed since the last snapshot, which begins there.
    Incremental(Lsn),
    /// All of it, and why.
    Full(Full),
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incremental(start) => write!(formatter, "incremental since {start}"),
            Self::Full(why) => write!(formatter, "full: {why}"),
        }
    }
}

impl Method {
    /// What is worth telling of it.
    pub(crate) fn finding(&self) -> Option<Finding> {
        match self {
            Self::Incremental(_) => None,
            Self::Full(why) => why.finding(),
        }
    }
}

/// A base backup that the server has begun to send.
pub(crate) struct Started {
    pub(crate) session: Connection,
    pub(crate) server: Server,
    /// Where the next backup may be incremental.
    pub(crate) run: Option<Run>,
    pub(crate) begun: Begun,
    pub(crate) method: Method,
    /// What an incremental one builds on.
    pub(crate) parent: Option<Parent>,
}

/// Begins a backup; `checkpoint` is that of the last snapshot.
pub(crate) fn start(config: &Config, checkpoint: Option<&[u8]>) -> Result<Started> {
    let mut session = connection::open(config, Purpose::PhysicalReplication)?;
    let server = Server::inspect(&mut session)?;
    let known = ask(config, &server, &mut session)?;
    let parent = match &known {
        Ok(Known { run, closed: None }) => find(checkpoint, &server, run, &mut session)?,
        Ok(Known { closed: Some(why), .. }) | Err(why) => Err(why.clone()),
    };
    let (begun, method, parent) = match parent {
        Err(why) => (full(config, &server, &mut session)?, Method::Full(why), None),
        Ok(parent) => match incremental(config, &server, &mut session, parent)? {
            Ok((begun, parent)) => (begun, Method::Incremental(parent.start), Some(parent)),
            Err(why) => {
                session.close();
                let begun;
                (session, begun) = instead(config, &server)?;
                (begun, Method::Full(why), None)
            }
        },
    };
    bulkhead_sdk::info!("the backup is {method}");
    Ok(Started {
        session,
        server,
        run: known.ok().map(|known| known.run),
        begun,
        method,
        parent,
    })
}

/// What SQL tells before a backup begins.
struct Known {
    /// Which run of the server it is.
    run: Run,
    /// Why it will not tell what else an incremental backup needs.
    closed: Option<Full>,
}

/// Asks, where it matters.
fn ask(config: &Config, server: &Server, session: &mut Connection) -> Result<Result<Known, Full>> {
    if let Err(why) = offered(config.incremental, server, session)? {
        return Ok(Err(why));
    }
    let asked = connection::open(config, Purpose::Database("postgres")).and_then(|mut sql| {
        let known = Known {
            run: Run::of(&mut sql)?,
            closed: Truncations::closed(&mut sql)?,
        };
        sql.close();
        Ok(known)
    });
    Ok(asked.map_err(|error| Full::NoSql(error.to_string())))
}

fn find(checkpoint: Option<&[u8]>, server: &Server, run: &Run, session: &mut Connection) -> Result<Result<Parent, Full>> {
    let sizes = Sizes::of(session)?;
    Parent::find(checkpoint, server, run, sizes)
}

fn full(config: &Config, server: &Server, session: &mut Connection) -> Result<Begun> {
    reserve_log(session, server.major)?;
    let begun = base_backup::begin(session, command(config, server, false)?).and_then(Beginning::or_error);
    begun.map_err(explain_backup)
}

/// A full backup over another connection. The server may count the one that was closed, and its slot, for a moment longer.
fn instead(config: &Config, server: &Server) -> Result<(Connection, Begun)> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(200);
    let since = Instant::now();
    loop {
        let begun = connection::open(config, Purpose::PhysicalReplication).and_then(|mut session| {
            let begun = full(config, server, &mut session)?;
            Ok((session, begun))
        });
        match begun {
            Err(error) if error.kind == ErrorKind::Limit && error.retryable && since.elapsed() < PATIENCE => sleep(PAUSE),
            begun => return begun,
        }
    }
}

fn incremental(config: &Config, server: &Server, session: &mut Connection, parent: Parent) -> Result<Result<(Begun, Parent), Full>> {
    if let Err(why) = Parent::upload(session).context(|| "giving the server the last snapshot's manifest failed")? {
        return Ok(Err(why));
    }
    reserve_log(session, server.major)?;
    progress::report("waiting for the server's summaries of its log", 0, None);
    let begun = match base_backup::begin(session, command(config, server, true)?).map_err(explain_backup)? {
        Beginning::Begun(begun) => begun,
        Beginning::Refused(report) => return Ok(Err(Full::refused(&report))),
    };
    // Only now has the server summarized all of the log up to where the backup begins.
    let truncations = truncations(config, parent.start, begun.start()?)?;
    Ok(truncations.map(|truncations| (begun, parent.without(truncations))))
}

fn truncations(config: &Config, start: Lsn, end: Point) -> Result<Result<Truncations, Full>> {
    let read = connection::open(config, Purpose::Database("postgres")).and_then(|mut sql| {
        let truncations = Truncations::read(&mut sql, end.timeline, start, end.lsn)?;
        sql.close();
        Ok(truncations)
    });
    match read {
        Err(error) if error.retryable || error.kind == ErrorKind::Cancelled => Err(error),
        read => Ok(read.map_err(|error| Full::NoTruncations(error.to_string()))),
    }
}

fn command(config: &Config, server: &Server, incremental: bool) -> Result<Command> {
    Ok(Command {
        major: server.major,
        checkpoint: config.checkpoint,
        max_rate: config.max_rate_kib()?,
        incremental,
    })
}

//! One connection of a restore, with commands ahead of their replies: [`Lane`].
//!
//! What was sent is kept until it is answered, because a cluster may answer that the key has moved. A bound in bytes and in commands keeps both sides'
//! memory small; replies are a few bytes each, so the server never waits for them to be read before it reads on. A window that is full is emptied by half:
//! one answer for each command would be one write for each command.

use std::collections::VecDeque;

use bulkhead_resp::{Command, RespError, ServerError, Value};
use bulkhead_sdk::{Result, host::BEST_TRANSFER};

use crate::connection::Connection;

/// Commands ahead of their replies.
const MAX_COMMANDS: usize = 2048;

/// What a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `RESTORE`, or a question about the key.
    Key {
        name: Vec<u8>,
        expired: bool,
    },
    Function,
    /// `SELECT`, `ASKING`: what matters is the next one.
    Preparation,
}

/// A command that was sent, or will be at once.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) purpose: Purpose,
    pub(super) command: Command,
    /// How often a cluster has sent it elsewhere.
    pub(super) redirections: u8,
}

/// A command that was answered.
pub(super) struct Answered {
    pub(super) sent: Sent,
    pub(super) answer: Result<Value, ServerError>,
}

/// A connection with a window of commands.
pub(super) struct Lane {
    pub(super) address: String,
    session: Connection,
    database: u64,
    in_flight: VecDeque<Sent>,
    bytes: usize,
    outgoing: Vec<u8>,
    window: usize,
}

impl Lane {
    pub(super) fn new(address: String, session: Connection, window: usize) -> Self {
        Self {
            address,
            session,
            database: 0,
            in_flight: VecDeque::new(),
            bytes: 0,
            outgoing: Vec::new(),
            window,
        }
    }

    /// The connection itself, between commands.
    pub(super) fn session(&mut self) -> &mut Connection {
        &mut self.session
    }

    /// Makes `database` the one that further commands are about.
    pub(super) fn select(&mut self, database: u64) -> Result<()> {
        if self.database == database {
            return Ok(());
        }
        self.database = database;
        self.send(Sent {
            purpose: Purpose::Preparation,
            command: Command::new(&["SELECT", &database.to_string()]),
            redirections: 0,
        })
    }

    /// Sends a command, sooner or later.
    pub(super) fn send(&mut self, sent: Sent) -> Result<()> {
        self.bytes += sent.command.len();
        self.outgoing.extend_from_slice(sent.command.as_bytes());
        self.in_flight.push_back(sent);
        if self.outgoing.len() >= BEST_TRANSFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.session.send_bytes(&self.outgoing)?;
        self.outgoing.clear();
        // What a large value made of it is not kept for small ones.
        self.outgoing.shrink_to(2 * BEST_TRANSFER);
        Ok(())
    }

    /// Whether replies must be read before more is sent.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.window || self.in_flight.len() >= MAX_COMMANDS
    }

    /// Whether enough replies have been read since it was full.
    pub(super) fn is_roomy(&self) -> bool {
        self.bytes <= self.window / 2 && self.in_flight.len() <= MAX_COMMANDS / 2
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Waits for the oldest reply; `None` where none is due.
    pub(super) fn answer(&mut self) -> Result<Option<Answered>> {
        if !self.outgoing.is_empty() {
            self.flush()?;
        }
        let Some(sent) = self.in_flight.pop_front() else { return Ok(None) };
        self.bytes -= sent.command.len();
        let answer = match self.session.receive() {
            Ok(value) => Ok(value),
            Err(RespError::Server(error)) => Err(error),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Answered { sent, answer }))
    }
}

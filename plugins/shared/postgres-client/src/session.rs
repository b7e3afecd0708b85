//! An authenticated connection: [`Session`].
//!
//! It reads ahead in pieces of 256 KiB and hands `CopyData` on as slices of these. Notices are logged where they arrive and kept (a bounded number)
//! for whoever wants to look at them; parameters that the server reports are remembered.

use std::{collections::BTreeMap, time::Duration};

use bulkhead_sdk::{ErrorKind, host::BEST_TRANSFER};

use crate::{
    error::{ClientError, Violation},
    report::{ServerReport, Severity},
    transport::Transport,
    wire::{Decoder, Frame, Located, Message, frontend},
};

/// Rows that a query may return in all, in bytes: [`Session::query`] keeps them in memory.
const MAX_RESULT: usize = 16 << 20;

/// Notices kept for the caller. Page checksum failures come as notices, at most five for a file; past this many they are counted only.
const MAX_NOTICES: usize = 1000;

/// Parameters that a server may report; PostgreSQL has about fifteen.
const MAX_PARAMETERS: usize = 256;

/// How the connection is protected from those on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// A Unix socket: there is no way.
    LocalSocket,
    /// TLS.
    Tls,
    /// Not at all.
    None,
}

/// How the server made sure who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the protocol's own names")]
pub enum AuthenticationMethod {
    /// It didn't ask: `trust`, `peer` or `cert` in its `pg_hba.conf`.
    NotAsked,
    CleartextPassword,
    Md5,
    ScramSha256,
    ScramSha256Plus,
}

/// The rows of one statement, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResultSet {
    /// Column names.
    pub columns: Vec<String>,
    /// Values in the order of the columns; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl ResultSet {
    /// The value in `row` of the column called `name`.
    #[must_use]
    pub fn value(&self, row: usize, name: &str) -> Option<&str> {
        let column = self.columns.iter().position(|column| column == name)?;
        self.rows.get(row)?.get(column)?.as_deref()
    }
}

/// What a running command sends, in order; see PostgreSQL's documentation of the command.
#[derive(Debug, PartialEq, Eq)]
pub enum CopyEvent<'a> {
    /// A result set's columns.
    Columns(Vec<String>),
    /// One of its rows.
    Row(Vec<Option<String>>),
    /// A statement is done; its command tag (`COPY 42`).
    CommandComplete(String),
    /// `CopyData` messages follow.
    CopyOut,
    /// The server waits for [`Session::copy_data`].
    CopyIn,
    /// Both sides may send `CopyData`: a stream of the log has begun.
    CopyBoth,
    /// A piece of a `CopyData` message.
    CopyData {
        /// Of the message.
        bytes: &'a [u8],
        /// Whether the message begins here.
        first: bool,
        /// Whether the message ends here.
        last: bool,
    },
    /// No further `CopyData`.
    CopyDone,
    /// The server waits for the next command.
    Ready,
}

/// An authenticated connection.
pub struct Session<T> {
    transport: T,
    decoder: Decoder,
    parameters: BTreeMap<String, String>,
    notices: Vec<ServerReport>,
    notices_dropped: u64,
    pub(crate) encryption: Encryption,
    pub(crate) authentication: AuthenticationMethod,
    pub(crate) process: Option<u32>,
}

impl<T: Transport> Session<T> {
    pub(crate) fn new(transport: T, encryption: Encryption) -> Self {
        Self {
            transport,
            decoder: Decoder::default(),
            parameters: BTreeMap::new(),
            notices: Vec::new(),
            notices_dropped: 0,
            encryption,
            authentication: AuthenticationMethod::NotAsked,
            process: None,
        }
    }

    /// How the connection is protected.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// How the server authenticated us.
    #[must_use]
    pub fn authentication(&self) -> AuthenticationMethod {
        self.authentication
    }

    /// A parameter that the server reported (`server_version`, …).
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The process that whoever answered the login says it is, to be cancelled by. A pooler makes one up: it differs from the server's own `pg_backend_pid()`.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.process
    }

    /// Notices since the last call, and how many more there were than are kept.
    pub fn take_notices(&mut self) -> (Vec<ServerReport>, u64) {
        (std::mem::take(&mut self.notices), std::mem::take(&mut self.notices_dropped))
    }

    /// Runs one statement and returns its result sets.
    pub fn query(&mut self, statement: &str) -> Result<Vec<ResultSet>, ClientError> {
        self.start(statement)?;
        let mut sets = Vec::new();
        let mut size = 0;
        loop {
            match self.next_event()? {
                CopyEvent::Columns(columns) => sets.push(ResultSet { columns, rows: Vec::new() }),
                CopyEvent::Row(row) => {
                    // An empty value still costs its place in a row.
                    size += row
                        .iter()
                        .map(|value| size_of::<Option<String>>() + value.as_ref().map_or(0, String::len))
                        .sum::<usize>();
                    if size > MAX_RESULT {
                        return Err(Violation::ResultTooLarge { limit: MAX_RESULT }.into());
                    }
                    sets.last_mut()
                        .ok_or(Violation::Unexpected {
                            tag: b'D',
                            during: "a query",
                        })?
                        .rows
                        .push(row);
                }
                CopyEvent::CommandComplete(_) => {}
                CopyEvent::Ready => return Ok(sets),
                CopyEvent::CopyOut | CopyEvent::CopyIn | CopyEvent::CopyBoth | CopyEvent::CopyDone => {
                    return Err(Violation::Unexpected {
                        tag: b'H',
                        during: "a query",
                    }
                    .into());
                }
                CopyEvent::CopyData { .. } => {
                    return Err(Violation::Unexpected {
                        tag: b'd',
                        during: "a query",
                    }
                    .into());
                }
            }
        }
    }

    /// After an error of the server that the caller can do without: reads on until the server waits for the next command.
    pub fn recover(&mut self) -> Result<(), ClientError> {
        while self.next_event()? != CopyEvent::Ready {}
        Ok(())
    }

    /// Sends a statement or replication command; [`Self::next_event`] gives what comes back, up to [`CopyEvent::Ready`].
    pub fn start(&mut self, statement: &str) -> Result<(), ClientError> {
        if statement.contains('\0') {
            return Err(ClientError::ZeroByte("a statement"));
        }
        let mut message = Vec::new();
        frontend::query(&mut message, statement);
        self.send(&message)
    }

    /// Sends a piece of the data that a `COPY … FROM STDIN` waits for, after [`CopyEvent::CopyIn`]. Pieces may end anywhere. A server that finds fault with the data
    /// says so only through [`Self::next_event`]; until then it reads on.
    pub fn copy_data(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let mut header = Vec::with_capacity(5);
        frontend::copy_data_header(&mut header, bytes.len());
        self.send(&header)?;
        self.send(bytes)
    }

    /// Ends the data of a `COPY … FROM STDIN`.
    pub fn copy_done(&mut self) -> Result<(), ClientError> {
        let mut message = Vec::new();
        frontend::copy_done(&mut message);
        self.send(&message)
    }

    /// The next thing that a running command sends. An error of the server ends the command, as [`ClientError::Server`].
    pub fn next_event(&mut self) -> Result<CopyEvent<'_>, ClientError> {
        self.event_before(None)
    }

    /// As [`Self::next_event`], for a command that may have nothing to say for long: `None` where nothing came for so long as `deadline` says.
    pub fn next_event_within(&mut self, deadline: Duration) -> Result<Option<CopyEvent<'_>>, ClientError> {
        match self.event_before(Some(deadline)) {
            // Half a message may have come: the decoder keeps it.
            Err(ClientError::Transport(error)) if error.kind == ErrorKind::TimedOut => Ok(None),
            event => event.map(Some),
        }
    }

    fn event_before(&mut self, deadline: Option<Duration>) -> Result<CopyEvent<'_>, ClientError> {
        let located = loop {
            let located = self.locate(deadline)?;
            match located {
                Located::CopyData { .. } => break located,
                Located::Message { tag, .. } => {
                    if let Some(event) = self.command_event(tag, &located)? {
                        return Ok(event);
                    }
                }
            }
        };
        match self.decoder.frame(&located) {
            Frame::CopyData { bytes, first, last } => Ok(CopyEvent::CopyData { bytes, first, last }),
            Frame::Message { tag, .. } => Err(Violation::Unexpected { tag, during: "a command" }.into()),
        }
    }

    fn command_event(&mut self, tag: u8, located: &Located) -> Result<Option<CopyEvent<'static>>, ClientError> {
        let during = "a command";
        Ok(Some(match parse(self.decoder.frame(located))? {
            Message::RowDescription { columns } => CopyEvent::Columns(columns.into_iter().map(lossy).collect()),
            Message::DataRow(row) => CopyEvent::Row(row.0.into_iter().map(|value| value.map(lossy)).collect()),
            Message::CommandComplete { tag } => CopyEvent::CommandComplete(lossy(tag)),
            Message::EmptyQueryResponse => CopyEvent::CommandComplete(String::new()),
            Message::CopyOutResponse => CopyEvent::CopyOut,
            Message::CopyInResponse => CopyEvent::CopyIn,
            Message::CopyBothResponse => CopyEvent::CopyBoth,
            Message::CopyDone => CopyEvent::CopyDone,
            Message::ReadyForQuery => CopyEvent::Ready,
            Message::ErrorResponse(report) => return Err(ClientError::Server(Box::new(report))),
            Message::NoticeResponse(report) => {
                self.notice(report);
                return Ok(None);
            }
            Message::ParameterStatus { name, value } => {
                let (name, value) = (lossy(name), lossy(value));
                self.parameter_status(name, value);
                return Ok(None);
            }
            Message::NotificationResponse => return Ok(None),
            Message::Authentication(_) | Message::BackendKeyData { .. } | Message::NegotiateProtocolVersion | Message::Unknown(_) => {
                return Err(Violation::Unexpected { tag, during }.into());
            }
        }))
    }

    /// Reads the next message of the login and hands it to `handle`.
    pub(crate) fn login_message<R>(
        &mut self,
        deadline: Duration,
        handle: impl FnOnce(u8, Message<'_>) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        let located = self.locate(Some(deadline))?;
        match self.decoder.frame(&located) {
            frame @ Frame::Message { tag, .. } => handle(tag, parse(frame)?),
            Frame::CopyData { .. } => Err(Violation::Unexpected {
                tag: b'd',
                during: "the login",
            }
            .into()),
        }
    }

    pub(crate) fn logged_in(&mut self) {
        self.decoder.logged_in();
    }

    pub(crate) fn parameter_status(&mut self, name: String, value: String) {
        if self.parameters.len() < MAX_PARAMETERS || self.parameters.contains_key(&name) {
            self.parameters.insert(name, value);
        }
    }

    pub(crate) fn notice(&mut self, report: ServerReport) {
        if report.severity >= Severity::Warning {
            bulkhead_sdk::warn!(sqlstate = report.code; "the server warns: {}", report.message);
        } else {
            bulkhead_sdk::info!(sqlstate = report.code; "the server says: {}", report.message);
        }
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(report);
        } else {
            self.notices_dropped += 1;
        }
    }

    pub(crate) fn send(&mut self, data: &[u8]) -> Result<(), ClientError> {
        Ok(self.transport.write(data)?)
    }

    fn locate(&mut self, deadline: Option<Duration>) -> Result<Located, ClientError> {
        loop {
            if let Some(located) = self.decoder.locate().map_err(Violation::from)? {
                return Ok(located);
            }
            let chunk = self.transport.read(BEST_TRANSFER, deadline)?.ok_or(ClientError::Closed)?;
            self.decoder.feed(chunk);
        }
    }

    /// Says good-bye. A server that is gone by now takes no harm, so errors don't matter.
    pub fn close(mut self) {
        let mut message = Vec::new();
        frontend::terminate(&mut message);
        if let Err(error) = self.send(&message) {
            bulkhead_sdk::debug!("the server was gone before the connection was closed: {error}");
        }
    }
}

fn parse(frame: Frame<'_>) -> Result<Message<'_>, ClientError> {
    match frame {
        Frame::Message { tag, body } => Message::parse(tag, body).map_err(|reason| Violation::Body { tag, reason }.into()),
        Frame::CopyData { .. } => Err(Violation::Unexpected {
            tag: b'd',
            during: "a command",
        }
        .into()),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

//! A full resynchronization, asked for as a replica does: [`Synchronization`].
//!
//! The server forks and sends its dataset, from a file (with its length in front) or straight from memory (with an end mark behind it). While it forks, it
//! sends empty lines so that nobody thinks it is gone. What would follow is the replication stream; it is never read, and servers that can are told so
//! (`rdb-only`), or they would keep it in memory for this client until `client-output-buffer-limit` cuts it off.

use std::time::Duration;

use bulkhead_resp::{RespError, ServerError, Session, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, progress};

use crate::{counts::Counted, failure, server::Info};

/// How long a server may be silent: `repl-timeout` is a minute by default, and a server that forks sends an empty line every second or ten.
const SILENCE: Duration = Duration::from_secs(90);

/// Length of the end mark of a diskless transfer.
const MARK: usize = 40;

/// How much is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// Empty lines before anything is said: an hour's worth.
const MAX_KEEP_ALIVES: u32 = 36_000;

/// How the end of the dataset is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By its length.
    Sized(u64),
    /// By a mark behind it.
    Marked([u8; MARK]),
}

/// A server that is about to send its dataset.
#[derive(Debug)]
pub(crate) struct Synchronization<T> {
    session: Session<T>,
    /// The history that the dataset is of; none where the server is asked with `SYNC`.
    pub(crate) replication_id: Option<String>,
    /// Where in that history it forked.
    pub(crate) offset: Option<u64>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server does not offer replication to clients: managed services do that.
    NotOffered(ServerError),
    /// Anything else.
    Failed(Error),
}

impl From<RespError> for Refusal {
    fn from(error: RespError) -> Self {
        Self::Failed(error.into())
    }
}

impl<T: Transport> Synchronization<T> {
    /// Asks for it, and waits until the server has forked.
    pub(crate) fn begin(mut session: Session<T>, info: &Info) -> Result<Self, Refusal> {
        session.set_deadline(SILENCE);
        let wish = |session: &mut Session<T>, words: &[&str]| match session.call(words) {
            Ok(_) => Ok(Ok(())),
            Err(RespError::Server(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        };
        match wish(&mut session, &["REPLCONF", "capa", "eof", "capa", "psync2"])? {
            Err(error) if error.is_unknown_command() => return Err(Refusal::NotOffered(error)),
            Err(error) => return Err(Refusal::Failed(explain(&error))),
            Ok(()) => {}
        }
        // Older servers do without: what they refuse here costs them memory, no more.
        let _ = wish(&mut session, &["REPLCONF", "rdb-only", "1"])?;
        if let Some(version) = info.valkey_version() {
            // A replica that does not say how new it is gets the format of old, which lacks what is new.
            let _ = wish(&mut session, &["REPLCONF", "version", version])?;
        }
        session.send(&bulkhead_resp::Command::new(&["PSYNC", "?", "-1"]))?;
        let mut synchronization = Self {
            session,
            replication_id: None,
            offset: None,
        };
        match synchronization.accepted() {
            Ok(()) => Ok(synchronization),
            Err(Refusal::NotOffered(_)) => {
                synchronization.session.send(&bulkhead_resp::Command::new(&["SYNC"]))?;
                Ok(synchronization)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Waits for the answer to `PSYNC`.
    fn accepted(&mut self) -> Result<(), Refusal> {
        let line = self.said()?;
        let text = String::from_utf8_lossy(&line);
        match text.split(' ').collect::<Vec<_>>().as_slice() {
            ["+FULLRESYNC", id, offset] => {
                self.replication_id = Some((*id).chars().take(64).collect());
                self.offset = offset.parse().ok();
                Ok(())
            }
            _ => match line.strip_prefix(b"-").map(ServerError::parse) {
                Some(error) if error.is_unknown_command() => Err(Refusal::NotOffered(error)),
                Some(error) => Err(Refusal::Failed(explain(&error))),
                None => Err(unexpected("PSYNC", "+FULLRESYNC with an id and an offset").into()),
            },
        }
    }

    /// The next line that is not empty.
    fn said(&mut self) -> Result<Vec<u8>, RespError> {
        for _ in 0..MAX_KEEP_ALIVES {
            let line = self.session.line()?;
            if !line.is_empty() {
                return Ok(line);
            }
            progress::report("waiting for the server's snapshot", 0, None);
        }
        Err(unexpected("PSYNC", "a dataset, but nothing for hours"))
    }

    /// Waits until the dataset comes.
    pub(crate) fn transfer(mut self) -> Result<Transfer<T>, Refusal> {
        let form = self.form()?;
        Ok(Transfer {
            session: self.session,
            form,
        })
    }

    fn form(&mut self) -> Result<Form, Refusal> {
        let line = self.said()?;
        let wrong = || unexpected("PSYNC", "a dataset with its length or end mark");
        match line.as_slice() {
            [b'$', b'E', b'O', b'F', b':', mark @ ..] => Ok(Form::Marked(mark.try_into().map_err(|_| wrong())?)),
            [b'$', length @ ..] => {
                let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
                Ok(Form::Sized(length.ok_or_else(wrong)?))
            }
            [b'-', error @ ..] => {
                let error = ServerError::parse(error);
                if error.is_unknown_command() {
                    return Err(Refusal::NotOffered(error));
                }
                Err(Refusal::Failed(explain(&error)))
            }
            _ => Err(wrong().into()),
        }
    }
}

/// A dataset that is coming.
#[derive(Debug)]
pub(crate) struct Transfer<T> {
    session: Session<T>,
    form: Form,
}

impl<T: Transport> Transfer<T> {
    /// Receives the dataset, handing every byte to `store`, and reads it as it passes. Returns only where the server has told its end, and that is where
    /// the dataset itself ends.
    pub(crate) fn receive(mut self, estimate: Option<u64>, mut store: impl FnMut(&[u8]) -> Result<()>) -> Result<Counted> {
        let (mut left, total) = match self.form {
            Form::Sized(length) => (length, Some(length)),
            Form::Marked(_) => (u64::MAX, estimate),
        };
        let mut rdb = Counted::new();
        let mut behind = Vec::new();
        while !rdb.is_done() && left > 0 {
            let max = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let piece = self.session.raw(max).map_err(|error| cut(error, rdb.position()))?;
            left -= piece.len() as u64;
            let read = rdb.feed(&piece).map_err(|error| failure::from_server(&error))?;
            store(&piece[..read])?;
            behind = piece[read..].to_vec();
            progress::report("receiving the dataset", rdb.position(), total);
        }
        rdb.finish().map_err(|error| failure::from_server(&error))?;
        match self.form {
            Form::Sized(length) if left > 0 || !behind.is_empty() => {
                let message = format!(
                    "the dataset ends after {} of the {length} bytes that the server announced",
                    rdb.position()
                );
                Err(Error::protocol(message))
            }
            Form::Sized(_) => Ok(rdb),
            Form::Marked(mark) => self.expect_mark(&mark, behind).map(|()| rdb),
        }
    }

    /// The server says that it has sent everything: only the mark tells a whole transfer from one that was cut by chance behind the dataset's last byte.
    fn expect_mark(&mut self, mark: &[u8; MARK], mut behind: Vec<u8>) -> Result<()> {
        while behind.len() < MARK {
            let more = self
                .session
                .raw(MARK)
                .context(|| "the transfer was cut after the dataset, before the end mark that says that the server has sent all of it")?;
            behind.extend_from_slice(&more);
        }
        if behind[..MARK] != mark[..] {
            return Err(Error::protocol(
                "what follows the dataset is not the end mark that the server announced",
            ));
        }
        Ok(())
    }
}

fn unexpected(command: &str, expected: &'static str) -> RespError {
    RespError::Answer {
        command: command.to_owned(),
        expected,
    }
}

fn explain(error: &ServerError) -> Error {
    let mut explained = bulkhead_resp::explain(error).context("the server refuses to send its dataset");
    if error.code == "NOPERM" {
        explained.hint = Some(
            "give the user what a replica needs: ACL SETUSER NAME +psync +replconf +sync +info +ping; or read key by key with `mode = \"scan\"`".to_owned(),
        );
    }
    explained
}

/// The connection broke in the middle of the dataset.
fn cut(error: RespError, position: u64) -> Error {
    let error = Error::from(error);
    if !matches!(error.kind, ErrorKind::ConnectionLost | ErrorKind::TimedOut) {
        return error;
    }
    let hint = "the server's own log says why: `client-output-buffer-limit replica` too small for what is written meanwhile (\"scheduled to be closed ASAP \
                for overcoming of output buffer limits\"), `repl-timeout`, or a child process that was killed";
    error
        .context(format!("the server stopped sending its dataset after {position} bytes"))
        .with_hint(hint)
        .with_retryable(true)
}

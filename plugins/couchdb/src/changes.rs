//! The changes feed of a database: [`Feed`], in pages that are read whole before anything is done with them. The next one is on its way meanwhile.

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, http::Response};
use serde::Deserialize;

use crate::{
    items::Items,
    server::{Begun, Sequence, Server},
};

/// Rows of a page.
const ROWS: usize = 1_000;
/// Bytes of a page: more than documents of a thousand conflicts each.
const PAGE: usize = 48 << 20;

/// A document that has changed.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    changes: Vec<Leaf>,
}

#[derive(Debug, Deserialize)]
struct Leaf {
    rev: String,
}

impl Row {
    /// Its leaf revisions, the winner first.
    pub(crate) fn leaves(&self) -> impl ExactSizeIterator<Item = &str> {
        self.changes.iter().map(|leaf| &leaf.rev[..])
    }
}

/// What is around the rows of a page.
#[derive(Deserialize)]
struct Envelope {
    last_seq: Sequence,
    /// Changes after this page, from CouchDB 2 on.
    pending: Option<u64>,
}

/// The feed from somewhere on.
pub(crate) struct Feed<'s> {
    server: &'s Server,
    database: &'s str,
    since: Sequence,
    /// The next page, until the last one.
    next: Option<Begun>,
}

impl<'s> Feed<'s> {
    pub(crate) fn new(server: &'s Server, database: &'s str, since: Sequence) -> Self {
        Self {
            next: Some(ask(server, database, &since)),
            server,
            database,
            since,
        }
    }

    /// The next rows; `None` at the end.
    pub(crate) fn page(&mut self) -> Result<Option<Vec<Row>>> {
        let Some(begun) = self.next.take() else { return Ok(None) };
        let (rows, envelope) = begun
            .read(self.server, |response| read(self.database, response))
            .context(|| "its changes cannot be read")?;
        let is_last = match envelope.pending {
            Some(pending) => pending == 0,
            None => rows.len() < ROWS,
        };
        if !is_last && (rows.is_empty() || envelope.last_seq == self.since) {
            return Err(Error::protocol(format!(
                "the changes of `{}` stop at {} though more are said to follow",
                self.database, self.since
            )));
        }
        self.since = envelope.last_seq;
        self.next = (!is_last).then(|| ask(self.server, self.database, &self.since));
        Ok(Some(rows))
    }
}

fn ask(server: &Server, database: &str, since: &Sequence) -> Begun {
    server.begin_get(Server::changes(database, since, ROWS))
}

/// A whole page.
fn read(database: &str, response: Response) -> Result<(Vec<Row>, Envelope)> {
    let mut items = Items::open(response, format!("the changes feed of `{database}`"), PAGE)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(item) = items.next()? {
        bytes += item.len();
        if rows.len() == ROWS || bytes > PAGE {
            let message = format!("a page of the changes of `{database}` has more than {ROWS} rows or {PAGE} bytes");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let row: Row = serde_json::from_slice(&item)
            .map_err(|error| Error::protocol("a change is not what CouchDB makes of one").with_cause(error))?;
        rows.push(row);
    }
    Ok((rows, items.finish()?))
}

//! The changes feed of a database: [`Feed`], in pages that are read whole before anything is done with them, so that no answer waits for what it leads to.

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt};
use serde::Deserialize;

use crate::{
    items::Items,
    server::{Sequence, Server},
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
    has_ended: bool,
    /// Changes after the last page, where the server tells.
    pub(crate) pending: Option<u64>,
}

impl<'s> Feed<'s> {
    pub(crate) fn new(server: &'s Server, database: &'s str, since: Sequence) -> Self {
        Self {
            server,
            database,
            since,
            has_ended: false,
            pending: None,
        }
    }

    /// The next rows; `None` at the end.
    pub(crate) fn page(&mut self) -> Result<Option<Vec<Row>>> {
        if self.has_ended {
            return Ok(None);
        }
        let (rows, envelope) = self.read().context(|| "its changes cannot be read")?;
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
        (self.since, self.has_ended, self.pending) = (envelope.last_seq, is_last, envelope.pending);
        Ok(Some(rows))
    }

    fn read(&self) -> Result<(Vec<Row>, Envelope)> {
        let response = self.server.get(&Server::changes(self.database, &self.since, ROWS))?;
        let mut items = Items::open(response, format!("the changes feed of `{}`", self.database), PAGE)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(item) = items.next()? {
            bytes += item.len();
            if rows.len() == ROWS || bytes > PAGE {
                let message = format!(
                    "a page of the changes of `{}` has more than {ROWS} rows or {PAGE} bytes",
                    self.database
                );
                return Err(Error::new(ErrorKind::Limit, message));
            }
            let row: Row = serde_json::from_slice(&item)
                .map_err(|error| Error::protocol("a change is not what CouchDB makes of one").with_cause(error))?;
            rows.push(row);
        }
        Ok((rows, items.finish()?))
    }
}

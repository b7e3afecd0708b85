//! Speaking with a server: [`Server`]. Requests may be on their way while something else is done ([`Begun`]); those that may be repeated are tried again.

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    http::{Exchange, Request, Response},
    retry::Attempts,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{names::url, session::Session};

/// The granted endpoint.
pub(crate) const ENDPOINT: &str = "server";
/// Requests of one kind that are on their way at once: as many as CouchDB's own replicator has workers, unless `worker_processes` in the section `replicator` of its
/// configuration says otherwise. What comes back waits in the buffers of connections.
pub(crate) const AT_ONCE: usize = 4;
/// Sessions that are begun anew for one request: one may end before the request has come, and a server that refuses each is not asked for ever.
const SESSIONS: usize = 3;
/// The most that an answer about the server or a database may have: lists of databases are the longest.
const ANSWER: usize = 16 << 20;

/// A server that has answered.
pub(crate) struct Server {
    attempts: Attempts,
    session: Option<Session>,
    pub(crate) welcome: Welcome,
}

/// A request on its way, and how it is sent again. Its answer is waited for when it is needed.
pub(crate) struct Begun {
    sent: Result<Sent>,
    send: Box<Send>,
}

/// A request that was sent, and with which of a session's cookies.
struct Sent {
    exchange: Exchange,
    cookie: u64,
}

/// Sends a request.
type Send = dyn Fn(&Server) -> Result<Exchange>;

impl Begun {
    /// Waits for an answer of success.
    pub(crate) fn answer(self, server: &Server) -> Result<Response> {
        self.read(server, Ok)
    }

    /// Waits for an answer of success, and does not try again.
    pub(crate) fn wait(self, server: &Server) -> Result<Response> {
        server.answer(self.sent?)
    }

    /// Waits for an answer of success and reads it, from its beginning where it breaks off.
    pub(crate) fn read<T>(self, server: &Server, mut read: impl FnMut(Response) -> Result<T>) -> Result<T> {
        let mut first = Some(self.sent);
        server.repeat(|| {
            let sent = first.take().unwrap_or_else(|| server.send(&self.send))?;
            read(server.answer(sent)?)
        })
    }
}

/// What a server says about itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// "Welcome": CouchDB itself, and what takes care to be like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    couchdb: Option<String>,
    #[serde(default)]
    pub(crate) version: String,
    /// Of the server; a cluster's nodes have the same.
    #[serde(default)]
    pub(crate) uuid: Option<String>,
    #[serde(default)]
    pub(crate) vendor: Value,
    #[serde(default)]
    features: Value,
}

/// A sequence of a changes feed: opaque, a number or a text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sequence(Value);

impl Sequence {
    /// Before the first change.
    pub(crate) fn beginning() -> Self {
        Self(Value::from(0))
    }

    /// As a value in a query.
    fn query(&self) -> String {
        match &self.0 {
            Value::String(text) => url(text),
            other => url(&other.to_string()),
        }
    }

    /// How many changes there were, as far as that is told: the number that it is, or begins with.
    pub(crate) fn number(&self) -> Option<u64> {
        match &self.0 {
            Value::String(text) => text.split('-').next()?.parse().ok(),
            other => other.as_u64(),
        }
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Value::String(text) => formatter.write_str(text),
            other => other.fmt(formatter),
        }
    }
}

/// What a server says about a database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) doc_count: u64,
    /// CouchDB tells it, others may not.
    #[serde(default)]
    pub(crate) doc_del_count: Option<u64>,
    #[serde(default)]
    pub(crate) update_seq: Sequence,
    #[serde(default)]
    pub(crate) purge_seq: Sequence,
    /// When it was made, since CouchDB 3; "0" before.
    #[serde(default)]
    instance_start_time: Value,
    #[serde(default)]
    pub(crate) props: Value,
    #[serde(default)]
    pub(crate) cluster: Value,
    #[serde(default)]
    pub(crate) sizes: Value,
}

impl Server {
    /// Asks who is there. With a user, by a session of its own; without, with the credentials that the host adds.
    pub(crate) fn connect(attempts: Attempts, user: Option<&str>) -> Result<Self> {
        let mut server = Self {
            attempts,
            session: user.map(Session::of),
            welcome: Welcome::default(),
        };
        let read = |answer: Response| {
            answer.into_json(ANSWER).map_err(|error| match error.kind {
                ErrorKind::Protocol => error.with_hint(
                    "does `endpoint.server.url` lead to a CouchDB? The path of a proxy belongs to it, the name of a database does not",
                ),
                _ => error,
            })
        };
        server.welcome = server.get("/", read).context(|| "the server does not welcome us")?;
        Ok(server)
    }

    /// A request with this server's credentials, as far as they are not the host's.
    pub(crate) fn request(&self, method: &str, path: &str) -> Result<Request> {
        let request = Request::new(method, ENDPOINT, path).header("accept", "application/json");
        match &self.session {
            Some(session) => Ok(request.header("cookie", session.cookie()?)),
            None => Ok(request),
        }
    }

    /// Whether it takes attachments as they are, and sends them as it keeps them: CouchDB does.
    pub(crate) fn is_couchdb(&self) -> bool {
        self.welcome.couchdb.is_some()
    }

    /// Sends a request whose answer is waited for later. For what may be repeated.
    pub(crate) fn begin(&self, send: impl Fn(&Self) -> Result<Exchange> + 'static) -> Begun {
        Begun {
            sent: self.send(&send),
            send: Box::new(send),
        }
    }

    fn send(&self, send: &Send) -> Result<Sent> {
        let exchange = send(self)?;
        let cookie = self.session.as_ref().map_or(0, Session::number);
        Ok(Sent { exchange, cookie })
    }

    /// Waits for an answer of success.
    fn answer(&self, sent: Sent) -> Result<Response> {
        sent.exchange.respond()?.success().inspect_err(|error| {
            if let (ErrorKind::Unauthenticated, Some(session)) = (error.kind, &self.session) {
                session.refuse(sent.cookie);
            }
        })
    }

    /// GET, to be answered later.
    pub(crate) fn begin_get(&self, path: String) -> Begun {
        self.begin(move |server| server.request("GET", &path)?.begin(Some(0)))
    }

    /// GET of an attachment, compressed where the server keeps it so, to be answered later. From a byte on, where the server sends parts.
    pub(crate) fn begin_get_as_kept(&self, path: String, from: u64) -> Begun {
        self.begin(move |server| {
            let request = server.request("GET", &path)?;
            // Others compress on the way what they do not keep compressed.
            let request = if server.is_couchdb() {
                request.header("accept-encoding", "gzip")
            } else {
                request
            };
            let request = if from > 0 {
                request.header("range", format!("bytes={from}-"))
            } else {
                request
            };
            request.begin(Some(0))
        })
    }

    /// POST of JSON, to be answered later. For what may be repeated.
    pub(crate) fn begin_post(&self, path: String, json: Vec<u8>) -> Begun {
        self.begin_json("POST", path, json)
    }

    fn begin_json(&self, method: &'static str, path: String, json: Vec<u8>) -> Begun {
        self.begin(move |server| {
            let request = server.request(method, &path)?.header("content-type", "application/json");
            let mut exchange = request.begin(Some(json.len() as u64))?;
            exchange.write_bytes(&json)?;
            Ok(exchange)
        })
    }

    /// GET, an answer of success, which `read` reads; from its beginning where it breaks off.
    pub(crate) fn get<T>(&self, path: impl Into<String>, read: impl FnMut(Response) -> Result<T>) -> Result<T> {
        self.begin_get(path.into()).read(self, read)
    }

    /// PUT of JSON, an answer of success. For what may be repeated.
    pub(crate) fn put(&self, path: impl Into<String>, json: impl Into<Vec<u8>>) -> Result<Response> {
        self.begin_json("PUT", path.into(), json.into()).answer(self)
    }

    /// Does what may be repeated, as often as is configured; and again where the session has ended, as sessions do in the middle of a long run.
    pub(crate) fn repeat<T>(&self, mut exchange: impl FnMut() -> Result<T>) -> Result<T> {
        let refused = || self.session.as_ref().map_or(0, Session::refused);
        let mut sessions = SESSIONS;
        loop {
            let before = refused();
            match self.attempts.run(&mut exchange) {
                Err(error) if error.kind == ErrorKind::Unauthenticated && refused() > before && sessions > 0 => sessions -= 1,
                outcome => return outcome.map_err(explain),
            }
        }
    }

    /// The names of all databases, in order.
    pub(crate) fn databases(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self
            .get("/_all_dbs", |answer| answer.into_json(ANSWER))
            .context(|| "the databases cannot be listed")?;
        names.sort_unstable();
        Ok(names)
    }

    /// What it says about a database.
    pub(crate) fn info(&self, database: &str) -> Result<Info> {
        self.inspect(database, Ok)
    }

    /// What comes of what it says about a database, which is asked for again where that may help.
    pub(crate) fn inspect<T>(&self, database: &str, mut see: impl FnMut(Info) -> Result<T>) -> Result<T> {
        self.get(format!("/{}", url(database)), |answer| see(answer.into_json(ANSWER)?))
    }

    /// A small answer about a database, as it came; `None` where the server does not know what was asked for.
    pub(crate) fn setting(&self, database: &str, name: &str) -> Result<Option<Vec<u8>>> {
        match self.get(format!("/{}/{name}", url(database)), |answer| answer.into_bytes(ANSWER)) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// A number about a database; `None` where the server has no such setting.
    pub(crate) fn limit(&self, database: &str, setting: &str) -> Result<Option<u64>> {
        let answer = self.setting(database, setting)?;
        Ok(answer.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// The path of a page of the changes feed.
    pub(crate) fn changes(database: &str, since: &Sequence, limit: usize) -> String {
        // Without the interval, CouchDB packs a sequence for each row, which costs it more than the row.
        format!(
            "/{}/_changes?style=all_docs&limit={limit}&seq_interval={limit}&since={}",
            url(database),
            since.query()
        )
    }

    /// What tells a database from another one of its name: it is of the same server, and was made at the same time.
    pub(crate) fn identity(&self, info: &Info) -> String {
        let made = match &info.instance_start_time {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!("{}/{made}", self.welcome.uuid.as_deref().unwrap_or("unknown"))
    }
}

/// Adds what to do about it.
fn explain(error: Error) -> Error {
    match error.kind {
        ErrorKind::Unauthenticated => error.with_hint(
            "give an admin's credentials: `endpoint.server.auth = { basic = { user = \"…\", password = { file = \"…\" } } }`, `{ bearer = { file = \"…\" } }` \
             with a JSON Web Token that outlives the run, or `config.user` and `secret.password` for a session",
        ),
        ErrorKind::PermissionDenied => error.with_hint("the user must be a server admin: databases, security objects and design documents are an admin's"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_opaque_but_for_their_number() {
        let text = Sequence(Value::from("12-g1AAA_x"));
        assert_eq!((text.number(), text.query()), (Some(12), "12-g1AAA_x".to_owned()));
        assert_eq!((Sequence(Value::from(7)).number(), Sequence(Value::Null).number()), (Some(7), None));
    }
}

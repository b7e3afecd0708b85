//! A plain HTTP/1.1 client for what tests do to a server themselves: [`Client`].

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use serde_json::Value;

use crate::{Error, Result};

/// Speaks with one server.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    authorization: Option<String>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body, without the framing.
    pub body: Vec<u8>,
}

impl Client {
    /// For `127.0.0.1:port`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            authorization: None,
        }
    }

    /// With a user and a password.
    #[must_use]
    pub fn login(mut self, user: &str, password: &str) -> Self {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.authorization = Some(format!("Basic {pair}"));
        self
    }

    /// One request over a connection of its own.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Result<Reply> {
        let failed = || Error::io(format!("{method} {path} failed"));
        let mut stream = TcpStream::connect(&self.address).map_err(failed())?;
        let authorization = self
            .authorization
            .as_ref()
            .map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{authorization}Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).map_err(failed())?;
        stream.write_all(body.as_bytes()).map_err(failed())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(failed())?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or_else(|| Error::Unusable(format!("{method} {path} was not answered with HTTP")))?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        Ok(Reply {
            status: status.unwrap_or_default(),
            body: answer[end + 4..].to_vec(),
        })
    }

    /// JSON, of an answer of success.
    pub fn json(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let reply = self.send(method, path, body)?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        if !(200..300).contains(&reply.status) {
            return Err(Error::Unusable(format!(
                "{method} {path} was answered with {}: {text}",
                reply.status
            )));
        }
        serde_json::from_slice(&reply.body).map_err(|error| Error::Unusable(format!("{method} {path}: {error}: {text}")))
    }

    /// Every leaf revision that the feed of a database tells, by document.
    fn leaves(&self, database: &str) -> Result<Value> {
        let feed = self.json("GET", &format!("/{database}/_changes?style=all_docs"), "")?;
        let rows = feed["results"].as_array().into_iter().flatten().map(|row| {
            let leaves = row["changes"].as_array().into_iter().flatten();
            let revisions = leaves.map(|leaf| leaf["rev"].clone()).collect();
            (row["id"].as_str().unwrap_or_default().to_owned(), Value::Array(revisions))
        });
        Ok(Value::Object(rows.collect()))
    }

    /// Which leaf revisions of another database `database` lacks, by the replication protocol's own question (`_revs_diff`). The other one must have some.
    pub fn lacking(&self, database: &str, other: (&Self, &str)) -> Result<Value> {
        let asked = other.0.leaves(other.1)?;
        if asked.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Error::Unusable(format!("{} has no documents to compare with", other.1)));
        }
        self.json("POST", &format!("/{database}/_revs_diff"), &asked.to_string())
    }
}

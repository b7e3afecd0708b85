//! `moto`, a server of S3 that keeps versions and holds on to what is locked: [`LockingServer`].

use std::process::{Child, Command};

use super::client::{self, Answer};
use super::process::start;
use crate::guardian::Guardian;
use crate::{Error, Result, Scratch, free_port, installed};

/// What it wants to see of credentials before it believes that a request is somebody's.
const ANYBODY: &str = "AWS4-HMAC-SHA256 Credential=anybody/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A server with two buckets: `locking`, which keeps versions and locks, and `plain`, which does neither. It believes every signature.
#[derive(Debug)]
pub struct LockingServer {
    port: u16,
    child: Child,
    _guardian: Guardian,
    _scratch: Scratch,
}

impl LockingServer {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new()?;
        let port = free_port()?;
        let mut command = Command::new("python3");
        command
            .args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()])
            .env("PYTHONPATH", installed("moto-5.2")?)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let (child, guardian) = start("moto", command, &scratch, port)?;
        let server = Self {
            port,
            child,
            _guardian: guardian,
            _scratch: scratch,
        };
        server.make_bucket("locking", &[("x-amz-bucket-object-lock-enabled".to_owned(), b"true".to_vec())])?;
        server.make_bucket("plain", &[])?;
        Ok(server)
    }

    fn make_bucket(&self, name: &str, headers: &[(String, Vec<u8>)]) -> Result<()> {
        let answer = self.exchange("PUT", &format!("/{name}"), headers, b"")?;
        match answer.status {
            200 => Ok(()),
            status => Err(Error::Unusable(format!("moto answered {status} to a new bucket"))),
        }
    }

    /// On 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a request, signed in somebody's name where it isn't signed, and returns the whole answer.
    pub fn exchange(&self, method: &str, path: &str, headers: &[(String, Vec<u8>)], body: &[u8]) -> Result<Answer> {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| name == "authorization") {
            headers.push(("authorization".to_owned(), ANYBODY.into()));
        }
        client::exchange(self.port, method, path, &headers, body).map_err(Error::io(format!("{method} {path}")))
    }

    /// Until when an object is locked, as the server tells it (RFC 3339); `None` where it isn't.
    pub fn locked_until(&self, key: &str) -> Result<Option<String>> {
        let answer = self.exchange("HEAD", &format!("/locking/{key}"), &[], b"")?;
        let until = answer
            .headers
            .into_iter()
            .find(|(name, _)| name == "x-amz-object-lock-retain-until-date");
        Ok(until.map(|(_, until)| String::from_utf8_lossy(&until).into_owned()))
    }

    /// The keys of all objects in the bucket `locking`, up to 1,000.
    pub fn keys(&self) -> Result<Vec<String>> {
        let answer = self.exchange("GET", "/locking?list-type=2", &[], b"")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let key = |rest: &str| rest.split_once('<').map(|(key, _)| key.to_owned());
        Ok(text.split("<Key>").skip(1).filter_map(key).collect())
    }

    /// What the bucket `locking` has of a key: versions, and whether the newest is a mark that it was removed.
    pub fn versions(&self, key: &str) -> Result<(usize, bool)> {
        let answer = self.exchange("GET", &format!("/locking?versions&prefix={key}"), &[], b"")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let removed = text.split("<DeleteMarker>").skip(1).any(|mark| {
            mark.split("</DeleteMarker>")
                .next()
                .is_some_and(|mark| mark.contains("<IsLatest>true</IsLatest>"))
        });
        Ok((text.matches("<Version>").count(), removed))
    }
}

impl Drop for LockingServer {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the guardian tries again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

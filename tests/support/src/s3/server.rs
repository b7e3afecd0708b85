//! `s3s-fs`, a server of S3 on folders: [`Server`].

use std::path::PathBuf;
use std::process::Child;

use super::client::{self, Answer};
use super::process::start;
use crate::guardian::Guardian;
use crate::{Error, Result, Scratch, Tool, free_port, random_secret};

/// A server with one access key, and a bucket `vaults`. It checks signatures and the digests in them.
#[derive(Debug)]
pub struct Server {
    scratch: Scratch,
    port: u16,
    access_key: String,
    secret_key: String,
    child: Child,
    _guardian: Guardian,
}

impl Server {
    /// Starts one.
    pub fn start() -> Result<Self> {
        Self::with_keys(Some((random_secret()?, random_secret()?)))
    }

    /// Starts one that lets everybody do everything.
    pub fn without_keys() -> Result<Self> {
        Self::with_keys(None)
    }

    fn with_keys(keys: Option<(String, String)>) -> Result<Self> {
        let tool = Tool::installed("s3s-fs-0.14.1/bin/s3s-fs")?;
        let scratch = Scratch::new()?;
        scratch.folder("data/vaults")?;
        // A port that somebody else was faster to take ends the server at once: another one then.
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            let mut command = tool.command(["--host", "127.0.0.1", "--port", &port.to_string()]);
            if let Some((access_key, secret_key)) = &keys {
                command.args(["--access-key", access_key, "--secret-key", secret_key]);
            }
            command.arg(scratch.join("data"));
            match start("s3s-fs", command, &scratch, port) {
                Ok((child, guardian)) => {
                    let (access_key, secret_key) = keys.unwrap_or_default();
                    return Ok(Self {
                        scratch,
                        port,
                        access_key,
                        secret_key,
                        child,
                        _guardian: guardian,
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::Unusable("no port for s3s-fs".to_owned())))
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a request as it is, and returns the whole answer.
    pub fn exchange(&self, method: &str, path: &str, headers: &[(String, Vec<u8>)], body: &[u8]) -> Result<Answer> {
        client::exchange(self.port, method, path, headers, body).map_err(Error::io(format!("{method} {path}")))
    }

    /// The access key.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Its secret.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Removes everything from the bucket.
    pub fn empty(&self) -> Result<()> {
        let bucket = self.bucket();
        std::fs::remove_dir_all(&bucket).map_err(Error::on_path("remove", &bucket))?;
        std::fs::create_dir(&bucket).map_err(Error::on_path("create", &bucket))
    }

    /// The folder that is the bucket: an object is a file in it.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.scratch.join("data/vaults")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the guardian tries again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Object lock: until when an object is locked, and locking it for longer (`HeadObject` and `PutObjectRetention` of the S3 API).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_sdk::{
    digest::{Algorithm, digest},
    prelude::*,
    services::{Store, http, opendal::raw::percent_encode_path},
};
use jiff::Timestamp as Instant;

use crate::{
    config::{Checksum, Config, Encryption, LockMode},
    dialect::Amazon,
};

/// How objects are locked, and under which path the server has them.
#[derive(Debug)]
pub(crate) struct Locks {
    mode: LockMode,
    checksum: Checksum,
    encryption: Option<Encryption>,
    folder: String,
}

impl Locks {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            mode: config.lock_mode,
            checksum: config.checksum,
            encryption: config.encryption,
            folder: config.path_of_folder(),
        }
    }

    /// What a request says that stores an object.
    pub(crate) fn headers(&self, until: Timestamp) -> Result<Vec<(String, Vec<u8>)>> {
        if self.checksum == Checksum::None {
            let error = Error::config("checksum", "a server locks only what comes with a checksum");
            return Err(error.with_hint("take `checksum = \"none\"` out, or `lock` out of the sink's table"));
        }
        Ok(vec![
            // What the SHA-256 that comes with each object is: without it the servers take no lock.
            ("x-amz-sdk-checksum-algorithm".to_owned(), b"SHA256".to_vec()),
            ("x-amz-object-lock-mode".to_owned(), self.mode.name().into()),
            ("x-amz-object-lock-retain-until-date".to_owned(), rfc3339(until)?.into()),
        ])
    }

    /// Until when an object is locked, or one of its versions. Those who may not know (`s3:GetObjectRetention`) are told that it isn't.
    pub(crate) fn until(&self, store: &Store<Amazon>, key: &str, version: Option<&str>) -> Result<Option<Timestamp>> {
        let version = version.map(|version| format!("?versionId={}", percent_encode_path(version)));
        let mut request = self.request("HEAD", key, &version.unwrap_or_default());
        if self.encryption == Some(Encryption::CustomerKey) {
            // Nothing is said of an object to who has not its key, which the host adds.
            request = request.header("x-amz-server-side-encryption-customer-algorithm", "AES256");
        }
        let response = store.request(request.body(Vec::new()).map_err(impossible)?)?;
        if response.status() != 200 {
            return Err(not_found(key));
        }
        let until = response.headers().get("x-amz-object-lock-retain-until-date");
        until.map(|until| parse(&String::from_utf8_lossy(until.as_bytes()))).transpose()
    }

    /// Locks an object until then, unless it is locked for as long: whoever may end locks early could make them shorter, too.
    pub(crate) fn extend(&self, store: &Store<Amazon>, key: &str, until: Timestamp) -> Result<()> {
        match self.until(store, key, None)? {
            Some(locked) if locked.seconds >= until.seconds => Ok(()),
            _ => self.lock(store, key, until),
        }
    }

    fn lock(&self, store: &Store<Amazon>, key: &str, until: Timestamp) -> Result<()> {
        let document = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            self.mode.name(),
            rfc3339(until)?
        );
        let md5 = STANDARD.encode(digest(Algorithm::Md5, document.as_bytes()));
        let request = self.request("PUT", key, "?retention").header("content-md5", md5);
        let response = store
            .request(request.body(document.into_bytes()).map_err(impossible)?)
            .map_err(|error| match error.kind {
                ErrorKind::PermissionDenied => {
                    error.with_hint("allow `s3:PutObjectRetention` and `s3:GetObjectRetention` on what is in the bucket")
                }
                _ => error,
            })?;
        if response.status() == 200 { Ok(()) } else { Err(not_found(key)) }
    }

    fn request(&self, method: &str, key: &str, query: &str) -> http::request::Builder {
        let path = percent_encode_path(&format!("{}{key}", self.folder));
        http::Request::builder().method(method).uri(format!("/{path}{query}"))
    }
}

fn not_found(key: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no object {key}"))
}

fn impossible(error: http::Error) -> Error {
    Error::new(ErrorKind::Internal, "a request could not be made").with_cause(error)
}

/// To the second, as S3 keeps it.
fn rfc3339(time: Timestamp) -> Result<String> {
    let instant = Instant::from_second(time.seconds)
        .map_err(|error| Error::new(ErrorKind::Limit, "the lock would end beyond the calendar").with_cause(error))?;
    Ok(instant.to_string())
}

fn parse(text: &str) -> Result<Timestamp> {
    let instant: Instant = text.parse().map_err(|error: jiff::Error| {
        Error::protocol(format!("the server says that an object is locked until `{text}`")).with_cause(error)
    })?;
    Ok(Timestamp::from_seconds(instant.as_second()))
}

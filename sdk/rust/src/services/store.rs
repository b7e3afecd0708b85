//! A sink's operations over a service of OpenDAL: [`Store`].

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use opendal::{Buffer, Builder, OperationContext, Operator};

use super::{
    Backoff, Dialect,
    drive::{Driver, Progress},
    failure::Failure,
    line::Line,
};
use crate::{
    Error, ErrorKind, Result,
    digest::{Algorithm, Hasher},
    sink::{ByteRange, Object, ObjectReader, ObjectWriter, Page, PutOptions},
};

/// Objects in one page of a listing.
const PAGE: usize = 10_000;

/// Objects in a service of OpenDAL, behind one endpoint.
pub struct Store<D> {
    line: Line,
    operator: Operator,
    endpoint: String,
    dialect: D,
    backoff: Backoff,
    conditional: bool,
}

impl<D> std::fmt::Debug for Store<D> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Store({})", self.endpoint)
    }
}

impl<D: Dialect> Store<D> {
    /// The service that `builder` makes, reached over the endpoint of that name.
    ///
    /// # Errors
    /// `Config` for settings that the service does not take.
    pub fn new(endpoint: impl Into<String>, builder: impl Builder, dialect: D) -> Result<Self> {
        let line = Line::default();
        let context = OperationContext::new().with_http_transport(opendal::HttpTransporter::new(line.clone()));
        let operator = Operator::new(builder)
            .map_err(|error| Error::from(Failure::Service(error)))?
            .with_context(context);
        let conditional = operator.info().capability().write_with_if_not_exists;
        Ok(Self {
            line,
            operator,
            endpoint: endpoint.into(),
            dialect,
            backoff: Backoff::default(),
            conditional,
        })
    }

    /// With other attempts and pauses.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Whether the server is relied on to refuse what is there already, where the service can ask for it. Otherwise it is looked for first, which two
    /// hosts can do at the same time.
    #[must_use]
    pub fn with_conditional_put(self, relied_on: bool) -> Self {
        let conditional = self.conditional && relied_on;
        Self { conditional, ..self }
    }

    /// Whether [`PutOptions::if_absent`] is atomic.
    #[must_use]
    pub fn has_conditional_put(&self) -> bool {
        self.conditional
    }

    /// The service's dialect.
    #[must_use]
    pub fn dialect(&self) -> &D {
        &self.dialect
    }

    fn driver(&self) -> Driver<'_, 'static, D> {
        Driver {
            line: &self.line,
            endpoint: &self.endpoint,
            dialect: &self.dialect,
            backoff: self.backoff,
            object: None,
            headers: &[],
            progress: Progress::default(),
        }
    }

    /// Stores an object, in pieces as they come; `headers` go with it.
    ///
    /// # Errors
    /// `AlreadyExists` with `if_absent` where there is one; `Internal` where the service did not send it as one `PUT`.
    pub fn put(&self, key: &str, body: &mut ObjectReader<'_>, options: PutOptions, headers: &[(String, Vec<u8>)]) -> Result<()> {
        if options.if_absent && !self.conditional && self.stat(key)?.is_some() {
            return Err(already_exists(key));
        }
        let conditional = options.if_absent && self.conditional;
        let mut driver = Driver {
            line: &self.line,
            endpoint: &self.endpoint,
            dialect: &self.dialect,
            backoff: self.backoff,
            object: Some(body),
            headers,
            progress: Progress::default(),
        };
        let stored = driver.run(async {
            let write = self.operator.write_with(key, Buffer::new());
            let write = if conditional { write.if_not_exists(true) } else { write };
            write.await.map_err(Failure::from)
        });
        let sent = driver.progress.sent;
        match stored {
            Ok(_) if sent == 0 => Err(Error::new(
                ErrorKind::Internal,
                format!("the service stored {key} without its content"),
            )),
            Ok(_) => Ok(()),
            // The first attempt may have been carried out, and its answer lost.
            Err(error) if error.kind == ErrorKind::AlreadyExists && sent > 1 && self.holds(key, body)? => Ok(()),
            Err(error) if error.kind == ErrorKind::AlreadyExists => Err(already_exists(key)),
            Err(error) => Err(error),
        }
    }

    /// Whether what is stored under `key` is this object.
    fn holds(&self, key: &str, body: &ObjectReader<'_>) -> Result<bool> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        self.pieces(&mut self.driver(), key, 0, None, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok(hasher.finish() == body.sha256())
    }

    /// Writes an object, or a range of it, to `into`. One that breaks off is continued where it was.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` for a range beyond the end.
    pub fn get(&self, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
        let (offset, length) = match range {
            None => (0, None),
            Some(range) => {
                let end = range.offset.checked_add(range.length).ok_or_else(|| beyond(key, range))?;
                if range.length == 0 {
                    let object = self.stat(key)?.ok_or_else(|| not_found(key))?;
                    return if end <= object.size { Ok(()) } else { Err(beyond(key, range)) };
                }
                (range.offset, Some(range.length))
            }
        };
        let mut written = 0;
        for attempt in 1.. {
            let mut driver = self.driver();
            let left = length.map(|length| length - written);
            let read = self.pieces(&mut driver, key, offset + written, left, |piece| {
                into.write_bytes(piece)?;
                written += piece.len() as u64;
                Ok(())
            });
            let error = match (read, range) {
                (Ok(()), Some(range)) if written < range.length => return Err(beyond(key, range)),
                (Ok(()), _) => return Ok(()),
                (Err(error), _) if error.kind == ErrorKind::NotFound => return Err(not_found(key)),
                (Err(error), _) => error,
            };
            // What was refused has been tried often enough; a body that broke off has not, and a range that would be empty is none.
            let goes_on = driver.progress.broke_off && error.retryable && left != Some(0) && length != Some(written);
            let Some(pause) = self.backoff.pause(attempt, None, key).filter(|_| goes_on) else {
                return Err(match range {
                    Some(range) if self.ends_within(key, range) => beyond(key, range).with_cause(error),
                    _ => error,
                });
            };
            crate::warn!("reading {key} goes on after {written} bytes: {error}");
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Whether the object is known to be too short for `range`: services say so in many ways, some by sending less.
    fn ends_within(&self, key: &str, range: ByteRange) -> bool {
        let end = range.offset.saturating_add(range.length);
        matches!(self.stat(key), Ok(Some(object)) if object.size < end)
    }

    /// Reads from `offset`, so many bytes or to the end.
    fn pieces(
        &self,
        driver: &mut Driver<'_, '_, D>,
        key: &str,
        offset: u64,
        length: Option<u64>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        driver.run(async {
            let reader = self.operator.reader(key).await?;
            let mut stream = match length {
                Some(length) => reader.into_stream(offset..offset + length).await?,
                None => reader.into_stream(offset..).await?,
            };
            while let Some(buffer) = stream.next().await {
                for piece in buffer? {
                    take(&piece)?;
                }
            }
            Ok(())
        })
    }

    /// Objects whose key begins with `prefix`, up to 10,000 a page, in order.
    ///
    /// # Errors
    /// As the dialect and OpenDAL tell them.
    pub fn list(&self, prefix: &str, page: Option<&str>) -> Result<Page> {
        let folder = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
        let seeks = self.operator.info().capability().list_with_start_after;
        let listed = self.driver().run(async {
            let lister = self.operator.lister_with(folder).recursive(true);
            let mut lister = match page.filter(|_| seeks) {
                Some(after) => lister.start_after(after).await?,
                None => lister.await?,
            };
            let mut found = BTreeMap::new();
            while let Some(entry) = lister.next().await {
                let (key, metadata) = entry?.into_parts();
                if !metadata.is_file() || !key.starts_with(prefix) || page.is_some_and(|after| key.as_str() <= after) {
                    continue;
                }
                found.insert(key, metadata.content_length());
                if found.len() > PAGE {
                    // Where the service seeks it lists in order; elsewhere all has to be seen to find the first.
                    found.pop_last();
                    if seeks {
                        return Ok((found, true));
                    }
                }
            }
            let more = found.len() == PAGE;
            Ok((found, more))
        });
        let (found, more) = match listed {
            // A service with folders, and none there yet.
            Err(error) if error.kind == ErrorKind::NotFound => (BTreeMap::new(), false),
            other => other?,
        };
        let next = found.last_key_value().filter(|_| more).map(|(key, _)| key.clone());
        let objects = found.into_iter().map(|(key, size)| Object { key, size }).collect();
        Ok(Page { objects, next })
    }

    /// `None` where there is no such object.
    ///
    /// # Errors
    /// As the dialect and OpenDAL tell them.
    pub fn stat(&self, key: &str) -> Result<Option<Object>> {
        let found = self.driver().run(async { self.operator.stat(key).await.map_err(Failure::from) });
        match found {
            Ok(metadata) => Ok(Some(Object {
                key: key.to_owned(),
                size: metadata.content_length(),
            })),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object; one that isn't there is no error.
    ///
    /// # Errors
    /// As the dialect and OpenDAL tell them.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.driver().run(async { self.operator.delete(key).await.map_err(Failure::from) })
    }

    /// All versions of an object, where the service was made with versions.
    ///
    /// # Errors
    /// As the dialect and OpenDAL tell them.
    pub fn versions(&self, key: &str) -> Result<Vec<Version>> {
        self.driver().run(async {
            let mut lister = self.operator.lister_with(key).versions(true).deleted(true).await?;
            let mut versions = Vec::new();
            while let Some(entry) = lister.next().await {
                let (path, metadata) = entry?.into_parts();
                if let Some(id) = metadata.version().filter(|_| path == key) {
                    versions.push(Version {
                        id: id.to_owned(),
                        is_removal: metadata.is_deleted(),
                    });
                }
            }
            Ok(versions)
        })
    }

    /// Removes one version of an object.
    ///
    /// # Errors
    /// As the dialect and OpenDAL tell them.
    pub fn delete_version(&self, key: &str, version: &str) -> Result<()> {
        self.driver().run(async {
            let delete = self.operator.delete_with(key).version(version);
            delete.await.map_err(Failure::from)
        })
    }

    /// Sends a request that OpenDAL has no word for, and returns the response with the beginning of its body, at least 64 KiB. The path is that of the
    /// server; it is tried again as all are, and what the dialect lets pass is returned as it is.
    ///
    /// # Errors
    /// As the dialect tells them.
    pub fn request(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>> {
        let mut driver = self.driver();
        let head = driver.request(request.map(Buffer::from))?;
        Ok(http::Response::from_parts(head, driver.beginning()?))
    }
}

/// A version of an object, where the service keeps those that were replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As the service names it.
    pub id: String,
    /// Whether it has no content, and says that the object was removed.
    pub is_removal: bool,
}

fn already_exists(key: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{key} is already stored"))
}

fn not_found(key: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no object {key}"))
}

fn beyond(key: &str, range: ByteRange) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "{key} has fewer than the {} bytes at {} that were asked for",
            range.length, range.offset
        ),
    )
}

//! One open connection: buffered reads, the rule for what may pass before TLS, and the change to TLS.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bulkhead_model::{Fault, FaultKind};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Address, Endpoint, Stream};
use crate::TlsMode;
use crate::capabilities::{Budget, check_transfer, transfer_size};

/// Bytes that may pass either way in clear before TLS, where TLS is required: enough for a protocol to ask for it (PostgreSQL needs 8 and 1), too few for
/// credentials and data to leak unnoticed.
const CLEAR_BEFORE_TLS: u64 = 512;
/// Read buffer: what one read gathers where that much is there. Guests ask for 64 KiB to 1 MiB; 256 KiB was the best in measurements.
const READ_BUFFER: usize = 256 << 10;
/// Free space in the buffer below which a new one is taken: one TLS record.
const LEAST_SPACE: usize = 16 << 10;

/// A place among the open connections that the limit allows; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Budget>);

impl Place {
    pub(crate) fn take(budget: &Arc<Budget>) -> Result<Self, Fault> {
        budget.connect()?;
        Ok(Self(budget.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

/// What was agreed on with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSession {
    /// "TLSv1.3".
    pub protocol: String,
    /// The server's certificate (DER).
    pub peer_certificate: Vec<u8>,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    /// `None` once it cannot be used any more, for the reason in `broken`.
    stream: Option<Stream>,
    broken: &'static str,
    buffer: BytesMut,
    ended: Option<Result<(), String>>,
    clear_read: u64,
    clear_written: u64,
    address: Address,
    endpoint: Arc<Endpoint>,
    place: Place,
}

impl Connection {
    pub(super) fn new(stream: Stream, address: Address, endpoint: Arc<Endpoint>, place: Place) -> Self {
        let (buffer, ended) = (BytesMut::new(), None);
        Self {
            stream: Some(stream),
            broken: "the TLS handshake has failed",
            buffer,
            ended,
            clear_read: 0,
            clear_written: 0,
            address,
            endpoint,
            place,
        }
    }

    /// The address that was dialled, as the operator wrote it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address.written
    }

    /// Reads what is there, at least 1 byte and at most `max`; `None` at the end of the stream.
    ///
    /// # Errors
    /// `timed-out` after `deadline` milliseconds, and the connection stays usable; `connection-lost`.
    pub async fn read(&mut self, max: u32, deadline: Option<u64>) -> Result<Option<Bytes>, Fault> {
        if self.buffer.is_empty() && self.ended.is_none() {
            let (timeout, own) = self.place.0.deadline(deadline);
            let readable = std::future::poll_fn(|context| self.poll_readable(context));
            if tokio::time::timeout(timeout, readable).await.is_err() {
                return Err(if own {
                    self.read_timed_out(timeout)
                } else {
                    self.place.0.call_timed_out()
                });
            }
        }
        if self.buffer.is_empty() {
            return match &self.ended {
                Some(Err(cause)) => Err(self.lost("reading from", cause)),
                _ => Ok(None),
            };
        }
        let data = self.buffer.split_to(self.buffer.len().min(transfer_size(max)));
        self.check_clear_read(data.len())?;
        Ok(Some(data.freeze()))
    }

    fn read_timed_out(&self, timeout: std::time::Duration) -> Fault {
        let message = format!("nothing came from {} within {} ms", self.address.written, timeout.as_millis());
        Fault::new(FaultKind::TimedOut, message).retryable()
    }

    /// Ready when the connection can be read without blocking: data, the end, or an error. Gathers what is there, up to the buffer's size.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.buffer.is_empty() || self.ended.is_some() {
            return Poll::Ready(());
        }
        match ready!(self.poll_fill(context)) {
            Ok(()) => {}
            Err(error) => self.ended = Some(Err(cause_of(&error))),
        }
        Poll::Ready(())
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::Error::other(self.broken)));
        };
        if self.buffer.capacity() - self.buffer.len() < LEAST_SPACE {
            self.buffer.reserve(READ_BUFFER);
        }
        loop {
            let read = pin!(stream.read_buf(&mut self.buffer)).poll(context);
            match read {
                Poll::Ready(Ok(0)) => {
                    self.ended = Some(Ok(()));
                    return Poll::Ready(Ok(()));
                }
                // Without TLS one read takes all there is. With it, one read is one record.
                Poll::Ready(Ok(_)) if matches!(stream, Stream::Tls(_)) && self.buffer.capacity() - self.buffer.len() >= LEAST_SPACE => {}
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) if self.buffer.is_empty() => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => {
                    self.ended = Some(Err(cause_of(&error)));
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if self.buffer.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// `connection-lost`, `limit`; `timed-out`, and the connection is closed: half a message may be on its way.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        check_transfer(data.len())?;
        self.place.0.write(data.len() as u64)?;
        self.check_clear_written(data.len())?;
        let budget = self.place.0.clone();
        let written = budget.within(self.write_all(&data)).await;
        if matches!(&written, Err(fault) if fault.kind == FaultKind::TimedOut) {
            (self.stream, self.broken) = (None, "a write to it took too long and was cut off");
        }
        written
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), Fault> {
        let Some(stream) = &mut self.stream else {
            return Err(self.lost("writing to", self.broken));
        };
        let written = async {
            stream.write_all(data).await?;
            stream.flush().await
        };
        written.await.map_err(|error| self.lost("writing to", &cause_of(&error)))
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// `connection-lost`.
    pub async fn shutdown(&mut self) -> Result<(), Fault> {
        let budget = self.place.0.clone();
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let address = &self.address;
        let closed = async { stream.shutdown().await.map_err(|error| lost("closing", address, &cause_of(&error))) };
        budget.within(closed).await
    }

    /// Negotiates TLS as the operator's settings say, offering application protocols (ALPN) where there are any.
    ///
    /// # Errors
    /// `config` where TLS is disabled, `protocol` where something is unread, `unreachable` where the certificate or the handshake fails, `limit` for
    /// more protocols than anybody offers.
    pub async fn start_tls(&mut self, protocols: &[String]) -> Result<TlsSession, Fault> {
        super::tls::check_protocols(protocols)?;
        if self.endpoint.tls_mode() == TlsMode::Disable {
            let fault = Fault::new(FaultKind::Config, format!("TLS is disabled for {}", self.address.written));
            return Err(fault.hint("write another `tls.mode` than `disable` for this endpoint"));
        }
        if !self.buffer.is_empty() {
            let message = format!("{} sent data before TLS was negotiated", self.address.written);
            return Err(Fault::new(FaultKind::Protocol, message).hint("somebody may be interfering with the connection"));
        }
        let budget = self.place.0.clone();
        let endpoint = self.endpoint.clone();
        let tcp = match self.stream.take() {
            Some(Stream::Tcp(tcp)) => tcp,
            other => {
                self.stream = other;
                return Err(Fault::new(FaultKind::Protocol, "TLS was already negotiated"));
            }
        };
        let host = self.address.host.clone().unwrap_or_default();
        let handshake = async { endpoint.tls().await?.handshake(tcp, &host, &self.address.written, protocols).await };
        let tls = budget.within(handshake).await?;
        let session = super::tls::session(&tls);
        self.stream = Some(Stream::Tls(Box::new(tls)));
        Ok(session)
    }

    fn check_clear_read(&mut self, bytes: usize) -> Result<(), Fault> {
        let bytes = bytes as u64;
        if self.must_hurry_to_tls() {
            self.clear_read += bytes;
            return self.check_clear(self.clear_read);
        }
        Ok(())
    }

    fn check_clear_written(&mut self, bytes: usize) -> Result<(), Fault> {
        if self.must_hurry_to_tls() {
            self.clear_written += bytes as u64;
            return self.check_clear(self.clear_written);
        }
        Ok(())
    }

    fn must_hurry_to_tls(&self) -> bool {
        let required = !matches!(self.endpoint.tls_mode(), TlsMode::Disable | TlsMode::Prefer);
        required && !matches!(self.stream, Some(Stream::Tls(_)))
    }

    fn check_clear(&self, bytes: u64) -> Result<(), Fault> {
        if bytes <= CLEAR_BEFORE_TLS {
            return Ok(());
        }
        let message = format!(
            "TLS is required for {}, and more than {CLEAR_BEFORE_TLS} bytes were to pass in clear",
            self.address.written
        );
        Err(Fault::new(FaultKind::PermissionDenied, message))
    }

    fn lost(&self, action: &str, cause: &str) -> Fault {
        lost(action, &self.address, cause)
    }
}

/// What the operating system or TLS says; rustls explains an end without its closing message with the address of its manual.
fn cause_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other side ended the connection in the middle of it".to_owned(),
        _ => error.to_string(),
    }
}

fn lost(action: &str, address: &Address, cause: &str) -> Fault {
    let mut fault = Fault::new(FaultKind::ConnectionLost, format!("{action} {} failed", address.written)).retryable();
    fault.causes.push(cause.to_owned());
    fault
}

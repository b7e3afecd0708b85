//! A connection that calls are made on: [`Channel`], and the loop that drives `h2` in one thread.
//!
//! # How the loop works
//! A future of interest (a response's head, the next data) and `h2`'s connection are polled in turn. `h2` reads from a buffer that is only filled
//! between two rounds, so when both are pending and neither has woken the other, there is nothing to do but to wait for the peer: the buffer is
//! filled with one read of the connection, with what is left of the deadline. Nothing else waits, and nothing runs beside it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bulkhead_sdk::{Error, ErrorKind};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use prost::Message;

use crate::{
    Call, GrpcError, Status, Transport,
    call::{Event, State},
    framer::{Framer, frame},
    pipe::{Pipe, Wire, pair},
};

/// Headers of one response, all together; gRPC's are a few hundred bytes.
const MAX_HEADERS: u32 = 64 << 10;

/// The largest frame that the peer may send. Fewer, larger frames where a server makes use of it.
const MAX_FRAME: u32 = 256 << 10;

/// How a channel is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes that the server may send ahead of the plugin, on one stream and on all together; below 2³¹. More is faster over a long way, and memory.
    pub window: u32,
    /// The largest message that is accepted, in bytes.
    pub max_message: usize,
    /// Whether the connection is encrypted: what the requests say (`:scheme`).
    pub encrypted: bool,
    /// How long opening the channel may take.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: 1 << 20,
            max_message: 4 << 20,
            encrypted: false,
            deadline: Duration::from_secs(30),
        }
    }
}

/// A connection on which calls are made, several at once if need be.
pub struct Channel<T: Transport> {
    wire: Wire<T>,
    connection: Connection<Pipe<T>, Bytes>,
    sender: SendRequest<Bytes>,
    metadata: HeaderMap,
    options: Options,
    woken: Arc<Woken>,
}

/// Remembers that somebody has something to do.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T: Transport + 'static> Channel<T> {
    /// Opens HTTP/2 on a connection, with prior knowledge: TLS, where it is wanted, is up.
    ///
    /// # Errors
    /// Those of the transport.
    pub fn connect(transport: T, options: Options) -> Result<Self, GrpcError> {
        let (wire, pipe) = pair(transport);
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(options.window)
            .initial_connection_window_size(options.window)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(MAX_HEADERS);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut handshake = pin!(builder.handshake(pipe));
        // The client's half of the handshake only writes: it is ready without anything of the server's.
        let Poll::Ready(opened) = handshake.as_mut().poll(&mut Context::from_waker(&waker)) else {
            return Err(Error::new(ErrorKind::Internal, "HTTP/2 waits for a server that it does not need yet").into());
        };
        let (sender, connection) = opened?;
        Ok(Self {
            wire,
            connection,
            sender,
            metadata: HeaderMap::new(),
            options,
            woken,
        })
    }

    /// Who is at the other end.
    #[must_use]
    pub fn address(&self) -> String {
        self.wire.address()
    }

    /// Sends this with all further requests, such as a token. It is never compressed into a table that an observer could probe.
    ///
    /// # Errors
    /// `Request` for bytes that no header can have.
    pub fn set_metadata(&mut self, name: &'static str, value: &[u8]) -> Result<(), GrpcError> {
        let mut value = HeaderValue::from_bytes(value).map_err(http::Error::from)?;
        value.set_sensitive(true);
        self.metadata.insert(name, value);
        Ok(())
    }

    /// Calls a method with one request and one response. `deadline` is for all of it.
    ///
    /// # Errors
    /// `Status` where the server answers with an error; all others.
    pub fn unary<R: Message + Default>(&mut self, path: &'static str, request: &impl Message, deadline: Duration) -> Result<R, GrpcError> {
        let mut call = self.start(path, request, Some(deadline))?;
        self.finish(&mut call, deadline)
    }

    /// The one response of a call that was [started](Self::start), within `deadline`.
    ///
    /// # Errors
    /// As [`Self::unary`].
    pub fn finish<R: Message + Default>(&mut self, call: &mut Call, deadline: Duration) -> Result<R, GrpcError> {
        let end = Instant::now() + deadline;
        let message = self.next(call, deadline)?.ok_or(GrpcError::MessageCount("no message"))?;
        if self.next(call, end.saturating_duration_since(Instant::now()))?.is_some() {
            return Err(GrpcError::MessageCount("several messages"));
        }
        Ok(R::decode(message)?)
    }

    /// Sends a request. The server is told `timeout`, and may give up after it. The response is read with [`Self::next`]; other calls can be made
    /// meanwhile.
    ///
    /// # Errors
    /// Those of HTTP/2 and the transport.
    pub fn start(&mut self, path: &'static str, request: &impl Message, timeout: Option<Duration>) -> Result<Call, GrpcError> {
        let head = self.head(path, timeout)?;
        let end = Instant::now() + self.options.deadline;
        let mut sender = self.sender.clone();
        self.drive(end, poll_fn(|context| sender.poll_ready(context)))??;
        let (response, mut body) = sender.send_request(head, false)?;
        body.send_data(frame(request), true)?;
        self.advance()?;
        Ok(Call {
            state: State::Requested(response),
            framer: Framer::new(self.options.max_message),
        })
    }

    /// The next message of a call; `None` once the server has ended it well. `deadline` is for this message.
    ///
    /// # Errors
    /// `Status` where the server ended the call with an error; `Truncated` where it broke off.
    pub fn next(&mut self, call: &mut Call, deadline: Duration) -> Result<Option<Bytes>, GrpcError> {
        let end = Instant::now() + deadline;
        let mut waits = false;
        loop {
            if let Some(message) = call.framer.next()? {
                return Ok(Some(message));
            }
            // Frames with nothing in them keep the connection busy, and nobody waits: the deadline holds all the same.
            if waits && end <= Instant::now() {
                return Err(self.late());
            }
            waits = true;
            match &mut call.state {
                State::Ended => return Ok(None),
                State::Requested(response) => {
                    let response = self.drive(end, Pin::new(response))??;
                    call.state = match begun(response)? {
                        Some(body) => State::Streaming(body),
                        None => State::Ended,
                    };
                }
                State::Streaming(body) => match self.drive(end, poll_fn(|context| poll_event(body, context)))?? {
                    Event::Data(data) => {
                        call.framer.feed(&data);
                        body.flow_control().release_capacity(data.len())?;
                    }
                    Event::Trailers(trailers) => {
                        call.state = State::Ended;
                        ended(trailers.as_ref(), call.framer.is_empty())?;
                    }
                },
            }
        }
    }

    fn head(&self, path: &'static str, timeout: Option<Duration>) -> Result<Request<()>, GrpcError> {
        let scheme = if self.options.encrypted { "https" } else { "http" };
        let uri = http::Uri::builder()
            .scheme(scheme)
            .authority(authority(&self.address()))
            .path_and_query(path)
            .build()?;
        let mut request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(uri)
            .header(header::TE, "trailers")
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::USER_AGENT, concat!("bulkhead/", env!("CARGO_PKG_VERSION")));
        if let Some(timeout) = timeout {
            // At most eight digits.
            request = request.header("grpc-timeout", format!("{}m", timeout.as_millis().min(99_999_999)));
        }
        let mut request = request.body(())?;
        for (name, value) in &self.metadata {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    /// Lets `h2` do what it can without waiting, and sends what it has to send.
    fn advance(&mut self) -> Result<(), GrpcError> {
        let waker = Waker::from(Arc::clone(&self.woken));
        if let Poll::Ready(closed) = Pin::new(&mut self.connection).poll(&mut Context::from_waker(&waker)) {
            closed?;
            return Err(GrpcError::Closed);
        }
        Ok(self.wire.flush()?)
    }

    /// Polls `future` and the connection until the future is ready.
    fn drive<F: Future>(&mut self, end: Instant, future: F) -> Result<F::Output, GrpcError> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let context = &mut Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Ok(output);
            }
            let closed = match Pin::new(&mut self.connection).poll(context) {
                Poll::Pending => false,
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => {
                    // What the stream itself was told is more to the point than what the connection ended with.
                    return match future.as_mut().poll(context) {
                        Poll::Ready(output) => Ok(output),
                        Poll::Pending => Err(error.into()),
                    };
                }
            };
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Ok(output);
            }
            if closed {
                return Err(GrpcError::Closed);
            }
            if !self.woken.0.load(Ordering::Relaxed) {
                self.wait(end)?;
            }
        }
    }

    fn wait(&mut self, end: Instant) -> Result<(), GrpcError> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.late());
        }
        Ok(self.wire.exchange(left)?)
    }

    fn late(&self) -> GrpcError {
        let message = format!("{} did not answer in time", self.address());
        Error::new(ErrorKind::TimedOut, message).into()
    }
}

impl<T: Transport> std::fmt::Debug for Channel<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Channel({})", self.wire.address())
    }
}

/// A Unix socket's path is no authority.
fn authority(address: &str) -> &str {
    if address.contains('/') { "localhost" } else { address }
}

/// Looks at a response's head: its body, or nothing where the head says already that the call ended well.
fn begun(response: Response<h2::RecvStream>) -> Result<Option<h2::RecvStream>, GrpcError> {
    let (head, body) = response.into_parts();
    let content_type = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if head.status != http::StatusCode::OK || !content_type.starts_with(b"application/grpc") {
        return Err(GrpcError::NotGrpc {
            status: head.status.as_u16(),
            content_type: String::from_utf8_lossy(&content_type[..content_type.len().min(100)]).into_owned(),
        });
    }
    if Status::of(&head.headers).is_some() {
        return ended(Some(&head.headers), true).map(|()| None);
    }
    Ok(Some(body))
}

/// Looks at the status that a call ended with.
fn ended(trailers: Option<&HeaderMap>, whole: bool) -> Result<(), GrpcError> {
    let status = trailers.and_then(Status::of).ok_or(GrpcError::Truncated("without a status"))?;
    if status.code != crate::Code::Ok {
        return Err(GrpcError::Status(status));
    }
    if whole {
        Ok(())
    } else {
        Err(GrpcError::Truncated("within a message"))
    }
}

fn poll_event(body: &mut h2::RecvStream, context: &mut Context<'_>) -> Poll<Result<Event, h2::Error>> {
    match body.poll_data(context) {
        Poll::Ready(Some(data)) => Poll::Ready(data.map(Event::Data)),
        Poll::Ready(None) => body.poll_trailers(context).map(|trailers| trailers.map(Event::Trailers)),
        Poll::Pending => Poll::Pending,
    }
}

//! A call in progress: [`Call`].

use bytes::Bytes;
use h2::{RecvStream, client::ResponseFuture};

use crate::framer::Framer;

/// A call whose request was sent. [`Channel::next`](crate::Channel::next) gives its messages. Dropping it tells the server to stop.
pub struct Call {
    pub(crate) state: State,
    pub(crate) framer: Framer,
}

pub(crate) enum State {
    /// Waits for the response's head.
    Requested(ResponseFuture),
    /// Reads its body.
    Streaming(RecvStream),
    /// The status came.
    Ended,
}

/// What a stream gave.
pub(crate) enum Event {
    Data(Bytes),
    Trailers(Option<http::HeaderMap>),
}

impl std::fmt::Debug for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Requested(_) => "requested",
            State::Streaming(_) => "streaming",
            State::Ended => "ended",
        };
        write!(formatter, "Call({state})")
    }
}

//! A request's body on its way from the plugin to the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Parts in flight: enough to overlap the plugin with the network, few enough to push back.
const IN_FLIGHT: usize = 2;

/// One message from the plugin.
#[derive(Debug)]
pub(super) enum Part {
    Data(Bytes),
    /// Said explicitly: a body that merely stops is cut off, and must not look complete to the server.
    End,
}

/// The receiving end, which hyper reads.
#[derive(Debug)]
pub(super) struct RequestBody {
    parts: Option<mpsc::Receiver<Part>>,
    length: Option<u64>,
}

/// The request was given up by the plugin.
#[derive(Debug, thiserror::Error)]
#[error("the request was abandoned")]
pub(super) struct Abandoned;

impl RequestBody {
    /// The sending end (none for an empty body) and the receiving one.
    pub(super) fn channel(length: Option<u64>) -> (Option<mpsc::Sender<Part>>, Self) {
        if length == Some(0) {
            return (None, Self { parts: None, length });
        }
        let (sender, parts) = mpsc::channel(IN_FLIGHT);
        (
            Some(sender),
            Self {
                parts: Some(parts),
                length,
            },
        )
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        let Some(parts) = &mut self.parts else {
            return Poll::Ready(None);
        };
        match ready!(parts.poll_recv(context)) {
            Some(Part::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Part::End) => {
                self.parts = None;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(Abandoned))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

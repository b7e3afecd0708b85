//! Between OpenDAL's futures and the driver that polls them: [`Line`], over which only data passes.
//!
//! OpenDAL wants a transport that lives as long as it likes and, natively, is shared by threads. The body of an object is lent to the plugin for one
//! call, and the host's exchanges belong to one thread. So the transport does nothing itself: it leaves what it wants on the line and is pending, and
//! [`drive`](super::drive) does it before it polls again.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::Stream;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};

/// What a service wants.
pub(super) enum Ask {
    Request(Box<http::Request<Buffer>>),
    /// The next piece of the last response's body.
    Piece,
}

/// What it gets.
pub(super) enum Answer {
    Head(Box<http::response::Parts>),
    /// `None` at the end.
    Piece(Option<Vec<u8>>),
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Asked(Ask),
    /// The driver has taken it, and does it.
    InHand,
    Answered(Answer),
}

/// One service's line: one thing is asked at a time.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what an operation left behind that was broken off.
    pub(super) fn clear(&self) {
        *self.state() = State::Idle;
    }

    /// What is wanted now, if anything is.
    pub(super) fn take(&self) -> Option<Ask> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::InHand) {
            State::Asked(ask) => Some(ask),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Answers what was taken.
    pub(super) fn answer(&self, answer: Answer) {
        *self.state() = State::Answered(answer);
    }

    /// Leaves a wish, which must be the first one.
    fn ask(&self, ask: Ask) {
        *self.state() = State::Asked(ask);
    }

    /// The answer to it, once it is there.
    fn answered(&self) -> Poll<Answer> {
        let mut state = self.state();
        match std::mem::take(&mut *state) {
            State::Answered(answer) => Poll::Ready(answer),
            other => {
                *state = other;
                Poll::Pending
            }
        }
    }
}

impl HttpTransport for Line {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let head_only = request.method() == http::Method::HEAD;
        self.ask(Ask::Request(Box::new(request)));
        let Answer::Head(head) = poll_fn(|_| self.answered()).await else {
            return Err(out_of_turn());
        };
        let length = head
            .headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let body = HttpBody::new(
            Body {
                line: self.clone(),
                asked: false,
            },
            length.filter(|_| !head_only),
        );
        Ok(http::Response::from_parts(*head, body))
    }
}

/// The body of a response, asked for piece by piece.
struct Body {
    line: Line,
    asked: bool,
}

impl Stream for Body {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.asked {
            self.line.ask(Ask::Piece);
            self.asked = true;
            return Poll::Pending;
        }
        match self.line.answered() {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Answer::Piece(piece)) => {
                self.asked = false;
                Poll::Ready(piece.map(|piece| Ok(Buffer::from(piece))))
            }
            Poll::Ready(Answer::Head(_)) => Poll::Ready(Some(Err(out_of_turn()))),
        }
    }
}

fn out_of_turn() -> Error {
    Error::new(ErrorKind::Unexpected, "the service asked for two things at once")
}

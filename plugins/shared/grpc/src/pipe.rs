//! The connection as `h2` sees it ([`Pipe`]) and as the channel sees it ([`Wire`]): two ends of one pair of buffers.
//!
//! `h2` polls and is never made to wait: a read of an empty buffer is pending, a write goes into the outgoing buffer. The channel moves bytes between
//! the buffers and the transport, and is the only one that waits.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bulkhead_sdk::{Result, host::BEST_TRANSFER};
use tokio_io::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Transport;

/// Outgoing bytes that are collected before they are written: `h2` writes heads and bodies of frames separately.
const OUTGOING: usize = 64 << 10;

struct Shared<T> {
    transport: T,
    incoming: Vec<u8>,
    position: usize,
    ended: bool,
    outgoing: Vec<u8>,
}

impl<T: Transport> Shared<T> {
    fn flush(&mut self) -> Result<()> {
        if !self.outgoing.is_empty() {
            self.transport.write(&self.outgoing)?;
            self.outgoing.clear();
        }
        Ok(())
    }
}

/// The channel's end.
pub(crate) struct Wire<T>(Rc<RefCell<Shared<T>>>);

/// The end that `h2` reads and writes.
pub(crate) struct Pipe<T>(Rc<RefCell<Shared<T>>>);

/// Both ends over a transport.
pub(crate) fn pair<T: Transport>(transport: T) -> (Wire<T>, Pipe<T>) {
    let shared = Rc::new(RefCell::new(Shared {
        transport,
        incoming: Vec::new(),
        position: 0,
        ended: false,
        outgoing: Vec::new(),
    }));
    (Wire(Rc::clone(&shared)), Pipe(shared))
}

impl<T: Transport> Wire<T> {
    /// Writes what is outgoing, and waits for something incoming, at most until `deadline` has passed. Whether the peer has closed the connection
    /// shows in what `h2` reads then.
    pub(crate) fn exchange(&self, deadline: Duration) -> Result<()> {
        let mut shared = self.0.borrow_mut();
        shared.flush()?;
        match shared.transport.read(BEST_TRANSFER, Some(deadline))? {
            Some(bytes) => (shared.incoming, shared.position) = (bytes, 0),
            None => shared.ended = true,
        }
        Ok(())
    }

    /// Writes what is outgoing.
    pub(crate) fn flush(&self) -> Result<()> {
        self.0.borrow_mut().flush()
    }

    pub(crate) fn address(&self) -> String {
        self.0.borrow().transport.address()
    }
}

impl<T: Transport> AsyncRead for Pipe<T> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.0.borrow_mut();
        let available = shared.incoming.len() - shared.position;
        if available == 0 {
            // Nobody needs to be woken: the channel polls again after each exchange.
            return if shared.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let count = available.min(into.remaining());
        into.put_slice(&shared.incoming[shared.position..shared.position + count]);
        shared.position += count;
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Pipe<T> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.0.borrow_mut();
        shared.outgoing.extend_from_slice(data);
        if shared.outgoing.len() >= OUTGOING {
            shared.flush().map_err(io::Error::from)?;
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.borrow_mut().flush().map_err(io::Error::from))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

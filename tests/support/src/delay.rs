//! A server that is far away: [`DelayLine`].

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Bytes that are read at once, and how many such pieces are on the way in one direction of a connection: 16 MiB, so that the line delays, but is not narrow.
const PIECE: usize = 64 << 10;
const ON_THE_WAY: usize = 256;

/// A relay in front of a server on 127.0.0.1 that lets every byte arrive later, half of the round trip in each direction. A new connection takes a whole round trip more, as
/// its handshake would. It is as wide as loopback is, and loses nothing.
#[derive(Debug)]
pub struct DelayLine {
    port: u16,
}

impl DelayLine {
    /// Starts one in front of `server`, a port, until the process ends.
    pub fn start(server: u16, round_trip: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("cannot bind a loopback port"))?;
        let port = listener.local_addr().map_err(Error::io("cannot read a socket's address"))?.port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that breaks is broken on both sides, which is all that there is to be told.
                let _ = relay(client, server, round_trip);
            }
        });
        Ok(Self { port })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn relay(client: TcpStream, server: u16, round_trip: Duration) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let open = Instant::now() + round_trip;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let (pieces, arriving) = sync_channel(ON_THE_WAY);
        std::thread::spawn(move || take(from, &pieces, open, round_trip / 2));
        std::thread::spawn(move || deliver(to, &arriving));
    }
    Ok(())
}

/// Reads until the end; an empty piece stands for it.
fn take(mut from: TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>, open: Instant, delay: Duration) {
    loop {
        let mut piece = vec![0; PIECE];
        // A connection that fails ends here, and the other side is told so.
        let length = from.read(&mut piece).unwrap_or(0);
        piece.truncate(length);
        if pieces.send((Instant::now().max(open) + delay, piece)).is_err() || length == 0 {
            return;
        }
    }
}

fn deliver(mut to: TcpStream, arriving: &Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in arriving {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if piece.is_empty() || to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_byte_arrives_and_none_too_early() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let line = DelayLine::start(listener.local_addr().unwrap().port(), Duration::from_millis(50)).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).unwrap();
            stream.write_all(&asked).unwrap();
        });
        let begin = Instant::now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap();
        let sent: Vec<u8> = (0..3 << 20_usize).map(|number| (number % 251) as u8).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answered = Vec::new();
        stream.read_to_end(&mut answered).unwrap();
        assert!(answered == sent);
        // A handshake and a question with its answer.
        assert!(begin.elapsed() >= Duration::from_millis(100), "{:?}", begin.elapsed());
    }
}

//! Ports for servers that have to be told theirs: [`free_port`].

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::{Error, Result, installed};

/// Below 32,768, where Linux begins to choose ports for those who don't mind which, so that no outgoing connection has one of these; and so
/// that Redis' cluster bus, 10,000 above, is neither among them nor there.
const PORTS: Range<u16> = 12_000..22_000;

/// A port of 127.0.0.1 that nobody listens on, and that no other test is given before the other 9,999 had their turn.
///
/// One that is merely free for a moment would not do: the server of another test that takes it meanwhile answers in this one's place.
pub fn free_port() -> Result<u16> {
    // Beside the servers themselves, where all who start them look.
    let path = installed("")?.join("last-port");
    let failed = |error| Error::on_path("take the next port from", &path)(error);
    let mut options = File::options();
    let mut last = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    last.lock().map_err(failed)?;
    let port = next(&mut last).map_err(failed)?;
    last.rewind().map_err(failed)?;
    // Always five digits: what was there is written over.
    write!(last, "{port}").map_err(failed)?;
    Ok(port)
}

/// The first that can be listened on after the one in the file.
fn next(last: &mut File) -> std::io::Result<u16> {
    let mut text = String::new();
    last.read_to_string(&mut text)?;
    let last = text.parse().ok().filter(|port| PORTS.contains(port)).unwrap_or(PORTS.start);
    (last + 1..PORTS.end)
        .chain(PORTS.start..last)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_the_same_port_twice_in_a_row() {
        let all = || (0..50).map(|_| free_port().unwrap());
        let mut ports: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || all().collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}

//! Resolving and dialling addresses, and the patterns of those that a source may discover.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bulkhead_model::{Fault, FaultKind};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::Stream;

/// How long a name may take to resolve, and one address to answer before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses that are tried of those that one name has.
const MAX_RESOLVED: usize = 16;

/// An address that was dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// As the operator wrote it.
    pub(crate) written: String,
    /// The host part, for TLS; `None` of a socket.
    pub(crate) host: Option<String>,
}

impl Address {
    pub(super) fn socket(path: &Path) -> Self {
        Self {
            written: path.display().to_string(),
            host: None,
        }
    }
}

/// Splits "host:port" and "[v6]:port".
pub(crate) fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

/// Tries the addresses in order until one answers.
pub(crate) async fn connect_any(addresses: &[String]) -> Result<(Stream, Address), Fault> {
    let mut causes = Vec::new();
    for address in addresses {
        let Some((host, port)) = split(address) else {
            causes.push(format!("{address}: not an address of the form `host:port`"));
            continue;
        };
        match connect_name(host, port).await {
            Ok(stream) => {
                // Protocols of question and answer would wait for Nagle's timer; what is large fills its segments anyway.
                stream.set_nodelay(true).map_err(|error| unreachable(address, &error.to_string()))?;
                return Ok((
                    Stream::Tcp(stream),
                    Address {
                        written: address.clone(),
                        host: Some(host.to_owned()),
                    },
                ));
            }
            Err(error) => causes.push(format!("{address}: {error}")),
        }
    }
    let mut fault = unreachable(&addresses.join(", "), "");
    fault.causes = causes;
    Err(fault)
}

/// All that a name stands for, one after the other: a host that is down in one of its networks answers in another.
async fn connect_name(host: &str, port: u16) -> io::Result<TcpStream> {
    let resolved = tokio::time::timeout(CONNECT_TIMEOUT, lookup_host((host, port))).await;
    let resolved = resolved.unwrap_or_else(|_| Err(no_answer("the name was not resolved", CONNECT_TIMEOUT)))?;
    connect_first(resolved.take(MAX_RESOLVED), CONNECT_TIMEOUT).await
}

async fn connect_first(addresses: impl IntoIterator<Item = SocketAddr>, each: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match tokio::time::timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = no_answer("no answer", each),
        }
    }
    Err(failure)
}

fn no_answer(what: &str, within: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {} s", within.as_secs_f32()))
}

pub(super) async fn connect_socket(path: &Path) -> Result<Stream, Fault> {
    let error = match UnixStream::connect(path).await {
        Ok(stream) => return Ok(Stream::Unix(stream)),
        Err(error) => error,
    };
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            "check that the server runs, and that its socket is where `socket` in the TOML says (the file itself, not its folder)"
        }
        io::ErrorKind::PermissionDenied => "let the user that bulkhead runs as write to the socket, or its group",
        _ => "check that the server runs and listens on the `socket` in the TOML",
    };
    Err(unreachable(&path.display().to_string(), &error.to_string()).hint(hint))
}

fn unreachable(what: &str, cause: &str) -> Fault {
    let mut fault = Fault::new(FaultKind::Unreachable, format!("cannot connect to {what}")).retryable();
    fault.causes.extend((!cause.is_empty()).then(|| cause.to_owned()));
    fault.hint("check that the server runs and that the address in the TOML is right")
}

/// Longest address that is looked at, in bytes: a name has at most 253.
const MAX_ADDRESS: usize = 300;

/// Whether `address` matches `pattern`.
///
/// A pattern whose host is made of digits, dots and stars stands for IPv4 addresses, one in brackets for IPv6 addresses, and only an address of that kind
/// matches it: `10.0.0.evil.example` is not in `10.0.0.*`. In any other pattern `*` stands for a part of one label of a name, and does not cross a dot. The
/// port is never taken for a part of the host. The time is linear in both lengths.
pub(super) fn matches(pattern: &str, address: &str) -> bool {
    if address.len() > MAX_ADDRESS {
        return false;
    }
    let (Some((wanted_host, wanted_port)), Some((host, _)), Some((_, port))) =
        (pattern.rsplit_once(':'), split(address), address.rsplit_once(':'))
    else {
        return false;
    };
    let host_matches = if let Some(bracketed) = wanted_host.strip_prefix('[') {
        let wanted = bracketed.strip_suffix(']');
        address.starts_with('[') && host.parse::<Ipv6Addr>().is_ok() && wanted.is_some_and(|wanted| fits(wanted, host))
    } else if wanted_host.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'*')) {
        !address.starts_with('[') && host.parse::<Ipv4Addr>().is_ok() && fits(wanted_host, host)
    } else {
        !address.starts_with('[') && name_fits(wanted_host, host)
    };
    host_matches && fits(wanted_port, port)
}

/// Label by label.
fn name_fits(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut labels) = (pattern.split('.'), name.split('.'));
    loop {
        match (patterns.next(), labels.next()) {
            (None, None) => return true,
            (Some(pattern), Some(label)) if fits(pattern, label) => {}
            _ => return false,
        }
    }
}

/// `*` stands for any characters. The first place where a middle piece fits is as good as any later one, so nothing is tried twice.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = text.strip_prefix(first).and_then(|text| text.strip_suffix(last)) else {
        return false;
    };
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A socket that no longer answers: its queue is full.
    async fn black_hole() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        (address, queued, listener)
    }

    #[tokio::test]
    async fn an_address_that_never_answers_does_not_take_the_time_of_the_next() {
        let (dead, _queued, _listener) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let each = Duration::from_millis(300);
        let connected = connect_first([dead, alive], each).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), alive);
        let error = connect_first([dead], each).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 0.3 s");
    }

    #[test]
    fn addresses_are_split_at_the_port() {
        assert_eq!(split("db.example:5432"), Some(("db.example", 5432)));
        assert_eq!(split("[::1]:5432"), Some(("::1", 5432)));
        for bad in ["db", "db:", ":1", "::1:5432", "db:99999", "[::1:5"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_star_never_crosses_the_colon() {
        assert!(matches("10.0.0.*:6379", "10.0.0.17:6379"));
        assert!(matches("redis-*.svc:*", "redis-3.svc:7000"));
        assert!(matches("a:1", "a:1"));
        for (pattern, address) in [
            ("10.0.0.*:6379", "10.0.0.1:22"),
            ("10.0.0.*:6379", "10.0.1.1:6379"),
            ("*", "host:1"),
            ("redis*:6379", "redis.evil:22:6379"),
            ("10.0.0.1:*", "10.0.0.10:1"),
        ] {
            assert!(!matches(pattern, address), "{pattern} {address}");
        }
    }

    #[test]
    fn patterns_of_numbers_match_numbers_only() {
        assert!(matches("10.*:6379", "10.1.2.3:6379"));
        assert!(matches("[fd00::*]:6379", "[fd00::1:2]:6379"));
        for (pattern, address) in [
            ("10.0.0.*:6379", "10.0.0.evil.example:6379"),
            ("10.*.0.1:6379", "10.evil.example.0.1:6379"),
            ("10.0.0.*:6379", "[10.0.0.1]:6379"),
            ("[fd00::*]:6379", "[fd00::evil.example]:6379"),
            ("[fd00::*]:6379", "10.0.0.1:6379"),
        ] {
            assert!(!matches(pattern, address), "{pattern} {address}");
        }
    }

    #[test]
    fn a_star_in_a_name_stays_in_its_label() {
        assert!(matches("*.redis.svc:6379", "node-1.redis.svc:6379"));
        assert!(matches("n*-*-a.svc:6379", "node-1-2-a.svc:6379"));
        for (pattern, address) in [
            ("redis-*.svc:1", "redis-1.evil.svc:1"),
            ("redis*:1", "redis.evil.example:1"),
            ("*.redis.svc:1", "redis.svc:1"),
            ("ab*ba.svc:1", "aba.svc:1"),
        ] {
            assert!(!matches(pattern, address), "{pattern} {address}");
        }
    }

    #[test]
    fn matching_takes_no_time_whatever_comes() {
        let pattern = format!("{}b.x:1", "a*".repeat(100));
        let (near, long) = (format!("{}c.x:1", "a".repeat(290)), format!("{}.x:1", "a".repeat(50_000_000)));
        let begun = std::time::Instant::now();
        assert!(!matches(&pattern, &near));
        assert!(!matches("a*.x:1", &long));
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

//! Resolving and dialling addresses, and the patterns of those that a source may discover.

use std::path::Path;
use std::time::Duration;

use bulkhead_model::{Fault, FaultKind};
use tokio::net::{TcpStream, UnixStream};

use super::Stream;

/// How long one address may take to answer before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => {
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
            Ok(Err(error)) => causes.push(format!("{address}: {error}")),
            Err(_) => causes.push(format!("{address}: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
        }
    }
    let mut fault = unreachable(&addresses.join(", "), "");
    fault.causes = causes;
    Err(fault)
}

pub(super) async fn connect_socket(path: &Path) -> Result<Stream, Fault> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Stream::Unix(stream)),
        Err(error) => Err(unreachable(&path.display().to_string(), &error.to_string())),
    }
}

fn unreachable(what: &str, cause: &str) -> Fault {
    let mut fault = Fault::new(FaultKind::Unreachable, format!("cannot connect to {what}")).retryable();
    fault.causes.extend((!cause.is_empty()).then(|| cause.to_owned()));
    fault.hint("check that the server runs and that the address in the TOML is right")
}

/// Whether `address` matches `pattern`, where `*` stands for any characters but `:`. The port is never taken for a part of the host.
pub(super) fn matches(pattern: &str, address: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == address;
    };
    let Some(tail) = address.strip_prefix(first) else {
        return false;
    };
    let reach = tail.find(':').unwrap_or(tail.len());
    (0..=reach)
        .filter(|end| tail.is_char_boundary(*end))
        .any(|end| matches(rest, &tail[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

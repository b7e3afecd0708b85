//! Requests of the host's own, beside those of plugins: [`ask`], with which credentials are asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_model::{Fault, FaultKind};
use bytes::Bytes;
use hyper::Uri;
use zeroize::Zeroizing;

use super::{HttpClient, Request};
use crate::capabilities::endpoint::Endpoints;
use crate::capabilities::{Budget, Granted};
use crate::{Destination, EndpointGrant, Limits, PluginKind, SecretBytes, TlsMode, TlsSettings};

/// Bytes of an answer: documents with a token have two or three thousand.
const MAX_ANSWER: usize = 64 << 10;

/// How long an answer may take: nobody waits for a person here.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the one endpoint.
const SERVER: &str = "server";

/// What is sent.
pub struct Question<'a> {
    /// `GET`, `POST`, `PUT`.
    pub method: &'static str,
    /// `https://…`; without TLS only to where nobody else listens: the loopback, and link-local addresses (RFC 3927), at which clouds tell a machine who it is.
    pub url: &'a str,
    /// Whom to trust. Name and certificate of the client are not taken from it: they are for another server.
    pub tls: &'a TlsSettings,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; it is erased.
    pub body: Zeroizing<Vec<u8>>,
}

/// Without headers and body: there are secrets in them.
impl std::fmt::Debug for Question<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Question({} {})", self.method, self.url)
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Its body: there may be a token in it.
    pub body: SecretBytes,
}

/// Sends a request and reads the answer, of whatever status.
///
/// # Errors
/// `config` for a URL that is none, or that would send secrets in the clear; `unreachable`, `timed-out`, `connection-lost`; `limit` for an answer of more
/// than 64 KiB.
pub async fn ask(request: Question<'_>) -> Result<Answer, Fault> {
    let (origin, path) = split(request.url)?;
    let grant = EndpointGrant {
        tls: TlsSettings {
            mode: TlsMode::VerifyFull,
            ca: request.tls.ca.clone(),
            ..TlsSettings::default()
        },
        ..EndpointGrant::new(Destination::Url(origin))
    };
    let budget = Arc::new(Budget::new(Limits {
        call_timeout: PATIENCE,
        ..Limits::default_for(PluginKind::Sink)
    }));
    let granted = Granted::new("", "endpoint", "", BTreeMap::from([(SERVER.to_owned(), grant)]));
    let client = HttpClient::new(Endpoints::new(&granted, budget.clone()), budget);
    let head = Request {
        endpoint: SERVER.to_owned(),
        method: request.method.to_owned(),
        path,
        headers: request.headers,
        content_length: Some(request.body.len() as u64),
    };
    let mut exchange = client.send(head).await?;
    if !request.body.is_empty() {
        exchange.write(Bytes::from_owner(request.body)).await?;
    }
    let status = exchange.respond().await?.status;
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
    while let Some(part) = exchange.read(u32::MAX).await? {
        if body.len() + part.len() > MAX_ANSWER {
            let message = format!("{} answers with more than {MAX_ANSWER} bytes", request.url);
            return Err(Fault::new(FaultKind::Limit, message));
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer {
        status,
        body: SecretBytes::new(std::mem::take(&mut *body)),
    })
}

/// The server, and the path there.
fn split(url: &str) -> Result<(String, String), Fault> {
    let bad = |what: &str| Fault::new(FaultKind::Config, format!("the URL `{url}` {what}"));
    let uri: Uri = url.parse().map_err(|error| bad("is not valid").caused_by(&error))?;
    let (Some(scheme), Some(authority), Some(host)) = (uri.scheme_str(), uri.authority(), uri.host()) else {
        return Err(bad("is not of the form `https://host[:port]/path`"));
    };
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let is_near = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback() || is_link_local(ip));
    if scheme != "https" && !(scheme == "http" && is_near) {
        return Err(bad("would have secrets sent in the clear").hint("use an `https://` URL"));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((format!("{scheme}://{authority}"), path.to_owned()))
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_sent_in_the_clear() {
        let path = |url: &str| split(url).map(|(_, path)| path).map_err(|fault| fault.kind);
        assert_eq!(path("https://oauth2.googleapis.com/token"), Ok("/token".to_owned()));
        assert_eq!(path("http://127.0.0.1:99/token?x=1"), Ok("/token?x=1".to_owned()));
        assert_eq!(path("http://[::1]:99"), Ok("/".to_owned()));
        assert_eq!(path("http://169.254.169.254/latest"), Ok("/latest".to_owned()));
        for bad in [
            "http://oauth2.googleapis.com/token",
            "http://10.0.0.1/",
            "/token",
            "ftp://localhost/x",
            "",
        ] {
            assert_eq!(path(bad), Err(FaultKind::Config), "{bad}");
        }
    }
}

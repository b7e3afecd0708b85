//! The head of a request: what the plugin may say in it, and what the host adds.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use bulkhead_model::{Fault, FaultKind};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request as HttpRequest, Uri};
use zeroize::Zeroizing;

use super::{Request, aws, customer_key};
use crate::{AccessTokenProvider, Auth, Destination, EndpointGrant, SecretBytes};

/// Headers that decide how a message is framed and where it goes: the host's business.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The URL of an endpoint: `http` or `https`, a host, no query.
pub(super) fn base_url(name: &str, destination: &Destination) -> Result<Uri, Fault> {
    let Destination::Url(url) = destination else {
        let message = format!("the endpoint `{name}` takes connections, not HTTP requests");
        return Err(Fault::new(FaultKind::Unsupported, message).hint(format!("write `endpoint.{name}` with `url`")));
    };
    let bad = |cause: &str| Fault::new(FaultKind::Config, format!("the url of the endpoint `{name}` {cause}"));
    let uri: Uri = url.parse().map_err(|error| bad("is not valid").caused_by(&error))?;
    match (uri.scheme_str(), uri.host(), uri.query()) {
        (Some("http" | "https"), Some(_), None) => Ok(uri),
        (_, _, Some(_)) => Err(bad("has a query, which belongs to the plugin's config")),
        _ => Err(bad("is not of the form `https://host[:port][/path]`")),
    }
}

/// Host (without brackets around IPv6) and port, in the form that the dialer takes.
pub(super) fn host_and_port(url: &Uri) -> (&str, u16) {
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    (url.host().unwrap_or_default(), url.port_u16().unwrap_or(default))
}

/// The access token of a request, and where it came from.
pub(super) struct Bearer {
    tokens: Arc<dyn AccessTokenProvider>,
    token: SecretBytes,
}

impl Bearer {
    /// The server has refused it.
    pub(super) async fn refused(self) {
        self.tokens.refused(&self.token).await;
    }
}

/// The head as it goes over the wire, and the access token in it, if one is.
pub(super) async fn head(url: &Uri, grant: &EndpointGrant, request: &Request) -> Result<(HttpRequest<()>, Option<Bearer>), Fault> {
    let mut head = HttpRequest::new(());
    check_method(&request.method)?;
    *head.method_mut() = Method::from_bytes(request.method.as_bytes()).map_err(|error| bad("method", &error))?;
    *head.uri_mut() = target(url, &request.path)?;
    let headers = head.headers_mut();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad("header name", &error))?;
        check_header(&name, grant)?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|error| bad("header value", &error))?);
    }
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    headers.insert(HOST, HeaderValue::from_str(host).map_err(|error| bad("host", &error))?);
    if let Some(length) = request.content_length.filter(|length| *length > 0 || needs_length(&request.method)) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let bearer = add_auth(&mut head, grant.auth.as_ref()).await?;
    Ok((head, bearer))
}

/// `TRACE` makes the server say the credentials that the host adds, `CONNECT` makes a proxy dial what was not granted.
fn check_method(method: &str) -> Result<(), Fault> {
    if ["TRACE", "CONNECT"].iter().any(|refused| method.eq_ignore_ascii_case(refused)) {
        return Err(Fault::new(
            FaultKind::PermissionDenied,
            format!("requests with the method `{method}` are not made"),
        ));
    }
    Ok(())
}

fn needs_length(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

fn check_header(name: &HeaderName, grant: &EndpointGrant) -> Result<(), Fault> {
    if RESERVED.contains(&name.as_str()) {
        return Err(Fault::new(
            FaultKind::PermissionDenied,
            format!("the header `{name}` is set by the host"),
        ));
    }
    if name == AUTHORIZATION && grant.auth.is_some() {
        return Err(Fault::new(
            FaultKind::PermissionDenied,
            "the endpoint's `auth` sets the header `authorization`",
        ));
    }
    let is_own = || aws::OWN_HEADERS.iter().chain(&customer_key::OWN_HEADERS).any(|own| own == name);
    if matches!(grant.auth, Some(Auth::Aws { .. })) && is_own() {
        return Err(Fault::new(
            FaultKind::PermissionDenied,
            format!("the header `{name}` is set by the host, which signs the request"),
        ));
    }
    Ok(())
}

/// Path and query below the URL's own path; dot segments would lead out of it.
fn target(url: &Uri, path: &str) -> Result<Uri, Fault> {
    let segments = path.split(['?', '#']).next().unwrap_or_default().split(['/', '\\']);
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if !path.starts_with('/') || segments.into_iter().any(dots) {
        let message = format!("the path `{path}` does not begin with `/`, or contains `.` or `..`");
        return Err(Fault::new(FaultKind::Internal, message));
    }
    format!("{}{path}", url.path().trim_end_matches('/'))
        .parse()
        .map_err(|error| bad("path", &error))
}

async fn add_auth(head: &mut HttpRequest<()>, auth: Option<&Auth>) -> Result<Option<Bearer>, Fault> {
    let mut bearer = None;
    let value = match auth {
        None => return Ok(None),
        Some(Auth::Aws {
            region,
            credentials,
            customer_key,
        }) => {
            customer_key::add(head, customer_key.as_ref()).await?;
            aws::sign(head, region, &credentials.read().await?, SystemTime::now())?;
            return Ok(None);
        }
        Some(Auth::AccessToken { tokens }) => {
            let token = tokens.token().await?;
            let value = erased(&[b"Bearer ", token.expose()]);
            bearer = Some(Bearer {
                tokens: tokens.clone(),
                token,
            });
            value
        }
        Some(Auth::Basic { user, password }) => {
            let password = password.read().await?;
            let pair = erased(&[user.as_bytes(), b":", line(password.expose())]);
            let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*pair));
            erased(&[b"Basic ", encoded.as_bytes()])
        }
        Some(Auth::Bearer { token }) => {
            let token = token.read().await?;
            erased(&[b"Bearer ", line(token.expose())])
        }
    };
    // The header keeps these very bytes, and erases them when it is dropped. The cause is left out: it could quote the secret.
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).map_err(|_| {
        Fault::new(
            FaultKind::Config,
            "the secret of the endpoint's `auth` has characters that no HTTP header may have",
        )
    })?;
    value.set_sensitive(true);
    head.headers_mut().insert(AUTHORIZATION, value);
    Ok(bearer)
}

/// The parts in one piece that is erased when it is dropped; of its full size from the beginning, so that no copy is left behind by growing.
fn erased(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole
}

/// Without one trailing newline, as files have it.
pub(super) fn line(secret: &[u8]) -> &[u8] {
    secret.strip_suffix(b"\n").unwrap_or(secret)
}

fn bad(what: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(FaultKind::Internal, format!("the plugin's request has an impossible {what}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_url() {
        let url = Uri::from_static("https://drive.example/v3/");
        assert_eq!(
            target(&url, "/files?q=..").map(|uri| uri.to_string()),
            Ok("/v3/files?q=..".to_owned())
        );
        for bad in ["files", "/../admin", "/a/%2E%2e/b", "/./a", "/a\\..\\b"] {
            assert!(target(&url, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn methods_that_reach_beyond_the_endpoint_are_refused() {
        assert_eq!(check_method("PROPFIND"), Ok(()));
        for refused in ["TRACE", "trace", "Connect"] {
            let kind = check_method(refused).map_err(|fault| fault.kind);
            assert_eq!(kind, Err(FaultKind::PermissionDenied), "{refused}");
        }
    }

    #[test]
    fn only_plain_urls_are_endpoints() {
        let check = |url: &str| base_url("x", &Destination::Url(url.to_owned())).map_err(|fault| fault.kind);
        assert!(check("https://[::1]:8443/base").is_ok());
        for bad in ["ftp://host", "host:80", "https://host/?q=1", "https://"] {
            assert_eq!(check(bad).map(|_| ()), Err(FaultKind::Config), "{bad}");
        }
    }
}

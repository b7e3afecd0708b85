//! A vault over WebDAV (RFC 4918): [`WebDav`] listens on the loopback, asks for name and password (RFC 7617), and answers from [`Names`].
//!
//! The protocol is `dav-server`'s. Only reading is allowed, and links are followed where they stay within the vault, since the protocol has none.

mod filesystem;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_runtime::Cancellation;
use dav_server::{DavHandler, DavMethodSet, body::Body};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::Rng as _;
use subtle::ConstantTimeEq as _;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use zeroize::Zeroizing;

use crate::mount::{MountError, WebDavUrl, names::Names, webdav::filesystem::DavVault};

/// The name that is asked for.
const USER: &str = "bulkhead";
/// Random bytes in the password.
const PASSWORD: usize = 20;
/// Connections at once; further ones wait.
const CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait when the system has no further connection to give.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a file that are answered at once.
const PART: usize = 256 << 10;

/// A server that listens.
pub(crate) struct WebDav {
    listener: TcpListener,
    address: SocketAddr,
    password: Zeroizing<String>,
}

impl WebDav {
    /// Listens on `address`; its password is a new one.
    ///
    /// # Errors
    /// [`MountError::Exposed`] unless the address is the loopback's, [`MountError::Listen`].
    pub(crate) async fn listen(address: SocketAddr) -> Result<Self, MountError> {
        if !address.ip().is_loopback() {
            return Err(MountError::Exposed(address));
        }
        let failed = |source| MountError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let random = Zeroizing::new(rand::rng().random::<[u8; PASSWORD]>());
        Ok(Self {
            listener,
            address,
            password: Zeroizing::new(hex::encode(&random[..])),
        })
    }

    pub(crate) fn url(&self) -> WebDavUrl {
        let (password, address) = (self.password.as_str(), self.address);
        WebDavUrl(Zeroizing::new(format!("http://{USER}:{password}@{address}/")))
    }

    /// Answers until it is cancelled.
    pub(crate) async fn serve(self, names: Names, cancellation: &Cancellation) {
        let handler = DavHandler::builder()
            .filesystem(Box::new(DavVault::new(names)))
            .methods(DavMethodSet::WEBDAV_RO)
            .autoindex(true)
            .read_buf_size(PART)
            .build_handler();
        let credentials = Zeroizing::new(format!("{USER}:{}", *self.password));
        let expected = Arc::new(Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials.as_bytes()))));
        let mut connections = JoinSet::new();
        let mut cancelled = pin!(cancellation.cancelled());
        loop {
            tokio::select! {
                () = &mut cancelled => return,
                _ = connections.join_next(), if connections.len() >= CONNECTIONS => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => _ = connections.spawn(answer(stream, handler.clone(), Arc::clone(&expected))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection cannot be accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, handler: DavHandler, expected: Arc<Zeroizing<String>>) {
    let service = service_fn(|request: Request<Incoming>| async {
        let response = if is_allowed(request.headers(), &expected) {
            handler.handle(request).await
        } else {
            refuse()
        };
        Ok::<_, Infallible>(harmless(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn is_allowed(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(AUTHORIZATION)
        .is_some_and(|given| given.as_bytes().ct_eq(expected.as_bytes()).into())
}

/// What was backed up is not to act in a browser: a page among it would do so with the password.
fn harmless(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; style-src 'unsafe-inline'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refuse() -> Response<Body> {
    let mut response = Response::new(Body::from("name and password are in the address that `bulkhead mount` printed\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = HeaderValue::from_static("Basic realm=\"Bulkhead\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

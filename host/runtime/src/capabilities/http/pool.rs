//! Connections that are kept alive between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulkhead_model::{Fault, FaultKind};
use hyper::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::body::RequestBody;
use super::request::host_and_port;
use crate::capabilities::Budget;
use crate::capabilities::endpoint::{Endpoint, Place, Stream, connect_any};

/// How long a connection may lie idle and still be used: servers close theirs after 5 s (Node.js) and more.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// Idle connections by the endpoint's name.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<HashMap<String, Vec<Idle>>>);

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection with the task that drives it, which ends with it, and its place among those that the limit allows.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    driver: Driver,
    _place: Place,
}

/// The task that reads and writes for a connection.
#[derive(Debug)]
struct Driver(JoinHandle<hyper::Result<()>>);

impl Driver {
    fn start<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(connection: http1::Connection<TokioIo<S>, RequestBody>) -> Self {
        Self(tokio::spawn(connection))
    }

    /// What the connection ended with.
    async fn failure(&mut self) -> Option<hyper::Error> {
        (&mut self.0).await.ok()?.err()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that serves one exchange.
pub(super) struct Lease {
    connection: Connection,
    endpoint: String,
    address: String,
    pool: Arc<Pool>,
}

impl Lease {
    pub(super) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Why an exchange broke. A connection that ends before it takes the request, as one does whose server refuses the client's certificate, tells nobody but
    /// its driver.
    pub(super) async fn cause(mut self, error: hyper::Error) -> hyper::Error {
        if !error.is_canceled() && !error.is_closed() {
            return error;
        }
        self.connection.driver.failure().await.unwrap_or(error)
    }

    /// The exchange is over: the connection may serve another one.
    pub(super) fn give_back(self) {
        if !self.connection.sender.is_closed() {
            let idle = Idle {
                connection: self.connection,
                since: Instant::now(),
            };
            self.pool
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(self.endpoint)
                .or_default()
                .push(idle);
        }
    }
}

impl Pool {
    /// An idle connection to the endpoint, or a new one.
    pub(super) async fn take(self: &Arc<Self>, name: &str, endpoint: &Endpoint, url: &Uri, budget: &Arc<Budget>) -> Result<Lease, Fault> {
        let (host, port) = host_and_port(url);
        let address = format!("{host}:{port}");
        let connection = match self.idle(name).await {
            Some(connection) => connection,
            None => connect(endpoint, url, &address, self.place(budget)?).await?,
        };
        Ok(Lease {
            connection,
            endpoint: name.to_owned(),
            address,
            pool: self.clone(),
        })
    }

    /// A place for a new connection. Those that only lie idle, whatever they are connected to, make room for it.
    fn place(&self, budget: &Arc<Budget>) -> Result<Place, Fault> {
        loop {
            match Place::take(budget) {
                Err(full) if !self.evict() => return Err(full),
                Err(_) => {}
                taken => return taken,
            }
        }
    }

    /// Closes the connection that has been idle for longest; `false` where none is.
    fn evict(&self) -> bool {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = idle
            .values_mut()
            .filter(|connections| !connections.is_empty())
            .min_by_key(|connections| connections[0].since);
        oldest.map(|connections| connections.remove(0)).is_some()
    }

    async fn idle(&self, name: &str) -> Option<Connection> {
        loop {
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name)?.pop()?;
            if idle.since.elapsed() < MAX_IDLE && idle.connection.sender.ready().await.is_ok() {
                return Some(idle.connection);
            }
        }
    }
}

async fn connect(endpoint: &Endpoint, url: &Uri, address: &str, place: Place) -> Result<Connection, Fault> {
    let (stream, dialled) = connect_any(&[address.to_owned()]).await?;
    let stream = match (url.scheme_str(), stream) {
        (Some("https"), Stream::Tcp(tcp)) => {
            let host = dialled.host.unwrap_or_default();
            Stream::Tls(Box::new(endpoint.tls().await?.handshake(tcp, &host, address, &[]).await?))
        }
        (_, stream) => stream,
    };
    let failed = |error: hyper::Error| {
        Fault::new(FaultKind::Unreachable, format!("no HTTP with {address}"))
            .retryable()
            .caused_by(&error)
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    Ok(Connection {
        sender,
        driver: Driver::start(connection),
        _place: place,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_ends_a_connection_before_it_is_used_is_told() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut sender, connection) = http1::handshake::<_, RequestBody>(TokioIo::new(ours)).await.unwrap();
        let mut driver = Driver::start(connection);
        theirs.write_all(b"no HTTP at all").await.unwrap();
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
        let (_, body) = RequestBody::channel(Some(0));
        let error = sender.send_request(hyper::Request::new(body)).await.unwrap_err();
        assert!(error.is_canceled(), "{error:?}");
        let failure = driver.failure().await.unwrap();
        assert!(!failure.is_canceled(), "{failure:?}");
    }
}

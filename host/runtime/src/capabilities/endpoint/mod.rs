//! Network connections to endpoints that the operator named. The host resolves, dials and negotiates TLS; the plugin sees bytes.

mod connection;
mod dial;
mod stream;
mod tls;
mod verify;

use std::path::Path;
use std::sync::Arc;

use bulkhead_model::{Fault, FaultKind};
use tokio::sync::OnceCell;

pub(crate) use connection::Place;
pub use connection::{Connection, TlsSession};
use dial::Address;
pub(crate) use dial::connect_any;
pub(crate) use stream::Stream;
use tls::TlsClient;

use super::{Budget, Granted};
use crate::{Destination, EndpointGrant, TlsMode};

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// A Unix socket.
    Unix,
}

/// What a plugin is told about an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// TCP or Unix.
    pub transport: Transport,
    /// What is asked for; always `Disable` over a Unix socket, as with libpq.
    pub tls: TlsMode,
    /// Whether a client certificate is configured.
    pub client_certificate: bool,
    /// The operator's addresses in order, as written.
    pub addresses: Vec<String>,
}

/// A granted endpoint with its TLS configuration, which is read when it is first needed.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) grant: EndpointGrant,
    tls: OnceCell<TlsClient>,
}

impl Endpoint {
    pub(crate) fn new(grant: EndpointGrant) -> Self {
        Self {
            grant,
            tls: OnceCell::new(),
        }
    }

    /// The TLS client: authorities, client certificate and key, read once.
    pub(crate) async fn tls(&self) -> Result<&TlsClient, Fault> {
        let load = || async {
            match self.grant.destination {
                Destination::Url(_) => TlsClient::for_http(&self.grant.tls).await,
                _ => TlsClient::load(&self.grant.tls).await,
            }
        };
        self.tls.get_or_try_init(load).await
    }

    fn tls_mode(&self) -> TlsMode {
        match self.grant.destination {
            Destination::Socket(_) => TlsMode::Disable,
            _ => self.grant.tls.mode,
        }
    }
}

/// The endpoints of one plugin.
#[derive(Debug, Clone)]
pub struct Endpoints {
    granted: Granted<Arc<Endpoint>>,
    budget: Arc<Budget>,
}

impl Endpoints {
    /// Over the plugin's grants, within a budget.
    #[must_use]
    pub fn new(granted: &Granted<EndpointGrant>, budget: Arc<Budget>) -> Self {
        Self {
            granted: granted.map(|grant| Arc::new(Endpoint::new(grant.clone()))),
            budget,
        }
    }

    /// The endpoint of that name, for the other capabilities that dial.
    pub(crate) fn get(&self, name: &str) -> Result<&Arc<Endpoint>, Fault> {
        self.granted.get(name)
    }

    /// What the operator wrote.
    ///
    /// # Errors
    /// `not-granted`.
    pub fn settings(&self, name: &str) -> Result<EndpointSettings, Fault> {
        let endpoint = self.granted.get(name)?;
        let (transport, addresses) = match &endpoint.grant.destination {
            Destination::Addresses(addresses) => (Transport::Tcp, addresses.clone()),
            Destination::Socket(path) => (Transport::Unix, vec![path.display().to_string()]),
            Destination::Url(url) => (Transport::Tcp, vec![url.clone()]),
        };
        let client_certificate = endpoint.grant.tls.client_certificate.is_some();
        Ok(EndpointSettings {
            transport,
            tls: endpoint.tls_mode(),
            client_certificate,
            addresses,
        })
    }

    /// Connects to the endpoint: its addresses in order, until one answers.
    ///
    /// # Errors
    /// `not-granted`, `unreachable`, `limit` (open connections).
    pub async fn open(&self, name: &str) -> Result<Connection, Fault> {
        let endpoint = self.granted.get(name)?;
        match &endpoint.grant.destination {
            Destination::Addresses(addresses) => self.dial(endpoint, addresses).await,
            Destination::Socket(path) => self.dial_socket(endpoint, path).await,
            Destination::Url(_) => {
                let message = format!("the endpoint `{name}` is a URL: it takes HTTP requests, not connections");
                Err(Fault::new(FaultKind::Unsupported, message).hint(format!("write `endpoint.{name}` with `address`")))
            }
        }
    }

    /// Connects to one address that the source discovered.
    ///
    /// # Errors
    /// `not-granted` where the operator neither lists it nor has a pattern for it; else as [`Endpoints::open`].
    pub async fn open_address(&self, name: &str, address: &str) -> Result<Connection, Fault> {
        let endpoint = self.granted.get(name)?;
        let listed = matches!(&endpoint.grant.destination, Destination::Addresses(addresses) if addresses.iter().any(|a| a == address));
        if !listed && !endpoint.grant.discovered.iter().any(|pattern| dial::matches(pattern, address)) {
            let message = format!("`{address}` is not an address of the endpoint `{name}`");
            let hint = format!("add a pattern for it to `discovered` of `endpoint.{name}` if the plugin may connect to it");
            return Err(Fault::new(FaultKind::NotGranted, message).hint(hint));
        }
        self.dial(endpoint, &[address.to_owned()]).await
    }

    async fn dial(&self, endpoint: &Arc<Endpoint>, addresses: &[String]) -> Result<Connection, Fault> {
        let place = Place::take(&self.budget)?;
        let (stream, address) = self.budget.within(dial::connect_any(addresses)).await?;
        Ok(Connection::new(stream, address, endpoint.clone(), place))
    }

    async fn dial_socket(&self, endpoint: &Arc<Endpoint>, path: &Path) -> Result<Connection, Fault> {
        let place = Place::take(&self.budget)?;
        let stream = self.budget.within(dial::connect_socket(path)).await?;
        Ok(Connection::new(stream, Address::socket(path), endpoint.clone(), place))
    }
}

//! What the operator grants to a plugin: endpoints, directories and secrets by name.
//!
//! Grants are data without I/O. Where a secret comes from (file, environment, command, credential) is the caller's business, behind
//! [`SecretProvider`]; this crate never reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bulkhead_model::Fault;
use zeroize::Zeroizing;

use crate::Access;

/// Everything that a plugin may touch, by the names of the TOML.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// `endpoint.NAME`
    pub endpoints: BTreeMap<String, EndpointGrant>,
    /// `directory.NAME`
    pub directories: BTreeMap<String, DirectoryGrant>,
    /// `secret.NAME`
    pub secrets: BTreeMap<String, SecretGrant>,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `address` or `addresses`: "host:port", IPv6 addresses in brackets; tried in order.
    Addresses(Vec<String>),
    /// `socket`: a Unix socket's path.
    Socket(PathBuf),
    /// `url`: `http://HOST`, with port and base path where they are not the usual ones, or `https://…`; for HTTP only.
    Url(String),
}

/// An endpoint that a plugin may connect to.
#[derive(Debug, Clone)]
pub struct EndpointGrant {
    /// Where.
    pub destination: Destination,
    /// How TLS is negotiated. The scheme of a `url` says whether; there the certificate is verified in full, unless the mode is `Require` or `VerifyCa`.
    pub tls: TlsSettings,
    /// What the host adds to HTTP requests.
    pub auth: Option<Auth>,
    /// Patterns of addresses that the plugin may dial beside those of `destination`. Where the host is made of digits, dots and stars ("10.0.0.*:6379"),
    /// or stands in brackets, only addresses of that kind match; in a name ("redis-*.example:6379") `*` stands for a part of one label.
    pub discovered: Vec<String>,
}

impl EndpointGrant {
    /// A grant with TLS verified in full (over a Unix socket there is none), without authentication or discovered addresses.
    #[must_use]
    pub fn new(destination: Destination) -> Self {
        Self {
            destination,
            tls: TlsSettings::default(),
            auth: None,
            discovered: Vec::new(),
        }
    }
}

/// libpq's words and their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it.
    Prefer,
    /// TLS, any certificate; with a `ca`, as `VerifyCa` (libpq does so too).
    Require,
    /// TLS, certificate signed by the configured authority; without a `ca` it is refused, as by libpq.
    VerifyCa,
    /// TLS, certificate signed by the configured authority and issued for the server's name.
    #[default]
    VerifyFull,
}

/// TLS of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// What is asked for.
    pub mode: TlsMode,
    /// PEM file of the authorities to trust; `None`: the host's own trust store.
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// Server name to ask for and to verify, instead of the address's host.
    pub server_name: Option<String>,
}

/// A client certificate and its key.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// PEM file of the certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: Arc<dyn SecretProvider>,
}

/// Authentication that the host adds to HTTP requests.
#[derive(Debug, Clone)]
pub enum Auth {
    /// RFC 7617.
    Basic {
        /// User name, without a colon.
        user: String,
        /// Password.
        password: Arc<dyn SecretProvider>,
    },
    /// RFC 6750.
    Bearer {
        /// Token.
        token: Arc<dyn SecretProvider>,
    },
    /// OAuth 2.0: an access token of limited life, as a bearer token.
    AccessToken {
        /// Where tokens come from.
        tokens: Arc<dyn AccessTokenProvider>,
    },
    /// AWS Signature Version 4, for S3.
    Aws {
        /// The region that signatures name.
        region: String,
        /// Whose key signs.
        credentials: Arc<dyn AwsCredentialsProvider>,
        /// What the server encrypts with where a plugin asks for it (SSE-C): 32 bytes in base64.
        customer_key: Option<Arc<dyn SecretProvider>>,
    },
}

/// Gets access tokens, keeps them for as long as they are good, and renews them.
#[async_trait]
pub trait AccessTokenProvider: fmt::Debug + Send + Sync + 'static {
    /// A token that is good for the next request. Errors say where it was asked for, never what it is.
    async fn token(&self) -> Result<SecretBytes, Fault>;
    /// A server has refused this token (401): it is not given out again.
    async fn refused(&self, token: &SecretBytes);
}

/// Reads AWS credentials whenever a request is to be signed; those of limited life are its to renew.
#[async_trait]
pub trait AwsCredentialsProvider: fmt::Debug + Send + Sync + 'static {
    /// The credentials of this moment. Errors say where they were looked for, never what they are.
    async fn read(&self) -> Result<AwsCredentials, Fault>;
}

/// AWS credentials.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
    /// `AKIA…`
    pub access_key_id: SecretBytes,
    /// Its secret.
    pub secret_access_key: SecretBytes,
    /// The token of temporary credentials.
    pub session_token: Option<SecretBytes>,
}

/// A folder that a plugin may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryGrant {
    /// Where, on the host.
    pub path: PathBuf,
    /// What may be done in it.
    pub access: Access,
}

/// A secret of a plugin.
#[derive(Debug, Clone)]
pub struct SecretGrant {
    /// Where it comes from.
    pub provider: Arc<dyn SecretProvider>,
    /// Whether the plugin may see it in clear.
    pub reveal: bool,
}

/// Reads a secret when it is needed.
#[async_trait]
pub trait SecretProvider: fmt::Debug + Send + Sync + 'static {
    /// The secret as stored. `not-found` where there is none; the message says where it was looked for, never what it is.
    async fn read(&self) -> Result<SecretBytes, Fault>;
}

/// Bytes that are erased when dropped and never shown.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the protocol that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBytes(…)")
    }
}

/// A secret that is already known.
#[derive(Debug, Clone)]
pub struct FixedSecret(pub SecretBytes);

#[async_trait]
impl SecretProvider for FixedSecret {
    async fn read(&self) -> Result<SecretBytes, Fault> {
        Ok(self.0.clone())
    }
}

/// A grant that the plugin does not ask for. It is not passed on; the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedGrant {
    /// The grant's dotted path in the TOML ("pipeline.x.endpoint.servr").
    pub path: String,
    /// Names of that kind that the plugin does ask for.
    pub wanted: Vec<String>,
}

//! TLS to an endpoint with rustls: authorities, client certificate, server name, and libpq's five modes.

use std::path::Path;
use std::sync::Arc;

use bulkhead_model::{Fault, FaultKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsSession;
use super::verify::{Trust, Verifier};
use crate::{ClientCertificate, TlsMode, TlsSettings};

/// Everything that TLS to one endpoint needs, read from its files.
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl TlsClient {
    pub(super) async fn load(settings: &TlsSettings) -> Result<Self, Fault> {
        Self::load_as(settings, settings.mode, &[]).await
    }

    /// For a `https` URL: verified in full, where the operator does not ask for less.
    pub(super) async fn for_http(settings: &TlsSettings) -> Result<Self, Fault> {
        let mode = match settings.mode {
            weaker @ (TlsMode::Require | TlsMode::VerifyCa) => weaker,
            TlsMode::Disable | TlsMode::Prefer | TlsMode::VerifyFull => TlsMode::VerifyFull,
        };
        Self::load_as(settings, mode, &[b"http/1.1"]).await
    }

    async fn load_as(settings: &TlsSettings, mode: TlsMode, protocols: &[&[u8]]) -> Result<Self, Fault> {
        let trust = load_trust(settings, mode).await?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::new(FaultKind::Internal, "cannot set up TLS").caused_by(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(trust, provider)));
        let mut config = match &settings.client_certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = load_client_certificate(certificate).await?;
                let path = certificate.certificate.display();
                let refused = |error| config_fault(format!("the client certificate {path} and its key do not fit")).caused_by(&error);
                builder.with_client_auth_cert(chain, key).map_err(refused)?
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            server_name: settings.server_name.clone(),
        })
    }

    /// The configuration, with the protocols that a plugin offers instead of those of the endpoint, where there are any.
    fn offering(&self, protocols: &[String]) -> Arc<ClientConfig> {
        if protocols.is_empty() {
            return self.config.clone();
        }
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        Arc::new(config)
    }

    /// Negotiates TLS over `tcp` to `host`; `address` is for messages.
    pub(crate) async fn handshake(
        &self,
        tcp: TcpStream,
        host: &str,
        address: &str,
        protocols: &[String],
    ) -> Result<TlsStream<TcpStream>, Fault> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| config_fault(format!("`{name}` cannot be a server's name in TLS")).caused_by(&error))?;
        TlsConnector::from(self.offering(protocols))
            .connect(name, tcp)
            .await
            .map_err(|error| handshake_fault(address, &error))
    }
}

/// Application protocols that a plugin may offer at once; HTTP clients offer two.
const MAX_PROTOCOLS: usize = 8;

/// Whether ALPN can carry what a plugin offers (RFC 7301: names of 1 to 255 bytes).
pub(super) fn check_protocols(protocols: &[String]) -> Result<(), Fault> {
    if protocols.len() > MAX_PROTOCOLS || protocols.iter().any(|protocol| !(1..=255).contains(&protocol.len())) {
        let message = format!("at most {MAX_PROTOCOLS} application protocols of 1 to 255 bytes can be offered");
        return Err(Fault::new(FaultKind::Limit, message));
    }
    Ok(())
}

/// What was agreed on.
pub(super) fn session(stream: &TlsStream<TcpStream>) -> TlsSession {
    let (_, connection) = stream.get_ref();
    let protocol = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let certificates = connection.peer_certificates().unwrap_or_default();
    let peer_certificate = certificates.first().map(|certificate| certificate.to_vec()).unwrap_or_default();
    TlsSession {
        protocol: protocol.to_owned(),
        peer_certificate,
    }
}

fn handshake_fault(address: &str, error: &std::io::Error) -> Fault {
    use rustls::{CertificateError, Error};
    let mut fault = Fault::new(FaultKind::Unreachable, format!("TLS with {address} was not established"));
    fault.causes.push(error.to_string());
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
            fault.hint("connect by a name that is in the certificate, or write it as `tls.server-name`")
        }
        // An authority of the same name with another key makes a bad signature.
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            fault.hint("write the authority that signed the server's certificate as `tls.ca`")
        }
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            fault.hint("renew the server's certificate")
        }
        Some(Error::AlertReceived(alert)) => {
            if is_about_certificate(*alert) {
                fault.kind = FaultKind::Unauthenticated;
            }
            fault.hint("the server refused: check `tls.certificate` and `tls.key`, and that the certificate has not expired")
        }
        Some(_) => fault,
        None => fault.retryable(),
    }
}

/// Whether a server says so of a client whose certificate it does not want, or that has none (RFC 8446, 6.2).
fn is_about_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// What the mode trusts. As with libpq, `require` with an authority verifies against it, `verify-ca` needs one, and `prefer` protects against nothing.
async fn load_trust(settings: &TlsSettings, mode: TlsMode) -> Result<Trust, Fault> {
    let check_name = match (mode, &settings.ca) {
        (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, None) => return Ok(Trust::Anything),
        // Any of the public authorities' customers could answer.
        (TlsMode::VerifyCa, None) => {
            let fault =
                config_fault("`verify-ca` needs `tls.ca`: without a name to check, the authority is all that is verified".to_owned());
            return Err(fault.hint("write the server's authority as `tls.ca`, or use `verify-full`"));
        }
        (TlsMode::Require | TlsMode::VerifyCa, _) => false,
        (TlsMode::VerifyFull, _) => true,
    };
    let pinned = match &settings.ca {
        Some(path) => read_certificates(path).await?,
        None => Vec::new(),
    };
    let roots = if pinned.is_empty() {
        native_roots().await?
    } else {
        RootCertStore::empty()
    };
    Trust::authorities(roots, pinned, check_name).map_err(|error| {
        let path = settings.ca.as_deref().unwrap_or(Path::new("")).display().to_string();
        config_fault(format!("no certificate of an authority in {path}")).caused_by(&error)
    })
}

async fn native_roots() -> Result<RootCertStore, Fault> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.map(|loaded| loaded.certs).unwrap_or_default());
    if roots.is_empty() {
        let fault = config_fault("this host has no trusted certificate authorities".to_owned());
        return Err(fault.hint("install `ca-certificates`, or write the server's authority as `tls.ca`"));
    }
    Ok(roots)
}

async fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let unreadable =
        |error: &dyn std::error::Error| config_fault(format!("cannot read certificates from {}", path.display())).caused_by(error);
    let pem = tokio::fs::read(path).await.map_err(|error| unreadable(&error))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(&error))?;
    if certificates.is_empty() {
        return Err(config_fault(format!("there is no PEM certificate in {}", path.display())));
    }
    Ok(certificates)
}

async fn load_client_certificate(certificate: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Fault> {
    let chain = read_certificates(&certificate.certificate).await?;
    let pem = certificate.key.read().await?;
    // The cause is left out on purpose: it could quote the key.
    let key = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| config_fault("`tls.key` is not a private key in PEM".to_owned()))?;
    Ok((chain, key))
}

fn config_fault(message: String) -> Fault {
    Fault::new(FaultKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verify_ca_without_an_authority_is_refused() {
        let settings = TlsSettings {
            mode: TlsMode::VerifyCa,
            ..TlsSettings::default()
        };
        for loaded in [TlsClient::load(&settings).await, TlsClient::for_http(&settings).await] {
            assert_eq!(loaded.map(|_| ()).map_err(|fault| fault.kind), Err(FaultKind::Config));
        }
    }
}

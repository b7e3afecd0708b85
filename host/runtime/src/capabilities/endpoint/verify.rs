//! Whether a server's certificate is trusted: anything, a chain to an authority, or a chain and the server's name.
//!
//! In clusters of one's own, servers often present a self-signed certificate that clients are given as `ca`. OpenSSL, and so libpq, takes that; webpki
//! refuses an authority's certificate at the end of a chain. A certificate that is itself in the operator's `ca` file is therefore trusted as it is, while
//! it is valid.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What a certificate is checked against.
#[derive(Debug)]
pub(super) enum Trust {
    /// Encryption without knowing with whom.
    Anything,
    /// A chain to one of `roots`, or one of `pinned` itself.
    Authorities {
        roots: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        check_name: bool,
    },
}

impl Trust {
    /// Authorities of the host (`roots`) and of the operator's file (`pinned`).
    pub(super) fn authorities(mut roots: RootCertStore, pinned: Vec<CertificateDer<'static>>, check_name: bool) -> Result<Self, Error> {
        for certificate in &pinned {
            roots.add(certificate.clone())?;
        }
        Ok(Self::Authorities { roots, pinned, check_name })
    }
}

fn is_pinned(pinned: &[CertificateDer<'static>], certificate: &CertificateDer<'_>) -> bool {
    pinned.iter().any(|pinned| pinned == certificate)
}

fn is_out_of_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}

#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        Self { trust, provider }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Authorities { roots, pinned, check_name } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let verified = verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms);
        match verified {
            // Of a certificate that is trusted as it is, all that counts is its time; the verifier looks at that first.
            Err(error) if !is_pinned(pinned, end_entity) || is_out_of_time(&error) => return Err(error),
            _ => {}
        }
        if *check_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! What Fabric CA takes as a login: a token of a [`Signer`]. Each request carries the caller's enrolment certificate and a signature over method, path, body and certificate, so the host
//! cannot add it: it is of another kind for each request.
//!
//! Source: Fabric CA's own client, whose tokens are `base64(certificate).base64(signature)`, the signature one of ECDSA with its `s` in the lower half.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_sdk::{Error, ErrorKind, Result, secrets};
use p256::{ecdsa::signature::hazmat::PrehashSigner as _, pkcs8::DecodePrivateKey as _};
use sha2::{Digest as _, Sha256};

use crate::{
    certificate::Certificate,
    key::{self, secret_key},
    pem,
};

/// The enrolment certificate of a registrar, in PEM.
pub(crate) const CERTIFICATE: &str = "admin-certificate";
/// Its private key, in PEM.
pub(crate) const KEY: &str = "admin-key";

#[derive(Clone)]
enum Key {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

/// A registrar, who signs requests to the CA that has enrolled it.
pub(super) struct Signer {
    enrolled: Certificate,
    /// The certificate as it travels.
    encoded: String,
    key: Key,
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Config, what).with_hint(format!(
        "`secret.{CERTIFICATE}` is `msp/signcerts/cert.pem` of a registrar that has enrolled, `secret.{KEY}` the file in its `msp/keystore`, both with `reveal = true`; for several \
         CAs of one server, the files of a registrar of each, one after the other"
    ))
}

impl Signer {
    /// All registrars that are granted.
    ///
    /// # Errors
    /// `Config`: they cannot be read, or certificates and keys do not belong together; `NotGranted`.
    pub(super) fn granted() -> Result<Vec<Self>> {
        let (certificates, keys) = (secrets::reveal(CERTIFICATE)?, secrets::reveal(KEY)?);
        let keys = keys_in(keys.as_bytes())?;
        let certificates = pem::blocks(certificates.as_bytes()).into_iter().filter_map(|block| block.der);
        let signers: Vec<Self> = certificates.map(|der| Self::new(&der, &keys)).collect::<Result<_>>()?;
        match signers.is_empty() {
            true => Err(wrong("`secret.admin-certificate` is no certificate in PEM")),
            false => Ok(signers),
        }
    }

    fn new(der: &[u8], keys: &[(String, Key)]) -> Result<Self> {
        let enrolled =
            Certificate::parse(der).map_err(|error| wrong("`secret.admin-certificate` is no certificate in PEM").with_cause(error))?;
        let Some((_, key)) = keys.iter().find(|(ski, _)| *ski == enrolled.ski) else {
            return Err(wrong(
                "`secret.admin-key` is the key of another certificate than `secret.admin-certificate`",
            ));
        };
        Ok(Self {
            enrolled,
            encoded: STANDARD.encode(pem::encode("CERTIFICATE", der)),
            key: key.clone(),
        })
    }

    /// Whether it has enrolled with this CA.
    pub(super) fn is_of(&self, authority: &Certificate) -> bool {
        self.enrolled.names(authority)
    }

    /// The value of `Authorization` for a request.
    pub(super) fn token(&self, method: &str, path: &str, body: &[u8]) -> Result<String> {
        let signed = format!("{method}.{}.{}.{}", STANDARD.encode(path), STANDARD.encode(body), self.encoded);
        let digest = Sha256::digest(signed);
        let failed = |_| Error::new(ErrorKind::Internal, "a request cannot be signed");
        let signature = match &self.key {
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).map_err(failed)?;
                signature.normalize_s().unwrap_or(signature).to_der().as_bytes().to_vec()
            }
            Key::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).map_err(failed)?;
                signature.normalize_s().unwrap_or(signature).to_der().as_bytes().to_vec()
            }
        };
        Ok(format!("{}.{}", self.encoded, STANDARD.encode(signature)))
    }
}

/// The keys in a PEM file, by what Fabric calls them.
fn keys_in(text: &[u8]) -> Result<Vec<(String, Key)>> {
    let mut keys = Vec::new();
    for block in pem::blocks(text) {
        // Each as if it were a file of its own.
        let der = block.der.unwrap_or_default();
        let key::Content::Private(known) = key::content(pem::encode(&block.label, &der).as_bytes()) else {
            continue;
        };
        let p384 = || secret_key!(p384, &der).map(|key| Key::P384(key.into()));
        // Others sign no request to a Fabric CA.
        let Ok(key) = secret_key!(p256, &der).map(|key| Key::P256(key.into())).or_else(|_| p384()) else {
            continue;
        };
        keys.push((known.ski, key));
    }
    match keys.is_empty() {
        true => Err(wrong("`secret.admin-key` is no private key of P-256 or P-384 in PEM")),
        false => Ok(keys),
    }
}

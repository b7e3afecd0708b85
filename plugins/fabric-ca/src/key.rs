//! What a file in a keystore is: [`content`]. Fabric CA writes its keys as PKCS#8, and that for Idemix' revocations in the older form of RFC 5915.

use p256::{elliptic_curve::sec1::ToEncodedPoint as _, pkcs8::DecodePrivateKey as _};
use sha2::{Digest as _, Sha256};
use x509_cert::{der::Decode as _, spki::SubjectPublicKeyInfoRef};

use crate::{certificate, pem};

/// What is said of a private key. The key itself is let go of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) algorithm: &'static str,
    /// SHA-256 of its public key's point, uncompressed, computed from the private one.
    pub(crate) ski: String,
}

/// What a file in a keystore is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Private(Known),
    /// A public key, which a keystore may have too.
    Public,
    /// A private key that cannot be read: why.
    Unreadable(String),
    /// Nothing that a keystore has.
    Foreign,
}

/// Looks into a file.
pub(crate) fn content(text: &[u8]) -> Content {
    let blocks = pem::blocks(text);
    let Some(block) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
        return match blocks.iter().any(|block| block.label == "PUBLIC KEY") {
            true => Content::Public,
            // The beginning of a block that has lost its end.
            false if text.starts_with(pem::BEGIN.as_bytes()) => Content::Unreadable("its PEM has no end".to_owned()),
            false => Content::Foreign,
        };
    };
    let Some(der) = &block.der else {
        return Content::Unreadable("its text is no Base64".to_owned());
    };
    match private_key(der) {
        Some(known) => Content::Private(known),
        None => Content::Unreadable(format!("its `{}` is no key of P-256 or P-384", block.label)),
    }
}

/// The secret key in a block: PKCS#8, or SEC1 (RFC 5915), whatever the block is called. Fabric calls both `PRIVATE KEY`.
macro_rules! secret_key {
    ($curve:ident, $der:expr) => {
        $curve::SecretKey::from_pkcs8_der($der).or_else(|_| $curve::SecretKey::from_sec1_der($der))
    };
}
pub(crate) use secret_key;

fn private_key(der: &[u8]) -> Option<Known> {
    let p256 = || secret_key!(p256, der).map(|key| known("P-256", key.public_key().to_encoded_point(false).as_bytes()));
    let p384 = || secret_key!(p384, der).map(|key| known("P-384", key.public_key().to_encoded_point(false).as_bytes()));
    p256().ok().or_else(|| p384().ok())
}

fn known(algorithm: &'static str, point: &[u8]) -> Known {
    let ski = hex::encode(Sha256::digest(point));
    Known { algorithm, ski }
}

/// What Fabric calls the public key in a PEM file.
pub(crate) fn public_ski(text: &[u8]) -> Option<String> {
    let blocks = pem::blocks(text);
    let der = blocks.iter().find(|block| block.label == "PUBLIC KEY")?.der.as_deref()?;
    let public = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    certificate::public_key(&public).ok().map(|(_, ski)| ski)
}

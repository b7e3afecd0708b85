//! What a file in a keystore is: [`content`]. Fabric CA writes its keys as PKCS#8, and that for Idemix' revocations in the older form of RFC 5915. The key of a TLS certificate
//! may be of other kinds, if it comes from elsewhere: RSA (RFC 8017) is looked into, too.

use p256::{
    elliptic_curve::sec1::ToEncodedPoint as _,
    pkcs8::{DecodePrivateKey as _, PrivateKeyInfo},
};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    der::{
        self, Decode as _, Encode as _, Header, SliceReader, Tag,
        asn1::{AnyRef, ObjectIdentifier, UintRef},
    },
    spki::SubjectPublicKeyInfoRef,
};

use crate::{certificate, pem};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What is said of a private key. The key itself is let go of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) algorithm: &'static str,
    /// SHA-256 of its public key as certificates have it (of a curve the point, uncompressed), computed from the private one.
    pub(crate) ski: String,
}

/// What a file in a keystore is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Private(Known),
    /// A private key whose public half is not worked out here: its algorithm.
    Other(String),
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
    if block.is_encrypted {
        return Content::Unreadable("it is encrypted, and Fabric CA asks nobody for a password".to_owned());
    }
    let Some(der) = &block.der else {
        return Content::Unreadable("its text is no Base64".to_owned());
    };
    let other = || PrivateKeyInfo::try_from(&der[..]).ok().map(|key| key.algorithm.oid.to_string());
    match private_key(der).or_else(|| rsa(der)) {
        Some(known) => Content::Private(known),
        None => other().map_or_else(|| Content::Unreadable(format!("its `{}` is no key", block.label)), Content::Other),
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

/// A key of RSA, bare or in PKCS#8.
fn rsa(der: &[u8]) -> Option<Known> {
    let wrapped = PrivateKeyInfo::try_from(der).ok().filter(|key| key.algorithm.oid == RSA);
    let public = rsa_public(wrapped.map_or(der, |key| key.private_key)).ok()?;
    Some(known("RSA", &public))
}

/// The public half of a private key of RSA: its modulus and its exponent, which follow the version.
fn rsa_public(der: &[u8]) -> der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?.tag.assert_eq(Tag::Sequence)?;
    u8::decode(&mut reader)?;
    let mut both = UintRef::decode(&mut reader)?.to_der()?;
    both.extend(UintRef::decode(&mut reader)?.to_der()?);
    AnyRef::new(Tag::Sequence, &both)?.to_der()
}

fn known(algorithm: &'static str, public: &[u8]) -> Known {
    let ski = hex::encode(Sha256::digest(public));
    Known { algorithm, ski }
}

/// What Fabric calls the public key in a PEM file.
pub(crate) fn public_ski(text: &[u8]) -> Option<String> {
    let blocks = pem::blocks(text);
    let der = blocks.iter().find(|block| block.label == "PUBLIC KEY")?.der.as_deref()?;
    let public = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    certificate::public_key(&public).ok().map(|(_, ski)| ski)
}

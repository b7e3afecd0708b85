//! What a file in a keystore is: [`content`]. Fabric CA writes its keys as PKCS#8, and that for Idemix' revocations in the older form of RFC 5915. The key of a TLS certificate
//! may be of other kinds, if it comes from elsewhere: RSA (RFC 8017) is looked into, too.

use p256::{
    elliptic_curve::sec1::ToEncodedPoint as _,
    pkcs8::{DecodePrivateKey as _, PrivateKeyInfo},
};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    der::{
        self, Decode as _, Reader as _, SliceReader, Tag, TagMode, TagNumber,
        asn1::{BitStringRef, ObjectIdentifier, OctetStringRef},
    },
    spki::SubjectPublicKeyInfoRef,
};

use crate::{
    certificate::{self, EC_PUBLIC_KEY, P256, P384},
    pem, rsa,
};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What is said of a private key. The key itself is let go of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) algorithm: &'static str,
    /// SHA-256 of its public key as certificates have it: of a curve the point, uncompressed, computed from the private key; of RSA what stands in it, which its private half has to match.
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
    match private_key(der).or_else(|| rsa(der)) {
        Some(known) => Content::Private(known),
        None => other(der).map_or_else(|| Content::Unreadable(format!("its `{}` is no key", block.label)), Content::Other),
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
    let public = rsa::public(wrapped.map_or(der, |key| key.private_key))?;
    Some(known("RSA", &public))
}

/// The algorithm of a key that is not looked into. One that is, is no key where nothing has come of it.
fn other(der: &[u8]) -> Option<String> {
    let (algorithm, curve) = match PrivateKeyInfo::try_from(der) {
        Ok(key) => (key.algorithm.oid, key.algorithm.parameters_oid().ok()),
        Err(_) => (EC_PUBLIC_KEY, Some(bare_curve(der).ok()?)),
    };
    let is_looked_into = match algorithm {
        EC_PUBLIC_KEY => matches!(curve, Some(P256 | P384)),
        other => other == RSA,
    };
    (!is_looked_into).then(|| algorithm.to_string())
}

/// The curve of a key in the form of RFC 5915.
fn bare_curve(der: &[u8]) -> der::Result<ObjectIdentifier> {
    let mut reader = SliceReader::new(der)?;
    let curve = reader.sequence(|reader| {
        u8::decode(reader)?;
        OctetStringRef::decode(reader)?;
        let curve = reader.context_specific(TagNumber::N0, TagMode::Explicit)?;
        reader.context_specific::<BitStringRef<'_>>(TagNumber::N1, TagMode::Explicit)?;
        curve.ok_or_else(|| Tag::ObjectIdentifier.value_error())
    })?;
    reader.finish(curve)
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

//! An X.509 certificate, as far as a CA's proof needs it: [`Certificate`]. Sources: RFC 5280; RFC 5758 for the names of ECDSA's algorithms.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::{
    Certificate as Parsed,
    der::{Decode as _, Reader as _, SliceReader, asn1::ObjectIdentifier, oid::AssociatedOid, referenced::OwnedToRef as _},
    ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, SubjectKeyIdentifier},
    spki::SubjectPublicKeyInfoRef,
};

use crate::pem;

/// What a block of a certificate is called.
const LABEL: &str = "CERTIFICATE";
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// A public key. Fabric CA makes keys of these two curves, and refuses to make or import RSA ones; a TLS certificate may come from elsewhere.
#[derive(Debug, Clone)]
pub(crate) enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    /// Its algorithm, which is not looked into.
    Other(String),
}

/// What came of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signature {
    Valid,
    Invalid,
    /// Of an algorithm that is not looked into.
    Unchecked(String),
}

/// A certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// As RFC 4514 writes names.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The subject's common name: for Fabric, the identity.
    pub(crate) common_name: Option<String>,
    /// In hexadecimal digits without leading zeros, as the server's database has it.
    pub(crate) serial: String,
    /// The key's identifier as the certificate has it, likewise.
    pub(crate) subject_key: Option<String>,
    pub(crate) authority_key: Option<String>,
    pub(crate) is_authority: bool,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    /// The same as RFC 3339 writes it.
    pub(crate) expires: String,
    pub(crate) key: PublicKey,
    /// Of the whole certificate.
    pub(crate) sha256: String,
    /// SHA-256 of the public key's bits, which is what Fabric names its key file after.
    pub(crate) ski: String,
    algorithm: ObjectIdentifier,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// Hexadecimal digits without leading zeros.
pub(crate) fn digits(bytes: &[u8]) -> String {
    trimmed(&hex::encode(bytes))
}

/// The same of digits: the server's database has lost those zeros.
pub(crate) fn trimmed(digits: &str) -> String {
    digits.trim_start_matches('0').to_lowercase()
}

/// All certificates in a PEM file; the reason where one cannot be read.
pub(crate) fn certificates(text: &[u8]) -> Vec<Result<Certificate, String>> {
    let blocks = pem::blocks(text).into_iter().filter(|block| block.label == LABEL);
    blocks
        .map(|block| Certificate::parse(&block.der.ok_or_else(|| "its text is no Base64".to_owned())?))
        .collect()
}

impl Certificate {
    /// Reads one in DER.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, String> {
        let parsed = Parsed::from_der(der).map_err(|error| error.to_string())?;
        let signed = signed_part(der).map_err(|error| error.to_string())?;
        let tbs = &parsed.tbs_certificate;
        let (key, ski) = public_key(&tbs.subject_public_key_info.owned_to_ref())?;
        let not_after = tbs.validity.not_after;
        Ok(Self {
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            common_name: common_name(&tbs.subject.to_string()),
            serial: digits(tbs.serial_number.as_bytes()),
            subject_key: extension::<SubjectKeyIdentifier>(&parsed)?.map(|key| digits(key.0.as_bytes())),
            authority_key: extension::<AuthorityKeyIdentifier>(&parsed)?
                .and_then(|key| key.key_identifier)
                .map(|key| digits(key.as_bytes())),
            is_authority: extension::<BasicConstraints>(&parsed)?.is_some_and(|constraints| constraints.ca),
            not_after: i64::try_from(not_after.to_unix_duration().as_secs()).unwrap_or(i64::MAX),
            expires: not_after.to_date_time().to_string(),
            key,
            sha256: hex::encode(Sha256::digest(der)),
            ski,
            algorithm: parsed.signature_algorithm.oid,
            signed,
            signature: parsed.signature.as_bytes().unwrap_or_default().to_vec(),
        })
    }

    /// Whether it says that it is its own issuer: a root.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer && (self.authority_key.is_none() || self.authority_key == self.subject_key)
    }

    /// Whether `issuer` is the one that it names.
    pub(crate) fn names(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject && (self.authority_key.is_none() || self.authority_key == issuer.subject_key)
    }

    /// Whether `key` signed it.
    pub(crate) fn signed_by(&self, key: &PublicKey) -> Signature {
        signed_by(key, self.algorithm, &self.signed, &self.signature)
    }
}

/// Whether `key` signed `message` with an algorithm of this name.
pub(crate) fn signed_by(key: &PublicKey, algorithm: ObjectIdentifier, message: &[u8], signature: &[u8]) -> Signature {
    let digest = match algorithm {
        ECDSA_SHA256 => Sha256::digest(message).to_vec(),
        ECDSA_SHA384 => Sha384::digest(message).to_vec(),
        ECDSA_SHA512 => Sha512::digest(message).to_vec(),
        other => return Signature::Unchecked(other.to_string()),
    };
    let valid = match key {
        PublicKey::P256(key) => {
            p256::ecdsa::Signature::from_der(signature).is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok())
        }
        PublicKey::P384(key) => {
            p384::ecdsa::Signature::from_der(signature).is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok())
        }
        PublicKey::Other(algorithm) => return Signature::Unchecked(algorithm.clone()),
    };
    if valid { Signature::Valid } else { Signature::Invalid }
}

/// The bytes that a certificate's or a revocation list's signature is over, as they came.
pub(crate) fn signed_part(der: &[u8]) -> x509_cert::der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(der)?;
    x509_cert::der::Header::decode(&mut reader)?;
    reader.tlv_bytes().map(<[u8]>::to_vec)
}

/// A public key, and what Fabric calls it.
pub(crate) fn public_key(public: &SubjectPublicKeyInfoRef<'_>) -> Result<(PublicKey, String), String> {
    let bits = public.subject_public_key.as_bytes().ok_or("its public key is not whole bytes")?;
    let other = || {
        (
            PublicKey::Other(public.algorithm.oid.to_string()),
            hex::encode(Sha256::digest(bits)),
        )
    };
    if public.algorithm.oid != EC_PUBLIC_KEY {
        return Ok(other());
    }
    let point = |error: p256::ecdsa::Error| format!("its public key is no point of its curve: {error}");
    Ok(match public.algorithm.parameters_oid() {
        Ok(P256) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).map_err(point)?;
            let ski = hex::encode(Sha256::digest(key.to_encoded_point(false).as_bytes()));
            (PublicKey::P256(key), ski)
        }
        Ok(P384) => {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).map_err(point)?;
            let ski = hex::encode(Sha256::digest(key.to_encoded_point(false).as_bytes()));
            (PublicKey::P384(key), ski)
        }
        _ => other(),
    })
}

fn extension<'c, T: x509_cert::der::Decode<'c> + AssociatedOid>(certificate: &'c Parsed) -> Result<Option<T>, String> {
    let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
    let found = extensions.iter().find(|extension| extension.extn_id == T::OID);
    let parsed = found.map(|extension| T::from_der(extension.extn_value.as_bytes())).transpose();
    parsed.map_err(|error| format!("its extension {} cannot be read: {error}", T::OID))
}

/// The first common name in a name that RFC 4514 has written.
fn common_name(name: &str) -> Option<String> {
    let begin = name.strip_prefix("CN=").or_else(|| name.split_once(",CN=").map(|(_, rest)| rest));
    begin.map(|rest| rest.split([',', '+']).next().unwrap_or_default().to_owned())
}

//! The list of revoked certificates that a CA hands out: [`revoked`].

use std::collections::BTreeSet;

use bulkhead_sdk::{Error, Result};
use x509_cert::{crl::CertificateList, der::Decode as _};

use crate::{
    certificate::{Certificate, Signature, digits, signed_by, signed_part},
    pem,
};

/// The serial numbers in a list in PEM, which `authority` has signed.
///
/// # Errors
/// `Protocol`: it cannot be read, or its signature does not hold.
pub(super) fn revoked(text: &[u8], authority: &Certificate) -> Result<BTreeSet<String>> {
    let broken = |what: String| Error::protocol(format!("the list of revoked certificates {what}"));
    let block = pem::blocks(text).into_iter().find(|block| block.label == "X509 CRL");
    let der = block.and_then(|block| block.der).ok_or_else(|| broken("is no PEM".to_owned()))?;
    let list = CertificateList::from_der(&der).map_err(|error| broken(format!("cannot be read: {error}")))?;
    let signed = signed_part(&der).map_err(|error| broken(format!("cannot be read: {error}")))?;
    let signature = list.signature.as_bytes().unwrap_or_default();
    if signed_by(&authority.key, list.signature_algorithm.oid, &signed, signature) == Signature::Invalid {
        return Err(broken(format!("was not signed by {}", authority.subject)));
    }
    let revoked = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    Ok(revoked.iter().map(|one| digits(one.serial_number.as_bytes())).collect())
}

//! S3's encryption with a key that the customer keeps (SSE-C): [`add`]. A plugin says that a request needs it, by naming the algorithm; the key is the host's to add, so that no
//! plugin ever holds it.
//!
//! Source: "Using server-side encryption with customer-provided keys (SSE-C)", Amazon S3 User Guide.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_model::{Fault, FaultKind};
use hyper::Request as HttpRequest;
use hyper::header::HeaderName;
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::{aws::secret_value, request::line};
use crate::SecretProvider;

const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");
const KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key");
const KEY_DIGEST: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5");

/// Headers that belong to the host.
pub(super) const OWN_HEADERS: [HeaderName; 2] = [KEY, KEY_DIGEST];

/// AES-256: the only algorithm that there is.
const KEY_SIZE: usize = 32;
const ENCODED_SIZE: usize = 44;

/// Adds the key, and by what the server notices that it came otherwise, to a request that names the algorithm.
///
/// # Errors
/// `config` where there is no key, or one that is not 32 bytes in base64; what reading a secret can meet.
pub(super) async fn add(head: &mut HttpRequest<()>, key: Option<&Arc<dyn SecretProvider>>) -> Result<(), Fault> {
    if !head.headers().contains_key(&ALGORITHM) {
        return Ok(());
    }
    let missing = || {
        Fault::new(
            FaultKind::Config,
            "the endpoint's `auth.aws` has no `customer-key`, which the plugin asks to encrypt with",
        )
    };
    let secret = key.ok_or_else(missing)?.read().await?;
    let encoded = line(secret.expose());
    let digest = STANDARD.encode(Md5::digest(decoded(encoded)?.as_slice()));
    head.headers_mut().insert(KEY, secret_value(encoded.to_vec())?);
    head.headers_mut().insert(KEY_DIGEST, secret_value(digest.into_bytes())?);
    Ok(())
}

/// The cause of a failure is left out: it could quote the secret.
fn decoded(encoded: &[u8]) -> Result<Zeroizing<[u8; KEY_SIZE]>, Fault> {
    // One byte more than a key: what the last group of four digits could hold.
    let mut buffer = Zeroizing::new([0; KEY_SIZE + 1]);
    let is_whole = encoded.len() == ENCODED_SIZE && STANDARD.decode_slice(encoded, &mut buffer[..]) == Ok(KEY_SIZE);
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    key.copy_from_slice(&buffer[..KEY_SIZE]);
    is_whole.then_some(key).ok_or_else(|| {
        Fault::new(
            FaultKind::Config,
            "the endpoint's `customer-key` is not 32 bytes in base64 (`openssl rand -base64 32`)",
        )
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{FixedSecret, SecretBytes};

    async fn added(algorithm: bool, key: Option<&str>) -> Result<HttpRequest<()>, Fault> {
        let mut head = HttpRequest::builder().uri("/bucket/key");
        if algorithm {
            head = head.header(ALGORITHM, "AES256");
        }
        let mut head = head.body(()).unwrap();
        let key = key.map(|key| Arc::new(FixedSecret(SecretBytes::new(key.as_bytes().to_vec()))) as Arc<dyn SecretProvider>);
        add(&mut head, key.as_ref()).await.map(|()| head)
    }

    /// `printf %s 0123456789abcdef0123456789abcdef | base64`, and `… | openssl md5 -binary | base64`.
    #[tokio::test]
    async fn a_request_that_names_the_algorithm_gets_the_key_and_its_digest() {
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let head = added(true, Some(&format!("{key}\n"))).await.unwrap();
        assert_eq!(head.headers()[KEY], key);
        assert_eq!(head.headers()[KEY_DIGEST], "hRasmdxgYDKV3nvbahU1MA==");
        assert!(OWN_HEADERS.iter().all(|name| head.headers()[name].is_sensitive()));
        assert!(added(false, Some(key)).await.unwrap().headers().is_empty());
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_refused_and_not_quoted() {
        let long = "A".repeat(44);
        for key in [None, Some(""), Some("c2hvcnQ="), Some(&*long), Some("!!!!")] {
            let refused = added(true, key).await.unwrap_err();
            assert_eq!(refused.kind, FaultKind::Config);
            assert!(
                refused.message.contains("customer-key") && !refused.to_string().contains("AAAA"),
                "{refused}"
            );
        }
    }
}

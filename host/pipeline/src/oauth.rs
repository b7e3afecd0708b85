//! Access tokens for the host's requests to Google ([`AccessTokens`]), in exchange for what the operator keeps: the key of a service account, which signs
//! (RFC 7523), or the refresh token of a person's consent (RFC 6749, section 6).
//!
//! Both are documents that Google's own tools write, with a word in them that says what they are. A token is kept for all but the end of its life, by all
//! instances of a plugin together; what a server refuses is not given out again.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bulkhead_config::SecretSource;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{
    AccessTokenProvider, SecretBytes, TlsSettings,
    capabilities::http::{self, Question},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use ring::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::secrets::{SecretError, Secrets};

/// What tokens are for.
pub(crate) const DRIVE: &str = "https://www.googleapis.com/auth/drive";

/// Where Google gives tokens out.
pub(crate) const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// How long before its end a token is renewed, so that none ends while a request is under way; of short-lived ones, a quarter of their life.
const MARGIN: Duration = Duration::from_secs(120);

/// How long a token is kept, whatever the server says of its life.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// The life of what a service account signs: Google's maximum.
const ASSERTION: Duration = Duration::from_secs(3600);

/// Text that is erased, and never shown.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Hidden(Zeroizing<String>);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hidden(…)")
    }
}

impl Hidden {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// What Google's tools write.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Credentials {
    ServiceAccount {
        client_email: String,
        private_key: Hidden,
        #[serde(default)]
        private_key_id: Option<String>,
        #[serde(default)]
        token_uri: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: Hidden,
        refresh_token: Hidden,
        #[serde(default)]
        token_uri: Option<String>,
    },
}

/// Tokens of one endpoint.
pub(crate) struct AccessTokens {
    secrets: Secrets,
    place: SecretSource,
    tls: TlsSettings,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    token: SecretBytes,
    until: Instant,
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessTokens(…)")
    }
}

impl AccessTokens {
    /// In exchange for the document at `place`. The server that gives them out is trusted as that of the endpoint is.
    pub(crate) fn new(secrets: &Secrets, place: &SecretSource, tls: TlsSettings) -> Self {
        Self {
            secrets: secrets.clone(),
            place: place.clone(),
            tls,
            kept: Mutex::default(),
        }
    }

    async fn exchange(&self) -> Result<Kept, Fault> {
        let document = self.secrets.password(&self.place).await.map_err(SecretError::into_fault)?;
        let credentials = read(&document, &self.place)?;
        let (url, form) = credentials.request(SystemTime::now())?;
        let answer = ask(&url, &self.tls, form).await.map_err(Refused::into_fault)?;
        let life = Duration::from_secs(answer.expires_in).min(MOST);
        let margin = MARGIN.min(life / 4);
        tracing::debug!(seconds = answer.expires_in, "an access token was given out by {url}");
        Ok(Kept {
            token: SecretBytes::new(answer.access_token.expose().as_bytes().to_vec()),
            until: Instant::now() + (life - margin),
        })
    }
}

#[async_trait]
impl AccessTokenProvider for AccessTokens {
    async fn token(&self) -> Result<SecretBytes, Fault> {
        // Held while one is asked for: instances that need it at the same time wait for the same one.
        let mut kept = self.kept.lock().await;
        if let Some(good) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Ok(good.token.clone());
        }
        let fresh = self.exchange().await?;
        let token = fresh.token.clone();
        *kept = Some(fresh);
        Ok(token)
    }

    async fn refused(&self, token: &SecretBytes) {
        let mut kept = self.kept.lock().await;
        // Another instance may have got a new one since.
        if kept.as_ref().is_some_and(|kept| kept.token.expose() == token.expose()) {
            *kept = None;
        }
    }
}

/// Reads a document; what is wrong with it is told without what is in it.
fn read(document: &[u8], place: &SecretSource) -> Result<Credentials, Fault> {
    serde_json::from_slice(document).map_err(|_| {
        Fault::new(
            FaultKind::Unauthenticated,
            format!("the credentials in {place} are neither the JSON key of a service account nor what `bulkhead auth gdrive` stores"),
        )
        .hint("of a service account, make a key in the Google Cloud console (IAM & Admin, Service Accounts, Keys, JSON); for a person, run `bulkhead auth gdrive`")
    })
}

impl Credentials {
    /// Where to ask for a token, and with what.
    fn request(&self, now: SystemTime) -> Result<(String, Zeroizing<Vec<u8>>), Fault> {
        match self {
            Self::AuthorizedUser {
                client_id,
                client_secret,
                refresh_token,
                token_uri,
            } => {
                let pairs = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose()),
                    ("refresh_token", refresh_token.expose()),
                ];
                Ok((token_url(token_uri.as_deref()), form(&pairs)))
            }
            Self::ServiceAccount {
                client_email,
                private_key,
                private_key_id,
                token_uri,
            } => {
                let url = token_url(token_uri.as_deref());
                let assertion = assertion(client_email, private_key, private_key_id.as_deref(), &url, now)?;
                let pairs = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.as_str()),
                ];
                Ok((url, form(&pairs)))
            }
        }
    }
}

fn token_url(url: Option<&str>) -> String {
    url.unwrap_or(TOKEN_URL).to_owned()
}

/// What a service account signs: a JSON Web Token (RFC 7519), RS256.
fn assertion(email: &str, key: &Hidden, key_id: Option<&str>, audience: &str, now: SystemTime) -> Result<Zeroizing<String>, Fault> {
    let bad_key = || {
        let message = "the `private_key` of the service account is no RSA key in PKCS #8";
        Fault::new(FaultKind::Unauthenticated, message).hint("download the account's key again, as JSON")
    };
    let pem = PrivatePkcs8KeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| bad_key())?;
    let pair = KeyPair::from_pkcs8(pem.secret_pkcs8_der()).map_err(|_| bad_key())?;
    let issued = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut header = serde_json::json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = key_id {
        header["kid"] = id.into();
    }
    let claims = serde_json::json!({
        "iss": email, "scope": DRIVE, "aud": audience, "iat": issued, "exp": issued + ASSERTION.as_secs(),
    });
    let encoded = |document: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(document.to_string());
    let message = format!("{}.{}", encoded(&header), encoded(&claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .map_err(|_| bad_key())?;
    Ok(Zeroizing::new(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
}

/// Names and values as a form (`application/x-www-form-urlencoded`). Of its full size from the beginning: what a growing buffer leaves behind would not be
/// erased.
pub(crate) fn form(pairs: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let length = pairs.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut form = Zeroizing::new(Vec::with_capacity(length));
    for (number, (name, value)) in pairs.iter().enumerate() {
        if number > 0 {
            form.push(b'&');
        }
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        for part in percent_encode(value.as_bytes(), NON_ALPHANUMERIC) {
            form.extend_from_slice(part.as_bytes());
        }
    }
    form
}

/// What is given out.
#[derive(Debug, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: Hidden,
    #[serde(default = "an_hour")]
    pub(crate) expires_in: u64,
    #[serde(default)]
    pub(crate) refresh_token: Option<Hidden>,
}

fn an_hour() -> u64 {
    3600
}

/// The document in which a server of tokens refuses (RFC 6749, section 5.2).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

/// No token was given out.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It was not asked for, or the answer did not come.
    Fault(Fault),
    /// The server's word for it, and the whole story.
    Answer { word: String, fault: Fault },
}

impl Refused {
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) | Self::Answer { fault, .. } => fault,
        }
    }
}

/// Asks the server at `url` for tokens.
pub(crate) async fn ask(url: &str, tls: &TlsSettings, form: Zeroizing<Vec<u8>>) -> Result<Tokens, Refused> {
    let body = send(url, tls, form).await?;
    serde_json::from_slice(body.expose()).map_err(|_| {
        // Its text is left out: there may be a token in it.
        let message = format!("{url} answers without an access token");
        Refused::Fault(Fault::new(FaultKind::Protocol, message))
    })
}

/// Sends a form, and returns the body of an answer that is a success.
pub(crate) async fn send(url: &str, tls: &TlsSettings, form: Zeroizing<Vec<u8>>) -> Result<SecretBytes, Refused> {
    let headers = vec![("content-type".to_owned(), b"application/x-www-form-urlencoded".to_vec())];
    let request = Question {
        method: "POST",
        url,
        tls,
        headers,
        body: form,
    };
    let answer = http::ask(request).await.map_err(Refused::Fault)?;
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    let refusal: Refusal = serde_json::from_slice(answer.body.expose()).unwrap_or_default();
    Err(Refused::Answer {
        fault: explained(url, answer.status, &refusal),
        word: refusal.error,
    })
}

fn explained(url: &str, status: u16, refusal: &Refusal) -> Fault {
    let (kind, hint) = match refusal.error.as_str() {
        "invalid_grant" => (
            FaultKind::Unauthenticated,
            "consent was withdrawn or has expired, the key of the service account was removed, or this host's clock is wrong; `bulkhead auth gdrive` asks for consent again \
             (of a project in testing, Google ends it after 7 days: publish the project)",
        ),
        "invalid_client" | "unauthorized_client" => (
            FaultKind::Unauthenticated,
            "look at the client's id and secret in the Google Cloud console: APIs & Services, Credentials",
        ),
        _ if matches!(status, 408 | 429 | 500..=599) => (FaultKind::Server, "the server that gives out tokens failed: try again"),
        _ => (FaultKind::Unauthenticated, "look at the endpoint's `auth`"),
    };
    let mut fault = Fault::new(kind, format!("{url} gives out no access token (status {status})")).hint(hint);
    fault.retryable = kind == FaultKind::Server;
    let told = |text: &str| -> String { text.chars().filter(|character| !character.is_control()).take(300).collect() };
    if !refusal.error.is_empty() {
        fault
            .causes
            .push(format!("{}: {}", told(&refusal.error), told(&refusal.error_description)));
    }
    fault
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn place() -> SecretSource {
        SecretSource::File("/c".into())
    }

    #[test]
    fn documents_say_what_they_are_and_are_not_shown() {
        let user = br#"{"type":"authorized_user","client_id":"id","client_secret":"se/cret","refresh_token":"1//x"}"#;
        let credentials = read(user, &place()).unwrap();
        assert!(!format!("{credentials:?}").contains("cret\""));
        assert!(!format!("{credentials:?}").contains("1//x"));
        let (url, form) = credentials.request(UNIX_EPOCH).unwrap();
        assert_eq!(url, TOKEN_URL);
        assert_eq!(
            std::str::from_utf8(&form).unwrap(),
            "grant_type=refresh%5Ftoken&client_id=id&client_secret=se%2Fcret&refresh_token=1%2F%2Fx"
        );
        for bad in [&b"{}"[..], b"secret", br#"{"type":"external_account"}"#] {
            let fault = read(bad, &place()).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unauthenticated);
            assert!(!fault.message.contains("secret\n"));
        }
    }

    #[test]
    fn a_key_that_is_none_is_told_without_it() {
        let account = br#"{"type":"service_account","client_email":"a@b","private_key":"not a key"}"#;
        let fault = read(account, &place()).unwrap().request(UNIX_EPOCH).unwrap_err();
        assert!(fault.message.contains("private_key") && !fault.message.contains("not a key"));
    }

    #[test]
    fn what_passes_by_itself_is_told_apart() {
        let refusal = |word: &str| Refusal {
            error: word.to_owned(),
            error_description: "told".to_owned(),
        };
        let gone = explained("u", 400, &refusal("invalid_grant"));
        assert_eq!((gone.kind, gone.retryable), (FaultKind::Unauthenticated, false));
        let down = explained("u", 503, &Refusal::default());
        assert_eq!((down.kind, down.retryable), (FaultKind::Server, true));
    }
}

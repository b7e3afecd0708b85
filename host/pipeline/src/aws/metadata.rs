//! Temporary credentials of the role of the machine that this runs on, from its metadata: version 2 of EC2's instance metadata service, with a token of its
//! own for each look.

use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{
    AwsCredentials, SecretBytes, TlsSettings,
    capabilities::http::{self, Answer, Question},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Found;
use crate::oauth::Hidden;

/// Where every machine of EC2 is told who it is.
const USUAL: &str = "http://169.254.169.254";

/// How long a token is good for, in seconds: for the two requests that follow.
const LIFE: &str = "60";

/// The document with credentials.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: Hidden,
    secret_access_key: Hidden,
    token: Hidden,
    expiration: String,
}

/// The credentials of the machine's role.
pub(super) async fn ask(url: Option<&str>, tls: &TlsSettings) -> Result<Found, Fault> {
    let service = Service {
        url: url.unwrap_or(USUAL).trim_end_matches('/'),
        tls,
    };
    let life = vec![("x-aws-ec2-metadata-token-ttl-seconds".to_owned(), LIFE.as_bytes().to_vec())];
    let token = service.answer("PUT", "/latest/api/token", life).await?;
    let token = || vec![("x-aws-ec2-metadata-token".to_owned(), token.body.expose().to_vec())];
    let roles = "/latest/meta-data/iam/security-credentials/";
    let role = service.answer("GET", roles, token()).await?;
    let role = String::from_utf8_lossy(role.body.expose());
    let role = role.lines().next().unwrap_or_default().trim();
    let answer = service.answer("GET", &format!("{roles}{role}"), token()).await?;
    let document: Document = serde_json::from_slice(answer.body.expose()).map_err(|_| {
        // Its text is left out: there may be a key in it.
        Fault::new(
            FaultKind::Protocol,
            format!("{} answers without credentials of the role `{role}`", service.url),
        )
    })?;
    let secret = |hidden: &Hidden| SecretBytes::new(hidden.expose().as_bytes().to_vec());
    let credentials = AwsCredentials {
        access_key_id: secret(&document.access_key_id),
        secret_access_key: secret(&document.secret_access_key),
        session_token: Some(secret(&document.token)),
    };
    Ok(Found::until(credentials, &document.expiration))
}

struct Service<'a> {
    url: &'a str,
    tls: &'a TlsSettings,
}

impl Service<'_> {
    /// An answer of success.
    async fn answer(&self, method: &'static str, path: &str, headers: Vec<(String, Vec<u8>)>) -> Result<Answer, Fault> {
        let url = format!("{}{path}", self.url);
        let question = Question {
            method,
            url: &url,
            tls: self.tls,
            headers,
            body: Zeroizing::default(),
        };
        let answer = http::ask(question).await.map_err(|fault| match fault.kind {
            FaultKind::Unreachable | FaultKind::TimedOut => {
                fault.hint("is this a machine of EC2, and may this process reach its metadata? In containers, its hop limit must be 2")
            }
            _ => fault,
        })?;
        match answer.status {
            200 => Ok(answer),
            404 => Err(Fault::new(FaultKind::Unauthenticated, "this machine has no role")
                .hint("attach an instance profile to it, or write keys into the endpoint's `auth.aws`")),
            status => {
                let mut fault = Fault::new(FaultKind::Server, format!("{url} answers with status {status}"));
                fault.retryable = status >= 500 || status == 429;
                Err(fault)
            }
        }
    }
}

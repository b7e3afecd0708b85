//! Temporary credentials of a role, in exchange for a token that says who this is: `AssumeRoleWithWebIdentity` of AWS's Security Token Service (API version
//! 2011-06-15), as Kubernetes clusters of AWS have it.

use std::path::{Path, PathBuf};

use bulkhead_config::SecretSource;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{
    AwsCredentials, SecretBytes, TlsSettings,
    capabilities::http::{self, Question},
};

use super::Found;
use crate::{
    oauth::form,
    secrets::{SecretError, Secrets},
};

/// How this host is called in the records of AWS.
const SESSION: &str = "bulkhead";

/// What a configuration says of a role.
pub(super) struct Role<'a> {
    pub(super) arn: Option<&'a str>,
    pub(super) token_file: Option<&'a Path>,
    pub(super) url: Option<&'a str>,
    pub(super) region: &'a str,
}

impl Role<'_> {
    /// Its credentials, for the hour that AWS gives by default.
    pub(super) async fn assume(&self, secrets: &Secrets, tls: &TlsSettings) -> Result<Found, Fault> {
        let arn = match self.arn {
            Some(arn) => arn.to_owned(),
            None => variable(secrets, "AWS_ROLE_ARN", "role")?,
        };
        let token_file = match self.token_file {
            Some(file) => file.to_owned(),
            None => PathBuf::from(variable(secrets, "AWS_WEB_IDENTITY_TOKEN_FILE", "token-file")?),
        };
        let token = secrets
            .password(&SecretSource::File(token_file.clone()))
            .await
            .map_err(SecretError::into_fault)?;
        let token = std::str::from_utf8(&token).map_err(|_| {
            Fault::new(
                FaultKind::Unauthenticated,
                format!("{} holds no token of a web identity", token_file.display()),
            )
            .hint("it is a file that Kubernetes writes: look at the service account of the pod")
        })?;
        let url = match self.url {
            Some(url) => url.to_owned(),
            None => format!("https://sts.{}.amazonaws.com/", self.region),
        };
        let body = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &arn),
            ("RoleSessionName", SESSION),
            ("WebIdentityToken", token),
        ]);
        let answer = http::ask(Question {
            method: "POST",
            url: &url,
            tls,
            headers: vec![("content-type".to_owned(), b"application/x-www-form-urlencoded".to_vec())],
            body,
        });
        let answer = answer.await?;
        let text = String::from_utf8_lossy(answer.body.expose());
        if answer.status != 200 {
            return Err(refused(&url, answer.status, &arn, &text));
        }
        found(&text).ok_or_else(|| Fault::new(FaultKind::Protocol, format!("{url} answers without credentials")))
    }
}

fn variable(secrets: &Secrets, name: &str, key: &str) -> Result<String, Fault> {
    let value = secrets.lookup(name).and_then(|value| value.into_string().ok());
    value.ok_or_else(|| {
        Fault::new(
            FaultKind::Config,
            format!("there is no `${name}`, which Kubernetes clusters of AWS set"),
        )
        .hint(format!("set it, or write `{key}` in `web-identity`"))
    })
}

fn found(text: &str) -> Option<Found> {
    let secret = |name| Some(SecretBytes::new(field(text, name)?.as_bytes().to_vec()));
    let credentials = AwsCredentials {
        access_key_id: secret("AccessKeyId")?,
        secret_access_key: secret("SecretAccessKey")?,
        session_token: Some(secret("SessionToken")?),
    };
    Some(Found::until(credentials, field(text, "Expiration").unwrap_or_default()))
}

fn refused(url: &str, status: u16, arn: &str, text: &str) -> Fault {
    let code = field(text, "Code").unwrap_or_default();
    let passes = status >= 500 || status == 429 || code == "IDPCommunicationError" || code == "Throttling";
    let kind = if passes { FaultKind::Server } else { FaultKind::Unauthenticated };
    let hint = match code {
        "ExpiredTokenException" => {
            "the token of the web identity has expired: Kubernetes renews its file; look whether it still does, and at this host's clock"
        }
        "InvalidIdentityToken" => {
            "AWS does not know who gave the token out: the cluster's identity provider must be registered with the account"
        }
        _ if passes => "the service failed: try again",
        _ => "the role's trust policy must allow `sts:AssumeRoleWithWebIdentity` to this service account",
    };
    let mut fault = Fault::new(kind, format!("{url} gives out no credentials of {arn} (status {status})")).hint(hint);
    fault.retryable = passes;
    let told = |text: &str| -> String { text.chars().filter(|character| !character.is_control()).take(300).collect() };
    if !code.is_empty() {
        fault
            .causes
            .push(format!("{}: {}", told(code), told(field(text, "Message").unwrap_or_default())));
    }
    fault
}

/// What is between the first `<name>` and `</name>`: of what is asked for, nothing has entities in it but messages for people.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let content = text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>"))?.0;
    Some(content.trim())
}

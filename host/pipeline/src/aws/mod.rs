//! AWS credentials for the host's signatures: [`ConfiguredAwsCredentials`], from secrets one by one, from a section of a credentials file, or temporary ones
//! that AWS gives to a role.
//!
//! They are kept for five minutes, temporary ones until shortly before their end: a run makes thousands of requests, and a command that asks a password
//! manager is not run for each; but those that somebody renews (a file that a sidecar writes) are taken up in the middle of a run.

mod metadata;
mod profile;
mod web_identity;

use std::{
    fmt,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bulkhead_config::{AwsCredentials as Place, SecretSource};
use bulkhead_model::Fault;
use bulkhead_runtime::{AwsCredentials, AwsCredentialsProvider, SecretBytes, TlsSettings};
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::secrets::{SecretError, Secrets};

/// How long credentials are used before they are looked up again.
const KEPT: Duration = Duration::from_secs(300);

/// How long before their end temporary ones are renewed: AWS has new ones five minutes before at the latest.
const MARGIN: Duration = Duration::from_secs(240);

/// Credentials, and how long they may be kept.
struct Found {
    credentials: AwsCredentials,
    keep: Duration,
}

impl Found {
    fn lasting(credentials: AwsCredentials) -> Self {
        Self { credentials, keep: KEPT }
    }

    /// Of credentials that end, in the text of RFC 3339; where that says nothing, they are kept as others are.
    fn until(credentials: AwsCredentials, end: &str) -> Self {
        let left = end.parse::<Timestamp>().ok().map(|end| end.duration_since(Timestamp::now()));
        let left = left.and_then(|left| Duration::try_from(left).ok());
        let keep = left.map_or(KEPT, |left| left.saturating_sub(MARGIN));
        Self { credentials, keep }
    }
}

/// Where a configuration says that they are.
pub(crate) struct ConfiguredAwsCredentials {
    secrets: Secrets,
    place: Place,
    region: String,
    tls: TlsSettings,
    kept: Mutex<Option<(Instant, AwsCredentials)>>,
}

impl fmt::Debug for ConfiguredAwsCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ConfiguredAwsCredentials(…)")
    }
}

impl ConfiguredAwsCredentials {
    /// The service that gives out temporary ones is trusted as the server of the endpoint is.
    pub(crate) fn new(secrets: &Secrets, place: &Place, region: &str, tls: TlsSettings) -> Self {
        Self {
            secrets: secrets.clone(),
            place: place.clone(),
            region: region.to_owned(),
            tls,
            kept: Mutex::default(),
        }
    }

    async fn look_up(&self) -> Result<Found, Fault> {
        match &self.place {
            Place::Keys {
                access_key_id,
                secret_access_key,
                session_token,
            } => Ok(Found::lasting(AwsCredentials {
                access_key_id: self.secret(access_key_id).await?,
                secret_access_key: self.secret(secret_access_key).await?,
                session_token: match session_token {
                    Some(source) => Some(self.secret(source).await?),
                    None => None,
                },
            })),
            Place::Profile { profile, file } => profile::read(&self.secrets, profile, file.as_deref()).await.map(Found::lasting),
            Place::WebIdentity { role, token_file, url } => {
                let role = web_identity::Role {
                    arn: role.as_deref(),
                    token_file: token_file.as_deref(),
                    url: url.as_deref(),
                    region: &self.region,
                };
                role.assume(&self.secrets, &self.tls).await
            }
            Place::InstanceMetadata { url } => metadata::ask(url.as_deref(), &self.tls).await,
        }
    }

    async fn secret(&self, source: &SecretSource) -> Result<SecretBytes, Fault> {
        let mut secret = self.secrets.password(source).await.map_err(SecretError::into_fault)?;
        Ok(SecretBytes::new(std::mem::take(&mut *secret)))
    }
}

#[async_trait]
impl AwsCredentialsProvider for ConfiguredAwsCredentials {
    async fn read(&self) -> Result<AwsCredentials, Fault> {
        // Held while they are looked up: instances that need them at the same time wait for the same ones.
        let mut kept = self.kept.lock().await;
        if let Some((_, credentials)) = kept.as_ref().filter(|(until, _)| Instant::now() < *until) {
            return Ok(credentials.clone());
        }
        let found = self.look_up().await?;
        *kept = Some((Instant::now() + found.keep, found.credentials.clone()));
        Ok(found.credentials)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn the_file_is_where_aws_tools_look_and_what_was_read_is_kept() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let file = home.path().join(".aws/credentials");
        std::fs::write(&file, "[work]\naws_access_key_id = AKIA2\naws_secret_access_key = two\n").unwrap();
        let path = home.path().to_owned();
        let secrets = Secrets::new(move |name| (name == "HOME").then(|| path.clone().into()));
        let place = Place::Profile {
            profile: "work".into(),
            file: None,
        };
        let credentials = ConfiguredAwsCredentials::new(&secrets, &place, "us-east-1", TlsSettings::default());
        assert_eq!(credentials.read().await.unwrap().access_key_id.expose(), b"AKIA2");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(credentials.read().await.unwrap().secret_access_key.expose(), b"two");
        let fresh = ConfiguredAwsCredentials::new(&secrets, &place, "us-east-1", TlsSettings::default());
        assert_eq!(fresh.read().await.unwrap_err().kind, bulkhead_model::FaultKind::Unauthenticated);
        assert_eq!(format!("{credentials:?}"), "ConfiguredAwsCredentials(…)");
    }

    #[test]
    fn temporary_ones_are_renewed_before_their_end() {
        let kept = |end: &str| {
            let secret = || SecretBytes::new(b"x".to_vec());
            let credentials = AwsCredentials {
                access_key_id: secret(),
                secret_access_key: secret(),
                session_token: None,
            };
            Found::until(credentials, end).keep
        };
        let in_an_hour = Timestamp::now() + Duration::from_secs(3600);
        let rest = kept(&in_an_hour.to_string());
        assert!(rest > Duration::from_secs(3300) && rest <= Duration::from_secs(3360), "{rest:?}");
        assert_eq!(kept("2020-01-01T00:00:00Z"), KEPT);
        assert_eq!(kept("soon"), KEPT);
    }
}

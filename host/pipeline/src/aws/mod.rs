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

/// The shortest time between two looks, so that credentials which are always about to end don't cost a look for each request.
const SHORTEST: Duration = Duration::from_secs(5);

/// Credentials, and when they end.
struct Found {
    credentials: AwsCredentials,
    /// `None` where that is not known.
    ends: Option<Timestamp>,
}

impl Found {
    fn lasting(credentials: AwsCredentials) -> Self {
        Self { credentials, ends: None }
    }

    /// Of credentials that end, in the text of RFC 3339; where that says nothing, they are kept as others are.
    fn until(credentials: AwsCredentials, end: &str) -> Self {
        Self {
            credentials,
            ends: end.parse().ok(),
        }
    }

    /// How long they may be used before others are looked for.
    fn keep(&self, now: Timestamp) -> Duration {
        let Some(ends) = self.ends else { return KEPT };
        let left = Duration::try_from(ends.duration_since(now)).unwrap_or_default();
        left.saturating_sub(MARGIN).max(SHORTEST)
    }

    fn have_ended(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|ends| ends <= now)
    }
}

/// Credentials in use.
struct Kept {
    found: Found,
    /// By both clocks: the one stands still while a machine sleeps, the other may be set back.
    renew: (Instant, Timestamp),
}

impl Kept {
    fn new(found: Found) -> Self {
        let now = Timestamp::now();
        let keep = found.keep(now);
        Self {
            found,
            renew: (Instant::now() + keep, now + keep),
        }
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.renew.0 && Timestamp::now() < self.renew.1
    }

    /// Looks again in a while.
    fn put_off(&mut self) {
        self.renew = (Instant::now() + SHORTEST, Timestamp::now() + SHORTEST);
    }
}

/// Where a configuration says that they are.
pub(crate) struct ConfiguredAwsCredentials {
    secrets: Secrets,
    place: Place,
    region: String,
    tls: TlsSettings,
    kept: Mutex<Option<Kept>>,
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
        if let Some(good) = kept.as_ref().filter(|kept| kept.is_fresh()) {
            return Ok(good.found.credentials.clone());
        }
        match (self.look_up().await, kept.as_mut()) {
            (Ok(found), _) => {
                let credentials = found.credentials.clone();
                *kept = Some(Kept::new(found));
                Ok(credentials)
            }
            // A service that is away for a while costs nothing as long as the old ones are good.
            (Err(fault), Some(old)) if !old.found.have_ended(Timestamp::now()) => {
                tracing::warn!(error = %fault, "AWS credentials could not be renewed yet");
                old.put_off();
                Ok(old.found.credentials.clone())
            }
            (Err(fault), _) => Err(fault),
        }
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
        let now = Timestamp::now();
        let found = |end: &str| {
            let secret = || SecretBytes::new(b"x".to_vec());
            let credentials = AwsCredentials {
                access_key_id: secret(),
                secret_access_key: secret(),
                session_token: None,
            };
            Found::until(credentials, end)
        };
        let after = |seconds| found(&(now + Duration::from_secs(seconds)).to_string());
        assert_eq!(after(3600).keep(now), Duration::from_secs(3360));
        assert_eq!(after(100).keep(now), SHORTEST);
        assert!(!after(100).have_ended(now));
        let ended = found("2020-01-01T00:00:00Z");
        assert!(ended.have_ended(now) && ended.keep(now) == SHORTEST);
        assert_eq!(found("soon").keep(now), KEPT);
    }
}

//! AWS credentials for the host's signatures: [`ConfiguredAwsCredentials`], from secrets one by one, or from a section of a credentials file.
//!
//! They are kept for five minutes: a run makes thousands of requests, and a command that asks a password manager is not run for each; but those that
//! somebody renews (a file that a sidecar writes) are taken up in the middle of a run.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bulkhead_config::{AwsCredentials as Place, SecretSource};
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{AwsCredentials, AwsCredentialsProvider, SecretBytes};
use tokio::sync::Mutex;

use crate::secrets::Secrets;

/// How long credentials are used before they are looked up again; temporary ones live for 15 minutes at least.
const KEPT: Duration = Duration::from_secs(300);

/// Where a configuration says that they are.
pub(crate) struct ConfiguredAwsCredentials {
    secrets: Secrets,
    place: Place,
    kept: Mutex<Option<(Instant, AwsCredentials)>>,
}

impl fmt::Debug for ConfiguredAwsCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ConfiguredAwsCredentials(…)")
    }
}

impl ConfiguredAwsCredentials {
    pub(crate) fn new(secrets: &Secrets, place: &Place) -> Self {
        Self {
            secrets: secrets.clone(),
            place: place.clone(),
            kept: Mutex::default(),
        }
    }

    async fn look_up(&self) -> Result<AwsCredentials, Fault> {
        match &self.place {
            Place::Keys {
                access_key_id,
                secret_access_key,
                session_token,
            } => Ok(AwsCredentials {
                access_key_id: self.secret(access_key_id).await?,
                secret_access_key: self.secret(secret_access_key).await?,
                session_token: match session_token {
                    Some(source) => Some(self.secret(source).await?),
                    None => None,
                },
            }),
            Place::Profile { profile, file } => {
                let file = match file {
                    Some(file) => file.clone(),
                    None => self.usual_file()?,
                };
                let content = self.secrets.password(&SecretSource::File(file.clone())).await;
                section(&content.map_err(crate::secrets::SecretError::into_fault)?, profile, &file)
            }
        }
    }

    async fn secret(&self, source: &SecretSource) -> Result<SecretBytes, Fault> {
        let secret = self.secrets.password(source).await;
        let mut secret = secret.map_err(crate::secrets::SecretError::into_fault)?;
        Ok(SecretBytes::new(std::mem::take(&mut *secret)))
    }

    /// Where AWS's own tools look.
    fn usual_file(&self) -> Result<PathBuf, Fault> {
        if let Some(file) = self.secrets.lookup("AWS_SHARED_CREDENTIALS_FILE") {
            return Ok(file.into());
        }
        let home = self.secrets.lookup("HOME").ok_or_else(|| {
            Fault::new(FaultKind::Config, "there is no `$HOME` to look for `.aws/credentials` in")
                .hint("name the file: `credentials-file = \"/path\"` beside `profile`")
        })?;
        Ok(Path::new(&home).join(".aws/credentials"))
    }
}

#[async_trait]
impl AwsCredentialsProvider for ConfiguredAwsCredentials {
    async fn read(&self) -> Result<AwsCredentials, Fault> {
        let mut kept = self.kept.lock().await;
        if let Some((_, credentials)) = kept.as_ref().filter(|(since, _)| since.elapsed() < KEPT) {
            return Ok(credentials.clone());
        }
        let credentials = self.look_up().await?;
        *kept = Some((Instant::now(), credentials.clone()));
        Ok(credentials)
    }
}

/// The section `profile` of a credentials file: lines `name = value` below `[profile]`.
fn section(content: &[u8], profile: &str, file: &Path) -> Result<AwsCredentials, Fault> {
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let header = format!("[{profile}]");
    let mut lines = lines.skip_while(|line| *line != header.as_bytes());
    if lines.next().is_none() {
        let message = format!("there is no section `{header}` in {}", file.display());
        return Err(Fault::new(FaultKind::Unauthenticated, message).hint("correct `profile`, or add the section: `aws configure` does"));
    }
    let settings: Vec<(&[u8], &[u8])> = lines.take_while(|line| !line.starts_with(b"[")).filter_map(setting).collect();
    let value = |name: &str| {
        let found = settings.iter().find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| SecretBytes::new(value.to_vec()))
    };
    let required = |name: &str| {
        let message = format!("the section `{header}` in {} has no `{name}`", file.display());
        value(name).ok_or_else(|| Fault::new(FaultKind::Unauthenticated, message).hint("only sections with keys in them can be used"))
    };
    Ok(AwsCredentials {
        access_key_id: required("aws_access_key_id")?,
        secret_access_key: required("aws_secret_access_key")?,
        session_token: value("aws_session_token"),
    })
}

fn setting(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if line.starts_with(b"#") || line.starts_with(b";") {
        return None;
    }
    let position = line.iter().position(|byte| *byte == b'=')?;
    Some((line[..position].trim_ascii(), line[position + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=a=b/c\n\n[work]\r\n; temporary\r\nAWS_ACCESS_KEY_ID = AKIA2\r\naws_secret_access_key = two\r\naws_session_token = token==\r\n[empty]\n";

    fn read(profile: &str) -> Result<(String, String, Option<String>), Fault> {
        let text = |secret: &SecretBytes| String::from_utf8(secret.expose().to_vec()).unwrap();
        let found = section(FILE.as_bytes(), profile, Path::new("/c"))?;
        Ok((
            text(&found.access_key_id),
            text(&found.secret_access_key),
            found.session_token.as_ref().map(text),
        ))
    }

    #[test]
    fn a_section_holds_the_keys_of_a_profile() {
        assert_eq!(read("default").unwrap(), ("AKIA1".into(), "a=b/c".into(), None));
        assert_eq!(read("work").unwrap(), ("AKIA2".into(), "two".into(), Some("token==".into())));
        assert_eq!(read("other").unwrap_err().message, "there is no section `[other]` in /c");
        assert_eq!(
            read("empty").unwrap_err().message,
            "the section `[empty]` in /c has no `aws_access_key_id`"
        );
    }

    #[tokio::test]
    async fn the_file_is_where_aws_tools_look_and_what_was_read_is_kept() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let file = home.path().join(".aws/credentials");
        std::fs::write(&file, FILE).unwrap();
        let path = home.path().to_owned();
        let secrets = Secrets::new(move |name| (name == "HOME").then(|| path.clone().into()));
        let place = Place::Profile {
            profile: "work".into(),
            file: None,
        };
        let credentials = ConfiguredAwsCredentials::new(&secrets, &place);
        assert_eq!(credentials.read().await.unwrap().access_key_id.expose(), b"AKIA2");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(credentials.read().await.unwrap().secret_access_key.expose(), b"two");
        let fresh = ConfiguredAwsCredentials::new(&secrets, &place);
        assert_eq!(fresh.read().await.unwrap_err().kind, FaultKind::Unauthenticated);
        assert_eq!(format!("{credentials:?}"), "ConfiguredAwsCredentials(…)");
    }
}

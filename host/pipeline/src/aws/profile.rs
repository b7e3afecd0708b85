//! A section of a credentials file, as AWS's own tools have it: [`read`].

use std::path::{Path, PathBuf};

use bulkhead_config::SecretSource;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{AwsCredentials, SecretBytes};

use crate::secrets::{SecretError, Secrets};

/// The keys of `profile` in `file`, or in the file where AWS's own tools look.
pub(super) async fn read(secrets: &Secrets, profile: &str, file: Option<&Path>) -> Result<AwsCredentials, Fault> {
    let file = match file {
        Some(file) => file.to_owned(),
        None => usual_file(secrets)?,
    };
    let content = secrets.password(&SecretSource::File(file.clone())).await;
    section(&content.map_err(SecretError::into_fault)?, profile, &file)
}

fn usual_file(secrets: &Secrets) -> Result<PathBuf, Fault> {
    if let Some(file) = secrets.lookup("AWS_SHARED_CREDENTIALS_FILE") {
        return Ok(file.into());
    }
    let home = secrets.lookup("HOME").ok_or_else(|| {
        Fault::new(FaultKind::Config, "there is no `$HOME` to look for `.aws/credentials` in")
            .hint("name the file: `credentials-file = \"/path\"` beside `profile`")
    })?;
    Ok(Path::new(&home).join(".aws/credentials"))
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
}

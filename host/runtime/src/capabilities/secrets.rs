//! Secrets in clear, only those that the operator granted with `reveal = true`.

use bulkhead_model::{Fault, FaultKind};

use super::Granted;
use crate::{SecretBytes, SecretGrant};

/// Longest secret, in bytes.
const MAX_SECRET: usize = 64 << 10;

/// The secrets of one plugin.
#[derive(Debug, Clone)]
pub struct Secrets(Granted<SecretGrant>);

impl Secrets {
    /// Over the plugin's grants.
    #[must_use]
    pub fn new(granted: Granted<SecretGrant>) -> Self {
        Self(granted)
    }

    /// Names of the secrets that can be revealed.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|(_, grant)| grant.reveal)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The bytes as stored, without one trailing newline.
    ///
    /// # Errors
    /// `not-granted` where the operator does not reveal it, `not-found` where its source has none, `limit` above 64 KiB.
    pub async fn reveal(&self, name: &str) -> Result<SecretBytes, Fault> {
        let grant = self.0.get(name)?;
        if !grant.reveal {
            let fault = Fault::new(FaultKind::NotGranted, format!("the secret `{name}` is granted, but not in clear"));
            return Err(fault.hint(format!("add `reveal = true` to `secret.{name}` if the plugin may see it")));
        }
        let secret = grant.provider.read().await?;
        let bytes = secret.expose();
        if bytes.len() > MAX_SECRET {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("the secret `{name}` is longer than {MAX_SECRET} bytes"),
            ));
        }
        Ok(match bytes.strip_suffix(b"\n") {
            Some(line) => SecretBytes::new(line.to_vec()),
            None => secret,
        })
    }
}

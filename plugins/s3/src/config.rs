//! What the operator writes under `config`: [`Config`].

use std::num::NonZeroU32;

use bulkhead_sdk::{
    prelude::*,
    services::{BASE_URL, Backoff},
};
use opendal::services::S3;

/// What stands for the bucket where the endpoint's URL has it in its name.
const BUCKET_IN_URL: &str = "bucket";

/// Settings of the sink. Where the server is, and whose key signs, is the endpoint `storage`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The bucket, where the endpoint's `url` names the server only (path style). Leave it out where the URL names the bucket too:
    /// `https://BUCKET.s3.REGION.amazonaws.com` (virtual-host style) or `https://HOST/BUCKET`.
    pub bucket: Option<String>,
    /// A folder in the bucket, such as "backups/main"; the whole bucket by default. One vault each.
    pub prefix: String,
    /// Storage class of new objects, such as "STANDARD_IA"; the bucket's own by default. Classes that must be restored before they can be read
    /// ("GLACIER", "DEEP_ARCHIVE") are refused.
    pub storage_class: Option<String>,
    /// Encryption by the server, beside the vault's own: the bucket's default where nothing is said.
    pub encryption: Option<Encryption>,
    /// The key for `encryption = "aws:kms"`: its id or ARN; the account's own key for S3 by default.
    pub kms_key: Option<String>,
    /// What the server checks an object by, and keeps with it, beside the signed SHA-256 of each request.
    pub checksum: Checksum,
    /// Whether the server is relied on to refuse what is there already (`If-None-Match`). Write `false` for one that ignores it; `check` finds out.
    pub conditional_put: ConditionalPut,
    /// How objects are locked where the sink's table says `lock`.
    pub lock_mode: LockMode,
    /// What becomes of the content of removed objects in a bucket that keeps versions.
    pub versions: Versions,
    /// Whether the requester pays for requests and traffic.
    pub requester_pays: bool,
    /// How often a request is tried, from 1: 6 by default, with pauses of about 6 s in all.
    pub attempts: Option<NonZeroU32>,
    /// Instances that work at the same time, from 1 to 64: 8 by default.
    pub concurrency: Option<NonZeroU32>,
}

/// Encryption by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Encryption {
    /// With keys of S3 (SSE-S3).
    AES256,
    /// With a key of the key management service (SSE-KMS).
    #[serde(rename = "aws:kms")]
    AwsKms,
    /// With a key of the operator's own that the server forgets (SSE-C): `customer-key` in the endpoint's `auth.aws`, which the host adds to requests. restic does not know it.
    #[serde(rename = "customer-key")]
    CustomerKey,
}

/// What the server checks an object by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// `x-amz-checksum-sha256`, which S3 keeps with the object.
    #[default]
    Sha256,
    /// Nothing but the signed digest of the request, for servers that refuse the header.
    None,
}

/// Who can end a lock early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Those with the right `s3:BypassGovernanceRetention`.
    #[default]
    Governance,
    /// Nobody, the account's owner included.
    Compliance,
}

impl LockMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// What becomes of versions of a removed object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// They stay, behind a mark that it was removed, until a lifecycle rule of the bucket removes them.
    #[default]
    Keep,
    /// They are removed too, but for those that are locked. Needs `s3:ListBucketVersions` and `s3:DeleteObjectVersion`.
    Remove,
}

/// Whether `If-None-Match` is relied on; a type of its own, since its default is yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ConditionalPut(pub bool);

impl Default for ConditionalPut {
    fn default() -> Self {
        Self(true)
    }
}

impl Config {
    /// What the types cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(bucket) = self.bucket.as_deref().filter(|bucket| !is_bucket(bucket)) {
            return Err(Error::config("bucket", format!("`{bucket}` cannot be the name of a bucket"))
                .with_hint("3 to 63 lower-case letters, digits, dots and hyphens; folders in it belong into `prefix`"));
        }
        if self.prefix.split('/').any(|part| matches!(part, "." | "..")) || self.prefix.len() > 512 {
            return Err(Error::config("prefix", "the prefix has `.` or `..` in it, or more than 512 bytes"));
        }
        if let Some(class) = self
            .storage_class
            .as_deref()
            .filter(|class| matches!(*class, "GLACIER" | "DEEP_ARCHIVE"))
        {
            return Err(Error::config(
                "storage-class",
                format!("objects of the class {class} cannot be read before they have been restored"),
            )
            .with_hint("use `STANDARD_IA` or `GLACIER_IR`, which can be read at once"));
        }
        if self.kms_key.is_some() && self.encryption != Some(Encryption::AwsKms) {
            return Err(Error::config("kms-key", "a KMS key is used with `encryption = \"aws:kms\"` only"));
        }
        if self.concurrency.is_some_and(|instances| instances.get() > 64) {
            return Err(Error::config("concurrency", "at most 64 instances work at the same time"));
        }
        Ok(())
    }

    /// The service as OpenDAL makes it. It does not sign: the host does.
    pub(crate) fn service(&self) -> S3 {
        // The region is the host's too: unsigned requests name none.
        let mut service = S3::default()
            .endpoint(BASE_URL)
            .region("auto")
            .root(&self.prefix)
            .skip_signature()
            .disable_config_load()
            .disable_ec2_metadata();
        service = match &self.bucket {
            Some(bucket) => service.bucket(bucket),
            None => service.bucket(BUCKET_IN_URL).enable_virtual_host_style(),
        };
        if let Some(class) = &self.storage_class {
            service = service.default_storage_class(class);
        }
        service = match (self.encryption, &self.kms_key) {
            (None, _) => service,
            (Some(Encryption::AES256), _) => service.server_side_encryption_with_s3_key(),
            // The host adds the key to each request that names the algorithm.
            (Some(Encryption::CustomerKey), _) => service.server_side_encryption_customer_algorithm("AES256"),
            (Some(Encryption::AwsKms), None) => service.server_side_encryption_with_aws_managed_kms_key(),
            (Some(Encryption::AwsKms), Some(key)) => service.server_side_encryption_with_customer_managed_kms_key(key),
        };
        if self.requester_pays {
            service.enable_request_payer()
        } else {
            service
        }
    }

    /// How requests are tried again.
    pub(crate) fn backoff(&self) -> Backoff {
        self.attempts.map_or_else(Backoff::default, Backoff::new)
    }

    /// What an object's key is added to for its path at the server: of the bucket, where the URL does not name it, and of the folder.
    pub(crate) fn path_of_folder(&self) -> String {
        let parts = [self.bucket.as_deref().unwrap_or_default(), self.prefix.trim_matches('/')];
        parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| format!("{part}/"))
            .collect()
    }

    /// Where the vault is, for messages.
    pub(crate) fn place(&self) -> String {
        let bucket = self
            .bucket
            .as_ref()
            .map_or_else(|| "the bucket".to_owned(), |bucket| format!("the bucket {bucket}"));
        match self.prefix.trim_matches('/') {
            "" => bucket,
            prefix => format!("{prefix}/ in {bucket}"),
        }
    }
}

/// The characters that S3's kin allow; which of them really is one, the server says.
fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<String> {
        let config: Config = bulkhead_sdk::config::parse(json).ok()?;
        config.check().err()?.setting
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        for (json, setting) in [
            (r#"{"bucket":"With/Folder"}"#, "bucket"),
            (r#"{"prefix":"a/../b"}"#, "prefix"),
            (r#"{"storage-class":"DEEP_ARCHIVE"}"#, "storage-class"),
            (r#"{"kms-key":"x","encryption":"AES256"}"#, "kms-key"),
            (r#"{"concurrency":65}"#, "concurrency"),
        ] {
            assert_eq!(refused(json).as_deref(), Some(setting), "{json}");
        }
        assert_eq!(
            refused(r#"{"bucket":"b.u-c9","prefix":"a/b","encryption":"aws:kms","kms-key":"x"}"#),
            None
        );
    }
}

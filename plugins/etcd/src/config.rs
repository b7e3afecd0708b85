//! What an operator writes under `config` of a pipeline ([`Config`]) and of a restore target ([`RestoreOptions`]).

use bulkhead_sdk::{Error, Result, config::ByteSize, retry::Attempts};
use schemars::JsonSchema;
use serde::Deserialize;

/// A state of the cluster in which a backup is refused by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// No member knows a leader: what is read may be older than what the cluster has agreed on.
    NoLeader,
    /// The alarm NOSPACE: the cluster refuses writes.
    NoSpace,
    /// The alarm CORRUPT: members disagree about the content.
    Corrupt,
}

/// What runs the cluster, for the runbook that goes into each snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// etcd by itself.
    #[default]
    Etcd,
    /// K3s with its embedded etcd.
    K3s,
    /// Kubernetes as kubeadm lays it out: etcd as a static pod.
    Kubeadm,
}

/// The config of a pipeline.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// The user to log in as, where authentication is enabled; it needs the role `root`. Its password is `secret.password`.
    pub user: Option<String>,
    /// What runs the cluster: `etcd` (the default), `k3s` or `kubeadm`. It decides what the runbook in the snapshot says.
    pub distribution: Distribution,
    /// Further files and folders that a cluster is rebuilt from, as `GRANT/PATH`: `config/k3s.yaml` is `k3s.yaml` in `directory.files-config`.
    pub files: Vec<String>,
    /// States in which a backup is taken all the same: `no-leader`, `no-space` (alarm NOSPACE), `corrupt` (alarm CORRUPT).
    pub accept: Vec<Accepted>,
    /// Do not ask the member for the hash of its content (`HashKV`), which reads all of it once more beside the snapshot. `verify` then has nothing to
    /// compare with but the snapshot's own checksums.
    pub skip_hash: bool,
    /// How often to try to reach a member that can be used: 3 by default, 1 to fail at once.
    pub attempts: Attempts,
}

impl Config {
    /// Checks what types cannot say.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.user.as_deref() == Some("") {
            return Err(Error::config("user", "the user to log in as is empty"));
        }
        for (index, file) in self.files.iter().enumerate() {
            let bad = |part: &str| matches!(part, "" | "." | "..");
            let (grant, path) = file.split_once('/').unwrap_or((file, ""));
            if grant.is_empty() || path.split('/').any(bad) {
                let message = format!("`{file}` does not name a grant and a path in it");
                return Err(Error::config(format!("files[{index}]"), message)
                    .with_hint("write `config/k3s.yaml` for the file `k3s.yaml` in `directory.files-config`"));
            }
        }
        Ok(())
    }

    pub(crate) fn accepts(&self, state: Accepted) -> bool {
        self.accept.contains(&state)
    }
}

/// What to do with a key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// Fail before anything is written.
    #[default]
    Fail,
    /// Leave it as it is.
    Skip,
    /// Overwrite it.
    Replace,
}

/// The config of a restore target.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RestoreOptions {
    /// The user to log in as, where authentication is enabled; its password is `secret.password`.
    pub user: Option<String>,
    /// Restore only keys that begin so.
    pub prefix: Option<String>,
    /// What takes the place of `prefix` in the restored keys.
    pub rename: Option<String>,
    /// What to do with keys that the cluster has already: `fail` (the default), `skip` or `replace`.
    pub existing: Existing,
    /// The most bytes that one transaction may have, such as `1 MiB`: below the servers' `--max-request-bytes`, which is 1.5 MiB by default.
    pub request_size: Option<ByteSize>,
    /// How often to try to reach a cluster that is not ready: 3 by default, 1 to fail at once.
    pub attempts: Attempts,
}

/// One transaction where nothing else is said: well below 1.5 MiB.
const REQUEST_SIZE: ByteSize = ByteSize(1 << 20);
const LEAST_REQUEST: ByteSize = ByteSize(4 << 10);
const LARGEST_REQUEST: ByteSize = ByteSize(64 << 20);

impl RestoreOptions {
    pub(crate) fn validate(&self) -> Result<()> {
        if self.rename.is_some() && self.prefix.is_none() {
            return Err(
                Error::config("rename", "`rename` replaces `prefix`, which is not set").with_hint("set `prefix` to what is to be replaced")
            );
        }
        self.request_bytes().map(drop)
    }

    /// `request-size` in bytes.
    pub(crate) fn request_bytes(&self) -> Result<usize> {
        let size = self.request_size.unwrap_or(REQUEST_SIZE);
        let allowed = usize::try_from(size.0)
            .ok()
            .filter(|_| (LEAST_REQUEST..=LARGEST_REQUEST).contains(&size));
        allowed.ok_or_else(|| {
            Error::config(
                "request-size",
                format!("{size} is not between {LEAST_REQUEST} and {LARGEST_REQUEST}"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn config(json: &str) -> Result<Config> {
        let config: Config = bulkhead_sdk::config::parse(json)?;
        config.validate().map(|()| config)
    }

    fn setting<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().setting.unwrap()
    }

    #[test]
    fn an_empty_config_is_enough() {
        let config = config("{}").unwrap();
        assert_eq!((config.distribution, config.user), (Distribution::Etcd, None));
    }

    #[test]
    fn errors_name_the_setting() {
        assert_eq!(setting(config(r#"{"user":""}"#)), "user");
        assert_eq!(setting(config(r#"{"distribution":"k8s"}"#)), "distribution");
        for path in ["k3s.yaml", "config/", "/k3s.yaml", "config/../token", "config//x"] {
            assert_eq!(setting(config(&format!(r#"{{"files":["config/ok","{path}"]}}"#))), "files[1]");
        }
        assert_eq!(setting(config(r#"{"accept":["everything"]}"#)), "accept[0]");
    }

    #[test]
    fn a_request_has_a_size_with_a_unit() {
        let size = |text: &str| {
            let options: RestoreOptions = bulkhead_sdk::config::parse(&format!(r#"{{"request-size":"{text}"}}"#))?;
            options.request_bytes()
        };
        assert_eq!(size("512 KiB").unwrap(), 512 << 10);
        assert_eq!(size("2MiB").unwrap(), 2 << 20);
        assert_eq!(RestoreOptions::default().request_bytes().unwrap(), 1 << 20);
        for wrong in ["", "1", "1 KiB", "65 MiB", "1 GB", "99999999999999999999 MiB", "-1 MiB"] {
            assert_eq!(setting(size(wrong)), "request-size");
        }
        let alone = RestoreOptions {
            rename: Some("/b".into()),
            ..RestoreOptions::default()
        };
        assert_eq!(setting(alone.validate()), "rename");
    }
}

//! What an operator writes under `config` of a pipeline ([`Config`]) and of a restore target ([`RestoreOptions`]).

use std::{collections::BTreeMap, time::Duration};

use bulkhead_sdk::{Error, Result, config::Period, retry::Attempts};
use schemars::JsonSchema;
use serde::Deserialize;

/// How the dataset is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As a replica; key by key where the server does not offer replication.
    #[default]
    Auto,
    /// As a replica: one point in time.
    Replica,
    /// Key by key with SCAN and DUMP: every key as it was at some time during the run.
    Scan,
}

/// Which server of several is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// The master.
    #[default]
    Master,
    /// A replica that is in touch with its master; the master where there is none.
    Replica,
}

/// Sentinels to ask.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sentinel {
    /// The name that the Sentinels know the master by.
    pub master: String,
    /// The ACL user of the Sentinels themselves.
    #[serde(default)]
    pub user: Option<String>,
}

/// The config of a pipeline.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// How the dataset is read: `replica` (a point in time, by the replication protocol), `scan` (key by key, for managed servers without it), or `auto`
    /// (`replica` where the server offers it, the default).
    #[serde(default)]
    pub mode: Mode,
    /// The ACL user. Without it, `secret.password` is that of the user `default`.
    #[serde(default)]
    pub user: Option<String>,
    /// Ask Sentinels for the server; the pipeline grants them as `endpoint.sentinel`, and the servers as `discovered` of `endpoint.server`.
    #[serde(default)]
    pub sentinel: Option<Sentinel>,
    /// Which server is read where Sentinels or a cluster know several: `master` (the default) or `replica`.
    #[serde(default)]
    pub prefer: Prefer,
    /// Believe a dataset without any key. Otherwise it fails the run: an empty server is the wrong server more often than not.
    #[serde(default)]
    pub allow_empty: bool,
    /// How long ago a replica may have heard from its master: one that is silent for longer is not backed up. `30 s` by default; a master pings every ten
    /// seconds (`repl-ping-replica-period`).
    #[serde(default)]
    pub max_silence: Option<Period>,
    /// How often to try to reach a server that is not ready, and a cluster or Sentinels that are between two states: 3 by default, 1 to fail at once.
    #[serde(default)]
    pub attempts: Attempts,
}

/// The same where nothing is configured.
const MAX_SILENCE: Period = Period(Duration::from_secs(30));

impl Config {
    /// How long ago a replica may have heard from its master.
    pub(crate) fn max_silence(&self) -> Period {
        self.max_silence.unwrap_or(MAX_SILENCE)
    }

    /// Checks what types cannot say.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.user.as_deref() == Some("") {
            return Err(Error::config("user", "the user to connect as is empty"));
        }
        if let Some(sentinel) = &self.sentinel {
            if sentinel.master.is_empty() {
                return Err(Error::config("sentinel.master", "the master's name is empty"));
            }
            if sentinel.user.as_deref() == Some("") {
                return Err(Error::config("sentinel.user", "the Sentinels' user is empty"));
            }
        }
        Ok(())
    }
}

/// What happens to keys that are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// They end the restore before anything is written.
    #[default]
    Fail,
    /// They stay as they are.
    Skip,
    /// They are replaced.
    Replace,
}

/// The config of a restore target.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RestoreOptions {
    /// Restore only keys that match one of these patterns (`user:*`, as in KEYS); without it, all. Into a live server only.
    pub keys: Vec<String>,
    /// Restore only these databases; without it, all. Into a live server only.
    pub databases: Vec<u64>,
    /// Restore a database into another one: `{ "0" = 5 }`. Into a live server only.
    pub map_databases: BTreeMap<u64, u64>,
    /// What happens to keys that are there: `fail` before anything is written (the default), `skip` them or `replace` them.
    pub existing: Existing,
    /// Restore libraries of functions too. Without it, they are restored unless `keys` or `databases` choose.
    pub functions: Option<bool>,
    /// The ACL user of the server to restore into. Without it, the target's `secret.password` is that of the user `default`.
    pub user: Option<String>,
    /// Replace a `dump.rdb` that is in the directory.
    pub overwrite: bool,
    /// How often to try to reach a server that is not ready: 3 by default, 1 to fail at once.
    pub attempts: Attempts,
}

impl RestoreOptions {
    /// Whether a part is asked for.
    pub(crate) fn chooses(&self) -> bool {
        !self.keys.is_empty() || !self.databases.is_empty()
    }

    /// Whether libraries of functions are asked for.
    pub(crate) fn wants_functions(&self) -> bool {
        self.functions.unwrap_or(!self.chooses())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Config> {
        let config: Config = bulkhead_sdk::config::parse(json)?;
        config.validate().map(|()| config)
    }

    #[test]
    fn nothing_is_required_and_errors_name_the_setting() {
        let default = config("{}").unwrap();
        assert_eq!(
            (default.mode, default.prefer, default.allow_empty),
            (Mode::Auto, Prefer::Master, false)
        );
        for (json, setting) in [
            (r#"{"user":""}"#, "user"),
            (r#"{"mode":"copy"}"#, "mode"),
            (r#"{"sentinel":{"master":""}}"#, "sentinel.master"),
            (r#"{"sentinel":{}}"#, "sentinel.master"),
            (r#"{"prefer":"slave"}"#, "prefer"),
            (r#"{"usr":"x"}"#, "usr"),
        ] {
            assert_eq!(config(json).unwrap_err().setting.as_deref(), Some(setting), "{json}");
        }
    }

    #[test]
    fn a_choice_of_keys_leaves_functions_out_unless_they_are_asked_for() {
        let options = |json| bulkhead_sdk::config::parse::<RestoreOptions>(json).unwrap();
        assert!(options("{}").wants_functions());
        assert!(!options(r#"{"keys":["a*"]}"#).wants_functions());
        assert!(options(r#"{"keys":["a*"],"functions":true}"#).wants_functions());
        assert_eq!(options(r#"{"map-databases":{"0":5}}"#).map_databases[&0], 5);
    }
}

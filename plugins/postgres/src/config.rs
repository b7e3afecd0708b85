//! What an operator writes under `config` of a pipeline ([`Config`]) and of a restore target of mode `physical` ([`RestoreOptions`]); that of mode `logical` is
//! [`LiveOptions`](bulkhead_postgres_logical::LiveOptions).

use std::{collections::BTreeMap, time::Duration};

use bulkhead_postgres_client::Lsn;
use bulkhead_postgres_logical::{Content, Jobs, Parts};
use bulkhead_sdk::{
    Error, Result,
    config::{ByteSize, Period},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The whole cluster, file by file, with the write-ahead log that makes it consistent.
    Physical,
    /// Databases as SQL and rows, read in one transaction each.
    Logical,
    /// The write-ahead log, streamed as the server writes it, for recovery to any moment.
    Wal,
}

/// How the server makes the checkpoint that a physical backup begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Checkpoint {
    /// At once, with as much I/O as it takes.
    #[default]
    Fast,
    /// Over a part of the server's `checkpoint_timeout`: the backup waits for minutes, other users notice less.
    Spread,
}

/// Whether a physical backup reads only what has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Incremental {
    /// Where the server tells what has changed, and the last snapshot can be built on.
    #[default]
    Auto,
    /// All is read each time.
    Never,
}

/// The config of a pipeline.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// What a snapshot holds: `physical`, the whole cluster, file by file; `logical`, databases as SQL that any later version of PostgreSQL takes; `wal`,
    /// the write-ahead log, streamed continuously, which brings a `physical` snapshot to any later moment.
    pub mode: Mode,
    /// The role to connect as. `physical` and `wal` need one with REPLICATION and a line for database `replication` in pg_hba.conf; `logical` one that may read
    /// everything: a superuser, or a member of `pg_read_all_data` where there are no large objects of others.
    pub user: String,
    /// How the server makes the checkpoint that the backup begins with: `fast` (at once, the default) or `spread` (over minutes).
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// The most that the server sends, such as `50 MiB/s`; between 32 KiB/s and 1 GiB/s. Without it, as fast as it goes.
    #[serde(default)]
    pub max_rate: Option<String>,
    /// `physical`: `auto` (the default) reads from PostgreSQL 17 on only what has changed since the last snapshot, where the server has `summarize_wal = on`, was not restarted
    /// since, and lets the role use SQL in database `postgres`; the snapshot is as complete as any. `never` reads everything each time.
    #[serde(default)]
    pub incremental: Incremental,
    /// Keep a backup although the server found pages with wrong checksums in it. It is then a finding; otherwise it fails the run.
    #[serde(default)]
    pub accept_damaged_pages: bool,
    /// Give the password to a server that asks for it in clear text over a TCP connection without TLS, where everybody on the way can read it.
    #[serde(default)]
    pub allow_cleartext_password: bool,
    /// `logical`: the database to connect to first, `postgres` by default.
    #[serde(default)]
    pub database: Option<String>,
    /// `logical`: the databases to back up, by name or pattern (`shop-*`). Without it, all that there are.
    #[serde(default)]
    pub databases: Vec<String>,
    /// `logical`: databases to leave out, by name or pattern.
    #[serde(default)]
    pub exclude_databases: Vec<String>,
    /// `logical`: only these schemas, by name or pattern, with what is in them and what that needs.
    #[serde(default)]
    pub schemas: Vec<String>,
    /// `logical`: schemas to leave out, likewise.
    #[serde(default)]
    pub exclude_schemas: Vec<String>,
    /// `logical`: only these tables, views and sequences, by pattern with the schema (`public.order_*`), with what belongs to them and what that needs; beside `schemas`.
    #[serde(default)]
    pub tables: Vec<String>,
    /// `logical`: tables, views and sequences to leave out, likewise.
    #[serde(default)]
    pub exclude_tables: Vec<String>,
    /// `logical`: `all` (the default), `schema` (without rows, values and large objects) or `data` (only these).
    #[serde(default)]
    pub content: Content,
    /// `logical`: tables whose rows are not backed up, by pattern (`public.log_*`); they come back empty. With `["*"]` no rows are backed up at all.
    #[serde(default)]
    pub exclude_data: Vec<String>,
    /// `logical`: of these tables only the rows that an SQL condition holds for: `{ "public.events" = "at > now() - interval '90 days'" }`.
    #[serde(default)]
    pub rows: BTreeMap<String, String>,
    /// `logical`: how many connections read rows at the same time, in one snapshot; 1 by default. Each beyond the first is an instance of the plugin, of which `limits.parts` work
    /// at once.
    #[serde(default)]
    pub jobs: Jobs,
    /// `logical`: how long to wait for whoever has locked a table, `30 s` by default.
    #[serde(default)]
    pub lock_timeout: Option<Period>,
    /// `wal`: the replication slot that keeps the log on the server until the vault has it, `bulkhead` by default; it is made where it is missing. Lower-case
    /// letters, digits and `_`.
    #[serde(default)]
    pub slot: Option<String>,
    /// `wal`: how long what was received may wait for its commit, `60 s` by default: so much may be lost with the server.
    #[serde(default)]
    pub interval: Option<Period>,
    /// `wal`: when a run ends: `caught-up`, when it has what the server had at its beginning; or after a time, such as `1 h`. By default after 19 hours, an hour
    /// before the default limit of a run ends it.
    #[serde(default)]
    pub until: Option<String>,
    /// `wal`: the position of the log, such as `16/B374D848`, before which it is left out of further snapshots, in steps of 4 GiB. Where a pipeline names this one
    /// with `wal`, it is where the oldest base backup begins that is kept, and this setting may only be lower. Else all of the log is kept without it.
    #[serde(default)]
    pub expire_before: Option<String>,
    /// `wal`: made by `bulkhead wal-push`: names of files in `directory.log` to store, instead of following the server.
    #[serde(default)]
    pub push: Vec<String>,
    /// `wal`: made by `bulkhead wal-verify`: whether `verify` reads the pages of every segment, too.
    #[serde(default)]
    pub pages: bool,
    /// `wal`: how much log the server may keep for the slot before `check` and the log warn, `1 GiB` by default.
    #[serde(default)]
    pub slot_warning: Option<ByteSize>,
}

/// When a run of mode `wal` ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// With what the server had when the run began.
    CaughtUp,
    /// After this time.
    After(Duration),
}

/// The slot's name, where nothing is configured.
const SLOT: &str = "bulkhead";

/// How long received log may wait, where nothing is configured.
const INTERVAL: Duration = Duration::from_secs(60);

/// Commits cost a snapshot each: below this, they would be most of the work.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// An hour less than the `wall-clock` limit of a run by default.
const UNTIL: Duration = Duration::from_secs(19 * 3600);

/// What the server may keep for the slot without a warning, where nothing is configured.
const SLOT_WARNING: u64 = 1 << 30;

/// How long a table may be locked by somebody else, where nothing is configured.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The database that every cluster has.
const MAINTENANCE_DATABASE: &str = "postgres";

impl Config {
    /// The database to connect to first.
    pub(crate) fn database(&self) -> &str {
        self.database.as_deref().unwrap_or(MAINTENANCE_DATABASE)
    }

    /// The parts of each database that are wanted.
    pub(crate) fn parts(&self) -> Parts {
        Parts {
            schemas: self.schemas.clone(),
            exclude_schemas: self.exclude_schemas.clone(),
            tables: self.tables.clone(),
            exclude_tables: self.exclude_tables.clone(),
            content: self.content,
        }
    }

    /// How long to wait for a lock.
    pub(crate) fn lock_timeout(&self) -> Duration {
        self.lock_timeout.map_or(LOCK_TIMEOUT, |period| period.0)
    }

    /// The replication slot's name.
    pub(crate) fn slot(&self) -> &str {
        self.slot.as_deref().unwrap_or(SLOT)
    }

    /// How long received log may wait for its commit.
    pub(crate) fn interval(&self) -> Duration {
        self.interval.map_or(INTERVAL, |period| period.0)
    }

    /// When a run of mode `wal` ends.
    pub(crate) fn until(&self) -> Until {
        self.parsed_until().unwrap_or(Until::After(UNTIL))
    }

    /// Bytes of log that the server may keep for the slot without a warning.
    pub(crate) fn slot_warning(&self) -> u64 {
        self.slot_warning.map_or(SLOT_WARNING, |size| size.0)
    }

    /// Before which position the log is left out.
    pub(crate) fn expire_before(&self) -> Result<Option<Lsn>> {
        let wrong = |text| {
            Error::config("expire-before", format!("`{text}` is not a position of the log")).with_hint("write it as in `16/B374D848`")
        };
        self.expire_before
            .as_deref()
            .map(|text| text.parse().map_err(|_| wrong(text)))
            .transpose()
    }

    fn parsed_until(&self) -> Result<Until> {
        match self.until.as_deref() {
            None => Ok(Until::After(UNTIL)),
            Some("caught-up") => Ok(Until::CaughtUp),
            Some(text) => Period::parse(text).map(|period| Until::After(period.0)).map_err(|error| {
                Error::config("until", format!("`{text}` is not when a run ends: {error}"))
                    .with_hint("write `caught-up`, or a time such as `1 h`")
            }),
        }
    }

    /// The first setting that this mode does not have.
    fn foreign_setting(&self) -> Option<&'static str> {
        let settings = [
            (Mode::Logical, "database", self.database.is_some()),
            (Mode::Logical, "databases", !self.databases.is_empty()),
            (Mode::Logical, "exclude-databases", !self.exclude_databases.is_empty()),
            (Mode::Logical, "lock-timeout", self.lock_timeout.is_some()),
            (Mode::Logical, "schemas", !self.schemas.is_empty()),
            (Mode::Logical, "exclude-schemas", !self.exclude_schemas.is_empty()),
            (Mode::Logical, "tables", !self.tables.is_empty()),
            (Mode::Logical, "exclude-tables", !self.exclude_tables.is_empty()),
            (Mode::Logical, "content", self.content != Content::default()),
            (Mode::Logical, "jobs", self.jobs != Jobs::default()),
            (Mode::Logical, "exclude-data", !self.exclude_data.is_empty()),
            (Mode::Logical, "rows", !self.rows.is_empty()),
            (Mode::Physical, "checkpoint", self.checkpoint != Checkpoint::default()),
            (Mode::Physical, "max-rate", self.max_rate.is_some()),
            (Mode::Physical, "incremental", self.incremental != Incremental::default()),
            (Mode::Physical, "accept-damaged-pages", self.accept_damaged_pages),
            (Mode::Wal, "slot", self.slot.is_some()),
            (Mode::Wal, "interval", self.interval.is_some()),
            (Mode::Wal, "until", self.until.is_some()),
            (Mode::Wal, "expire-before", self.expire_before.is_some()),
            (Mode::Wal, "push", !self.push.is_empty()),
            (Mode::Wal, "pages", self.pages),
            (Mode::Wal, "slot-warning", self.slot_warning.is_some()),
        ];
        let mut foreign = settings.iter().filter(|(mode, _, set)| *set && *mode != self.mode);
        foreign.next().map(|(_, name, _)| *name)
    }

    /// Checks what types cannot say.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.user.is_empty() {
            return Err(Error::config("user", "the role to connect as is empty"));
        }
        if let Some(setting) = self.foreign_setting() {
            return Err(Error::config(setting, "this setting belongs to another mode"));
        }
        self.validate_wal()?;
        self.max_rate_kib().map(|_| ())
    }

    /// Settings of mode `wal`.
    fn validate_wal(&self) -> Result<()> {
        /// The longest identifier of PostgreSQL, in bytes.
        const LONGEST_NAME: usize = 63;
        let slot = self.slot();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        // The name goes into commands as it is, so this is more than politeness.
        if slot.is_empty() || slot.len() > LONGEST_NAME || !slot.bytes().all(allowed) {
            return Err(Error::config("slot", format!("`{slot}` is not a replication slot's name"))
                .with_hint("PostgreSQL takes 1 to 63 lower-case letters, digits and `_`"));
        }
        if self.interval() < SHORTEST_INTERVAL {
            return Err(Error::config("interval", "a commit takes longer than this interval").with_hint("write `1 s` or more"));
        }
        self.expire_before()?;
        self.parsed_until().map(|_| ())
    }

    /// `max-rate` in the unit of `BASE_BACKUP`, KiB a second.
    pub(crate) fn max_rate_kib(&self) -> Result<Option<u32>> {
        const RANGE: std::ops::RangeInclusive<u64> = 32..=1 << 20;
        let Some(text) = &self.max_rate else { return Ok(None) };
        let wrong = |what: &str| {
            Error::config("max-rate", format!("`{text}` {what}"))
                .with_hint("write a number and a unit, such as `50 MiB/s`; units are KiB/s, MiB/s and GiB/s")
        };
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = match unit.trim() {
            "KiB/s" => 1,
            "MiB/s" => 1 << 10,
            "GiB/s" => 1 << 20,
            _ => return Err(wrong("is not a rate")),
        };
        let rate = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .ok_or_else(|| wrong("is not a rate"))?;
        match u32::try_from(rate) {
            Ok(kib) if RANGE.contains(&rate) => Ok(Some(kib)),
            _ => Err(wrong("is outside of what PostgreSQL takes, 32 KiB/s to 1 GiB/s")),
        }
    }
}

/// The config of a restore target of mode `physical`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RestoreOptions {
    /// Who owns the restored files: `auto` (the original owner where this process may do that, the default), `original` (fail where it may not),
    /// `current` (whoever Bulkhead runs as), or numbers as in `101:104`.
    pub owner: Option<String>,
    /// Write `standby.signal`, so that the cluster starts as a standby; its `primary_conninfo` is for you to set.
    pub standby: bool,
    /// Made by `bulkhead restore --to-…`: how the server brings the cluster to a moment.
    pub recovery: Option<Recovery>,
    /// Made by `bulkhead restore --delta`: bring the cluster that is there up to the snapshot.
    pub delta: Option<Delta>,
}

/// How a cluster that is there is brought up to a snapshot.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Delta {
    /// Say what would be done, and write nothing.
    pub dry_run: bool,
}

/// What a restored cluster does when it is started.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recovery {
    /// Stay a standby (`standby.signal`) instead of ending the recovery (`recovery.signal`).
    pub standby: bool,
    /// Settings of the server with their values, for `postgresql.auto.conf`.
    pub settings: Vec<(String, String)>,
}

/// `owner`, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Auto,
    Original,
    Current,
    Fixed { uid: u32, gid: u32 },
}

impl RestoreOptions {
    pub(crate) fn owner(&self) -> Result<Owner> {
        match self.owner.as_deref() {
            None | Some("auto") => Ok(Owner::Auto),
            Some("original") => Ok(Owner::Original),
            Some("current") => Ok(Owner::Current),
            Some(numbers) => numbers
                .split_once(':')
                .and_then(|(uid, gid)| {
                    Some(Owner::Fixed {
                        uid: uid.parse().ok()?,
                        gid: gid.parse().ok()?,
                    })
                })
                .ok_or_else(|| {
                    Error::config("owner", format!("`{numbers}` is not an owner"))
                        .with_hint("write `auto`, `original`, `current`, or numbers as in `101:104` (id -u postgres, id -g postgres)")
                }),
        }
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

    fn rate(text: &str) -> Result<Option<u32>> {
        config(&format!(r#"{{"mode":"physical","user":"backup","max-rate":"{text}"}}"#)).and_then(|config| config.max_rate_kib())
    }

    #[test]
    fn rates_carry_units_and_have_bounds() {
        assert_eq!(rate("50 MiB/s").unwrap(), Some(51_200));
        assert_eq!(rate("32KiB/s").unwrap(), Some(32));
        assert_eq!(rate("1 GiB/s").unwrap(), Some(1 << 20));
        for wrong in [
            "",
            "50",
            "50 MB",
            "-1 MiB/s",
            "31 KiB/s",
            "2 GiB/s",
            "99999999999999999999 KiB/s",
            "18446744073709551615 GiB/s",
        ] {
            assert_eq!(rate(wrong).unwrap_err().setting.as_deref(), Some("max-rate"), "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_setting() {
        assert_eq!(
            config(r#"{"mode":"physical","user":""}"#).unwrap_err().setting.as_deref(),
            Some("user")
        );
        assert_eq!(config(r#"{"mode":"physical"}"#).unwrap_err().setting.as_deref(), Some("user"));
        assert_eq!(
            config(r#"{"mode":"fysical","user":"x"}"#).unwrap_err().setting.as_deref(),
            Some("mode")
        );
        assert_eq!(
            config(r#"{"mode":"physical","user":"x","chekpoint":"fast"}"#)
                .unwrap_err()
                .setting
                .as_deref(),
            Some("chekpoint")
        );
    }

    #[test]
    fn settings_of_another_mode_are_refused() {
        for (json, setting) in [
            (r#"{"mode":"wal","user":"x","max-rate":"1 MiB/s"}"#, "max-rate"),
            (r#"{"mode":"physical","user":"x","slot":"a"}"#, "slot"),
            (r#"{"mode":"physical","user":"x","databases":["a"]}"#, "databases"),
            (r#"{"mode":"logical","user":"x","max-rate":"1 MiB/s"}"#, "max-rate"),
        ] {
            assert_eq!(config(json).unwrap_err().setting.as_deref(), Some(setting));
        }
        assert_eq!(config(r#"{"mode":"logical","user":"x"}"#).unwrap().database(), "postgres");
    }

    #[test]
    fn the_log_is_followed_until_something() {
        let until = |text: &str| config(&format!(r#"{{"mode":"wal","user":"x","until":"{text}"}}"#));
        assert_eq!(until("caught-up").unwrap().until(), Until::CaughtUp);
        assert_eq!(until("90 s").unwrap().until(), Until::After(Duration::from_secs(90)));
        assert_eq!(until("for ever").unwrap_err().setting.as_deref(), Some("until"));
        for (setting, value) in [("slot", "Bulk-head"), ("slot", ""), ("slot", "a; DROP"), ("interval", "10 ms")] {
            let error = config(&format!(r#"{{"mode":"wal","user":"x","{setting}":"{value}"}}"#)).unwrap_err();
            assert_eq!(error.setting.as_deref(), Some(setting), "{value}");
        }
    }

    #[test]
    fn owners_are_words_or_numbers() {
        let owner = |text: &str| {
            RestoreOptions {
                owner: Some(text.into()),
                ..RestoreOptions::default()
            }
            .owner()
        };
        assert_eq!(RestoreOptions::default().owner().unwrap(), Owner::Auto);
        assert_eq!(owner("101:104").unwrap(), Owner::Fixed { uid: 101, gid: 104 });
        assert_eq!(owner("postgres").unwrap_err().setting.as_deref(), Some("owner"));
    }
}

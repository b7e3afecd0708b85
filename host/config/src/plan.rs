//! What an operation would do, before anything is done: [`Plan`], to be printed, serialized, and held against what was meant.
//!
//! No I/O: a plan is what the text says. It names every grant, limit and place of every plugin that would run.

use std::fmt;

use bulkhead_units::Period;
use serde::Serialize;

use crate::{
    Config, Pipeline,
    bandwidth::Bandwidth,
    blot::is_of_a_secret,
    endpoint::{Auth, Destination, Endpoint},
    grants::{Access, Grants},
    hooks::Hooks,
    limits::Limits,
    parts::{Sink, Target, Vault},
    policy::{Expectations, Objectives, Retention, Schedule},
};

/// What an operation on one pipeline would do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The pipeline.
    pub pipeline: String,
    /// What is planned.
    pub operation: PlannedOperation,
    /// Its source and what it may touch.
    pub source: PlannedPlugin,
    /// The vault.
    pub vault: PlannedVault,
    /// What a snapshot must be like.
    pub expect: Expectations,
    /// When it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// What is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
    /// What is run before and after.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

/// What is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedOperation {
    /// Take a snapshot.
    Run,
    /// Restore through the plugin into this target.
    Restore {
        /// The target.
        target: String,
    },
}

/// A plugin and what it may touch.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedPlugin {
    /// Its name.
    pub plugin: String,
    /// The component's file; `None` where it is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<std::path::PathBuf>,
    /// The digest it must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its own config, without the values of keys that are named like secrets.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What it may touch.
    pub grants: Grants,
    /// Its limits, defaults included.
    pub limits: Limits,
    /// The limits that were set in the file.
    #[serde(skip)]
    set_limits: Limits,
}

/// The vault of a plan.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedVault {
    /// Its name.
    pub name: String,
    /// Where its password comes from.
    pub key: crate::SecretSource,
    /// Regions that its data may be in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub residency: Vec<String>,
    /// Where its objects go, in order.
    pub sinks: Vec<PlannedSink>,
    /// Vaults that are fed from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<PlannedCopy>,
}

/// A vault that is fed from that of a plan.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedCopy {
    /// Its name.
    pub vault: String,
    /// Which snapshots it gets; all where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Retention>,
}

/// A sink of a plan.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedSink {
    /// Its name.
    pub name: String,
    /// Whether a run fails without it.
    pub required: bool,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How fast it may be written to, by the time of day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// For how long nobody can remove what is stored there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Period>,
    /// How long its store takes to bring back an object before it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Period>,
    /// Its plugin and what it may touch.
    #[serde(flatten)]
    pub plugin: PlannedPlugin,
}

/// What limits are where nothing is set; the plugin runtime knows.
#[derive(Debug, Clone)]
pub struct DefaultLimits {
    /// Of a source.
    pub source: Limits,
    /// Of a sink.
    pub sink: Limits,
}

impl Plan {
    /// What a run of `pipeline` would do. `None` if its vault or a sink is not in `config`, which a parsed one rules out.
    #[must_use]
    pub fn run(config: &Config, pipeline: &Pipeline, defaults: &DefaultLimits) -> Option<Self> {
        let source = planned(
            config,
            &pipeline.plugin,
            &pipeline.config,
            &pipeline.grants,
            &pipeline.limits,
            &defaults.source,
        );
        Self::of(config, pipeline, PlannedOperation::Run, source, defaults)
    }

    /// What a restore of `pipeline` into `target` would do.
    #[must_use]
    pub fn restore(config: &Config, pipeline: &Pipeline, target: &Target, defaults: &DefaultLimits) -> Option<Self> {
        let source = planned(
            config,
            &pipeline.plugin,
            &target.config,
            &target.grants,
            &target.limits,
            &defaults.source,
        );
        Self::of(
            config,
            pipeline,
            PlannedOperation::Restore {
                target: target.name.clone(),
            },
            source,
            defaults,
        )
    }

    fn of(
        config: &Config,
        pipeline: &Pipeline,
        operation: PlannedOperation,
        source: PlannedPlugin,
        defaults: &DefaultLimits,
    ) -> Option<Self> {
        Some(Self {
            pipeline: pipeline.name.clone(),
            operation,
            source,
            vault: planned_vault(config, config.vault(&pipeline.vault)?, defaults)?,
            expect: pipeline.expect.clone(),
            schedule: pipeline.schedule.clone(),
            retention: pipeline.retention.clone(),
            objectives: pipeline.objectives.clone(),
            hooks: pipeline.hooks.clone(),
        })
    }
}

/// What follows policies that are read, and left to others.
const NOT_YET: &str = "; this version doesn't see to it";

/// What stands for a value that may be a secret by its name: a plan is shown to others.
const BLOTTED: &str = "…";

fn without_secrets(config: &serde_json::Map<String, serde_json::Value>) -> serde_json::Map<String, serde_json::Value> {
    config.iter().map(|(key, value)| (key.clone(), blotted(key, value))).collect()
}

/// The value of `key`; what is in an array counts as a value of the array's key.
fn blotted(key: &str, value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Array(_) if is_of_a_secret(key) => BLOTTED.into(),
        serde_json::Value::Object(inner) => without_secrets(inner).into(),
        serde_json::Value::Array(items) => items.iter().map(|item| blotted(key, item)).collect(),
        _ if is_of_a_secret(key) => BLOTTED.into(),
        other => other.clone(),
    }
}

fn planned(
    config: &Config,
    plugin: &str,
    plugin_config: &serde_json::Map<String, serde_json::Value>,
    grants: &Grants,
    limits: &Limits,
    defaults: &Limits,
) -> PlannedPlugin {
    let file = config.plugin(plugin);
    PlannedPlugin {
        plugin: plugin.to_owned(),
        path: file.map(|file| file.path.clone()),
        sha256: file.and_then(|file| file.sha256.clone()),
        config: without_secrets(plugin_config),
        grants: grants.clone(),
        limits: limits.or(defaults),
        set_limits: limits.clone(),
    }
}

fn planned_vault(config: &Config, vault: &Vault, defaults: &DefaultLimits) -> Option<PlannedVault> {
    let sink = |(at, name): (usize, &String)| {
        let sink: &Sink = config.sink(name)?;
        Some(PlannedSink {
            name: sink.name.clone(),
            required: at == 0,
            region: sink.region.clone(),
            bandwidth: sink.bandwidth.clone(),
            lock: sink.lock,
            retrieval: sink.retrieval,
            plugin: planned(config, &sink.plugin, &sink.config, &sink.grants, &sink.limits, &defaults.sink),
        })
    };
    Some(PlannedVault {
        name: vault.name.clone(),
        key: vault.key.clone(),
        residency: vault.residency.clone(),
        sinks: vault.sinks.iter().enumerate().map(sink).collect::<Option<_>>()?,
        copies: config.vaults.iter().filter_map(|other| planned_copy(vault, other)).collect(),
    })
}

/// What `other` gets of `vault`.
fn planned_copy(vault: &Vault, other: &Vault) -> Option<PlannedCopy> {
    let copy = other.copy.as_ref().filter(|copy| copy.from == vault.name)?;
    Some(PlannedCopy {
        vault: other.name.clone(),
        select: copy.select.clone(),
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operation {
            PlannedOperation::Run => writeln!(formatter, "run {}", self.pipeline)?,
            PlannedOperation::Restore { target } => writeln!(formatter, "restore {} into {target}", self.pipeline)?,
        }
        self.source.write("  source", formatter)?;
        self.vault.write(formatter)?;
        if self.operation == PlannedOperation::Run {
            self.write_policy(formatter)?;
        }
        Ok(())
    }
}

impl Plan {
    fn write_policy(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expect = &self.expect;
        writeln!(
            formatter,
            "  expects   at least {} {} and {}, no more than {} smaller than the last snapshot",
            expect.min_entries,
            if expect.min_entries == 1 { "entry" } else { "entries" },
            expect.min_bytes,
            expect.max_shrink
        )?;
        for (word, command) in [("before ", &self.hooks.before), ("after  ", &self.hooks.after)] {
            if !command.is_empty() {
                writeln!(formatter, "  {word}   {}", command.join(" "))?;
            }
        }
        if let Some(schedule) = &self.schedule {
            let jitter = schedule.jitter.map(|jitter| format!(", up to {jitter} later")).unwrap_or_default();
            writeln!(
                formatter,
                "  schedule  {} ({}){jitter}{NOT_YET}",
                schedule.cron.expression, schedule.timezone
            )?;
        }
        if let Some(retention) = &self.retention {
            writeln!(formatter, "  keeps     {retention}, when `bulkhead forget` is called")?;
        }
        if let Some(objectives) = &self.objectives {
            let rpo = objectives.rpo.map(|rpo| format!("at most {rpo} lost"));
            let rto = objectives.rto.map(|rto| format!("back within {rto}"));
            writeln!(
                formatter,
                "  promises  {}{NOT_YET}",
                rpo.into_iter().chain(rto).collect::<Vec<_>>().join(", ")
            )?;
        }
        Ok(())
    }
}

impl PlannedVault {
    fn write(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let residency = if self.residency.is_empty() {
            String::new()
        } else {
            format!(", only in {}", self.residency.join(" or "))
        };
        writeln!(formatter, "  vault     {}{residency}", self.name)?;
        writeln!(formatter, "    key     {}", self.key)?;
        for sink in &self.sinks {
            let role = if sink.required { "must succeed" } else { "catches up" };
            let region = sink.region.as_ref().map(|region| format!(", in {region}")).unwrap_or_default();
            let bandwidth = sink
                .bandwidth
                .as_ref()
                .map(|bandwidth| format!(", {bandwidth}"))
                .unwrap_or_default();
            let lock = sink.lock.map(|lock| format!(", locked for {lock}")).unwrap_or_default();
            let retrieval = sink
                .retrieval
                .map(|time| format!(", read after a retrieval of {time}"))
                .unwrap_or_default();
            writeln!(formatter, "  sink      {} ({role}{region}{bandwidth}{lock}{retrieval})", sink.name)?;
            sink.plugin.write("    plugin", formatter)?;
        }
        for copy in &self.copies {
            let select = copy.select.as_ref().map(|select| format!(" ({select})")).unwrap_or_default();
            writeln!(formatter, "  copied    to {}{select}, when `bulkhead copy` is called", copy.vault)?;
        }
        Ok(())
    }
}

impl PlannedPlugin {
    fn write(&self, title: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match (&self.path, &self.sha256) {
            (None, _) => "built in".to_owned(),
            (Some(path), None) => format!("{}, any digest", path.display()),
            (Some(path), Some(digest)) => format!("{}, sha256:{digest}", path.display()),
        };
        writeln!(formatter, "{title:<11} {} ({origin})", self.plugin)?;
        if !self.config.is_empty() {
            writeln!(formatter, "    config  {}", serde_json::Value::from(self.config.clone()))?;
        }
        for endpoint in &self.grants.endpoints {
            writeln!(formatter, "    may     connect to {} as `{}`", describe(endpoint), endpoint.name)?;
        }
        for directory in &self.grants.directories {
            let verb = match directory.access {
                Access::ReadOnly => "read",
                Access::ReadWrite => "read and write",
            };
            writeln!(formatter, "    may     {verb} {} as `{}`", directory.path.display(), directory.name)?;
        }
        for secret in &self.grants.secrets {
            writeln!(formatter, "    may     see the secret `{}` ({})", secret.name, secret.source)?;
        }
        if self.grants == Grants::default() {
            writeln!(formatter, "    may     touch nothing")?;
        }
        let set = self.set_limits.settings();
        let limits = self
            .limits
            .settings()
            .into_iter()
            .filter(|(key, _)| matches!(*key, "memory" | "wall-clock") || set.iter().any(|(name, _)| name == key));
        let limits: Vec<String> = limits.map(|(key, value)| format!("{key} {value}")).collect();
        if limits.is_empty() {
            Ok(())
        } else {
            writeln!(formatter, "    limits  {}", limits.join(", "))
        }
    }
}

fn describe(endpoint: &Endpoint) -> String {
    let place = match &endpoint.destination {
        Destination::Addresses(addresses) => addresses.join(", "),
        Destination::Socket(path) => path.display().to_string(),
        Destination::Url(url) => url.clone(),
    };
    let discovered = if endpoint.discovered.is_empty() {
        String::new()
    } else {
        format!(" and {}", endpoint.discovered.join(", "))
    };
    let tls = match endpoint.destination {
        Destination::Url(_) => String::new(),
        _ => format!(", TLS {}", endpoint.tls.mode.word()),
    };
    let auth = match &endpoint.auth {
        None => "",
        Some(Auth::Basic { .. }) => ", the host adds user and password",
        Some(Auth::Bearer(_)) => ", the host adds a bearer token",
        Some(Auth::ServiceAccount(_) | Auth::RefreshToken(_)) => ", the host adds a Google token",
        Some(Auth::Aws { customer_key: None, .. }) => ", the host signs for AWS",
        Some(Auth::Aws { .. }) => ", the host signs for AWS and adds its `customer-key` where the plugin encrypts with it",
    };
    format!("{place}{discovered}{tls}{auth}")
}

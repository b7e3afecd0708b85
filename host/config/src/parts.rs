//! The four kinds of tables that a configuration is made of: plugins, vaults, sinks and pipelines (with their restore targets).

use std::{path::PathBuf, time::Duration};

use bulkhead_units::{ByteSize, Period};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{
    bandwidth::Bandwidth,
    copy::Copy,
    diagnostic::Diagnostic,
    grants::{self, Grants},
    hooks::Hooks,
    limits::{Limits, positive},
    policy::{Expectations, Objectives, Retention, Schedule},
    reader::{Fields, FromNode, Reader, is_kebab_case, reference, wrong_type},
    secret::{SECRET_EXAMPLE, SecretSource},
    template::Instance,
    tree::{Entry, Node, Span, Table, Value},
};

/// Where something was written, so that a failure at run time can be shown there.
#[derive(Debug, Clone)]
pub struct Origin {
    pub(crate) place: Span,
    pub(crate) table: Table,
}

/// A plugin that is not built in.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plugin {
    /// What `plugin = "…"` calls it.
    pub name: String,
    /// The component.
    pub path: PathBuf,
    /// The digest that it must have: SHA-256, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Largest component to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_size: Option<ByteSize>,
    /// Longest time to compile it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile_time: Option<Period>,
    /// Where it is written.
    #[serde(skip)]
    pub origin: Origin,
}

/// An encrypted, deduplicating repository on sinks that are replicas of each other.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Its name.
    pub name: String,
    /// The password that opens it.
    pub key: SecretSource,
    /// Names of its sinks; the first must succeed, the others catch up.
    pub sinks: Vec<String>,
    /// Regions that its data may be in; empty where that doesn't matter.
    pub residency: Vec<String>,
    /// How old a key may get before `check` says so.
    pub key_max_age: Period,
    /// What it gets from another vault.
    pub copy: Option<Copy>,
    /// How long snapshots stay of pipelines that write to another vault: those that were copied here. For ever where `None`.
    pub retention: Option<Retention>,
    /// Where it is written.
    pub origin: Origin,
}

/// How old a key may get where nothing is configured: a year, after which most rules ask for another one.
const KEY_MAX_AGE: Period = Period(Duration::from_secs(365 * 86_400));

/// A place for the objects of vaults: a plugin with what it may touch.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// Its plugin.
    pub plugin: String,
    /// Where it is, for residency.
    pub region: Option<String>,
    /// What its plugin may touch.
    pub grants: Grants,
    /// The plugin's own config.
    pub config: Map<String, Json>,
    /// How fast it may be written to, by the time of day.
    pub bandwidth: Option<Bandwidth>,
    /// For how long nobody can remove what is stored there.
    pub lock: Option<Period>,
    /// How long its store takes to bring back an object before it can be read; it can be read at once where `None`.
    pub retrieval: Option<Period>,
    /// Limits of its plugin, `[limits]` included.
    pub limits: Limits,
    /// Where it is written.
    pub origin: Origin,
}

/// One source, the vault that it writes to, and their policy.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name: `name`, or `template.key` where a template made it.
    pub name: String,
    /// The template that made it.
    pub template: Option<String>,
    /// Its plugin.
    pub plugin: String,
    /// What its plugin may touch.
    pub grants: Grants,
    /// The plugin's own config.
    pub config: Map<String, Json>,
    /// The vault that its snapshots go to.
    pub vault: String,
    /// The pipeline that stores the write-ahead log which brings a snapshot of this one forward, where there is one.
    pub wal: Option<String>,
    /// When it runs.
    pub schedule: Option<Schedule>,
    /// How long its snapshots stay; for ever where `None`.
    pub retention: Option<Retention>,
    /// What is promised.
    pub objectives: Option<Objectives>,
    /// What a snapshot must be like.
    pub expect: Expectations,
    /// What is run before and after.
    pub hooks: Hooks,
    /// Limits of its plugin, `[limits]` included.
    pub limits: Limits,
    /// Where it can be restored to through its plugin.
    pub targets: Vec<Target>,
    /// Where it is written.
    pub origin: Origin,
}

/// Somewhere to restore to, with grants of its own.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What the plugin may touch in such a restore.
    pub grants: Grants,
    /// Options of the restore, the plugin's own.
    pub config: Map<String, Json>,
    /// Limits, those of the pipeline where nothing is set.
    pub limits: Limits,
    /// Where it is written.
    pub origin: Origin,
}

pub(crate) fn plugin(entry: &Entry, reader: &mut Reader<'_>) -> Option<Plugin> {
    let mut fields = Fields::open_entry(entry, &format!("plugin.{}", entry.key), reader)?;
    let path = fields.required("path", "\"/usr/lib/bulkhead/….wasm\"", reader);
    let digest = fields.optional::<Digest>("digest", reader);
    let component_size = positive("component-size", &mut fields, reader);
    let compile_time = positive("compile-time", &mut fields, reader);
    fields.close(reader);
    Some(Plugin {
        name: entry.key.clone(),
        path: path?,
        sha256: digest.map(|digest| digest.0),
        component_size,
        compile_time,
        origin: origin(entry.key_span.clone(), &entry.node),
    })
}

struct Digest(String);

impl FromNode for Digest {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = String::read(node, path, reader)?;
        let digits = text
            .strip_prefix("sha256:")
            .filter(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if digits.is_none() {
            let diagnostic = Diagnostic::error(format!("`{path}` must be `sha256:` and 64 hexadecimal digits"), node.span.clone());
            reader.report.push(diagnostic.help("`bulkhead plugin inspect FILE` prints it"));
        }
        digits.map(|digits| Self(digits.to_ascii_lowercase()))
    }
}

pub(crate) fn vault(entry: &Entry, reader: &mut Reader<'_>) -> Option<Vault> {
    let path = format!("vault.{}", entry.key);
    let mut fields = Fields::open_entry(entry, &path, reader)?;
    let key = fields.required("key", SECRET_EXAMPLE, reader);
    let sinks = sinks(&mut fields, reader);
    let residency = fields.optional("residency", reader).unwrap_or_default();
    let key_max_age = fields.optional("key-max-age", reader).unwrap_or(KEY_MAX_AGE);
    let copy = Copy::read(&mut fields, reader);
    let retention = Retention::read("retention", &mut fields, reader);
    fields.close(reader);
    Some(Vault {
        name: entry.key.clone(),
        key: key?,
        sinks: sinks?,
        residency,
        key_max_age,
        copy,
        retention,
        origin: origin(entry.key_span.clone(), &entry.node),
    })
}

fn sinks(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let path = fields.path_of("sinks");
    let place = fields.place();
    let Some(entry) = fields.entry("sinks") else {
        let message = format!("{} lacks `sinks`", fields.subject());
        reader
            .report
            .push(Diagnostic::error(message, place).help("add `sinks = [\"NAME\"]`: where its objects go, the first of them must succeed"));
        return None;
    };
    let Value::Array(nodes) = &entry.node.value else {
        wrong_type(
            &entry.node.value,
            entry.node.span.clone(),
            &path,
            "an array of sinks",
            "sinks = [\"nearline\", \"offsite\"]",
            reader,
        );
        return None;
    };
    if nodes.is_empty() {
        reader
            .report
            .push(Diagnostic::error(format!("`{path}` is empty"), entry.node.span.clone()).help("a vault needs at least one sink"));
        return None;
    }
    let mut names: Vec<String> = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        let Some(name) = reference(node, &format!("{path}.{at}"), "sink", &reader.names.sinks, &mut reader.report) else {
            continue;
        };
        if names.contains(&name) {
            reader
                .report
                .push(Diagnostic::error(format!("the sink `{name}` is named twice"), node.span.clone()));
        }
        names.push(name);
    }
    Some(names)
}

/// A required reference to a table of `kind`.
fn name_of(key: &'static str, kind: &str, fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let path = fields.path_of(key);
    let Some(entry) = fields.entry(key) else {
        let (message, place) = (format!("{} lacks `{key}`", fields.subject()), fields.place());
        let defined = if kind == "vault" {
            reader.names.vaults.join("`, `")
        } else {
            reader.names.sinks.join("`, `")
        };
        reader
            .report
            .push(Diagnostic::error(message, place).help(format!("add `{key} = \"…\"`, one of `{defined}`")));
        return None;
    };
    let defined = if kind == "vault" {
        &reader.names.vaults
    } else {
        &reader.names.sinks
    };
    reference(&entry.node, &path, kind, defined, &mut reader.report)
}

pub(crate) fn sink(entry: &Entry, limits: &Limits, reader: &mut Reader<'_>) -> Option<Sink> {
    let path = format!("sink.{}", entry.key);
    let mut fields = Fields::open_entry(entry, &path, reader)?;
    let plugin = fields.required::<PluginName>("plugin", "\"local\"", reader);
    let region = fields.optional("region", reader);
    let grants = grants::read(&mut fields, reader);
    let config = config(&mut fields, reader);
    let bandwidth = fields.optional("bandwidth", reader);
    let lock = fields.optional("lock", reader);
    let retrieval = fields.optional("retrieval", reader);
    let limits = Limits::read_for_writing(&mut fields, limits, reader);
    fields.close(reader);
    let origin = origin(entry.key_span.clone(), &entry.node);
    Some(Sink {
        name: entry.key.clone(),
        plugin: plugin?.0,
        region,
        grants,
        config,
        bandwidth,
        lock,
        retrieval,
        limits,
        origin,
    })
}

struct PluginName(String);

impl FromNode for PluginName {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = String::read(node, path, reader)?;
        if !is_kebab_case(&text) {
            let diagnostic = Diagnostic::error(format!("`{text}` is not the name of a plugin"), node.span.clone());
            reader
                .report
                .push(diagnostic.help("names are kebab-case; a component in a file gets one by `[plugin.NAME]` with `path = \"…\"`"));
            return None;
        }
        Some(Self(text))
    }
}

pub(crate) fn pipeline(instance: Instance, limits: &Limits, reader: &mut Reader<'_>) -> Option<Pipeline> {
    let path = format!("pipeline.{}", instance.name);
    let mut fields = Fields::of(&instance.table, &path, instance.place.clone());
    let plugin = fields.required::<PluginName>("plugin", "\"postgres\"", reader);
    let grants = grants::read(&mut fields, reader);
    let config = config(&mut fields, reader);
    let vault = name_of("vault", "vault", &mut fields, reader);
    let wal = fields.optional("wal", reader);
    let schedule = Schedule::read(&mut fields, reader);
    let retention = Retention::read("retention", &mut fields, reader);
    let objectives = Objectives::read(&mut fields, reader);
    let expect = Expectations::read(&mut fields, reader);
    let hooks = Hooks::read(&mut fields, reader);
    let limits = Limits::read_for_writing(&mut fields, limits, reader);
    let targets = fields
        .named("target", reader)
        .into_iter()
        .filter_map(|entry| target(entry, &path, &limits, reader))
        .collect();
    // Expanded already; asked for so that it counts as known.
    fields.entry("each");
    fields.close(reader);
    Some(Pipeline {
        name: instance.name,
        template: instance.template,
        plugin: plugin?.0,
        grants,
        config,
        vault: vault?,
        wal,
        schedule,
        retention,
        objectives,
        expect,
        hooks,
        limits,
        targets,
        origin: Origin {
            place: instance.place,
            table: instance.table,
        },
    })
}

fn target(entry: &Entry, pipeline: &str, limits: &Limits, reader: &mut Reader<'_>) -> Option<Target> {
    let mut fields = Fields::open_entry(entry, &format!("{pipeline}.target.{}", entry.key), reader)?;
    let grants = grants::read(&mut fields, reader);
    let config = config(&mut fields, reader);
    let limits = Limits::read(&mut fields, limits, reader);
    fields.close(reader);
    Some(Target {
        name: entry.key.clone(),
        grants,
        config,
        limits,
        origin: origin(entry.key_span.clone(), &entry.node),
    })
}

/// The plugin's own config, any table; its plugin checks it.
fn config(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Map<String, Json> {
    let path = fields.path_of("config");
    match fields.entry("config").map(|entry| &entry.node) {
        None => Map::new(),
        Some(Node {
            value: Value::Table(table),
            ..
        }) => table.to_json(),
        Some(node) => {
            wrong_type(
                &node.value,
                node.span.clone(),
                &path,
                "a table",
                "config = { mode = \"physical\" }",
                reader,
            );
            Map::new()
        }
    }
}

fn origin(place: Span, node: &Node) -> Origin {
    let table = match &node.value {
        Value::Table(table) => table.clone(),
        _ => Table::default(),
    };
    Origin { place, table }
}

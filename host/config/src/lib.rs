//! What an operator writes: `bulkhead.toml`, parsed with every place kept, checked whole, and turned into a typed [`Config`].
//!
//! ```text
//! text ─▶ tree (places kept) ─▶ reader (types, keys, references; every error at once) ─▶ Config ─▶ Plan (printable)
//! ```
//!
//! Pure: no file is read, no environment, no network. A failure that comes later (a plugin that refuses its config, a missing file) can still be
//! shown at its line: [`Config::explain`].

mod bandwidth;
mod blot;
mod copy;
mod cron;
mod diagnostic;
mod endpoint;
mod grants;
mod hooks;
mod limits;
mod parts;
mod plan;
mod policy;
mod reader;
mod secret;
mod template;
mod tree;

use std::{path::Path, sync::Arc};

pub use bandwidth::Bandwidth;
pub use bulkhead_units::{ByteRate, ByteSize, Percent, Period};
pub use copy::Copy;
pub use cron::Cron;
pub use diagnostic::{Diagnostic, DiagnosticLevel, Diagnostics, Source, Style};
pub use endpoint::{Auth, AwsCredentials, Destination, Endpoint, Tls, TlsMode};
pub use grants::{Access, Directory, Grants, Secret};
pub use hooks::Hooks;
pub use limits::Limits;
pub use parts::{Origin, Pipeline, Plugin, Sink, Target, Vault};
pub use plan::{DefaultLimits, Plan, PlannedCopy, PlannedOperation, PlannedPlugin, PlannedSink, PlannedVault};
pub use policy::{Expectations, Objectives, Retention, Schedule};
pub use reader::nearest;
pub use secret::SecretSource;
pub use tree::Span;

use reader::{Fields, FromNode, Names, Reader};
use tree::{Node, Table};

/// A configuration that is right in itself. Tables are in the order of the text.
#[derive(Debug, Clone)]
pub struct Config {
    /// The text it was read from.
    pub source: Arc<Source>,
    /// Plugins that are not built in.
    pub plugins: Vec<Plugin>,
    /// Vaults.
    pub vaults: Vec<Vault>,
    /// Sinks.
    pub sinks: Vec<Sink>,
    /// Pipelines, templates expanded.
    pub pipelines: Vec<Pipeline>,
}

/// Reads `text`, which `file_name` names in messages; relative paths start from that file's folder.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(file_name: &str, text: &str) -> Result<Config, Diagnostics> {
    let source = Arc::new(Source::new(file_name, text));
    let base = Path::new(file_name).parent().unwrap_or(Path::new(""));
    let mut report = diagnostic::Report::default();
    let tree = tree::parse(text, &mut report);
    if !report.is_empty() {
        return Err(report.into_diagnostics(source));
    }
    let mut reader = Reader {
        report,
        base,
        names: names(&tree),
    };
    let config = read(&tree, &source, &mut reader);
    if let Some(config) = &config {
        copy::check_origins(config, &mut reader.report);
        copy::check_residency(config, &mut reader.report);
        check_sinks(config, &mut reader.report);
        check_wal(config, &mut reader.report);
    }
    match config {
        Some(config) if reader.report.is_empty() => Ok(config),
        _ => Err(reader.report.into_diagnostics(source)),
    }
}

fn names(tree: &Table) -> Names<'_> {
    let of = |key| tree.subtable(key).map(|table| table.keys().collect()).unwrap_or_default();
    Names {
        vaults: of("vault"),
        sinks: of("sink"),
    }
}

fn read(tree: &Table, source: &Arc<Source>, reader: &mut Reader<'_>) -> Option<Config> {
    let mut fields = Fields::of(tree, "", 0..0);
    let version = fields.required::<Version>("version", "1", reader);
    let limits = Limits::read_for_writing(&mut fields, &Limits::default(), reader);
    let plugins = fields
        .named("plugin", reader)
        .into_iter()
        .filter_map(|entry| parts::plugin(entry, reader))
        .collect();
    let vaults = fields
        .named("vault", reader)
        .into_iter()
        .filter_map(|entry| parts::vault(entry, reader))
        .collect();
    let sinks = fields
        .named("sink", reader)
        .into_iter()
        .filter_map(|entry| parts::sink(entry, &limits, reader))
        .collect();
    let instances: Vec<_> = fields
        .named("pipeline", reader)
        .into_iter()
        .flat_map(|entry| template::expand(entry, reader))
        .collect();
    let pipelines = instances
        .into_iter()
        .filter_map(|instance| parts::pipeline(instance, &limits, reader))
        .collect();
    fields.close(reader);
    version.map(|Version| Config {
        source: source.clone(),
        plugins,
        vaults,
        sinks,
        pipelines,
    })
}

/// The only version of the format so far.
struct Version;

impl FromNode for Version {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let number = u64::read(node, path, reader)?;
        if number != 1 {
            let diagnostic = Diagnostic::error(
                format!("this program does not know version {number} of the configuration"),
                node.span.clone(),
            );
            reader.report.push(diagnostic.label("only `1` so far"));
            return None;
        }
        Some(Self)
    }
}

/// A sink holds one vault, and a folder one sink: whatever shares its place would overwrite, or be taken for, the other.
fn check_sinks(config: &Config, report: &mut diagnostic::Report) {
    let uses = config
        .vaults
        .iter()
        .flat_map(|vault| vault.sinks.iter().enumerate().map(move |(at, sink)| (vault, at, sink)));
    let mut owners: Vec<(&str, &Vault, Span)> = Vec::new();
    for (vault, at, sink) in uses {
        let span = vault.origin.find(&format!("sinks.{at}"));
        match owners.iter().find(|(name, ..)| name == sink) {
            Some((_, other, place)) if other.name != vault.name => report.push(
                Diagnostic::error(format!("the sink `{sink}` already holds the vault `{}`", other.name), span)
                    .related(place.clone(), "here")
                    .help(format!(
                        "a sink holds one vault: add another `[sink.…]` for `{}`, with a place of its own",
                        vault.name
                    )),
            ),
            Some(_) => {}
            None => owners.push((sink, vault, span)),
        }
    }
    let mut folders: Vec<(std::path::PathBuf, &Sink, Span)> = Vec::new();
    for sink in &config.sinks {
        for directory in sink
            .grants
            .directories
            .iter()
            .filter(|directory| directory.access == Access::ReadWrite)
        {
            let path: std::path::PathBuf = directory.path.components().collect();
            let span = sink.origin.find(&format!("directory.{}.path", directory.name));
            match folders.iter().find(|(taken, owner, _)| *taken == path && owner.name != sink.name) {
                Some((_, owner, place)) => report.push(
                    Diagnostic::error(format!("the folder {} is the sink `{}` already", path.display(), owner.name), span)
                        .related(place.clone(), "here")
                        .help("give each sink a folder of its own"),
                ),
                None => folders.push((path, sink, span)),
            }
        }
    }
}

/// A write-ahead log is another pipeline of the same plugin.
fn check_wal(config: &Config, report: &mut diagnostic::Report) {
    for pipeline in &config.pipelines {
        let Some(wal) = &pipeline.wal else { continue };
        let fits = |other: &&Pipeline| other.name == *wal && other.name != pipeline.name && other.plugin == pipeline.plugin;
        if !config.pipelines.iter().any(|other| fits(&other)) {
            let message = format!("`{wal}` is not another pipeline of the plugin `{}`", pipeline.plugin);
            report.push(
                Diagnostic::error(message, pipeline.origin.find("wal"))
                    .help("name the pipeline that stores it: of the plugin `postgres`, one with `mode = \"wal\"`"),
            );
        }
    }
}

impl Origin {
    /// Where the setting at the dotted `path` stands, else the name of the table.
    fn find(&self, path: &str) -> Span {
        self.table.locate(path).map_or_else(|| self.place.clone(), |found| found.span)
    }
}

/// Settings of a table itself: what is missing there must not be looked for in the plugin's `config`.
const HOST_SETTINGS: [&str; 6] = ["endpoint", "directory", "secret", "expect", "limits", "plugin"];

impl Config {
    /// The vault of that name.
    #[must_use]
    pub fn vault(&self, name: &str) -> Option<&Vault> {
        self.vaults.iter().find(|vault| vault.name == name)
    }

    /// The sink of that name.
    #[must_use]
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }

    /// The plugin that the file itself defines under that name.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }

    /// The pipeline of that name.
    #[must_use]
    pub fn pipeline(&self, name: &str) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.name == name)
    }

    /// The pipelines that `name` stands for: the one of that name, or all of the template of that name.
    #[must_use]
    pub fn pipelines_named(&self, name: &str) -> Vec<&Pipeline> {
        self.pipelines
            .iter()
            .filter(|pipeline| pipeline.name == name || pipeline.template.as_deref() == Some(name))
            .collect()
    }

    /// Errors for `plugin = "…"` that neither the file nor `builtin` defines.
    #[must_use]
    pub fn unknown_plugins(&self, builtin: &[&str]) -> Diagnostics {
        let known: Vec<&str> = builtin
            .iter()
            .copied()
            .chain(self.plugins.iter().map(|plugin| plugin.name.as_str()))
            .collect();
        let used = self
            .sinks
            .iter()
            .map(|sink| (&sink.plugin, &sink.origin))
            .chain(self.pipelines.iter().map(|pipeline| (&pipeline.plugin, &pipeline.origin)));
        let mut report = diagnostic::Report::default();
        for (name, origin) in used.filter(|(name, _)| !known.contains(&name.as_str())) {
            let diagnostic = Diagnostic::error(format!("there is no plugin `{name}`"), origin.find("plugin"));
            let diagnostic = reader::suggest(diagnostic, name, known.iter().copied(), "known plugins");
            report.push(diagnostic.help(format!("for a component of your own, add `[plugin.{name}]` with `path = \"…\"`")));
        }
        report.into_diagnostics(self.source.clone())
    }

    /// A failure that came later, shown where it was caused: at its setting (a dotted path in the plugin's config, or of the table itself), or at the
    /// table's name.
    #[must_use]
    pub fn explain(&self, origin: &Origin, failure: &Explanation<'_>) -> Diagnostics {
        let found = failure.setting.and_then(|setting| {
            let in_config = origin.table.locate(&format!("config.{setting}"));
            let direct = origin.table.locate(setting);
            match (in_config, direct) {
                (Some(config), _) if config.exact => Some(config),
                (_, Some(direct)) if direct.exact => Some(direct),
                (_, direct) if HOST_SETTINGS.contains(&setting.split('.').next().unwrap_or(setting)) => direct,
                (config, direct) => config.or(direct),
            }
        });
        let span = match &found {
            None => origin.place.clone(),
            Some(found) if found.exact && is_about_the_key(failure.message) => found.key_span.clone(),
            Some(found) => found.span.clone(),
        };
        let mut diagnostic = Diagnostic::error(failure.message, span).level(failure.level);
        diagnostic.notes = failure.causes.to_vec();
        diagnostic.help.extend(failure.hint.map(str::to_owned));
        if let (Some(setting), false) = (failure.setting, found.is_some_and(|found| found.exact)) {
            diagnostic = diagnostic.label(format!("`{setting}` is not set"));
        }
        Diagnostics::new(self.source.clone(), vec![diagnostic])
    }
}

/// Whether a plugin complains that a setting is there at all: the SDK's words, and those of serde, which other SDKs hand on.
fn is_about_the_key(message: &str) -> bool {
    ["there is no setting", "unknown "].iter().any(|words| message.starts_with(words))
}

/// A failure that came after parsing.
#[derive(Debug, Clone)]
pub struct Explanation<'a> {
    /// The setting to blame, as a dotted path.
    pub setting: Option<&'a str>,
    /// What failed.
    pub message: &'a str,
    /// Underlying causes, outermost first.
    pub causes: &'a [String],
    /// The next action.
    pub hint: Option<&'a str>,
    /// How serious it is.
    pub level: DiagnosticLevel,
}

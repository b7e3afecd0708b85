//! `bulkhead plugin`

use std::{path::PathBuf, sync::Arc};

use bulkhead_config::Config;
use bulkhead_pipeline::{BuildError, Host};
use bulkhead_runtime::{Access, Description, LoadError, LoadLimits, Operations, Plugin, PluginError};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, Output, Table},
    session::{Session, unknown},
};

/// Look at plugins
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugins that are built in, and those of the configuration
    #[command(after_help = "Examples:\n  bulkhead plugin list\n  bulkhead plugin list --json | jq -r '.plugins[].digest'")]
    List,
    Inspect(InspectArguments),
}

/// Show what a plugin is, what it wants, and how it is configured
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead plugin inspect postgres\n  bulkhead plugin inspect ./my-plugin.wasm       prints the digest to pin, too\n  bulkhead plugin inspect postgres --json | jq '.description.\"config-schema\"'"
)]
pub(crate) struct InspectArguments {
    /// The name of a plugin, or the path of a component (with a `/` or ending in `.wasm`)
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

pub(crate) async fn plugin(command: &PluginCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        PluginCommand::List => list(session).await,
        PluginCommand::Inspect(arguments) => inspect(arguments, session).await,
    }
}

/// The configuration, where there is one: plugins can be looked at without.
fn config_if_any(session: &Session) -> Result<Option<Arc<Config>>, CommandError> {
    match session.config() {
        Ok(config) => Ok(Some(config)),
        Err(CommandError::Message { .. }) if session.arguments.config.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn list(session: &Session) -> Result<Exit, CommandError> {
    let config = config_if_any(session)?;
    let host = session.host()?;
    let mut plugins = Vec::new();
    for builtin in &host.builtin {
        let plugin = host.runtime.load(builtin.component, &LoadLimits::default()).await;
        plugins.push((builtin.name.to_owned(), "built in".to_owned(), plugin));
    }
    for own in config.iter().flat_map(|config| &config.plugins) {
        let plugin = host.runtime.load_file(&own.path, None, &LoadLimits::default()).await;
        plugins.push((own.name.clone(), own.path.display().to_string(), plugin));
    }
    if session.output.is_json() {
        let plugins: Vec<Value> = plugins.iter().map(|(name, origin, plugin)| summary(name, origin, plugin)).collect();
        session.output.document("plugin-list", &json!({ "plugins": plugins }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        ("PLUGIN", Align::Left),
        ("KIND", Align::Left),
        ("VERSION", Align::Left),
        ("FROM", Align::Left),
        ("SUMMARY", Align::Left),
    ]);
    for (name, origin, plugin) in plugins {
        match plugin {
            Ok(plugin) => {
                let description = plugin.description();
                table.row([
                    name,
                    plugin.kind().to_string(),
                    description.version.clone(),
                    origin,
                    description.summary.clone(),
                ]);
            }
            Err(error) => table.row([name, "-".into(), "-".into(), origin, format!("cannot be used: {error}")]),
        }
    }
    table.print(&session.output);
    Ok(Exit::Ok)
}

fn summary(name: &str, origin: &str, plugin: &Result<Plugin, LoadError>) -> Value {
    match plugin {
        Ok(plugin) => json!({
            "name": name, "from": origin, "kind": plugin.kind(), "version": plugin.description().version,
            "summary": plugin.description().summary, "digest": plugin.digest().to_string(),
        }),
        Err(error) => json!({ "name": name, "from": origin, "error": error.to_string() }),
    }
}

async fn inspect(arguments: &InspectArguments, session: &Session) -> Result<Exit, CommandError> {
    let host = session.host()?;
    let plugin = if arguments.plugin.contains('/') || arguments.plugin.ends_with(".wasm") {
        load_file(&host, &PathBuf::from(&arguments.plugin)).await?
    } else {
        load_named(&host, &arguments.plugin, session).await?
    };
    if session.output.is_json() {
        let digest = plugin.digest().to_string();
        let document =
            json!({ "plugin-kind": plugin.kind(), "digest": digest, "imports": plugin.imports(), "description": plugin.description() });
        session.output.document("plugin", &document);
    } else {
        print(&plugin, &session.output);
    }
    Ok(Exit::Ok)
}

async fn load_file(host: &Host, path: &std::path::Path) -> Result<Plugin, CommandError> {
    host.runtime.load_file(path, None, &LoadLimits::default()).await.map_err(|error| {
        let hint = PluginError::Load(error.clone()).hint().map(str::to_owned);
        let exit = if matches!(error, LoadError::Unreadable { .. }) {
            Exit::NotFound
        } else {
            Exit::Trapped
        };
        CommandError::Message {
            exit,
            message: format!("cannot use {}", path.display()),
            causes: vec![error.to_string()],
            hint,
        }
    })
}

async fn load_named(host: &Host, name: &str, session: &Session) -> Result<Plugin, CommandError> {
    if let Some(builtin) = host.builtin.iter().find(|plugin| plugin.name == name) {
        let loaded = host.runtime.load(builtin.component, &LoadLimits::default()).await;
        return loaded
            .map_err(|error| CommandError::system(&format!("load the plugin `{name}`"), &error).with(Exit::Trapped, "reinstall bulkhead"));
    }
    let config = config_if_any(session)?;
    let Some((config, plugin)) = config.as_ref().and_then(|config| Some((config, config.plugin(name)?))) else {
        let own = config.iter().flat_map(|config| &config.plugins).map(|plugin| plugin.name.as_str());
        return Err(unknown("plugin", name, host.builtin_names().into_iter().chain(own)));
    };
    let site = bulkhead_pipeline::Site {
        table: format!("plugin.{name}"),
        origin: plugin.origin.clone(),
    };
    host.load(config, name, &site)
        .await
        .map_err(|error: BuildError| CommandError::operation(&error, config))
}

fn print(plugin: &Plugin, output: &Output) {
    let description = plugin.description();
    output.line(&format!(
        "{} {} ({})",
        output.mark(Mark::Strong, &description.name),
        description.version,
        plugin.kind()
    ));
    output.line(&format!("  {}", description.summary));
    output.line(&format!("  digest      {}", plugin.digest()));
    output.line(&format!("  operations  {}", words(&description.operations)));
    for format in &description.formats {
        output.line(&format!("  format      {}: {}", format.name, format.summary));
    }
    print_requests(description, output);
    output.line("  config");
    print_schema(&description.config_schema, output);
}

fn print_requests(description: &Description, output: &Output) {
    for endpoint in &description.endpoints {
        output.line(&format!(
            "  endpoint    {}: {}{}",
            endpoint.name,
            endpoint.purpose,
            needed(&endpoint.required_for)
        ));
    }
    for directory in &description.directories {
        let access = match directory.access {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        };
        output.line(&format!(
            "  directory   {} ({access}): {}{}",
            directory.name,
            directory.purpose,
            needed(&directory.required_for)
        ));
    }
    for secret in &description.secrets {
        output.line(&format!(
            "  secret      {}: {}{}",
            secret.name,
            secret.purpose,
            needed(&secret.required_for)
        ));
    }
}

fn needed(operations: &Operations) -> String {
    if operations.is_empty() {
        " (optional)".to_owned()
    } else {
        format!(" (needed for {})", words(operations))
    }
}

fn words(operations: &Operations) -> String {
    operations
        .iter()
        .map(|operation| operation.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The settings of a JSON Schema: name, type, description.
fn print_schema(schema: &Value, output: &Output) {
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        output.line("    nothing");
        return;
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in properties {
        let required = if required.contains(&name.as_str()) { ", required" } else { "" };
        let kind = property["type"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_else(|| alternatives(property, schema));
        let text = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        output.line(&format!("    {} ({kind}{required}) {text}", output.mark(Mark::Strong, name)));
    }
}

fn alternatives(property: &Value, schema: &Value) -> String {
    let resolved = property["$ref"]
        .as_str()
        .and_then(|reference| schema.pointer(reference.trim_start_matches('#')))
        .unwrap_or(property);
    let own = resolved["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let of = |key: &str| resolved[key].as_array().cloned().unwrap_or_default();
    let nested: Vec<String> = of("oneOf")
        .iter()
        .chain(&of("anyOf"))
        .filter_map(|one| one["const"].as_str().or(one["type"].as_str()).map(str::to_owned))
        .collect();
    let listed: Vec<String> = own
        .map(str::to_owned)
        .chain(nested)
        .chain(of("type").iter().filter_map(Value::as_str).map(str::to_owned))
        .collect();
    if listed.is_empty() { "any".to_owned() } else { listed.join(" | ") }
}

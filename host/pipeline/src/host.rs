//! What every operation needs from its surroundings: the plugin runtime, the plugins that are built in, secrets. [`Host`] turns tables of the
//! configuration into plugins that are ready to work.

use std::path::PathBuf;

use bulkhead_config::{Config, Limits, Origin, Pipeline, Sink, Target};
use bulkhead_runtime::{
    LoadError, LoadLimits, OperationContext, Plugin, PluginDigest, PluginError, PluginSetup, Runtime, SinkPool, Source,
};

use crate::{
    failure::{Explain, Failure, FailureClass, Site},
    object_lock::ObjectLock,
    secrets::Secrets,
    setup,
    store::SinkStore,
};

/// A plugin that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinPlugin {
    /// What `plugin = "…"` calls it.
    pub name: &'static str,
    /// The component.
    pub component: &'static [u8],
}

/// The surroundings of operations.
pub struct Host {
    /// Loads and runs plugins.
    pub runtime: Runtime,
    /// Plugins that need no `[plugin.NAME]`.
    pub builtin: Vec<BuiltinPlugin>,
    /// Fetches secrets.
    pub secrets: Secrets,
    /// This machine's name, kept in snapshots and keys.
    pub name: String,
    /// Where long lists are set aside: see [`bulkhead_vault::VaultOptions::scratch`].
    pub scratch: PathBuf,
}

/// Why a plugin could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither built in nor in the configuration.
    #[error("there is no plugin `{name}`")]
    UnknownPlugin {
        /// Where it is used.
        site: Site,
        /// What it was called.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The component can't be used.
    #[error("cannot load the plugin `{name}`")]
    Load {
        /// Where it is used or defined.
        site: Site,
        /// What it is called.
        name: String,
        /// Why.
        source: LoadError,
    },
    /// The plugin can't work with what it was granted.
    #[error("{}", .source)]
    Setup {
        /// Where it is used.
        site: Site,
        /// Why.
        source: Box<PluginError>,
    },
    /// A name that leads nowhere; a parsed configuration has none.
    #[error("there is no {kind} `{name}`")]
    Dangling {
        /// Vault or sink.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

impl Explain for BuildError {
    fn explain(&self) -> Failure {
        match self {
            Self::UnknownPlugin { site, name, known } => Failure::new(FailureClass::Config, self).at(site).setting("plugin").hint(format!(
                "known plugins: {}; for a component of your own, add `[plugin.{name}]` with `path = \"…\"`",
                known.join(", ")
            )),
            Self::Load { site, source, .. } => {
                let mut failure = Failure::of_plugin(&PluginError::Load(source.clone())).at(site);
                failure.message = self.to_string();
                failure.causes = vec![source.to_string()];
                if matches!(
                    source,
                    LoadError::Digest { .. }
                        | LoadError::Unreadable { .. }
                        | LoadError::UngrantedImport { .. }
                        | LoadError::WrongKind { .. }
                ) {
                    failure.class = FailureClass::Config;
                }
                if matches!(source, LoadError::Limit { .. }) {
                    failure.class = FailureClass::Limit;
                }
                match source {
                    LoadError::Digest { .. } => failure
                        .setting("digest")
                        .hint("somebody changed the file, or it was updated: look, then write the new digest"),
                    LoadError::Unreadable { .. } => failure.setting("path"),
                    _ => failure,
                }
            }
            Self::Setup { site, source } => Failure::of_plugin(source).at(site),
            Self::Dangling { .. } => Failure::new(FailureClass::Config, self),
        }
    }
}

impl Host {
    /// Names of the plugins that are built in.
    #[must_use]
    pub fn builtin_names(&self) -> Vec<&'static str> {
        self.builtin.iter().map(|plugin| plugin.name).collect()
    }

    /// Loads the plugin that `site` calls `name`: the configuration's own before those that are built in.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn load(&self, config: &Config, name: &str, site: &Site) -> Result<Plugin, BuildError> {
        if let Some(file) = config.plugin(name) {
            let site = Site {
                table: format!("plugin.{name}"),
                origin: file.origin.clone(),
            };
            let failed = |source| BuildError::Load {
                site: site.clone(),
                name: name.to_owned(),
                source,
            };
            let limits = load_limits(file);
            let digest = file.sha256.as_deref().and_then(digest_of);
            return self.runtime.load_file(&file.path, digest, &limits).await.map_err(failed);
        }
        let failed = |source| BuildError::Load {
            site: site.clone(),
            name: name.to_owned(),
            source,
        };
        match self.builtin.iter().find(|plugin| plugin.name == name) {
            Some(plugin) => self.runtime.load(plugin.component, &LoadLimits::default()).await.map_err(failed),
            None => Err(BuildError::UnknownPlugin {
                site: site.clone(),
                name: name.to_owned(),
                known: self
                    .builtin_names()
                    .into_iter()
                    .map(str::to_owned)
                    .chain(config.plugins.iter().map(|plugin| plugin.name.clone()))
                    .collect(),
            }),
        }
    }

    /// The source of `pipeline`, and the plugin that it is made of.
    pub(crate) async fn source(&self, config: &Config, pipeline: &Pipeline) -> Result<(Source, Plugin), BuildError> {
        let site = pipeline_site(pipeline);
        let table = Table {
            grants: &pipeline.grants,
            config: &pipeline.config,
            limits: &pipeline.limits,
        };
        self.source_at(config, &pipeline.plugin, site, table).await
    }

    /// The source of `pipeline` with what `target` grants.
    pub(crate) async fn target(&self, config: &Config, pipeline: &Pipeline, target: &Target) -> Result<(Source, Plugin), BuildError> {
        let site = target_site(pipeline, target);
        // The plugin is configured as for the backup; what the target says are the options of the restore.
        let table = Table {
            grants: &target.grants,
            config: &pipeline.config,
            limits: &target.limits,
        };
        self.source_at(config, &pipeline.plugin, site, table).await
    }

    async fn source_at(&self, config: &Config, plugin: &str, site: Site, table: Table<'_>) -> Result<(Source, Plugin), BuildError> {
        let plugin = self.load(config, plugin, &site).await?;
        let setup = self.setup(&site, table, setup::source_defaults())?;
        let source = Source::new(plugin.clone(), setup).map_err(|error| BuildError::Setup {
            site,
            source: Box::new(error),
        })?;
        warn_about(source.unused_grants());
        Ok((source, plugin))
    }

    /// The sink called `name`, as a store of objects.
    pub(crate) async fn sink(&self, config: &Config, name: &str, context: &OperationContext) -> Result<SinkStore, BuildError> {
        let sink = config.sink(name).ok_or_else(|| BuildError::Dangling {
            kind: "sink",
            name: name.to_owned(),
        })?;
        let site = sink_site(sink);
        let plugin = self.load(config, &sink.plugin, &site).await?;
        let table = Table {
            grants: &sink.grants,
            config: &sink.config,
            limits: &sink.limits,
        };
        let setup = self.setup(&site, table, setup::sink_defaults())?;
        let pool = SinkPool::new(plugin, setup, context.clone()).map_err(|error| BuildError::Setup {
            site: site.clone(),
            source: Box::new(error),
        })?;
        warn_about(pool.unused_grants());
        Ok(SinkStore::new(sink.name.clone(), site, pool)
            .with_bandwidth(sink.bandwidth.clone())
            .with_lock(sink.lock.map(|length| ObjectLock::new(length.0)))
            .with_retrieval(sink.retrieval))
    }

    fn setup(&self, site: &Site, table: Table<'_>, defaults: bulkhead_runtime::Limits) -> Result<PluginSetup, BuildError> {
        Ok(PluginSetup {
            table: site.table.clone(),
            config: table.config.clone().into(),
            grants: setup::grants(table.grants, &self.secrets),
            limits: setup::limits(table.limits, defaults),
        })
    }
}

struct Table<'c> {
    grants: &'c bulkhead_config::Grants,
    config: &'c serde_json::Map<String, serde_json::Value>,
    limits: &'c Limits,
}

fn warn_about(unused: &[bulkhead_runtime::UnusedGrant]) {
    for grant in unused {
        tracing::warn!(
            wanted = grant.wanted.join(", "),
            "`{}` is granted, but the plugin does not ask for it",
            grant.path
        );
    }
}

fn load_limits(plugin: &bulkhead_config::Plugin) -> LoadLimits {
    let defaults = LoadLimits::default();
    LoadLimits {
        component_size: plugin.component_size.map_or(defaults.component_size, |size| size.0),
        compile_time: plugin.compile_time.map_or(defaults.compile_time, |period| period.0),
    }
}

fn digest_of(digits: &str) -> Option<PluginDigest> {
    let bytes: [u8; 32] = hex::decode(digits).ok()?.try_into().ok()?;
    Some(PluginDigest::new(bytes))
}

/// The table of `pipeline`.
#[must_use]
pub fn pipeline_site(pipeline: &Pipeline) -> Site {
    site(format!("pipeline.{}", pipeline.name), &pipeline.origin)
}

/// The table of `target`.
#[must_use]
pub fn target_site(pipeline: &Pipeline, target: &Target) -> Site {
    site(format!("pipeline.{}.target.{}", pipeline.name, target.name), &target.origin)
}

/// The table of `sink`.
#[must_use]
pub fn sink_site(sink: &Sink) -> Site {
    site(format!("sink.{}", sink.name), &sink.origin)
}

pub(crate) fn site(table: String, origin: &Origin) -> Site {
    Site {
        table,
        origin: origin.clone(),
    }
}

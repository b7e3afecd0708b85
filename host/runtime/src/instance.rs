//! What the instances of one use of a plugin have in common: its rights, limits and config, and the making of a store from them.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Linker;

use crate::capabilities::Budget;
use crate::capabilities::directory::Directories;
use crate::capabilities::endpoint::Endpoints;
use crate::capabilities::entries::Entries;
use crate::capabilities::http::HttpClient;
use crate::capabilities::log::PluginLog;
use crate::capabilities::secrets::Secrets;
use crate::capabilities::snapshot::Snapshot;
use crate::parts::Parts;
use crate::rights::Rights;
use crate::state::{HostSide, State};
use crate::{Limits, LoadError, OperationContext, Plugin, PluginError, PluginKind, PluginSetup, ProgressObserver, v0_1};

/// A plugin with what it may use.
pub(crate) struct Prepared {
    pub(crate) plugin: Plugin,
    pub(crate) rights: Rights,
    pub(crate) limits: Limits,
    pub(crate) config: String,
}

/// What an instance gets beside its rights.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) budget: Arc<Budget>,
    pub(crate) log: Arc<PluginLog>,
    pub(crate) progress: Arc<dyn ProgressObserver>,
    pub(crate) snapshot: Option<Snapshot>,
}

impl Prepared {
    pub(crate) fn new(plugin: Plugin, setup: PluginSetup, kind: PluginKind) -> Result<Self, PluginError> {
        if plugin.kind() != kind {
            let name = plugin.description().name.clone();
            return Err(LoadError::WrongKind {
                plugin: name,
                expected: kind,
                found: plugin.kind(),
            }
            .into());
        }
        let rights = Rights::new(&plugin, &setup.table, setup.grants)?;
        Ok(Self {
            plugin,
            rights,
            limits: setup.limits,
            config: setup.config.to_string(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.plugin.description().name
    }

    /// A linker with what the plugin was granted, and nothing else.
    pub(crate) fn linker(&self) -> Result<Linker<State>, LoadError> {
        let mut linker = Linker::new(self.plugin.engine());
        let linked = v0_1::link_wasi(&mut linker).and_then(|()| v0_1::link_abi(&mut linker, &self.rights.capabilities));
        linked.map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        Ok(linker)
    }

    /// What surrounds the instances of one operation.
    pub(crate) fn surroundings(&self, context: &OperationContext) -> Surroundings {
        Surroundings {
            budget: Arc::new(Budget::new(self.limits.clone())),
            log: Arc::new(PluginLog::new(self.name(), context.span.clone(), self.limits.log_volume)),
            progress: context.progress.clone(),
            snapshot: None,
        }
    }

    /// A store for one instance.
    pub(crate) fn store(&self, around: &Surroundings, entries: Option<Entries>, parts: Parts) -> Store<State> {
        let budget = around.budget.clone();
        let endpoints = Endpoints::new(&self.rights.endpoints(), budget.clone());
        let host = HostSide {
            log: around.log.clone(),
            progress: around.progress.clone(),
            secrets: Secrets::new(self.rights.secrets()),
            http: HttpClient::new(endpoints.clone(), budget.clone()),
            endpoints,
            directories: Directories::new(self.rights.directories(), budget.clone()),
            entries: entries.map(Arc::new),
            snapshot: around.snapshot.clone(),
            parts,
            budget,
        };
        State::store(self.plugin.engine(), host)
    }
}

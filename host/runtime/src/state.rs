//! What an instance carries: its handles, its limits, and the capabilities that it was given.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result, Store, bail};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::capabilities::directory::Directories;
use crate::capabilities::endpoint::Endpoints;
use crate::capabilities::entries::Entries;
use crate::capabilities::http::HttpClient;
use crate::capabilities::log::PluginLog;
use crate::capabilities::secrets::Secrets;
use crate::capabilities::snapshot::Snapshot;
use crate::capabilities::{Budget, MAX_TRANSFER};
use crate::limits::CALL_ARGUMENTS;
use crate::output::LogOutput;
use crate::parts::Parts;
use crate::{LimitKind, Limits, ProgressObserver};

/// Bytes per element of a table, for the memory limit.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// A trap that a limit of ours has raised; it is told from the plugin's own traps by its type.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the limit `{0}` is reached")]
pub(crate) struct LimitTrap(pub(crate) LimitKind);

/// The capabilities of one instance.
pub(crate) struct HostSide {
    pub(crate) budget: Arc<Budget>,
    pub(crate) log: Arc<PluginLog>,
    pub(crate) progress: Arc<dyn ProgressObserver>,
    pub(crate) secrets: Secrets,
    pub(crate) endpoints: Endpoints,
    pub(crate) http: HttpClient,
    pub(crate) directories: Directories,
    pub(crate) entries: Option<Arc<Entries>>,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) parts: Parts,
}

/// The data of a store.
pub(crate) struct State {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    limiter: Limiter,
    calls_left: u64,
    sealed: bool,
    pub(crate) host: HostSide,
}

impl State {
    /// A store for one instance, with all limits in force.
    pub(crate) fn store(engine: &wasmtime::Engine, host: HostSide) -> Store<Self> {
        let limits = host.budget.limits().clone();
        let mut wasi = WasiCtx::builder();
        // They are made in one piece on the host.
        wasi.max_random_size(MAX_TRANSFER as u64);
        wasi.stdout(LogOutput::new(host.log.clone(), false))
            .stderr(LogOutput::new(host.log.clone(), true));
        let mut table = ResourceTable::new();
        let resources = usize::try_from(limits.resources).unwrap_or(usize::MAX);
        table.set_max_capacity(resources);
        let limiter = Limiter::new(&limits);
        let mut store = Store::new(
            engine,
            Self {
                wasi: wasi.build(),
                table,
                limiter,
                calls_left: limits.host_calls,
                sealed: false,
                host,
            },
        );
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(CALL_ARGUMENTS);
        // The engine counts a borrow beside the handle that it borrows from.
        store.set_max_component_handles(resources.saturating_mul(2));
        // Every tick of the engine's clock gives way to other tasks, and to whoever wants to stop this one.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// From now on every capability traps: the instance only describes itself.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Counts a host call; each of them begins with this.
    pub(crate) fn count_call(&mut self) -> Result<()> {
        if self.sealed {
            bail!("`describe` is pure, but called the host");
        }
        match self.calls_left.checked_sub(1) {
            Some(left) => {
                self.calls_left = left;
                Ok(())
            }
            None => Err(LimitTrap(LimitKind::HostCalls).into()),
        }
    }

    /// What is counted over time is counted anew: another operation begins in the same instance.
    pub(crate) fn renew(&mut self) {
        self.calls_left = self.host.budget.limits().host_calls;
        self.host.budget.renew();
        self.host.log.renew();
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Counts linear memory and tables of an instance together. Growth beyond the limit traps by name: an error returned to the guest would end in an abort
/// that looks like a defect of its own.
struct Limiter {
    memory: usize,
    used: usize,
    instances: usize,
}

impl Limiter {
    fn new(limits: &Limits) -> Self {
        let bound = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            memory: bound(limits.memory),
            used: 0,
            instances: bound(limits.component_instances),
        }
    }

    fn grow(&mut self, by: usize) -> Result<bool> {
        let used = self.used.saturating_add(by);
        if used > self.memory {
            return Err(LimitTrap(LimitKind::Memory).into());
        }
        self.used = used;
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // Beyond the module's own maximum the instruction fails by itself.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use wasmtime_wasi::p2::bindings::random::random::Host;
    use wasmtime_wasi::random::WasiRandomView;

    use super::*;

    #[tokio::test]
    async fn random_numbers_come_a_mebibyte_at_a_time() {
        let engine = crate::engine::engine().unwrap();
        let limits = Limits::default_for(crate::PluginKind::Source);
        let mut store = State::store(&engine, crate::describe::nothing(limits));
        let random = store.data_mut().random();
        assert_eq!(random.get_random_bytes(1 << 20).unwrap().len(), 1 << 20);
        assert!(random.get_random_bytes((1 << 20) + 1).is_err());
    }
}

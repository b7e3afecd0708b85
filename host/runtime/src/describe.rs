//! Asking a component what it is and wants, in an instance in which every capability traps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::call::Call;
use crate::capabilities::directory::Directories;
use crate::capabilities::endpoint::Endpoints;
use crate::capabilities::http::HttpClient;
use crate::capabilities::log::PluginLog;
use crate::capabilities::secrets::Secrets;
use crate::capabilities::{Budget, Granted};
use crate::parts::Parts;
use crate::state::{HostSide, State};
use crate::v0_1::{self, Capabilities, SinkGuest, SinkPluginPre, SourceGuest, SourcePluginPre};
use crate::{Cancellation, Description, Limits, LoadError, NoProgress, PluginKind};

/// `describe` returns constants: far less than this is needed.
const CPU: Duration = Duration::from_secs(2);
const WALL_CLOCK: Duration = Duration::from_secs(30);

/// What the component says of itself.
pub(crate) async fn describe(engine: &Engine, component: &Component, kind: PluginKind) -> Result<Description, LoadError> {
    let limits = Limits {
        cpu: CPU,
        wall_clock: WALL_CLOCK,
        ..Limits::default_for(kind)
    };
    let host = nothing(limits);
    let (budget, log) = (host.budget.clone(), host.log.clone());
    let mut store = State::store(engine, host);
    store.data_mut().seal();
    let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
    let mut linker = Linker::new(engine);
    v0_1::link_wasi(&mut linker).map_err(invalid)?;
    v0_1::link_abi(&mut linker, &Capabilities::all(kind)).map_err(invalid)?;
    let pre = linker.instantiate_pre(component).map_err(invalid)?;
    let call = Call {
        plugin: "?",
        table: "limits",
        function: "describe",
        budget,
        log,
        cancellation: &Cancellation::new(),
        deadline: Instant::now() + WALL_CLOCK,
    };
    let described = match kind {
        PluginKind::Source => {
            let pre = SourcePluginPre::new(pre).map_err(invalid)?;
            call.run(async { Ok(Ok(SourceGuest::instantiate(&pre, &mut store).await?.describe(&mut store).await?)) })
                .await
        }
        PluginKind::Sink => {
            let pre = SinkPluginPre::new(pre).map_err(invalid)?;
            call.run(async { Ok(Ok(SinkGuest::instantiate(&pre, &mut store).await?.describe(&mut store).await?)) })
                .await
        }
    };
    described
        .map_err(|error| LoadError::Description(error.to_string()))?
        .map_err(LoadError::Description)
}

/// A host side without a single grant.
pub(crate) fn nothing(limits: Limits) -> HostSide {
    let log = Arc::new(PluginLog::new("?", tracing::Span::current(), limits.log_volume));
    let budget = Arc::new(Budget::new(limits));
    let endpoints = Endpoints::new(&Granted::new("", "endpoint", "", BTreeMap::new()), budget.clone());
    HostSide {
        log,
        progress: Arc::new(NoProgress),
        secrets: Secrets::new(Granted::new("", "secret", "", BTreeMap::new())),
        http: HttpClient::new(endpoints.clone(), budget.clone()),
        endpoints,
        directories: Directories::new(Granted::new("", "directory", "", BTreeMap::new()), budget.clone()),
        entries: None,
        snapshot: None,
        parts: Parts::default(),
        budget,
    }
}

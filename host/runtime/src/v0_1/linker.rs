//! Which functions an instance finds: WASI's harmless part always, a capability only where it was granted or asked for.

use wasmtime::Result;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{WasiCtxView, WasiView};

use super::bindings::sink_world::bulkhead::plugin::content;
use super::bindings::source_world::bulkhead::plugin as abi;
use crate::PluginKind;
use crate::state::State;

/// The capabilities to link. What is not linked cannot be called, whatever a component tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) kind: PluginKind,
    pub(crate) endpoint: bool,
    pub(crate) http: bool,
    pub(crate) directory: bool,
    pub(crate) secrets: bool,
}

impl Capabilities {
    /// All of them: for `describe`, where each traps when it is called.
    pub(crate) fn all(kind: PluginKind) -> Self {
        Self {
            kind,
            endpoint: true,
            http: true,
            directory: true,
            secrets: true,
        }
    }
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links what every plugin has of WASI 0.2: clocks, random numbers, standard output into the log. File system and environment are there and empty,
/// because the standard libraries of most languages import them; sockets and HTTP are not there at all.
pub(crate) fn link_wasi(linker: &mut Linker<State>) -> Result<()> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
    fn table(state: &mut State) -> &mut ResourceTable {
        let WasiCtxView { table, .. } = state.ctx();
        table
    }
    io::error::add_to_linker::<State, Table>(linker, table)?;
    io::poll::add_to_linker::<State, Table>(linker, table)?;
    io::streams::add_to_linker::<State, Table>(linker, table)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(linker, State::random)?;
    random::insecure::add_to_linker::<State, WasiRandom>(linker, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(linker, State::random)?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)
}

/// Links the ABI's interfaces.
pub(crate) fn link_abi(linker: &mut Linker<State>, capabilities: &Capabilities) -> Result<()> {
    type Own = HasSelf<State>;
    abi::types::add_to_linker::<State, Own>(linker, |state| state)?;
    abi::log::add_to_linker::<State, Own>(linker, |state| state)?;
    abi::progress::add_to_linker::<State, Own>(linker, |state| state)?;
    abi::digest::add_to_linker::<State, Own>(linker, |state| state)?;
    if capabilities.secrets {
        abi::secrets::add_to_linker::<State, Own>(linker, |state| state)?;
    }
    if capabilities.endpoint {
        abi::endpoint::add_to_linker::<State, Own>(linker, |state| state)?;
    }
    if capabilities.http {
        abi::http::add_to_linker::<State, Own>(linker, |state| state)?;
    }
    if capabilities.directory {
        abi::directory::add_to_linker::<State, Own>(linker, |state| state)?;
    }
    match capabilities.kind {
        PluginKind::Source => {
            abi::metadata::add_to_linker::<State, Own>(linker, |state| state)?;
            abi::entries::add_to_linker::<State, Own>(linker, |state| state)?;
            abi::snapshot::add_to_linker::<State, Own>(linker, |state| state)?;
            abi::parts::add_to_linker::<State, Own>(linker, |state| state)?;
        }
        PluginKind::Sink => content::add_to_linker::<State, Own>(linker, |state| state)?,
    }
    linker.allow_shadowing(true);
    let linked = super::hot::link(linker, capabilities);
    linker.allow_shadowing(false);
    linked
}

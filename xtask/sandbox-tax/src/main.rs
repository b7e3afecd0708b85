//! One backup of a PostgreSQL cluster by the `postgres` plugin, in its sandbox or compiled natively, over the same capabilities of the plugin host.
//!
//! ```text
//! sandboxed:  component ─▶ bindings of ABI 0.1 ─┐
//!                                               ├─▶ capabilities (endpoint, entries, …) ─▶ vault, or nothing
//! native:     the same crate ─▶ NativeHost ─────┘
//! ```
//!
//! Prints one line of JSON: `wall_seconds`, `cpu_seconds`, `memory_bytes` (peak), `bytes` and `entries`. Loading the component and opening the vault
//! are not in the times.

mod cost;
mod destination;
mod failure;
mod native;
mod translate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bulkhead_plugin_postgres::Postgres;
use bulkhead_runtime::{
    BackupInput, Destination as Address, EndpointGrant, FixedSecret, Grants, Limits, LoadLimits, OperationContext, PluginKind, PluginSetup,
    Runtime, RuntimeOptions, SecretBytes, SecretGrant, Source, TlsMode, TlsSettings,
};
use bulkhead_sdk::source::Source as _;
use bulkhead_sdk::{host::scope, source::BackupRequest};
use clap::{Parser, ValueEnum};

use cost::Meter;
use destination::Destination;
use failure::Failure;
use native::NativeHost;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// How the plugin runs.
    mode: Mode,
    /// Where entries go.
    destination: Kind,
    /// The server, "host:port".
    #[arg(long)]
    address: String,
    /// Password of the role `backup`.
    #[arg(long)]
    password: String,
    /// How the connection is protected: `disable` or `require`.
    #[arg(long, default_value = "require")]
    tls: Tls,
    /// A folder for the vault, which must not exist.
    #[arg(long)]
    vault: PathBuf,
    /// A folder for compiled components.
    #[arg(long)]
    cache: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Native,
    Sandboxed,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Vault,
    Nothing,
}

#[derive(Clone, Copy, ValueEnum)]
enum Tls {
    Disable,
    Require,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let destination = match arguments.destination {
        Kind::Vault => Destination::vault(&arguments.vault).await?,
        Kind::Nothing => Destination::nothing(),
    };
    let meter = match arguments.mode {
        Mode::Sandboxed => sandboxed(&arguments, &destination).await?,
        Mode::Native => native(&arguments, &destination).await?,
    };
    destination.commit().await?;
    print(&meter.read(destination.stored())?);
    Ok(())
}

/// Loads the embedded component and runs it.
async fn sandboxed(arguments: &Arguments, destination: &Destination) -> Result<Meter, Failure> {
    let runtime = Runtime::new(RuntimeOptions {
        cache: arguments.cache.clone(),
    })?;
    let component = bulkhead_builtin::find("postgres").ok_or(Failure::NoPlugin)?;
    let plugin = runtime.load(component.wasm, &LoadLimits::default()).await?;
    let setup = PluginSetup {
        table: "pipeline.tax".to_owned(),
        config: config(),
        grants: grants(arguments),
        limits: limits(),
    };
    let source = Source::new(plugin, setup)?;
    let meter = Meter::start()?;
    source
        .backup(
            &OperationContext::default(),
            BackupInput {
                entries: destination.entries(),
                parent: None,
            },
        )
        .await?;
    Ok(meter)
}

/// Calls the plugin's own crate on a thread of its own, as a guest runs on a fiber of its own.
async fn native(arguments: &Arguments, destination: &Destination) -> Result<Meter, Failure> {
    let host = Arc::new(NativeHost::new(&grants(arguments), limits(), destination.entries()));
    let meter = Meter::start()?;
    let backup = tokio::task::spawn_blocking(move || {
        scope(host, || {
            let config = bulkhead_sdk::config::parse(&config().to_string())?;
            Postgres::new(config)?.backup(BackupRequest { checkpoint: None })
        })
    });
    backup
        .await
        .map_err(|error| Failure::Native(error.to_string()))?
        .map_err(|error| Failure::Native(error.to_string()))?;
    Ok(meter)
}

fn config() -> serde_json::Value {
    serde_json::json!({ "mode": "physical", "user": "backup" })
}

fn limits() -> Limits {
    Limits::default_for(PluginKind::Source)
}

fn grants(arguments: &Arguments) -> Grants {
    let mode = match arguments.tls {
        Tls::Disable => TlsMode::Disable,
        Tls::Require => TlsMode::Require,
    };
    let mut server = EndpointGrant::new(Address::Addresses(vec![arguments.address.clone()]));
    server.tls = TlsSettings {
        mode,
        ..TlsSettings::default()
    };
    let password = SecretBytes::new(arguments.password.clone().into_bytes());
    let password = SecretGrant {
        provider: Arc::new(FixedSecret(password)),
        reveal: true,
    };
    Grants {
        endpoints: BTreeMap::from([("server".to_owned(), server)]),
        secrets: BTreeMap::from([("password".to_owned(), password)]),
        ..Grants::default()
    }
}

#[expect(clippy::print_stdout, reason = "the answer of this program")]
fn print(answer: &serde_json::Value) {
    println!("{answer}");
}

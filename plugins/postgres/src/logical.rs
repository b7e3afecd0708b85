//! Mode `logical`: databases as SQL, by the crate `bulkhead-postgres-logical`, with what this plugin's config says.

use std::io::Write;

use bulkhead_postgres_logical::{self as logical, Layout, LiveOptions, Settings};
use bulkhead_sdk::{
    Result,
    source::{BackupResult, RenderRequest, RestoreRequest, RestoreResult},
    types::Finding,
};

use crate::{config::Config, connection};

/// A snapshot has nothing else in it.
fn settings(config: &Config) -> Settings {
    Settings {
        login: connection::login(config),
        database: config.database().to_owned(),
        databases: config.databases.clone(),
        exclude_databases: config.exclude_databases.clone(),
        parts: config.parts(),
        exclude_data: config.exclude_data.clone(),
        rows: config.rows.clone(),
        order: Default::default(),
        lock_timeout: config.lock_timeout(),
        jobs: config.jobs.get(),
        globals: true,
        layout: Layout::default(),
    }
}

/// Looks at what would make a backup fail.
pub(crate) fn check(config: &Config) -> Result<Vec<Finding>> {
    logical::check(&settings(config))
}

/// Reads roles and databases into entries.
pub(crate) fn backup(config: &Config) -> Result<BackupResult> {
    logical::backup(&settings(config), None)
}

/// Replays entries into a live server.
pub(crate) fn restore(config: &Config, request: &RestoreRequest) -> Result<RestoreResult> {
    let options: LiveOptions = request.options()?;
    logical::restore(&settings(config), request, &options)
}

/// Carries out what another instance shares out.
pub(crate) fn run_part(config: &Config, work: &[u8]) -> Result<Vec<u8>> {
    logical::run_part(&settings(config), work)
}

/// Whether a stored dump is whole.
pub(crate) fn verify() -> Result<Vec<Finding>> {
    logical::verify(&Layout::default())
}

/// Writes a stored dump as one script.
pub(crate) fn render(request: &RenderRequest, into: &mut dyn Write) -> Result<()> {
    logical::render(&Layout::default(), request, into)
}

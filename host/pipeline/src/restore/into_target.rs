//! A restore through a pipeline's plugin, into one of its targets.

use std::sync::Arc;

use bulkhead_config::{Pipeline, Target};
use bulkhead_model::{FaultKind, Finding, Severity};
use bulkhead_runtime::{Plugin, PluginError, RestoreRequest};
use serde_json::json;

use crate::{
    browse::{SnapshotError, open_snapshot},
    host::target_site,
    operation::Operation,
    recovery::plan_recovery,
    restore::{RestoreError, RestoreOptions, RestoreReport},
    setup,
    stored::VaultSnapshot,
};

/// The plugin's option for a restore over what is there.
const DELTA: &str = "delta";

/// Restores a snapshot of `pipeline` through its plugin into `target`.
///
/// # Errors
/// See [`RestoreError`].
pub async fn restore_to_target(
    operation: &Operation,
    pipeline: &Pipeline,
    options: &RestoreOptions,
    target: &Target,
) -> Result<RestoreReport, RestoreError> {
    let limit = setup::limits(&target.limits, setup::source_defaults()).wall_clock;
    operation
        .until_interrupted(Some(limit), to_target(operation, pipeline, options, target))
        .await?
}

#[tracing::instrument(name = "restore", skip_all, fields(pipeline = pipeline.name, plugin = pipeline.plugin, target = target.name))]
async fn to_target(
    operation: &Operation,
    pipeline: &Pipeline,
    options: &RestoreOptions,
    target: &Target,
) -> Result<RestoreReport, RestoreError> {
    let clock = tokio::time::Instant::now();
    operation.progress.phase("opening", None);
    let (source, plugin) = operation.host.target(&operation.config, pipeline, target).await?;
    require_ability(&plugin, pipeline, options, target)?;
    let planned = match &options.recovery {
        Some(recovery) => Some(plan_recovery(operation, pipeline, &options.snapshot, recovery).await?),
        None => None,
    };
    let selector = planned
        .as_ref()
        .map_or(options.snapshot.as_str(), |planned| planned.range.base.as_str());
    let opened = open_snapshot(operation, pipeline, selector).await?;
    let snapshot = Arc::new(VaultSnapshot::open(opened.reader().clone()).await.map_err(SnapshotError::from)?);
    for path in &options.paths {
        opened.reader().stat(path).await.map_err(SnapshotError::from)?;
    }
    operation.progress.phase("restoring", None);
    let mut plugin_options = target.config.clone();
    if let Some(planned) = &planned {
        plugin_options.insert("recovery".to_owned(), planned.option.clone());
    }
    if let Some(delta) = options.delta {
        plugin_options.insert(DELTA.to_owned(), json!({ "dry-run": delta.dry_run }));
    }
    let request = RestoreRequest {
        paths: options.paths.clone(),
        options: plugin_options.into(),
    };
    let outcome = source
        .restore(&operation.context(), snapshot, request)
        .await
        .map_err(|error| failed(pipeline, options, target, error))?;
    let mut findings = opened.findings();
    findings.extend(planned.iter().flat_map(|planned| planned.findings.clone()));
    findings.extend(outcome.findings);
    if outcome.entries == 0 {
        findings.push(nothing_restored());
    }
    Ok(RestoreReport {
        pipeline: Some(pipeline.name.clone()),
        snapshot: opened.id(),
        target: target.name.clone(),
        entries: outcome.entries,
        bytes: outcome.bytes,
        seconds: clock.elapsed().as_secs_f64(),
        dry_run: options.delta.is_some_and(|delta| delta.dry_run),
        changes: None,
        surplus: Vec::new(),
        recovery: planned.map(|planned| planned.range),
        facts: outcome.facts,
        findings,
    })
}

/// A plugin that does not read the option would write, in a rehearsal too: only one that states the ability is asked.
fn require_ability(plugin: &Plugin, pipeline: &Pipeline, options: &RestoreOptions, target: &Target) -> Result<(), RestoreError> {
    let is_able = plugin.description().operations.contains(bulkhead_runtime::Operation::RestoreDelta);
    if is_able || options.delta.is_none() {
        return Ok(());
    }
    Err(no_delta(pipeline, target))
}

fn no_delta(pipeline: &Pipeline, target: &Target) -> RestoreError {
    RestoreError::NoDelta {
        plugin: pipeline.plugin.clone(),
        site: target_site(pipeline, target),
    }
}

/// A mode of a plugin that only writes where there is nothing doesn't know the option.
fn failed(pipeline: &Pipeline, options: &RestoreOptions, target: &Target, error: PluginError) -> RestoreError {
    let is_about_delta =
        matches!(&error, PluginError::Fault(fault) if fault.kind == FaultKind::Config && fault.setting.as_deref() == Some(DELTA));
    if is_about_delta && options.delta.is_some() && options.paths.is_empty() {
        return no_delta(pipeline, target);
    }
    RestoreError::Plugin {
        site: target_site(pipeline, target),
        source: Box::new(error),
    }
}

fn nothing_restored() -> Finding {
    Finding {
        severity: Severity::Warning,
        code: "nothing-restored".to_owned(),
        message: "the plugin restored nothing".to_owned(),
        hint: Some("look at what the target's `config` leaves out, and at `bulkhead ls`".to_owned()),
        setting: None,
    }
}

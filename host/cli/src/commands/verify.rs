//! `bulkhead verify`

use std::{collections::BTreeSet, sync::Arc};

use bulkhead_config::{Config, Pipeline};
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{Operation, SnapshotVerification, VaultVerification, VerifyError};
use clap::Args;
use serde_json::json;

use crate::{
    commands::{print_findings, short},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, ProgressDisplay, bytes, count, local_time},
    session::{Session, selected},
};

/// Check that what is stored is whole, and makes sense to its plugin
///
/// First each vault: every snapshot's tree, every object that it refers to; with --read-data every byte. Then each pipeline's plugin looks at its latest
/// snapshot: checksums, end markers, counts.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead verify\n  bulkhead verify shop --read-data\n  bulkhead verify shop --snapshot 3f2a91c4\n  bulkhead verify shop --all-snapshots"
)]
pub(crate) struct VerifyArguments {
    /// Pipelines whose vaults and snapshots to verify; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// Read every byte of the vaults
    #[arg(long)]
    read_data: bool,

    /// Let the plugin look at this snapshot
    #[arg(long, value_name = "ID", default_value = "latest")]
    snapshot: String,

    /// Let the plugin look at every snapshot
    #[arg(long, conflicts_with = "snapshot")]
    all_snapshots: bool,

    /// Check the vaults only
    #[arg(long, conflicts_with_all = ["snapshot", "all_snapshots"])]
    vault_only: bool,
}

pub(crate) async fn verify(arguments: &VerifyArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipelines = selected(&config, &arguments.pipelines)?;
    let mut verification = Verification {
        operation: session.operation(&config)?,
        config: &config,
        output: &session.output,
        exit: Exit::Ok,
        vaults: Vec::new(),
        snapshots: Vec::new(),
    };
    let vaults: BTreeSet<&str> = pipelines.iter().map(|pipeline| pipeline.vault.as_str()).collect();
    for vault in vaults {
        verification.vault(vault, arguments.read_data).await?;
    }
    if !arguments.vault_only {
        for pipeline in pipelines {
            for snapshot in verification.chosen(pipeline, arguments).await? {
                verification.snapshot(pipeline, &snapshot).await?;
            }
        }
    }
    if session.output.is_json() {
        session.output.document(
            "verify",
            &json!({ "vaults": verification.vaults, "snapshots": verification.snapshots }),
        );
    }
    Ok(verification.exit)
}

struct Verification<'s> {
    operation: Operation,
    config: &'s Arc<Config>,
    output: &'s Output,
    exit: Exit,
    vaults: Vec<VaultVerification>,
    snapshots: Vec<SnapshotVerification>,
}

impl Verification<'_> {
    fn failed(&self, error: &VerifyError) -> CommandError {
        CommandError::operation(error, self.config)
    }

    async fn chosen(&self, pipeline: &Pipeline, arguments: &VerifyArguments) -> Result<Vec<String>, CommandError> {
        if !arguments.all_snapshots {
            return Ok(vec![arguments.snapshot.clone()]);
        }
        let listed = pipeline::snapshots(&self.operation.child(), &pipeline.vault, std::slice::from_ref(&pipeline.name)).await;
        let listed = listed.map_err(|error| CommandError::operation(&error, self.config))?;
        Ok(listed.into_iter().map(|snapshot| snapshot.id).collect())
    }

    async fn vault(&mut self, name: &str, read_data: bool) -> Result<(), CommandError> {
        let operation = self.operation.child();
        let display = ProgressDisplay::start(self.output, name, &operation.progress);
        let result = pipeline::verify_vault(&operation, name, read_data).await;
        drop(display);
        let report = result.map_err(|error| self.failed(&error))?;
        if !report.damage.is_empty() {
            self.exit = self.exit.and(Exit::Damaged);
        }
        if !self.output.is_json() {
            print_vault(&report, self.output);
        }
        self.vaults.push(report);
        Ok(())
    }

    async fn snapshot(&mut self, pipeline: &Pipeline, selector: &str) -> Result<(), CommandError> {
        let operation = self.operation.child();
        let display = ProgressDisplay::start(self.output, &pipeline.name, &operation.progress);
        let result = pipeline::verify_snapshot(&operation, pipeline, selector).await;
        drop(display);
        let report = result.map_err(|error| self.failed(&error))?;
        if !report.is_good() {
            self.exit = self.exit.and(Exit::Damaged);
        }
        if !self.output.is_json() {
            let (mark, word) = if report.is_good() {
                (Mark::Good, "good   ")
            } else {
                (Mark::Bad, "damaged")
            };
            let word = self.output.mark(mark, word);
            self.output.line(&format!(
                "{word} snapshot {} of {} ({})",
                short(&report.snapshot),
                report.pipeline,
                local_time(&report.time)
            ));
            print_findings(&report.findings, None, self.config, self.output);
        }
        self.snapshots.push(report);
        Ok(())
    }
}

fn print_vault(report: &VaultVerification, output: &Output) {
    let read = if report.read_data {
        format!(", {} read", bytes(report.bytes_read))
    } else {
        String::new()
    };
    let (mark, word) = if report.damage.is_empty() {
        (Mark::Good, "good   ")
    } else {
        (Mark::Bad, "damaged")
    };
    let word = output.mark(mark, word);
    output.line(&format!(
        "{word} vault {}: {} snapshots, {} packs{read}",
        report.vault,
        count(report.snapshots),
        count(report.packs)
    ));
    for damage in &report.damage {
        output.line(&format!("        {}: {}; {}", damage.object, damage.damage, damage.consequence));
        if !damage.snapshots.is_empty() {
            let snapshots: Vec<&str> = damage.snapshots.iter().map(|id| short(id)).collect();
            output.line(&format!("        affected snapshots: {}", snapshots.join(", ")));
        }
    }
    if report.unreferenced_packs > 0 {
        output.note(&format!(
            "        {} packs belong to no snapshot: left by runs that did not finish, harmless",
            count(report.unreferenced_packs)
        ));
    }
}

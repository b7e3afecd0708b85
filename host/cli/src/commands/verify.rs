//! `bulkhead verify`

use std::{collections::BTreeSet, sync::Arc};

use bulkhead_config::{Config, Pipeline};
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{Explain, Operation, ReadContent, SnapshotVerification, SnapshotVerifier, VaultVerification, VerifyError};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    commands::{print_findings, short},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, ProgressDisplay, bytes, count, counted, local_time},
    session::{Session, selected_some},
};

/// Check that what is stored is whole, and makes sense to its plugin
///
/// First each vault: every snapshot's tree, every object that it refers to; with --read-data every byte, with --subset that of some packs. Then each pipeline's plugin looks at its latest
/// snapshot: checksums, end markers, counts. What was found is recorded in the vault, on its first sink: `snapshots` and `status` show it, and `forget` keeps the last verified ones. What can't be looked at is told, and the rest is looked at all the same; damage decides the exit code.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead verify\n  bulkhead verify shop --read-data\n  bulkhead verify --subset rotating/7       each day another seventh of the packs\n  bulkhead verify --subset '50 GiB'         packs chosen at random\n  bulkhead verify shop --snapshot 3f2a91c4\n  bulkhead verify shop --sink offsite --read-data     the replica there\n  bulkhead verify shop --all-snapshots"
)]
pub(crate) struct VerifyArguments {
    /// Pipelines whose vaults and snapshots to verify; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// Read every byte of the vaults
    #[arg(long)]
    read_data: bool,

    /// Read some of the packs: a part (2/7), each day the next part (rotating/7), a share (5%) or a size ('2 GiB')
    #[arg(long, value_name = "SUBSET", conflicts_with = "read_data")]
    subset: Option<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

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
    let content = content(arguments)?;
    let config = session.config()?;
    let pipelines = selected_some(&config, &arguments.pipelines)?;
    let vaults: BTreeSet<&str> = pipelines.iter().map(|pipeline| pipeline.vault.as_str()).collect();
    let mut verification = Verification {
        operation: session.reading(&config, arguments.sink.as_deref(), vaults.iter().copied())?,
        config: &config,
        arguments,
        content,
        output: &session.output,
        exit: Exit::Ok,
        unusable: BTreeSet::new(),
        vaults: Vec::new(),
        snapshots: Vec::new(),
    };
    for vault in vaults {
        verification.vault(vault).await;
    }
    for pipeline in pipelines.into_iter().filter(|_| !arguments.vault_only) {
        if !verification.unusable.contains(&pipeline.vault) {
            verification.pipeline(pipeline).await;
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

/// How much of the packs to read.
fn content(arguments: &VerifyArguments) -> Result<ReadContent, CommandError> {
    match &arguments.subset {
        _ if arguments.read_data => Ok(ReadContent::All),
        None => Ok(ReadContent::None),
        Some(subset) => ReadContent::some(subset)
            .map_err(|error| CommandError::usage(error.to_string(), "`bulkhead verify --help` has examples of each")),
    }
}

/// Goes on after a failure: one vault that can't be opened says nothing about the next.
struct Verification<'s> {
    operation: Operation,
    config: &'s Arc<Config>,
    arguments: &'s VerifyArguments,
    content: ReadContent,
    output: &'s Output,
    exit: Exit,
    /// Vaults that could not be checked at all: for each of their snapshots the answer would be the same.
    unusable: BTreeSet<String>,
    vaults: Vec<Value>,
    snapshots: Vec<Value>,
}

impl Verification<'_> {
    /// Tells of something that could not be looked at; the document is for the list that it belongs to.
    fn failed(&mut self, error: &dyn Explain, of: &str, name: &str) -> Value {
        self.told(&CommandError::operation(error, self.config), of, name)
    }

    /// The same of something that is left out because of an interruption; `None` where there was none.
    fn skipped(&mut self, of: &str, name: &str, what: &str) -> Option<Value> {
        let is_cancelled = self.operation.cancellation.is_cancelled();
        is_cancelled.then(|| self.told(&CommandError::not_begun(what), of, name))
    }

    fn told(&mut self, error: &CommandError, of: &str, name: &str) -> Value {
        self.exit = self.exit.or_worse(error.exit());
        if !self.output.is_json() {
            self.output.complain(error);
        }
        let mut document = error.to_json();
        document[of] = name.into();
        document
    }

    async fn vault(&mut self, name: &str) {
        if let Some(document) = self.skipped("vault", name, &format!("the vault `{name}` was not verified")) {
            return self.vaults.push(document);
        }
        let operation = self.operation.child();
        let display = ProgressDisplay::start(self.output, name, &operation.progress);
        let result = pipeline::verify_vault(&operation, name, &self.content).await;
        drop(display);
        match result {
            Ok(report) => {
                if !report.damage.is_empty() {
                    self.exit = self.exit.or_worse(Exit::Damaged);
                }
                if !self.output.is_json() {
                    print_vault(&report, self.output);
                }
                self.tell_of_the_record(name, report.not_recorded.as_deref());
                self.vaults.push(serde_json::to_value(&report).unwrap_or_default());
            }
            Err(error) => {
                if matches!(error, VerifyError::Access(_) | VerifyError::Build(_)) {
                    self.unusable.insert(name.to_owned());
                }
                let document = self.failed(&error, "vault", name);
                self.vaults.push(document);
            }
        }
    }

    async fn pipeline(&mut self, pipeline: &Pipeline) {
        let name = &pipeline.name;
        if let Some(document) = self.skipped("pipeline", name, &format!("no snapshot of `{name}` was verified")) {
            return self.snapshots.push(document);
        }
        let opened = match self.open(pipeline).await {
            Ok(opened) => opened,
            Err(error) => {
                let document = self.failed(&error, "pipeline", name);
                return self.snapshots.push(document);
            }
        };
        let (mut verifier, selectors) = opened;
        for selector in selectors {
            if let Some(document) = self.skipped("pipeline", name, &format!("not all snapshots of `{name}` were verified")) {
                return self.snapshots.push(document);
            }
            self.snapshot(&mut verifier, name, &selector).await;
        }
        let not_recorded = verifier.record(&self.operation.child()).await;
        self.tell_of_the_record(name, not_recorded.as_deref());
    }

    /// Opens what is needed to verify snapshots of `pipeline`, and says which.
    async fn open(&self, pipeline: &Pipeline) -> Result<(SnapshotVerifier, Vec<String>), VerifyError> {
        let verifier = SnapshotVerifier::open(&self.operation.child(), pipeline).await?;
        let mut selectors = vec![self.arguments.snapshot.clone()];
        if self.arguments.all_snapshots {
            let all = verifier.snapshots(&self.operation.child()).await?;
            // Nothing to look at is a failure, the same as where only the latest is asked for.
            selectors = if all.is_empty() { vec!["latest".to_owned()] } else { all };
        }
        Ok((verifier, selectors))
    }

    async fn snapshot(&mut self, verifier: &mut SnapshotVerifier, pipeline: &str, selector: &str) {
        let operation = self.operation.child();
        let display = ProgressDisplay::start(self.output, pipeline, &operation.progress);
        let result = verifier.verify(&operation, selector).await;
        drop(display);
        match result {
            Ok(report) => {
                if !report.is_good() {
                    self.exit = self.exit.or_worse(Exit::Damaged);
                }
                if !self.output.is_json() {
                    self.print_snapshot(&report);
                }
                self.snapshots.push(serde_json::to_value(&report).unwrap_or_default());
            }
            Err(error) => {
                let mut document = self.failed(&error, "pipeline", pipeline);
                document["snapshot"] = selector.into();
                if self.arguments.all_snapshots {
                    let snapshot = format!("  that was the snapshot {} of {pipeline}", short(selector));
                    self.output.warn(&snapshot);
                }
                self.snapshots.push(document);
            }
        }
    }

    /// Why the vault doesn't know of what was found: it is as true, but no `retention` goes by it.
    fn tell_of_the_record(&self, of: &str, not_recorded: Option<&str>) {
        if let Some(reason) = not_recorded {
            self.output
                .warn(&format!("warning: what was found in {of} is not recorded in the vault: {reason}"));
        }
    }

    fn print_snapshot(&self, report: &SnapshotVerification) {
        self.output.line(&format!(
            "{} snapshot {} of {} ({})",
            verdict(report.is_good(), self.output),
            short(&report.snapshot),
            report.pipeline,
            local_time(&report.time)
        ));
        print_findings(&report.findings, None, self.config, self.output);
    }
}

fn verdict(is_good: bool, output: &Output) -> String {
    if is_good {
        output.mark(Mark::Good, "good   ")
    } else {
        output.mark(Mark::Bad, "damaged")
    }
}

fn print_vault(report: &VaultVerification, output: &Output) {
    let read = match &report.subset {
        _ if report.read_data => format!(", {} read", bytes(report.bytes_read)),
        None => String::new(),
        Some(subset) => format!(
            ", {subset} read: {} of {} packs, {} of {}",
            count(report.packs_read),
            count(report.packs),
            bytes(report.bytes_read),
            bytes(report.pack_bytes)
        ),
    };
    output.line(&format!(
        "{} vault {} on sink {}: {}, {}{read}",
        verdict(report.damage.is_empty(), output),
        report.vault,
        report.sink,
        counted(report.snapshots, "snapshot", "snapshots"),
        counted(report.packs, "pack", "packs"),
    ));
    for damage in &report.damage {
        output.line(&format!("        {}: {}; {}", damage.object, damage.damage, damage.consequence));
        if !damage.snapshots.is_empty() {
            let snapshots: Vec<&str> = damage.snapshots.iter().map(|id| short(id)).collect();
            output.line(&format!("        affected snapshots: {}", snapshots.join(", ")));
        }
    }
    if report.further_damage > 0 {
        output.line(&format!(
            "        and {} like these",
            counted(report.further_damage, "further problem", "further problems")
        ));
    }
    if !report.damage.is_empty() {
        output.note(
            "        another sink may have it whole (`--sink`); `bulkhead repair` makes the best of what is left (docs/maintenance.md)",
        );
    }
    if report.unreferenced_packs > 0 {
        let packs = counted(report.unreferenced_packs, "pack belongs", "packs belong");
        output.note(&format!(
            "        {packs} to no snapshot: left by runs that did not finish, harmless; `bulkhead prune` removes them"
        ));
    }
}

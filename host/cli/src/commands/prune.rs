//! `bulkhead prune`

use std::time::Duration;

use bulkhead_config::{ByteSize, Period};
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{Operation, PruneLimit, PruneOptions, PruneReport};
use clap::Args;

use crate::{
    commands::{Several, agreed, print_sinks, vaults_named},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, bytes, counted},
    session::Session,
};

/// Remove what no snapshot needs
///
/// Packs that nothing needs any more are marked first, and deleted by a prune after the grace time, so that a restore that is under way ends well. Packs
/// that are needed in part are rewritten. Nobody else can be at work in the vault meanwhile: runs are refused, and it is refused beside one. All sinks of
/// the vault follow the first one. A prune that was cut off does no harm; the next one finishes it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead prune --dry-run                 what would go, in all vaults\n  bulkhead prune databases --yes           for a timer\n  bulkhead prune --max-unused 0 --max-repack unlimited     free all that can be freed\n  bulkhead prune databases --grace 0s      at once: only while nobody reads from the vault"
)]
pub(crate) struct PruneArguments {
    /// Vaults to prune; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// How long packs stay after they were marked; 0s deletes them at once
    #[arg(long, value_name = "TIME", default_value = "23h", value_parser = period)]
    grace: Duration,

    /// How long to wait for others who are at work in the vault; a log that is followed makes room between two of its snapshots. Give --yes with it: a plan that is agreed to is made anew after another wait
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = period)]
    wait: Duration,

    /// Count the longest pause between snapshots as part of that time: it was one, and not a clock that jumped forward
    #[arg(long)]
    clock_is_right: bool,

    /// Unused bytes that may stay in packs which are needed: a size, a percentage of what is needed, or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = limit)]
    max_unused: PruneLimit,

    /// Bytes that may be rewritten at most: a size, a percentage of the vault, or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "10%", value_parser = limit)]
    max_repack: PruneLimit,

    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Carry the plan out without asking
    #[arg(short, long)]
    yes: bool,
}

fn period(text: &str) -> Result<Duration, String> {
    Period::parse(text).map(|period| period.0).map_err(|error| error.to_string())
}

fn limit(text: &str) -> Result<PruneLimit, String> {
    if text == "unlimited" {
        return Ok(PruneLimit::Unlimited);
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.trim().parse().ok().filter(|percent: &u8| *percent < 100);
        return percent
            .map(PruneLimit::Percent)
            .ok_or_else(|| "a percentage is below 100".to_owned());
    }
    if text == "0" {
        return Ok(PruneLimit::Bytes(0));
    }
    ByteSize::parse(text)
        .map(|size| PruneLimit::Bytes(size.0))
        .map_err(|error| error.to_string())
}

pub(crate) async fn prune(arguments: &PruneArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let operation = session.operation(&config)?;
    let options = PruneOptions {
        grace: arguments.grace,
        clock_is_right: arguments.clock_is_right,
        patience: arguments.wait,
        max_unused: arguments.max_unused,
        max_repack: arguments.max_repack,
    };
    let mut several = Several::new(session, &config);
    for vault in vaults_named(&config, &arguments.vaults)? {
        let Some(operation) = several.begin(&operation, &vault) else {
            continue;
        };
        let planned = if arguments.yes {
            None
        } else {
            let work = pipeline::plan_prune(&operation, &vault, options);
            let Some(planned) = several.attempt(&operation, &vault, work).await else {
                continue;
            };
            Some(planned)
        };
        if let Some(planned) = &planned {
            print(planned, &session.output);
            // Whether a further sink is behind is found out when it follows.
            let is_idle = planned.nothing_to_do && config.vault(&vault).is_none_or(|vault| vault.sinks.len() < 2);
            let is_wanted = !arguments.dry_run && !is_idle && agreed(false, &question(planned), session).await?;
            if !is_wanted {
                several.done(planned, true);
                continue;
            }
        }
        carry_out(&operation, &vault, options, planned, &mut several).await;
    }
    Ok(several.end("prune"))
}

fn question(planned: &PruneReport) -> String {
    let vault = &planned.vault;
    if planned.nothing_to_do {
        format!("Nothing to do on the first sink of the vault {vault}. Bring the others to where it is?")
    } else {
        format!("Prune the vault {vault}?")
    }
}

async fn carry_out(operation: &Operation, vault: &str, options: PruneOptions, agreed: Option<PruneReport>, several: &mut Several<'_>) {
    let output = &several.session.output;
    let shown = output.clone();
    let agrees = move |plan: &PruneReport| match agreed {
        Some(agreed) => plan.plan.removes_the_same(&agreed.plan),
        None => {
            print(plan, &shown);
            true
        }
    };
    let work = pipeline::prune(operation, vault, options, agrees);
    if let Some(report) = several.attempt(operation, vault, work).await {
        if !output.is_json() {
            output.line(&format!("{} vault {}", output.mark(Mark::Good, "pruned"), report.vault));
            print_sinks(&report.sinks, "pruned", "object removed", "objects removed", output);
        }
        several.done(&report, pipeline::is_everywhere(&report.sinks));
    }
}

/// A plan, line by line; what doesn't occur is left out.
fn print(report: &PruneReport, output: &Output) {
    if output.is_json() {
        return;
    }
    let figures = &report.plan;
    output.line(&output.mark(Mark::Strong, &format!("vault {}", report.vault)));
    let line = |name: &str, number: u64, text: String| {
        if number > 0 {
            output.line(&format!("  {name:<10} {text}"));
        }
    };
    let packs = |number: u64, size: u64| format!("{}, {}", counted(number, "pack", "packs"), bytes(size));
    let fate = if report.at_once {
        "deleted at once"
    } else {
        "marked, deleted after the grace time"
    };
    line(
        "delete",
        figures.deleted_packs,
        format!(
            "{}: marked before, their grace time is over",
            packs(figures.deleted_packs, figures.deleted_bytes)
        ),
    );
    line(
        "unused",
        figures.unused_packs,
        format!("{}: {fate}", packs(figures.unused_packs, figures.unused_bytes)),
    );
    line(
        "left over",
        figures.unindexed_packs,
        format!(
            "{} of runs that did not finish: {fate}",
            packs(figures.unindexed_packs, figures.unindexed_bytes)
        ),
    );
    line(
        "repack",
        figures.repacked_packs,
        format!(
            "{}: {} written anew, {} freed, the old ones {fate}",
            counted(figures.repacked_packs, "pack", "packs"),
            bytes(figures.rewritten_bytes),
            bytes(figures.repack_freed_bytes)
        ),
    );
    line(
        "recover",
        figures.recovered_packs,
        format!(
            "{} that were marked and are needed after all",
            counted(figures.recovered_packs, "pack", "packs")
        ),
    );
    line(
        "wait",
        figures.waiting_packs,
        format!(
            "{}: marked, their grace time (without the longest pause between snapshots) is not over",
            packs(figures.waiting_packs, figures.waiting_bytes)
        ),
    );
    output.line(&format!(
        "  {:<10} {} needed, {} unused in packs that stay",
        "keep",
        bytes(figures.needed_bytes),
        bytes(figures.remaining_unused_bytes)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_percentages_or_none() {
        assert_eq!(limit("0"), Ok(PruneLimit::Bytes(0)));
        assert_eq!(limit("10 MiB"), Ok(PruneLimit::Bytes(10 << 20)));
        assert_eq!(limit("5%"), Ok(PruneLimit::Percent(5)));
        assert_eq!(limit("unlimited"), Ok(PruneLimit::Unlimited));
        for wrong in ["100%", "-1%", "much", ""] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}

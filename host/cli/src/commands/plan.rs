//! `bulkhead plan`

use bulkhead_config::{Config, Pipeline, Plan};
use bulkhead_pipeline as pipeline;
use clap::Args;

use crate::{
    error::CommandError,
    exit::Exit,
    session::{Session, builtin_plugins, selected_some, unknown},
};

/// Show what would be done, and what each plugin may touch
///
/// Reads the configuration and nothing else: no plugin is loaded, nothing is connected to.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead plan\n  bulkhead plan shop\n  bulkhead plan shop --restore scratch      a restore into that target"
)]
pub(crate) struct PlanArguments {
    /// Pipelines to plan; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// Plan a restore into this target of the pipeline instead of a run
    #[arg(long, value_name = "TARGET")]
    restore: Option<String>,
}

pub(crate) fn plan(arguments: &PlanArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipelines = selected_some(&config, &arguments.pipelines)?;
    let plans: Vec<Plan> = pipelines
        .iter()
        .map(|pipeline| plan_of(&config, pipeline, arguments))
        .collect::<Result<_, _>>()?;
    let builtin: Vec<&str> = builtin_plugins().iter().map(|plugin| plugin.name).collect();
    let unknown = config.unknown_plugins(&builtin);
    if session.output.is_json() {
        session
            .output
            .document("plan", &serde_json::json!({ "plans": plans, "diagnostics": unknown.to_json() }));
    } else {
        let texts: Vec<String> = plans.iter().map(ToString::to_string).collect();
        session.output.line(texts.join("\n").trim_end());
        if !unknown.items().is_empty() {
            session.output.note("");
            session.output.complain(&CommandError::Config(unknown.clone()));
        }
    }
    Ok(if unknown.items().is_empty() { Exit::Ok } else { Exit::Config })
}

fn plan_of(config: &Config, pipeline: &Pipeline, arguments: &PlanArguments) -> Result<Plan, CommandError> {
    let defaults = pipeline::default_limits();
    let plan = match &arguments.restore {
        None => Plan::run(config, pipeline, &defaults),
        Some(name) => {
            let target = pipeline.targets.iter().find(|target| target.name == *name);
            let known = pipeline.targets.iter().map(|target| target.name.as_str());
            Plan::restore(config, pipeline, target.ok_or_else(|| unknown("target", name, known))?, &defaults)
        }
    };
    plan.ok_or_else(|| {
        CommandError::usage(
            format!("`{}` cannot be planned", pipeline.name),
            "its vault or a sink is not in the configuration",
        )
    })
}

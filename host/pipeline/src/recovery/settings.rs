//! What the recovering server is told: its [`settings`], and the [`restore_command`] among them.

use bulkhead_config::Pipeline;
use bulkhead_model::Timestamp;

use super::{
    RecoveryOptions, RecoveryTarget, TargetAction,
    stated::{Stated, position},
};
use crate::clock;

/// What the server runs for each segment. A standby goes on with what comes; a recovery ends with the snapshot that it was planned with.
pub(super) fn restore_command(options: &RecoveryOptions, wal: &Pipeline, log: &Stated, base: &Stated, sink: Option<&str>) -> String {
    let program = options.program.replace('%', "%%");
    let pinned = match options.standby {
        Some(_) => String::new(),
        None => format!(" --snapshot {} --from {} --to {}", log.id, position(base.start), position(log.end)),
    };
    // Names of sinks and pipelines need no quotation marks.
    let sink = sink.map(|sink| format!(" --sink {sink}")).unwrap_or_default();
    format!("{program} wal-fetch{pinned}{sink} {} %f %p", wal.name)
}

/// What can say where a recovery ends.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
];

/// Settings of the server, in order. Those of other targets are emptied, as the cluster may have some of an earlier recovery, and two targets are an error; and
/// that comes first, because a server counts one that is emptied later as a second one.
pub(super) fn settings(options: &RecoveryOptions, timeline: u32, restore_command: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![("restore_command", restore_command.to_owned())];
    let target = match &options.target {
        RecoveryTarget::Latest => None,
        RecoveryTarget::Time(time) => Some(("recovery_target_time", with_fraction(*time))),
        RecoveryTarget::Lsn(text) => Some(("recovery_target_lsn", text.clone())),
        RecoveryTarget::Xid(text) => Some(("recovery_target_xid", text.clone())),
        RecoveryTarget::Name(text) => Some(("recovery_target_name", text.clone())),
    };
    let others = TARGETS
        .into_iter()
        .filter(|name| target.as_ref().is_none_or(|(chosen, _)| chosen != name));
    settings.extend(others.map(|name| (name, String::new())));
    settings.extend(target);
    let action = match options.action {
        TargetAction::Promote => "promote",
        TargetAction::Pause => "pause",
        TargetAction::Shutdown => "shutdown",
    };
    // What `wal-fetch` has fetched ahead and nobody asked for.
    settings.push(("recovery_end_command", "rm -rf pg_wal/bulkhead-ahead".to_owned()));
    settings.push(("recovery_target_action", action.to_owned()));
    // By its number: a server looks for the latest one after the other, and stops where a number was given to another cluster's. A standby goes on to those to come.
    let timeline = match (&options.standby, &options.timeline) {
        (Some(_), asked) => asked.clone().unwrap_or_else(|| "latest".to_owned()),
        (None, _) => timeline.to_string(),
    };
    settings.push(("recovery_target_timeline", timeline));
    if let Some(conninfo) = options.standby.as_ref().filter(|conninfo| !conninfo.is_empty()) {
        settings.push(("primary_conninfo", conninfo.clone()));
    }
    settings
}

/// A time as PostgreSQL reads it, in UTC, to the microsecond.
fn with_fraction(time: Timestamp) -> String {
    let whole = clock::rfc3339(Timestamp { nanoseconds: 0, ..time });
    let text = whole.trim_end_matches('Z').replace('T', " ");
    format!("{text}.{:06}+00", time.nanoseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_target_is_set() {
        let options = RecoveryOptions {
            target: RecoveryTarget::Time(Timestamp {
                seconds: 1_700_000_000,
                nanoseconds: 250_000_999,
            }),
            timeline: None,
            action: TargetAction::Pause,
            standby: None,
            program: "'/opt/50%/bulkhead'".into(),
        };
        let settings = settings(&options, 3, "x");
        let set: Vec<_> = settings.iter().filter(|(_, value)| !value.is_empty()).collect();
        assert_eq!(
            set,
            [
                &("restore_command", "x".to_owned()),
                &("recovery_target_time", "2023-11-14 22:13:20.250000+00".to_owned()),
                &("recovery_end_command", "rm -rf pg_wal/bulkhead-ahead".to_owned()),
                &("recovery_target_action", "pause".to_owned()),
                &("recovery_target_timeline", "3".to_owned()),
            ]
        );
        assert_eq!(settings.iter().filter(|(name, _)| name.starts_with("recovery_target")).count(), 7);
    }
}

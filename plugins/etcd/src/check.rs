//! Preflight: [`check`] asks every member what a backup would meet, and what an operator should know of the cluster's health.

use bulkhead_sdk::{Result, endpoint, types::Finding};

use crate::{
    backup::unreached,
    config::Config,
    files,
    members::{LAG, Reached, alarms, newest, survey, usable},
    rpc::{ENDPOINT, messages::StatusResponse},
};

/// From this size on, unused space is worth a word.
const WORTH_DEFRAGMENTING: i64 = 64 << 20;

/// etcd's default quota (`--quota-backend-bytes`); what a member's is, it does not tell before 3.6.
const DEFAULT_QUOTA: i64 = 2 << 30;

/// Connects to every member, and looks around.
pub(crate) fn check(config: &Config) -> Result<Vec<Finding>> {
    let mut survey = survey(config.user.as_deref())?;
    let mut findings: Vec<Finding> = survey.unreached.iter().map(unreached).collect();
    let newest = newest(&survey.reached);
    let mut refused = None;
    let mut is_usable = false;
    for member in &survey.reached {
        findings.extend(state(member.client.address(), &member.status, newest));
        match usable(config, member) {
            Ok(()) => is_usable = true,
            Err(error) => _ = refused.get_or_insert(error),
        }
    }
    if let Some(error) = refused.filter(|_| !is_usable) {
        findings.push(Finding::of_error("no-usable-member", &error));
    }
    if let Some(member) = survey.reached.first_mut() {
        findings.extend(alarms(member)?.iter().map(|raised| raised.finding(config)));
        findings.extend(unnamed(member));
        findings.extend(may_snapshot(config, member));
    }
    findings.extend(protection(&survey.reached));
    let (errors, of_files) = files::look(config);
    findings.extend(errors.iter().map(|error| Finding::of_error("file-not-there", error)));
    findings.extend(of_files);
    Ok(findings)
}

/// What one member says of itself.
fn state(address: &str, status: &StatusResponse, newest: u64) -> Vec<Finding> {
    let role = match (status.is_led_by_itself(), status.is_learner) {
        (true, _) => "leader",
        (_, true) => "learner",
        _ => "follower",
    };
    let header = status.header.unwrap_or_default();
    let mut findings = vec![Finding::info(
        "member-reached",
        format!(
            "{address}: etcd {}, {role} {:x} of cluster {:x}, revision {}, {} bytes of which {} are in use",
            status.version, header.member_id, header.cluster_id, header.revision, status.db_size, status.db_size_in_use
        ),
    )];
    if status.leader == 0 {
        let message = format!("{address} knows no leader: the cluster has lost its quorum, or this member its way to the others");
        findings
            .push(Finding::warning("no-leader", message).with_hint("look at `etcdctl endpoint status --cluster` and the members' logs"));
    }
    let lag = newest.saturating_sub(status.applied());
    if lag > LAG {
        let message = format!("{address} is {lag} changes behind the others");
        findings.push(
            Finding::warning("member-lags", message).with_hint("its disk or network is too slow: a backup reads from another member"),
        );
    }
    let unused = status.db_size - status.db_size_in_use;
    if status.db_size_in_use > 0 && status.db_size > WORTH_DEFRAGMENTING && unused > status.db_size / 2 {
        let message = format!(
            "{address}: {unused} of {} bytes are unused, and travel with every snapshot",
            status.db_size
        );
        findings
            .push(Finding::warning("defragment", message).with_hint(format!("etcdctl --endpoints={address} defrag, one member at a time")));
    }
    if status.db_size > DEFAULT_QUOTA / 10 * 9 {
        let message = format!(
            "{address} has {} bytes; etcd's default quota is {DEFAULT_QUOTA}, at which writes are refused",
            status.db_size
        );
        findings.push(
            Finding::info("quota-near", message).with_hint("compact and defragment, or see to it that `--quota-backend-bytes` is larger"),
        );
    }
    findings
}

/// Members that the endpoint has no address of. Without the right to list them, nothing is said.
fn unnamed(member: &mut Reached) -> Option<Finding> {
    let members = member.client.members().ok()?;
    let named = endpoint::settings(ENDPOINT).ok()?.addresses.len();
    let learners = members.iter().filter(|member| member.is_learner).count();
    if members.len() - learners <= named {
        return None;
    }
    let others: Vec<&str> = members
        .iter()
        .flat_map(|member| member.client_urls.iter().map(String::as_str))
        .collect();
    let message = format!(
        "the cluster has {} members, and the endpoint {named} addresses: no other member can take over",
        members.len()
    );
    let hint = format!("write them as `addresses = […]`: {}", others.join(", "));
    Some(Finding::info("members-not-named", message).with_hint(hint))
}

/// A snapshot needs the role `root` where authentication is enabled; asking for the first bytes of one finds out.
fn may_snapshot(config: &Config, member: &mut Reached) -> Option<Finding> {
    usable(config, member).ok()?;
    let begun = member
        .client
        .start_snapshot()
        .and_then(|mut call| member.client.next_blob(&mut call));
    begun.err().map(|error| Finding::of_error("snapshot-refused", &error))
}

/// What somebody on the way could do.
fn protection(reached: &[Reached]) -> Option<Finding> {
    let settings = endpoint::settings(ENDPOINT).ok()?;
    let open = reached
        .iter()
        .find(|member| !member.client.encrypted && !endpoint::is_local(member.client.address()));
    if open.is_some() {
        let message = "the whole store, secrets included, would pass over the network unencrypted";
        return Some(
            Finding::warning("connection-unencrypted", message)
                .with_hint("set `tls = { mode = \"verify-full\", ca = \"…\" }` in `endpoint.server`"),
        );
    }
    let encrypted = reached.iter().any(|member| member.client.encrypted);
    (encrypted && settings.tls < endpoint::TlsMode::VerifyCa).then(|| {
        let message = "nobody checks that the server is the right one: its certificate is not verified";
        Finding::warning("server-unverified", message).with_hint("set `tls = { mode = \"verify-full\", ca = \"…\" }` in `endpoint.server`")
    })
}

#[cfg(test)]
mod tests {
    use bulkhead_sdk::types::Severity;

    use super::*;

    fn told(status: StatusResponse) -> Vec<String> {
        let status = StatusResponse {
            leader: 1,
            raft_applied_index: 10_000,
            ..status
        };
        state("a:2379", &status, 10_000).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn space_that_travels_for_nothing_and_a_quota_that_is_near_are_told() {
        let sized = |db_size, db_size_in_use| {
            told(StatusResponse {
                db_size,
                db_size_in_use,
                ..StatusResponse::default()
            })
        };
        assert_eq!(sized(200 << 20, 150 << 20), ["member-reached"]);
        assert_eq!(sized(200 << 20, 99 << 20), ["member-reached", "defragment"]);
        assert_eq!(sized(60 << 20, 1 << 20), ["member-reached"], "too little to care for");
        assert_eq!(sized(200 << 20, 0), ["member-reached"], "a server that does not say what is in use");
        assert_eq!(sized(DEFAULT_QUOTA - 1, DEFAULT_QUOTA / 2 + 1), ["member-reached", "quota-near"]);
    }

    #[test]
    fn a_member_that_lags_or_knows_no_leader_is_told() {
        let lagging = StatusResponse {
            leader: 1,
            raft_applied_index: 10_000 - LAG - 1,
            ..StatusResponse::default()
        };
        let codes = |status: &StatusResponse| -> Vec<String> {
            let findings = state("a:2379", status, 10_000);
            assert!(
                findings[1..]
                    .iter()
                    .all(|finding| finding.severity == Severity::Warning && finding.hint.is_some())
            );
            findings.into_iter().map(|finding| finding.code).collect()
        };
        assert_eq!(codes(&lagging), ["member-reached", "member-lags"]);
        let alone = StatusResponse {
            leader: 0,
            raft_applied_index: 10_000,
            ..StatusResponse::default()
        };
        assert_eq!(codes(&alone), ["member-reached", "no-leader"]);
    }
}

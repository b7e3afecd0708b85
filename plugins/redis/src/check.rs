//! Preflight: [`check`] logs in, looks at what a backup needs, and says what would make one fail or worthless. It starts no resynchronization: that would
//! make the server fork.

use bulkhead_resp::Value;
use bulkhead_sdk::{
    Result,
    endpoint::{self, TlsMode},
    types::Finding,
};

use crate::{
    cluster::Topology,
    config::{Config, Mode},
    connection::{Connection, Login, SERVER},
    scan, sentinel,
    server::{Info, Role},
    sidecar::readable,
};

/// Of the finding that keys will be read one by one.
const NO_POINT_IN_TIME: &str = "no-point-in-time";

/// Connects, logs in, and looks around.
pub(crate) fn check(config: &Config) -> Result<Vec<Finding>> {
    let login = Login::server(config.user.as_deref());
    let (_, mut session, place) = sentinel::open(config, login)?;
    let info = Info::ask(&mut session)?;
    let mut findings = vec![reached(&info, &place)];
    findings.extend(protection());
    findings.extend(state(&info, config));
    if config.mode != Mode::Scan {
        findings.extend(right_to_synchronize(&mut session, config)?);
        findings.extend(buffer_limit(&mut session, &info)?);
        findings.extend(checksum(&mut session)?);
    }
    let by_key = config.mode == Mode::Scan || findings.iter().any(|finding| finding.code == NO_POINT_IN_TIME);
    if by_key && !info.is_loading() {
        let denied = scan::probe(&mut session, &info).err();
        findings.extend(denied.map(|error| Finding::of_error("scan-fails", &error)));
    }
    if info.is_cluster() {
        findings.extend(shards(&mut session, &place, config, &login));
    }
    Ok(findings)
}

fn reached(info: &Info, place: &str) -> Finding {
    let role = info.role();
    let keys: u64 = info.keyspace().values().sum();
    let cluster = if info.is_cluster() { " of a cluster" } else { "" };
    Finding::info(
        "server-reached",
        format!("{} at {place}, a {role}{cluster}, with {keys} keys", info.version()),
    )
}

/// What somebody on the way could do.
fn protection() -> Option<Finding> {
    let settings = endpoint::settings(SERVER).ok()?;
    let hint = "set `tls = { mode = \"verify-full\", ca = \"…\" }` in `endpoint.server`, and `tls-port` on the server";
    if settings.is_local() {
        return None;
    }
    match settings.tls {
        TlsMode::Disable => Some(
            Finding::warning(
                "connection-unencrypted",
                "the password and the whole dataset would pass over the network unencrypted",
            )
            .with_hint(hint),
        ),
        TlsMode::Require => Some(
            Finding::warning(
                "server-unverified",
                "nobody checks that the server is the right one: its certificate is not verified",
            )
            .with_hint(hint),
        ),
        _ => None,
    }
}

fn state(info: &Info, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if info.is_loading() {
        findings.push(
            Finding::error(
                "server-loading",
                "the server is loading its dataset into memory: a backup fails until it is done",
            )
            .with_hint("try again when INFO says loading:0"),
        );
    }
    if info.role() == Role::Replica {
        findings.push(replica(info, config));
    }
    if info.keyspace().is_empty() && !config.allow_empty && !info.is_loading() && !info.is_cluster() {
        findings.push(
            Finding::error(
                "no-keys",
                "the server has no keys at all: a backup fails, because it is the wrong server more often than not",
            )
            .with_hint("check `endpoint.server`; `allow-empty = true` believes it")
            .with_setting("allow-empty"),
        );
    }
    if info.get("rdb_last_bgsave_status") == Some("err") {
        findings.push(
            Finding::warning(
                "background-save-failed",
                "the server's own last background save failed; a backup needs to fork just as it did",
            )
            .with_hint("the server's log says why: memory for the fork (`vm.overcommit_memory = 1`) or space on its disk"),
        );
    }
    findings
}

fn replica(info: &Info, config: &Config) -> Finding {
    if !info.is_linked() {
        let since = info.get("master_link_down_since_seconds").unwrap_or("an unknown number of");
        return Finding::error(
            "replica-disconnected",
            format!(
                "the server is a replica that lost its master {since} seconds ago: a backup would be older than anybody knows, and fails"
            ),
        )
        .with_hint("INFO replication there says why; or back up another one");
    }
    match info.silence() {
        Some(silence) if silence > config.max_silence() => Finding::error(
            "replica-lags",
            format!("the server is a replica that has not heard from its master for {silence}: a backup fails"),
        )
        .with_setting("max-silence")
        .with_hint("compare master_repl_offset on both; back up another one, or allow more time with `max-silence`"),
        _ => Finding::info(
            "server-is-replica",
            "the server is a replica: its dataset is its master's, a moment later",
        ),
    }
}

/// Whether the user may synchronize, as far as the server tells without doing it.
fn right_to_synchronize(session: &mut Connection, config: &Config) -> Result<Option<Finding>> {
    let hint = "ACL SETUSER NAME +psync +replconf +sync +info +ping; or read key by key with `mode = \"scan\"`";
    if let Ok(known) = readable(session.call(&["COMMAND", "INFO", "PSYNC"]))?
        && matches!(known.as_list(), Some([Value::Null]))
    {
        let message = "the server does not offer replication to clients (PSYNC), as managed services do";
        return Ok(Some(match config.mode {
            Mode::Replica => Finding::error("replication-not-offered", message)
                .with_hint("read key by key with `mode = \"scan\"` (or `\"auto\"`)")
                .with_setting("mode"),
            _ => Finding::warning(
                NO_POINT_IN_TIME,
                format!("{message}: it will be read key by key, at no single point in time"),
            ),
        }));
    }
    let user = match readable(session.call(&["ACL", "WHOAMI"]))? {
        Ok(user) => String::from_utf8_lossy(user.as_bytes().unwrap_or_default()).into_owned(),
        Err(_) => return Ok(Some(unknown_right(hint))),
    };
    let denied = || {
        Finding::error(
            "replication-denied",
            format!("user `{user}` may not synchronize as a replica does (PSYNC, REPLCONF)"),
        )
        .with_hint(hint)
    };
    for command in [&["PSYNC", "?", "-1"][..], &["REPLCONF", "capa", "eof"]] {
        let question: Vec<&str> = ["ACL", "DRYRUN", &user].into_iter().chain(command.iter().copied()).collect();
        match readable(session.call(&question))? {
            Ok(answer) if answer.is_ok() => {}
            Ok(_) => return Ok(Some(denied())),
            // Redis 6.2 has no DRYRUN.
            Err(_) => return by_rules(session, &user, denied, hint),
        }
    }
    Ok(None)
}

fn by_rules(session: &mut Connection, user: &str, denied: impl FnOnce() -> Finding, hint: &str) -> Result<Option<Finding>> {
    let Ok(answer) = readable(session.call(&["ACL", "GETUSER", user]))? else {
        return Ok(Some(unknown_right(hint)));
    };
    let rules = answer.get("commands").and_then(Value::as_str).unwrap_or_default();
    Ok((!may_synchronize(rules)).then(denied))
}

/// The last rule that is about PSYNC decides.
fn may_synchronize(rules: &str) -> bool {
    const ABOUT: [&str; 6] = ["psync", "@all", "@admin", "@dangerous", "@slow", "allcommands"];
    rules
        .split_whitespace()
        .rev()
        .find_map(|rule| {
            let (sign, name) = rule.split_at_checked(1)?;
            ABOUT.contains(&name).then_some(sign == "+")
        })
        .unwrap_or(false)
}

fn unknown_right(hint: &str) -> Finding {
    Finding::info(
        "replication-right-unknown",
        "the server does not tell this user whether it may synchronize as a replica does: the first backup will",
    )
    .with_hint(hint)
}

/// A buffer that is too small cuts the transfer of a large dataset on servers that keep the replication stream for us meanwhile.
fn buffer_limit(session: &mut Connection, info: &Info) -> Result<Option<Finding>> {
    let Ok(answer) = readable(session.call(&["CONFIG", "GET", "client-output-buffer-limit"]))? else {
        return Ok(None);
    };
    let text = answer.get("client-output-buffer-limit").and_then(Value::as_str).unwrap_or_default();
    let dataset = info.number("used_memory_dataset").or(info.number("used_memory")).unwrap_or(0);
    Ok(replica_limit(text).filter(|limit| *limit > 0 && *limit < dataset).map(|limit| {
        Finding::info(
            "output-buffer-limit",
            format!(
                "`client-output-buffer-limit` lets {limit} bytes be written while a replica receives the dataset of about {dataset} bytes: a server that \
                 keeps them for this client (before Redis 7) cuts it off when more is written"
            ),
        )
        .with_hint("CONFIG SET client-output-buffer-limit 'replica 0 0 0', or back up when little is written")
    }))
}

/// The hard limit of `normal 0 0 0 slave 268435456 67108864 60 pubsub …`, in bytes.
fn replica_limit(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    words.find(|word| matches!(*word, "slave" | "replica"))?;
    words.next()?.parse().ok()
}

fn checksum(session: &mut Connection) -> Result<Option<Finding>> {
    let Ok(answer) = readable(session.call(&["CONFIG", "GET", "rdbchecksum"]))? else {
        return Ok(None);
    };
    let off = answer.get("rdbchecksum").and_then(Value::as_str) == Some("no");
    Ok(off.then(crate::backup::checksum_off))
}

/// Every shard, reached and fit.
fn shards(session: &mut Connection, place: &str, config: &Config, login: &Login<'_>) -> Vec<Finding> {
    let asked = Topology::ask(session, place).and_then(|topology| Ok((topology.shards(config.prefer)?, topology)));
    let (shards, topology) = match asked {
        Ok(asked) => asked,
        Err(error) => return vec![Finding::of_error("cluster-not-whole", &error)],
    };
    let mut findings = Vec::new();
    for shard in &shards {
        let looked = login.open(Some(&shard.address)).and_then(|(mut session, address)| {
            let theirs = Topology::ask(&mut session, &address)?;
            topology.agrees(&theirs, &address)?;
            theirs.is_of(shard, &address)?;
            Info::ask(&mut session)
        });
        let is_silent = |info: &Info| info.silence().is_some_and(|silence| silence > config.max_silence());
        match looked {
            Ok(info) if info.is_loading() || !info.is_linked() || is_silent(&info) => findings.extend(state(&info, config)),
            Ok(_) => {}
            Err(error) => findings.push(Finding::of_error(
                "shard-not-fit",
                &error.context(format!("the shard at {}", shard.address)),
            )),
        }
    }
    if findings.is_empty() {
        let message = format!("all {} shards of the cluster were reached, and all slots are covered", shards.len());
        findings.push(Finding::info("cluster-covered", message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_about_psync_decides() {
        for (rules, allowed) in [
            ("+@all", true),
            ("-@all", false),
            ("-@all +psync +replconf", true),
            ("+@all -@dangerous", false),
            ("+@all -@dangerous +psync", true),
            ("+@all -psync", false),
            ("-@all +get", false),
            ("", false),
        ] {
            assert_eq!(may_synchronize(rules), allowed, "{rules}");
        }
    }

    #[test]
    fn the_limit_of_replicas_is_found_by_both_names() {
        assert_eq!(
            replica_limit("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
            Some(268_435_456)
        );
        assert_eq!(replica_limit("normal 0 0 0 replica 0 0 0"), Some(0));
        assert_eq!(replica_limit(""), None);
    }
}

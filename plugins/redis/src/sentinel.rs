//! Asking Sentinels which server to read: [`open`].
//!
//! A Sentinel may be behind: cut off from the others, it names a master that has long been demoted. So what a Sentinel says is compared with what the
//! server says of itself, and where that differs, or the Sentinel knows nothing, the next one is asked.

use bulkhead_resp::{RespError, Value};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, endpoint};

use crate::{
    config::{Config, Prefer, Sentinel},
    connection::{Connection, Login, SENTINEL},
    server::{Info, Role},
};

/// A connection to the server to read, and for people where that is; first its address, where Sentinels told it.
pub(crate) fn open(config: &Config, login: Login<'_>) -> Result<(Option<String>, Connection, String)> {
    let Some(sentinel) = &config.sentinel else {
        let (session, place) = login.open(None)?;
        return Ok((None, session, place));
    };
    let mut failure: Option<Error> = None;
    for address in sentinels()? {
        match by(config, sentinel, address.as_deref(), login) {
            Ok((address, session, place)) => return Ok((Some(address), session, place)),
            // That one of several is not there says less than what another one says.
            Err(error) if failure.as_ref().is_none_or(|known| known.kind == ErrorKind::Unreachable) => failure = Some(error),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| Error::config("endpoint.sentinel", "no address of a Sentinel is granted")))
}

/// Addresses to ask, in order; none stands for the endpoint itself.
fn sentinels() -> Result<Vec<Option<String>>> {
    let settings = endpoint::settings(SENTINEL).context(|| "no Sentinel could be asked")?;
    Ok(match settings.transport {
        endpoint::Transport::Unix => vec![None],
        endpoint::Transport::Tcp => settings.addresses.into_iter().map(Some).collect(),
    })
}

/// What one Sentinel says, followed to the server.
fn by(config: &Config, sentinel: &Sentinel, address: Option<&str>, login: Login<'_>) -> Result<(String, Connection, String)> {
    let (mut session, place) = Login::sentinel(sentinel.user.as_deref())
        .open(address)
        .context(|| "no Sentinel could be asked")?;
    let master = master(&mut session, sentinel, &place)?;
    let replica = match config.prefer {
        Prefer::Master => None,
        Prefer::Replica => replica(&mut session, sentinel)?,
    };
    let (address, role) = replica.map_or((master, Role::Master), |replica| (replica, Role::Replica));
    let (mut server, reached) = login.open(Some(&address))?;
    let found = Info::ask(&mut server)?.role();
    if found != role {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the Sentinel at {place} says that {reached} is a {role}, and the server says that it is a {found}"),
        )
        .with_retryable(true)
        .with_hint("a failover is under way, or that Sentinel is cut off from the others: SENTINEL CKQUORUM on it says"));
    }
    Ok((address, server, reached))
}

fn master(session: &mut Connection, sentinel: &Sentinel, place: &str) -> Result<String> {
    let answer = session
        .call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &sentinel.master])
        .context(|| format!("asking the Sentinel at {place} for the master failed"))?;
    let unknown = || {
        Error::new(
            ErrorKind::NotFound,
            format!("the Sentinel at {place} knows no master called `{}`", sentinel.master),
        )
        .with_setting("sentinel.master")
        .with_hint("SENTINEL MASTERS on it lists the names")
    };
    match answer.as_list() {
        Some([host, port]) => Ok(address(host, port).ok_or_else(|| not("an address"))?),
        _ if answer == Value::Null => Err(unknown()),
        _ => Err(not("an address").into()),
    }
}

/// Of the replicas that are there and in touch with their master, the one that has most of its history.
fn replica(session: &mut Connection, sentinel: &Sentinel) -> Result<Option<String>> {
    let answer = session
        .call(&["SENTINEL", "REPLICAS", &sentinel.master])
        .context(|| "asking the Sentinel for replicas failed")?;
    let replicas = answer.as_list().ok_or_else(|| not("a list of replicas"))?;
    Ok(best(replicas))
}

fn best(replicas: &[Value]) -> Option<String> {
    let known = replicas.iter().filter(|replica| is_well(replica)).filter_map(|replica| {
        let field = |name| replica.get(name);
        let offset = field("slave-repl-offset").and_then(Value::as_integer).unwrap_or(0);
        Some((offset, address(field("ip")?, field("port")?)?))
    });
    known.max_by_key(|(offset, _)| *offset).map(|(_, address)| address)
}

fn is_well(replica: &Value) -> bool {
    let text = |name| replica.get(name).and_then(Value::as_str).unwrap_or_default();
    let bad = ["s_down", "o_down", "disconnected"];
    text("master-link-status") == "ok" && !text("flags").split(',').any(|flag| bad.contains(&flag))
}

fn address(host: &Value, port: &Value) -> Option<String> {
    let (host, port) = (host.as_str()?, port.as_str()?);
    Some(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

fn not(expected: &'static str) -> RespError {
    RespError::Answer {
        command: "SENTINEL".to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_that_has_most_is_taken_of_those_that_are_well() {
        let replica = |port: &str, offset: &str, link: &str, flags: &str| {
            let fields = [
                ("ip", "10.0.0.1"),
                ("port", port),
                ("slave-repl-offset", offset),
                ("master-link-status", link),
                ("flags", flags),
            ];
            let text = |text: &str| Value::Bulk(text.as_bytes().to_vec());
            Value::List(fields.iter().flat_map(|(name, value)| [text(name), text(value)]).collect())
        };
        let replicas = [
            replica("1", "90", "ok", "slave"),
            replica("2", "1000", "ok", "slave"),
            replica("3", "5000", "err", "slave"),
            replica("4", "5000", "ok", "s_down,slave"),
            replica("5", "800", "ok", "slave"),
        ];
        assert_eq!(best(&replicas).as_deref(), Some("10.0.0.1:2"));
        assert_eq!(best(&replicas[2..4]), None);
    }
}

//! Asking Sentinels which server to read: [`locate`].

use bulkhead_resp::{RespError, Value};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt};

use crate::{
    config::{Config, Prefer, Sentinel},
    connection::{Connection, Login},
};

/// The address of the server to read; `None` where no Sentinels are configured. A Sentinel that answers is believed: the host tries the operator's
/// addresses in order until one does.
pub(crate) fn locate(config: &Config) -> Result<Option<String>> {
    let Some(sentinel) = &config.sentinel else { return Ok(None) };
    let (mut session, place) = Login::sentinel(sentinel.user.as_deref())
        .open(None)
        .context(|| "no Sentinel could be asked")?;
    let master = master(&mut session, sentinel, &place)?;
    if config.prefer == Prefer::Master {
        return Ok(Some(master));
    }
    let replica = replica(&mut session, sentinel)?;
    Ok(Some(replica.unwrap_or(master)))
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

/// A replica that is there and in touch with its master.
fn replica(session: &mut Connection, sentinel: &Sentinel) -> Result<Option<String>> {
    let answer = session
        .call(&["SENTINEL", "REPLICAS", &sentinel.master])
        .context(|| "asking the Sentinel for replicas failed")?;
    let replicas = answer.as_list().ok_or_else(|| not("a list of replicas"))?;
    Ok(replicas.iter().filter(|replica| is_well(replica)).find_map(|replica| {
        let field = |name| replica.get(name);
        address(field("ip")?, field("port")?)
    }))
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

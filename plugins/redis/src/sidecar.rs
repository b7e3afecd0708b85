//! What an RDB file leaves out: users ([`acl`]) and configuration ([`configuration`]). A user that may not read them loses them, not the backup.

use bulkhead_resp::{RespError, Session, Transport, Value};
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    types::{Finding, Proof},
};

use crate::manifest::store_entry;

/// The ACL file.
pub(crate) const ACL: &str = "acl.txt";
/// The configuration.
pub(crate) const CONFIGURATION: &str = "config.json";

/// Stores the users, as an ACL file that a server loads. Passwords are in it as SHA-256 hashes, as in the server's own.
pub(crate) fn acl<T: Transport>(session: &mut Session<T>, folder: &str, proof: &mut Proof) -> Result<Option<Finding>> {
    let answer = match readable(session.call(&["ACL", "LIST"]))? {
        Ok(answer) => answer,
        Err(reason) => return Ok(Some(unread("acl", "users (ACL LIST)", &reason, "+acl|list"))),
    };
    let mut text = Vec::new();
    for line in answer.as_list().unwrap_or_default() {
        text.extend_from_slice(line.as_bytes().unwrap_or_default());
        text.push(b'\n');
    }
    store_entry(&format!("{folder}{ACL}"), &text, proof)?;
    Ok(None)
}

/// Stores the configuration, without passwords.
pub(crate) fn configuration<T: Transport>(session: &mut Session<T>, folder: &str, proof: &mut Proof) -> Result<Option<Finding>> {
    let answer = match readable(session.call(&["CONFIG", "GET", "*"]))? {
        Ok(answer) => answer,
        Err(reason) => return Ok(Some(unread("config", "configuration (CONFIG GET)", &reason, "+config|get"))),
    };
    let mut settings = serde_json::Map::new();
    for (name, value) in answer.pairs() {
        let text = |value: &Value| String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned();
        let name = text(name);
        if !is_secret(&name) {
            settings.insert(name, text(value).into());
        }
    }
    let text = serde_json::to_vec_pretty(&settings).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    store_entry(&format!("{folder}{CONFIGURATION}"), &text, proof)?;
    Ok(None)
}

/// Whether a setting's value is, or may be, a password or key. `tls-key-file` is a path; `tls-key-file-pass` is not.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = ["pass", "secret", "token", "credential"];
    words.iter().any(|word| name.contains(word)) || matches!(name.as_str(), "masterauth" | "primaryauth")
}

/// A refusal of what can be done without.
pub(crate) fn readable(answer: Result<Value, RespError>) -> Result<Result<Value, String>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(RespError::Server(error)) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn unread(code: &str, what: &str, reason: &str, right: &str) -> Finding {
    Finding::warning(
        format!("{code}-not-backed-up"),
        format!("the server's {what} could not be read and is not in the snapshot: {reason}"),
    )
    .with_hint(format!("give the user the right to read it: ACL SETUSER NAME {right}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out_and_paths_are_not() {
        for secret in [
            "requirepass",
            "masterauth",
            "primaryauth",
            "tls-key-file-pass",
            "tls-client-key-file-pass",
            "search-PASSWORD",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["tls-key-file", "tls-auth-clients", "masteruser", "maxmemory", "aclfile"] {
            assert!(!is_secret(open), "{open}");
        }
    }
}

//! Preflight: who the server is, which databases there are, and whether each can be read.

use bulkhead_sdk::{Result, types::Finding};

use crate::{Selection, backup, config::Config, server::Server};

/// Fabric keeps one of this name beside the state of each channel.
const FABRIC: &str = "fabric__internal";

/// Looks at every database, and reads none.
pub(crate) fn check(config: &Config, selection: &Selection) -> Result<Vec<Finding>> {
    let server = Server::connect(config.attempts, config.user.as_deref())?;
    let kind = if server.is_couchdb() {
        "CouchDB"
    } else {
        "a server that speaks CouchDB's protocol"
    };
    let mut findings = vec![Finding::info(
        "server-reached",
        format!("{kind}, version {}", server.welcome.version),
    )];
    let names = backup::wanted(&server, selection)?;
    for name in &names {
        // The feed needs a reader's right, the security object an admin's.
        let looked = server.info(name).and_then(|info| {
            server.setting(name, "_security")?;
            server.get(Server::changes(name, &info.update_seq, 1), |answer| answer.into_bytes(1 << 20))?;
            Ok(info)
        });
        findings.push(match looked {
            Ok(info) => Finding::info("database-found", format!("{name}: {} documents", info.doc_count)),
            Err(error) => Finding::of_error("database-unreadable", &error.context(format!("`{name}` cannot be read"))),
        });
    }
    if names.iter().any(|name| name == FABRIC) {
        findings.push(
            Finding::info("fabric-state", "these are state databases of a Hyperledger Fabric peer, which can build them again from its ledger")
                .with_hint("stop the peer, drop its databases, `peer node rebuild-dbs`, start: it takes as long as all blocks take to be applied; a restored copy must be of the \
                            same height as the ledger's or lower"),
        );
    }
    Ok(findings)
}

//! Several servers as one cluster: [`cluster`](fn@cluster).

use super::{Builder, Server};
use crate::Result;

/// Slots of every cluster.
const SLOTS: usize = 16_384;

/// Starts `masters` servers that share the slots, and waits until all of them agree.
pub fn cluster(masters: usize, builder: impl Fn() -> Builder) -> Result<Vec<Server>> {
    let start = || builder().cluster().start();
    let servers: Vec<Server> = (0..masters).map(|_| start()).collect::<Result<_>>()?;
    for (position, server) in servers.iter().enumerate() {
        let (first, last) = (SLOTS * position / masters, SLOTS * (position + 1) / masters - 1);
        let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
        let words: Vec<&str> = ["CLUSTER", "ADDSLOTS"]
            .into_iter()
            .chain(slots.iter().map(String::as_str))
            .collect();
        server.call(&words)?;
        // Everybody meets everybody: gossip would tell, but takes its time.
        for other in servers.iter().take(position) {
            server.call(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()])?;
        }
    }
    for server in &servers {
        server.wait_until("the cluster's nodes did not find each other", |client| {
            let whole = |text: String| text.contains("cluster_state:ok") && text.contains(&format!("cluster_known_nodes:{masters}\r"));
            client.call(&["CLUSTER", "INFO"]).is_ok_and(|reply| whole(reply.text()))
        })?;
    }
    Ok(servers)
}

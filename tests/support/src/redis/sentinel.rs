//! A Sentinel that watches a server: [`Sentinel`].

use super::Server;
use crate::Result;

/// A Sentinel.
#[derive(Debug)]
pub struct Sentinel(Server);

impl Sentinel {
    /// Watches `master` under this name; returns when it knows so many replicas to be well. Asks for the password, where there is one.
    pub fn watch(master: &Server, name: &str, replicas: usize, password: Option<&str>) -> Result<Self> {
        let configuration = format!(
            "sentinel monitor {name} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {name} 60000\n",
            master.port()
        );
        let mut builder = Server::builder().sentinel(configuration);
        if let Some(password) = password {
            builder = builder.password(password);
        }
        let server = builder.start()?;
        server.wait_until("the Sentinel did not find the replicas", |client| {
            let Ok(reply) = client.call(&["SENTINEL", "REPLICAS", name]) else {
                return false;
            };
            let well = |replica: &super::Reply| replica.text().contains("master-link-status ok");
            reply.list().iter().filter(|replica| well(replica)).count() == replicas
        })?;
        Ok(Self(server))
    }

    /// "127.0.0.1:port"
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }
}

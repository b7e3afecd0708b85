//! PouchDB's server: [`Pouch`], which keeps its databases in memory.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Client;
use crate::guardian::Guardian;
use crate::{Error, Result, Scratch, Tool, free_port};

/// Where `cargo xtask setup` puts it, below Cargo's target folder.
const PROGRAM: &str = "pouchdb-server/node_modules/pouchdb-server/bin/pouchdb-server";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs.
#[derive(Debug)]
pub struct Pouch {
    _guardian: Guardian,
    child: Child,
    scratch: Scratch,
    port: u16,
}

impl Pouch {
    /// Starts one, and waits until it answers.
    pub fn start() -> Result<Self> {
        let node = Tool::find("node", "apt-get install nodejs (or `cargo xtask setup`)")?;
        let program = Tool::installed(PROGRAM)?;
        let scratch = Scratch::new()?;
        let port = free_port()?;
        let log = std::fs::File::create(scratch.join("log")).map_err(Error::io("cannot make a server's log"))?;
        let mut command = node.command([program.path().as_os_str()]);
        command.args([
            "--in-memory",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--config",
            "config.json",
        ]);
        // It writes beside where it is started.
        command.current_dir(scratch.path()).stdout(Stdio::null()).stderr(log);
        let child = spawn(&mut command)?;
        let pid = scratch.private_file("pid", format!("{}\n", child.id()))?;
        let guardian = Guardian::watch(&pid, "node", Some(scratch.path()))?;
        let mut server = Self {
            _guardian: guardian,
            child,
            scratch,
            port,
        };
        server.wait()?;
        Ok(server)
    }

    /// "127.0.0.1:port"
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while self.client().json("GET", "/_all_dbs", "").is_err() {
            let ended = self.child.try_wait().map_err(Error::io("cannot wait for a server"))?.is_some();
            if ended || begin.elapsed() > PATIENCE {
                return Err(Error::TimedOut {
                    what: "PouchDB's server did not come up".to_owned(),
                    seconds: PATIENCE.as_secs(),
                    log: std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Pouch {
    fn drop(&mut self) {
        // The guardian does the same where this process is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(Error::io("cannot start PouchDB's server"))
}

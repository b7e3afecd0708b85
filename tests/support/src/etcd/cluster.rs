//! A running cluster and what a test does with it: [`Cluster`].

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Release;
use super::member::Member;
use crate::postgres::{Certificates, ClientCertificate};
use crate::{Error, Result, Scratch, free_port, run};

/// How often other ports are tried when somebody else was faster.
const ATTEMPTS: u32 = 5;

/// How long anything that a cluster does may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a cluster should be.
#[derive(Debug, Clone)]
pub struct Builder {
    release: Release,
    members: usize,
    tls: bool,
    arguments: Vec<String>,
    snapshot: Option<PathBuf>,
    login: Option<String>,
}

impl Builder {
    /// So many members.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// TLS for clients, who must have a certificate of the cluster's authority.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A further argument of every server.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Begins with what `snapshot restore` makes of this file.
    #[must_use]
    pub fn from_snapshot(mut self, file: impl Into<PathBuf>) -> Self {
        self.snapshot = Some(file.into());
        self
    }

    /// Who asks it: a cluster that was restored from one with authentication wants to know from the beginning.
    #[must_use]
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some(format!("{user}:{password}"));
        self
    }

    /// Starts it, and waits until it answers.
    pub fn start(self) -> Result<Cluster> {
        let mut attempt = 1;
        loop {
            match Cluster::start(self.clone()) {
                Err(Error::TimedOut { log, .. }) if attempt < ATTEMPTS && log.contains("address already in use") => attempt += 1,
                started => return started,
            }
        }
    }
}

/// A cluster on 127.0.0.1; stopped, and its scratch folder removed, when dropped.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    builder: Builder,
    certificates: Option<(Certificates, ClientCertificate)>,
    /// `user:password` of etcdctl, once authentication is enabled.
    login: Option<String>,
    /// The last field: it goes when all else has.
    _scratch: Scratch,
}

impl Cluster {
    /// Says how a cluster should be.
    #[must_use]
    pub fn builder(release: &Release) -> Builder {
        Builder {
            release: release.clone(),
            members: 1,
            tls: false,
            arguments: Vec::new(),
            snapshot: None,
            login: None,
        }
    }

    fn start(builder: Builder) -> Result<Self> {
        let scratch = Scratch::new()?;
        let members = (0..builder.members)
            .map(|number| Ok(Member::new(scratch.path(), number, free_port()?, free_port()?)))
            .collect::<Result<Vec<_>>>()?;
        let certificates = match builder.tls {
            true => {
                let certificates = Certificates::in_folder(scratch.folder("tls")?)?;
                let client = certificates.issue_client("root")?;
                Some((certificates, client))
            }
            false => None,
        };
        let cluster = Self {
            members,
            login: builder.login.clone(),
            builder,
            certificates,
            _scratch: scratch,
        };
        for number in 0..cluster.members.len() {
            cluster.restore_member(number)?;
            cluster.start_member(number)?;
        }
        cluster.wait_until_healthy()?;
        Ok(cluster)
    }

    /// Makes the member's data of the snapshot, where there is one.
    fn restore_member(&self, number: usize) -> Result<()> {
        let Some(file) = &self.builder.snapshot else { return Ok(()) };
        let member = &self.members[number];
        let mut command = self.builder.release.snapshot([OsStr::new("restore"), file.as_os_str()]);
        command.arg("--data-dir").arg(&member.data).args(["--name", &member.name]);
        command.args(["--initial-cluster", &self.initial_cluster()]);
        command.args(["--initial-advertise-peer-urls", &peer_url(member)]);
        run(&mut command).map(drop)
    }

    fn initial_cluster(&self) -> String {
        let part = |member: &Member| format!("{}={}", member.name, peer_url(member));
        self.members.iter().map(part).collect::<Vec<_>>().join(",")
    }

    /// Starts a member, also one that was stopped.
    pub fn start_member(&self, number: usize) -> Result<()> {
        let member = &self.members[number];
        let client_url = format!("{}://127.0.0.1:{}", self.scheme(), member.client_port);
        let mut command = self.builder.release.server(["--name", &member.name, "--data-dir"]);
        command.arg(&member.data);
        command.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        command.args([
            "--listen-peer-urls",
            &peer_url(member),
            "--initial-advertise-peer-urls",
            &peer_url(member),
        ]);
        command.args(["--initial-cluster", &self.initial_cluster()]);
        if let Some((certificates, _)) = &self.certificates {
            command.arg("--cert-file").arg(certificates.server_certificate());
            command.arg("--key-file").arg(certificates.server_key());
            command.arg("--trusted-ca-file").arg(certificates.authority_certificate());
            command.arg("--client-cert-auth");
        }
        command.args(&self.builder.arguments);
        member.start(command)
    }

    /// Stops a member as an administrator does.
    pub fn stop_member(&self, number: usize) -> Result<()> {
        self.members[number].end(Signal::TERM)
    }

    /// `kill -9`.
    pub fn kill_member(&self, number: usize) -> Result<()> {
        self.members[number].end(Signal::KILL)
    }

    fn scheme(&self) -> &'static str {
        if self.builder.tls { "https" } else { "http" }
    }

    /// "127.0.0.1:port" of a member.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        format!("127.0.0.1:{}", self.members[number].client_port)
    }

    /// Of all members.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        (0..self.members.len()).map(|number| self.address(number)).collect()
    }

    /// Its authority and a client certificate for `root`; `None` without TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<(&Certificates, &ClientCertificate)> {
        self.certificates.as_ref().map(|(certificates, client)| (certificates, client))
    }

    /// The release that it runs.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.builder.release
    }

    /// The process id of a member, while it runs.
    #[must_use]
    pub fn process_id(&self, number: usize) -> Option<u32> {
        self.members[number].process_id()
    }

    /// Where a member keeps its data.
    #[must_use]
    pub fn data_directory(&self, number: usize) -> &Path {
        &self.members[number].data
    }

    /// `etcdctl` with all that it needs to reach every member.
    pub fn client<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.client_of(&self.addresses(), arguments)
    }

    fn client_of<A: AsRef<OsStr>>(&self, addresses: &[String], arguments: impl IntoIterator<Item = A>) -> Command {
        let urls: Vec<String> = addresses.iter().map(|address| format!("{}://{address}", self.scheme())).collect();
        let mut command = self
            .builder
            .release
            .client(["--endpoints", &urls.join(","), "--command-timeout", "30s"]);
        if let Some((certificates, client)) = &self.certificates {
            command.arg("--cacert").arg(certificates.authority_certificate());
            command.arg("--cert").arg(&client.certificate).arg("--key").arg(&client.key);
        }
        if let Some(login) = &self.login {
            command.args(["--user", login]);
        }
        command.args(arguments);
        command
    }

    /// `etcdctl` with all but the address, which leads to a member.
    pub fn client_at<A: AsRef<OsStr>>(&self, address: SocketAddr, arguments: impl IntoIterator<Item = A>) -> Command {
        self.client_of(&[address.to_string()], arguments)
    }

    /// Runs `etcdctl` and returns what it prints.
    pub fn execute<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let output = run(&mut self.client(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Runs `etcdctl` against one member.
    pub fn execute_on<A: AsRef<OsStr>>(&self, number: usize, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let output = run(&mut self.client_of(&[self.address(number)], arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// All keys with values, revisions, versions and leases, as JSON.
    pub fn dump(&self) -> Result<String> {
        self.execute(["get", "", "--prefix", "--write-out", "json"])
    }

    /// Enables authentication: the user `root` with this password.
    pub fn enable_authentication(&mut self, password: &str) -> Result<()> {
        self.execute(["user", "add", &format!("root:{password}")])?;
        self.execute(["user", "grant-role", "root", "root"])?;
        self.execute(["auth", "enable"])?;
        self.login = Some(format!("root:{password}"));
        Ok(())
    }

    /// Waits until all members that run answer and have a leader.
    pub fn wait_until_healthy(&self) -> Result<()> {
        let running: Vec<String> = (0..self.members.len())
            .filter(|number| self.process_id(*number).is_some())
            .map(|number| self.address(number))
            .collect();
        let begin = Instant::now();
        loop {
            let healthy = self
                .client_of(&running, ["endpoint", "health"])
                .output()
                .is_ok_and(|output| output.status.success());
            // Looked at last: somebody else's server may have answered on the port of one that has ended.
            let ended = self.members.iter().any(Member::has_ended);
            if healthy && !ended {
                return Ok(());
            }
            if ended || begin.elapsed() > PATIENCE {
                return Err(Error::TimedOut {
                    what: "the etcd cluster was not healthy".to_owned(),
                    seconds: begin.elapsed().as_secs(),
                    log: self.members.iter().map(Member::log).collect(),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn peer_url(member: &Member) -> String {
    format!("http://127.0.0.1:{}", member.peer_port)
}

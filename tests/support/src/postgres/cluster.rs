//! A running PostgreSQL server and what a test does with it: [`Cluster`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::configuration::{command_line, place};
use super::{Builder, Certificates, Installation};
use crate::guardian::Guardian;
use crate::{Error, Result, Scratch, command, free_port, run};

/// How often another port is tried when somebody else was faster.
const PORT_ATTEMPTS: u32 = 5;

/// How long anything that a server does may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a cluster lives.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) installation: Installation,
    pub(super) data_directory: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) tablespaces: PathBuf,
    pub(super) log: PathBuf,
    pub(super) certificates: Option<Certificates>,
    /// The last field: it goes when all else has.
    pub(super) scratch: Scratch,
}

/// A PostgreSQL server on 127.0.0.1 with the superuser `postgres`; stopped, and its scratch folder removed, when dropped.
#[derive(Debug)]
pub struct Cluster {
    // Dropped first: stops the server.
    _guardian: Guardian,
    place: Place,
    port: u16,
    password: String,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// Starts a cluster with the defaults of [`Builder`].
    pub fn start_default() -> Result<Self> {
        Builder::default().start()
    }

    /// Says how a cluster should be.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn start_in(place: Place, password: String, settings: Vec<(String, String)>) -> Result<Self> {
        let pid_file = place.data_directory.join("postmaster.pid");
        let guardian = Guardian::watch(&pid_file, "postgres", Some(place.scratch.path()))?;
        let mut cluster = Self {
            _guardian: guardian,
            place,
            port: 0,
            password,
            settings,
        };
        let mut attempt = 1;
        loop {
            cluster.port = free_port()?;
            match cluster.start() {
                Err(Error::Failed { output, .. }) if attempt < PORT_ATTEMPTS && output.contains("Address already in use") => attempt += 1,
                other => return other.map(|()| cluster),
            }
        }
    }

    /// The loopback port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// "127.0.0.1:port"
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The Unix socket, over which any local user is the superuser.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.place.sockets.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The superuser's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its authority and certificates; `None` without TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.place.certificates.as_ref()
    }

    /// PGDATA.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        &self.place.data_directory
    }

    /// PostgreSQL's programs.
    #[must_use]
    pub fn installation(&self) -> Installation {
        self.place.installation
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.place.log).unwrap_or_default()
    }

    /// An empty folder of the server's user, fit for `CREATE TABLESPACE`.
    pub fn tablespace_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.place.tablespaces.join(name);
        std::fs::create_dir(&folder).map_err(Error::on_path("make", &folder))?;
        self.place.installation.user().own(&folder)?;
        Ok(folder)
    }

    /// Runs SQL (each statement a transaction of its own) in `database` as the superuser; rows come back unaligned, columns separated by "|". The first
    /// error ends it.
    pub fn execute(&self, database: &str, sql: &str) -> Result<String> {
        self.execute_bytes(database, sql.as_bytes())
    }

    /// As [`execute`](Self::execute), for a script in any encoding.
    pub fn execute_bytes(&self, database: &str, sql: &[u8]) -> Result<String> {
        let mut psql = self.client(
            "psql",
            ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"],
        )?;
        psql.args(["--file=-", "--dbname", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = command::describe(&psql);
        let mut child = psql.spawn().map_err(Error::io("cannot start psql"))?;
        let input = child.stdin.take();
        // Answers may fill their pipe before the script has gone in, so it goes in beside the reading.
        let output = std::thread::scope(|scope| {
            scope.spawn(move || input.map(|mut input| input.write_all(sql)));
            child.wait_with_output()
        });
        let output = output.map_err(Error::io("cannot wait for psql"))?;
        if !output.status.success() {
            return Err(Error::failed(line, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Writes `pg_dumpall` into the file `path`: roles, tablespaces, every database. Two dumps of the same content are the same bytes: the key of
    /// `\\restrict`, otherwise random, is given.
    pub fn dump_all(&self, path: &Path) -> Result<()> {
        let file = File::create(path).map_err(Error::on_path("make", path))?;
        run(self.client("pg_dumpall", ["--restrict-key=bulkhead"])?.stdout(file)).map(drop)
    }

    /// A client program that connects to this server as the superuser.
    pub fn client<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        let mut command = self.place.installation.client(name, arguments)?;
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postgres").env("PGPASSWORD", &self.password);
        Ok(command)
    }

    /// Makes a hot standby that streams from this server, and starts it.
    pub fn start_standby(&self) -> Result<Self> {
        let place = Place::new(self.place.installation, self.place.certificates.is_some())?;
        let mut copy = place
            .installation
            .server_program("pg_basebackup", ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])?;
        let connection = format!("host=127.0.0.1 port={} user=postgres password={}", self.port, self.password);
        copy.arg("--dbname").arg(connection).arg("--pgdata").arg(&place.data_directory);
        for folder in self.tablespaces()? {
            let name = folder.file_name().unwrap_or(OsStr::new("tablespace"));
            let target = place.tablespaces.join(name);
            copy.arg(format!("--tablespace-mapping={}={}", folder.display(), target.display()));
        }
        run(&mut copy)?;
        Self::start_in(place, self.password.clone(), self.settings.clone())
    }

    /// Starts the server again after [`stop`](Self::stop) or [`kill`](Self::kill), on the same port.
    pub fn start(&self) -> Result<()> {
        let mut settings = place(self.port, &self.place.sockets, self.place.certificates.as_ref());
        settings.extend(self.settings.iter().cloned());
        let mut start = self.control(["start", "--wait", "--silent", "--timeout=60"])?;
        start
            .arg("--options")
            .arg(command_line(&settings))
            .arg("--log")
            .arg(&self.place.log);
        run(&mut start).map(drop).map_err(|error| match error {
            Error::Failed { command, status, .. } => Error::Failed {
                command,
                status,
                output: self.log(),
            },
            other => other,
        })
    }

    /// Stops it cleanly (mode "fast").
    pub fn stop(&self) -> Result<()> {
        run(&mut self.control(["stop", "--wait", "--silent", "--mode=fast"])?).map(drop)
    }

    /// `kill -9` for the server and all of its processes at once, as a power failure would.
    pub fn kill(&self) -> Result<()> {
        let postmaster = self.process_id()?;
        let mut processes = children_of(postmaster)?;
        processes.push(postmaster);
        for process in processes.iter().filter_map(|process| rustix::process::Pid::from_raw(*process)) {
            // One that is gone already is what was wanted.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
        // Until the last one is gone, its shared memory keeps the server from starting again.
        self.wait_until("the killed server's processes did not end", || {
            !processes.iter().any(|process| is_running(*process))
        })?;
        // PostgreSQL itself ignores these files when their process is gone, but takes a zombie that nobody has waited for to be alive.
        for file in [
            self.place.data_directory.join("postmaster.pid"),
            self.socket().with_extension(format!("{}.lock", self.port)),
        ] {
            std::fs::remove_file(&file).map_err(Error::on_path("remove", &file))?;
        }
        Ok(())
    }

    /// The postmaster's process id.
    pub fn process_id(&self) -> Result<i32> {
        let path = self.place.data_directory.join("postmaster.pid");
        let text = std::fs::read_to_string(&path).map_err(Error::on_path("read", &path))?;
        let first = text.lines().next().and_then(|line| line.parse().ok());
        first.ok_or_else(|| Error::Unusable(format!("{} does not begin with a process id", path.display())))
    }

    /// Folders of this cluster's tablespaces.
    pub fn tablespaces(&self) -> Result<Vec<PathBuf>> {
        let links = self.place.data_directory.join("pg_tblspc");
        let entries = std::fs::read_dir(&links).map_err(Error::on_path("list", &links))?;
        entries
            .map(|entry| entry.and_then(|entry| std::fs::read_link(entry.path())))
            .collect::<std::io::Result<_>>()
            .map_err(Error::on_path("read", &links))
    }

    fn wait_until(&self, complaint: &str, condition: impl Fn() -> bool) -> Result<()> {
        let begin = Instant::now();
        while !condition() {
            if begin.elapsed() > PATIENCE {
                return Err(Error::TimedOut {
                    what: complaint.to_owned(),
                    seconds: PATIENCE.as_secs(),
                    log: self.log(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn control<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        let mut command = self.place.installation.server_program("pg_ctl", arguments)?;
        command.arg("--pgdata").arg(&self.place.data_directory);
        Ok(command)
    }
}

/// Process ids of the children of `parent`.
fn children_of(parent: i32) -> Result<Vec<i32>> {
    let path = PathBuf::from(format!("/proc/{parent}/task/{parent}/children"));
    let text = std::fs::read_to_string(&path).map_err(Error::on_path("read", &path))?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// Whether a process exists and is more than a zombie that nobody has waited for.
fn is_running(process: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

//! One server process: [`Member`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal};

use crate::guardian::Guardian;
use crate::{Error, Result};

/// A server process, stopped when dropped.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
    pub(super) data: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    running: Mutex<Option<(Guardian, Child)>>,
}

impl Member {
    /// One that is not running; its files are in `folder`.
    pub(super) fn new(folder: &Path, number: usize, client_port: u16, peer_port: u16) -> Self {
        let name = format!("member-{number}");
        Self {
            client_port,
            peer_port,
            data: folder.join(&name),
            log: folder.join(format!("{name}.log")),
            pid_file: folder.join(format!("{name}.pid")),
            running: Mutex::default(),
            name,
        }
    }

    /// Starts it.
    pub(super) fn start(&self, mut command: Command) -> Result<()> {
        let log = || File::options().create(true).append(true).open(&self.log);
        let (output, errors) = (log(), log());
        let open = Error::on_path("open", &self.log);
        let (output, errors) = output.and_then(|output| Ok((output, errors?))).map_err(open)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Error::io("cannot start etcd"))?;
        std::fs::write(&self.pid_file, child.id().to_string()).map_err(Error::on_path("write", &self.pid_file))?;
        let guardian = Guardian::watch(&self.pid_file, "etcd", None)?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((guardian, child));
        Ok(())
    }

    /// Sends a signal and waits for the end of the process.
    pub(super) fn end(&self, signal: Signal) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((_guardian, mut child)) = running else { return Ok(()) };
        if let Some(process) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // One that is gone already is what was wanted.
            let _ = rustix::process::kill_process(process, signal);
        }
        child.wait().map(drop).map_err(Error::io("cannot wait for etcd"))
    }

    /// The process id, while it runs.
    pub(super) fn process_id(&self) -> Option<u32> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|(_, child)| child.id())
    }

    /// Whether it ended although nobody asked it to.
    pub(super) fn has_ended(&self) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_mut().is_some_and(|(_, child)| matches!(child.try_wait(), Ok(Some(_))))
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the guardian tries again.
        let _ = self.end(Signal::KILL);
    }
}

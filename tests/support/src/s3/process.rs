//! Starting a server's process: [`start`].

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::guardian::Guardian;
use crate::{Error, Result, Scratch};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server with its log in `scratch`, and waits until somebody listens on its port.
pub(super) fn start(what: &str, mut command: Command, scratch: &Scratch, port: u16) -> Result<(Child, Guardian)> {
    let log = scratch.join("log");
    let output = std::fs::File::create(&log).map_err(Error::on_path("create", &log))?;
    let errors = output.try_clone().map_err(Error::on_path("open", &log))?;
    let spawned = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
    let mut child = spawned.map_err(Error::io(format!("cannot start {what}")))?;
    let pid_file = scratch.private_file("pid", child.id().to_string())?;
    let guardian = Guardian::watch(&pid_file, what, None)?;
    match wait(what, &mut child, port, &log) {
        Ok(()) => Ok((child, guardian)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn wait(what: &str, child: &mut Child, port: u16, log: &Path) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Error::TimedOut {
        what: format!("{what} did not come up"),
        seconds: PATIENCE.as_secs(),
        log: std::fs::read_to_string(log).unwrap_or_default(),
    })
}

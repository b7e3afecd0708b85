//! Signals for programs under test.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result};

/// SIGINT: what Ctrl-C sends.
pub fn interrupt(child: &Child) -> Result<()> {
    kill_process(Pid::from_child(child), Signal::INT).map_err(|error| Error::io("cannot interrupt a process")(error.into()))
}

//! Stopping servers even when the test process is killed.
//!
//! `Drop` does not run after `kill -9`, and a parent-death signal is delivered when the *thread* that spawned the child ends, which in a test runner
//! is too early. So each server has a guardian: a small shell in a process group of its own, blocked on reading a pipe whose only other end is held by
//! this process. However this process ends, the kernel closes that end, the shell wakes up, stops the server by its pid file, and removes its folder.
//! Dropping a [`Guardian`] takes the same road, so it is tested by every test.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Error, Result};

/// Reads a pid from the first line of `$1`, stops that process if it runs the program `$3` (a pid may have been used again), and removes `$2`.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
running() {
    case "$(cat "/proc/$pid/stat" 2>/dev/null)" in
        ''|*') Z '*) return 1 ;;
        *"($program) "*) return 0 ;;
        *) return 1 ;;
    esac
}
read -r _
program=$3
if [ -s "$1" ] && read -r pid < "$1" && running; then
    kill -QUIT "$pid" 2>/dev/null
    rounds=0
    while running && [ "$rounds" -lt 200 ]; do sleep 0.05; rounds=$((rounds + 1)); done
    running && kill -KILL "$pid" 2>/dev/null
fi
[ -z "$2" ] || rm -rf -- "$2"
"#;

/// Stops a server and removes its folder when dropped, and when this process dies.
#[derive(Debug)]
pub struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Watches the server whose pid stands in the first line of `pid_file` and whose process is named `program`; `folder`, if any, is removed after it
    /// has stopped.
    pub fn watch(pid_file: &Path, program: &str, folder: Option<&Path>) -> Result<Self> {
        let folder = folder.unwrap_or(Path::new(""));
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guardian"])
            .args([pid_file, folder, Path::new(program)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(Error::io("cannot start the guardian of a server"))?;
        Ok(Self { shell })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // An error means that the shell is gone already.
        let _ = self.shell.wait();
    }
}

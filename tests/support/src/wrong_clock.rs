//! A clock that is wrong for one process: [`WrongClock`].

use std::path::PathBuf;
use std::process::Command;

use crate::{Result, Scratch, Tool, run};

/// Answers a program's question for the time of day with another one. All other clocks stay as they are.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    const char *seconds = getenv("BULKHEAD_TEST_CLOCK");
    if (!failed && clock == CLOCK_REALTIME && seconds)
        time->tv_sec += atol(seconds);
    return failed;
}
"#;

/// A library that sets the clock of a process that is started with it; the machine's stays as it is.
#[derive(Debug)]
pub struct WrongClock {
    library: PathBuf,
}

impl WrongClock {
    /// Compiles it in `scratch`.
    pub fn new(scratch: &Scratch) -> Result<Self> {
        let source = scratch.private_file("wrong-clock.c", SOURCE)?;
        let library = scratch.join("wrong-clock.so");
        let compiler = Tool::find("cc", "apt-get install gcc libc6-dev")?;
        run(compiler.command(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source))?;
        Ok(Self { library })
    }

    /// Has `command`, which is not yet started, take it to be so many seconds later, or earlier, than it is.
    pub fn set<'c>(&self, command: &'c mut Command, seconds: i64) -> &'c mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("BULKHEAD_TEST_CLOCK", seconds.to_string())
    }
}

//! The vault from outside: against plain `restic`, against stores that fail, and against damage.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod damage;
mod faults;
mod guards;
mod reading;
mod restic;
mod sharing;
mod support;

//! The vault from outside: against plain `restic`, against stores that fail, and against damage.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod copying;
mod damage;
mod every_call;
mod faults;
mod guards;
mod housekeeping_calls;
mod index_files;
mod interrupted;
mod maintenance;
mod model;
mod old_formats;
mod parity;
mod random_tree;
mod reading;
mod recording;
mod restic;
mod rustic;
mod set_aside;
mod sharing;
mod support;

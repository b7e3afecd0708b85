//! A toolchain that compiles plugins to WebAssembly: rustup's target, or Debian's packages where that cannot be had.

use std::process::Command;

use bulkhead_guest_build::{MissingToolchain, Remedy, Toolchain};

use super::debian;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// The toolchain that is there, or what would bring one.
pub(super) fn find() -> std::result::Result<Toolchain, MissingToolchain> {
    Toolchain::find()
}

/// Installs one when none is there, by the first way that works.
pub(super) fn ensure(console: &Console) -> Result<()> {
    let Err(missing) = find() else { return Ok(()) };
    console.note("A toolchain for plugins (wasm32-wasip2) is missing.");
    for remedy in &missing.remedies {
        match carry_out(console, remedy) {
            Ok(()) if find().is_ok() => return Ok(()),
            Ok(()) => console.note("That did not bring one."),
            Err(error) => console.note(&format!("That did not work: {error}")),
        }
    }
    Err(Error::Missing {
        what: "a toolchain for plugins".to_owned(),
        remedy: missing.to_string(),
    })
}

fn carry_out(console: &Console, remedy: &Remedy) -> Result<()> {
    if remedy.needs_root {
        return debian::as_root(
            console,
            &format!(
                "export DEBIAN_FRONTEND=noninteractive\napt-get update\n{}",
                remedy.command.join(" ")
            ),
        );
    }
    let mut words = remedy.command.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words);
    console.command(&process::line(&command));
    process::run(&mut command)
}

//! What compiles plugins to WebAssembly: rustup's target, or Debian's packages where that cannot be had; and a compiler for C.

use std::process::Command;

use bulkhead_guest_build::{CCompiler, MissingToolchain, Remedy, Toolchain};

use super::debian;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// What is there, or what would bring it.
pub(super) fn find() -> std::result::Result<(Toolchain, CCompiler), MissingToolchain> {
    bulkhead_guest_build::find()
}

/// Installs what is not there, by the first way that works.
pub(super) fn ensure(console: &Console) -> Result<()> {
    while let Err(missing) = find() {
        console.note(&format!("A {} for plugins (wasm32-wasip2) is missing.", missing.what));
        if !missing.remedies.iter().any(|remedy| is_cured(console, &missing, remedy)) {
            return Err(Error::Missing {
                what: format!("a {} for plugins", missing.what),
                remedy: missing.to_string(),
            });
        }
    }
    Ok(())
}

/// Whether `remedy` brings what is missing.
fn is_cured(console: &Console, missing: &MissingToolchain, remedy: &Remedy) -> bool {
    match carry_out(console, remedy) {
        Ok(()) if find().err().is_none_or(|still| still.what != missing.what) => return true,
        Ok(()) => console.note("That did not bring one."),
        Err(error) => console.note(&format!("That did not work: {error}")),
    }
    false
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

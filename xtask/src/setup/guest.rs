//! A toolchain that compiles plugins to `wasm32-wasip2`: rustup's, or Debian's where rustup's cannot be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{debian, in_path, output_of};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// What plugins are compiled for.
const TARGET: &str = "wasm32-wasip2";
/// Debian's compiler for WebAssembly, its library's sources, and a C library.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];

/// Where guests get their standard library from.
#[derive(Clone, Copy)]
pub(super) enum Toolchain {
    /// `rustup target add wasm32-wasip2` has been done.
    Rustup,
    /// Debian's packages, with a standard library that is built along.
    Debian,
}

impl Toolchain {
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Rustup => "rustup's wasm32-wasip2",
            Self::Debian => "Debian's rustc-web",
        }
    }
}

/// The toolchain that is there, rustup's before Debian's.
pub(super) fn find() -> Option<Toolchain> {
    let of_rustup = sysroot().is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib").exists());
    let of_debian = || {
        ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/lib/wasm32-wasi/libc.a"]
            .iter()
            .all(|file| Path::new(file).exists())
    };
    if of_rustup {
        Some(Toolchain::Rustup)
    } else {
        of_debian().then_some(Toolchain::Debian)
    }
}

/// Installs one when none is there: rustup's first, which needs no root.
pub(super) fn ensure(console: &Console) -> Result<()> {
    if find().is_some() {
        return Ok(());
    }
    console.note("A toolchain for plugins (wasm32-wasip2) is missing.");
    if in_path("rustup") {
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]);
        console.command(&process::line(&add));
        if process::run(&mut add).is_ok() && find().is_some() {
            return Ok(());
        }
        console.note("rustup could not get it; Debian's packages can do the same.");
    }
    debian::install(console, &DEBIAN_PACKAGES)?;
    match find() {
        Some(_) => Ok(()),
        None => Err(Error::Missing {
            what: "a Rust toolchain for wasm32-wasip2".to_owned(),
            remedy: format!("rustup target add {TARGET}"),
        }),
    }
}

fn sysroot() -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    output_of(Command::new(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
}

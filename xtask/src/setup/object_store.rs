//! A server of S3 on folders, for the tests: the crate `s3s-fs`, compiled into a folder of its own below Cargo's target folder.

use std::path::PathBuf;

use crate::console::Console;
use crate::error::Result;
use crate::process;

pub(super) const WHAT: &str = "s3s-fs";

/// Checks signatures and conditions as S3 does.
const VERSION: &str = "0.14.1";

fn folder() -> PathBuf {
    process::target_folder().join("tools/s3s-fs-0.14.1")
}

/// Whether it has been compiled.
pub(super) fn is_present() -> bool {
    folder().join("bin/s3s-fs").is_file()
}

/// Downloads and compiles it, with optimizations: it shares the cores with what is measured beside it, and hashes every byte up to three times.
pub(super) fn install(console: &Console) -> Result<()> {
    let mut install = process::cargo(["install", "s3s-fs", "--version", VERSION, "--locked", "--features", "binary"]);
    install.arg("--root").arg(folder());
    console.command(&process::line(&install));
    process::run(&mut install)
}

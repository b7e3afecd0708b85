//! The `bulkhead` that the demo shows and the benchmarks measure.

use std::path::{Path, PathBuf};

use crate::{
    console::Console,
    error::{Error, Result},
    process,
};

/// The absolute path of the binary: the one that is named, or one that is built here, plugins and all.
pub(crate) fn find(console: &Console, named: Option<&Path>, release: bool) -> Result<PathBuf> {
    match named {
        Some(path) => absolute(path),
        None => build(console, release),
    }
}

fn build(console: &Console, release: bool) -> Result<PathBuf> {
    let mut build = process::cargo(["build", "--package", "bulkhead"]);
    if release {
        build.arg("--release");
    }
    console.command(&process::line(&build));
    process::run(&mut build)?;
    let profile = if release { "release" } else { "debug" };
    absolute(&process::target_folder().join(profile).join("bulkhead"))
}

/// It is started in folders of its own, from where a relative path leads elsewhere.
fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(Error::io(format!("cannot find {}", path.display())))
}

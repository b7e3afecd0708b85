//! Which compiler makes C part of a component: some plugins bring a library that is C (SQLite).
//!
//! The `cc` crate, which their build scripts use, asks the environment; [`CCompiler`] finds what to put there.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Names of a clang that Debian and others install, the preferred one first. All of them compile for WebAssembly.
const CLANGS: [&str; 4] = ["clang", "clang-22", "clang-19", "clang-16"];
/// Where Debian's `wasi-libc` has its headers.
const DEBIAN_HEADERS: &str = "/usr/include/wasm32-wasi";
/// Debian's packages that bring both. This clang shares its libraries with `rustc-web`.
pub(crate) const DEBIAN_PACKAGES: [&str; 2] = ["clang-22", "wasi-libc"];
/// How `libsqlite3-sys` is to compile SQLite: no files of its own, no temporary ones, no extensions and no time zones. A sandbox has none of them.
const SQLITE: &str = "-DSQLITE_OS_OTHER -USQLITE_TEMP_STORE -DSQLITE_TEMP_STORE=3 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_LOCALTIME";

/// A compiler for C.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CCompiler {
    /// The one that the operator named: `CC_wasm32_wasip2`, with the `CFLAGS_wasm32_wasip2` that it needs.
    Named,
    /// The one of the WASI SDK at `WASI_SDK_PATH`, which has headers of its own.
    Sdk(PathBuf),
    /// A clang, with the headers of Debian's `wasi-libc`.
    Clang(PathBuf),
}

impl CCompiler {
    /// Finds one.
    pub(crate) fn find() -> Option<Self> {
        if env::var_os("CC_wasm32_wasip2").is_some() {
            return Some(Self::Named);
        }
        if let Some(sdk) = env::var_os("WASI_SDK_PATH").map(PathBuf::from)
            && sdk.join("bin/clang").is_file()
        {
            return Some(Self::Sdk(sdk));
        }
        let headers = Path::new(DEBIAN_HEADERS).join("string.h").is_file();
        on_path(&CLANGS).filter(|_| headers).map(Self::Clang)
    }

    /// Tells the build scripts of plugins.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.env("LIBSQLITE3_FLAGS", SQLITE);
        match self {
            Self::Named => {}
            Self::Sdk(sdk) => {
                command
                    .env("CC_wasm32_wasip2", sdk.join("bin/clang"))
                    .env("AR_wasm32_wasip2", sdk.join("bin/llvm-ar"));
            }
            Self::Clang(clang) => {
                command
                    .env("CC_wasm32_wasip2", clang)
                    .env("CFLAGS_wasm32_wasip2", format!("--target=wasm32-wasip2 -isystem {DEBIAN_HEADERS}"))
                    .env("AR_wasm32_wasip2", "ar"); // any will do: rustc makes an archive of its own of what is in this one
            }
        }
    }
}

/// The first of `names` that is in a folder of `PATH`.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.into_iter().find(|place| place.is_file())
}

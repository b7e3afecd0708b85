//! Builds the first-party plugins and writes the list of them that `src/lib.rs` includes.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use bulkhead_guest_build::GuestBuild;

/// The first-party plugins: their names in TOML, and their packages.
const PLUGINS: &[(&str, &str)] = &[
    ("couchdb", "bulkhead-plugin-couchdb"),
    ("etcd", "bulkhead-plugin-etcd"),
    ("fabric-ca", "bulkhead-plugin-fabric-ca"),
    ("files", "bulkhead-plugin-files"),
    ("gdrive", "bulkhead-plugin-gdrive"),
    ("local", "bulkhead-plugin-local"),
    ("postgres", "bulkhead-plugin-postgres"),
    ("redis", "bulkhead-plugin-redis"),
    ("s3", "bulkhead-plugin-s3"),
    ("sqlite", "bulkhead-plugin-sqlite"),
];

/// What a plugin is made of, from the root of the workspace. Not `Cargo.toml` itself: a new member changes no plugin.
const INPUTS: &[&str] = &["plugins", "sdk/rust", "sdk/units", "wit", "Cargo.lock"];

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let packages: Vec<&str> = PLUGINS.iter().map(|(_, package)| *package).collect();
    let built = GuestBuild::new(&workspace, &packages).build()?;
    let mut list = String::from("&[\n");
    for ((name, _), component) in PLUGINS.iter().zip(&built.components) {
        writeln!(list, "    BuiltinPlugin {{ name: {name:?}, wasm: include_bytes!({component:?}) }},")?;
    }
    list.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("plugins.rs"), list)?;
    Ok(())
}

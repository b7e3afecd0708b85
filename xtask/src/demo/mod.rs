//! `cargo xtask demo`: a PostgreSQL cluster goes into an encrypted vault, is destroyed, and comes back. With `--quick`, files and a SQLite database do (`quick.rs`).
//!
//! [`scene::Scene`] holds the scratch folder and the vault, [`Stage`] the cluster's part; [`cluster`] reads as the story.

mod original;
mod quick;
mod scene;
mod stage;

use std::path::PathBuf;

use bulkhead_test_support::{Scratch, sha256_of_file};

use crate::binary;
use crate::console::{Console, size};
use crate::error::{Error, Result};
use crate::setup::{self, Need};
use original::Original;
use scene::Backup;
use stage::Stage;

/// Back up a scratch PostgreSQL cluster, destroy it, restore it, and compare.
///
/// Everything happens in a scratch folder and on 127.0.0.1, takes a few minutes for the first build and one after that, and leaves nothing
/// behind. Works as root (the server then runs as `postgres`) or not.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Show files and a live SQLite database instead: no server, and seconds after the build.
    #[arg(long)]
    quick: bool,
    /// Keep the scratch folder (vault, configuration and restored cluster) and say where it is.
    #[arg(long)]
    keep: bool,
    /// Build with optimizations: slower to build, faster to run.
    #[arg(long)]
    release: bool,
    /// Show this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// Plays the demo from beginning to end.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    console.step("Look for what is needed, and build Bulkhead");
    setup::ensure(console, if arguments.quick { Need::Quick } else { Need::Demo })?;
    let binary = binary::find(console, arguments.binary.as_deref(), arguments.release)?;
    let mut scratch = Scratch::new()?;
    if arguments.keep {
        scratch.keep();
    }
    if arguments.quick {
        return quick::run(console, scratch, binary, arguments.keep);
    }
    cluster(console, scratch, binary, arguments.keep)
}

/// The demo with a cluster.
fn cluster(console: &Console, scratch: Scratch, binary: PathBuf, keep: bool) -> Result<()> {
    console.step("Start a PostgreSQL server and fill it");
    let original = Original::start(console, &scratch)?;

    console.step("Describe the backup in TOML");
    let stage = Stage::prepare(console, scratch, binary, &original)?;

    console.step("Make a vault, and look before the first run");
    stage.scene.bulkhead(&["init", "main"])?;
    stage.scene.bulkhead(&["check"])?;

    console.step("Back up");
    let first = stage.scene.back_up("demo")?;
    console.step("Change some rows, and back up again");
    original.change(console)?;
    let second = stage.scene.back_up("demo")?;
    stage.scene.bulkhead(&["snapshots"])?;

    console.step("Write down what the cluster holds, then destroy it");
    let expected = stage.scene.scratch().join("original.sql");
    original.dump(console, &expected)?;
    let (roles_password, cluster_size) = original.destroy(console)?;

    console.step("Restore the cluster from the vault, and start it");
    let restored_in = stage.restore()?;
    let restored = stage.start_restored(&roles_password)?;
    let found = stage.scene.scratch().join("restored.sql");
    stage.dump(&restored, &found)?;

    console.step("Compare");
    let digest = compare(console, &expected, &found)?;
    drop(restored);

    console.step("Summary");
    console.figures(&summary(&cluster_size, &first, &second, restored_in, &digest));
    if keep {
        stage.scene.explain_what_is_kept("demo");
    }
    Ok(())
}

/// Both dumps' checksum, if they are the same.
fn compare(console: &Console, expected: &std::path::Path, found: &std::path::Path) -> Result<String> {
    let (before, after) = (sha256_of_file(expected)?, sha256_of_file(found)?);
    console.command("sha256sum original.sql restored.sql");
    console.note(&format!("{before}  original.sql\n{after}  restored.sql"));
    if before != after {
        return Err(Error::Broken("the restored cluster differs from the original".to_owned()));
    }
    console.success("pg_dumpall says the same of the original and of the restored cluster");
    Ok(before)
}

fn summary<'n>(cluster: &u64, first: &Backup, second: &Backup, restored_in: std::time::Duration, digest: &str) -> Vec<(&'n str, String)> {
    let rate = |duration: std::time::Duration| {
        format!(
            "{:.1} s, {}/s",
            duration.as_secs_f64(),
            size((*cluster as f64 / duration.as_secs_f64()) as u64)
        )
    };
    vec![
        ("cluster", size(*cluster)),
        ("first backup", rate(first.duration)),
        ("  stored, encrypted", size(first.added)),
        ("second backup", rate(second.duration)),
        (
            "  added to the vault",
            format!(
                "{} ({:.1} % of the first)",
                size(second.added),
                100.0 * second.added as f64 / first.added as f64
            ),
        ),
        ("restore", rate(restored_in)),
        ("pg_dumpall, both", format!("sha256 {digest}")),
    ]
}

//! The scene of the demo with a cluster: configuration, keys and, in the end, the restored cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bulkhead_test_support::Scratch;
use bulkhead_test_support::postgres::{Cluster, Installation};

use super::original::{BACKUP_ROLE, Original};
use super::scene::{Scene, private};
use crate::console::Console;
use crate::error::{Error, Result};

/// The scratch folder with all that `bulkhead` needs.
pub(super) struct Stage<'c> {
    pub(super) scene: Scene<'c>,
    installation: Installation,
}

impl<'c> Stage<'c> {
    /// Writes passwords and `bulkhead.toml`, and shows the latter.
    pub(super) fn prepare(console: &'c Console, scratch: Scratch, binary: PathBuf, original: &Original) -> Result<Self> {
        scratch.private_file("postgres-password", original.backup_password())?;
        let installation = original.cluster().installation();
        scratch.folder("restored/data")?;
        // PostgreSQL insists on owning its folders, and on nobody else looking into them.
        for folder in ["restored", "restored/data"] {
            private(&scratch.join(folder))?;
            installation.user().own(&scratch.join(folder))?;
        }
        if let Some(certificates) = original.cluster().certificates() {
            let copied = std::fs::copy(certificates.authority_certificate(), scratch.join("ca.pem"));
            copied.map_err(Error::io("cannot copy the authority's certificate"))?;
        }
        let scene = Scene::new(console, scratch, binary)?;
        scene.describe(&pipeline(original)?)?;
        Ok(Self { scene, installation })
    }

    /// Restores the last snapshot through the plugin and lets PostgreSQL's own tool verify it.
    pub(super) fn restore(&self) -> Result<Duration> {
        let begin = Instant::now();
        self.scene.bulkhead(&["restore", "demo", "--target", "elsewhere"])?;
        let duration = begin.elapsed();
        self.scene.console.command("pg_verifybackup restored/data");
        self.installation.verify_backup(&self.scene.scratch().join("restored/data"))?;
        self.scene
            .console
            .success("every file has the size and checksum that the original server wrote into its manifest");
        Ok(duration)
    }

    /// Starts a server on the restored data directory.
    pub(super) fn start_restored(&self, password: &str) -> Result<Cluster> {
        self.scene.console.command("pg_ctl start -D restored/data");
        let cluster = Cluster::builder().adopt(&self.scene.scratch().join("restored/data"), password)?;
        self.scene.console.success("it recovered from its WAL and accepts connections");
        Ok(cluster)
    }

    /// Writes everything that the restored cluster holds, as SQL.
    pub(super) fn dump(&self, restored: &Cluster, path: &Path) -> Result<()> {
        self.scene.console.command("pg_dumpall > restored.sql");
        restored.dump_all(path).map_err(Into::into)
    }
}

/// The pipeline and its target. PostgreSQL wants an absolute path for a tablespace.
fn pipeline(original: &Original) -> Result<String> {
    Ok(format!(
        r#"[pipeline.demo]                             # one source, the vault that it writes to, and what the plugin may touch
plugin = "postgres"
vault = "main"
config = {{ mode = "physical", user = "{BACKUP_ROLE}" }}
endpoint.server = {{ address = "{address}", tls = {{ mode = "verify-full", ca = "ca.pem" }} }}
secret.password = {{ file = "postgres-password", reveal = true }}

[pipeline.demo.target.elsewhere]            # a restore target, with grants of its own
directory.data = {{ path = "restored/data", access = "read-write" }}
directory.tablespace-{oid} = {{ path = "{location}", access = "read-write" }}
"#,
        address = original.cluster().address(),
        oid = original.tablespace_oid()?,
        location = original.tablespace().display(),
    ))
}

//! Bulkhead's source plugin for etcd, over etcd's own gRPC API: no `etcdctl`, no shell.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `snapshot.db` | what `Maintenance/Snapshot` sent, SHA-256 trailer included: `etcdctl snapshot restore` takes it as it is |
//! | `files/GRANT/…` | further files that the config names, such as K3s' server token |
//! | `RUNBOOK.md` | how to rebuild the cluster from these, with this cluster's own names |
//!
//! The plugin is [`Etcd`]. [`bolt`] reads etcd's file, [`store`] the keys in it; `rpc/` talks to members.

mod backup;
pub mod bolt;
mod browse;
mod check;
pub mod config;
mod facts;
mod files;
mod links;
mod members;
mod restore;
pub mod rpc;
mod runbook;
pub mod store;
mod verify;
mod witness;

use bulkhead_sdk::prelude::*;

use config::Config;

/// The plugin.
pub struct Etcd {
    config: Config,
}

impl Source for Etcd {
    type Config = Config;

    fn describe() -> Description {
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "etcd",
            env!("CARGO_PKG_VERSION"),
            "Backs up etcd 3.4 and later, K3s' and kubeadm's included, and restores it as a file or into a running cluster",
            reading | Operations::RESTORE | Operations::VERIFY | Operations::BROWSE,
        )
        .endpoint(
            rpc::ENDPOINT,
            "the members' client addresses (port 2379); in a restore target, the cluster that gets the keys",
            reading,
        )
        .secret(
            rpc::PASSWORD,
            "the user's password, where `user` is set: etcd's protocol sends it to the server",
            Operations::none(),
        )
        .directory(
            "files-*",
            "where further files of the config's `files` are read, such as /etc/rancher/k3s",
            Access::ReadOnly,
            Operations::none(),
        )
        .directory(
            restore::TARGET,
            "where the restored snapshot file goes; must be empty",
            Access::ReadWrite,
            Operations::none(),
        )
    }

    fn new(config: Config) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&self.config)
    }

    fn backup(&mut self, _request: BackupRequest) -> Result<BackupResult> {
        backup::backup(&self.config)
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        restore::restore(&request)
    }

    fn verify(&mut self) -> Result<Vec<Finding>> {
        verify::verify()
    }

    fn browse(&mut self, request: BrowseRequest) -> Result<Vec<Item>> {
        browse::browse(&request)
    }
}

bulkhead_sdk::export_source!(Etcd);

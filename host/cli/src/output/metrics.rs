//! Figures for monitoring: [`metrics`], as OpenMetrics text, which Prometheus and what reads its text files take.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use bulkhead_pipeline::{CopyStatus, PipelineStatus, VaultFigures};
use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::commands::{severity_word, status::AskedCopy};

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// All metrics.
#[derive(Default)]
struct Metrics {
    collected: Family<Labels, Gauge>,
    readable: Family<Labels, Gauge>,
    snapshots: Family<Labels, Gauge>,
    last: Family<Labels, Gauge>,
    last_verified: Family<Labels, Gauge>,
    rpo: Family<Labels, Gauge>,
    behind: Family<Labels, Gauge>,
    reachable: Family<Labels, Gauge>,
    findings: Family<Labels, Gauge>,
    damaged: Family<Labels, Gauge>,
    key_age: Family<Labels, Gauge>,
    key_max_age: Family<Labels, Gauge>,
    copy_readable: Family<Labels, Gauge>,
    copy_behind: Family<Labels, Gauge>,
    copy_oldest: Family<Labels, Gauge>,
}

/// The figures of the vaults that could be read, and the names of those that could not; and how far those are behind that are fed from others, where that could be told.
pub(crate) fn metrics(figures: &[VaultFigures], copies: &[AskedCopy<'_>], vaults: &[(&str, bool)]) -> Result<String, fmt::Error> {
    let metrics = Metrics::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    set(&metrics.collected, Vec::new(), now);
    for (vault, is_readable) in vaults {
        set(&metrics.readable, vec![("vault", (*vault).to_owned())], u64::from(*is_readable));
    }
    for vault in figures {
        metrics.add(vault);
    }
    for copy in copies {
        let labels = vec![("vault", copy.vault.to_owned()), ("from", copy.from.to_owned())];
        set(&metrics.copy_readable, labels, u64::from(copy.status.is_ok()));
        copy.status.iter().for_each(|status| metrics.add_copy(status));
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry())?;
    Ok(text)
}

fn set(family: &Family<Labels, Gauge>, labels: Labels, value: u64) {
    family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

impl Metrics {
    fn registry(self) -> Registry {
        let mut registry = Registry::with_prefix("bulkhead");
        let mut register = |name: &str, help: &str, family| registry.register(name, help, family);
        register("collected_timestamp_seconds", "When these figures were collected", self.collected);
        register(
            "vault_readable",
            "Whether the vault could be opened and its snapshots listed",
            self.readable,
        );
        register("snapshots", "Snapshots of the pipeline on the vault's first sink", self.snapshots);
        register(
            "last_snapshot_timestamp_seconds",
            "When the last snapshot of the pipeline was taken",
            self.last,
        );
        register(
            "last_verified_snapshot_timestamp_seconds",
            "When the last snapshot of the pipeline was taken that was verified",
            self.last_verified,
        );
        register("rpo_seconds", "How old the last snapshot of the pipeline may be", self.rpo);
        register(
            "replica_behind_snapshots",
            "Snapshots that the first sink has and this one lacks",
            self.behind,
        );
        register("replica_reachable", "Whether the sink could be asked", self.reachable);
        register(
            "findings",
            "What the last snapshot of the pipeline remarked, by code",
            self.findings,
        );
        register("damaged_snapshots", "Snapshots of the vault whose files are damaged", self.damaged);
        register("key_age_seconds", "The age of the vault's oldest key", self.key_age);
        register("key_max_age_seconds", "How old a key of the vault may get", self.key_max_age);
        register(
            "copy_readable",
            "Whether the vaults of the copy could be compared",
            self.copy_readable,
        );
        register(
            "copy_behind_snapshots",
            "Snapshots that a copy would bring into the vault now",
            self.copy_behind,
        );
        register(
            "copy_oldest_missing_timestamp_seconds",
            "When the oldest of them was taken",
            self.copy_oldest,
        );
        registry
    }

    fn add(&self, vault: &VaultFigures) {
        for status in &vault.status.pipelines {
            self.add_pipeline(status);
        }
        for (pipeline, findings) in &vault.findings {
            for finding in findings {
                let labels = vec![
                    ("pipeline", pipeline.clone()),
                    ("code", finding.code.clone()),
                    ("severity", severity_word(finding.severity).to_owned()),
                ];
                self.findings.get_or_create(&labels).inc();
            }
        }
        let labels = || vec![("vault", vault.vault.clone())];
        set(&self.damaged, labels(), vault.status.unreadable.len() as u64);
        set(&self.key_max_age, labels(), vault.key_max_age_seconds);
        if let Some(age) = vault.oldest_key_seconds {
            set(&self.key_age, labels(), age);
        }
    }

    fn add_copy(&self, copy: &CopyStatus) {
        let labels = || vec![("vault", copy.vault.clone()), ("from", copy.from.clone())];
        set(&self.copy_behind, labels(), copy.behind);
        if let Some(oldest) = &copy.oldest {
            self.copy_oldest.get_or_create(&labels()).set(oldest.seconds);
        }
    }

    fn add_pipeline(&self, status: &PipelineStatus) {
        let labels = || vec![("pipeline", status.pipeline.clone()), ("vault", status.vault.clone())];
        set(&self.snapshots, labels(), status.snapshots);
        if let Some(last) = &status.last {
            self.last.get_or_create(&labels()).set(last.seconds);
        }
        if let Some(last) = &status.last_verified {
            self.last_verified.get_or_create(&labels()).set(last.snapshot.seconds);
        }
        if let Some(rpo) = status.rpo_seconds {
            set(&self.rpo, labels(), rpo);
        }
        for replica in &status.replicas {
            let mut labels = labels();
            labels.push(("sink", replica.sink.clone()));
            set(&self.reachable, labels.clone(), u64::from(replica.error.is_none()));
            if replica.error.is_none() {
                set(&self.behind, labels, replica.behind);
            }
        }
    }
}

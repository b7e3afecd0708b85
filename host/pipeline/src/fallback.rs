//! Reading a vault that has several sinks: [`FallbackStore`] asks another one for what is missing or damaged on the first.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bulkhead_config as config;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_vault::{ObjectBody, ObjectInfo, ObjectStore, OpenError, StoreTraits, Vault};
use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::{access::AccessError, failure::Explain as _, host::BuildError, operation::Operation, store::SinkStore};

/// A sink, and those that have the same. They are loaded when they are needed.
struct FallbackStore {
    first: Arc<SinkStore>,
    others: Vec<Other>,
    operation: Operation,
    /// Whether the first one stopped answering: it is asked no more then, so that not every object waits for it.
    is_away: AtomicBool,
}

struct Other {
    name: String,
    /// `None` where it cannot be made ready.
    store: OnceCell<Option<Arc<SinkStore>>>,
}

impl FallbackStore {
    async fn other(&self, number: usize) -> Option<&Arc<SinkStore>> {
        let other = self.others.get(number)?;
        let load = async || match self.operation.sink_named(&other.name).await {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::warn!(sink = other.name, "this replica cannot be asked: {}", error.explain());
                None
            }
        };
        other.store.get_or_init(load).await.as_ref()
    }

    async fn get_from_first(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        let got = self.first.get(key, range).await;
        if let Err(fault) = &got
            && is_of_the_sink(fault)
            && !self.others.is_empty()
            && !self.is_away.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                sink = self.first.name(),
                "the sink does not answer, other replicas are read: {fault}"
            );
        }
        got
    }
}

/// Whether it is the sink that fails, rather than one object.
fn is_of_the_sink(fault: &Fault) -> bool {
    let kinds = [FaultKind::Unreachable, FaultKind::TimedOut, FaultKind::ConnectionLost];
    fault.trapped || kinds.contains(&fault.kind)
}

#[async_trait]
impl ObjectStore for FallbackStore {
    fn location(&self) -> String {
        self.first.location()
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        self.first.traits().await
    }

    async fn initialize(&self) -> Result<(), Fault> {
        self.first.initialize().await
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        self.first.put(key, body, if_absent).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        self.get_from_first(key, range).await
    }

    async fn get_from(&self, replica: usize, key: &str, range: Option<Range<u64>>) -> Option<Result<Bytes, Fault>> {
        let Some(number) = replica.checked_sub(1) else {
            return Some(if self.is_away.load(Ordering::Relaxed) {
                Err(Fault::new(
                    FaultKind::Unreachable,
                    format!("the sink `{}` stopped answering", self.first.name()),
                ))
            } else {
                self.get_from_first(key, range).await
            });
        };
        self.others.get(number)?;
        Some(match self.other(number).await {
            Some(other) => other.get(key, range).await,
            None => Err(Fault::new(FaultKind::Unreachable, "the replica cannot be asked")),
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        self.first.list(prefix).await
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        self.first.stat(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.first.delete(key).await
    }
}

impl Operation {
    /// Opens `vault` for reading what is stored in it: on the sink that was asked for and no other; otherwise on the first one that has it, with the others for what is
    /// missing or damaged there.
    pub(crate) async fn open_to_read(&self, vault: &config::Vault) -> Result<(Arc<SinkStore>, Vault), AccessError> {
        if self.read_from.is_some() {
            let store = self.sink_to_read(vault).await?;
            let opened = self.open_on(vault, &store).await?;
            return Ok((store, opened));
        }
        let mut refused = None;
        for (number, name) in vault.sinks.iter().enumerate() {
            match self.open_with_others(vault, name).await {
                Ok(opened) => return Ok(opened),
                Err(error) if number + 1 < vault.sinks.len() && may_be_elsewhere(&error) => {
                    tracing::warn!(
                        sink = name,
                        "the vault cannot be read here, the next sink is tried: {}",
                        error.explain()
                    );
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(refused.unwrap_or(error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            AccessError::Build(BuildError::Dangling {
                kind: "sink",
                name: String::new(),
            })
        }))
    }

    async fn open_with_others(&self, vault: &config::Vault, name: &str) -> Result<(Arc<SinkStore>, Vault), AccessError> {
        let first = self.sink_named(name).await?;
        let other = |name: &String| Other {
            name: name.clone(),
            store: OnceCell::new(),
        };
        let store = FallbackStore {
            first: first.clone(),
            others: vault.sinks.iter().filter(|other| *other != name).map(other).collect(),
            operation: self.clone(),
            is_away: AtomicBool::new(false),
        };
        let opened = self.open_store(vault, first.site(), Arc::new(store)).await?;
        Ok((first, opened))
    }
}

/// Whether another sink may have what this one has lost. A password that is wrong is wrong everywhere.
fn may_be_elsewhere(error: &AccessError) -> bool {
    match error {
        AccessError::Open { source, .. } => !matches!(**source, OpenError::WrongPassword { .. } | OpenError::UnsupportedVersion { .. }),
        AccessError::Build(_) | AccessError::Password(_) => false,
    }
}

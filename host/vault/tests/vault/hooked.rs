//! [`Hooked`]: a store that tells a test of its calls, and lets it hold them up. The crate's own tests include this file, as those in `tests/` do.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bulkhead_model::Fault;
use bytes::Bytes;

use super::{ObjectBody, ObjectInfo, ObjectStore, SharedStore, StoreTraits};

/// A call that a test may care about, and what it is about.
#[derive(Clone, Copy)]
pub(crate) enum Call<'c> {
    /// Key and content.
    Put(&'c str, &'c ObjectBody),
    /// The prefix.
    List(&'c str),
    /// The key.
    Delete(&'c str),
}

/// What a test does about calls. They wait for it.
#[async_trait]
pub(crate) trait Hook: Send + Sync + 'static {
    /// Before a call is carried out; a panic here is one of the store.
    async fn before(&self, call: Call<'_>);
    /// Why a removal is refused instead of carried out, if it is.
    fn refusal(&self, _call: Call<'_>) -> Option<Fault> {
        None
    }
    /// After it succeeded.
    async fn after(&self, _call: Call<'_>) {}
}

/// A store whose calls pass a hook.
pub(crate) struct Hooked<H> {
    inner: SharedStore,
    pub(crate) hook: H,
}

impl<H: Hook> Hooked<H> {
    pub(crate) fn new(inner: SharedStore, hook: H) -> Arc<Self> {
        Arc::new(Self { inner, hook })
    }
}

#[async_trait]
impl<H: Hook> ObjectStore for Hooked<H> {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        self.inner.traits().await
    }

    async fn initialize(&self) -> Result<(), Fault> {
        self.inner.initialize().await
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        let call = Call::Put(key, &body);
        self.hook.before(call).await;
        self.inner.put(key, body.clone(), if_absent).await?;
        self.hook.after(call).await;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        self.inner.get(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        self.hook.before(Call::List(prefix)).await;
        self.inner.list(prefix).await
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.hook.before(Call::Delete(key)).await;
        if let Some(fault) = self.hook.refusal(Call::Delete(key)) {
            return Err(fault);
        }
        self.inner.delete(key).await?;
        self.hook.after(Call::Delete(key)).await;
        Ok(())
    }
}

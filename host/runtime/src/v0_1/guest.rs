//! Calling a plugin's exports, in the crate's own types. The outer error of each is a trap, the inner one the plugin's own.

use std::ops::Range;

use bulkhead_model::{Fault, Finding, Timestamp};
use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime::{Result, Store};

use super::bindings::sink_world::exports::bulkhead::plugin::sink;
use super::bindings::sink_world::{SinkPlugin, SinkPluginPre};
use super::bindings::source_world::bulkhead::plugin::types;
use super::bindings::source_world::exports::bulkhead::plugin::source;
use super::bindings::source_world::{SourcePlugin, SourcePluginPre};
use super::convert::all;
use crate::Description;
use crate::capabilities::content::{ContentReader, ContentWriter};
use crate::capabilities::entries::EntryWriter;
use crate::sink::{Object, ObjectPage, PutOptions, SinkTraits};
use crate::source::{BackupOutcome, BrowseRequest, Item, RenderRequest, RestoreOutcome, RestoreRequest};
use crate::state::State;

type Answer<T> = Result<Result<T, Fault>>;

fn answer<T, U>(returned: Result<T, types::Error>, convert: impl FnOnce(T) -> U) -> Answer<U> {
    Ok(returned.map(convert).map_err(Into::into))
}

/// An instance of a source plugin.
pub(crate) struct SourceGuest(SourcePlugin);

impl SourceGuest {
    pub(crate) async fn instantiate(pre: &SourcePluginPre<State>, store: &mut Store<State>) -> Result<Self> {
        Ok(Self(pre.instantiate_async(store).await?))
    }

    fn exports(&self) -> &source::Guest {
        self.0.bulkhead_plugin_source()
    }

    pub(crate) async fn describe(&self, store: &mut Store<State>) -> Result<Result<Description, String>> {
        Ok(self.exports().call_describe(store).await?.try_into())
    }

    pub(crate) async fn configure(&self, store: &mut Store<State>, config: &str) -> Answer<()> {
        answer(self.exports().call_configure(store, config).await?, |()| ())
    }

    pub(crate) async fn check(&self, store: &mut Store<State>) -> Answer<Vec<Finding>> {
        answer(self.exports().call_check(store).await?, all)
    }

    pub(crate) async fn backup(&self, store: &mut Store<State>, checkpoint: Option<Bytes>) -> Answer<BackupOutcome> {
        let request = source::BackupRequest {
            checkpoint: checkpoint.map(Vec::from),
        };
        answer(self.exports().call_backup(store, &request).await?, |result| BackupOutcome {
            proof: result.proof.into(),
            checkpoint: result.checkpoint.map(Bytes::from),
            findings: all(result.findings),
        })
    }

    pub(crate) async fn restore(&self, store: &mut Store<State>, request: &RestoreRequest) -> Answer<RestoreOutcome> {
        let paths = request.paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let request = source::RestoreRequest {
            paths,
            options: request.options.to_string(),
        };
        answer(self.exports().call_restore(store, &request).await?, |result| RestoreOutcome {
            entries: result.entries,
            bytes: result.bytes,
            facts: all(result.facts),
            findings: all(result.findings),
        })
    }

    pub(crate) async fn run_part(&self, store: &mut Store<State>, work: &[u8]) -> Answer<Vec<u8>> {
        answer(self.exports().call_run_part(store, work).await?, |outcome| outcome)
    }

    pub(crate) async fn verify(&self, store: &mut Store<State>) -> Answer<Vec<Finding>> {
        answer(self.exports().call_verify(store).await?, all)
    }

    pub(crate) async fn browse(&self, store: &mut Store<State>, request: &BrowseRequest) -> Answer<Vec<Item>> {
        let BrowseRequest { entry, prefix, after } = request;
        let listed = self
            .exports()
            .call_browse(store, entry.as_bytes(), prefix, after.as_deref())
            .await?;
        let item = |item: source::Item| Item {
            name: item.name,
            size: item.size,
            facts: all(item.facts),
        };
        answer(listed, |items| items.into_iter().map(item).collect())
    }

    pub(crate) async fn render(&self, store: &mut Store<State>, request: &RenderRequest, into: EntryWriter) -> Answer<()> {
        let request = source::RenderRequest {
            format: request.format.clone(),
            paths: request.paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        };
        let writer = store.data_mut().table.push(into)?;
        let written = self
            .exports()
            .call_render(&mut *store, &request, Resource::new_borrow(writer.rep()))
            .await?;
        store.data_mut().table.delete(writer)?;
        answer(written, |()| ())
    }
}

/// An instance of a sink plugin.
pub(crate) struct SinkGuest(SinkPlugin);

impl SinkGuest {
    pub(crate) async fn instantiate(pre: &SinkPluginPre<State>, store: &mut Store<State>) -> Result<Self> {
        Ok(Self(pre.instantiate_async(store).await?))
    }

    fn exports(&self) -> &sink::Guest {
        self.0.bulkhead_plugin_sink()
    }

    pub(crate) async fn describe(&self, store: &mut Store<State>) -> Result<Result<Description, String>> {
        Ok(self.exports().call_describe(store).await?.try_into())
    }

    pub(crate) async fn configure(&self, store: &mut Store<State>, config: &str) -> Answer<()> {
        answer(self.exports().call_configure(store, config).await?, |()| ())
    }

    pub(crate) async fn check(&self, store: &mut Store<State>) -> Answer<Vec<Finding>> {
        answer(self.exports().call_check(store).await?, all)
    }

    pub(crate) async fn traits(&self, store: &mut Store<State>) -> Answer<SinkTraits> {
        answer(self.exports().call_get_traits(store).await?, |traits| SinkTraits {
            max_object_size: traits.max_object_size,
            concurrency: traits.concurrency,
            conditional_put: traits.conditional_put,
            object_lock: traits.object_lock,
        })
    }

    pub(crate) async fn initialize(&self, store: &mut Store<State>) -> Answer<()> {
        answer(self.exports().call_initialize(store).await?, |()| ())
    }

    pub(crate) async fn put(&self, store: &mut Store<State>, key: &str, body: ContentReader, options: PutOptions) -> Answer<()> {
        let options = sink::PutOptions {
            if_absent: options.if_absent,
            lock_until: options.lock_until.map(Into::into),
        };
        let reader = store.data_mut().table.push(body)?;
        let stored = self
            .exports()
            .call_put(&mut *store, key, Resource::new_borrow(reader.rep()), options)
            .await?;
        store.data_mut().table.delete(reader)?;
        answer(stored, |()| ())
    }

    pub(crate) async fn get(&self, store: &mut Store<State>, key: &str, range: Option<Range<u64>>, into: ContentWriter) -> Answer<()> {
        let range = range.map(|range| sink::ByteRange {
            offset: range.start,
            length: range.end.saturating_sub(range.start),
        });
        let writer = store.data_mut().table.push(into)?;
        let fetched = self
            .exports()
            .call_get(&mut *store, key, range, Resource::new_borrow(writer.rep()))
            .await?;
        store.data_mut().table.delete(writer)?;
        answer(fetched, |()| ())
    }

    pub(crate) async fn list(&self, store: &mut Store<State>, prefix: &str, page: Option<&str>) -> Answer<ObjectPage> {
        answer(self.exports().call_list(store, prefix, page).await?, |page| ObjectPage {
            objects: page.objects.into_iter().map(object).collect(),
            next: page.next,
        })
    }

    pub(crate) async fn stat(&self, store: &mut Store<State>, key: &str) -> Answer<Option<Object>> {
        answer(self.exports().call_stat(store, key).await?, |found| found.map(object))
    }

    pub(crate) async fn delete(&self, store: &mut Store<State>, key: &str) -> Answer<()> {
        answer(self.exports().call_delete(store, key).await?, |()| ())
    }

    pub(crate) async fn extend_lock(&self, store: &mut Store<State>, key: &str, until: Timestamp) -> Answer<()> {
        answer(self.exports().call_extend_lock(store, key, until.into()).await?, |()| ())
    }

    pub(crate) async fn locked_until(&self, store: &mut Store<State>, key: &str) -> Answer<Option<Timestamp>> {
        answer(self.exports().call_locked_until(store, key).await?, |until| until.map(Into::into))
    }
}

fn object(object: sink::Object) -> Object {
    Object {
        key: object.key,
        size: object.size,
    }
}

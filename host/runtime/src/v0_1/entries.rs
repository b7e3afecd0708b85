//! Bindings of `entries` and `snapshot`.

use std::sync::Arc;

use bulkhead_model::{Fault, FaultKind, FinishedEntry};
use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime::{Result, bail};

use super::bindings::source_world::bulkhead::plugin::{digest, entries, metadata, snapshot, types};
use super::convert::{all, path};
use super::endpoint::{Answer, answer};
use crate::capabilities::entries::{Entries, EntryWriter};
use crate::capabilities::redact::Redact;
use crate::capabilities::snapshot::{Reader, Snapshot, Walk};
use crate::ports::SnapshotEntry;
use crate::state::State;

impl metadata::Host for State {}

impl State {
    fn entries(&self) -> Result<Arc<Entries>, Fault> {
        let missing = || Fault::new(FaultKind::Unsupported, "entries are written in `backup` only");
        self.host.entries.clone().ok_or_else(missing)
    }

    fn snapshot(&self) -> Result<Snapshot, Fault> {
        let missing = || match &self.host.entries {
            Some(_) => Fault::new(FaultKind::NotFound, "this run continues no snapshot"),
            None => Fault::new(FaultKind::Unsupported, "there is no snapshot in this operation"),
        };
        self.host.snapshot.clone().ok_or_else(missing)
    }

    pub(super) async fn writer_write(&mut self, writer: Resource<EntryWriter>, data: Bytes) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get_mut(&writer)?.write(data).await)
    }

    pub(super) async fn reader_read(&mut self, reader: Resource<Reader>, max: u32) -> Answer<Option<Bytes>> {
        self.count_call()?;
        answer(self.table.get_mut(&reader)?.read(max).await)
    }

    pub(super) async fn reader_read_at(&mut self, reader: Resource<Reader>, offset: u64, max: u32) -> Answer<Option<Bytes>> {
        self.count_call()?;
        answer(self.table.get_mut(&reader)?.read_at(offset, max).await)
    }
}

impl From<FinishedEntry> for entries::Finished {
    fn from(finished: FinishedEntry) -> Self {
        Self {
            entries: finished.entries,
            size: finished.size,
            digest: finished.digest,
        }
    }
}

impl entries::Host for State {
    async fn create(
        &mut self,
        name: Vec<u8>,
        metadata: metadata::Metadata,
        digest: Option<digest::Algorithm>,
    ) -> Answer<Resource<EntryWriter>> {
        self.count_call()?;
        let entries = self.entries();
        let create = async { entries?.create(path(name)?, metadata.into(), digest.map(Into::into)).await };
        match create.await {
            Ok(writer) => answer(Ok(self.table.push(writer)?)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn add(&mut self, name: Vec<u8>, metadata: metadata::Metadata) -> Answer<()> {
        self.count_call()?;
        let entries = self.entries();
        answer(async { entries?.add(path(name)?, metadata.into()).await }.await)
    }

    async fn keep(&mut self, name: Vec<u8>) -> Answer<entries::Finished> {
        self.count_call()?;
        let entries = self.entries();
        answer(async { entries?.keep(path(name)?).await }.await.map(Into::into))
    }

    async fn commit(&mut self, proof: types::Proof, checkpoint: Option<Vec<u8>>) -> Answer<String> {
        self.count_call()?;
        let entries = self.entries();
        let mut proof = bulkhead_model::Proof::from(proof);
        proof.redact(self.host.log.redactor());
        answer(async { entries?.commit(proof, checkpoint.map(Bytes::from)).await }.await)
    }
}

impl entries::HostWriter for State {
    async fn write(&mut self, writer: Resource<EntryWriter>, data: Vec<u8>) -> Answer<()> {
        self.writer_write(writer, data.into()).await
    }

    async fn write_zeros(&mut self, writer: Resource<EntryWriter>, length: u64) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get_mut(&writer)?.write_zeros(length).await)
    }

    async fn finish(&mut self, writer: Resource<EntryWriter>) -> Answer<entries::Finished> {
        self.count_call()?;
        answer(self.table.get_mut(&writer)?.finish().await.map(Into::into))
    }

    async fn drop(&mut self, writer: Resource<EntryWriter>) -> Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

impl From<SnapshotEntry> for snapshot::Entry {
    fn from(entry: SnapshotEntry) -> Self {
        Self {
            path: entry.path.as_bytes().to_vec(),
            metadata: entry.metadata.into(),
            size: entry.size,
        }
    }
}

impl snapshot::Host for State {
    async fn get_info(&mut self) -> Result<snapshot::Info> {
        self.count_call()?;
        let Ok(snapshot) = self.snapshot() else {
            bail!("`snapshot.get-info` was called in an operation without a snapshot");
        };
        let info = snapshot.info();
        Ok(snapshot::Info {
            id: info.id,
            time: info.time.into(),
            facts: all(info.facts),
            checkpoint: info.checkpoint.map(Vec::from),
        })
    }

    async fn walk_entries(&mut self, name: Vec<u8>) -> Answer<Resource<Walk>> {
        self.count_call()?;
        let snapshot = self.snapshot();
        match async { snapshot?.walk(path(name)?).await }.await {
            Ok(walk) => answer(Ok(self.table.push(walk)?)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn stat(&mut self, name: Vec<u8>) -> Answer<snapshot::Entry> {
        self.count_call()?;
        let snapshot = self.snapshot();
        answer(async { snapshot?.stat(path(name)?).await }.await.map(Into::into))
    }

    async fn open(&mut self, name: Vec<u8>) -> Answer<Resource<Reader>> {
        self.count_call()?;
        let snapshot = self.snapshot();
        match async { snapshot?.open(path(name)?).await }.await {
            Ok(reader) => answer(Ok(self.table.push(reader)?)),
            Err(fault) => answer(Err(fault)),
        }
    }
}

impl snapshot::HostWalk for State {
    async fn next(&mut self, walk: Resource<Walk>) -> Answer<Vec<snapshot::Entry>> {
        self.count_call()?;
        answer(self.table.get_mut(&walk)?.next().await.map(all))
    }

    async fn drop(&mut self, walk: Resource<Walk>) -> Result<()> {
        self.table.delete(walk)?;
        Ok(())
    }
}

impl snapshot::HostReader for State {
    async fn size(&mut self, reader: Resource<Reader>) -> Result<u64> {
        self.count_call()?;
        Ok(self.table.get(&reader)?.size())
    }

    async fn read(&mut self, reader: Resource<Reader>, max: u32) -> Answer<Option<Vec<u8>>> {
        Ok(self.reader_read(reader, max).await?.map(|data| data.map(Vec::from)))
    }

    async fn read_at(&mut self, reader: Resource<Reader>, offset: u64, max: u32) -> Answer<Option<Vec<u8>>> {
        Ok(self.reader_read_at(reader, offset, max).await?.map(|data| data.map(Vec::from)))
    }

    async fn drop(&mut self, reader: Resource<Reader>) -> Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

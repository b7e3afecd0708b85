//! Binding of `content`: bodies of objects on their way through a sink.

use bytes::Bytes;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::bindings::sink_world::bulkhead::plugin::content;
use super::endpoint::{Answer, answer};
use crate::capabilities::content::{ContentReader, ContentWriter};
use crate::state::State;

impl State {
    pub(super) fn content_read(&mut self, reader: &Resource<ContentReader>, max: u32) -> Answer<Option<Bytes>> {
        self.count_call()?;
        Ok(Ok(self.table.get_mut(reader)?.read(max)))
    }

    pub(super) fn content_write(&mut self, writer: &Resource<ContentWriter>, data: &[u8]) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get(writer)?.write(data))
    }
}

impl content::Host for State {}

impl content::HostReader for State {
    async fn size(&mut self, reader: Resource<ContentReader>) -> Result<u64> {
        self.count_call()?;
        Ok(self.table.get(&reader)?.size())
    }

    async fn sha256(&mut self, reader: Resource<ContentReader>) -> Result<Vec<u8>> {
        self.count_call()?;
        Ok(self.table.get(&reader)?.sha256().to_vec())
    }

    async fn read(&mut self, reader: Resource<ContentReader>, max: u32) -> Answer<Option<Vec<u8>>> {
        Ok(self.content_read(&reader, max)?.map(|data| data.map(Vec::from)))
    }

    async fn rewind(&mut self, reader: Resource<ContentReader>) -> Result<()> {
        self.count_call()?;
        self.table.get_mut(&reader)?.rewind();
        Ok(())
    }

    async fn drop(&mut self, reader: Resource<ContentReader>) -> Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

impl content::HostWriter for State {
    async fn write(&mut self, writer: Resource<ContentWriter>, data: Vec<u8>) -> Answer<()> {
        self.content_write(&writer, &data)
    }

    async fn drop(&mut self, writer: Resource<ContentWriter>) -> Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

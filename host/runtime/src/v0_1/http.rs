//! Binding of `http`.

use bytes::Bytes;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::bindings::source_world::bulkhead::plugin::http::{Header, Host, HostExchange, Request, Response};
use super::endpoint::{Answer, answer};
use crate::capabilities::http::{self as capability, Exchange};
use crate::state::State;

impl State {
    pub(super) async fn exchange_write(&mut self, exchange: Resource<Exchange>, data: Bytes) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get_mut(&exchange)?.write(data).await)
    }

    pub(super) async fn exchange_read(&mut self, exchange: Resource<Exchange>, max: u32) -> Answer<Option<Bytes>> {
        self.count_call()?;
        answer(self.table.get_mut(&exchange)?.read(max).await)
    }
}

impl Host for State {
    async fn send(&mut self, request: Request) -> Answer<Resource<Exchange>> {
        self.count_call()?;
        let request = capability::Request {
            endpoint: request.endpoint,
            method: request.method,
            path: request.path,
            headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            content_length: request.content_length,
        };
        match self.host.http.send(request).await {
            Ok(exchange) => answer(Ok(self.table.push(exchange)?)),
            Err(fault) => answer(Err(fault)),
        }
    }
}

impl HostExchange for State {
    async fn write(&mut self, exchange: Resource<Exchange>, data: Vec<u8>) -> Answer<()> {
        self.exchange_write(exchange, data.into()).await
    }

    async fn respond(&mut self, exchange: Resource<Exchange>) -> Answer<Response> {
        self.count_call()?;
        let head = self.table.get_mut(&exchange)?.respond().await;
        answer(head.map(|head| Response {
            status: head.status,
            headers: head.headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
        }))
    }

    async fn read(&mut self, exchange: Resource<Exchange>, max: u32) -> Answer<Option<Vec<u8>>> {
        Ok(self.exchange_read(exchange, max).await?.map(|data| data.map(Vec::from)))
    }

    async fn drop(&mut self, exchange: Resource<Exchange>) -> Result<()> {
        self.table.delete(exchange)?;
        Ok(())
    }
}

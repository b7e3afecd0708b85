//! Binding of `endpoint`.

use std::task::Poll;

use bulkhead_model::Fault;
use bytes::Bytes;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::bindings::source_world::bulkhead::plugin::endpoint::{self, Settings, TlsMode, TlsSession, Transport};
use super::bindings::source_world::bulkhead::plugin::types;
use crate::capabilities::endpoint as capability;
use crate::capabilities::endpoint::Connection;
use crate::state::State;

/// What a host function returns: the outer error is a trap, the inner one the plugin's to handle.
pub(super) type Answer<T> = Result<Result<T, types::Error>>;

/// A capability's answer in the ABI's types.
pub(super) fn answer<T>(result: Result<T, Fault>) -> Answer<T> {
    Ok(result.map_err(Into::into))
}

impl State {
    pub(super) async fn connection_read(
        &mut self,
        connection: Resource<Connection>,
        max: u32,
        deadline: Option<u64>,
    ) -> Answer<Option<Bytes>> {
        self.count_call()?;
        answer(self.table.get_mut(&connection)?.read(max, deadline).await)
    }

    pub(super) async fn connection_write(&mut self, connection: Resource<Connection>, data: Bytes) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get_mut(&connection)?.write(data).await)
    }

    fn keep_connection(&mut self, opened: Result<Connection, Fault>) -> Answer<Resource<Connection>> {
        match opened {
            Ok(connection) => answer(Ok(self.table.push(connection)?)),
            Err(fault) => answer(Err(fault)),
        }
    }
}

impl From<crate::TlsMode> for TlsMode {
    fn from(mode: crate::TlsMode) -> Self {
        match mode {
            crate::TlsMode::Disable => Self::Disable,
            crate::TlsMode::Prefer => Self::Prefer,
            crate::TlsMode::Require => Self::Require,
            crate::TlsMode::VerifyCa => Self::VerifyCa,
            crate::TlsMode::VerifyFull => Self::VerifyFull,
        }
    }
}

impl From<capability::EndpointSettings> for Settings {
    fn from(settings: capability::EndpointSettings) -> Self {
        let transport = match settings.transport {
            capability::Transport::Tcp => Transport::Tcp,
            capability::Transport::Unix => Transport::Unix,
        };
        Self {
            transport,
            tls: settings.tls.into(),
            client_certificate: settings.client_certificate,
            addresses: settings.addresses,
        }
    }
}

impl endpoint::Host for State {
    async fn get_settings(&mut self, name: String) -> Answer<Settings> {
        self.count_call()?;
        answer(self.host.endpoints.settings(&name).map(Into::into))
    }

    async fn open(&mut self, name: String) -> Answer<Resource<Connection>> {
        self.count_call()?;
        let opened = self.host.endpoints.open(&name).await;
        self.keep_connection(opened)
    }

    async fn open_address(&mut self, name: String, address: String) -> Answer<Resource<Connection>> {
        self.count_call()?;
        let opened = self.host.endpoints.open_address(&name, &address).await;
        self.keep_connection(opened)
    }

    async fn wait_any(&mut self, connections: Vec<Resource<Connection>>, deadline: Option<u64>) -> Answer<Vec<u32>> {
        self.count_call()?;
        for connection in &connections {
            self.table.get(connection)?;
        }
        let (timeout, own) = self.host.budget.deadline(deadline);
        let table = &mut self.table;
        let any = std::future::poll_fn(|context| {
            let mut ready = Vec::new();
            for (position, connection) in (0..).zip(&connections) {
                if table
                    .get_mut(connection)
                    .is_ok_and(|connection| connection.poll_readable(context).is_ready())
                {
                    ready.push(position);
                }
            }
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(ready) }
        });
        match tokio::time::timeout(timeout, any).await {
            Ok(ready) => answer(Ok(ready)),
            Err(_) if own => answer(Ok(Vec::new())),
            Err(_) => answer(Err(self.host.budget.call_timed_out())),
        }
    }
}

impl endpoint::HostConnection for State {
    async fn read(&mut self, connection: Resource<Connection>, max: u32, deadline: Option<u64>) -> Answer<Option<Vec<u8>>> {
        Ok(self
            .connection_read(connection, max, deadline)
            .await?
            .map(|data| data.map(Vec::from)))
    }

    async fn write(&mut self, connection: Resource<Connection>, data: Vec<u8>) -> Answer<()> {
        self.connection_write(connection, data.into()).await
    }

    async fn start_tls(&mut self, connection: Resource<Connection>) -> Answer<TlsSession> {
        self.start_tls_offering(connection, Vec::new()).await
    }

    async fn start_tls_offering(&mut self, connection: Resource<Connection>, protocols: Vec<String>) -> Answer<TlsSession> {
        self.count_call()?;
        let session = self.table.get_mut(&connection)?.start_tls(&protocols).await;
        answer(session.map(|session| TlsSession {
            protocol: session.protocol,
            peer_certificate: session.peer_certificate,
        }))
    }

    async fn shutdown(&mut self, connection: Resource<Connection>) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get_mut(&connection)?.shutdown().await)
    }

    async fn address(&mut self, connection: Resource<Connection>) -> Result<String> {
        self.count_call()?;
        Ok(self.table.get(&connection)?.address().to_owned())
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

//! Bindings of the small capabilities: log, progress, digest, secrets, parts.

use wasmtime::Result;
use wasmtime::component::Resource;

use super::bindings::source_world::bulkhead::plugin::{digest, log, parts, progress, secrets, types};
use super::convert::bounded;
use super::endpoint::{Answer, answer};
use crate::capabilities::check_transfer;
use crate::capabilities::digest::Hasher;
use crate::capabilities::log::LogLevel;
use crate::context::ProgressState;
use crate::parts::Part;
use crate::state::State;

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, message: String, fields: Vec<log::Field>) -> Result<()> {
        self.count_call()?;
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        let fields: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        self.host.log.write(level, &message, &fields);
        Ok(())
    }
}

impl progress::Host for State {
    async fn report(&mut self, state: progress::State) -> Result<()> {
        self.count_call()?;
        let progress::State { phase, bytes, total_bytes } = state;
        let mut phase = bounded(phase);
        self.host.log.redactor().blot(&mut phase);
        self.host.progress.report(ProgressState { phase, bytes, total_bytes });
        Ok(())
    }
}

impl digest::Host for State {}

impl digest::HostHasher for State {
    async fn new(&mut self, algorithm: digest::Algorithm) -> Result<Resource<Hasher>> {
        self.count_call()?;
        Ok(self.table.push(Hasher::new(algorithm.into()))?)
    }

    async fn update(&mut self, hasher: Resource<Hasher>, data: Vec<u8>) -> Result<()> {
        self.count_call()?;
        check_transfer(data.len()).map_err(|fault| wasmtime::Error::msg(fault.message))?;
        self.table.get_mut(&hasher)?.update(&data);
        Ok(())
    }

    async fn finish(&mut self, hasher: Resource<Hasher>) -> Result<Vec<u8>> {
        self.count_call()?;
        Ok(self.table.get_mut(&hasher)?.finish())
    }

    async fn drop(&mut self, hasher: Resource<Hasher>) -> Result<()> {
        self.table.delete(hasher)?;
        Ok(())
    }
}

impl secrets::Host for State {
    async fn names(&mut self) -> Result<Vec<String>> {
        self.count_call()?;
        Ok(self.host.secrets.names())
    }

    async fn reveal(&mut self, name: String) -> Answer<Vec<u8>> {
        self.count_call()?;
        let secret = self.host.budget.within(self.host.secrets.reveal(&name)).await;
        answer(secret.map(|secret| {
            self.host.log.redactor().remember(&name, &secret);
            secret.expose().to_vec()
        }))
    }
}

impl parts::Host for State {
    async fn start(&mut self, work: Vec<u8>) -> Answer<Resource<Part>> {
        self.count_call()?;
        match self.host.parts.start(work) {
            Ok(part) => answer(Ok(self.table.push(part)?)),
            Err(fault) => answer(Err(fault)),
        }
    }
}

impl parts::HostPart for State {
    async fn wait(&mut self, part: Resource<Part>) -> Answer<Vec<u8>> {
        self.count_call()?;
        answer(self.table.get_mut(&part)?.wait().await)
    }

    async fn drop(&mut self, part: Resource<Part>) -> Result<()> {
        self.table.delete(part)?;
        Ok(())
    }
}

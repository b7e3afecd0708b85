//! The imports of the component as a [`Host`].

use std::any::Any;

use super::{
    convert::{all, each},
    sink_bindings::bulkhead::plugin::content,
    source_bindings::bulkhead::plugin::{self as bindings, endpoint, entries, http, log, parts, progress, secrets, snapshot},
};
use crate::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    directory::{Attributes, DirectoryEntry, ExtendedAttribute, Grant, LockKind, Node, OpenMode, Space, SpecialFile, Stat},
    endpoint::{Settings, TlsSession},
    entries::Finished,
    host::{self, Connection, Host, RequestHead},
    http::Head,
    log::Level,
    metadata::Metadata,
    snapshot::{Entry, Info},
    types::Proof,
};

/// The imports.
pub(super) struct Imports;

impl Host for Imports {
    fn log(&self, level: Level, message: &str, fields: &[(&str, String)]) {
        let field = |(name, value): &(&str, String)| log::Field {
            name: (*name).to_owned(),
            value: value.clone(),
        };
        log::write(level.into(), message, &fields.iter().map(field).collect::<Vec<_>>());
    }

    fn progress(&self, phase: &str, bytes: u64, total_bytes: Option<u64>) {
        progress::report(&progress::State {
            phase: phase.to_owned(),
            bytes,
            total_bytes,
        });
    }

    fn hasher(&self, algorithm: Algorithm) -> Box<dyn host::Hasher> {
        Box::new(bindings::digest::Hasher::new(algorithm.into()))
    }

    fn secret_names(&self) -> Vec<String> {
        secrets::names()
    }

    fn reveal_secret(&self, name: &str) -> Result<Vec<u8>> {
        Ok(secrets::reveal(name)?)
    }

    fn endpoint_settings(&self, name: &str) -> Result<Settings> {
        Ok(endpoint::get_settings(name)?.into())
    }

    fn open_endpoint(&self, name: &str) -> Result<Box<dyn Connection>> {
        Ok(Box::new(endpoint::open(name)?))
    }

    fn open_address(&self, name: &str, address: &str) -> Result<Box<dyn Connection>> {
        Ok(Box::new(endpoint::open_address(name, address)?))
    }

    fn wait_any(&self, connections: &[&dyn Connection], deadline: Option<u64>) -> Result<Vec<u32>> {
        let connections = connections.iter().map(|connection| ours(*connection)).collect::<Result<Vec<_>>>()?;
        Ok(endpoint::wait_any(&connections, deadline)?)
    }

    fn send_request(&self, request: &RequestHead<'_>) -> Result<Box<dyn host::Exchange>> {
        let header = |(name, value): &(String, Vec<u8>)| http::Header {
            name: name.clone(),
            value: value.clone(),
        };
        let request = http::Request {
            endpoint: request.endpoint.to_owned(),
            method: request.method.to_owned(),
            path: request.path.to_owned(),
            headers: request.headers.iter().map(header).collect(),
            content_length: request.content_length,
        };
        Ok(Box::new(http::send(&request)?))
    }

    fn directory_grants(&self) -> Vec<Grant> {
        all(bindings::directory::grants())
    }

    fn open_directory(&self, name: &str) -> Result<Box<dyn host::Folder>> {
        Ok(Box::new(bindings::directory::open(name)?))
    }

    fn create_entry(&self, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Box<dyn host::EntryWriter>> {
        Ok(Box::new(entries::create(path, &metadata.into(), digest.map(Into::into))?))
    }

    fn add_entry(&self, path: &[u8], metadata: &Metadata) -> Result<()> {
        Ok(entries::add(path, &metadata.into())?)
    }

    fn keep_entry(&self, path: &[u8]) -> Result<Finished> {
        Ok(entries::keep(path)?.into())
    }

    fn commit(&self, proof: &Proof, checkpoint: Option<&[u8]>) -> Result<String> {
        Ok(entries::commit(&proof.clone().into(), checkpoint)?)
    }

    fn snapshot_info(&self) -> Info {
        snapshot::get_info().into()
    }

    fn walk_snapshot(&self, path: &[u8]) -> Result<Box<dyn host::Walk>> {
        Ok(Box::new(snapshot::walk_entries(path)?))
    }

    fn snapshot_entry(&self, path: &[u8]) -> Result<Entry> {
        Ok(snapshot::stat(path)?.into())
    }

    fn open_entry(&self, path: &[u8]) -> Result<Box<dyn host::EntryReader>> {
        Ok(Box::new(snapshot::open(path)?))
    }

    fn start_part(&self, work: &[u8]) -> Result<Box<dyn host::Part>> {
        Ok(Box::new(parts::start(work)?))
    }
}

/// The connection of this host behind the trait.
fn ours(connection: &dyn Connection) -> Result<&endpoint::Connection> {
    let any: &dyn Any = connection;
    any.downcast_ref()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a connection of another host"))
}

impl host::Hasher for bindings::digest::Hasher {
    fn update(&self, data: &[u8]) {
        Self::update(self, data);
    }

    fn finish(&self) -> Vec<u8> {
        Self::finish(self)
    }
}

impl Connection for endpoint::Connection {
    fn read(&self, max: u32, deadline: Option<u64>) -> Result<Option<Vec<u8>>> {
        Ok(Self::read(self, max, deadline)?)
    }

    fn write(&self, data: &[u8]) -> Result<()> {
        Ok(Self::write(self, data)?)
    }

    fn start_tls(&self, protocols: &[&str]) -> Result<TlsSession> {
        if protocols.is_empty() {
            return Ok(Self::start_tls(self)?.into());
        }
        let protocols: Vec<String> = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
        Ok(self.start_tls_offering(&protocols)?.into())
    }

    fn shutdown(&self) -> Result<()> {
        Ok(Self::shutdown(self)?)
    }

    fn address(&self) -> String {
        Self::address(self)
    }
}

impl host::Exchange for http::Exchange {
    fn write(&self, data: &[u8]) -> Result<()> {
        Ok(Self::write(self, data)?)
    }

    fn respond(&self) -> Result<Head> {
        Ok(Self::respond(self)?.into())
    }

    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        Ok(Self::read(self, max)?)
    }
}

impl host::File for bindings::directory::File {
    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>> {
        Ok(Self::read_at(self, offset, max)?)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        Ok(Self::write_at(self, offset, data)?)
    }

    fn set_size(&self, size: u64) -> Result<()> {
        Ok(Self::set_size(self, size)?)
    }

    fn stat(&self) -> Result<Stat> {
        Ok(Self::stat(self)?.into())
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<()> {
        Ok(Self::set_attributes(self, attributes.into())?)
    }

    fn lock_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool> {
        Ok(Self::lock_range(self, offset, length, kind.into())?)
    }

    fn unlock_range(&self, offset: u64, length: u64) -> Result<()> {
        Ok(Self::unlock_range(self, offset, length)?)
    }

    fn test_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool> {
        Ok(Self::test_range(self, offset, length, kind.into())?)
    }

    fn sync(&self) -> Result<()> {
        Ok(Self::sync(self)?)
    }
}

impl host::Listing for bindings::directory::Listing {
    fn next(&self) -> Result<Vec<DirectoryEntry>> {
        Ok(all(Self::next(self)?))
    }
}

impl host::Folder for bindings::directory::Folder {
    fn open_file(&self, path: &[u8], mode: OpenMode) -> Result<Box<dyn host::File>> {
        Ok(Box::new(Self::open_file(self, path, mode.into())?))
    }

    fn create_folder(&self, path: &[u8], mode: u32) -> Result<()> {
        Ok(Self::create_folder(self, path, mode)?)
    }

    fn list(&self, path: &[u8]) -> Result<Box<dyn host::Listing>> {
        Ok(Box::new(Self::list(self, path)?))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat> {
        Ok(Self::stat(self, path)?.into())
    }

    fn stat_names(&self, path: &[u8], names: &[Vec<u8>]) -> Result<Vec<Result<Stat>>> {
        Ok(each(Self::stat_names(self, path, names)?))
    }

    fn read_names(&self, path: &[u8], names: &[Vec<u8>], max: u32) -> Result<Vec<Result<Node>>> {
        Ok(each(Self::read_names(self, path, names, max)?))
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        Ok(Self::read_link(self, path)?)
    }

    fn create_symlink(&self, path: &[u8], target: &[u8]) -> Result<()> {
        Ok(Self::create_symlink(self, path, target)?)
    }

    fn create_hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        Ok(Self::create_hard_link(self, existing, path)?)
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        Ok(Self::rename(self, from, to)?)
    }

    fn remove_file(&self, path: &[u8]) -> Result<()> {
        Ok(Self::remove_file(self, path)?)
    }

    fn remove_folder(&self, path: &[u8]) -> Result<()> {
        Ok(Self::remove_folder(self, path)?)
    }

    fn set_attributes(&self, path: &[u8], attributes: &Attributes) -> Result<()> {
        Ok(Self::set_attributes(self, path, attributes.into())?)
    }

    fn extended_attributes(&self, path: &[u8]) -> Result<Vec<ExtendedAttribute>> {
        Ok(all(Self::extended_attributes(self, path)?))
    }

    fn set_extended_attribute(&self, path: &[u8], attribute: &ExtendedAttribute) -> Result<()> {
        Ok(Self::set_extended_attribute(self, path, &attribute.clone().into())?)
    }

    fn remove_extended_attribute(&self, path: &[u8], name: &[u8]) -> Result<()> {
        Ok(Self::remove_extended_attribute(self, path, name)?)
    }

    fn create_special_file(&self, path: &[u8], node: SpecialFile, mode: u32) -> Result<()> {
        let node = match node {
            SpecialFile::Fifo => bindings::directory::SpecialFile::Fifo,
            SpecialFile::Socket => bindings::directory::SpecialFile::Socket,
            SpecialFile::CharacterDevice(device) => bindings::directory::SpecialFile::CharacterDevice(device),
            SpecialFile::BlockDevice(device) => bindings::directory::SpecialFile::BlockDevice(device),
        };
        Ok(Self::create_special_file(self, path, node, mode)?)
    }

    fn sync(&self, path: &[u8]) -> Result<()> {
        Ok(Self::sync(self, path)?)
    }

    fn sync_file_system(&self) -> Result<()> {
        Ok(Self::sync_file_system(self)?)
    }

    fn space(&self) -> Result<Space> {
        Ok(Self::space(self)?.into())
    }
}

impl host::EntryWriter for entries::Writer {
    fn write(&self, data: &[u8]) -> Result<()> {
        Ok(Self::write(self, data)?)
    }

    fn write_zeros(&self, length: u64) -> Result<()> {
        Ok(Self::write_zeros(self, length)?)
    }

    fn finish(self: Box<Self>) -> Result<Finished> {
        Ok(Self::finish(&self)?.into())
    }
}

impl host::Walk for snapshot::Walk {
    fn next(&self) -> Result<Vec<Entry>> {
        Ok(all(Self::next(self)?))
    }
}

impl host::EntryReader for snapshot::Reader {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        Ok(Self::read(self, max)?)
    }

    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>> {
        Ok(Self::read_at(self, offset, max)?)
    }
}

impl host::Part for parts::Part {
    fn wait(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(Self::wait(&self)?)
    }
}

impl host::ObjectReader for content::Reader {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn sha256(&self) -> Vec<u8> {
        Self::sha256(self)
    }

    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        Ok(Self::read(self, max)?)
    }

    fn rewind(&self) {
        Self::rewind(self);
    }
}

impl host::ObjectWriter for content::Writer {
    fn write(&self, data: &[u8]) -> Result<()> {
        Ok(Self::write(self, data)?)
    }
}

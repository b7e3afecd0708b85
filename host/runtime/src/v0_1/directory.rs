//! Binding of `directory`.

use bulkhead_model::{EntryPath, Fault};
use bytes::Bytes;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::bindings::source_world::bulkhead::plugin::directory::{self as abi, Host, HostFile, HostFolder, HostListing};
use super::convert::path;
use super::endpoint::{Answer, answer};
use crate::capabilities::directory::{
    Attributes, DirectoryEntry, File, FileType, Folder, Listing, LockKind, Node, OpenMode, SpecialFile, Stat,
};
use crate::state::State;

impl From<FileType> for abi::FileType {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::Regular => Self::Regular,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
        }
    }
}

impl From<abi::OpenMode> for OpenMode {
    fn from(mode: abi::OpenMode) -> Self {
        match mode {
            abi::OpenMode::Read => Self::Read,
            abi::OpenMode::Modify => Self::Modify,
            abi::OpenMode::Create => Self::Create,
            abi::OpenMode::Replace => Self::Replace,
        }
    }
}

impl From<abi::LockKind> for LockKind {
    fn from(kind: abi::LockKind) -> Self {
        match kind {
            abi::LockKind::Shared => Self::Shared,
            abi::LockKind::Exclusive => Self::Exclusive,
        }
    }
}

impl From<abi::SpecialFile> for SpecialFile {
    fn from(node: abi::SpecialFile) -> Self {
        match node {
            abi::SpecialFile::Fifo => Self::Fifo,
            abi::SpecialFile::Socket => Self::Socket,
            abi::SpecialFile::CharacterDevice(device) => Self::CharacterDevice(device),
            abi::SpecialFile::BlockDevice(device) => Self::BlockDevice(device),
        }
    }
}

impl From<Stat> for abi::Stat {
    fn from(stat: Stat) -> Self {
        Self {
            file_type: stat.file_type.into(),
            size: stat.size,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            modified: stat.modified.into(),
            changed: stat.changed.into(),
            device: stat.device,
            inode: stat.inode,
            links: stat.links,
            raw_device: stat.raw_device,
        }
    }
}

impl From<Node> for abi::Node {
    fn from(node: Node) -> Self {
        Self {
            stat: node.stat.into(),
            extended_attributes: super::convert::all(node.extended_attributes),
            target: node.target,
            content: node.content,
        }
    }
}

impl From<abi::Attributes> for Attributes {
    fn from(attributes: abi::Attributes) -> Self {
        let abi::Attributes { mode, uid, gid, modified } = attributes;
        Self {
            mode,
            uid,
            gid,
            modified: modified.map(Into::into),
        }
    }
}

impl From<DirectoryEntry> for abi::DirectoryEntry {
    fn from(entry: DirectoryEntry) -> Self {
        Self {
            name: entry.name,
            file_type: entry.file_type.into(),
        }
    }
}

impl State {
    /// Counts the call and takes folder and path out of its arguments.
    fn below(&mut self, folder: &Resource<Folder>, name: Vec<u8>) -> Result<Result<(Folder, EntryPath), Fault>> {
        self.count_call()?;
        let folder = self.table.get(folder)?.clone();
        Ok(path(name).map(|path| (folder, path)))
    }

    pub(super) async fn file_read_at(&mut self, file: Resource<File>, offset: u64, max: u32) -> Answer<Option<Bytes>> {
        self.count_call()?;
        answer(self.table.get(&file)?.read_at(offset, max).await)
    }

    pub(super) async fn file_write_at(&mut self, file: Resource<File>, offset: u64, data: Bytes) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get(&file)?.write_at(offset, data).await)
    }
}

impl Host for State {
    async fn grants(&mut self) -> Result<Vec<abi::Grant>> {
        self.count_call()?;
        let grants = self.host.directories.grants().into_iter();
        Ok(grants
            .map(|grant| abi::Grant {
                name: grant.name,
                access: grant.access.into(),
                location: grant.location,
            })
            .collect())
    }

    async fn open(&mut self, name: String) -> Answer<Resource<Folder>> {
        self.count_call()?;
        match self.host.directories.open(&name).await {
            Ok(folder) => answer(Ok(self.table.push(folder)?)),
            Err(fault) => answer(Err(fault)),
        }
    }
}

impl HostFile for State {
    async fn read_at(&mut self, file: Resource<File>, offset: u64, max: u32) -> Answer<Option<Vec<u8>>> {
        Ok(self.file_read_at(file, offset, max).await?.map(|data| data.map(Vec::from)))
    }

    async fn write_at(&mut self, file: Resource<File>, offset: u64, data: Vec<u8>) -> Answer<()> {
        self.file_write_at(file, offset, data.into()).await
    }

    async fn set_size(&mut self, file: Resource<File>, size: u64) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get(&file)?.set_size(size).await)
    }

    async fn stat(&mut self, file: Resource<File>) -> Answer<abi::Stat> {
        self.count_call()?;
        answer(self.table.get(&file)?.stat().await.map(Into::into))
    }

    async fn set_attributes(&mut self, file: Resource<File>, attributes: abi::Attributes) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get(&file)?.set_attributes(attributes.into()).await)
    }

    async fn lock_range(&mut self, file: Resource<File>, offset: u64, length: u64, kind: abi::LockKind) -> Answer<bool> {
        self.count_call()?;
        answer(self.table.get(&file)?.lock_range(offset, length, kind.into()).await)
    }

    async fn unlock_range(&mut self, file: Resource<File>, offset: u64, length: u64) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get(&file)?.unlock_range(offset, length).await)
    }

    async fn test_range(&mut self, file: Resource<File>, offset: u64, length: u64, kind: abi::LockKind) -> Answer<bool> {
        self.count_call()?;
        answer(self.table.get(&file)?.test_range(offset, length, kind.into()).await)
    }

    async fn sync(&mut self, file: Resource<File>) -> Answer<()> {
        self.count_call()?;
        answer(self.table.get(&file)?.sync().await)
    }

    async fn drop(&mut self, file: Resource<File>) -> Result<()> {
        self.table.delete(file)?;
        Ok(())
    }
}

impl HostListing for State {
    async fn next(&mut self, listing: Resource<Listing>) -> Answer<Vec<abi::DirectoryEntry>> {
        self.count_call()?;
        let entries = self.table.get_mut(&listing)?.next().await;
        answer(entries.map(super::convert::all))
    }

    async fn drop(&mut self, listing: Resource<Listing>) -> Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}

impl HostFolder for State {
    async fn open_file(&mut self, folder: Resource<Folder>, name: Vec<u8>, mode: abi::OpenMode) -> Answer<Resource<File>> {
        let below = self.below(&folder, name)?;
        let open = async {
            let (folder, path) = below?;
            folder.open_file(path, mode.into()).await
        };
        match open.await {
            Ok(file) => answer(Ok(self.table.push(file)?)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn create_folder(&mut self, folder: Resource<Folder>, name: Vec<u8>, mode: u32) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.create_folder(path, mode).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn list(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<Resource<Listing>> {
        let below = self.below(&folder, name)?;
        let list = async {
            let (folder, path) = below?;
            folder.list(path).await
        };
        match list.await {
            Ok(listing) => answer(Ok(self.table.push(listing)?)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn stat(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<abi::Stat> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.stat(path).await.map(Into::into)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn stat_names(
        &mut self,
        folder: Resource<Folder>,
        name: Vec<u8>,
        names: Vec<Vec<u8>>,
    ) -> Answer<Vec<Result<abi::Stat, abi::Error>>> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.stat_names(path, names).await.map(super::convert::each)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn read_names(
        &mut self,
        folder: Resource<Folder>,
        name: Vec<u8>,
        names: Vec<Vec<u8>>,
        max: u32,
    ) -> Answer<Vec<Result<abi::Node, abi::Error>>> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.read_names(path, names, max).await.map(super::convert::each)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn read_link(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<Vec<u8>> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.read_link(path).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn create_symlink(&mut self, folder: Resource<Folder>, name: Vec<u8>, target: Vec<u8>) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.create_symlink(path, target).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn create_hard_link(&mut self, folder: Resource<Folder>, existing: Vec<u8>, name: Vec<u8>) -> Answer<()> {
        match (self.below(&folder, existing)?, path(name)) {
            (Ok((folder, existing)), Ok(path)) => answer(folder.create_hard_link(existing, path).await),
            (Err(fault), _) | (_, Err(fault)) => answer(Err(fault)),
        }
    }

    async fn rename(&mut self, folder: Resource<Folder>, from: Vec<u8>, to: Vec<u8>) -> Answer<()> {
        match (self.below(&folder, from)?, path(to)) {
            (Ok((folder, from)), Ok(to)) => answer(folder.rename(from, to).await),
            (Err(fault), _) | (_, Err(fault)) => answer(Err(fault)),
        }
    }

    async fn remove_file(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.remove_file(path).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn remove_folder(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.remove_folder(path).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn set_attributes(&mut self, folder: Resource<Folder>, name: Vec<u8>, attributes: abi::Attributes) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.set_attributes(path, attributes.into()).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn extended_attributes(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<Vec<abi::ExtendedAttribute>> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.extended_attributes(path).await.map(super::convert::all)),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn set_extended_attribute(&mut self, folder: Resource<Folder>, name: Vec<u8>, attribute: abi::ExtendedAttribute) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.set_extended_attribute(path, attribute.into()).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn remove_extended_attribute(&mut self, folder: Resource<Folder>, name: Vec<u8>, attribute: Vec<u8>) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.remove_extended_attribute(path, attribute).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn create_special_file(&mut self, folder: Resource<Folder>, name: Vec<u8>, node: abi::SpecialFile, mode: u32) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.create_special_file(path, node.into(), mode).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn sync(&mut self, folder: Resource<Folder>, name: Vec<u8>) -> Answer<()> {
        match self.below(&folder, name)? {
            Ok((folder, path)) => answer(folder.sync(path).await),
            Err(fault) => answer(Err(fault)),
        }
    }

    async fn sync_file_system(&mut self, folder: Resource<Folder>) -> Answer<()> {
        self.count_call()?;
        let folder = self.table.get(&folder)?.clone();
        answer(folder.sync_file_system().await)
    }

    async fn space(&mut self, folder: Resource<Folder>) -> Answer<abi::Space> {
        self.count_call()?;
        let space = self.table.get(&folder)?.space().await;
        answer(space.map(|space| abi::Space {
            available: space.available,
            total: space.total,
        }))
    }

    async fn drop(&mut self, folder: Resource<Folder>) -> Result<()> {
        self.table.delete(folder)?;
        Ok(())
    }
}

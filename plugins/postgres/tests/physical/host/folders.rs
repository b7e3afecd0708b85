//! Real folders.

use std::{
    ffi::OsStr,
    fs::{self, File as StdFile, OpenOptions, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink},
    },
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, UNIX_EPOCH},
};

use bulkhead_sdk::{
    Result,
    directory::{Attributes, DirectoryEntry, ExtendedAttribute, FileType, OpenMode, Space, Stat},
    host::{File, Folder, Listing},
    types::Timestamp,
};

struct Root(PathBuf);
struct Open(StdFile);
struct Names(Mutex<Vec<DirectoryEntry>>);

pub fn open(path: &Path) -> Box<dyn Folder> {
    Box::new(Root(path.to_owned()))
}

impl Root {
    fn at(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.0.clone() } else { self.0.join(OsStr::from_bytes(path)) }
    }
}

fn stat(metadata: &fs::Metadata) -> Stat {
    let file_type = match metadata.file_type() {
        kind if kind.is_dir() => FileType::Directory,
        kind if kind.is_symlink() => FileType::Symlink,
        _ => FileType::Regular,
    };
    Stat {
        file_type,
        size: metadata.len(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        modified: Timestamp::from_seconds(metadata.mtime()),
        changed: Timestamp::from_seconds(metadata.ctime()),
        device: metadata.dev(),
        inode: metadata.ino(),
        links: metadata.nlink(),
        raw_device: 0,
    }
}

fn set(path: &Path, attributes: &Attributes) -> Result<()> {
    if attributes.uid.is_some() || attributes.gid.is_some() {
        lchown(path, attributes.uid, attributes.gid)?;
    }
    if let Some(mode) = attributes.mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    if let Some(modified) = attributes.modified {
        StdFile::open(path)?.set_modified(UNIX_EPOCH + Duration::from_secs(modified.seconds.unsigned_abs()))?;
    }
    Ok(())
}

impl Folder for Root {
    fn open_file(&self, path: &[u8], mode: OpenMode) -> Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => {}
            OpenMode::Modify => drop(options.write(true)),
            OpenMode::Create => drop(options.write(true).create_new(true)),
            OpenMode::Replace => drop(options.write(true).create(true).truncate(true)),
        }
        Ok(Box::new(Open(options.open(self.at(path))?)))
    }
    fn create_folder(&self, path: &[u8], mode: u32) -> Result<()> {
        fs::create_dir(self.at(path))?;
        Ok(fs::set_permissions(self.at(path), Permissions::from_mode(mode))?)
    }
    fn list(&self, path: &[u8]) -> Result<Box<dyn Listing>> {
        let name = |entry: std::io::Result<fs::DirEntry>| DirectoryEntry {
            name: entry.unwrap().file_name().as_bytes().to_vec(),
            file_type: FileType::Regular,
        };
        Ok(Box::new(Names(Mutex::new(fs::read_dir(self.at(path))?.map(name).collect()))))
    }
    fn stat(&self, path: &[u8]) -> Result<Stat> {
        Ok(stat(&fs::symlink_metadata(self.at(path))?))
    }
    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        Ok(fs::read_link(self.at(path))?.as_os_str().as_bytes().to_vec())
    }
    fn create_symlink(&self, path: &[u8], target: &[u8]) -> Result<()> {
        Ok(symlink(OsStr::from_bytes(target), self.at(path))?)
    }
    fn create_hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        Ok(fs::hard_link(self.at(existing), self.at(path))?)
    }
    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        Ok(fs::rename(self.at(from), self.at(to))?)
    }
    fn remove_file(&self, path: &[u8]) -> Result<()> {
        Ok(fs::remove_file(self.at(path))?)
    }
    fn remove_folder(&self, path: &[u8]) -> Result<()> {
        Ok(fs::remove_dir(self.at(path))?)
    }
    fn set_attributes(&self, path: &[u8], attributes: &Attributes) -> Result<()> {
        set(&self.at(path), attributes)
    }
    fn extended_attributes(&self, _path: &[u8]) -> Result<Vec<ExtendedAttribute>> {
        Ok(Vec::new())
    }
    fn set_extended_attribute(&self, _path: &[u8], _attribute: &ExtendedAttribute) -> Result<()> {
        Ok(())
    }
    fn sync(&self, path: &[u8]) -> Result<()> {
        Ok(StdFile::open(self.at(path))?.sync_all()?)
    }
    fn space(&self) -> Result<Space> {
        Ok(Space { available: u64::MAX, total: u64::MAX })
    }
}

impl File for Open {
    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; max as usize];
        let count = self.0.read_at(&mut buffer, offset)?;
        buffer.truncate(count);
        Ok((count > 0).then_some(buffer))
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        Ok(self.0.write_all_at(data, offset)?)
    }
    fn set_size(&self, size: u64) -> Result<()> {
        Ok(self.0.set_len(size)?)
    }
    fn stat(&self) -> Result<Stat> {
        Ok(stat(&self.0.metadata()?))
    }
    fn set_attributes(&self, attributes: &Attributes) -> Result<()> {
        if let (Some(uid), Some(gid)) = (attributes.uid, attributes.gid) {
            std::os::unix::fs::fchown(&self.0, Some(uid), Some(gid))?;
        }
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        Ok(self.0.sync_all()?)
    }
}

impl Listing for Names {
    fn next(&self) -> Result<Vec<DirectoryEntry>> {
        Ok(std::mem::take(&mut *self.0.lock().unwrap()))
    }
}

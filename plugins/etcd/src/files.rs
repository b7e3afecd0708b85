//! Further files that a cluster is rebuilt from, such as K3s' `k3s.yaml`, its server token and its certificates: [`take`].
//!
//! `files` in the config names them as `GRANT/PATH`. A folder is taken with all that is below it; symbolic links are stored as links. They are few and
//! small, and read whole or not at all: a file that changes its size while it is read fails the run.

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, FileType, Folder, OpenMode, Stat},
    entries,
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
    types::{Finding, Proof},
};

use crate::{
    config::{Config, Distribution},
    facts,
};

/// The grants that this plugin asks for.
pub(crate) const GRANTS: &str = "files-";

/// All files together: they are configuration and keys, not data.
const MAX_FILES: u64 = 10_000;

/// How deep folders are followed.
const MAX_DEPTH: usize = 64;

/// Stores the files that the config names.
pub(crate) fn take(config: &Config, proof: &mut Proof) -> Result<Vec<Finding>> {
    let mut count = 0;
    for file in &config.files {
        let (folder, path) = open(file)?;
        let stored = format!("{}/{file}", facts::FILES);
        let mut taking = Taking {
            folder: &folder,
            proof,
            count: &mut count,
        };
        taking
            .node(path.as_bytes(), stored.as_bytes(), 0)
            .context(|| format!("taking `{file}` of the config's `files` failed"))?;
    }
    Ok(token_missing(config).into_iter().collect())
}

/// K3s encrypts its certificates in the store with the server token: without it a snapshot of K3s restores to nothing.
pub(crate) fn token_missing(config: &Config) -> Option<Finding> {
    let has_token = config.files.iter().any(|file| file.ends_with("token") || file.ends_with("server"));
    (config.distribution == Distribution::K3s && !has_token).then(|| {
        let message = "the server token is not among the `files`: K3s cannot start from a snapshot without it";
        Finding::warning("token-not-taken", message)
            .with_setting("files")
            .with_hint("grant `directory.files-server = { path = \"/var/lib/rancher/k3s/server\", access = \"read-only\" }` and add `\"server/token\"` to `files`")
    })
}

/// The granted folder and the path in it.
pub(crate) fn open(file: &str) -> Result<(Folder, &str)> {
    let (grant, path) = file.split_once('/').unwrap_or((file, ""));
    let folder = directory::open(&format!("{GRANTS}{grant}")).map_err(|error| {
        error
            .context(format!("the config's `files` name `{file}`"))
            .with_hint(format!(
                "grant it: directory.{GRANTS}{grant} = {{ path = \"…\", access = \"read-only\" }}"
            ))
            .with_setting("files")
    })?;
    Ok((folder, path))
}

struct Taking<'a> {
    folder: &'a Folder,
    proof: &'a mut Proof,
    count: &'a mut u64,
}

impl Taking<'_> {
    fn node(&mut self, path: &[u8], stored: &[u8], depth: usize) -> Result<()> {
        *self.count += 1;
        if *self.count > MAX_FILES || depth > MAX_DEPTH {
            let message = format!("`files` name more than {MAX_FILES} files, or folders nested deeper than {MAX_DEPTH}");
            return Err(Error::new(ErrorKind::Limit, message).with_hint("take folders of data with a pipeline of their own"));
        }
        let stat = self.folder.stat(path)?;
        match stat.file_type {
            FileType::Regular => self.file(path, stored, &stat),
            FileType::Directory => {
                entries::add(stored, &metadata(NodeType::Directory, &stat))?;
                let mut names: Vec<Vec<u8>> = Vec::new();
                for entry in self.folder.list(path)? {
                    names.push(entry?.name);
                }
                names.sort();
                names
                    .iter()
                    .try_for_each(|name| self.node(&join(path, name), &join(stored, name), depth + 1))
            }
            FileType::Symlink => {
                let target = self.folder.read_link(path)?;
                entries::add(stored, &metadata(NodeType::Symlink(target), &stat))
            }
            // Sockets and pipes hold nothing.
            _ => Ok(()),
        }
    }

    fn file(&mut self, path: &[u8], stored: &[u8], stat: &Stat) -> Result<()> {
        let mut file = self.folder.open_file(path, OpenMode::Read)?;
        let mut entry = entries::create(stored, &metadata(NodeType::File, stat))?;
        let mut size = 0;
        while let Some(part) = file.read_bytes(BEST_TRANSFER)? {
            size += part.len() as u64;
            entry.write_bytes(&part)?;
        }
        if size != stat.size {
            let message = format!("{} changed while it was read", String::from_utf8_lossy(path));
            return Err(Error::new(ErrorKind::Conflict, message).with_retryable(true));
        }
        self.proof.count(&entry.finish()?);
        Ok(())
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    [folder, b"/", name].concat()
}

fn metadata(node: NodeType, stat: &Stat) -> Metadata {
    Metadata::new(node)
        .with_mode(stat.mode)
        .with_owner(stat.uid, stat.gid)
        .with_modified(stat.modified)
}

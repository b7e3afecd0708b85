//! A CA's home, live or in a snapshot: [`Home`], its names and what is in the small files that a proof is about.

use std::collections::{BTreeMap, VecDeque};

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{FileType, Folder, Stat},
    metadata::NodeType,
    snapshot,
};

use crate::{pem, settings};

/// Where the home is in a snapshot, and what the grant is called.
pub(crate) const HOME: &str = "home";
/// Files and folders that a home may have. A CA's has dozens.
const MAX_NODES: usize = 100_000;
/// Bytes that all the files together may have that a proof is about: keys, certificates, configs.
const MAX_CONTENTS: usize = 64 << 20;
/// Symbolic links on the way to one file.
const MAX_LINKS: usize = 16;
/// How the names of certificates and keys end.
const ENDS: [&[u8]; 8] = [b".pem", b".crt", b".cer", b".key", b"_sk", b"_pk", b".yaml", b".yml"];
/// Bytes that a file of another name may have to be looked at, whether it has a key or a certificate. Fabric's own keystore goes by the same.
const MAX_OTHER: u64 = 64 << 10;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: NodeType,
    pub(crate) size: u64,
    /// Of a live home.
    pub(crate) stat: Option<Stat>,
}

/// All of a home, by paths below it.
#[derive(Debug, Default)]
pub(crate) struct Home {
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
    contents: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of all contents.
    bytes: usize,
}

/// Where a path in a home leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Through symbolic links, to here.
    Inside(Vec<u8>),
    /// To nothing.
    Nowhere,
    /// Out of the home, by `..` or a link.
    Outside,
}

/// Whether the proof looks into a file of this name, whatever is in it.
pub(crate) fn is_looked_into(path: &[u8]) -> bool {
    let (folder, name) = split(path);
    ENDS.iter().any(|end| name.ends_with(end)) || name.starts_with(b"Issuer") || split(folder).1 == b"keystore"
}

/// Whether a text has a block of PEM in it. A database has some, too, and is no text.
fn is_pem(content: &[u8]) -> bool {
    let begin = pem::BEGIN.as_bytes();
    !content.contains(&0) && content.windows(begin.len()).any(|part| part == begin)
}

/// Folder and name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    }
}

/// The path of a name in a folder.
pub(crate) fn below(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder {
        [] => name.to_vec(),
        folder => [folder, b"/", name].concat(),
    }
}

/// As people read it.
pub(crate) fn shown(path: &[u8]) -> String {
    std::str::from_utf8(path).map_or_else(|_| path.escape_ascii().to_string(), str::to_owned)
}

impl Home {
    /// Lists a live home, but for what is excluded, and reads what the proof looks into.
    pub(crate) fn live(folder: &Folder, exclude: &Patterns) -> Result<Self> {
        let mut home = Self::listed(folder, exclude)?;
        for path in home.candidates() {
            let limit = usize::try_from(settings::MAX_BYTES).unwrap_or(usize::MAX);
            match folder.read(&path, limit) {
                // Gone since it was listed, like the journal of a transaction that ended.
                Err(error) if error.kind == ErrorKind::NotFound => {
                    home.nodes.remove(&path);
                }
                content => home.keep(path.clone(), content.context(|| format!("{} cannot be read", shown(&path)))?)?,
            }
        }
        Ok(home)
    }

    /// The same, of names only.
    pub(crate) fn listed(folder: &Folder, exclude: &Patterns) -> Result<Self> {
        let mut home = Self::default();
        let mut folders = vec![Vec::new()];
        while let Some(at) = folders.pop() {
            let names: Vec<Vec<u8>> = folder
                .list(&at)?
                .map(|listed| listed.map(|listed| listed.name))
                .collect::<Result<_>>()?;
            for (name, stat) in names.iter().zip(folder.stat_names(&at, &names)?) {
                let path = below(&at, name);
                if exclude.matches(&path) {
                    continue;
                }
                let stat = match stat {
                    // Gone since it was listed: journals come and go.
                    Err(error) if error.kind == ErrorKind::NotFound => continue,
                    stat => stat.context(|| format!("{} cannot be looked at", shown(&path)))?,
                };
                let kind = kind(folder, &path, &stat)?;
                if kind == NodeType::Directory {
                    folders.push(path.clone());
                }
                home.add(path, kind, stat.size, Some(stat))?;
            }
        }
        Ok(home)
    }

    /// That of a snapshot.
    pub(crate) fn stored() -> Result<Self> {
        let mut home = Self::default();
        for entry in snapshot::walk(HOME)? {
            let entry = entry?;
            let Some(path) = entry.path.strip_prefix(HOME.as_bytes()).and_then(|path| path.strip_prefix(b"/")) else {
                continue;
            };
            home.add(path.to_vec(), entry.metadata.node_type, entry.size, None)?;
        }
        for path in home.candidates() {
            let mut content = Vec::new();
            let mut reader = snapshot::open(entry(&path))?;
            while let Some(part) = reader.read_bytes(bulkhead_sdk::host::BEST_TRANSFER)? {
                content.extend_from_slice(&part);
            }
            home.keep(path, content)?;
        }
        Ok(home)
    }

    fn add(&mut self, path: Vec<u8>, kind: NodeType, size: u64, stat: Option<Stat>) -> Result<()> {
        if self.nodes.len() >= MAX_NODES {
            let message = format!("the home has more than {MAX_NODES} files and folders");
            return Err(Error::new(ErrorKind::Limit, message)
                .with_setting("exclude")
                .with_hint("is `directory.home` the CA's home and nothing more? Leave out what does not belong to it with `exclude`"));
        }
        self.nodes.insert(path, Node { kind, size, stat });
        Ok(())
    }

    /// Regular files that may be something to look into. One that is larger than anything a CA has of that kind is none.
    fn candidates(&self) -> Vec<Vec<u8>> {
        let is_one = |path: &[u8], node: &Node| {
            let limit = if is_looked_into(path) { settings::MAX_BYTES } else { MAX_OTHER };
            node.kind == NodeType::File && node.size <= limit
        };
        let found = self.nodes.iter().filter(|(path, node)| is_one(path, node));
        found.map(|(path, _)| path.clone()).collect()
    }

    /// Whether the proof has looked into the file at `path`.
    pub(crate) fn has_looked_into(&self, path: &[u8]) -> bool {
        self.contents.contains_key(path)
    }

    /// Keeps what is in a file, if that is something to look into.
    fn keep(&mut self, path: Vec<u8>, content: Vec<u8>) -> Result<()> {
        if !is_looked_into(&path) && !is_pem(&content) {
            return Ok(());
        }
        self.bytes += content.len();
        if self.bytes > MAX_CONTENTS {
            let message = format!(
                "keys, certificates and configs in the home have more than {} MiB",
                MAX_CONTENTS >> 20
            );
            return Err(Error::new(ErrorKind::Limit, message)
                .with_setting("exclude")
                .with_hint("leave out what is not the CA's with `exclude`"));
        }
        self.contents.insert(path, content);
        Ok(())
    }

    /// Where `path` leads to, through symbolic links within the home; `None` where nothing is there, or it leads out of the home.
    pub(crate) fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self.follow(path) {
            Lead::Inside(path) => Some(path),
            Lead::Nowhere | Lead::Outside => None,
        }
    }

    /// Where `path` leads to. A link to an absolute path leads out of the home: where a home is mounted is not told by it.
    pub(crate) fn follow(&self, path: &[u8]) -> Lead {
        let mut left: VecDeque<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let (mut at, mut links) = (Vec::new(), 0);
        while let Some(part) = left.pop_front() {
            match &part[..] {
                b"" | b"." => continue,
                b".." if at.is_empty() => return Lead::Outside,
                b".." => at = split(&at).0.to_vec(),
                part => {
                    let next = below(&at, part);
                    match self.nodes.get(&next).map(|node| &node.kind) {
                        Some(NodeType::Symlink(target)) if target.starts_with(b"/") => return Lead::Outside,
                        Some(NodeType::Symlink(_)) if links == MAX_LINKS => return Lead::Nowhere,
                        Some(NodeType::Symlink(target)) => {
                            links += 1;
                            for part in target.split(|byte| *byte == b'/').rev() {
                                left.push_front(part.to_vec());
                            }
                        }
                        Some(_) => at = next,
                        None => return Lead::Nowhere,
                    }
                }
            }
        }
        Lead::Inside(at)
    }

    /// What is in the file at `path`, as far as the proof looks into it.
    pub(crate) fn content(&self, path: &[u8]) -> Option<&[u8]> {
        self.contents.get(&self.resolve(path)?).map(Vec::as_slice)
    }

    /// All files that the proof looks into, with what is in them.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.contents.iter().map(|(path, content)| (&path[..], &content[..]))
    }

    /// What is directly in a folder, which may be a link to one.
    pub(crate) fn list(&self, folder: &[u8]) -> Vec<&[u8]> {
        let Some(folder) = self.resolve(folder) else { return Vec::new() };
        self.nodes
            .keys()
            .map(|path| &path[..])
            .filter(|path| split(path).0 == folder)
            .collect()
    }
}

/// The entry of what is at `path` in the home.
pub(crate) fn entry(path: &[u8]) -> Vec<u8> {
    below(HOME.as_bytes(), path)
}

fn kind(folder: &Folder, path: &[u8], stat: &Stat) -> Result<NodeType> {
    Ok(match stat.file_type {
        FileType::Regular => NodeType::File,
        FileType::Directory => NodeType::Directory,
        FileType::Symlink => NodeType::Symlink(folder.read_link(path)?),
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::CharacterDevice => NodeType::CharacterDevice(stat.raw_device),
        FileType::BlockDevice => NodeType::BlockDevice(stat.raw_device),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_home() {
        let link = |target: &str| NodeType::Symlink(target.as_bytes().to_vec());
        let mut home = Home::default();
        for (path, kind) in [
            ("tls", NodeType::Directory),
            ("tls/..data", link("..2026")),
            ("tls/..2026", NodeType::Directory),
            ("tls/..2026/tls.crt", NodeType::File),
            ("tls/tls.crt", link("..data/tls.crt")),
            ("out", link("../other")),
            ("absolute", link("/etc/passwd")),
            ("loop", link("loop")),
        ] {
            assert!(home.add(path.as_bytes().to_vec(), kind, 0, None).is_ok());
        }
        let resolved = |path: &str| home.resolve(path.as_bytes()).map(|path| shown(&path));
        assert_eq!(resolved("tls/tls.crt").as_deref(), Some("tls/..2026/tls.crt"));
        assert_eq!(resolved("./tls/../tls//tls.crt").as_deref(), Some("tls/..2026/tls.crt"));
        assert_eq!(home.list(b"tls/..data"), [b"tls/..2026/tls.crt"]);
        for gone in ["nothing", "loop", "nothing/../.."] {
            assert_eq!(home.follow(gone.as_bytes()), Lead::Nowhere, "{gone}");
        }
        for out in ["out", "absolute", "absolute/x", "../tls", "tls/../.."] {
            assert_eq!(home.follow(out.as_bytes()), Lead::Outside, "{out}");
        }
    }
}

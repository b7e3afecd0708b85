//! Further files that a cluster is rebuilt from, such as K3s' `k3s.yaml`, its server token and its certificates: [`take`].
//!
//! `files` in the config names them as `GRANT/PATH`. What is named is stored with its content under that name, also where it is a symbolic link; a folder is
//! taken with all that is below it, and links there are stored as links, with a finding where they lead to what is not in the snapshot. Files are few and
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
    links::{Leads, follow},
};

/// The grants that this plugin asks for.
pub(crate) const GRANTS: &str = "files-";

/// All files together: they are configuration and keys, not data.
const MAX_FILES: u64 = 10_000;

/// How deep folders are followed.
const MAX_DEPTH: usize = 64;

/// Links that a finding names.
const NAMED_LINKS: usize = 5;

/// What came of the config's `files`.
pub(crate) struct Taken {
    pub(crate) findings: Vec<Finding>,
    /// The entry with K3s' server token.
    pub(crate) token: Option<String>,
}

/// Stores the files that the config names.
pub(crate) fn take(config: &Config, proof: &mut Proof) -> Result<Taken> {
    let mut walk = Walk::new(Some(proof));
    for file in &config.files {
        walk.named(file)
            .context(|| format!("taking `{file}` of the config's `files` failed"))?;
    }
    Ok(walk.end(config))
}

/// Looks at the files that the config names, without storing anything: what keeps them from being taken, and the findings that there would be.
pub(crate) fn look(config: &Config) -> (Vec<Error>, Vec<Finding>) {
    let mut walk = Walk::new(None);
    let mut errors = Vec::new();
    for file in &config.files {
        if let Err(error) = walk.named(file) {
            errors.push(error.context(format!("`{file}` of the config's `files`")));
        }
    }
    (errors, walk.end(config).findings)
}

/// A granted folder.
struct Granted {
    folder: Folder,
    /// The grant's name.
    name: String,
    /// Its path on the host.
    location: String,
}

/// The granted folder and the path in it.
fn open(file: &str) -> Result<(Granted, &str)> {
    let (grant, path) = file.split_once('/').unwrap_or((file, ""));
    let name = format!("{GRANTS}{grant}");
    let folder = directory::open(&name).map_err(|error| {
        error
            .context(format!("the config's `files` name `{file}`"))
            .with_hint(format!("grant it: directory.{name} = {{ path = \"…\", access = \"read-only\" }}"))
            .with_setting("files")
    })?;
    let known = directory::grants().into_iter().find(|grant| grant.name == name);
    let location = known.map(|grant| grant.location).unwrap_or_default();
    Ok((Granted { folder, name, location }, path))
}

/// A path in a grant.
struct Place {
    grant: String,
    path: Vec<u8>,
}

impl Place {
    /// Whether this is `root`, or below it.
    fn is_within(&self, root: &Self) -> bool {
        let rest = self.path.strip_prefix(&root.path[..]);
        self.grant == root.grant && rest.is_some_and(|rest| root.path.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
    }
}

/// All files of the config, one after the other.
struct Walk<'a> {
    /// Of the snapshot that they are stored in; without one they are only looked at.
    proof: Option<&'a mut Proof>,
    count: u64,
    /// What the config names.
    roots: Vec<Place>,
    /// Links below these, and where they lead; `None` is out of the grant.
    links: Vec<(Vec<u8>, Option<Place>)>,
    token: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(proof: Option<&'a mut Proof>) -> Self {
        Self {
            proof,
            count: 0,
            roots: Vec::new(),
            links: Vec::new(),
            token: None,
        }
    }

    /// What the config itself names is followed.
    fn named(&mut self, file: &str) -> Result<()> {
        let (granted, path) = open(file)?;
        let (path, stat) = match follow(&granted.folder, &granted.location, path.as_bytes())? {
            Leads::To(path, stat) => (path, stat),
            Leads::Out(target) => return Err(leads_out(file, &granted, &target)),
        };
        let grant = granted.name.clone();
        self.roots.push(Place { grant, path: path.clone() });
        let stored = format!("{}/{file}", facts::FILES);
        self.node(&granted, &path, &stat, stored.as_bytes(), 0)
    }

    fn node(&mut self, granted: &Granted, path: &[u8], stat: &Stat, stored: &[u8], depth: usize) -> Result<()> {
        self.count += 1;
        if self.count > MAX_FILES || depth > MAX_DEPTH {
            let message = format!("`files` name more than {MAX_FILES} files, or folders nested deeper than {MAX_DEPTH}");
            return Err(Error::new(ErrorKind::Limit, message).with_hint("take folders of data with a pipeline of their own"));
        }
        match stat.file_type {
            FileType::Regular => self.file(granted, path, stored, stat),
            FileType::Directory => {
                self.add(stored, NodeType::Directory, stat)?;
                let mut names: Vec<Vec<u8>> = Vec::new();
                for entry in granted.folder.list(path)? {
                    names.push(entry?.name);
                }
                names.sort();
                names.iter().try_for_each(|name| {
                    let path = join(path, name);
                    let stat = granted.folder.stat(&path)?;
                    self.node(granted, &path, &stat, &join(stored, name), depth + 1)
                })
            }
            FileType::Symlink => {
                let target = granted.folder.read_link(path)?;
                self.add(stored, NodeType::Symlink(target), stat)?;
                self.link(granted, path, stored);
                Ok(())
            }
            // Sockets and pipes hold nothing.
            _ => Ok(()),
        }
    }

    fn add(&self, stored: &[u8], node: NodeType, stat: &Stat) -> Result<()> {
        match self.proof {
            Some(_) => entries::add(stored, &metadata(node, stat)),
            None => Ok(()),
        }
    }

    /// Remembers where a link leads. One that leads to nothing is as good in the snapshot as it is here.
    fn link(&mut self, granted: &Granted, path: &[u8], stored: &[u8]) {
        let place = match follow(&granted.folder, &granted.location, path) {
            Ok(Leads::To(path, _)) => Some(Place {
                grant: granted.name.clone(),
                path,
            }),
            Err(error) if error.kind == ErrorKind::NotFound => return,
            Ok(Leads::Out(_)) | Err(_) => None,
        };
        self.links.push((stored.to_vec(), place));
    }

    fn file(&mut self, granted: &Granted, path: &[u8], stored: &[u8], stat: &Stat) -> Result<()> {
        if let Some(proof) = &mut self.proof {
            proof.count(&store(&granted.folder, path, stored, stat)?);
        }
        if is_token(stored) && stat.size > 0 {
            self.token.get_or_insert(String::from_utf8_lossy(stored).into_owned());
        }
        Ok(())
    }

    fn end(self, config: &Config) -> Taken {
        let is_taken = |place: &Place| self.roots.iter().any(|root| place.is_within(root));
        let lost = self.links.iter().filter(|(_, place)| !place.as_ref().is_some_and(is_taken));
        let lost: Vec<_> = lost.map(|(stored, _)| String::from_utf8_lossy(stored)).collect();
        let mut findings = Vec::new();
        if !lost.is_empty() {
            let more = match lost.len().saturating_sub(NAMED_LINKS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let named = lost[..lost.len().min(NAMED_LINKS)].join(", ");
            let message = format!("symbolic links whose targets are not in the snapshot: {named}{more}");
            let hint = "name the targets in `files` too; for one outside of the grant, grant its folder as another `directory.files-NAME`";
            findings.push(Finding::warning("link-leads-out", message).with_setting("files").with_hint(hint));
        }
        findings.extend(token_missing(config, self.token.is_some()));
        Taken {
            findings,
            token: self.token,
        }
    }
}

/// Stores one file.
fn store(folder: &Folder, path: &[u8], stored: &[u8], stat: &Stat) -> Result<entries::Finished> {
    let mut file = folder.open_file(path, OpenMode::Read)?;
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
    entry.finish()
}

/// A named link whose target the plugin may not read: only the link would be stored, and nothing said.
fn leads_out(file: &str, granted: &Granted, target: &[u8]) -> Error {
    let target = String::from_utf8_lossy(target);
    let message = format!(
        "`{file}` is a symbolic link to {target}, which is outside of {} (directory.{})",
        granted.location, granted.name
    );
    let hint = match target.rsplit_once('/') {
        Some((folder, name)) if target.starts_with('/') && !name.is_empty() => {
            let folder = if folder.is_empty() { "/" } else { folder };
            format!(
                "grant `directory.{GRANTS}NAME = {{ path = \"{folder}\", access = \"read-only\" }}` and write `\"NAME/{name}\"` in `files`"
            )
        }
        _ => format!("grant the folder that the target is in as `directory.{GRANTS}NAME`, and write `\"NAME/…\"` in `files`"),
    };
    Error::new(ErrorKind::NotGranted, message).with_hint(hint).with_setting("files")
}

/// Whether an entry's name is that of K3s' server token; with the agents' token alone no server starts.
fn is_token(stored: &[u8]) -> bool {
    let name = stored.rsplit(|byte| *byte == b'/').next().unwrap_or(stored);
    name.ends_with(b"token") && name != b"agent-token"
}

/// K3s encrypts its certificates in the store with the server token: without it a snapshot of K3s restores to nothing.
fn token_missing(config: &Config, has_token: bool) -> Option<Finding> {
    (config.distribution == Distribution::K3s && !has_token).then(|| {
        let message = "the server token is not among the `files` with any content: K3s cannot start from a snapshot without it";
        Finding::warning("token-not-taken", message)
            .with_setting("files")
            .with_hint("grant `directory.files-server = { path = \"/var/lib/rancher/k3s/server\", access = \"read-only\" }` and add `\"server/token\"` to `files`")
    })
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}

fn metadata(node: NodeType, stat: &Stat) -> Metadata {
    Metadata::new(node)
        .with_mode(stat.mode)
        .with_owner(stat.uid, stat.gid)
        .with_modified(stat.modified)
}

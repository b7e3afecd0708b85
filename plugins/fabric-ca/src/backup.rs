//! A run: [`backup`]. Databases first, each held still while its image is stored, then the home, then the home is looked at again. Whatever key or certificate a row refers to
//! was in the home before the row was written, so it is in what is stored after the row; and a home whose keys or certificates changed meanwhile fails the run.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Folder, OpenMode, Stat},
    entries,
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
    progress,
    source::BackupResult,
    types::{Finding, Proof, Timestamp},
};
use bulkhead_sqlite_image::{Check, Engine, Image, Pages, Verdict, is_beside};

use crate::{
    api::{self, Facts},
    authority::{self, Authority, Place, Store},
    config::{Config, Database},
    database::{self, Census},
    few::Few,
    home::{self, HOME, Home, shown},
    inspect::{self, Certificates},
    inventory::{self, Inventory, Line},
};

/// The fact that tells in how much the API's inventory differs from the database's, because both were not asked at one moment.
pub(crate) const API_DIFFERENCES: &str = "api-differences";

/// Backs up the home and its databases.
pub(crate) fn backup(config: &Config, exclude: &Patterns, keys_elsewhere: &Patterns) -> Result<BackupResult> {
    let folder = directory::open(HOME)?;
    let home = Home::live(&folder, exclude)?;
    let server_home = server_home(config);
    let authorities = authority::find(&home, &server_home)?;
    let databases = databases(config, &authorities)?;
    let mut run = Run {
        config,
        folder,
        home: &home,
        proof: Proof::default(),
        findings: Vec::new(),
        facts: api::is_granted().then(Facts::default),
    };
    progress::report("waiting for databases", 0, None);
    let censuses = run.databases(&databases)?;
    run.files(&databases)?;
    run.look_again(exclude, &databases)?;

    let certificates = Certificates::of(&home);
    run.ask(&databases, &authorities, &certificates)?;
    let issuers = censuses
        .iter()
        .map(|(folder, census)| (folder.clone(), census.issuers.clone()))
        .collect();
    let terms = inspect::Terms {
        now: Timestamp::now().seconds,
        within: seconds(config),
        keys_elsewhere,
        database_elsewhere: config.database == Database::Elsewhere,
    };
    let inspection = inspect::inspect(&home, &server_home, &authorities, &certificates, &issuers, &terms);
    let mut inventory = Inventory::create(inventory::HOME)?;
    inspection.lines.iter().try_for_each(|line| inventory.add(line))?;
    run.proof.count(&inventory.finish()?);
    run.findings.extend(inspection.findings);

    let proof = &mut run.proof;
    let sum = |count: fn(&Census) -> u64| censuses.values().map(count).sum::<u64>();
    proof.fact("authorities", authorities.len());
    proof.fact("keys", inspection.keys);
    proof.fact("databases", databases.len());
    proof.fact("identities", sum(|census| census.identities));
    proof.fact("affiliations", sum(|census| census.affiliations));
    proof.fact("certificates", sum(|census| census.certificates));
    proof.fact("revoked-certificates", sum(|census| census.revoked));
    proof.fact("expired-certificates", sum(|census| census.expired));
    proof.fact("expiring-identities", sum(|census| census.expiring.count()));
    proof.fact("expiring-ca-certificates", inspection.expiring);
    if let Some((_, first)) = inspection.first_expiry {
        proof.fact("first-expiry", first);
    }
    proof.complete = true;
    Ok(BackupResult {
        proof: run.proof,
        findings: run.findings,
        ..BackupResult::default()
    })
}

/// Where the server sees its home.
pub(crate) fn server_home(config: &Config) -> String {
    let granted = || {
        directory::grants()
            .into_iter()
            .find(|grant| grant.name == HOME)
            .map(|grant| grant.location)
    };
    config.server_home.clone().or_else(granted).unwrap_or_default()
}

pub(crate) fn seconds(config: &Config) -> i64 {
    i64::try_from(config.expires_within.0.as_secs()).unwrap_or(i64::MAX)
}

/// The databases in the home, with the CA that each belongs to.
///
/// # Errors
/// `Unsupported`: a CA has another kind; `NotFound`: one is not where the config says.
pub(crate) fn databases<'a>(config: &Config, authorities: &'a [Authority]) -> Result<BTreeMap<Vec<u8>, &'a Authority>> {
    let mut databases = BTreeMap::new();
    for authority in authorities {
        let ca = authority.label();
        match &authority.store {
            _ if config.database == Database::Elsewhere && !matches!(authority.store, Store::Sqlite(Place::Inside(_))) => {}
            Store::Sqlite(Place::Inside(path)) => {
                databases.entry(path.clone()).or_insert(authority);
            }
            Store::Sqlite(Place::Missing(file) | Place::Outside(file)) => {
                return Err(Error::new(ErrorKind::NotFound, format!("the database {file} of the CA {ca} is not in the home"))
                    .with_setting("server-home")
                    .with_hint(
                        "set `server-home` to the path at which the server sees its home, and grant a `directory.home` that has the database; where the server was told \
                         another database by a flag, say so in its config; where somebody else backs it up, set `database = \"elsewhere\"`",
                    ));
            }
            Store::Server(kind) => {
                return Err(Error::unsupported(format!("the database of the CA {ca} is of the type `{kind}`, and not in the home"))
                    .with_setting("database")
                    .with_hint(
                        "back that database up with a pipeline of its own (plugin `postgres` for PostgreSQL), and set `database = \"elsewhere\"` here, so that this one stores \
                         the home",
                    ));
            }
        }
    }
    Ok(databases)
}

struct Run<'h> {
    config: &'h Config,
    folder: Folder,
    home: &'h Home,
    proof: Proof,
    findings: Vec<Finding>,
    /// What the databases tell, where it is to be compared.
    facts: Option<Facts>,
}

impl Run<'_> {
    /// Stores the databases and their inventory; the census of each, by its CA's folder.
    fn databases(&mut self, databases: &BTreeMap<Vec<u8>, &Authority>) -> Result<BTreeMap<Vec<u8>, Census>> {
        let mut censuses = BTreeMap::new();
        if databases.is_empty() {
            return Ok(censuses);
        }
        let mut inventory = Inventory::create(inventory::DATABASE)?;
        // The inventory is in the order of the CAs.
        let mut order: Vec<_> = databases.iter().collect();
        order.sort_by_key(|(_, authority)| &authority.folder);
        for (path, authority) in order {
            let census = self
                .database(path, authority, &mut inventory)
                .context(|| format!("backing up the database {} failed", shown(path)))?;
            self.findings.extend(census.findings(&authority.label()));
            censuses.insert(authority.folder.clone(), census);
        }
        self.proof.count(&inventory.finish()?);
        Ok(censuses)
    }

    fn database(&mut self, path: &[u8], authority: &Authority, inventory: &mut Inventory) -> Result<Census> {
        let image = Rc::new(Image::hold(&self.folder, path, self.config.busy_timeout.0)?);
        let mut writer = entries::create(home::entry(path), &metadata(NodeType::File, &image.stat))?;
        image.store(&mut writer, self.proof.bytes)?;
        self.proof.count(&writer.finish()?);
        let engine = Engine::open(Rc::clone(&image) as Rc<dyn Pages>)?;
        if self.config.check != Check::None
            && let Verdict::Unknown(reason) = engine.check(self.config.check)?
        {
            return Err(Error::new(ErrorKind::SourceDamaged, format!("SQLite cannot check it: {reason}")));
        }
        let facts = &mut self.facts;
        let census = census(self.config, &engine, authority, &mut |line| {
            facts.as_mut().map_or(Ok(()), |facts| facts.add(line))?;
            inventory.add(line)
        })?;
        image.confirm(&self.folder, path)?;
        Ok(census)
    }

    /// Asks the server for the same, where that is granted. What differs is looked up in the database once more: somebody may have enrolled in between.
    fn ask(&mut self, databases: &BTreeMap<Vec<u8>, &Authority>, authorities: &[Authority], certificates: &Certificates) -> Result<()> {
        let Some(held) = self.facts.take() else { return Ok(()) };
        let listed = api::read(authorities, certificates, &mut self.proof)?;
        let differing = held.differences(&listed.facts, &listed.authorities);
        self.proof.fact(API_DIFFERENCES, differing.len());
        self.findings.extend(listed.findings);
        if differing.is_empty() || databases.is_empty() {
            return Ok(());
        }
        let mut now = Facts::default();
        for (path, authority) in databases {
            let image = Rc::new(Image::hold(&self.folder, path, self.config.busy_timeout.0)?);
            let engine = Engine::open(Rc::clone(&image) as Rc<dyn Pages>)?;
            census(self.config, &engine, authority, &mut |line| now.add(line))?;
        }
        now.retain(&differing);
        let lasting = now.differences(&listed.facts, &listed.authorities);
        let (mut lasting, mut passing): (Vec<_>, Vec<_>) = differing.into_iter().partition(|about| lasting.contains(about));
        let told = |about: &mut Vec<String>| {
            let mut few = Few::default();
            about.drain(..).for_each(|about| few.add(about.replace('|', " ")));
            few.told()
        };
        if let Some(told) = told(&mut passing) {
            let message =
                format!("changed between the database and the server's API, so that it is in one of the two inventories only: {told}");
            self.findings.push(Finding::info("changed-meanwhile", message));
        }
        if let Some(told) = told(&mut lasting) {
            let message = format!("the server's API and the database in its home do not agree on: {told}");
            let hint = "does the registrar see all (`hf.Registrar.Roles = \"*\"`, no affiliation)? Is the database in the home the one that the server uses?";
            self.findings.push(Finding::error("api-differs", message).with_hint(hint));
        }
        Ok(())
    }

    /// Stores everything else.
    fn files(&mut self, databases: &BTreeMap<Vec<u8>, &Authority>) -> Result<()> {
        let root = self.folder.stat("")?;
        entries::add(HOME, &metadata(NodeType::Directory, &root))?;
        for (path, node) in &self.home.nodes {
            let Some(stat) = node.stat.as_ref().filter(|_| !is_of_database(path, databases)) else {
                continue;
            };
            let metadata = metadata(node.kind.clone(), stat);
            match &node.kind {
                NodeType::File => self.file(path, &metadata)?,
                _ => entries::add(home::entry(path), &metadata)?,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], metadata: &Metadata) -> Result<()> {
        let store = || {
            let mut file = self.folder.open_file(path, OpenMode::Read)?;
            let mut writer = entries::create(home::entry(path), metadata)?;
            while let Some(part) = file.read_bytes(BEST_TRANSFER)? {
                writer.write_bytes(&part)?;
            }
            writer.finish()
        };
        let finished = store().context(|| format!("{} cannot be stored", shown(path)))?;
        self.proof.count(&finished);
        progress::report("reading the home", self.proof.bytes, None);
        Ok(())
    }

    /// Whether the home is still what it was before the databases were read.
    fn look_again(&mut self, exclude: &Patterns, databases: &BTreeMap<Vec<u8>, &Authority>) -> Result<()> {
        let now = Home::listed(&self.folder, exclude)?;
        let paths: BTreeSet<&Vec<u8>> = self.home.nodes.keys().chain(now.nodes.keys()).collect();
        let (mut keys, mut others) = (Few::default(), Few::default());
        for path in paths {
            let (before, after) = (self.home.nodes.get(path), now.nodes.get(path));
            if is_same(before, after) || is_of_database(path, databases) {
                continue;
            }
            let is_key = home::is_looked_into(path) || self.home.has_looked_into(path);
            let few = if is_key { &mut keys } else { &mut others };
            few.add(shown(path));
        }
        if let Some(told) = keys.told() {
            let message = format!("keys, certificates or configs changed while the home was read: {told}");
            return Err(Error::new(ErrorKind::Conflict, message).with_retryable(true).with_hint("run again"));
        }
        if let Some(told) = others.told() {
            let message = format!("files changed while the home was read, so what is stored of them may be a mixture: {told}");
            let hint = "leave logs and the like out with `exclude`";
            self.findings.push(Finding::warning("changed-while-read", message).with_hint(hint));
        }
        Ok(())
    }
}

/// Reads a database that is held, without looking at signatures: they are what takes longest, and a server in rollback mode waits for as long as its database is held. `verify`
/// checks them.
fn census(config: &Config, engine: &Engine, authority: &Authority, add: &mut dyn FnMut(&Line) -> Result<()>) -> Result<Census> {
    let terms = database::Terms {
        now: Timestamp::now().seconds,
        within: seconds(config),
        issuers: None,
    };
    database::census(engine, &engine.contents()?, &authority.label(), &terms, add)
}

/// Whether `path` is that of a database, or of a file that SQLite keeps beside one: they are stored as one image, and expected to change.
fn is_of_database(path: &[u8], databases: &BTreeMap<Vec<u8>, &Authority>) -> bool {
    let of = |database: &Vec<u8>| {
        path.strip_prefix(&database[..])
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-") && is_beside(rest))
    };
    databases.keys().any(of)
}

/// Folders change with what is in them, which is looked at itself.
fn is_same(before: Option<&home::Node>, after: Option<&home::Node>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    let of = |stat: &Stat| (stat.inode, stat.size, stat.modified, stat.changed, stat.mode, stat.uid, stat.gid);
    before.kind == after.kind && (before.kind == NodeType::Directory || before.stat.as_ref().map(of) == after.stat.as_ref().map(of))
}

fn metadata(kind: NodeType, stat: &Stat) -> Metadata {
    Metadata::new(kind)
        .with_mode(stat.mode)
        .with_owner(stat.uid, stat.gid)
        .with_modified(stat.modified)
}

//! A run: [`backup`]. Databases first, each held still while its image is stored, then the home, then the home is looked at again. Whatever key or certificate a row refers to
//! was in the home before the row was written, so it is in what is stored after the row; and a home whose keys or certificates changed meanwhile fails the run.

use std::collections::BTreeSet;
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
    authority::{self, Authority},
    config::{Config, Database},
    database::{
        self, Census,
        postgres::{self, Censuses},
        sqlite,
    },
    few::Few,
    home::{self, HOME, Home, shown},
    inspect::{self, Certificates},
    installation::Installation,
    inventory::{self, Inventory},
    stores::Stores,
};

/// The fact that tells in how much the API's inventory differs from the database's, because both were not asked at one moment.
pub(crate) const API_DIFFERENCES: &str = "api-differences";

/// The fact that tells how many databases were stored.
pub(crate) const DATABASES: &str = "databases";

/// What a dump says of itself that the proof takes over: the server's version, and the snapshot of each database's transaction.
const DUMP_FACTS: [&str; 2] = ["server-version", "database"];

/// Backs up the home and its databases.
pub(crate) fn backup(config: &Config, exclude: &Patterns, keys_elsewhere: &Patterns) -> Result<BackupResult> {
    let folder = directory::open(HOME)?;
    let home = Home::live(&folder, exclude)?;
    let installation = Installation::of(config);
    let authorities = authority::find(&home, &installation)?;
    let stores = Stores::of(config, &authorities)?;
    let mut run = Run {
        config,
        folder,
        home: &home,
        proof: Proof::default(),
        findings: Vec::new(),
        facts: api::is_granted().then(Facts::default),
    };
    progress::report("waiting for databases", 0, None);
    let censuses = run.databases(&stores)?;
    run.files(&stores)?;
    run.look_again(exclude, &stores)?;

    let certificates = Certificates::of(&home);
    run.ask(&stores, &authorities, &certificates)?;
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
    let inspection = inspect::inspect(&home, &installation, &authorities, &certificates, &issuers, &terms);
    let mut inventory = Inventory::create(inventory::HOME)?;
    inspection.lines.iter().try_for_each(|line| inventory.add(line))?;
    run.proof.count(&inventory.finish()?);
    run.findings.extend(inspection.findings);

    let proof = &mut run.proof;
    let sum = |count: fn(&Census) -> u64| censuses.values().map(count).sum::<u64>();
    proof.fact("authorities", authorities.len());
    proof.fact("keys", inspection.keys);
    proof.fact(DATABASES, stores.len());
    proof.fact("identities", sum(|census| census.identities));
    proof.fact("affiliations", sum(|census| census.affiliations));
    proof.fact("certificates", sum(|census| census.certificates));
    proof.fact("revoked-certificates", sum(|census| census.revoked));
    proof.fact("expired-certificates", sum(|census| census.expired));
    proof.fact("expiring-identities", sum(|census| census.expiring.count()));
    proof.fact("expiring-ca-certificates", inspection.expiring);
    if let Some((seconds, first)) = inspection.first_expiry {
        proof.fact("first-expiry", first);
        // As a gauge has it: since 1970.
        proof.fact("first-expiry-seconds", seconds);
    }
    proof.complete = true;
    Ok(BackupResult {
        proof: run.proof,
        findings: run.findings,
        ..BackupResult::default()
    })
}

pub(crate) fn seconds(config: &Config) -> i64 {
    i64::try_from(config.expires_within.0.as_secs()).unwrap_or(i64::MAX)
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
    fn databases(&mut self, stores: &Stores<'_>) -> Result<Censuses> {
        let mut censuses = Censuses::new();
        if stores.is_empty() {
            return Ok(censuses);
        }
        let mut inventory = Inventory::create(inventory::DATABASE)?;
        // The inventory is in the order of the CAs.
        let mut order: Vec<_> = stores.files.iter().collect();
        order.sort_by_key(|(_, authority)| &authority.folder);
        for (path, authority) in order {
            let census = self
                .database(path, authority, &mut inventory)
                .context(|| format!("backing up the database {} failed", shown(path)))?;
            self.findings.extend(census.findings(&authority.label()));
            censuses.insert(authority.folder.clone(), census);
        }
        if !stores.served.is_empty() {
            censuses.extend(self.served(stores, &mut inventory)?);
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
        let contents = engine.contents()?;
        let census = sqlite::census(&engine, &contents, &authority.label(), &terms(self.config), &mut |line| {
            facts.as_mut().map_or(Ok(()), |facts| facts.add(line))?;
            inventory.add(line)
        })?;
        image.confirm(&self.folder, path)?;
        Ok(census)
    }

    /// Dumps the databases that are on a server.
    fn served(&mut self, stores: &Stores<'_>, inventory: &mut Inventory) -> Result<Censuses> {
        let (served, facts) = (&stores.served, &mut self.facts);
        let settings = postgres::settings(self.config, served)?;
        let (dumped, censuses) = postgres::store(&settings, served, &terms(self.config), &mut |line| {
            facts.as_mut().map_or(Ok(()), |facts| facts.add(line))?;
            inventory.add(line)
        })?;
        self.proof.entries += dumped.proof.entries;
        self.proof.bytes += dumped.proof.bytes;
        let told = dumped.proof.facts.into_iter().filter(|fact| DUMP_FACTS.contains(&&fact.name[..]));
        self.proof.facts.extend(told);
        self.findings.extend(dumped.findings);
        for authority in served.names().filter_map(|name| served.authority(name)) {
            let census = censuses.get(&authority.folder);
            self.findings
                .extend(census.map(|census| census.findings(&authority.label())).unwrap_or_default());
        }
        Ok(censuses)
    }

    /// Asks the server for the same, where that is granted. What differs is looked up in the database once more: somebody may have enrolled in between.
    fn ask(&mut self, stores: &Stores<'_>, authorities: &[Authority], certificates: &Certificates) -> Result<()> {
        let Some(held) = self.facts.take() else { return Ok(()) };
        let listed = api::read(authorities, certificates, &mut self.proof)?;
        let differing = held.differences(&listed.facts, &listed.authorities);
        self.proof.fact(API_DIFFERENCES, differing.len());
        self.findings.extend(listed.findings);
        if differing.is_empty() || stores.is_empty() {
            return Ok(());
        }
        let mut now = Facts::default();
        let terms = terms(self.config);
        for (path, authority) in &stores.files {
            let image = Rc::new(Image::hold(&self.folder, path, self.config.busy_timeout.0)?);
            let engine = Engine::open(Rc::clone(&image) as Rc<dyn Pages>)?;
            sqlite::census(&engine, &engine.contents()?, &authority.label(), &terms, &mut |line| now.add(line))?;
        }
        if !stores.served.is_empty() {
            let settings = postgres::settings(self.config, &stores.served)?;
            postgres::look(&settings, &stores.served, &terms, &mut |line| now.add(line))?;
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
    fn files(&mut self, stores: &Stores<'_>) -> Result<()> {
        let root = self.folder.stat("")?;
        entries::add(HOME, &metadata(NodeType::Directory, &root))?;
        for (path, node) in &self.home.nodes {
            let Some(stat) = node.stat.as_ref().filter(|_| !is_of_database(path, stores)) else {
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
    fn look_again(&mut self, exclude: &Patterns, stores: &Stores<'_>) -> Result<()> {
        let now = Home::listed(&self.folder, exclude)?;
        let paths: BTreeSet<&Vec<u8>> = self.home.nodes.keys().chain(now.nodes.keys()).collect();
        let (mut keys, mut others) = (Few::default(), Few::default());
        for path in paths {
            let (before, after) = (self.home.nodes.get(path), now.nodes.get(path));
            if is_same(before, after) || is_of_database(path, stores) {
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

/// A database is read without looking at signatures: they are what takes longest, and a server in rollback mode waits for as long as its database is held. `verify` checks them.
fn terms(config: &Config) -> database::Terms<'static> {
    database::Terms {
        now: Timestamp::now().seconds,
        within: seconds(config),
        issuers: None,
    }
}

/// Whether `path` is that of a database, or of a file that SQLite keeps beside one: they are stored as one image, and expected to change.
fn is_of_database(path: &[u8], stores: &Stores<'_>) -> bool {
    let of = |database: &Vec<u8>| {
        path.strip_prefix(&database[..])
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-") && is_beside(rest))
    };
    stores.files.keys().any(of)
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

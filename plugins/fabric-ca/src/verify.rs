//! Whether what is stored is whole: [`verify`] proves the stored home as a run does, has SQLite check the databases, checks the signature of every certificate in
//! them, and makes the inventory anew.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result, progress, snapshot,
    types::{Finding, Severity, Timestamp},
};
use bulkhead_sqlite_image::{Check, Engine};

use crate::{
    api::Facts,
    authority::{self, Authority, Place, Store},
    backup::{API_DIFFERENCES, DATABASES, seconds},
    config::{Config, Database},
    database::{self, Census, postgres, sqlite},
    home::{self, Home, shown},
    inspect::{self, Certificates},
    installation::Installation,
    inventory::{self, Line},
    pool::Pool,
    stores::Served,
};

const HINT: &str = "restore from another snapshot";

/// Verifies all of it.
pub(crate) fn verify(config: &Config, keys_elsewhere: &Patterns) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    match stored(config, keys_elsewhere, &mut findings) {
        // Damage is what a verification is there to find; anything else keeps it from being made.
        Err(error) if matches!(error.kind, ErrorKind::SourceDamaged | ErrorKind::Corrupt | ErrorKind::NotFound) => {
            findings.push(Finding::error("home-damaged", error.to_string()).with_hint(HINT));
        }
        done => done?,
    }
    Ok(findings)
}

fn stored(config: &Config, keys_elsewhere: &Patterns, findings: &mut Vec<Finding>) -> Result<()> {
    let home = Home::stored()?;
    let installation = Installation::stored()?;
    let authorities = authority::find(&home, &installation)?;
    let certificates = Certificates::of(&home);
    let pool = certificates.pool();
    let issuers = databases(config, &authorities, &pool, findings)?;
    let terms = inspect::Terms {
        now: Timestamp::now().seconds,
        within: seconds(config),
        keys_elsewhere,
        database_elsewhere: config.database == Database::Elsewhere,
    };
    findings.extend(api()?);
    let inspection = inspect::inspect(&home, &installation, &authorities, &certificates, &issuers, &terms);
    let mut comparison = Comparison::with(inventory::HOME)?;
    inspection.lines.iter().try_for_each(|line| comparison.next(line))?;
    findings.extend(comparison.end()?);
    findings.extend(inspection.findings);
    if findings.iter().all(|finding| finding.severity < Severity::Error) {
        let counts = (authorities.len(), inspection.keys);
        let message = format!(
            "keys and certificates belong together, and chains hold (CAs: {}, private keys: {})",
            counts.0, counts.1
        );
        findings.push(Finding::info("home-verified", message));
    }
    Ok(())
}

/// Whether the API's inventory differs from the database's in as much as the run said, where there is one.
fn api() -> Result<Option<Finding>> {
    let Some(said) = snapshot::info().facts.into_iter().find(|fact| fact.name == API_DIFFERENCES) else {
        return Ok(None);
    };
    let facts = |entry: &str| {
        let (mut facts, mut authorities) = (Facts::default(), BTreeSet::new());
        for text in inventory::stored(entry)? {
            let line = inventory::line(&text?)?;
            facts.add(&line)?;
            if let Line::Server { ca, .. } = line {
                authorities.insert(ca);
            }
        }
        Ok::<_, Error>((facts, authorities))
    };
    let (listed, authorities) = facts(inventory::API)?;
    let (held, _) = match facts(inventory::DATABASE) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
        held => held?,
    };
    let found = held.differences(&listed, &authorities).len();
    Ok(Some(if found.to_string() == said.value {
        Finding::info(
            "api-verified",
            format!("the inventories of database and API differ in {found} lines, as the run said"),
        )
    } else {
        let message = format!(
            "the inventories of database and API differ in {found} lines, the run said {}",
            said.value
        );
        Finding::error("inventory-differs", message).with_hint(HINT)
    }))
}

/// The databases of the CAs, in the order of the inventory.
fn in_home(authorities: &[Authority]) -> Vec<(&[u8], &Authority)> {
    let mut found: Vec<(&[u8], &Authority)> = Vec::new();
    for authority in authorities {
        if let Store::Sqlite(Place::Inside(path)) = &authority.store
            && !found.iter().any(|(other, _)| other == path)
        {
            found.push((path, authority));
        }
    }
    found
}

/// How many databases the run says that it stored. What is with somebody else is not among them.
fn declared() -> Result<usize> {
    let said = snapshot::info().facts.into_iter().find(|fact| fact.name == DATABASES);
    let Some(said) = said else { return Ok(0) };
    let damaged = |error| Error::new(ErrorKind::Corrupt, "the snapshot does not say how many databases it has").with_cause(error);
    said.value.parse().map_err(damaged)
}

/// How many certificates each key has issued, by the folder of the CA whose database has them.
type Issuers = BTreeMap<Vec<u8>, BTreeMap<String, u64>>;

fn databases(config: &Config, authorities: &[Authority], pool: &Pool<'_>, findings: &mut Vec<Finding>) -> Result<Issuers> {
    let mut issuers = Issuers::new();
    let (databases, served) = (in_home(authorities), Served::of(authorities));
    let is_dumped = !served.is_empty() && (postgres::is_stored()? || declared()? > databases.len());
    if databases.is_empty() && !is_dumped {
        return Ok(issuers);
    }
    let terms = database::Terms {
        now: Timestamp::now().seconds,
        within: seconds(config),
        issuers: Some(pool),
    };
    let mut comparison = Comparison::with(inventory::DATABASE)?;
    for (path, authority) in databases {
        let ca = authority.label();
        progress::report(&format!("verifying {}", shown(path)), 0, None);
        let engine = Engine::open(Rc::new(snapshot::open(home::entry(path))?))?;
        let checked = engine.check(if config.check == Check::None { Check::None } else { Check::Full });
        checked.map_err(|error| error.context(format!("{} is damaged", shown(path))))?;
        let census = sqlite::census(&engine, &engine.contents()?, &ca, &terms, &mut |line| comparison.next(line))?;
        findings.extend(census.findings(&ca));
        findings.push(verified(&ca, "SQLite's integrity check passes", &census));
        issuers.insert(authority.folder.clone(), census.issuers);
    }
    if is_dumped {
        findings.extend(bulkhead_postgres_logical::verify(&postgres::LAYOUT)?);
        let mut censuses = postgres::replay(&served, &terms, &mut |line| comparison.next(line))?;
        for authority in served.names().filter_map(|name| served.authority(name)) {
            let (ca, census) = (authority.label(), censuses.remove(&authority.folder).unwrap_or_default());
            findings.extend(census.findings(&ca));
            findings.push(verified(&ca, "the dump of its database is whole", &census));
            issuers.insert(authority.folder.clone(), census.issuers);
        }
    }
    findings.extend(comparison.end()?);
    Ok(issuers)
}

fn verified(ca: &str, how: &str, census: &Census) -> Finding {
    let Census {
        identities,
        affiliations,
        certificates,
        revoked,
        ..
    } = census;
    let counted = format!("{identities} identities, {affiliations} affiliations, {certificates} certificates, {revoked} of them revoked");
    Finding::info("database-verified", format!("{ca}: {how}; {counted}"))
}

/// A stored inventory against one that is made anew, line by line.
struct Comparison {
    entry: &'static str,
    stored: Box<dyn Iterator<Item = Result<String>>>,
    number: u64,
    /// The first difference.
    difference: Option<String>,
}

impl Comparison {
    fn with(entry: &'static str) -> Result<Self> {
        Ok(Self {
            entry,
            stored: Box::new(inventory::stored(entry)?),
            number: 0,
            difference: None,
        })
    }

    fn next(&mut self, line: &Line) -> Result<()> {
        let made = inventory::text(line)?;
        let stored = self.stored.next().transpose()?;
        self.number += 1;
        if stored.as_ref() != Some(&made) && self.difference.is_none() {
            let stored = stored.unwrap_or_else(|| "nothing".to_owned());
            self.difference = Some(format!(
                "{}, line {}, says {stored}; what is stored says {made}",
                self.entry, self.number
            ));
        }
        Ok(())
    }

    fn end(mut self) -> Result<Option<Finding>> {
        if let Some(more) = self.stored.next().transpose()? {
            self.difference
                .get_or_insert_with(|| format!("{}, line {}, says {more}; nothing of it is stored", self.entry, self.number + 1));
        }
        Ok(self
            .difference
            .map(|message| Finding::error("inventory-differs", message).with_hint(HINT)))
    }
}

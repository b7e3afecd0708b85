//! What a restore goes back behind: [`since`] compares the databases of the snapshot with the old ones, where those can still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bulkhead_postgres_logical::Settings;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{self, Folder},
    snapshot,
    types::Finding,
};
use bulkhead_sqlite_image::{Engine, Image, Pages};

use crate::{
    database::{
        REVOKED,
        postgres::{self, Record},
    },
    few::Few,
    home::{self, shown},
};

/// The grant of a restore target with the old home.
pub(crate) const PREVIOUS: &str = "previous";
/// How long to wait for an old database that is in use.
const PATIENCE: Duration = Duration::from_secs(5);
/// Identities that get a finding of their own.
const TOLD: usize = 100;

/// What of a database counts here.
#[derive(Default)]
struct Known {
    /// With type and affiliation.
    identities: BTreeMap<String, String>,
    /// Serial numbers and issuers, and whose.
    certificates: BTreeMap<String, String>,
    revoked: BTreeSet<String>,
}

/// What the old databases have that those of the snapshot lack. They are looked for in the directory `previous`, else in the target itself.
///
/// # Errors
/// What reading the snapshot failed with. An old database that cannot be read is a finding.
pub(crate) fn since<'d>(target: &Folder, databases: impl Iterator<Item = (&'d Vec<u8>, &'d String)>) -> Result<Vec<Finding>> {
    let is_granted = directory::grants().iter().any(|grant| grant.name == PREVIOUS);
    let previous = is_granted.then(|| directory::open(PREVIOUS)).transpose()?;
    let folder = previous.as_ref().unwrap_or(target);
    let mut findings = Vec::new();
    for (path, ca) in databases {
        let old = Image::hold(folder, path, PATIENCE).and_then(|image| known(Rc::new(image)));
        match old {
            Ok(old) => compare(ca, &known(Rc::new(snapshot::open(home::entry(path))?))?, &old, &mut findings),
            Err(error) if error.kind == ErrorKind::NotFound && !is_granted => {}
            Err(error) => findings.push(unreadable(ca, &shown(path), &error)),
        }
    }
    Ok(findings)
}

fn unreadable(ca: &str, database: &str, error: &Error) -> Finding {
    Finding::warning("previous-unreadable", format!("{ca}: the old {database} cannot be read: {error}"))
        .with_hint("what was enrolled after the snapshot is not known; ask the peers' and clients' owners")
}

/// The same of a database in PostgreSQL, whose old one is called `old` on the target's server.
///
/// # Errors
/// As [`since`].
pub(crate) fn since_served(target: &Settings, ca: &str, database: &str, old: &str) -> Result<Vec<Finding>> {
    let mut before = Known::default();
    if let Err(error) = postgres::each_now(target, old, &mut |record| before.take(record)) {
        return Ok(vec![unreadable(ca, old, &error)]);
    }
    let (mut stored, mut findings) = (Known::default(), Vec::new());
    postgres::each_stored(database, &mut |record| stored.take(record))?;
    compare(ca, &stored, &before, &mut findings);
    Ok(findings)
}

impl Known {
    fn take(&mut self, record: Record) {
        match record {
            Record::Affiliation(_) => {}
            Record::Identity(row) => {
                self.identities.insert(row.id, format!("{}, {}", row.kind, row.affiliation));
            }
            Record::Certificate(row) => {
                let serial = format!("{}/{}", row.serial, row.aki);
                if row.status == REVOKED {
                    self.revoked.insert(serial.clone());
                }
                self.certificates.insert(serial, row.id);
            }
        }
    }
}

fn known(pages: Rc<dyn Pages>) -> Result<Known> {
    let engine = Engine::open(pages)?;
    let mut known = Known::default();
    let identities =
        "SELECT CAST(id AS TEXT), coalesce(CAST(type AS TEXT), '') || ', ' || coalesce(CAST(affiliation AS TEXT), '') FROM users";
    engine.each(
        identities,
        |row| Ok((row.get(0)?, row.get(1)?)),
        |(id, what)| {
            known.identities.insert(id, what);
            Ok(())
        },
    )?;
    let certificates = "SELECT CAST(serial_number AS TEXT) || '/' || CAST(authority_key_identifier AS TEXT), coalesce(CAST(id AS TEXT), ''), status = 'revoked' FROM certificates";
    engine.each(
        certificates,
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        |(serial, id, is_revoked): (String, String, bool)| {
            if is_revoked {
                known.revoked.insert(serial.clone());
            }
            known.certificates.insert(serial, id);
            Ok(())
        },
    )?;
    Ok(known)
}

fn compare(ca: &str, stored: &Known, old: &Known, findings: &mut Vec<Finding>) {
    let registered: Vec<_> = old
        .identities
        .iter()
        .filter(|(id, _)| !stored.identities.contains_key(*id))
        .collect();
    for (id, what) in registered.iter().take(TOLD) {
        findings.push(
            Finding::warning(
                "registered-after",
                format!("{ca}: {id} ({what}) was registered after the snapshot, and is not known any more"),
            )
            .with_hint("register it again"),
        );
    }
    if let Some(more) = registered.len().checked_sub(TOLD).filter(|more| *more > 0) {
        findings.push(Finding::warning(
            "registered-after",
            format!("{ca}: {more} more identities were registered after the snapshot"),
        ));
    }
    let (mut issued, mut revoked) = (Few::default(), Few::default());
    for (serial, id) in &old.certificates {
        let name = format!("{id} ({})", serial.split('/').next().unwrap_or_default());
        if !stored.certificates.contains_key(serial) {
            issued.add(&name);
        }
        if old.revoked.contains(serial) && !stored.revoked.contains(serial) {
            revoked.add(name);
        }
    }
    let hint = "they are valid all the same, and cannot be revoked by this CA: let their identities enrol again, and revoke by a list of revoked certificates if need be";
    let told = |few: &Few, code: &str, message: &str, hint: &str| {
        Some(Finding::warning(code, format!("{ca}: {message}: {}", few.told()?)).with_hint(hint))
    };
    findings.extend(told(
        &issued,
        "issued-after",
        "certificates that were issued after the snapshot are not known any more",
        hint,
    ));
    let hint = "revoke them again, and hand out a new list (`fabric-ca-client gencrl`)";
    findings.extend(told(
        &revoked,
        "revoked-after",
        "certificates that were revoked after the snapshot are good again",
        hint,
    ));
}

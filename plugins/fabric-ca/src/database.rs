//! A CA's database: [`census`] reads its identities, affiliations and certificates, compares each row with the certificate in it, and counts.
//!
//! Source: the tables that Fabric CA 1.5 makes. The server writes serial numbers and key identifiers in hexadecimal digits, and loses zeros at the beginning.

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, Result, types::Finding};
use bulkhead_sqlite_image::{Contents, Engine, Row, RowResult};

use crate::{
    certificate::{Certificate, Signature, certificates, trimmed},
    few::Few,
    inventory::{Attribute, Line},
    pool::Pool,
};

/// What tells a CA's database from another.
const TABLES: [&str; 3] = ["affiliations", "certificates", "users"];
const REVOKED: &str = "revoked";
/// What the server writes in place of no time.
const NEVER: &str = "0001-01-01";

/// Against what a database is read.
pub(crate) struct Terms<'p> {
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Seconds from now within which an expiry is told.
    pub(crate) within: i64,
    /// Those who may have issued its certificates; with them, each signature is checked.
    pub(crate) issuers: Option<&'p Pool<'p>>,
}

/// What was found in a database.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) identities: u64,
    pub(crate) affiliations: u64,
    pub(crate) certificates: u64,
    pub(crate) revoked: u64,
    pub(crate) expired: u64,
    /// How many certificates each key has issued, by its identifier.
    pub(crate) issuers: BTreeMap<String, u64>,
    /// Identities whose last good certificate expires soon.
    pub(crate) expiring: Few,
    unreadable: Few,
    differing: Few,
    forged: Few,
    unchecked: Few,
}

/// A row of the certificates.
struct Issued {
    id: String,
    serial: String,
    aki: String,
    status: String,
    reason: Option<i64>,
    revoked_at: Option<String>,
    pem: String,
}

/// Reads all of it; `add` gets its inventory, sorted.
///
/// # Errors
/// `SourceDamaged`: it is no CA's database; what reading or `add` failed with.
pub(crate) fn census(
    engine: &Engine,
    contents: &Contents,
    ca: &str,
    terms: &Terms<'_>,
    add: &mut dyn FnMut(&Line) -> Result<()>,
) -> Result<Census> {
    if let Some(missing) = TABLES.iter().find(|table| !contents.rows.contains_key(**table)) {
        let message = format!("it is no Fabric CA's database: it has no table `{missing}`");
        return Err(Error::new(ErrorKind::SourceDamaged, message)
            .with_hint("does `db.datasource` of the server's config name another file? A server that has never been started has an empty one: start it once"));
    }
    for (name, rows) in &contents.rows {
        let (ca, name, rows) = (ca.to_owned(), name.clone(), *rows);
        add(&Line::Table { ca, name, rows })?;
    }
    let mut census = Census::default();
    engine.each(
        "SELECT CAST(name AS TEXT) FROM affiliations ORDER BY name",
        |row| row.get(0),
        |name: String| {
            census.affiliations += 1;
            let ca = ca.to_owned();
            add(&Line::Affiliation { ca, name })
        },
    )?;
    let users = "SELECT CAST(id AS TEXT), coalesce(CAST(type AS TEXT), ''), coalesce(CAST(affiliation AS TEXT), ''), coalesce(CAST(attributes AS TEXT), ''), \
                 coalesce(state, 0), coalesce(max_enrollments, 0) FROM users ORDER BY id";
    engine.each(
        users,
        |row| identity(row, ca),
        |(line, readable)| {
            census.identities += 1;
            if let (Line::Identity { id, .. }, false) = (&line, readable) {
                census.unreadable.add(format!("the attributes of {id}"));
            }
            add(&line)
        },
    )?;
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let issued = "SELECT coalesce(CAST(id AS TEXT), ''), CAST(serial_number AS TEXT), CAST(authority_key_identifier AS TEXT), CAST(status AS TEXT), reason, \
                  CAST(revoked_at AS TEXT), CAST(pem AS TEXT) FROM certificates ORDER BY serial_number, authority_key_identifier";
    engine.each(issued, row, |row| {
        let certificate = census.take(&row, terms);
        if let (Some(certificate), true) = (&certificate, row.status != REVOKED) {
            let newest = last.entry(row.id.clone()).or_insert(certificate.not_after);
            *newest = certificate.not_after.max(*newest);
        }
        add(&line(row, certificate, ca))
    })?;
    let soon = terms.now.saturating_add(terms.within);
    let expiring = last.into_iter().filter(|(_, expiry)| (terms.now..=soon).contains(expiry));
    expiring.for_each(|(id, _)| census.expiring.add(id));
    Ok(census)
}

/// A row, and whether its attributes could be read.
fn identity(row: &Row<'_>, ca: &str) -> RowResult<(Line, bool)> {
    let text: String = row.get(3)?;
    let attributes = attributes(&text);
    let readable = attributes.is_some();
    let line = Line::Identity {
        ca: ca.to_owned(),
        id: row.get(0)?,
        kind: row.get(1)?,
        affiliation: row.get(2)?,
        attributes: attributes.unwrap_or_default(),
        max_enrollments: row.get(5)?,
        state: Some(row.get(4)?),
    };
    Ok((line, readable))
}

/// Attributes by their names.
fn attributes(text: &str) -> Option<Vec<Attribute>> {
    let mut attributes: Vec<Attribute> = match text {
        "" | "null" => Vec::new(),
        text => serde_json::from_str(text).ok()?,
    };
    attributes.sort();
    Some(attributes)
}

fn row(row: &Row<'_>) -> RowResult<Issued> {
    let revoked_at: Option<String> = row.get(5)?;
    Ok(Issued {
        id: row.get(0)?,
        serial: row.get(1)?,
        aki: row.get(2)?,
        status: row.get(3)?,
        reason: row.get(4)?,
        revoked_at: revoked_at.filter(|time| !time.starts_with(NEVER)),
        pem: row.get(6)?,
    })
}

fn line(row: Issued, certificate: Option<Certificate>, ca: &str) -> Line {
    let is_revoked = row.status == REVOKED;
    let (not_after, sha256) = certificate
        .map(|certificate| (certificate.expires, certificate.sha256))
        .unwrap_or_default();
    Line::Certificate {
        ca: ca.to_owned(),
        serial: row.serial,
        aki: row.aki,
        id: row.id,
        status: row.status,
        reason: row.reason.filter(|_| is_revoked),
        revoked_at: row.revoked_at.filter(|_| is_revoked),
        not_after,
        sha256,
    }
}

impl Census {
    /// Counts a certificate, and compares it with its row; `None` where it cannot be read.
    fn take(&mut self, row: &Issued, terms: &Terms<'_>) -> Option<Certificate> {
        self.certificates += 1;
        *self.issuers.entry(trimmed(&row.aki)).or_default() += 1;
        let name = || format!("{} ({})", row.id, row.serial);
        let Some(Ok(certificate)) = certificates(row.pem.as_bytes()).into_iter().next() else {
            self.unreadable.add(format!("the certificate of {}", name()));
            return None;
        };
        self.revoked += u64::from(row.status == REVOKED);
        self.expired += u64::from(certificate.not_after < terms.now);
        let same_key = certificate.authority_key.as_ref().is_none_or(|aki| *aki == trimmed(&row.aki));
        if certificate.serial != trimmed(&row.serial) || !same_key {
            self.differing.add(name());
        }
        match terms.issuers.and_then(|pool| pool.signature(&certificate)) {
            Some(Signature::Invalid) => self.forged.add(name()),
            Some(Signature::Unchecked(_)) => self.unchecked.add(name()),
            Some(Signature::Valid) | None => {}
        }
        Some(certificate)
    }

    /// What is wrong with it, as findings about the CA `ca`.
    pub(crate) fn findings(&self, ca: &str) -> Vec<Finding> {
        const REPAIR: &str = "take the row from an earlier snapshot, or let its identity enrol again";
        let error = |code: &str, message: &str, few: &Few| {
            Some(Finding::error(code, format!("{ca}: {message}: {}", few.told()?)).with_hint(REPAIR))
        };
        let warning = |code: &str, message: &str, hint: &str, few: &Few| {
            Some(Finding::warning(code, format!("{ca}: {message}: {}", few.told()?)).with_hint(hint))
        };
        let all = [
            error("row-unreadable", "what its database has cannot be read", &self.unreadable),
            error(
                "row-differs",
                "rows of its database have another serial number or issuer than the certificate in them",
                &self.differing,
            ),
            error(
                "certificate-forged",
                "certificates in its database were not signed by the key that they name",
                &self.forged,
            ),
            warning(
                "signature-unchecked",
                "signatures of certificates in its database are of an algorithm that is not looked into",
                "`openssl verify` knows more of them",
                &self.unchecked,
            ),
            warning(
                "identity-expires",
                "identities whose last certificate expires soon",
                "let them enrol again (`fabric-ca-client reenroll`)",
                &self.expiring,
            ),
        ];
        all.into_iter().flatten().collect()
    }
}

//! A CA's database: a [`Reading`] takes its identities, affiliations and certificates, compares each row with the certificate in it, and counts: [`Census`]. Where the rows come
//! from say [`sqlite`] and [`postgres`].
//!
//! Source: the tables that Fabric CA 1.5 makes. The server writes serial numbers and key identifiers in hexadecimal digits, and loses zeros at the beginning.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, types::Finding};

use crate::{
    certificate::{Certificate, Signature, certificates, trimmed},
    few::Few,
    inventory::{Attribute, Line},
    pool::Pool,
};

/// What tells a CA's database from another.
const TABLES: [&str; 3] = ["affiliations", "certificates", "users"];
pub(crate) const REVOKED: &str = "revoked";
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
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) serial: String,
    pub(crate) aki: String,
    pub(crate) status: String,
    reason: Option<i64>,
    revoked_at: Option<String>,
    pem: String,
}

/// A row of the identities.
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) affiliation: String,
    attributes: String,
    state: i64,
    max_enrollments: i64,
}

/// A database that is being read: each row becomes a line of its inventory.
struct Reading<'t> {
    ca: String,
    terms: &'t Terms<'t>,
    /// When each identity's last good certificate ends.
    last: BTreeMap<String, i64>,
    census: Census,
}

impl<'t> Reading<'t> {
    /// Of the CA with this label.
    fn new(ca: &str, terms: &'t Terms<'t>) -> Self {
        Self {
            ca: ca.to_owned(),
            terms,
            last: BTreeMap::new(),
            census: Census::default(),
        }
    }

    fn affiliation(&mut self, name: String) -> Line {
        self.census.affiliations += 1;
        let ca = self.ca.clone();
        Line::Affiliation { ca, name }
    }

    fn identity(&mut self, row: Identity) -> Line {
        self.census.identities += 1;
        let attributes = attributes(&row.attributes);
        if attributes.is_none() {
            self.census.unreadable.add(format!("the attributes of {}", row.id));
        }
        Line::Identity {
            ca: self.ca.clone(),
            id: row.id,
            kind: row.kind,
            affiliation: row.affiliation,
            attributes: attributes.unwrap_or_default(),
            max_enrollments: row.max_enrollments,
            state: Some(row.state),
        }
    }

    fn certificate(&mut self, mut row: Issued) -> Line {
        row.revoked_at = row.revoked_at.filter(|time| !time.starts_with(NEVER));
        let certificate = self.census.take(&row, self.terms);
        if let (Some(certificate), true) = (&certificate, row.status != REVOKED) {
            let newest = self.last.entry(row.id.clone()).or_insert(certificate.not_after);
            *newest = certificate.not_after.max(*newest);
        }
        line(row, certificate, &self.ca)
    }

    fn end(mut self) -> Census {
        let soon = self.terms.now.saturating_add(self.terms.within);
        let expiring = self.last.into_iter().filter(|(_, expiry)| (self.terms.now..=soon).contains(expiry));
        expiring.for_each(|(id, _)| self.census.expiring.add(id));
        self.census
    }
}

/// It lacks a table.
fn no_database_of_a_ca(missing: &str) -> Error {
    let message = format!("it is no Fabric CA's database: it has no table `{missing}`");
    Error::new(ErrorKind::SourceDamaged, message)
        .with_hint("does `db.datasource` of the server's config name another one? A server that has never been started has an empty one: start it once")
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

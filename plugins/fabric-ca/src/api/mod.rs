//! What the server says over its REST API, where a registrar is granted: [`read`] stores it as an inventory like the database's, and [`Facts`] compares the two.

mod crl;
mod server;
mod token;

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, entries,
    metadata::Metadata,
    secrets,
    types::{Finding, Proof, Timestamp},
};

pub(crate) use self::{
    server::ENDPOINT,
    token::{CERTIFICATE, KEY},
};
use self::{
    server::{Info, Records, Server},
    token::Signer,
};
use crate::{
    authority::{Authority, Place},
    certificate::{Certificate, trimmed},
    few::Few,
    inspect::Certificates,
    inventory::{self, Inventory, Line},
};

/// Whether a registrar is granted.
pub(crate) fn is_granted() -> bool {
    secrets::names().iter().any(|name| name == KEY)
}

/// What database and API both tell, each by what it is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Takes what a line tells, where the other side tells it too.
    pub(crate) fn add(&mut self, line: &Line) -> Result<()> {
        if let Some((about, told)) = fact(line)? {
            self.0.insert(about, told);
        }
        Ok(())
    }

    /// What they differ in, of the CAs `of`.
    pub(crate) fn differences(&self, other: &Self, of: &BTreeSet<String>) -> BTreeSet<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differ = keys.into_iter().filter(|about| self.0.get(*about) != other.0.get(*about));
        differ
            .filter(|about| of.contains(about.split('|').next().unwrap_or_default()))
            .cloned()
            .collect()
    }

    /// Keeps only what is about these.
    pub(crate) fn retain(&mut self, about: &BTreeSet<String>) {
        self.0.retain(|known, _| about.contains(known));
    }
}

/// What a line is about (`CA|kind|name`), and what it tells of it. An identity's name on a certificate is left out: the API tells the subject's.
fn fact(line: &Line) -> Result<Option<(String, String)>> {
    Ok(match line {
        Line::Affiliation { ca, name } => Some((format!("{ca}|affiliation|{name}"), String::new())),
        Line::Identity {
            ca,
            id,
            kind,
            affiliation,
            attributes,
            max_enrollments,
            ..
        } => Some((
            format!("{ca}|identity|{id}"),
            serde_json::to_string(&(kind, affiliation, attributes, max_enrollments))
                .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?,
        )),
        Line::Certificate {
            ca,
            serial,
            aki,
            status,
            sha256,
            ..
        } => Some((
            format!("{ca}|certificate|{}/{}", trimmed(serial), trimmed(aki)),
            format!("{status} {sha256}"),
        )),
        _ => None,
    })
}

/// What came of asking.
pub(crate) struct Listed {
    pub(crate) facts: Facts,
    /// The labels of the CAs that were asked.
    pub(crate) authorities: BTreeSet<String>,
    pub(crate) findings: Vec<Finding>,
}

/// Asks every CA of the home for what it has, and stores it.
///
/// # Errors
/// `Conflict`: the server is not the one with this home; `Config`: the registrar is of none of its CAs; those of the API.
pub(crate) fn read(authorities: &[Authority], certificates: &Certificates, proof: &mut Proof) -> Result<Listed> {
    let signers = Signer::granted()?;
    let mut listed = Listed {
        facts: Facts::default(),
        authorities: BTreeSet::new(),
        findings: Vec::new(),
    };
    let mut inventory = Inventory::create(inventory::API)?;
    for authority in authorities {
        let label = authority.label();
        let (info, own) = meet(authority, certificates)?;
        inventory.add(&Line::Server {
            ca: label.clone(),
            name: info.name.clone(),
            version: info.version.clone(),
        })?;
        let Some(signer) = signers.iter().find(|signer| signer.is_of(own)) else {
            let message = format!("{label}: no registrar of this CA is granted, so it was only asked who it is");
            let hint = format!("add certificate and key of one to `secret.{CERTIFICATE}` and `secret.{KEY}`");
            listed
                .findings
                .push(Finding::warning("api-without-registrar", message).with_hint(hint));
            continue;
        };
        let mut ca = Asked {
            server: Server(signer),
            label: &label,
            info: &info,
            own,
        };
        ca.store(&mut inventory, &mut listed, proof)
            .context(|| format!("reading the CA {label} over the API failed"))?;
        listed.authorities.insert(label);
    }
    proof.count(&inventory.finish()?);
    match listed.authorities.is_empty() {
        true => Err(nobody()),
        false => Ok(listed),
    }
}

/// Whether the server answers, is the one with this home, and lets the registrar in.
///
/// # Errors
/// As [`read`].
pub(crate) fn check(authorities: &[Authority], certificates: &Certificates) -> Result<Finding> {
    let signers = Signer::granted()?;
    let (mut seen, mut asked) = (0, 0);
    for authority in authorities {
        let (info, own) = meet(authority, certificates)?;
        if let Some(signer) = signers.iter().find(|signer| signer.is_of(own)) {
            seen += Server(signer).identities(&info.name)?.len();
            asked += 1;
        }
    }
    match asked {
        0 => Err(nobody()),
        _ => Ok(Finding::info(
            "api-reached",
            format!("the server's API answers for {asked} CAs; the registrar sees {seen} identities"),
        )),
    }
}

fn nobody() -> Error {
    Error::new(
        ErrorKind::Config,
        format!("`secret.{CERTIFICATE}` was issued by no CA of this home"),
    )
    .with_hint("enrol a registrar with this CA: a server lets in only those that the CA which is asked has enrolled")
}

/// Asks a CA who it is: it must be the one whose home this is. Its own certificate comes with the answer.
fn meet<'c>(authority: &Authority, certificates: &'c Certificates) -> Result<(Info, &'c Certificate)> {
    let label = authority.label();
    // The server's own goes without a name.
    let name = (!authority.folder.is_empty()).then(|| authority.called()).flatten();
    let info = server::info(&name.unwrap_or_default()).context(|| format!("the CA {label} does not answer over the API"))?;
    let own = match &authority.certificate {
        Place::Inside(path) => certificates.at(path),
        _ => None,
    };
    match own {
        Some(own) if info.has(own) => Ok((info, own)),
        _ => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "`endpoint.{ENDPOINT}` has a CA `{}` with another certificate than the CA {label} of the home",
                info.name
            ),
        )
        .with_hint("let `endpoint.api.url` and `directory.home` be of one server")),
    }
}

/// A CA that is asked.
struct Asked<'a> {
    server: Server<'a>,
    label: &'a str,
    info: &'a Info,
    own: &'a Certificate,
}

impl Asked<'_> {
    fn store(&mut self, inventory: &mut Inventory, listed: &mut Listed, proof: &mut Proof) -> Result<()> {
        let mut add = |line: Line| {
            listed.facts.add(&line)?;
            inventory.add(&line)
        };
        let label = || self.label.to_owned();
        for name in self.server.affiliations(&self.info.name)? {
            add(Line::Affiliation { ca: label(), name })?;
        }
        let mut identities = self.server.identities(&self.info.name)?;
        identities.sort_by(|left, right| left.id.cmp(&right.id));
        for identity in identities {
            let mut attributes = identity.attrs.unwrap_or_default();
            attributes.sort();
            add(Line::Identity {
                ca: label(),
                id: identity.id,
                kind: identity.kind,
                affiliation: identity.affiliation,
                attributes,
                max_enrollments: identity.max_enrollments,
                state: None,
            })?;
        }
        let records = self.server.certificates(&self.info.name)?;
        for ((serial, aki), record) in &records {
            add(Line::Certificate {
                ca: label(),
                serial: serial.clone(),
                aki: aki.clone(),
                id: record.id.clone(),
                status: if record.is_revoked { "revoked" } else { "good" }.to_owned(),
                reason: None,
                revoked_at: None,
                not_after: record.expires.clone(),
                sha256: record.sha256.clone(),
            })?;
        }
        self.revocations(&records, listed, proof)
    }

    /// Stores the list of revoked certificates, and looks whether all are in it that should be.
    fn revocations(&self, records: &Records, listed: &mut Listed, proof: &mut Proof) -> Result<()> {
        let text = self.server.revocations(&self.info.name)?;
        let (on_list, now) = (crl::revoked(&text, self.own)?, Timestamp::now().seconds);
        let mut missing = Few::default();
        for ((serial, _), record) in records {
            if record.is_revoked && record.not_after > now && !on_list.contains(serial) {
                missing.add(format!("{} ({serial})", record.id));
            }
        }
        if let Some(told) = missing.told() {
            let message = format!(
                "{}: revoked certificates are not on the list that the CA hands out: {told}",
                self.label
            );
            let hint = "revoke them again, and look into the server's log";
            listed.findings.push(Finding::error("revocation-missing", message).with_hint(hint));
        }
        let mut writer = entries::create(format!("inventory/crl/{}.pem", server::url(&self.info.name)), &Metadata::file())?;
        writer.write_bytes(&text)?;
        proof.count(&writer.finish()?);
        Ok(())
    }
}

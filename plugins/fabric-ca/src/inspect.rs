//! The proof of a home: every private key has its certificate and the other way round, chains end at a root, and what the configs name is there: [`inspect`]. The same over
//! a live home and a stored one.

use std::collections::BTreeMap;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::types::Finding;

use crate::{
    authority::{Authority, Place, Store},
    certificate::{Certificate, PublicKey, certificates},
    few::Few,
    home::{self, Home, below, shown},
    installation::Installation,
    inventory::{Line, POSTGRES, SQLITE},
    key::{self, Content, Known},
    pool::{Chain, Pool},
};

/// Idemix: the issuer's keys, and what each is the other half of.
const IDEMIX: [(&str, &str); 2] = [
    ("IssuerSecretKey", "IssuerPublicKey"),
    ("IssuerRevocationPrivateKey", "IssuerRevocationPublicKey"),
];

/// What is found against what.
pub(crate) struct Terms<'t> {
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Seconds from now within which an expiry is told.
    pub(crate) within: i64,
    /// Certificates whose keys may be elsewhere.
    pub(crate) keys_elsewhere: &'t Patterns,
    /// Whether databases may be elsewhere.
    pub(crate) database_elsewhere: bool,
}

/// All certificates in files of a home.
#[derive(Default)]
pub(crate) struct Certificates {
    pub(crate) found: Vec<(Vec<u8>, Certificate)>,
    unreadable: Few,
}

impl Certificates {
    /// Reads them.
    pub(crate) fn of(home: &Home) -> Self {
        let mut all = Self::default();
        for (path, text) in home.contents() {
            for certificate in certificates(text) {
                match certificate {
                    Ok(certificate) => all.found.push((path.to_vec(), certificate)),
                    Err(reason) => all.unreadable.add(format!("{} ({reason})", shown(path))),
                }
            }
        }
        all
    }

    /// As possible issuers.
    pub(crate) fn pool(&self) -> Pool<'_> {
        Pool::new(self.found.iter().map(|(_, certificate)| certificate))
    }

    /// The first one in the file at `path`: the one that it is about.
    pub(crate) fn at(&self, path: &[u8]) -> Option<&Certificate> {
        self.found.iter().find(|(at, _)| at == path).map(|(_, certificate)| certificate)
    }

    /// The file with the certificate of a key.
    fn of_key(&self, ski: &str) -> Option<&[u8]> {
        self.found
            .iter()
            .find(|(_, certificate)| certificate.ski == ski)
            .map(|(path, _)| &path[..])
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Inspection {
    /// The home's inventory, sorted.
    pub(crate) lines: Vec<Line>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) keys: usize,
    /// Certificates in files that expire soon, or have.
    pub(crate) expiring: u64,
    /// When the first CA's or TLS certificate expires.
    pub(crate) first_expiry: Option<(i64, String)>,
}

/// Looks at everything. `issuers` has, for each CA's folder whose database was read, how many certificates each key has issued.
pub(crate) fn inspect(
    home: &Home,
    installation: &Installation,
    authorities: &[Authority],
    certificates: &Certificates,
    issuers: &BTreeMap<Vec<u8>, BTreeMap<String, u64>>,
    terms: &Terms<'_>,
) -> Inspection {
    let mut inspector = Inspector {
        home,
        certificates,
        pool: certificates.pool(),
        terms,
        keys: Vec::new(),
        others: Vec::new(),
        result: Inspection::default(),
    };
    inspector.result.lines.push(Line::Home(installation.clone()));
    for authority in authorities {
        inspector.authority(authority);
    }
    for authority in authorities {
        inspector.keystore(authority);
    }
    for authority in authorities {
        inspector.certificate(authority, &authority.certificate, "CA");
        inspector.key_file(authority);
        if let Some(tls) = &authority.tls_certificate {
            inspector.certificate(authority, tls, "TLS");
            inspector.tls_key_file(authority, tls);
        }
        inspector.rights(authority);
        inspector.chain(authority);
        inspector.idemix(authority);
        inspector.database(authority, issuers.get(&authority.folder));
    }
    inspector.files();
    inspector.result
}

struct Inspector<'h> {
    home: &'h Home,
    certificates: &'h Certificates,
    pool: Pool<'h>,
    terms: &'h Terms<'h>,
    /// Keys of all keystores, with their files.
    keys: Vec<(Vec<u8>, Known)>,
    /// Keys whose certificates cannot be told: their files and algorithms.
    others: Vec<(Vec<u8>, String)>,
    result: Inspection,
}

impl<'h> Inspector<'h> {
    fn error(&mut self, code: &str, message: String, hint: &str) {
        self.result.findings.push(Finding::error(code, message).with_hint(hint));
    }

    fn warn(&mut self, code: &str, message: String, hint: &str) {
        self.result.findings.push(Finding::warning(code, message).with_hint(hint));
    }

    /// What it is, and whether what its config names is there.
    fn authority(&mut self, authority: &Authority) {
        let inside = |place: &Place| match place {
            Place::Inside(path) => Some(shown(path)),
            _ => None,
        };
        let (database_type, database) = match &authority.store {
            Store::Sqlite(place) => (SQLITE.to_owned(), inside(place)),
            Store::Postgres(source) => (POSTGRES.to_owned(), source.as_ref().map(|source| source.database.clone())),
            Store::Server(kind) => (kind.clone(), None),
        };
        self.result.lines.push(Line::Authority {
            ca: authority.label(),
            name: authority.called(),
            config: authority.config.as_deref().map(shown),
            certificate: inside(&authority.certificate),
            database_type,
            database,
        });
        let config = authority.config.as_deref().map(shown).unwrap_or_default();
        for named in &authority.named {
            let setting = &named.setting;
            match &named.place {
                Place::Inside(_) => {}
                Place::Missing(file) => self.warn(
                    "file-missing",
                    format!("{config} names {file} in `{setting}`, which is not there"),
                    "put the file back, or take the setting out of the server's config",
                ),
                Place::Outside(file) => self.warn(
                    "file-outside",
                    format!("{config} names {file} in `{setting}`, which is not in the home, so not in the snapshot"),
                    "set `server-home` to the path at which the server sees its home, or back the file up with the plugin `files`",
                ),
            }
        }
    }

    fn keystore(&mut self, authority: &Authority) {
        let mut files: Vec<Vec<u8>> = self.home.list(&authority.keystore).into_iter().map(<[u8]>::to_vec).collect();
        for file in [&authority.key_file, &authority.tls_key_file].into_iter().flatten() {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        for file in files {
            let name = home::split(&file).1;
            if IDEMIX.iter().any(|(secret, _)| name == secret.as_bytes()) {
                continue;
            }
            let shown = shown(&file);
            match self.home.content(&file).map_or(Content::Foreign, key::content) {
                Content::Private(known) => {
                    let certificate = self.certificates.of_key(&known.ski).map(home::shown);
                    if certificate.is_none() {
                        self.warn(
                            "key-without-certificate",
                            format!("{shown} is a private key without a certificate in the home"),
                            "it is one of before a renewal, or its certificate was lost: compare with `openssl pkey -pubout` and the certificates that are elsewhere",
                        );
                    }
                    self.result.lines.push(Line::Key {
                        ca: authority.label(),
                        file: shown,
                        algorithm: known.algorithm.to_owned(),
                        ski: known.ski.clone(),
                        certificate,
                    });
                    self.result.keys += 1;
                    self.keys.push((file, known));
                }
                Content::Public => {}
                Content::Other(algorithm) => {
                    self.warn(
                        "key-unchecked",
                        format!("{shown} is a private key of the algorithm {algorithm}, which is not looked into"),
                        "compare what `openssl pkey -pubout` makes of it with its certificate",
                    );
                    self.others.push((file, algorithm));
                }
                Content::Unreadable(reason) => self.error(
                    "key-unreadable",
                    format!("{shown} is a private key that cannot be read: {reason}"),
                    "put it back from an earlier snapshot; the server cannot use it either",
                ),
                Content::Foreign => self.warn(
                    "foreign-file",
                    format!("{shown} is in the keystore, and is no key"),
                    "move it elsewhere; it is in the snapshot all the same",
                ),
            }
        }
    }

    /// Whether a certificate that the server uses has its key, and a way to its root.
    fn certificate(&mut self, authority: &Authority, place: &Place, what: &str) {
        let ca = authority.label();
        let path = match place {
            Place::Inside(path) => path,
            Place::Missing(file) => {
                let hint = "start the server once, so that it makes what it lacks, or put the certificate back";
                return self.error(
                    "certificate-missing",
                    format!("{ca}: the {what} certificate {file} is not there"),
                    hint,
                );
            }
            Place::Outside(file) => {
                let hint = "set `server-home` to the path at which the server sees its home, or grant a `directory.home` that has it";
                return self.error(
                    "certificate-outside",
                    format!("{ca}: the {what} certificate {file} is not in the home"),
                    hint,
                );
            }
        };
        let file = shown(path);
        let Some(certificate) = self.certificates.at(path) else {
            let hint = "put it back from an earlier snapshot";
            return self.error(
                "certificate-unreadable",
                format!("{ca}: {file} has no certificate that can be read"),
                hint,
            );
        };
        let expiry = (certificate.not_after, certificate.expires.clone());
        let first = self.result.first_expiry.get_or_insert_with(|| expiry.clone());
        *first = first.clone().min(expiry);
        if !self.has_key(certificate, |_| true) {
            self.without_key(authority, path, what);
        }
        let hint = "put the certificates of its issuers into `ca-chain.pem` of the CA";
        match self.pool.chain(certificate) {
            Chain::Root => {}
            Chain::Missing(issuer) => self.warn(
                "chain-incomplete",
                format!("{ca}: {file} leads up to {issuer}, whose certificate is not in the home"),
                hint,
            ),
            Chain::Broken(subject) => self.error(
                "chain-broken",
                format!("{ca}: the chain of {file} breaks at {subject}: a signature does not hold, or its issuer is no CA"),
                "put the certificates back from an earlier snapshot",
            ),
            Chain::Unchecked(algorithm) => self.warn(
                "chain-unchecked",
                format!("{ca}: the chain of {file} has a signature of the algorithm {algorithm}, which is not looked into"),
                "`openssl verify` knows more of them",
            ),
        }
    }

    /// Whether one of the files has the key of a certificate, or one that may be it.
    fn has_key(&self, certificate: &Certificate, is_meant: impl Fn(&[u8]) -> bool) -> bool {
        let is_of_algorithm = |other: &String| matches!(&certificate.key, PublicKey::Other(algorithm) if algorithm == other);
        self.keys.iter().any(|(file, key)| key.ski == certificate.ski && is_meant(file))
            || self.others.iter().any(|(file, other)| is_of_algorithm(other) && is_meant(file))
    }

    /// Whether the key file that is there is that of the CA's certificate: the server looks into its keystore only where there is none.
    fn key_file(&mut self, authority: &Authority) {
        if let Some((key, file, _)) = self.differing(&authority.certificate, authority.key_file.as_ref()) {
            self.error(
                "key-differs",
                format!("{}: {key} is not the key of the CA certificate {file}", authority.label()),
                "the server takes this key before those of its keystore, and does not start: put the right one there, or take the file away",
            );
        }
    }

    /// The same of its TLS certificate, where it is the other way round: the key file counts only where the keystore does not have the key.
    fn tls_key_file(&mut self, authority: &Authority, place: &Place) {
        let Some((key, file, certificate)) = self.differing(place, authority.tls_key_file.as_ref()) else {
            return;
        };
        let keystore = self.home.list(&authority.keystore);
        if !self.has_key(certificate, |file| keystore.contains(&file)) {
            self.error(
                "key-differs",
                format!("{}: {key} is not the key of the TLS certificate {file}", authority.label()),
                "the server's keystore does not have it either, so that it does not start: put the right one there",
            );
        }
    }

    /// A key file, where it is of another certificate than the one at `place`; with that one's file.
    fn differing(&self, place: &Place, key_file: Option<&Vec<u8>>) -> Option<(String, String, &'h Certificate)> {
        let Place::Inside(path) = place else { return None };
        let certificate = self.certificates.at(path)?;
        let differs = |(file, key): &&(Vec<u8>, Known)| Some(file) == key_file && key.ski != certificate.ski;
        let (key, _) = self.keys.iter().find(differs)?;
        Some((shown(key), shown(path), certificate))
    }

    /// Whether the CA's certificate is one of a CA.
    fn rights(&mut self, authority: &Authority) {
        let Place::Inside(path) = &authority.certificate else { return };
        if self.certificates.at(path).is_some_and(|certificate| !certificate.is_authority) {
            self.error(
                "certificate-of-no-ca",
                format!("{}: {} is a certificate, but not one of a CA", authority.label(), shown(path)),
                "put the CA's certificate back: nothing that is issued with this one is valid",
            );
        }
    }

    /// Whether an intermediate CA has its chain.
    fn chain(&mut self, authority: &Authority) {
        if let Some(Place::Missing(file) | Place::Outside(file)) = &authority.chain {
            self.warn(
                "chain-missing",
                format!("{}: it is an intermediate CA, and its chain {file} is not in the home", authority.label()),
                "put its certificate and those of its issuers there, one after the other: without them the server believes none of its own clients",
            );
        }
    }

    fn without_key(&mut self, authority: &Authority, path: &[u8], what: &str) {
        let (ca, file) = (authority.label(), shown(path));
        if authority.has_module {
            let hint = "back the module up by its maker's means: without it, this snapshot cannot sign";
            self.warn(
                "key-in-module",
                format!("{ca}: the key of {file} is in a security module (PKCS#11), and not in the snapshot"),
                hint,
            );
        } else if self.terms.keys_elsewhere.matches(path) {
            self.result.findings.push(Finding::info(
                "key-elsewhere",
                format!("{ca}: the key of {file} is kept elsewhere, as `keys-elsewhere` says"),
            ));
        } else {
            let hint =
                "put its key back into the keystore; where it is kept elsewhere on purpose, name the certificate in `keys-elsewhere`";
            self.error(
                "certificate-without-key",
                format!(
                    "{ca}: the {what} certificate {file} has no private key in {}",
                    shown(&authority.keystore)
                ),
                hint,
            );
        }
    }

    /// Whether both halves of the Idemix keys are there, as far as there are any.
    fn idemix(&mut self, authority: &Authority) {
        let ca = authority.label();
        for (secret, public) in IDEMIX {
            let (secret, public) = (
                below(&authority.keystore, secret.as_bytes()),
                below(&authority.folder, public.as_bytes()),
            );
            let (has_secret, has_public) = (self.home.content(&secret), self.home.content(&public));
            let hint =
                "put the other half back from an earlier snapshot; without it, credentials that were issued cannot be checked or revoked";
            match (has_secret, has_public) {
                (None, None) => {}
                (Some(one), Some(other)) => {
                    let is_pair = match key::content(one) {
                        Content::Private(known) => key::public_ski(other).is_some_and(|ski| ski == known.ski),
                        Content::Unreadable(_) => false,
                        // The issuer's secret is a number, its public key a message of Idemix' own.
                        _ => !one.is_empty() && !other.is_empty(),
                    };
                    if !is_pair {
                        self.error(
                            "idemix-differs",
                            format!("{ca}: {} and {} are not halves of one key", shown(&secret), shown(&public)),
                            hint,
                        );
                    }
                }
                (Some(_), None) => self.error(
                    "idemix-missing",
                    format!("{ca}: {} has no {}", shown(&secret), shown(&public)),
                    hint,
                ),
                (None, Some(_)) => self.error(
                    "idemix-missing",
                    format!("{ca}: {} has no {}", shown(&public), shown(&secret)),
                    hint,
                ),
            }
        }
    }

    fn database(&mut self, authority: &Authority, issuers: Option<&BTreeMap<String, u64>>) {
        let ca = authority.label();
        let Some(issuers) = issuers else {
            if self.terms.database_elsewhere {
                self.warn(
                    "database-elsewhere",
                    format!("{ca}: its database is not in the snapshot, as `database = \"elsewhere\"` says, and not of the same moment"),
                    "restore both as of the same time: what was enrolled between the two is in one of them only",
                );
            }
            return;
        };
        let known = |aki: &&String| self.pool.has_key(aki);
        let strangers: u64 = issuers.iter().filter(|(aki, _)| !known(aki)).map(|(_, count)| count).sum();
        let all: u64 = issuers.values().sum();
        if all > 0 && strangers == all {
            self.error(
                "database-of-another",
                format!("{ca}: none of the {all} certificates in its database was issued by a CA of this home"),
                "does `db.datasource` of the server's config lead to this CA's database? After a renewal with a new key, keep the old certificate in the home",
            );
        } else if strangers > 0 {
            self.warn(
                "issuer-missing",
                format!(
                    "{ca}: {strangers} of {all} certificates in its database were issued by keys whose certificates are not in the home"
                ),
                "keep a CA's former certificates in the home: without them, these cannot be verified",
            );
        }
    }

    /// Certificates in files: what they are, and when they end.
    fn files(&mut self) {
        let (mut ended, mut ending) = (Few::default(), Few::default());
        for (path, certificate) in &self.certificates.found {
            let file = shown(path);
            let left = certificate.not_after - self.terms.now;
            if left < 0 {
                ended.add(format!("{file} ({}, {})", certificate.subject, certificate.expires));
            } else if left <= self.terms.within {
                ending.add(format!("{file} ({}, {})", certificate.subject, certificate.expires));
            }
            self.result.lines.push(Line::HomeCertificate {
                file,
                subject: certificate.subject.clone(),
                issuer: certificate.issuer.clone(),
                serial: certificate.serial.clone(),
                ski: certificate.ski.clone(),
                not_after: certificate.expires.clone(),
                sha256: certificate.sha256.clone(),
            });
        }
        self.result.expiring = ended.count() + ending.count();
        let hint = "renew them in time: what a CA has signed ends with the CA's own certificate";
        if let Some(told) = ending.told() {
            self.warn("certificate-expires", format!("certificates that expire soon: {told}"), hint);
        }
        if let Some(told) = ended.told() {
            self.warn("certificate-expired", format!("certificates that have expired: {told}"), hint);
        }
        if let Some(told) = self.certificates.unreadable.told() {
            self.warn(
                "certificate-unreadable",
                format!("certificates in the home that cannot be read: {told}"),
                "put them back, or move them elsewhere",
            );
        }
    }
}

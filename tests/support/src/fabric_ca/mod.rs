//! Homes of Hyperledger Fabric CAs, as fabric-ca-server 1.5 lays them out, made with OpenSSL and SQLite's shell, or a PostgreSQL server: [`Home`], and the answers of the REST
//! API over them: [`Api`]. No server of it can be had for tests; this is what one leaves on disk after `init`, `register`, `enroll` and `revoke`.

pub(crate) mod openssl;
mod server;
mod store;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::postgres::Cluster;
use crate::{Error, Result};

pub use openssl::{Issued, crl, encrypted, sign, traditional, verify};
pub use server::Api;
use store::Store;
pub use store::{ROLE, query};

/// Where the server has its database.
pub const DATABASE: &str = "fabric-ca-server.db";
/// What the server's own config is called.
pub const CONFIG: &str = "fabric-ca-server-config.yaml";
/// What the configs are called that it writes for `cacount`.
const MORE_CONFIG: &str = "fabric-ca-config.yaml";
/// The curves that Fabric CA has.
const P256: &str = "P-256";
const P384: &str = "P-384";

/// A CA with its home.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
    name: String,
    /// Of the keys in its keystore.
    curve: &'static str,
    store: Store,
}

impl Home {
    /// A root CA in `folder`, with a registrar `admin` that has enrolled.
    pub fn root(folder: impl Into<PathBuf>, name: &str) -> Result<Self> {
        Self::root_on(folder, name, P256)
    }

    /// The same with keys of P-384, the other curve that Fabric CA has (`csr.keyrequest.size`).
    pub fn root_of_384(folder: impl Into<PathBuf>, name: &str) -> Result<Self> {
        Self::root_on(folder, name, P384)
    }

    fn root_on(folder: impl Into<PathBuf>, name: &str, curve: &'static str) -> Result<Self> {
        Self::new(folder, name, curve)?.into_root()
    }

    /// A root CA with its database in PostgreSQL.
    pub fn root_with(folder: impl Into<PathBuf>, name: &str, cluster: &Arc<Cluster>, database: &str) -> Result<Self> {
        Self::new(folder, name, P256)?.kept_in(cluster, database).into_root()
    }

    fn kept_in(mut self, cluster: &Arc<Cluster>, database: &str) -> Self {
        self.store = Store::Postgres {
            cluster: Arc::clone(cluster),
            database: database.to_owned(),
        };
        self
    }

    fn into_root(self) -> Result<Self> {
        let home = self;
        let key = home.new_key()?;
        let certificate = openssl::self_signed(&key, &home.name)?;
        home.file("ca-cert.pem", 0o644, certificate)?;
        home.finish(CONFIG, &home.config("port: 7054\n"))?;
        Ok(home)
    }

    /// An intermediate CA in `folder`, enrolled with `parent`, whose chain it keeps.
    pub fn intermediate(folder: impl Into<PathBuf>, name: &str, parent: &Self) -> Result<Self> {
        let home = Self::new(folder, name, P256)?;
        let key = home.new_key()?;
        let issued = parent.issue(&key, name, openssl::Kind::Authority, 1825)?;
        let root = fs::read_to_string(parent.join("ca-cert.pem")).map_err(Error::on_path("read", &parent.folder))?;
        home.file("ca-cert.pem", 0o644, &issued.pem)?;
        home.file("ca-chain.pem", 0o644, format!("{}{root}", issued.pem))?;
        home.finish(
            CONFIG,
            &home.config("port: 7055\nintermediate:\n  parentserver:\n    url: https://root:7054\n"),
        )?;
        Ok(home)
    }

    /// One CA more of this server, in `ca/NAME`, as `cacount` makes it.
    pub fn another(&self, name: &str) -> Result<Self> {
        let mut home = Self::new(self.join("ca").join(name), name, self.curve)?;
        // The server gives it a database of its own, beside the first one.
        if let Store::Postgres { cluster, database } = &self.store {
            home = home.kept_in(cluster, &format!("{database}_{name}"));
        }
        let key = home.new_key()?;
        home.file("ca-cert.pem", 0o644, openssl::self_signed(&key, name)?)?;
        // The rest is taken over from the server's own config.
        let (kind, datasource) = home.store.setting();
        home.finish(
            MORE_CONFIG,
            &format!("ca:\n  name: {name}\ndb:\n  type: {kind}\n  datasource: {datasource}\ncsr:\n  cn: {name}\n"),
        )?;
        Ok(home)
    }

    fn new(folder: impl Into<PathBuf>, name: &str, curve: &'static str) -> Result<Self> {
        let folder = folder.into();
        let keystore = folder.join("msp/keystore");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&keystore)
            .map_err(Error::on_path("make", &keystore))?;
        Ok(Self {
            store: Store::Sqlite(folder.join(DATABASE)),
            folder,
            name: name.to_owned(),
            curve,
        })
    }

    /// What every CA has: Idemix keys, a config and a database with its registrar.
    fn finish(&self, config: &str, text: &str) -> Result<()> {
        self.file("msp/keystore/IssuerSecretKey", 0o644, [7; 32])?;
        self.file("IssuerPublicKey", 0o644, [8; 843])?;
        let key = openssl::new_key(P384)?;
        self.file("IssuerRevocationPublicKey", 0o644, openssl::public(&key)?)?;
        self.file("msp/keystore/IssuerRevocationPrivateKey", 0o644, openssl::mislabelled(&key)?)?;
        self.file(config, 0o644, text)?;
        self.store.create()?;
        self.register("admin", "client", "")?;
        self.enroll("admin").map(drop)
    }

    fn config(&self, more: &str) -> String {
        let (name, (kind, datasource)) = (&self.name, self.store.setting());
        format!(
            "version: 1.5.21\n{more}debug: false\ncrlsizelimit: 512000\ntls:\n  enabled: false\n  certfile:\n  keyfile:\n  clientauth:\n    type: noclientcert\n    certfiles:\n\
             ca:\n  name: {name}\n  keyfile:\n  certfile:\n  chainfile:\nregistry:\n  maxenrollments: -1\n  identities:\n    - name: admin\n      pass: adminpw\n      type: client\n\
             \x20     affiliation: \"\"\n      attrs:\n        hf.Registrar.Roles: \"*\"\n        hf.Revoker: true\ndb:\n  type: {kind}\n  datasource: {datasource}\n  tls:\n    enabled: false\n\
             \x20   certfiles:\nldap:\n  enabled: false\naffiliations:\n  org1:\n    - department1\n    - department2\n  org2:\n    - department1\ncsr:\n  cn: {name}\n  keyrequest:\n    algo: ecdsa\n\
             \x20   size: 256\nbccsp:\n  default: SW\n  sw:\n    hash: SHA2\n    security: 256\n    filekeystore:\n      keystore: msp/keystore\ncacount:\ncafiles:\n"
        )
    }

    /// The home.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The path of `name` in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file with a mode, as the server does: beside its place first.
    pub fn file(&self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
        let (path, partial) = (self.join(name), self.join(format!("{name}.new")));
        let write = || {
            let mut options = fs::OpenOptions::new();
            options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(&partial)?
                .write_all(content.as_ref())?;
            fs::set_permissions(&partial, fs::Permissions::from_mode(mode))?;
            fs::rename(&partial, &path)
        };
        write().map_err(Error::on_path("write", &path))
    }

    /// A new private key in the keystore, named as Fabric names it; its PEM.
    pub fn new_key(&self) -> Result<String> {
        let key = openssl::new_key(self.curve)?;
        self.file(&format!("msp/keystore/{}_sk", openssl::ski(&key)?), 0o600, &key)?;
        Ok(key)
    }

    /// The file of the CA's private key.
    pub fn key_file(&self) -> Result<PathBuf> {
        let certificate = fs::read_to_string(self.join("ca-cert.pem")).map_err(Error::on_path("read", &self.folder))?;
        Ok(self.join(format!("msp/keystore/{}_sk", openssl::ski_of_certificate(&certificate)?)))
    }

    /// A CA's new key and certificate, as after a renewal with a new key: what was issued so far keeps its issuer, whose certificate stays in the home as
    /// `ca-cert-NAME.pem`, after its key.
    pub fn renew(&self) -> Result<()> {
        let old = fs::read_to_string(self.join("ca-cert.pem")).map_err(Error::on_path("read", &self.folder))?;
        self.file(&format!("ca-cert-{}.pem", openssl::ski_of_certificate(&old)?), 0o644, old)?;
        let key = self.new_key()?;
        self.file("ca-cert.pem", 0o644, openssl::self_signed(&key, &self.name)?)
    }

    /// A certificate for a key.
    fn issue(&self, key: &str, name: &str, kind: openssl::Kind, days: u32) -> Result<Issued> {
        openssl::issue(&self.join("ca-cert.pem"), &self.key_file()?, key, name, kind, days)
    }

    /// `fabric-ca-client register`.
    pub fn register(&self, id: &str, kind: &str, affiliation: &str) -> Result<()> {
        let attributes = match id {
            "admin" => r#"[{"name":"hf.Registrar.Roles","value":"*"},{"name":"hf.Revoker","value":"1"}]"#.to_owned(),
            _ => format!(
                r#"[{{"name":"hf.EnrollmentID","value":"{id}","ecert":true}},{{"name":"hf.Type","value":"{kind}","ecert":true}},{{"name":"hf.Affiliation","value":"{affiliation}","ecert":true}}]"#
            ),
        };
        // What is in place of a hash of the secret looks like one.
        let token = self.store.bytes("2432612431302462696e67656e");
        self.sql(&format!(
            "INSERT INTO users VALUES ('{id}', {token}, '{kind}', '{affiliation}', '{attributes}', 0, -1, 2, 0);"
        ))
    }

    /// A certificate for an identity that is not in the database yet.
    pub fn certificate_for(&self, id: &str) -> Result<Issued> {
        self.issue(&openssl::new_key(P256)?, id, openssl::Kind::Client, 365)
    }

    /// `fabric-ca-client enroll`, as a client that keeps its certificate and key: both in PEM.
    pub fn enroll_with_key(&self, id: &str) -> Result<(String, String)> {
        let key = openssl::new_key(P256)?;
        let issued = self.issue(&key, id, openssl::Kind::Client, 365)?;
        self.record(id, &issued)?;
        Ok((issued.pem, key))
    }

    /// `fabric-ca-client enroll`: a certificate for a year.
    pub fn enroll(&self, id: &str) -> Result<Issued> {
        self.enroll_for(id, 365)
    }

    /// The same, for so many days. The client keeps the key.
    pub fn enroll_for(&self, id: &str, days: u32) -> Result<Issued> {
        let issued = self.issue(&openssl::new_key(P256)?, id, openssl::Kind::Client, days)?;
        self.record(id, &issued)?;
        Ok(issued)
    }

    /// Puts a certificate into the database.
    fn record(&self, id: &str, issued: &Issued) -> Result<()> {
        self.sql(&enrolment(id, issued))
    }

    /// `fabric-ca-client revoke`.
    pub fn revoke(&self, id: &str) -> Result<()> {
        self.sql(&format!(
            "UPDATE certificates SET status = 'revoked', reason = 1, revoked_at = '2026-11-21 09:16:46' WHERE id = '{id}'; UPDATE users SET state = -1 WHERE id = '{id}';"
        ))
    }

    /// TLS for the server: a certificate of the CA's own, its key in the keystore, and the config that says so.
    pub fn enable_tls(&self) -> Result<()> {
        let key = self.new_key()?;
        let issued = self.issue(&key, "localhost", openssl::Kind::Server, 365)?;
        self.file("tls-cert.pem", 0o644, issued.pem)?;
        self.change_config("tls:\n  enabled: false", "tls:\n  enabled: true")
    }

    /// The same with a key of a kind that Fabric CA does not make, in `tls/server.key`, and its certificate in `tls/server.crt`; the key.
    pub fn enable_foreign_tls(&self, algorithm: &str) -> Result<String> {
        let key = openssl::new_foreign_key(algorithm)?;
        let issued = self.issue(&key, "localhost", openssl::Kind::Server, 365)?;
        let folder = self.join("tls");
        fs::create_dir_all(&folder).map_err(Error::on_path("make", &folder))?;
        self.file("tls/server.crt", 0o644, issued.pem)?;
        self.file("tls/server.key", 0o600, &key)?;
        self.change_config(
            "tls:\n  enabled: false\n  certfile:\n  keyfile:",
            "tls:\n  enabled: true\n  certfile: tls/server.crt\n  keyfile: tls/server.key",
        )?;
        Ok(key)
    }

    /// Puts `to` in the place of `from` in the config.
    pub fn change_config(&self, from: &str, to: &str) -> Result<()> {
        let path = self.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(Error::on_path("read", &path))?;
        match text.contains(from) {
            true => self.file(CONFIG, 0o644, text.replace(from, to)),
            false => Err(Error::Unusable(format!("the config has no {from:?}"))),
        }
    }

    /// Runs statements on the database as one transaction, waiting for whoever reads it.
    pub fn sql(&self, statements: &str) -> Result<()> {
        self.store.sql(statements)
    }

    /// What its database's shell prints.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.store.query(sql)
    }
}

/// The statements by which the server's database gets a certificate.
#[must_use]
pub fn enrolment(id: &str, issued: &Issued) -> String {
    let Issued { serial, aki, expiry, pem } = issued;
    format!(
        "INSERT INTO certificates VALUES ('{id}', '{serial}', '{aki}', '', 'good', 0, '{expiry}', '0001-01-01 00:00:00+00:00', '{pem}', 1);
         UPDATE users SET state = state + 1 WHERE id = '{id}';"
    )
}

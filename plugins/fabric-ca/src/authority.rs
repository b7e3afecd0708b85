//! The CAs of a home: [`find`]. A server has one in its home and, with `cacount` or `cafiles`, more in folders below; each has a certificate, a keystore and a database.
//!
//! Source: Hyperledger Fabric CA 1.5, its operations guide and what its server writes.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, metadata::NodeType};

use crate::{
    datasource::Datasource,
    home::{self, Home, Lead, shown},
    installation::Installation,
    inventory::{POSTGRES, SQLITE},
    settings::{self, Settings},
};

/// What the server calls its own config, and those that it writes for `cacount`.
const CONFIGS: [&[u8]; 2] = [b"fabric-ca-server-config.yaml", b"fabric-ca-config.yaml"];
const CERTIFICATE: &str = "ca-cert.pem";
const KEYSTORE: &str = "msp/keystore";

/// Where something is that a config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the home, where links lead to.
    Inside(Vec<u8>),
    /// In the home, but not there.
    Missing(String),
    /// Not in the home.
    Outside(String),
}

/// What keeps a CA's identities and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite(Place),
    /// PostgreSQL; `None` where its name is not told.
    Postgres(Option<Datasource>),
    /// Another server: its type.
    Server(String),
}

/// A file that a config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) setting: String,
    pub(crate) place: Place,
}

/// One CA.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// Below the home; empty for the server's own.
    pub(crate) folder: Vec<u8>,
    /// As its config says; the server may have been told by a flag.
    pub(crate) name: Option<String>,
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) certificate: Place,
    pub(crate) tls_certificate: Option<Place>,
    /// Of an intermediate CA, what it sends along and checks its own clients with.
    pub(crate) chain: Option<Place>,
    /// Where its private keys are.
    pub(crate) keystore: Vec<u8>,
    /// The file with the certificate's key, and that of the TLS certificate, where they are not just in the keystore.
    pub(crate) key_file: Option<Vec<u8>>,
    pub(crate) tls_key_file: Option<Vec<u8>>,
    /// Whether its keys are in a security module.
    pub(crate) has_module: bool,
    pub(crate) store: Store,
    pub(crate) named: Vec<Named>,
}

impl Authority {
    /// What reports call it: its folder, `.` for the server's own.
    pub(crate) fn label(&self) -> String {
        match &self.folder[..] {
            [] => ".".to_owned(),
            folder => shown(folder),
        }
    }

    /// What the server calls it, as far as the home tells: of `cacount`, after the folder.
    pub(crate) fn called(&self) -> Option<String> {
        let folder = || (!self.folder.is_empty()).then(|| shown(home::split(&self.folder).1));
        self.name.clone().or_else(folder)
    }
}

/// All of them, in the order of their folders.
///
/// # Errors
/// `NotFound`: there is none; `SourceDamaged`: a config cannot be read.
pub(crate) fn find(home: &Home, installation: &Installation) -> Result<Vec<Authority>> {
    let mut configs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let own = CONFIGS[0].to_vec();
    let root = match home.resolve(&own) {
        Some(_) => read(home, &own)?,
        None => Settings::default(),
    };
    let root = root.with(installation.settings());
    let finder = Finder {
        home,
        installation,
        root: &root,
    };
    for path in home.nodes.keys() {
        let (folder, name) = home::split(path);
        if CONFIGS.contains(&name) {
            configs.insert(folder.to_vec(), path.clone());
        }
    }
    for file in root.list("cafiles") {
        if let Place::Inside(path) = finder.place(b"", file) {
            configs.insert(home::split(&path).0.to_vec(), path);
        }
    }
    let mut folders: BTreeSet<Vec<u8>> = configs.keys().cloned().collect();
    folders.extend(
        home.nodes
            .keys()
            .map(|path| home::split(path))
            .filter(|(folder, name)| is_authority(home, folder, name))
            .map(|(folder, _)| folder.to_vec()),
    );
    if folders.is_empty() {
        let message = format!(
            "`directory.{}` has no CA: neither a server's config nor a `{CERTIFICATE}` is in it",
            home::HOME
        );
        return Err(Error::new(ErrorKind::NotFound, message)
            .with_hint("grant the folder that the server has as its home (`FABRIC_CA_SERVER_HOME`), and see that it is mounted"));
    }
    folders
        .into_iter()
        .map(|folder| finder.authority(configs.get(&folder).cloned(), folder))
        .collect()
}

/// Whether a folder without a config is a CA's: it has a CA's certificate, and keys.
fn is_authority(home: &Home, folder: &[u8], name: &[u8]) -> bool {
    name == CERTIFICATE.as_bytes() && home.resolve(&home::below(folder, KEYSTORE.as_bytes())).is_some()
}

fn read(home: &Home, path: &[u8]) -> Result<Settings> {
    let damaged =
        |_| Error::new(ErrorKind::SourceDamaged, "it is no UTF-8").with_hint("repair it: the server does not start with it either");
    let text = home.content(path).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "it is no file of at most {} MiB whose name ends in `.yaml` or `.yml`",
                settings::MAX_BYTES >> 20
            ),
        )
        .with_hint("give the config such a name, in `cafiles` too")
    });
    text.and_then(|text| std::str::from_utf8(text).map_err(damaged))
        .and_then(Settings::parse)
        .context(|| format!("{} cannot be read", shown(path)))
}

struct Finder<'h> {
    home: &'h Home,
    installation: &'h Installation,
    /// The server's own settings, which stand in for what another CA's config does not say.
    root: &'h Settings,
}

impl Finder<'_> {
    fn authority(&self, config: Option<Vec<u8>>, folder: Vec<u8>) -> Result<Authority> {
        let own = config.as_deref().map(|path| read(self.home, path)).transpose()?.unwrap_or_default();
        // The environment is that of the server, and stands over the config of its own CA.
        let own = if folder.is_empty() {
            own.with(self.installation.settings())
        } else {
            own
        };
        let value = |path: &str| own.get(path).or_else(|| self.root.get(path));
        let place = |text: &str| self.place(&folder, text);
        let is_server = folder.is_empty() || own.get("port").is_some();
        let has_tls = is_server && own.get("tls.enabled").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let keystore = match place(value("bccsp.sw.filekeystore.keystore").unwrap_or(KEYSTORE)) {
            Place::Inside(path) => path,
            _ => home::below(&folder, KEYSTORE.as_bytes()),
        };
        let key_file = |text: &str| match place(text) {
            Place::Inside(path) => Some(path),
            _ => None,
        };
        let is_intermediate = value("intermediate.parentserver.url").is_some();
        Ok(Authority {
            name: own.get("ca.name").map(str::to_owned),
            certificate: place(value("ca.certfile").unwrap_or(CERTIFICATE)),
            tls_certificate: has_tls.then(|| place(own.get("tls.certfile").unwrap_or("tls-cert.pem"))),
            keystore,
            key_file: key_file(value("ca.keyfile").unwrap_or("ca-key.pem")),
            tls_key_file: own.get("tls.keyfile").and_then(key_file),
            chain: is_intermediate.then(|| place(value("ca.chainfile").unwrap_or("ca-chain.pem"))),
            has_module: value("bccsp.default").is_some_and(|name| name.eq_ignore_ascii_case("pkcs11")),
            store: match value("db.type").unwrap_or(SQLITE) {
                SQLITE => Store::Sqlite(place(value("db.datasource").unwrap_or("fabric-ca-server.db"))),
                POSTGRES => Store::Postgres(value("db.datasource").and_then(Datasource::parse)),
                other => Store::Server(other.to_owned()),
            },
            named: own
                .files()
                .map(|(setting, file)| Named {
                    setting: setting.to_owned(),
                    place: place(file),
                })
                .collect(),
            config,
            folder,
        })
    }

    /// Where a config in `folder` finds the file `text`.
    fn place(&self, folder: &[u8], text: &str) -> Place {
        let path = match text.strip_prefix('/') {
            None => home::below(folder, text.as_bytes()),
            Some(_) => {
                let inside = text
                    .strip_prefix(self.installation.server_home.trim_end_matches('/'))
                    .and_then(|rest| rest.strip_prefix('/'));
                match inside {
                    Some(rest) => rest.as_bytes().to_vec(),
                    None => return Place::Outside(text.to_owned()),
                }
            }
        };
        match self.home.follow(&path) {
            Lead::Inside(path) if self.home.nodes.get(&path).is_some_and(|node| node.kind != NodeType::Fifo) => Place::Inside(path),
            Lead::Outside => Place::Outside(text.to_owned()),
            _ if leaves(&path) => Place::Outside(text.to_owned()),
            _ => Place::Missing(shown(&path)),
        }
    }
}

/// Whether a relative path leads above where it begins.
fn leaves(path: &[u8]) -> bool {
    let mut depth = 0_i32;
    path.split(|byte| *byte == b'/').any(|part| {
        depth += match part {
            b"" | b"." => 0,
            b".." => -1,
            _ => 1,
        };
        depth < 0
    })
}

//! Which databases the CAs of a home have: [`Stores`], files in the home and databases on a server ([`Served`]).

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{Error, ErrorKind, Result};

use crate::{
    authority::{Authority, Place, Store},
    config::{Config, Database},
    database::postgres,
    datasource::Datasource,
};

/// The databases of a run, each with the CA that it belongs to.
#[derive(Default)]
pub(crate) struct Stores<'a> {
    /// In SQLite, by their paths in the home.
    pub(crate) files: BTreeMap<Vec<u8>, &'a Authority>,
    pub(crate) served: Served<'a>,
}

/// Databases on a PostgreSQL server, by their names.
#[derive(Default)]
pub(crate) struct Served<'a>(BTreeMap<String, (&'a Datasource, &'a Authority)>);

impl<'a> Served<'a> {
    /// Those of these CAs.
    pub(crate) fn of(authorities: &'a [Authority]) -> Self {
        let mut served = Self::default();
        for authority in authorities {
            if let Store::Postgres(Some(source)) = &authority.store {
                served.0.entry(source.database.clone()).or_insert((source, authority));
            }
        }
        served
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(crate) fn authority(&self, database: &str) -> Option<&'a Authority> {
        self.0.get(database).map(|(_, authority)| *authority)
    }

    pub(crate) fn folders(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.values().map(|(_, authority)| &authority.folder)
    }

    /// Only those that are chosen.
    pub(crate) fn retain(&mut self, mut is_chosen: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| is_chosen(name));
    }

    /// Where the first CA's config has it.
    pub(crate) fn server(&self) -> &str {
        self.0.values().next().map_or("", |(source, _)| &source.server)
    }

    /// The role, where the configs agree on one.
    pub(crate) fn user(&self) -> Option<String> {
        let users: BTreeSet<_> = self.0.values().map(|(source, _)| source.user.as_ref()).collect();
        match users.len() {
            1 => users.into_iter().next().flatten().cloned(),
            _ => None,
        }
    }

    /// One endpoint is one server.
    fn refuse_several(&self) -> Result<()> {
        let servers: BTreeSet<_> = self.0.values().map(|(source, _)| &source.server[..]).collect();
        if servers.len() < 2 {
            return Ok(());
        }
        let named: Vec<_> = servers.into_iter().collect();
        let message = format!("the CAs have their databases on several servers: {}", named.join(", "));
        Err(Error::unsupported(message).with_setting("database").with_hint(format!(
            "`endpoint.{}` leads to one: let the configs name it alike, or back the databases up with the plugin `postgres`, and set `database = \"elsewhere\"` here",
            postgres::ENDPOINT
        )))
    }
}

impl<'a> Stores<'a> {
    /// The databases that the config says are to be stored.
    ///
    /// # Errors
    /// `Unsupported`: a CA has another kind; `NotFound`: one is not where the config says; `SourceDamaged`: a config names none.
    pub(crate) fn of(config: &Config, authorities: &'a [Authority]) -> Result<Self> {
        let mut stores = Self::default();
        for authority in authorities {
            match &authority.store {
                Store::Sqlite(Place::Inside(path)) => _ = stores.files.entry(path.clone()).or_insert(authority),
                _ if config.database == Database::Elsewhere => {}
                Store::Sqlite(Place::Missing(file) | Place::Outside(file)) => return Err(not_in_home(authority, file)),
                Store::Postgres(Some(_)) => {}
                Store::Postgres(None) => return Err(without_name(authority)),
                Store::Server(kind) => return Err(of_another_kind(authority, kind)),
            }
        }
        if config.database == Database::Home {
            stores.served = Served::of(authorities);
            stores.served.refuse_several()?;
        }
        Ok(stores)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.served.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len() + self.served.len()
    }
}

fn not_in_home(authority: &Authority, file: &str) -> Error {
    let message = format!("the database {file} of the CA {} is not in the home", authority.label());
    Error::new(ErrorKind::NotFound, message).with_setting("server-home").with_hint(
        "set `server-home` to the path at which the server sees its home, and grant a `directory.home` that has the database; where the server was told \
         another database by a flag, say so in its config; where somebody else backs it up, set `database = \"elsewhere\"`",
    )
}

fn without_name(authority: &Authority) -> Error {
    let message = format!("the config of the CA {} does not tell the name of its database", authority.label());
    Error::new(ErrorKind::SourceDamaged, message)
        .with_hint("set `db.datasource` in the server's config as Fabric CA reads it: `host=… port=5432 user=… dbname=fabric_ca sslmode=…`")
}

fn of_another_kind(authority: &Authority, kind: &str) -> Error {
    let message = format!(
        "the database of the CA {} is of the type `{kind}`, which this plugin cannot read",
        authority.label()
    );
    Error::unsupported(message)
        .with_setting("database")
        .with_hint("back that database up by its own means, and set `database = \"elsewhere\"` here, so that this pipeline stores the home")
}

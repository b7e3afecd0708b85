//! A snapshot back in its place: the home ([`home`]), databases in PostgreSQL ([`database`]), all of it or what is asked for.

mod database;
mod home;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    source::{RestoreRequest, RestoreResult},
};

use crate::config::{Config, RestoreOptions};

/// Writes what is asked for. The home is looked at first and written last: a database that is refused leaves everything as it is.
pub(crate) fn restore(config: &Config, request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    let home = home::Restore::plan(&options, request)?;
    let database = database::restore(config, &options, request)?;
    match (home, database) {
        (None, None) => Err(nothing()),
        (None, Some(database)) => Ok(database),
        (Some(home), None) => home.write(),
        (Some(home), Some(database)) => Ok(both(home.write()?, database)),
    }
}

fn nothing() -> Error {
    Error::new(ErrorKind::NotFound, "the snapshot has nothing at the paths that were asked for, of the home or of a database").with_hint(
        "`bulkhead ls` lists what is in it: `home/ca/ca1` is one CA of several, `home/fabric-ca-server.db` its database in SQLite, `database/databases/NAME` one in PostgreSQL",
    )
}

fn both(mut home: RestoreResult, database: RestoreResult) -> RestoreResult {
    home.entries += database.entries;
    home.bytes += database.bytes;
    home.facts.extend(database.facts);
    home.findings.extend(database.findings);
    home
}

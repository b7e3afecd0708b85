//! A CA's database in SQLite, the server's default: [`census`].

use bulkhead_sdk::Result;
use bulkhead_sqlite_image::{Contents, Engine, Row, RowResult};

use super::{Census, Identity, Issued, Reading, TABLES, Terms, no_database_of_a_ca};
use crate::inventory::Line;

const AFFILIATIONS: &str = "SELECT CAST(name AS TEXT) FROM affiliations ORDER BY name";
const USERS: &str = "SELECT CAST(id AS TEXT), coalesce(CAST(type AS TEXT), ''), coalesce(CAST(affiliation AS TEXT), ''), coalesce(CAST(attributes AS TEXT), ''), \
                     coalesce(state, 0), coalesce(max_enrollments, 0) FROM users ORDER BY id";
const CERTIFICATES: &str = "SELECT coalesce(CAST(id AS TEXT), ''), CAST(serial_number AS TEXT), CAST(authority_key_identifier AS TEXT), CAST(status AS TEXT), reason, \
                            CAST(revoked_at AS TEXT), CAST(pem AS TEXT) FROM certificates ORDER BY serial_number, authority_key_identifier";

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
        return Err(no_database_of_a_ca(missing));
    }
    for (name, rows) in &contents.rows {
        let (ca, name, rows) = (ca.to_owned(), name.clone(), *rows);
        add(&Line::Table { ca, name, rows })?;
    }
    let mut reading = Reading::new(ca, terms);
    engine.each(AFFILIATIONS, |row| row.get(0), |name| add(&reading.affiliation(name)))?;
    engine.each(USERS, identity, |row| add(&reading.identity(row)))?;
    engine.each(CERTIFICATES, issued, |row| add(&reading.certificate(row)))?;
    Ok(reading.end())
}

fn identity(row: &Row<'_>) -> RowResult<Identity> {
    Ok(Identity {
        id: row.get(0)?,
        kind: row.get(1)?,
        affiliation: row.get(2)?,
        attributes: row.get(3)?,
        state: row.get(4)?,
        max_enrollments: row.get(5)?,
    })
}

fn issued(row: &Row<'_>) -> RowResult<Issued> {
    Ok(Issued {
        id: row.get(0)?,
        serial: row.get(1)?,
        aki: row.get(2)?,
        status: row.get(3)?,
        reason: row.get(4)?,
        revoked_at: row.get(5)?,
        pem: row.get(6)?,
    })
}

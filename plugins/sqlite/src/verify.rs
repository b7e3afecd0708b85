//! Whether the databases of a snapshot are what was backed up: [`verify`]. SQLite checks each, and counts anew.

use std::rc::Rc;

use bulkhead_sdk::{ErrorKind, Result, progress, snapshot, types::Finding};

use bulkhead_sqlite_image::{Check, Engine, Verdict};

use crate::inventory::{Inventory, Record};

const HINT: &str = "restore from another snapshot";

/// Checks all of them.
pub(crate) fn verify() -> Result<Vec<Finding>> {
    let inventory = Inventory::stored()?;
    let mut findings = Vec::new();
    for (name, record) in &inventory.databases {
        progress::report(&format!("checking {name}"), 0, None);
        findings.push(match compare(name, record) {
            // Damage is what a verification is there to find; anything else keeps it from being made.
            Err(error) if matches!(error.kind, ErrorKind::SourceDamaged | ErrorKind::Corrupt | ErrorKind::NotFound) => {
                Finding::error("database-damaged", format!("{name}: {error}")).with_hint(HINT)
            }
            finding => finding?,
        });
    }
    Ok(findings)
}

fn compare(name: &str, record: &Record) -> Result<Finding> {
    let entry = snapshot::open(record.path.as_deref().unwrap_or(name.as_bytes()))?;
    let size = entry.size();
    if size != record.bytes {
        let message = format!("{name} has {size} bytes, the inventory says {}", record.bytes);
        return Ok(Finding::error("proof-differs", message).with_hint(HINT));
    }
    let Some(expected) = &record.contents else {
        let message = format!(
            "{name} was not checked when it was backed up ({}), and is not now",
            record.integrity
        );
        return Ok(Finding::info("database-unchecked", message));
    };
    let engine = Engine::open(Rc::new(entry))?;
    if let Verdict::Unknown(reason) = engine.check(Check::Full)? {
        return Ok(Finding::warning(
            "integrity-unknown",
            format!("SQLite could not check {name} by itself: {reason}"),
        ));
    }
    let found = engine.contents()?;
    if found != *expected {
        let differs = |(table, rows): &(&String, &i64)| found.rows.get(*table) != Some(rows);
        let message = match expected.rows.iter().find(differs) {
            Some((table, rows)) => format!(
                "{name} has {} rows in {table}, the inventory says {rows}",
                found.rows.get(table).map_or_else(|| "no".to_owned(), i64::to_string)
            ),
            None => format!("{name} has another schema than the inventory says"),
        };
        return Ok(Finding::error("proof-differs", message).with_hint(HINT));
    }
    let rows: i64 = found.rows.values().sum();
    let message = format!("{name}: SQLite's integrity check passes; {} tables, {rows} rows", found.rows.len());
    Ok(Finding::info("database-verified", message))
}

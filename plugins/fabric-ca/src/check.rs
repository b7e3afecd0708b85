//! Preflight: which CAs the home has, whether their databases can be held, and what a run would find wrong with keys and certificates.

use std::collections::BTreeMap;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Result, directory,
    types::{Finding, Timestamp},
};
use bulkhead_sqlite_image::{Image, Pages as _};

use crate::{
    api, authority,
    backup::seconds,
    config::{Config, Database},
    database::postgres,
    home::{HOME, Home, shown},
    inspect::{self, Certificates},
    installation::Installation,
    stores::{Served, Stores},
};

/// Looks at everything, and reads no database.
pub(crate) fn check(config: &Config, exclude: &Patterns, keys_elsewhere: &Patterns) -> Result<Vec<Finding>> {
    let folder = directory::open(HOME)?;
    let home = Home::live(&folder, exclude)?;
    let installation = Installation::of(config);
    let authorities = authority::find(&home, &installation)?;
    let mut findings = Vec::new();
    for authority in &authorities {
        let name = authority.called().map(|name| format!(" ({name})")).unwrap_or_default();
        findings.push(Finding::info("authority-found", format!("the CA {}{name}", authority.label())));
    }
    match Stores::of(config, &authorities) {
        Err(error) => findings.push(Finding::of_error("database-unusable", &error)),
        Ok(stores) => {
            for path in stores.files.keys() {
                let name = shown(path);
                let probed = Image::probe(&folder, path, &name, config.busy_timeout.0);
                let found_one = |image: Image| Finding::info("database-found", format!("{name}: {} bytes", image.size()));
                findings.push(probed.map_or_else(|finding| finding, found_one));
            }
            findings.extend(served(config, &stores.served).unwrap_or_else(|error| vec![Finding::of_error("database-unusable", &error)]));
        }
    }
    let terms = inspect::Terms {
        now: Timestamp::now().seconds,
        within: seconds(config),
        keys_elsewhere,
        database_elsewhere: config.database == Database::Elsewhere,
    };
    let certificates = Certificates::of(&home);
    let inspection = inspect::inspect(&home, &installation, &authorities, &certificates, &BTreeMap::new(), &terms);
    findings.extend(inspection.findings);
    if api::is_granted() {
        findings.push(api::check(&authorities, &certificates).unwrap_or_else(|error| Finding::of_error("api-unusable", &error)));
    }
    Ok(findings)
}

/// Whether the server of the databases lets the role in, and lets it read.
fn served(config: &Config, served: &Served<'_>) -> Result<Vec<Finding>> {
    match served.is_empty() {
        true => Ok(Vec::new()),
        false => bulkhead_postgres_logical::check(&postgres::settings(config, served)?),
    }
}

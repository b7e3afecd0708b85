//! What a home's own files do not tell of its server: where it sees the home, and what its environment says ([`Installation`]).
//!
//! Source: Fabric CA's server reads each setting of its config from a variable too, `FABRIC_CA_SERVER_` and the setting's name in capitals with `_` for `.`, which comes
//! first. So a manifest of Kubernetes that names the database leaves a config in the home which does not.

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, Result, directory};
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    home::HOME,
    inventory::{self, Line},
};

/// What the variables begin with.
const PREFIX: &str = "FABRIC_CA_SERVER_";

/// How the server of a home is installed. It is stored with the home, and has no secrets in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Installation {
    /// Where it sees the home.
    pub(crate) server_home: String,
    /// Variables of its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) environment: BTreeMap<String, String>,
}

impl Installation {
    /// As the operator's config has it; the directory is seen where it was granted, by default.
    pub(crate) fn of(config: &Config) -> Self {
        let granted = || {
            directory::grants()
                .into_iter()
                .find(|grant| grant.name == HOME)
                .map(|grant| grant.location)
        };
        Self {
            server_home: config.server_home.clone().or_else(granted).unwrap_or_default(),
            environment: config.environment.clone(),
        }
    }

    /// As it was when the home was backed up.
    pub(crate) fn stored() -> Result<Self> {
        let first = inventory::stored(inventory::HOME)?.next().transpose()?.unwrap_or_default();
        match inventory::line(&first)? {
            Line::Home(installation) => Ok(installation),
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} does not begin with the home", inventory::HOME),
            )),
        }
    }

    /// Settings that the environment makes: their dotted paths, and what they are.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (String, &str)> {
        let settings = self.environment.iter();
        settings.filter_map(|(name, value)| Some((path(name)?, &value[..])))
    }
}

/// The setting that a variable stands for; `None` where it is none of the server's.
fn path(variable: &str) -> Option<String> {
    let setting = variable.strip_prefix(PREFIX).filter(|setting| !setting.is_empty())?;
    Some(setting.to_lowercase().replace('_', "."))
}

/// Refuses variables that are not the server's, and secrets: what is in here is stored with the home.
pub(crate) fn check(environment: &BTreeMap<String, String>) -> Result<()> {
    for (variable, value) in environment {
        let wrong = |what: &str| Error::config("environment", format!("`{variable}` {what}"));
        let Some(setting) = path(variable) else {
            return Err(wrong("is no setting of the server").with_hint(format!("its variables begin with `{PREFIX}`")));
        };
        if setting.contains("pass") || setting.ends_with("url") || value.to_lowercase().contains("password") {
            return Err(wrong("has a password in it").with_hint("leave the password, or the variable, out: it is not needed here"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn checked(variable: &str, value: &str) -> Result<()> {
        check(&BTreeMap::from([(variable.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_variable_is_a_setting() {
        let installation = Installation {
            environment: BTreeMap::from([("FABRIC_CA_SERVER_DB_TYPE".to_owned(), "postgres".to_owned())]),
            ..Installation::default()
        };
        assert_eq!(installation.settings().collect::<Vec<_>>(), [("db.type".to_owned(), "postgres")]);
    }

    #[test]
    fn other_variables_and_secrets_are_refused() {
        checked("FABRIC_CA_SERVER_DB_DATASOURCE", "host=db dbname=fabric_ca").unwrap();
        assert!(checked("FABRIC_CA_SERVER_DB_DATASOURCE", "host=db password=x dbname=fabric_ca").is_err());
        assert!(checked("FABRIC_CA_SERVER_INTERMEDIATE_PARENTSERVER_URL", "https://a:b@ca").is_err());
        assert!(checked("FABRIC_CA_SERVER_", "x").is_err());
        assert!(checked("PATH", "/bin").is_err());
    }
}

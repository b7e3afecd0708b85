//! What a plugin gets: what its `describe` asks for and the operator grants, and nothing else.

use std::collections::BTreeMap;

use crate::capabilities::{Granted, grant_hint};
use crate::description::{Description, Operation, Operations};
use crate::grants::{DirectoryGrant, EndpointGrant, Grants, SecretGrant, UnusedGrant};
use crate::v0_1::Capabilities;
use crate::{Access, LoadError, MissingGrant, Plugin, PluginError};

const ENDPOINT_EXAMPLE: &str = "{ address = \"host:port\" }";
const DIRECTORY_EXAMPLE: &str = "{ path = \"/…\", access = \"read-only\" }";
const WRITABLE_EXAMPLE: &str = "{ path = \"/…\", access = \"read-write\" }";
const SECRET_EXAMPLE: &str = "{ file = \"/…\", reveal = true }";

/// The rights of one use of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    pub(crate) table: String,
    pub(crate) capabilities: Capabilities,
    grants: Grants,
    pub(crate) unused: Vec<UnusedGrant>,
}

/// One thing that a plugin asks for, of any kind.
struct Wanted<'a> {
    kind: &'static str,
    example: &'static str,
    name: &'a str,
    purpose: &'a str,
    required_for: &'a Operations,
}

/// Whether a grant's name is one that a request stands for: a trailing `*` is a prefix.
fn stands_for(request: &str, name: &str) -> bool {
    match request.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => request == name,
    }
}

fn wanted(description: &Description) -> Vec<Wanted<'_>> {
    let endpoints = description
        .endpoints
        .iter()
        .map(|r| ("endpoint", ENDPOINT_EXAMPLE, &r.name, &r.purpose, &r.required_for));
    let directories = description.directories.iter().map(|r| {
        let example = if r.access == Access::ReadWrite {
            WRITABLE_EXAMPLE
        } else {
            DIRECTORY_EXAMPLE
        };
        ("directory", example, &r.name, &r.purpose, &r.required_for)
    });
    let secrets = description
        .secrets
        .iter()
        .map(|r| ("secret", SECRET_EXAMPLE, &r.name, &r.purpose, &r.required_for));
    let wanted = endpoints.chain(directories).chain(secrets);
    wanted
        .map(|(kind, example, name, purpose, required_for)| Wanted {
            kind,
            example,
            name,
            purpose,
            required_for,
        })
        .collect()
}

impl Rights {
    /// Narrows `grants` to what the plugin asks for. A component that imports a capability that it does not ask for is refused.
    pub(crate) fn new(plugin: &Plugin, table: &str, mut grants: Grants) -> Result<Self, LoadError> {
        let description = plugin.description();
        let wanted = wanted(description);
        let asks = |kind: &str| wanted.iter().any(|wanted| wanted.kind == kind);
        let capabilities = Capabilities {
            kind: plugin.kind(),
            endpoint: asks("endpoint"),
            http: asks("endpoint"),
            directory: asks("directory"),
            secrets: asks("secret"),
        };
        check_imports(plugin.imports(), &capabilities, table)?;
        let mut unused = Vec::new();
        retain(&mut grants.endpoints, "endpoint", table, &wanted, &mut unused);
        retain(&mut grants.directories, "directory", table, &wanted, &mut unused);
        retain(&mut grants.secrets, "secret", table, &wanted, &mut unused);
        for request in &description.directories {
            let narrowed = grants.directories.iter_mut().filter(|(name, _)| stands_for(&request.name, name));
            narrowed.for_each(|(_, grant)| grant.access = grant.access.min(request.access));
        }
        Ok(Self {
            table: table.to_owned(),
            capabilities,
            grants,
            unused,
        })
    }

    /// Whether everything is there that `operation` cannot work without; of any operation, where none is named.
    pub(crate) fn check(&self, description: &Description, operation: Option<Operation>) -> Result<(), PluginError> {
        for wanted in wanted(description) {
            let required = match operation {
                Some(operation) => wanted.required_for.contains(operation).then_some(operation),
                None => wanted.required_for.iter().next(),
            };
            let Some(operation) = required.filter(|_| !self.has(&wanted)) else {
                continue;
            };
            let name = wanted.name.replace('*', "NAME");
            let (kind, example, table) = (wanted.kind, wanted.example, &self.table);
            return Err(PluginError::Grant(MissingGrant {
                plugin: description.name.clone(),
                operation,
                grant: format!("{kind}.{name}"),
                purpose: wanted.purpose.to_owned(),
                hint: grant_hint(kind, &name, example, table),
            }));
        }
        Ok(())
    }

    fn has(&self, wanted: &Wanted<'_>) -> bool {
        fn any<T>(grants: &BTreeMap<String, T>, request: &str) -> bool {
            grants.keys().any(|name| stands_for(request, name))
        }
        match wanted.kind {
            "endpoint" => any(&self.grants.endpoints, wanted.name),
            "directory" => any(&self.grants.directories, wanted.name),
            _ => any(&self.grants.secrets, wanted.name),
        }
    }

    pub(crate) fn endpoints(&self) -> Granted<EndpointGrant> {
        Granted::new(&self.table, "endpoint", ENDPOINT_EXAMPLE, self.grants.endpoints.clone())
    }

    pub(crate) fn directories(&self) -> Granted<DirectoryGrant> {
        // Where all that is granted may be written to, as in the target of a restore, the missing one is meant to be.
        let is_written = |grants: &BTreeMap<String, DirectoryGrant>| {
            !grants.is_empty() && grants.values().all(|grant| grant.access == Access::ReadWrite)
        };
        let example = if is_written(&self.grants.directories) {
            WRITABLE_EXAMPLE
        } else {
            DIRECTORY_EXAMPLE
        };
        Granted::new(&self.table, "directory", example, self.grants.directories.clone())
    }

    pub(crate) fn secrets(&self) -> Granted<SecretGrant> {
        Granted::new(&self.table, "secret", SECRET_EXAMPLE, self.grants.secrets.clone())
    }
}

fn check_imports(imports: &[String], capabilities: &Capabilities, table: &str) -> Result<(), LoadError> {
    for import in imports {
        let (linked, kind, example) = match crate::imports::capability(import) {
            Some("endpoint") => (capabilities.endpoint, "endpoint", ENDPOINT_EXAMPLE),
            Some("http") => (capabilities.http, "endpoint", "{ url = \"https://…\" }"),
            Some("directory") => (capabilities.directory, "directory", DIRECTORY_EXAMPLE),
            Some("secrets") => (capabilities.secrets, "secret", SECRET_EXAMPLE),
            _ => continue,
        };
        if !linked {
            let hint = format!("its author must ask for it in `describe`; then `{kind}.NAME = {example}` in [{table}] grants it");
            return Err(LoadError::UngrantedImport {
                import: import.clone(),
                table: table.to_owned(),
                hint,
            });
        }
    }
    Ok(())
}

/// Drops the grants that the plugin does not ask for, and notes them.
fn retain<T>(grants: &mut BTreeMap<String, T>, kind: &str, table: &str, wanted: &[Wanted<'_>], unused: &mut Vec<UnusedGrant>) {
    let names: Vec<&str> = wanted
        .iter()
        .filter(|wanted| wanted.kind == kind)
        .map(|wanted| wanted.name)
        .collect();
    grants.retain(|name, _| {
        let used = names.iter().any(|request| stands_for(request, name));
        if !used {
            let wanted = names.iter().map(|name| (*name).to_owned()).collect();
            unused.push(UnusedGrant {
                path: format!("{table}.{kind}.{name}"),
                wanted,
            });
        }
        used
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PluginKind;

    #[test]
    fn an_import_that_is_neither_asked_for_nor_granted_is_named() {
        let none = Capabilities {
            kind: PluginKind::Source,
            endpoint: false,
            http: false,
            directory: true,
            secrets: false,
        };
        let imports = |names: &[&str]| names.iter().map(|name| format!("bulkhead:plugin/{name}@0.1.0")).collect::<Vec<_>>();
        assert!(check_imports(&imports(&["log", "entries", "directory"]), &none, "pipeline.x").is_ok());
        for (name, line) in [
            ("endpoint", "endpoint.NAME = { address"),
            ("http", "endpoint.NAME = { url"),
            ("secrets", "secret.NAME = { file"),
        ] {
            let Err(LoadError::UngrantedImport { import, table, hint }) = check_imports(&imports(&["log", name]), &none, "pipeline.x")
            else {
                unreachable!("{name} must be refused");
            };
            assert_eq!((import, table), (format!("bulkhead:plugin/{name}@0.1.0"), "pipeline.x".to_owned()));
            assert!(hint.contains(line) && hint.contains("[pipeline.x]"), "{hint}");
        }
    }

    #[test]
    fn a_star_stands_for_any_rest_of_a_name() {
        assert!(stands_for("shard-*", "shard-1") && stands_for("*", "x") && stands_for("a", "a"));
        assert!(!stands_for("shard-*", "other") && !stands_for("a", "ab"));
    }
}

//! Vaults that are fed from others: what is copied, and that nothing gets where it must not be.

use serde::Serialize;

use crate::{
    Config,
    diagnostic::{Diagnostic, Report},
    parts::{Sink, Vault},
    policy::Retention,
    reader::{Fields, Reader, reference},
};

/// What a vault gets from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Copy {
    /// The other vault.
    pub from: String,
    /// Which snapshots of each pipeline, by the rules of a retention; all where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Retention>,
}

impl Copy {
    pub(crate) fn read(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let path = fields.path_of("copy");
        let mut inner = Fields::open_entry(fields.entry("copy")?, &path, reader)?;
        let from = match inner.entry("from") {
            Some(entry) => reference(
                &entry.node,
                &format!("{path}.from"),
                "vault",
                &reader.names.vaults,
                &mut reader.report,
            ),
            None => inner.required("from", "\"VAULT\"", reader),
        };
        let select = Retention::read("select", &mut inner, reader);
        inner.close(reader);
        Some(Self { from: from?, select })
    }
}

impl Config {
    /// The vaults whose data gets into `vault`: the one that it is fed from, the one that this is fed from, and so on; each once.
    fn origins<'c>(&'c self, vault: &'c Vault) -> Vec<&'c Vault> {
        let from = |vault: &Vault| vault.copy.as_ref().and_then(|copy| self.vault(&copy.from));
        let mut origins: Vec<&Vault> = Vec::new();
        let mut next = from(vault);
        while let Some(origin) = next.filter(|next| origins.iter().all(|known| known.name != next.name)) {
            origins.push(origin);
            next = from(origin);
        }
        origins
    }

    /// Names of the vaults whose data gets into the one called `vault`: that which it is fed from comes first. Empty where it is fed from none.
    #[must_use]
    pub fn feeders(&self, vault: &str) -> Vec<&str> {
        let origins = self.vault(vault).map(|vault| self.origins(vault)).unwrap_or_default();
        origins.into_iter().map(|origin| origin.name.as_str()).collect()
    }
}

/// No vault is fed from itself, be it through others.
pub(crate) fn check_origins(config: &Config, report: &mut Report) {
    for vault in &config.vaults {
        if config.origins(vault).iter().any(|origin| origin.name == vault.name) {
            let message = format!("the vault `{}` is fed from itself", vault.name);
            report.push(Diagnostic::error(message, vault.origin.find("copy.from")).help("name the vault that the pipelines write to"));
        }
    }
}

/// What a vault with a residency has does not leave its regions: neither by its own sinks nor by those of a vault that is fed from it.
pub(crate) fn check_residency(config: &Config, report: &mut Report) {
    for vault in &config.vaults {
        let origins = std::iter::once(vault).chain(config.origins(vault));
        for origin in origins.filter(|origin| !origin.residency.is_empty()) {
            for (at, name) in vault.sinks.iter().enumerate() {
                let Some(sink) = config.sink(name) else { continue };
                if let Some(diagnostic) = misplaced(origin, sink, &format!("sinks.{at}"), vault) {
                    report.push(diagnostic);
                }
            }
        }
    }
}

/// That the data of `origin` must not be on `sink`, which the setting `at` of `vault` names.
fn misplaced(origin: &Vault, sink: &Sink, at: &str, vault: &Vault) -> Option<Diagnostic> {
    let span = vault.origin.find(at);
    let diagnostic = match &sink.region {
        Some(region) if origin.residency.contains(region) => return None,
        Some(region) => Diagnostic::error(
            format!("the data of vault `{}` must not be in region `{region}`", origin.name),
            span,
        )
        .related(sink.origin.find("region"), format!("the sink `{}` is here", sink.name))
        .help(format!("use a sink in one of {}", origin.residency.join(", "))),
        None => {
            let message = format!(
                "vault `{}` has a residency, but the sink `{}` does not say where it is",
                origin.name, sink.name
            );
            Diagnostic::error(message, span)
                .related(sink.origin.place.clone(), "`region` is missing here")
                .help(format!("add `region = \"…\"` to `[sink.{}]`", sink.name))
        }
    };
    let diagnostic = diagnostic.related(origin.origin.find("residency"), "allowed regions");
    Some(if origin.name == vault.name {
        diagnostic
    } else {
        diagnostic.related(vault.origin.find("copy.from"), "copied from there")
    })
}

//! `bulkhead check`: tries everything that a run would need, before the first run, and says which line of the TOML to change.

use std::collections::BTreeSet;

use bulkhead_config::Pipeline;
use bulkhead_model::{Finding, Severity};
use bulkhead_vault::{Hint as _, KeyInfo, ObjectStore as _, Vault};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    failure::{Explain as _, Failure, FailureClass, Site},
    host::pipeline_site,
    object_lock,
    operation::{Interrupted, Operation},
    status,
};

/// What was found at one table of the TOML.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckedPart {
    /// The table.
    pub table: String,
    /// What was found; nothing is good.
    pub findings: Vec<Finding>,
    /// Where the table is written.
    #[serde(skip)]
    pub site: Site,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// Every sink, vault and pipeline that was checked.
    pub parts: Vec<CheckedPart>,
}

impl CheckReport {
    /// Whether a run would fail.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings are that serious.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.parts
            .iter()
            .flat_map(|part| &part.findings)
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// Checks `pipelines`, their vaults and sinks; each part once.
///
/// # Errors
/// Only when interrupted: whatever else goes wrong is a finding.
pub async fn check(operation: &Operation, pipelines: &[&Pipeline]) -> Result<CheckReport, Interrupted> {
    operation.until_interrupted(None, check_all(operation, pipelines)).await
}

async fn check_all(operation: &Operation, pipelines: &[&Pipeline]) -> CheckReport {
    let mut parts = Vec::new();
    let vaults: BTreeSet<&str> = pipelines.iter().map(|pipeline| pipeline.vault.as_str()).collect();
    let vaults: Vec<_> = vaults.iter().filter_map(|name| operation.config.vault(name)).collect();
    let sinks: BTreeSet<&str> = vaults.iter().flat_map(|vault| &vault.sinks).map(String::as_str).collect();
    for name in sinks {
        parts.extend(check_sink(operation, name).await);
    }
    for vault in vaults {
        parts.push(check_vault(operation, vault).await);
    }
    for pipeline in pipelines {
        parts.push(check_source(operation, pipeline).await);
    }
    CheckReport { parts }
}

async fn check_sink(operation: &Operation, name: &str) -> Option<CheckedPart> {
    operation.progress.phase(&format!("checking sink {name}"), None);
    let site = crate::host::sink_site(operation.config.sink(name)?);
    let findings = match operation.host.sink(&operation.config, name, &operation.sink_context()).await {
        Err(error) => vec![finding("sink-unusable", &error.explain())],
        Ok(store) => match store.pool().check().await {
            Ok(mut findings) => {
                findings.extend(object_lock::check(&store).await);
                findings
            }
            Err(error) => vec![finding("sink-check-failed", &Failure::of_plugin(&error))],
        },
    };
    Some(CheckedPart {
        table: site.table.clone(),
        findings,
        site,
    })
}

async fn check_vault(operation: &Operation, vault: &bulkhead_config::Vault) -> CheckedPart {
    operation.progress.phase(&format!("opening vault {}", vault.name), None);
    let site = vault_site(vault);
    let mut findings = Vec::new();
    if let Some(message) = crate::secrets::exposed(&vault.key) {
        findings.push(Finding {
            severity: Severity::Warning,
            code: "key-exposed".into(),
            message,
            hint: None,
            setting: Some("key".into()),
        });
    }
    let opened = async {
        let sinks = operation.sinks(vault).await?;
        let opened = operation.open(vault, &sinks).await?;
        Ok::<_, AccessError>((sinks, opened))
    };
    match opened.await {
        Err(AccessError::Build(_)) => {} // said at the sink
        Err(error) => {
            let mut failure = error.explain();
            // A setting of the sink's is nothing to be shown in the vault's table.
            failure
                .setting
                .take_if(|_| failure.site.as_ref().is_some_and(|found| found.table != site.table));
            findings.push(finding("vault-not-usable", &failure));
        }
        Ok((sinks, opened)) => {
            if let Err(error) = opened.expect_writable() {
                let failure = Failure::of_vault(FailureClass::Config, &error, error.hint());
                findings.push(finding("vault-not-writable", &failure));
            }
            findings.extend(old_keys(&opened, vault).await);
            for sink in &sinks.further {
                if matches!(sink.stat("config").await, Ok(None)) {
                    findings.push(Finding {
                        severity: Severity::Info,
                        code: "replica-empty".into(),
                        message: format!("the sink `{}` holds nothing of this vault yet", sink.name()),
                        hint: Some("the next run fills it".into()),
                        setting: Some("sinks".into()),
                    });
                }
            }
        }
    }
    CheckedPart {
        table: site.table.clone(),
        findings,
        site,
    }
}

/// The keys that are older than the vault's `key-max-age`. A key file does not say when it was last used.
async fn old_keys(opened: &Vault, vault: &bulkhead_config::Vault) -> Vec<Finding> {
    let keys = match opened.keys().await {
        Ok(keys) => keys,
        Err(error) => {
            let failure = Failure::of_vault(FailureClass::Damaged, &error, error.hint());
            return vec![finding("keys-not-readable", &failure)];
        }
    };
    let old = |key: KeyInfo| {
        let id = &key.id.to_string()[..8];
        let seconds = status::age_of(&key)?;
        (seconds > vault.key_max_age.0.as_secs()).then(|| Finding {
            severity: Severity::Warning,
            code: "key-old".into(),
            message: format!("the key {id} was made {} days ago", seconds / 86_400),
            hint: Some(format!(
                "`bulkhead key add {0}` a new one, let `key` name it, then `bulkhead key remove {0} {id}`",
                vault.name
            )),
            setting: Some("key-max-age".into()),
        })
    };
    keys.into_iter().filter_map(old).collect()
}

async fn check_source(operation: &Operation, pipeline: &Pipeline) -> CheckedPart {
    operation.progress.phase(&format!("checking {}", pipeline.name), None);
    let site = pipeline_site(pipeline);
    let mut findings: Vec<Finding> = exposed_secrets(pipeline);
    match operation.host.source(&operation.config, pipeline).await {
        Err(error) => findings.push(finding("source-unusable", &error.explain())),
        Ok((source, _)) => match source.check(&operation.context()).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(finding("source-check-failed", &Failure::of_plugin(&error))),
        },
    }
    CheckedPart {
        table: site.table.clone(),
        findings,
        site,
    }
}

fn exposed_secrets(pipeline: &Pipeline) -> Vec<Finding> {
    let exposed = |secret: &bulkhead_config::Secret| {
        crate::secrets::exposed(&secret.source).map(|message| Finding {
            severity: Severity::Warning,
            code: "secret-exposed".into(),
            message,
            hint: None,
            setting: Some(format!("secret.{}", secret.name)),
        })
    };
    pipeline.grants.secrets.iter().filter_map(exposed).collect()
}

fn finding(code: &str, failure: &Failure) -> Finding {
    let severity = if failure.class == FailureClass::Cancelled {
        Severity::Info
    } else {
        Severity::Error
    };
    Finding {
        severity,
        code: code.to_owned(),
        message: failure.to_string(),
        hint: failure.hint.clone(),
        setting: failure.setting.clone(),
    }
}

//! Translates what the operator wrote (types of the configuration) into what the plugin runtime takes.

use std::sync::Arc;

use bulkhead_config as config;
use bulkhead_config::{ByteSize, DefaultLimits, Period};
use bulkhead_runtime as runtime;
use bulkhead_runtime::PluginKind;

use crate::{aws::ConfiguredAwsCredentials, oauth::AccessTokens, secrets::Secrets};

pub(crate) fn source_defaults() -> runtime::Limits {
    runtime::Limits::default_for(PluginKind::Source)
}

pub(crate) fn sink_defaults() -> runtime::Limits {
    runtime::Limits::default_for(PluginKind::Sink)
}

/// Limits where nothing is set, for plans.
#[must_use]
pub fn default_limits() -> DefaultLimits {
    DefaultLimits {
        source: shown(source_defaults()),
        sink: shown(sink_defaults()),
    }
}

fn shown(limits: runtime::Limits) -> config::Limits {
    config::Limits {
        memory: Some(ByteSize(limits.memory)),
        cpu: Some(Period(limits.cpu)),
        wall_clock: Some(Period(limits.wall_clock)),
        call_timeout: Some(Period(limits.call_timeout)),
        host_calls: Some(limits.host_calls),
        resources: Some(limits.resources),
        component_instances: Some(limits.component_instances),
        bytes_written: Some(ByteSize(limits.bytes_written)),
        entries: Some(limits.entries),
        connections: Some(limits.connections),
        log_volume: Some(ByteSize(limits.log_volume)),
        parts: Some(limits.parts),
    }
}

/// What is set, over `defaults`.
pub(crate) fn limits(set: &config::Limits, defaults: runtime::Limits) -> runtime::Limits {
    runtime::Limits {
        memory: set.memory.map_or(defaults.memory, |size| size.0),
        cpu: set.cpu.map_or(defaults.cpu, |period| period.0),
        wall_clock: set.wall_clock.map_or(defaults.wall_clock, |period| period.0),
        call_timeout: set.call_timeout.map_or(defaults.call_timeout, |period| period.0),
        host_calls: set.host_calls.unwrap_or(defaults.host_calls),
        resources: set.resources.unwrap_or(defaults.resources),
        component_instances: set.component_instances.unwrap_or(defaults.component_instances),
        bytes_written: set.bytes_written.map_or(defaults.bytes_written, |size| size.0),
        entries: set.entries.unwrap_or(defaults.entries),
        connections: set.connections.unwrap_or(defaults.connections),
        log_volume: set.log_volume.map_or(defaults.log_volume, |size| size.0),
        parts: set.parts.unwrap_or(defaults.parts),
    }
}

/// The grants of one table.
pub(crate) fn grants(grants: &config::Grants, secrets: &Secrets) -> runtime::Grants {
    let endpoints = grants
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.name.clone(), self::endpoint(endpoint, secrets)));
    let directories = grants
        .directories
        .iter()
        .map(|directory| (directory.name.clone(), self::directory(directory)));
    let secret = |secret: &config::Secret| runtime::SecretGrant {
        provider: secrets.provider(&secret.source),
        reveal: secret.reveal,
    };
    runtime::Grants {
        endpoints: endpoints.collect(),
        directories: directories.collect(),
        secrets: grants
            .secrets
            .iter()
            .map(|granted| (granted.name.clone(), secret(granted)))
            .collect(),
    }
}

fn directory(directory: &config::Directory) -> runtime::DirectoryGrant {
    let access = match directory.access {
        config::Access::ReadOnly => runtime::Access::ReadOnly,
        config::Access::ReadWrite => runtime::Access::ReadWrite,
    };
    runtime::DirectoryGrant {
        path: directory.path.clone(),
        access,
    }
}

fn endpoint(endpoint: &config::Endpoint, secrets: &Secrets) -> runtime::EndpointGrant {
    let destination = match &endpoint.destination {
        config::Destination::Addresses(addresses) => runtime::Destination::Addresses(addresses.clone()),
        config::Destination::Socket(path) => runtime::Destination::Socket(path.clone()),
        config::Destination::Url(url) => runtime::Destination::Url(url.clone()),
    };
    runtime::EndpointGrant {
        destination,
        tls: tls(&endpoint.tls, secrets),
        auth: endpoint.auth.as_ref().map(|auth| self::auth(endpoint, auth, secrets)),
        discovered: endpoint.discovered.clone(),
    }
}

fn tls(tls: &config::Tls, secrets: &Secrets) -> runtime::TlsSettings {
    let mode = match tls.mode {
        config::TlsMode::Disable => runtime::TlsMode::Disable,
        config::TlsMode::Prefer => runtime::TlsMode::Prefer,
        config::TlsMode::Require => runtime::TlsMode::Require,
        config::TlsMode::VerifyCa => runtime::TlsMode::VerifyCa,
        config::TlsMode::VerifyFull => runtime::TlsMode::VerifyFull,
    };
    let client_certificate = tls
        .certificate
        .as_ref()
        .zip(tls.key.as_ref())
        .map(|(certificate, key)| runtime::ClientCertificate {
            certificate: certificate.clone(),
            key: secrets.provider(key),
        });
    runtime::TlsSettings {
        mode,
        ca: tls.ca.clone(),
        client_certificate,
        server_name: tls.server_name.clone(),
    }
}

fn auth(endpoint: &config::Endpoint, auth: &config::Auth, secrets: &Secrets) -> runtime::Auth {
    let provider = |source| -> Arc<dyn runtime::SecretProvider> { secrets.provider(source) };
    match auth {
        config::Auth::Basic { user, password } => runtime::Auth::Basic {
            user: user.clone(),
            password: provider(password),
        },
        config::Auth::Bearer(token) => runtime::Auth::Bearer { token: provider(token) },
        config::Auth::ServiceAccount(document) | config::Auth::RefreshToken(document) => runtime::Auth::AccessToken {
            tokens: Arc::new(AccessTokens::new(secrets, document, tls(&endpoint.tls, secrets))),
        },
        config::Auth::Aws {
            region,
            credentials,
            customer_key,
        } => runtime::Auth::Aws {
            region: region.clone(),
            credentials: Arc::new(ConfiguredAwsCredentials::new(
                secrets,
                credentials,
                region,
                tls(&endpoint.tls, secrets),
            )),
            customer_key: customer_key.as_ref().map(provider),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_as_default_is_what_holds() {
        assert_eq!(limits(&default_limits().source, sink_defaults()), source_defaults());
        assert_eq!(limits(&config::Limits::default(), sink_defaults()), sink_defaults());
    }
}

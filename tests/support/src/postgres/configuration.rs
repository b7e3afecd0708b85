//! The server's command line and its authentication rules, as text.

use std::path::Path;

use super::Certificates;

/// Options of a server that belong to the place where it runs, and not to its data directory.
pub(super) fn place(port: u16, sockets: &Path, certificates: Option<&Certificates>) -> Vec<(String, String)> {
    let mut settings = vec![
        setting("listen_addresses", "127.0.0.1"),
        setting("port", port),
        setting("unix_socket_directories", sockets.display()),
        setting("log_line_prefix", "%m [%p] "),
        // A test's server has nothing to lose in a power failure.
        setting("fsync", "off"),
    ];
    if let Some(certificates) = certificates {
        settings.extend([
            setting("ssl", "on"),
            setting("ssl_ca_file", certificates.authority_certificate().display()),
            setting("ssl_cert_file", certificates.server_certificate().display()),
            setting("ssl_key_file", certificates.server_key().display()),
        ]);
    }
    settings
}

/// A setting with its value.
pub(super) fn setting(name: &str, value: impl std::fmt::Display) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// Settings as `pg_ctl --options` takes them, which hands them to a shell.
pub(super) fn command_line(settings: &[(String, String)]) -> String {
    let option = |(name, value): &(String, String)| format!("-c '{name}={}'", value.replace('\'', r"'\''"));
    settings.iter().map(option).collect::<Vec<_>>().join(" ")
}

/// `pg_hba.conf`: the test's own rules, then any local user as any role over the Unix socket, and passwords over TCP. A server without TLS ignores
/// `hostssl` lines with a warning, so `host` is said.
pub(super) fn authentication_rules(own_rules: &[String]) -> String {
    let mut rules = own_rules.join("\n");
    rules.push_str(
        "
local   all          all  peer map=tests
local   replication  all  peer map=tests
host    all          all  127.0.0.1/32  scram-sha-256
host    replication  all  127.0.0.1/32  scram-sha-256
",
    );
    rules
}

/// `pg_ident.conf`: who may be whom over the Unix socket.
pub(super) fn user_map(roles: &[&str]) -> String {
    roles.iter().map(|role| format!("tests  /^.*$  {role}\n")).collect()
}

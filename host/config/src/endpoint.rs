//! Endpoints: network destinations that a plugin reaches by name. The operator writes where they are, how TLS is done and how requests are signed;
//! the plugin sees none of it.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    diagnostic::Diagnostic,
    reader::{Fields, FromNode, Reader, word},
    secret::{SECRET_EXAMPLE, SecretSource},
    tree::{Entry, Node, Span, Value},
};

/// A network destination that is granted under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Endpoint {
    /// The name that the plugin uses.
    pub name: String,
    /// Where it is.
    pub destination: Destination,
    /// How TLS is done.
    pub tls: Tls,
    /// What the host adds to HTTP requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Patterns of further addresses that the plugin may find by itself. Where the host is made of digits, dots and stars (`10.0.0.*:6379`), only IPv4
    /// addresses match; in a name (`redis-*.example:6379`) a star stands for a part of one label and does not cross a dot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<String>,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// `host:port`, tried in order.
    Addresses(Vec<String>),
    /// A Unix socket.
    Socket(PathBuf),
    /// `http://` or `https://` with host, port and a path that all requests go below.
    Url(String),
}

/// libpq's words and their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Where the server offers it.
    Prefer,
    /// Always, any certificate.
    Require,
    /// Always, signed by the configured authority, which it cannot do without.
    VerifyCa,
    /// Always, signed by the configured authority and issued for the server's name.
    VerifyFull,
}

/// How TLS is done. Relative paths have been resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tls {
    /// How much is checked: `verify-full` unless the operator says otherwise; `disable` on Unix sockets.
    pub mode: TlsMode,
    /// Certificates to trust, PEM; the system's where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Client certificate with its chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretSource>,
    /// The name to ask for and to check, where it isn't the address's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// What the host adds to HTTP requests, so that the plugin never holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// RFC 7617.
    Basic {
        /// The user's name.
        user: String,
        /// Their password.
        password: SecretSource,
    },
    /// RFC 6750.
    Bearer(SecretSource),
    /// Google's OAuth 2.0 with the JSON key of a service account.
    ServiceAccount(SecretSource),
    /// Google's OAuth 2.0 with a person's consent: the JSON document that `bulkhead auth gdrive` stores.
    RefreshToken(SecretSource),
    /// AWS Signature Version 4.
    #[serde(rename_all = "kebab-case")]
    Aws {
        /// The region that signatures name.
        region: String,
        /// Whose key signs.
        credentials: AwsCredentials,
        /// What the server encrypts with where the plugin asks for it (SSE-C): 32 bytes in base64.
        customer_key: Option<SecretSource>,
    },
}

/// Where AWS credentials come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AwsCredentials {
    /// Each from a place of its own.
    #[serde(rename_all = "kebab-case")]
    Keys {
        /// Access key.
        access_key_id: SecretSource,
        /// Its secret.
        secret_access_key: SecretSource,
        /// Token of temporary credentials.
        session_token: Option<SecretSource>,
    },
    /// A section of a credentials file, as AWS's own tools have it.
    Profile {
        /// The section's name.
        profile: String,
        /// The file; `$AWS_SHARED_CREDENTIALS_FILE` or `~/.aws/credentials` where `None`.
        file: Option<PathBuf>,
    },
    /// Temporary ones of a role, in exchange for a token that says who this is, as Kubernetes writes it (`AssumeRoleWithWebIdentity`).
    #[serde(rename_all = "kebab-case")]
    WebIdentity {
        /// The role's ARN; `$AWS_ROLE_ARN` where `None`.
        role: Option<String>,
        /// The token, read anew each time; `$AWS_WEB_IDENTITY_TOKEN_FILE` where `None`.
        token_file: Option<PathBuf>,
        /// AWS's Security Token Service; that of the region where `None`.
        url: Option<String>,
    },
    /// Temporary ones of the role of the machine that this runs on, from its metadata (version 2).
    #[serde(rename_all = "kebab-case")]
    InstanceMetadata {
        /// Where a machine is told who it is; `http://169.254.169.254` where `None`.
        url: Option<String>,
    },
}

const TLS_MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

impl TlsMode {
    /// The word for it in the TOML.
    #[must_use]
    pub fn word(self) -> &'static str {
        TLS_MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }
}

impl FromNode for TlsMode {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        word(node, path, TLS_MODES, reader)
    }
}

pub(crate) fn read(entry: &Entry, path: &str, reader: &mut Reader<'_>) -> Option<Endpoint> {
    let mut fields = Fields::open_entry(entry, path, reader)?;
    let destination = destination(&mut fields, reader);
    let tls = tls(&mut fields, destination.as_ref(), reader);
    let auth = auth(&mut fields, destination.as_ref(), reader);
    check_auth(&mut fields, destination.as_ref(), tls.as_ref(), reader);
    let discovered = discovered(&mut fields, destination.as_ref(), reader);
    fields.close(reader);
    Some(Endpoint {
        name: entry.key.clone(),
        destination: destination?,
        tls: tls?,
        auth: auth?,
        discovered,
    })
}

fn destination(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Destination> {
    let given: Vec<&str> = ["address", "addresses", "socket", "url"]
        .into_iter()
        .filter(|key| fields.entry(key).is_some())
        .collect();
    let [one] = given[..] else {
        let message = match given.len() {
            0 => format!("{} does not say where it is", fields.subject()),
            _ => format!(
                "{} says several times where it is: {}",
                fields.subject(),
                given.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
            ),
        };
        reader
            .report
            .push(Diagnostic::error(message, fields.place()).help(
                "one of `address = \"host:port\"`, `addresses = [\"host:port\", …]`, `socket = \"/path\"`, `url = \"https://host\"`",
            ));
        return None;
    };
    match one {
        "address" => fields
            .optional::<Address>("address", reader)
            .map(|address| Destination::Addresses(vec![address.0])),
        "addresses" => addresses(fields, reader),
        "socket" => fields.optional("socket", reader).map(Destination::Socket),
        _ => fields.optional::<Url>("url", reader).map(|url| Destination::Url(url.0)),
    }
}

fn addresses(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Destination> {
    let addresses: Vec<Address> = fields.optional("addresses", reader)?;
    if addresses.is_empty() {
        reader.report.push(
            Diagnostic::error(format!("`{}` is empty", fields.path_of("addresses")), fields.place()).help("name at least one `host:port`"),
        );
        return None;
    }
    Some(Destination::Addresses(addresses.into_iter().map(|address| address.0).collect()))
}

struct Address(String);

impl FromNode for Address {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = String::read(node, path, reader)?;
        if is_address(&text) {
            return Some(Self(text));
        }
        reader.report.push(
            Diagnostic::error(format!("`{path}` must be `host:port`"), node.span.clone())
                .help("for example `\"db.example.org:5432\"`, `\"10.0.0.7:6379\"` or `\"[::1]:5432\"`"),
        );
        None
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_good = match host.strip_prefix('[') {
        Some(literal) => literal
            .strip_suffix(']')
            .is_some_and(|literal| literal.parse::<std::net::Ipv6Addr>().is_ok()),
        None => is_host(host),
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

struct Url(String);

impl FromNode for Url {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = String::read(node, path, reader)?;
        let diagnostic = |message: String| Diagnostic::error(message, node.span.clone());
        let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
            reader.report.push(
                diagnostic(format!("`{path}` must begin with `https://` or `http://`"))
                    .help("for example `\"https://s3.eu-central-1.amazonaws.com\"`"),
            );
            return None;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let problem = if authority.contains('@') {
            diagnostic(format!("`{path}` must not contain credentials"))
                .help("use `auth = { basic = { user = …, password = … } }`")
                .secret()
        } else if rest.contains(['?', '#']) {
            diagnostic(format!("`{path}` must not have a query or a fragment"))
        } else if !(is_address(authority) || is_address(&format!("{authority}:443"))) {
            diagnostic(format!("`{path}` has no valid host")).help("`https://host`, `https://host:port`, with a path where there is one")
        } else {
            return Some(Self(text.trim_end_matches('/').to_owned()));
        };
        reader.report.push(problem);
        None
    }
}

fn tls(fields: &mut Fields<'_>, destination: Option<&Destination>, reader: &mut Reader<'_>) -> Option<Tls> {
    let default = match destination {
        Some(Destination::Socket(_)) => TlsMode::Disable,
        Some(Destination::Url(url)) if url.starts_with("http://") => TlsMode::Disable,
        _ => TlsMode::VerifyFull,
    };
    let path = fields.path_of("tls");
    let Some(entry) = fields.entry("tls") else {
        return Some(Tls {
            mode: default,
            ca: None,
            certificate: None,
            key: None,
            server_name: None,
        });
    };
    let mut inner = Fields::open_entry(entry, &path, reader)?;
    let tls = Tls {
        mode: inner.optional("mode", reader).unwrap_or(default),
        ca: inner.optional("ca", reader),
        certificate: inner.optional("certificate", reader),
        key: inner.optional("key", reader),
        server_name: inner.optional("server-name", reader),
    };
    check_tls(&tls, destination, &mut inner, &entry.key_span, reader);
    inner.close(reader);
    Some(tls)
}

fn check_tls(tls: &Tls, destination: Option<&Destination>, inner: &mut Fields<'_>, place: &Span, reader: &mut Reader<'_>) {
    if inner.entry("certificate").is_some() != inner.entry("key").is_some() {
        let missing = if tls.key.is_none() {
            "key = { file = \"/path/to/key.pem\" }"
        } else {
            "certificate = \"/path/to/certificate.pem\""
        };
        reader.report.push(
            Diagnostic::error(format!("`{}` needs `certificate` and `key` together", inner.path()), place.clone())
                .help(format!("add `{missing}`")),
        );
    }
    // `require` with a `ca` verifies against it, as libpq does.
    let verifies = !matches!(tls.mode, TlsMode::Disable | TlsMode::Prefer);
    if let Some(ca) = inner.entry("ca").filter(|_| !verifies) {
        reader.report.push(
            Diagnostic::error(
                format!("`{}.ca` is never used: this mode verifies nothing", inner.path()),
                ca.key_span.clone(),
            )
            .help("use `mode = \"verify-full\"`, or remove `ca`"),
        );
    }
    if tls.mode == TlsMode::VerifyCa && inner.entry("ca").is_none() {
        reader.report.push(
            Diagnostic::error(
                format!(
                    "`{}` needs `ca`: without a name to check, the authority is all that is verified",
                    inner.path()
                ),
                place.clone(),
            )
            .help("add `ca = \"/path/to/authority.pem\"`, or use `mode = \"verify-full\"`"),
        );
    }
    if let (Some(Destination::Url(url)), Some(mode)) = (destination, inner.entry("mode")) {
        check_scheme(url, tls.mode, &mode.node.span, reader);
    }
}

/// The scheme of a URL decides whether TLS is used; `mode` must not say otherwise.
fn check_scheme(url: &str, mode: TlsMode, place: &Span, reader: &mut Reader<'_>) {
    let in_the_clear = url.starts_with("http://");
    let diagnostic = match mode {
        TlsMode::Prefer => Diagnostic::error("`prefer` has no meaning for a URL", place.clone())
            .help(format!("`{url}` says by its scheme whether TLS is used")),
        TlsMode::Disable if !in_the_clear => Diagnostic::error(format!("`{url}` uses TLS, which `disable` forbids"), place.clone())
            .help("write `http://` to go without TLS, or leave `mode` out"),
        mode if mode != TlsMode::Disable && in_the_clear => {
            let message = format!("`{url}` goes without TLS, which `{}` demands", mode.word());
            Diagnostic::error(message, place.clone()).help("write `https://`, or leave `tls` out")
        }
        _ => return,
    };
    reader.report.push(diagnostic);
}

/// `Some(None)` where there is no `auth`; `None` where it is wrong.
fn auth(fields: &mut Fields<'_>, destination: Option<&Destination>, reader: &mut Reader<'_>) -> Option<Option<Auth>> {
    let path = fields.path_of("auth");
    let Some(entry) = fields.entry("auth") else { return Some(None) };
    if destination.is_some_and(|destination| !matches!(destination, Destination::Url(_))) {
        reader.report.push(
            Diagnostic::error(format!("`{path}` works for a `url` only"), entry.key_span.clone())
                .help("other protocols authenticate in the plugin: grant it a secret, `secret.password = { file = …, reveal = true }`"),
        );
    }
    let mut inner = Fields::open_entry(entry, &path, reader)?;
    let given: Vec<&str> = ["basic", "bearer", "service-account", "refresh-token", "aws"]
        .into_iter()
        .filter(|key| inner.entry(key).is_some())
        .collect();
    let auth = match given[..] {
        ["basic"] => basic(&mut inner, reader),
        ["bearer"] => inner.optional("bearer", reader).map(Auth::Bearer),
        ["service-account"] => inner.optional("service-account", reader).map(Auth::ServiceAccount),
        ["refresh-token"] => inner.optional("refresh-token", reader).map(Auth::RefreshToken),
        ["aws"] => aws(&mut inner, reader),
        _ => {
            let diagnostic = Diagnostic::error(format!("`{path}` must name one way to authenticate"), entry.key_span.clone());
            reader
                .report
                .push(diagnostic.help("one of `basic`, `bearer`, `service-account`, `refresh-token`, `aws`"));
            None
        }
    };
    inner.close_secret(reader);
    auth.map(Some)
}

/// Credentials go only to a server that has proved who it is; over the loopback nobody listens in.
fn check_auth(fields: &mut Fields<'_>, destination: Option<&Destination>, tls: Option<&Tls>, reader: &mut Reader<'_>) {
    let (Some(entry), Some(Destination::Url(url)), Some(tls)) = (fields.entry("auth"), destination, tls) else {
        return;
    };
    let path = fields.path_of("auth");
    let (message, help) = if url.starts_with("http://") {
        (format!("`{path}` would be sent in the clear"), "use an `https://` URL")
    } else if tls.mode == TlsMode::Require && tls.ca.is_none() {
        (
            format!("`{path}` would be sent to whoever answers: `require` verifies nothing"),
            "use `mode = \"verify-full\"`, with `ca` where the authority is your own",
        )
    } else {
        return;
    };
    if !is_loopback(url) {
        reader.report.push(Diagnostic::error(message, entry.key_span.clone()).help(help));
    }
}

fn is_loopback(url: &str) -> bool {
    let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn basic(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Auth> {
    let path = fields.path_of("basic");
    let mut inner = Fields::open_entry(fields.entry("basic")?, &path, reader)?;
    let user = inner.required("user", "\"backup\"", reader);
    let password = inner.required("password", SECRET_EXAMPLE, reader);
    inner.close_secret(reader);
    Some(Auth::Basic {
        user: user?,
        password: password?,
    })
}

fn aws(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Auth> {
    let path = fields.path_of("aws");
    let mut inner = Fields::open_entry(fields.entry("aws")?, &path, reader)?;
    let region = inner.required("region", "\"eu-central-1\"", reader);
    let customer_key = inner.optional("customer-key", reader);
    let given = ["profile", "web-identity", "instance-metadata"].map(|key| inner.entry(key).is_some());
    let credentials = match given {
        [true, ..] => aws_profile(&mut inner, reader),
        [_, true, _] => aws_web_identity(&mut inner, reader),
        [.., true] => aws_instance_metadata(&mut inner, reader),
        _ => aws_keys(&mut inner, reader),
    };
    inner.close_secret(reader);
    Some(Auth::Aws {
        region: region?,
        credentials: credentials?,
        customer_key,
    })
}

fn aws_keys(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<AwsCredentials> {
    let access_key_id = fields.required("access-key-id", SECRET_EXAMPLE, reader);
    let secret_access_key = fields.required("secret-access-key", SECRET_EXAMPLE, reader);
    let session_token = fields.optional("session-token", reader);
    Some(AwsCredentials::Keys {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token,
    })
}

fn aws_profile(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<AwsCredentials> {
    Some(AwsCredentials::Profile {
        profile: fields.optional("profile", reader)?,
        file: fields.optional("credentials-file", reader),
    })
}

fn aws_web_identity(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<AwsCredentials> {
    let path = fields.path_of("web-identity");
    let mut inner = Fields::open_entry(fields.entry("web-identity")?, &path, reader)?;
    let credentials = AwsCredentials::WebIdentity {
        role: inner.optional("role", reader),
        token_file: inner.optional("token-file", reader),
        url: inner.optional("url", reader),
    };
    inner.close(reader);
    Some(credentials)
}

fn aws_instance_metadata(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<AwsCredentials> {
    let path = fields.path_of("instance-metadata");
    let mut inner = Fields::open_entry(fields.entry("instance-metadata")?, &path, reader)?;
    let url = inner.optional("url", reader);
    inner.close(reader);
    Some(AwsCredentials::InstanceMetadata { url })
}

fn discovered(fields: &mut Fields<'_>, destination: Option<&Destination>, reader: &mut Reader<'_>) -> Vec<String> {
    let path = fields.path_of("discovered");
    let Some(entry) = fields.entry("discovered") else {
        return Vec::new();
    };
    if matches!(destination, Some(Destination::Socket(_) | Destination::Url(_))) {
        reader.report.push(Diagnostic::error(
            format!("`{path}` works with `address` only"),
            entry.key_span.clone(),
        ));
    }
    let patterns = Vec::<String>::read(&entry.node, &path, reader).unwrap_or_default();
    if let Value::Array(nodes) = &entry.node.value {
        for (pattern, node) in patterns.iter().zip(nodes).filter(|(pattern, _)| !is_pattern(pattern)) {
            reader.report.push(
                Diagnostic::error(format!("`{pattern}` is not a pattern of addresses"), node.span.clone()).help(
                    "`host:port` where `*` stands for any part of an IPv4 address, of one label of a name, or for the port, at least one part being fixed: \
                     `10.0.0.*:6379`",
                ),
            );
        }
    }
    patterns
}

/// A pattern must fix something of the host: `*:*` would grant the whole network.
fn is_pattern(pattern: &str) -> bool {
    let Some((host, port)) = pattern.rsplit_once(':') else {
        return false;
    };
    let host_is_good = host.bytes().any(|byte| byte.is_ascii_alphanumeric()) && is_host(&host.replace('*', "x"));
    host_is_good && (port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0))
}

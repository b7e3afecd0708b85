//! Between the generated types and those of the model.

use bulkhead_model::{
    DigestAlgorithm, EntryMetadata, EntryPath, ExtendedAttribute, Fact, Fault, FaultKind, Finding, NodeType, Proof, Severity, Timestamp,
};

use super::bindings::source_world::bulkhead::plugin::{digest, directory, metadata, types};
use crate::description::{Access, Description, DirectoryRequest, EndpointRequest, Format, Operation, Operations, SecretRequest};

/// One table for both directions of an enum.
macro_rules! same_words {
    ($ours:ty, $theirs:ty: $($word:ident),+) => {
        impl From<$ours> for $theirs {
            fn from(value: $ours) -> Self {
                match value { $(<$ours>::$word => Self::$word),+ }
            }
        }
        impl From<$theirs> for $ours {
            fn from(value: $theirs) -> Self {
                match value { $(<$theirs>::$word => Self::$word),+ }
            }
        }
    };
}

same_words!(FaultKind, types::ErrorKind:
    Config, NotGranted, Unauthenticated, PermissionDenied, Unreachable, TimedOut, ConnectionLost, Protocol, Server, NotFound, AlreadyExists, Conflict,
    SourceDamaged, Corrupt, StorageFull, Limit, Cancelled, Unsupported, Io, Internal);
same_words!(Severity, types::Severity: Info, Warning, Error);
same_words!(Access, types::Access: ReadOnly, ReadWrite);
same_words!(DigestAlgorithm, digest::Algorithm: Sha256, Md5, Crc32c);

/// Longest sentence, hint or cause that a plugin's error may bring, in bytes, and most causes: they end up on a screen.
const MAX_TEXT: usize = 4096;
const MAX_CAUSES: usize = 16;

/// Cut to what a screen can take, and without the control characters that could rewrite one: a server's own words come this way.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    if text.contains(is_unprintable) {
        text = text.replace(is_unprintable, "\u{fffd}");
    }
    text
}

fn is_unprintable(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

impl From<Fault> for types::Error {
    fn from(fault: Fault) -> Self {
        let Fault {
            kind,
            message,
            hint,
            setting,
            retryable,
            causes,
            trapped: _,
        } = fault;
        Self {
            kind: kind.into(),
            message,
            hint,
            setting,
            retryable,
            causes,
        }
    }
}

impl From<types::Error> for Fault {
    fn from(error: types::Error) -> Self {
        Self {
            kind: error.kind.into(),
            message: bounded(error.message),
            hint: error.hint.map(bounded),
            setting: error.setting.map(bounded),
            retryable: error.retryable,
            trapped: false,
            causes: error.causes.into_iter().take(MAX_CAUSES).map(bounded).collect(),
        }
    }
}

impl From<Timestamp> for types::Timestamp {
    fn from(time: Timestamp) -> Self {
        Self {
            seconds: time.seconds,
            nanoseconds: time.nanoseconds,
        }
    }
}

impl From<types::Timestamp> for Timestamp {
    fn from(time: types::Timestamp) -> Self {
        Self {
            seconds: time.seconds,
            nanoseconds: time.nanoseconds.min(999_999_999),
        }
    }
}

impl From<Fact> for types::Fact {
    fn from(fact: Fact) -> Self {
        Self {
            name: fact.name,
            value: fact.value,
        }
    }
}

impl From<types::Fact> for Fact {
    fn from(fact: types::Fact) -> Self {
        Self {
            name: bounded(fact.name),
            value: bounded(fact.value),
        }
    }
}

impl From<types::Finding> for Finding {
    fn from(finding: types::Finding) -> Self {
        Self {
            severity: finding.severity.into(),
            code: bounded(finding.code),
            message: bounded(finding.message),
            hint: finding.hint.map(bounded),
            setting: finding.setting.map(bounded),
        }
    }
}

impl From<types::Proof> for Proof {
    fn from(proof: types::Proof) -> Self {
        Self {
            entries: proof.entries,
            bytes: proof.bytes,
            complete: proof.complete,
            facts: all(proof.facts),
        }
    }
}

/// Converts a list.
pub(super) fn all<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// Converts answers that each have an error of their own.
pub(super) fn each<T, U: From<T>>(answers: Vec<Result<T, Fault>>) -> Vec<Result<U, types::Error>> {
    answers.into_iter().map(|answer| Ok(answer?.into())).collect()
}

/// Takes a path of the plugin's.
pub(super) fn path(bytes: Vec<u8>) -> Result<EntryPath, Fault> {
    EntryPath::new(bytes).map_err(|error| Fault::new(FaultKind::Internal, "the plugin named an impossible path").caused_by(&error))
}

impl From<metadata::Metadata> for EntryMetadata {
    fn from(metadata: metadata::Metadata) -> Self {
        Self {
            node_type: metadata.node_type.into(),
            mode: metadata.mode & 0o7777,
            uid: metadata.uid,
            gid: metadata.gid,
            user: metadata.user,
            group: metadata.group,
            modified: metadata.modified.map(Into::into),
            changed: metadata.changed.map(Into::into),
            device: metadata.device,
            inode: metadata.inode,
            links: metadata.links,
            extended_attributes: all(metadata.extended_attributes),
        }
    }
}

impl From<EntryMetadata> for metadata::Metadata {
    fn from(metadata: EntryMetadata) -> Self {
        Self {
            node_type: metadata.node_type.into(),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            user: metadata.user,
            group: metadata.group,
            modified: metadata.modified.map(Into::into),
            changed: metadata.changed.map(Into::into),
            device: metadata.device,
            inode: metadata.inode,
            links: metadata.links,
            extended_attributes: all(metadata.extended_attributes),
        }
    }
}

impl From<metadata::NodeType> for NodeType {
    fn from(node: metadata::NodeType) -> Self {
        match node {
            metadata::NodeType::File => Self::File,
            metadata::NodeType::Directory => Self::Directory,
            metadata::NodeType::Symlink(target) => Self::Symlink(target),
            metadata::NodeType::Fifo => Self::Fifo,
            metadata::NodeType::Socket => Self::Socket,
            metadata::NodeType::CharacterDevice(device) => Self::CharacterDevice(device),
            metadata::NodeType::BlockDevice(device) => Self::BlockDevice(device),
        }
    }
}

impl From<NodeType> for metadata::NodeType {
    fn from(node: NodeType) -> Self {
        match node {
            NodeType::File => Self::File,
            NodeType::Directory => Self::Directory,
            NodeType::Symlink(target) => Self::Symlink(target),
            NodeType::Fifo => Self::Fifo,
            NodeType::Socket => Self::Socket,
            NodeType::CharacterDevice(device) => Self::CharacterDevice(device),
            NodeType::BlockDevice(device) => Self::BlockDevice(device),
        }
    }
}

impl From<directory::ExtendedAttribute> for ExtendedAttribute {
    fn from(attribute: directory::ExtendedAttribute) -> Self {
        Self {
            name: attribute.name,
            value: attribute.value,
        }
    }
}

impl From<ExtendedAttribute> for directory::ExtendedAttribute {
    fn from(attribute: ExtendedAttribute) -> Self {
        Self {
            name: attribute.name,
            value: attribute.value,
        }
    }
}

impl From<types::Operations> for Operations {
    fn from(flags: types::Operations) -> Self {
        let flag = |operation| match operation {
            Operation::Check => types::Operations::CHECK,
            Operation::Backup => types::Operations::BACKUP,
            Operation::Restore => types::Operations::RESTORE,
            Operation::Verify => types::Operations::VERIFY,
            Operation::Browse => types::Operations::BROWSE,
            Operation::Render => types::Operations::RENDER,
            Operation::RestoreDelta => types::Operations::RESTORE_DELTA,
        };
        Operation::ALL
            .into_iter()
            .filter(|operation| flags.contains(flag(*operation)))
            .collect()
    }
}

/// Longest config schema, in bytes; most requests of all kinds together; most formats; longest name. Descriptions are kept, searched and printed.
const MAX_SCHEMA: usize = 1 << 20;
const MAX_REQUESTS: usize = 256;
const MAX_FORMATS: usize = 16;
const MAX_NAME: usize = 64;

fn is_kebab(name: &str) -> bool {
    let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(kebab)
}

/// Names end up in TOML lines that operators are told to write.
fn check_requests(description: &types::Description) -> Result<(), String> {
    let endpoints = description.endpoints.iter().map(|request| &request.name);
    let directories = description.directories.iter().map(|request| &request.name);
    let secrets = description.secrets.iter().map(|request| &request.name);
    for (number, name) in endpoints.chain(directories).chain(secrets).enumerate() {
        if number == MAX_REQUESTS {
            return Err(format!("it asks for more than {MAX_REQUESTS} endpoints, directories and secrets"));
        }
        let stem = name.strip_suffix('*');
        if !(stem == Some("") || is_kebab(stem.unwrap_or(name))) {
            return Err(format!(
                "it asks for {:?}, which is not a name in kebab-case",
                bounded(name.clone())
            ));
        }
    }
    Ok(())
}

/// Names of formats are what operators write on a command line.
fn check_formats(description: &types::Description) -> Result<(), String> {
    let formats = &description.formats;
    if formats.len() > MAX_FORMATS {
        return Err(format!("it renders more than {MAX_FORMATS} formats"));
    }
    if formats.is_empty() == description.operations.contains(types::Operations::RENDER) {
        return Err("it has formats without the operation `render`, or the operation without formats".to_owned());
    }
    match formats.iter().find(|format| !is_kebab(&format.name)) {
        Some(format) => Err(format!(
            "the name of its format {:?} is not kebab-case",
            bounded(format.name.clone())
        )),
        None => Ok(()),
    }
}

impl TryFrom<types::Description> for Description {
    type Error = String;

    fn try_from(description: types::Description) -> Result<Self, String> {
        if description.config_schema.len() > MAX_SCHEMA {
            return Err(format!("its config schema has more than {MAX_SCHEMA} bytes"));
        }
        let config_schema =
            serde_json::from_str(&description.config_schema).map_err(|error| format!("its config schema is not JSON: {error}"))?;
        if !is_kebab(&description.name) {
            return Err(format!("its name {:?} is not kebab-case", bounded(description.name)));
        }
        check_requests(&description)?;
        check_formats(&description)?;
        Ok(Self {
            name: description.name,
            version: bounded(description.version),
            summary: bounded(description.summary),
            config_schema,
            operations: description.operations.into(),
            endpoints: all(description.endpoints),
            directories: all(description.directories),
            secrets: all(description.secrets),
            formats: all(description.formats),
        })
    }
}

impl From<types::EndpointRequest> for EndpointRequest {
    fn from(request: types::EndpointRequest) -> Self {
        Self {
            name: bounded(request.name),
            purpose: bounded(request.purpose),
            required_for: request.required_for.into(),
        }
    }
}

impl From<types::DirectoryRequest> for DirectoryRequest {
    fn from(request: types::DirectoryRequest) -> Self {
        Self {
            name: bounded(request.name),
            purpose: bounded(request.purpose),
            access: request.access.into(),
            required_for: request.required_for.into(),
        }
    }
}

impl From<types::SecretRequest> for SecretRequest {
    fn from(request: types::SecretRequest) -> Self {
        Self {
            name: bounded(request.name),
            purpose: bounded(request.purpose),
            required_for: request.required_for.into(),
        }
    }
}

impl From<types::Format> for Format {
    fn from(format: types::Format) -> Self {
        Self {
            name: format.name,
            summary: bounded(format.summary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Description, bounded, types};

    fn description(names: &[&str], schema: String) -> Result<Description, String> {
        described(names, schema).try_into()
    }

    fn described(names: &[&str], schema: String) -> types::Description {
        let request = |name: &&str| types::SecretRequest {
            name: (*name).to_owned(),
            purpose: String::new(),
            required_for: types::Operations::empty(),
        };
        types::Description {
            name: "a-plugin".to_owned(),
            version: String::new(),
            summary: String::new(),
            config_schema: schema,
            operations: types::Operations::empty(),
            endpoints: Vec::new(),
            directories: Vec::new(),
            secrets: names.iter().map(request).collect(),
            formats: Vec::new(),
        }
    }

    #[test]
    fn formats_have_names_that_a_command_line_can_have() {
        let with = |names: &[&str], operations| {
            let format = |name: &&str| types::Format {
                name: (*name).to_owned(),
                summary: String::new(),
            };
            let mut described = described(&[], "{}".to_owned());
            described.operations = operations;
            described.formats = names.iter().map(format).collect();
            Description::try_from(described)
        };
        let render = types::Operations::RENDER;
        assert!(with(&["sql", "json-lines"], render).is_ok());
        assert!(with(&["SQL"], render).is_err_and(|error| error.contains("kebab-case")));
        assert!(with(&["x"; 17], render).is_err_and(|error| error.contains("more than 16")));
        for (names, operations) in [(&[][..], render), (&["sql"], types::Operations::empty())] {
            assert!(with(names, operations).is_err_and(|error| error.contains("`render`")));
        }
    }

    #[test]
    fn requests_are_few_and_have_names_that_a_toml_line_can_have() {
        let named = |names: &[&str]| description(names, "{}".to_owned());
        assert!(named(&["password", "shard-*", "*"]).is_ok());
        for bad in ["", "a b", "A", "a*b", "**", "a\n[vault]", &"a".repeat(65)] {
            assert!(named(&[bad]).is_err_and(|error| error.contains("kebab-case")), "{bad:?}");
        }
        assert!(named(&["x"; 256]).is_ok());
        assert!(named(&["x"; 257]).is_err_and(|error| error.contains("more than 256")));
    }

    #[test]
    fn a_schema_is_bounded() {
        let schema = |bytes: usize| description(&[], format!("\"{}\"", "x".repeat(bytes - 2)));
        assert!(schema(1 << 20).is_ok());
        assert!(schema((1 << 20) + 1).is_err_and(|error| error.contains("more than 1048576 bytes")));
    }

    #[test]
    fn what_a_server_says_cannot_rewrite_the_terminal() {
        assert_eq!(bounded("a\u{1b}[2Jb\u{9b}c\rd".into()), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(bounded("line\n\ttwo".into()), "line\n\ttwo");
        assert_eq!(bounded("é".repeat(4096)).len(), 4096);
    }
}

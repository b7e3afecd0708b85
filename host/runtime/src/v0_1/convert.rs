//! Between the generated types and those of the model.

use bulkhead_model::{
    DigestAlgorithm, EntryMetadata, EntryPath, ExtendedAttribute, Fact, Fault, FaultKind, Finding, NodeType, Proof, Severity, Timestamp,
};

use super::bindings::source_world::bulkhead::plugin::{digest, directory, metadata, types};
use crate::description::{Access, Description, DirectoryRequest, EndpointRequest, Operation, Operations, SecretRequest};

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
        };
        Operation::ALL
            .into_iter()
            .filter(|operation| flags.contains(flag(*operation)))
            .collect()
    }
}

impl TryFrom<types::Description> for Description {
    type Error = String;

    fn try_from(description: types::Description) -> Result<Self, String> {
        let config_schema =
            serde_json::from_str(&description.config_schema).map_err(|error| format!("its config schema is not JSON: {error}"))?;
        let kebab = |name: &str| {
            !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !kebab(&description.name) {
            return Err(format!("its name {:?} is not kebab-case", bounded(description.name)));
        }
        Ok(Self {
            name: description.name,
            version: bounded(description.version),
            summary: bounded(description.summary),
            config_schema,
            operations: description.operations.into(),
            endpoints: all(description.endpoints),
            directories: all(description.directories),
            secrets: all(description.secrets),
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

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn what_a_server_says_cannot_rewrite_the_terminal() {
        assert_eq!(bounded("a\u{1b}[2Jb\u{9b}c\rd".into()), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(bounded("line\n\ttwo".into()), "line\n\ttwo");
        assert_eq!(bounded("é".repeat(4096)).len(), 4096);
    }
}

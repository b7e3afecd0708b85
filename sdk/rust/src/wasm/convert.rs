//! Translation between the generated types and the SDK's. Exhaustive on purpose: a change of the ABI does not compile until it is handled here.

use super::{abi, sink_abi, source_abi, source_bindings::bulkhead::plugin as bindings};
use crate::{Error, ErrorKind, description, digest, directory, endpoint, entries, http, log, metadata, sink, snapshot, source, types};

/// An enum to its twin of the same variants.
macro_rules! twins {
    ($($ours:ty => $theirs:ty { $($variant:ident),+ $(,)? })+) => { $(
        impl From<$ours> for $theirs {
            fn from(value: $ours) -> Self { match value { $(<$ours>::$variant => <$theirs>::$variant),+ } }
        }
        impl From<$theirs> for $ours {
            fn from(value: $theirs) -> Self { match value { $(<$theirs>::$variant => <$ours>::$variant),+ } }
        }
    )+ };
}

/// A struct to its twin of the same fields.
macro_rules! fields {
    ($($from:ty => $to:ty { $($field:ident),+ $(,)? })+) => { $(
        impl From<$from> for $to {
            fn from(value: $from) -> Self { Self { $($field: value.$field.into()),+ } }
        }
    )+ };
}

twins! {
    ErrorKind => abi::ErrorKind {
        Config, NotGranted, Unauthenticated, PermissionDenied, Unreachable, TimedOut, ConnectionLost, Protocol, Server, NotFound, AlreadyExists,
        Conflict, SourceDamaged, Corrupt, StorageFull, Limit, Cancelled, Unsupported, Io, Internal,
    }
    types::Severity => abi::Severity { Info, Warning, Error }
    description::Access => abi::Access { ReadOnly, ReadWrite }
    log::Level => bindings::log::Level { Trace, Debug, Info, Warn, Error }
    digest::Algorithm => bindings::digest::Algorithm { Sha256, Md5, Crc32c }
    endpoint::TlsMode => bindings::endpoint::TlsMode { Disable, Prefer, Require, VerifyCa, VerifyFull }
    endpoint::Transport => bindings::endpoint::Transport { Tcp, Unix }
    directory::FileType => bindings::directory::FileType { Regular, Directory, Symlink, Fifo, Socket, CharacterDevice, BlockDevice }
    directory::OpenMode => bindings::directory::OpenMode { Read, Modify, Create, Replace }
    directory::LockKind => bindings::directory::LockKind { Shared, Exclusive }
}

fields! {
    abi::Error => Error { kind, message, hint, setting, retryable, causes }
    Error => abi::Error { kind, message, hint, setting, retryable, causes }
    abi::Timestamp => types::Timestamp { seconds, nanoseconds }
    types::Timestamp => abi::Timestamp { seconds, nanoseconds }
    types::Finding => abi::Finding { severity, code, message, hint, setting }
    types::Fact => abi::Fact { name, value }
    abi::Fact => types::Fact { name, value }
    bindings::snapshot::Entry => snapshot::Entry { path, metadata, size }
    bindings::endpoint::TlsSession => endpoint::TlsSession { protocol, peer_certificate }
    bindings::directory::ExtendedAttribute => directory::ExtendedAttribute { name, value }
    directory::ExtendedAttribute => bindings::directory::ExtendedAttribute { name, value }
    bindings::directory::DirectoryEntry => directory::DirectoryEntry { name, file_type }
    bindings::directory::Space => directory::Space { available, total }
    bindings::directory::Grant => directory::Grant { name, access, location }
    bindings::entries::Finished => entries::Finished { entries, size, digest }
    source_abi::BackupRequest => source::BackupRequest { checkpoint }
    sink_abi::ByteRange => sink::ByteRange { offset, length }
    sink::Traits => sink_abi::Traits { max_object_size, concurrency, conditional_put, object_lock }
    sink::Object => sink_abi::Object { key, size }
}

/// Each element.
pub(super) fn all<A: Into<B>, B>(values: Vec<A>) -> Vec<B> {
    values.into_iter().map(Into::into).collect()
}

pub(super) fn each<A: Into<B>, B>(answers: Vec<Result<A, bindings::types::Error>>) -> Vec<Result<B, Error>> {
    answers.into_iter().map(|answer| Ok(answer?.into())).collect()
}

fn operations(operations: description::Operations) -> abi::Operations {
    use description::Operations;
    [
        (Operations::CHECK, abi::Operations::CHECK),
        (Operations::BACKUP, abi::Operations::BACKUP),
        (Operations::RESTORE, abi::Operations::RESTORE),
        (Operations::VERIFY, abi::Operations::VERIFY),
        (Operations::BROWSE, abi::Operations::BROWSE),
        (Operations::RENDER, abi::Operations::RENDER),
        (Operations::RESTORE_DELTA, abi::Operations::RESTORE_DELTA),
    ]
    .into_iter()
    .filter(|(ours, _)| operations.contains(*ours))
    .fold(abi::Operations::empty(), |all, (_, theirs)| all | theirs)
}

/// The description with the schema of the config.
pub(super) fn description(description: description::Description, schema: &schemars::Schema) -> abi::Description {
    let endpoints = description.endpoints.into_iter();
    let directories = description.directories.into_iter();
    let secrets = description.secrets.into_iter();
    let formats = description.formats.into_iter();
    abi::Description {
        name: description.name,
        version: description.version,
        summary: description.summary,
        config_schema: schema.as_value().to_string(),
        operations: operations(description.operations),
        endpoints: endpoints
            .map(|ask| abi::EndpointRequest {
                name: ask.name,
                purpose: ask.purpose,
                required_for: operations(ask.required_for),
            })
            .collect(),
        directories: directories
            .map(|ask| abi::DirectoryRequest {
                name: ask.name,
                purpose: ask.purpose,
                access: ask.access.into(),
                required_for: operations(ask.required_for),
            })
            .collect(),
        secrets: secrets
            .map(|ask| abi::SecretRequest {
                name: ask.name,
                purpose: ask.purpose,
                required_for: operations(ask.required_for),
            })
            .collect(),
        formats: formats
            .map(|format| abi::Format {
                name: format.name,
                summary: format.summary,
            })
            .collect(),
    }
}

impl From<types::Proof> for abi::Proof {
    fn from(proof: types::Proof) -> Self {
        Self {
            entries: proof.entries,
            bytes: proof.bytes,
            complete: proof.complete,
            facts: all(proof.facts),
        }
    }
}

impl From<source::BackupResult> for source_abi::BackupResult {
    fn from(result: source::BackupResult) -> Self {
        Self {
            proof: result.proof.into(),
            checkpoint: result.checkpoint,
            findings: all(result.findings),
        }
    }
}

impl From<source_abi::RestoreRequest> for source::RestoreRequest {
    fn from(request: source_abi::RestoreRequest) -> Self {
        Self {
            paths: request.paths,
            options_json: request.options,
        }
    }
}

impl From<source::RestoreResult> for source_abi::RestoreResult {
    fn from(result: source::RestoreResult) -> Self {
        Self {
            entries: result.entries,
            bytes: result.bytes,
            facts: all(result.facts),
            findings: all(result.findings),
        }
    }
}

impl From<source::Item> for source_abi::Item {
    fn from(item: source::Item) -> Self {
        Self {
            name: item.name,
            size: item.size,
            facts: all(item.facts),
        }
    }
}

impl From<sink_abi::PutOptions> for sink::PutOptions {
    fn from(options: sink_abi::PutOptions) -> Self {
        Self {
            if_absent: options.if_absent,
            lock_until: options.lock_until.map(Into::into),
        }
    }
}

impl From<sink::Page> for sink_abi::Page {
    fn from(page: sink::Page) -> Self {
        Self {
            objects: all(page.objects),
            next: page.next,
        }
    }
}

impl From<bindings::endpoint::Settings> for endpoint::Settings {
    fn from(settings: bindings::endpoint::Settings) -> Self {
        Self {
            transport: settings.transport.into(),
            tls: settings.tls.into(),
            client_certificate: settings.client_certificate,
            addresses: settings.addresses,
        }
    }
}

impl From<bindings::http::Response> for http::Head {
    fn from(response: bindings::http::Response) -> Self {
        let headers = response.headers.into_iter().map(|header| (header.name, header.value)).collect();
        Self {
            status: response.status,
            headers,
        }
    }
}

impl From<bindings::directory::Node> for directory::Node {
    fn from(node: bindings::directory::Node) -> Self {
        Self {
            stat: node.stat.into(),
            extended_attributes: all(node.extended_attributes),
            target: node.target,
            content: node.content,
        }
    }
}

impl From<bindings::directory::Stat> for directory::Stat {
    fn from(stat: bindings::directory::Stat) -> Self {
        Self {
            file_type: stat.file_type.into(),
            size: stat.size,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            modified: stat.modified.into(),
            changed: stat.changed.into(),
            device: stat.device,
            inode: stat.inode,
            links: stat.links,
            raw_device: stat.raw_device,
        }
    }
}

impl From<&directory::Attributes> for bindings::directory::Attributes {
    fn from(attributes: &directory::Attributes) -> Self {
        Self {
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            modified: attributes.modified.map(Into::into),
        }
    }
}

impl From<metadata::NodeType> for bindings::metadata::NodeType {
    fn from(node: metadata::NodeType) -> Self {
        use metadata::NodeType;
        match node {
            NodeType::File => Self::File,
            NodeType::Directory => Self::Directory,
            NodeType::Symlink(target) => Self::Symlink(target),
            NodeType::Fifo => Self::Fifo,
            NodeType::Socket => Self::Socket,
            NodeType::CharacterDevice(number) => Self::CharacterDevice(number),
            NodeType::BlockDevice(number) => Self::BlockDevice(number),
        }
    }
}

impl From<bindings::metadata::NodeType> for metadata::NodeType {
    fn from(node: bindings::metadata::NodeType) -> Self {
        use bindings::metadata::NodeType;
        match node {
            NodeType::File => Self::File,
            NodeType::Directory => Self::Directory,
            NodeType::Symlink(target) => Self::Symlink(target),
            NodeType::Fifo => Self::Fifo,
            NodeType::Socket => Self::Socket,
            NodeType::CharacterDevice(number) => Self::CharacterDevice(number),
            NodeType::BlockDevice(number) => Self::BlockDevice(number),
        }
    }
}

impl From<&metadata::Metadata> for bindings::metadata::Metadata {
    fn from(metadata: &metadata::Metadata) -> Self {
        Self {
            node_type: metadata.node_type.clone().into(),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            user: metadata.user.clone(),
            group: metadata.group.clone(),
            modified: metadata.modified.map(Into::into),
            changed: metadata.changed.map(Into::into),
            device: metadata.device,
            inode: metadata.inode,
            links: metadata.links,
            extended_attributes: all(metadata.extended_attributes.clone()),
        }
    }
}

impl From<bindings::metadata::Metadata> for metadata::Metadata {
    fn from(metadata: bindings::metadata::Metadata) -> Self {
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

impl From<bindings::snapshot::Info> for snapshot::Info {
    fn from(info: bindings::snapshot::Info) -> Self {
        Self {
            id: info.id,
            time: info.time.into(),
            facts: all(info.facts),
            checkpoint: info.checkpoint,
        }
    }
}

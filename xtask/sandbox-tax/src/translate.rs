//! The SDK's types as the host's, and back: what the bindings of the ABI do for a sandboxed plugin.

use bulkhead_model as model;
use bulkhead_runtime as runtime;
use bulkhead_runtime::capabilities::endpoint as capability;
use bulkhead_sdk::metadata::{Metadata, NodeType};
use bulkhead_sdk::types::Timestamp;
use bulkhead_sdk::{Error, ErrorKind, digest, endpoint};

/// A capability's refusal, as the plugin gets it. The kinds are the same words on both sides; only those that a backup meets are told apart.
pub(crate) fn error(fault: model::Fault) -> Error {
    let kind = match fault.kind {
        model::FaultKind::NotGranted => ErrorKind::NotGranted,
        model::FaultKind::Unreachable => ErrorKind::Unreachable,
        model::FaultKind::TimedOut => ErrorKind::TimedOut,
        model::FaultKind::ConnectionLost => ErrorKind::ConnectionLost,
        model::FaultKind::Cancelled => ErrorKind::Cancelled,
        model::FaultKind::Limit => ErrorKind::Limit,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, fault.to_string())
}

pub(crate) fn metadata(metadata: &Metadata) -> model::EntryMetadata {
    let node_type = match &metadata.node_type {
        NodeType::File => model::NodeType::File,
        NodeType::Directory => model::NodeType::Directory,
        NodeType::Symlink(target) => model::NodeType::Symlink(target.clone()),
        NodeType::Fifo => model::NodeType::Fifo,
        NodeType::Socket => model::NodeType::Socket,
        NodeType::CharacterDevice(number) => model::NodeType::CharacterDevice(*number),
        NodeType::BlockDevice(number) => model::NodeType::BlockDevice(*number),
    };
    let time = |time: Timestamp| model::Timestamp {
        seconds: time.seconds,
        nanoseconds: time.nanoseconds,
    };
    model::EntryMetadata {
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        user: metadata.user.clone(),
        group: metadata.group.clone(),
        modified: metadata.modified.map(time),
        changed: metadata.changed.map(time),
        device: metadata.device,
        inode: metadata.inode,
        links: metadata.links,
        ..model::EntryMetadata::private(node_type)
    }
}

pub(crate) fn algorithm(algorithm: digest::Algorithm) -> model::DigestAlgorithm {
    match algorithm {
        digest::Algorithm::Sha256 => model::DigestAlgorithm::Sha256,
        digest::Algorithm::Md5 => model::DigestAlgorithm::Md5,
        digest::Algorithm::Crc32c => model::DigestAlgorithm::Crc32c,
    }
}

pub(crate) fn settings(settings: capability::EndpointSettings) -> endpoint::Settings {
    let tls = match settings.tls {
        runtime::TlsMode::Disable => endpoint::TlsMode::Disable,
        runtime::TlsMode::Prefer => endpoint::TlsMode::Prefer,
        runtime::TlsMode::Require => endpoint::TlsMode::Require,
        runtime::TlsMode::VerifyCa => endpoint::TlsMode::VerifyCa,
        runtime::TlsMode::VerifyFull => endpoint::TlsMode::VerifyFull,
    };
    let transport = match settings.transport {
        capability::Transport::Tcp => endpoint::Transport::Tcp,
        capability::Transport::Unix => endpoint::Transport::Unix,
    };
    endpoint::Settings {
        transport,
        tls,
        client_certificate: settings.client_certificate,
        addresses: settings.addresses,
    }
}

//! What a source says it sent, and what checks find. The words are those of the ABI (`wit/`, interface `types`).

use serde::{Deserialize, Serialize};

/// A named statement of a source, shown in reports and kept in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Kebab-case.
    pub name: String,
    /// As the source writes it.
    pub value: String,
}

/// What a source says that it sent; a run commits only if it agrees with what was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Entries with content that were finished or kept.
    pub entries: u64,
    /// Bytes in those entries.
    pub bytes: u64,
    /// Whether the source's own end marker was seen.
    pub complete: bool,
    /// Further statements.
    pub facts: Vec<Fact>,
}

/// A digest that the host computes as bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DigestAlgorithm {
    /// FIPS 180-4.
    Sha256,
    /// RFC 1321; for protocols that still speak it.
    Md5,
    /// CRC-32C (RFC 3720, Castagnoli), as four bytes, big endian.
    Crc32c,
}

/// An entry whose content is complete, or what was kept of the parent snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FinishedEntry {
    /// Entries with content: 1 for one that was written, all files in what was kept.
    pub entries: u64,
    /// Bytes in them.
    pub size: u64,
    /// The digest that was asked for.
    pub digest: Option<Vec<u8>>,
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works, but should be changed.
    Warning,
    /// A run would fail, or its snapshot would not be worth having.
    Error,
}

/// Something that a check or a verification found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How serious.
    pub severity: Severity,
    /// A stable kebab-case identifier.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The setting to change, as a dotted path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
}

//! Why bytes are no RDB file, or none that is known here: [`RdbError`].

/// What is wrong with a file. Offsets count from its first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// It does not begin as an RDB file does.
    #[error("it does not begin with `REDIS` or `VALKEY` and a version, but with {0:?}")]
    Magic(String),
    /// A version that is not known here.
    #[error("it is RDB version {found}; versions {supported} are supported")]
    Version {
        /// As the file says, e.g. `13` or `VALKEY 81`.
        found: String,
        /// For people.
        supported: &'static str,
    },
    /// An opcode or type outside of the format's version.
    #[error("byte {offset}: {opcode} is no opcode and no type of value in this version")]
    Opcode {
        /// The byte.
        opcode: u8,
        /// Where.
        offset: u64,
    },
    /// A type of which not even the length can be told without the module that wrote it.
    #[error(
        "byte {offset}: a module's value in the format of a Redis 4.0 release candidate, whose end nobody can find without that module"
    )]
    OldModule {
        /// Where.
        offset: u64,
    },
    /// A length that is none.
    #[error("byte {offset}: {found:#04x} is no length")]
    Length {
        /// The first byte.
        found: u8,
        /// Where.
        offset: u64,
    },
    /// A string in an encoding that does not exist.
    #[error("byte {offset}: {found:#04x} is no encoding of a string")]
    Encoding {
        /// The first byte.
        found: u8,
        /// Where.
        offset: u64,
    },
    /// A compressed string that does not decompress to what it says.
    #[error("byte {offset}: a compressed string does not have the length that it states")]
    Compression {
        /// Where it ended.
        offset: u64,
    },
    /// A code within a module's value that does not exist.
    #[error("byte {offset}: {found} is no code within a module's value")]
    ModuleCode {
        /// The code.
        found: u64,
        /// Where.
        offset: u64,
    },
    /// A key is announced (its expiry, its LRU or LFU) and does not follow.
    #[error("byte {offset}: opcode {opcode} stands where a key must follow")]
    KeyMissing {
        /// What stands there.
        opcode: u8,
        /// Where.
        offset: u64,
    },
    /// The checksum is not that of the bytes.
    #[error("its checksum is {stored:016x}, that of its bytes {computed:016x}")]
    Checksum {
        /// At its end.
        stored: u64,
        /// Of what came before.
        computed: u64,
    },
    /// It ended too early.
    #[error("it ends after {0} bytes, without an end marker")]
    Truncated(u64),
}

impl RdbError {
    /// Whether the file may be whole, only in a format that is not known here.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::OldModule { .. })
    }
}

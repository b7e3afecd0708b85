//! The words that open a vault.

use zeroize::Zeroizing;

/// A vault's password. Wiped when dropped; has no `Debug`, so nothing can print it by accident.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes as they are: nothing is trimmed.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for key derivation.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no byte in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

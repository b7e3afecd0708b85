//! Secrets that the operator granted with `reveal = true`, for protocols that need the bytes. All others stay with the host.

use std::fmt;

use crate::{Result, host};

/// The bytes of a secret. Not shown by `Debug`, overwritten when dropped.
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes as stored, without one trailing newline.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, where it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// Names of the granted secrets that can be revealed.
#[must_use]
pub fn names() -> Vec<String> {
    host::with_host(|host| host.secret_names())
}

/// The bytes of a secret, at most 64 KiB.
///
/// # Errors
/// `NotGranted`, `NotFound`.
pub fn reveal(name: &str) -> Result<Secret> {
    host::with_host(|host| host.reveal_secret(name)).map(Secret)
}

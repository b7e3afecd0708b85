//! What a server asks for before it lets a client in, computed without input or output.
//!
//! [`Scram`] is the exchange of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, [`md5_response`] the older challenge, [`end_point_hash`] the channel binding
//! data of a TLS connection. [`Password`] is what all of them start from.

mod channel_binding;
mod md5;
mod scram;

pub use channel_binding::end_point_hash;
pub use md5::md5_response;
pub use scram::{ChannelBinding, MAX_ITERATIONS, Scram, ScramError};

use zeroize::Zeroizing;

/// A password, wiped from memory when dropped and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes as the operator stored them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(…)")
    }
}

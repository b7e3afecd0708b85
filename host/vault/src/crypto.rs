//! Encryption of everything in a vault: AES-256 in counter mode with a Poly1305-AES tag, laid out as `nonce (16) ‖ ciphertext ‖ tag (16)`, under one
//! [`MasterKey`] ("Keys, Encryption and MAC" in restic's design document).

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag, aead::AeadInPlace};
use rand::RngCore;
use zeroize::Zeroizing;

/// Bytes of the nonce in front.
pub(crate) const NONCE: usize = 16;
/// Bytes that encryption adds: nonce and tag.
pub(crate) const OVERHEAD: usize = 32;
/// Bytes of a key: 32 for AES-256, 16 for the AES of the tag, 16 for Poly1305.
pub(crate) const KEY_SIZE: usize = 64;

/// The content was changed, cut, or encrypted under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its authentication tag is wrong")]
pub(crate) struct Tampered;

/// A key, wiped when dropped. No `Debug`: nothing may print it.
pub(crate) struct MasterKey {
    bytes: Zeroizing<[u8; KEY_SIZE]>,
    cipher: Aes256CtrPoly1305Aes,
}

impl MasterKey {
    /// A key from its bytes: encryption key, tag's AES key, tag's `r`.
    pub(crate) fn new(bytes: Zeroizing<[u8; KEY_SIZE]>) -> Self {
        let cipher = Aes256CtrPoly1305Aes::new(Key::from_slice(bytes.as_slice()));
        Self { bytes, cipher }
    }

    /// A new random key.
    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_SIZE]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        Self::new(bytes)
    }

    /// The bytes that [`Self::new`] takes.
    pub(crate) fn bytes(&self) -> &[u8; KEY_SIZE] {
        &self.bytes
    }

    /// Encrypts where it stands what is between the room for the nonce in front and the room for the tag at the end; fills in both.
    pub(crate) fn seal(&self, message: &mut [u8]) -> Result<(), Tampered> {
        let (nonce, rest) = message.split_at_mut_checked(NONCE).ok_or(Tampered)?;
        let (plaintext, room) = rest.split_at_mut(rest.len().checked_sub(OVERHEAD - NONCE).ok_or(Tampered)?);
        rand::rng().fill_bytes(nonce);
        let tag = self
            .cipher
            .encrypt_in_place_detached(Nonce::from_slice(nonce), b"", plaintext)
            .map_err(|_| Tampered)?;
        room.copy_from_slice(&tag);
        Ok(())
    }

    /// Encrypts a copy of `plaintext`.
    pub(crate) fn seal_copy(&self, plaintext: &[u8]) -> Result<Vec<u8>, Tampered> {
        let mut message = vec![0; plaintext.len() + OVERHEAD];
        message[NONCE..NONCE + plaintext.len()].copy_from_slice(plaintext);
        self.seal(&mut message)?;
        Ok(message)
    }

    /// Checks and decrypts `message` where it stands; returns the plaintext within it.
    pub(crate) fn open<'m>(&self, message: &'m mut [u8]) -> Result<&'m mut [u8], Tampered> {
        if message.len() < OVERHEAD {
            return Err(Tampered);
        }
        let (nonce, rest) = message.split_at_mut(NONCE);
        let (ciphertext, tag) = rest.split_at_mut(rest.len() - (OVERHEAD - NONCE));
        self.cipher
            .decrypt_in_place_detached(Nonce::from_slice(nonce), b"", ciphertext, Tag::from_slice(tag))
            .map_err(|_| Tampered)?;
        Ok(ciphertext)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_nothing_else() {
        let key = MasterKey::random();
        let sealed = key.seal_copy(b"content").unwrap();
        assert_eq!(sealed.len(), b"content".len() + OVERHEAD);
        assert_eq!(key.open(&mut sealed.clone()).unwrap(), b"content");
        for position in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[position] ^= 1;
            assert_eq!(key.open(&mut flipped), Err(Tampered), "byte {position}");
        }
        assert_eq!(key.open(&mut sealed[..OVERHEAD - 1].to_vec()), Err(Tampered));
        assert_eq!(MasterKey::random().open(&mut sealed.clone()), Err(Tampered));
    }
}

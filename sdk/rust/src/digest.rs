//! Hashes at native speed: a guest computes SHA-256 at a quarter of it, so the host does it.

use std::io;

use crate::host;

/// What to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 32 bytes (FIPS 180-4).
    Sha256,
    /// 16 bytes (RFC 1321); for protocols that still speak it.
    Md5,
    /// 4 bytes, big endian (Castagnoli, RFC 3720).
    Crc32c,
}

/// A digest in progress. Also a [`Write`](io::Write), so that `io::copy` hashes.
pub struct Hasher(Box<dyn host::Hasher>);

impl Hasher {
    /// Begins one.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(host::with_host(|host| host.hasher(algorithm)))
    }

    /// Adds bytes; fewest calls with 256 KiB.
    pub fn update(&mut self, data: &[u8]) {
        data.chunks(host::MAX_TRANSFER).for_each(|part| self.0.update(part));
    }

    /// The digest; further updates begin a new one.
    pub fn finish(&mut self) -> Vec<u8> {
        self.0.finish()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher")
    }
}

impl io::Write for Hasher {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of `data`.
#[must_use]
pub fn digest(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(data);
    hasher.finish()
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::native_hasher;

#[cfg(not(target_family = "wasm"))]
mod native {
    //! The digests computed in this process.

    use std::sync::{Mutex, PoisonError};

    use sha2::Digest;

    use super::Algorithm;
    use crate::host;

    /// A digest of the `sha2`/`md-5` family.
    struct Block<D>(Mutex<D>);

    impl<D: Digest + Clone + Send> host::Hasher for Block<D> {
        fn update(&self, data: &[u8]) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).update(data);
        }

        fn finish(&self) -> Vec<u8> {
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), D::new())
                .finalize()
                .to_vec()
        }
    }

    struct Crc32c(Mutex<u32>);

    impl host::Hasher for Crc32c {
        fn update(&self, data: &[u8]) {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *state = crc32c::crc32c_append(*state, data);
        }

        fn finish(&self) -> Vec<u8> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
                .to_be_bytes()
                .to_vec()
        }
    }

    pub(crate) fn native_hasher(algorithm: Algorithm) -> Box<dyn host::Hasher> {
        match algorithm {
            Algorithm::Sha256 => Box::new(Block(Mutex::new(sha2::Sha256::new()))),
            Algorithm::Md5 => Box::new(Block(Mutex::new(md5::Md5::new()))),
            Algorithm::Crc32c => Box::new(Crc32c(Mutex::new(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, RFC 1321 and RFC 3720 test vectors.
    #[test]
    fn known_digests() {
        assert_eq!(digest(Algorithm::Sha256, b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(digest(Algorithm::Md5, b"abc")[..4], [0x90, 0x01, 0x50, 0x98]);
        assert_eq!(digest(Algorithm::Crc32c, &[0; 32]), [0x8a, 0x91, 0x36, 0xaa]);
    }

    #[test]
    fn a_finished_hasher_begins_anew() {
        let mut hasher = Hasher::new(Algorithm::Md5);
        hasher.update(b"abc");
        let first = hasher.finish();
        hasher.update(b"abc");
        assert_eq!(hasher.finish(), first);
    }
}

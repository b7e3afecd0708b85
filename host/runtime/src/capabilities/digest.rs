//! Hashes at native speed, for the plugin's own use and for entries as they pass.

use bulkhead_model::DigestAlgorithm;
use sha2::Digest as _;

/// A digest in the making.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// FIPS 180-4.
    Sha256(sha2::Sha256),
    /// RFC 1321.
    Md5(md5::Md5),
    /// RFC 3720.
    Crc32c(u32),
}

impl Hasher {
    /// A digest of nothing yet.
    #[must_use]
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            DigestAlgorithm::Md5 => Self::Md5(md5::Md5::new()),
            DigestAlgorithm::Crc32c => Self::Crc32c(0),
        }
    }

    /// Appends.
    pub fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(data),
            Self::Md5(hasher) => hasher.update(data),
            Self::Crc32c(sum) => *sum = crc32c::crc32c_append(*sum, data),
        }
    }

    /// Appends `length` zero bytes.
    pub fn update_zeros(&mut self, mut length: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROS.len());
            self.update(&ZEROS[..part]);
            length -= part as u64;
        }
    }

    /// The digest of what was appended; begins anew.
    pub fn finish(&mut self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize_reset().to_vec(),
            Self::Md5(hasher) => hasher.finalize_reset().to_vec(),
            Self::Crc32c(sum) => std::mem::take(sum).to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_their_standards() {
        let of = |algorithm, data: &[u8]| {
            let mut hasher = Hasher::new(algorithm);
            data.chunks(4).for_each(|part| hasher.update(part));
            let first = hex::encode(hasher.finish());
            hasher.update(data);
            assert_eq!(first, hex::encode(hasher.finish()), "finish begins anew");
            first
        };
        assert_eq!(
            of(DigestAlgorithm::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(of(DigestAlgorithm::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(of(DigestAlgorithm::Crc32c, b"123456789"), "e3069283");
    }

    #[test]
    fn zeros_count_like_written_ones() {
        let (mut hole, mut written) = (Hasher::new(DigestAlgorithm::Sha256), Hasher::new(DigestAlgorithm::Sha256));
        hole.update_zeros(200_000);
        written.update(&vec![0; 200_000]);
        assert_eq!(hole.finish(), written.finish());
    }
}

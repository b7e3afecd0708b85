//! Channel binding data of type `tls-server-end-point` (RFC 5929): a hash of the server's certificate, by [`end_point_hash`].
//!
//! The hash function is the one of the certificate's own signature, with SHA-256 in place of MD5 and SHA-1. Only the outermost structure of the
//! certificate is read for that, with a reader of DER that knows lengths and nothing else.

use sha2::{Digest, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const CONTEXT_0: u8 = 0xA0;

/// The hash that `certificate` (DER) is bound by; `None` where RFC 5929 defines none (Ed25519, unknown signature algorithms) or the bytes are not a certificate.
/// PostgreSQL has no channel binding then either.
#[must_use]
pub fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut certificate_fields = Der {
        rest: Der { rest: certificate }.expect(SEQUENCE)?,
    };
    certificate_fields.expect(SEQUENCE)?;
    let mut algorithm = Der {
        rest: certificate_fields.expect(SEQUENCE)?,
    };
    let identifier = algorithm.expect(OBJECT_IDENTIFIER)?;
    let hash = if identifier == RSA_PSS {
        pss_hash(algorithm)?
    } else {
        signature_hash(identifier)?
    };
    Some(match hash {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// 1.2.840.113549.1.1.10
const RSA_PSS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];

fn signature_hash(identifier: &[u8]) -> Option<Hash> {
    /// 1.2.840.113549.1.1, PKCS #1
    const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
    /// 1.2.840.10045.4, ANSI X9.62 signatures
    const ECDSA: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04];
    if let Some(rest) = identifier.strip_prefix(RSA) {
        return match rest {
            [4 | 5 | 11] => Some(Hash::Sha256),
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            _ => None,
        };
    }
    match identifier.strip_prefix(ECDSA)? {
        [1] | [3, 2] => Some(Hash::Sha256),
        [3, 3] => Some(Hash::Sha384),
        [3, 4] => Some(Hash::Sha512),
        _ => None,
    }
}

/// RSASSA-PSS names its hash in its parameters (RFC 4055); without one it is SHA-1.
fn pss_hash(mut algorithm: Der<'_>) -> Option<Hash> {
    /// 2.16.840.1.101.3.4.2, NIST hash algorithms
    const NIST: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    let Some(hash) = (Der {
        rest: algorithm.expect(SEQUENCE)?,
    })
    .expect(CONTEXT_0) else {
        return Some(Hash::Sha256);
    };
    let identifier = Der {
        rest: Der { rest: hash }.expect(SEQUENCE)?,
    }
    .expect(OBJECT_IDENTIFIER)?;
    match identifier.strip_prefix(NIST) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        Some(_) => None,
        None => Some(Hash::Sha256),
    }
}

struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    /// The content of the next element, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], mut rest) = self.rest.split_first_chunk::<2>()?;
        if found != tag {
            return None;
        }
        let length = match first {
            ..=0x7F => usize::from(first),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7F))?;
                rest = after;
                bytes.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte))
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.rest = after;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let mut body = vec![SEQUENCE, 0];
        body.extend([SEQUENCE, u8::try_from(algorithm.len()).unwrap_or(0)]);
        body.extend(algorithm);
        body.extend([0x03, 1, 0]);
        let mut whole = vec![SEQUENCE, 0x81, u8::try_from(body.len()).unwrap_or(0)];
        whole.extend(body);
        whole
    }

    fn identifier(bytes: &[u8]) -> Vec<u8> {
        [&[OBJECT_IDENTIFIER, u8::try_from(bytes.len()).unwrap_or(0)], bytes].concat()
    }

    fn length(algorithm: &[u8]) -> Option<usize> {
        end_point_hash(&certificate(algorithm)).map(|hash| hash.len())
    }

    #[test]
    fn takes_the_hash_of_the_signature() {
        let rsa = |last| identifier(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, last]);
        assert_eq!(length(&rsa(5)), Some(32), "SHA-1 is replaced");
        assert_eq!(length(&rsa(11)), Some(32));
        assert_eq!(length(&rsa(12)), Some(48));
        assert_eq!(length(&rsa(13)), Some(64));
        let ecdsa = |last| identifier(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 3, last]);
        assert_eq!(length(&ecdsa(2)), Some(32));
        assert_eq!(length(&ecdsa(3)), Some(48));
        assert_eq!(length(&identifier(&[0x2B, 0x65, 0x70])), None, "Ed25519");
    }

    #[test]
    fn reads_the_parameters_of_pss() {
        let sha512 = identifier(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 3]);
        let hash = [vec![SEQUENCE, 11], sha512].concat();
        let parameters = [vec![CONTEXT_0, 13], hash].concat();
        let algorithm = [identifier(RSA_PSS), vec![SEQUENCE, 15], parameters].concat();
        assert_eq!(length(&algorithm), Some(64));
        assert_eq!(length(&[identifier(RSA_PSS), vec![SEQUENCE, 0]].concat()), Some(32));
    }

    #[test]
    fn survives_what_is_not_a_certificate() {
        let good = certificate(&identifier(RSA_PSS));
        for end in 0..good.len() {
            assert_eq!(end_point_hash(&good[..end]), None);
        }
        assert_eq!(end_point_hash(&[SEQUENCE, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0]), None);
    }
}

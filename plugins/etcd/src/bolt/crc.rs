//! CRC-32C of the whole from the CRCs of its parts: [`Joined`].
//!
//! The host computes the CRC of each page as it passes, in no order that means anything; the tree says later which comes after which. The CRC of `a`
//! followed by `b` is that of `a` times x^(8·|b|), plus that of `b`, in the polynomials that CRCs are made of (Castagnoli's, as RFC 3720 has it).

/// Castagnoli's polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// x⁰: the highest bit stands for the lowest power.
const ONE: u32 = 1 << 31;

/// x^(8·2^k): what a CRC is multiplied with for 2^k bytes that follow.
const SHIFTS: [u32; 48] = shifts();

const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 0 { b >> 1 } else { (b >> 1) ^ POLYNOMIAL };
        bit >>= 1;
    }
    product
}

const fn shifts() -> [u32; 48] {
    let mut shifts = [0; 48];
    let mut power = ONE >> 8;
    let mut k = 0;
    while k < shifts.len() {
        shifts[k] = power;
        power = multiply(power, power);
        k += 1;
    }
    shifts
}

/// The CRC of everything that was appended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Joined(u32);

impl Joined {
    /// The CRC of a first part.
    pub(crate) fn of(crc: u32) -> Self {
        Self(crc)
    }

    /// Appends `length` bytes that have the CRC `crc`.
    pub(crate) fn append(&mut self, crc: u32, length: u64) {
        let mut shifted = self.0;
        for (k, shift) in SHIFTS.iter().enumerate() {
            if (length >> k) & 1 == 1 {
                shifted = multiply(*shift, shifted);
            }
        }
        self.0 = shifted ^ crc;
    }

    /// The CRC of all.
    pub(crate) fn crc(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use bulkhead_sdk::{
        digest::{Algorithm, digest},
        testing::Harness,
    };

    use super::*;

    fn crc(data: &[u8]) -> u32 {
        u32::from_be_bytes(digest(Algorithm::Crc32c, data).try_into().unwrap())
    }

    #[test]
    fn parts_have_the_crc_of_the_whole() {
        Harness::new().run(|| {
            let data: Vec<u8> = (0..100_000_u32).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
            for cut in [0, 1, 2, 7, 4096, 65_536, 99_999, 100_000] {
                let (front, back) = data.split_at(cut);
                let mut joined = Joined::default();
                joined.append(crc(front), front.len() as u64);
                joined.append(crc(back), back.len() as u64);
                assert_eq!(joined.crc(), crc(&data), "cut at {cut}");
            }
        });
    }
}

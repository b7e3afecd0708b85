//! The checksum of RDB files and of `DUMP` payloads: [`Crc64`], "CRC-64/Jones" (reflected, no initial value, no final inversion).

/// The polynomial 0xad93d23594c935a9 with its bits in reflected order.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// `TABLES[n][byte]`: what `byte` contributes when `n` further bytes follow. Eight at once keep pace with the network inside a sandbox.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let value = tables[table - 1][byte];
            tables[table][byte] = tables[0][(value & 0xff) as usize] ^ (value >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A CRC-64 in progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crc64(u64);

impl Crc64 {
    /// Takes further bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for block in blocks {
            let mixed = (crc ^ u64::from_le_bytes(*block)).to_le_bytes();
            crc = TABLES[7][usize::from(mixed[0])]
                ^ TABLES[6][usize::from(mixed[1])]
                ^ TABLES[5][usize::from(mixed[2])]
                ^ TABLES[4][usize::from(mixed[3])]
                ^ TABLES[3][usize::from(mixed[4])]
                ^ TABLES[2][usize::from(mixed[5])]
                ^ TABLES[1][usize::from(mixed[6])]
                ^ TABLES[0][usize::from(mixed[7])];
        }
        for &byte in rest {
            crc = TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// The checksum so far; files have it in little-endian order.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_check_value_in_any_pieces() {
        for cut in 0..=9 {
            let (head, tail) = b"123456789".split_at(cut);
            let mut crc = Crc64::default();
            crc.update(head);
            crc.update(tail);
            assert_eq!(crc.value(), 0xe9c6_d914_c4b8_d9ca, "cut at {cut}");
        }
    }
}

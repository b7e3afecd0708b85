//! The few pieces that an RDB file of `DUMP`ed values is made of. Each appends to a buffer; the checksum over all of them is the writer's own.

use crate::Version;

/// Length of what ends a `DUMP` payload: version and checksum.
pub const DUMP_FOOTER: usize = 10;

/// A length or number.
pub fn number(into: &mut Vec<u8>, number: u64) {
    match number {
        0..0x40 => into.push(number.to_le_bytes()[0]),
        0x40..0x4000 => {
            let [low, high, ..] = number.to_le_bytes();
            into.extend_from_slice(&[0x40 | high, low]);
        }
        _ => match u32::try_from(number) {
            Ok(small) => {
                into.push(0x80);
                into.extend_from_slice(&small.to_be_bytes());
            }
            Err(_) => {
                into.push(0x81);
                into.extend_from_slice(&number.to_be_bytes());
            }
        },
    }
}

/// A string, raw.
pub fn text(into: &mut Vec<u8>, text: &[u8]) {
    number(into, text.len() as u64);
    into.extend_from_slice(text);
}

/// How a file begins.
pub fn header(into: &mut Vec<u8>, version: Version) {
    into.extend_from_slice(&version.header());
}

/// A statement about the file; a server that does not know it passes it over.
pub fn aux(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.push(250);
    text(into, name);
    text(into, value);
}

/// The keys that follow are of this database.
pub fn database(into: &mut Vec<u8>, index: u64) {
    into.push(254);
    number(into, index);
}

/// A function library's code.
pub fn function(into: &mut Vec<u8>, code: &[u8]) {
    into.push(245);
    text(into, code);
}

/// A key, up to its value: when it expires (milliseconds since 1970), its type, its name.
pub fn key(into: &mut Vec<u8>, expires: Option<u64>, kind: u8, name: &[u8]) {
    if let Some(expires) = expires {
        into.push(252);
        into.extend_from_slice(&expires.to_le_bytes());
    }
    into.push(kind);
    text(into, name);
}

/// The end mark; the checksum of everything up to and with it follows, in little-endian order.
pub fn end(into: &mut Vec<u8>) {
    into.push(255);
}

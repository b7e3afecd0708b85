//! What a value looks like, type by type: a program of [`Step`]s. They say where a value ends, not what it means.

use crate::{Dialect, Version};

/// One thing that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A length or number, 1, 2, 5 or 9 bytes.
    Number,
    /// A string: raw, an integer, or compressed.
    Text,
    /// So many bytes.
    Bytes(u8),
    /// A number in text, with its length in front (sorted sets of old).
    TextualDouble,
    /// A count, and so many times these steps; a count of zero is a key that servers pass over.
    Elements(&'static [Step]),
    /// A count, and so many times these steps; there may be none.
    Items(&'static [Step]),
    /// A module's annotated fields, up to their end mark.
    ModuleFields,
    /// What the next field of a module's value is.
    ModuleCode,
    /// A number that is kept for whoever runs the program.
    Fact,
    /// So many bytes, at most 8, that are kept as a little-endian number.
    Kept(u8),
    /// A string that is kept, decoded.
    Name,
}

use Step::{Bytes, Elements, Fact, Items, Kept, ModuleCode, ModuleFields, Name, Number, Text, TextualDouble};

/// A stream's entry: its id (16 bytes), time of delivery, and how often.
const PENDING: &[Step] = &[Bytes(16), Bytes(8), Number];
/// An id that a consumer has not acknowledged.
const OWNED: &[Step] = &[Bytes(16)];
/// Nodes: first id and a listpack of entries.
const STREAM_NODES: Step = Items(&[Text, Text]);

/// The program of a type of value; `None` where this version has no such type.
#[must_use]
pub(crate) fn value(kind: u8, version: Version) -> Option<&'static [Step]> {
    let redis = version.dialect == Dialect::Redis;
    Some(match kind {
        0 | 9..=13 | 16 | 17 | 20 => &[Text],
        1 | 2 | 14 => &[Elements(&[Text])],
        3 => &[Elements(&[Text, TextualDouble])],
        4 => &[Elements(&[Text, Text])],
        5 => &[Elements(&[Text, Bytes(8)])],
        7 => &[Number, ModuleFields],
        15 => STREAM_1,
        18 => &[Elements(&[Number, Text])],
        19 => STREAM_2,
        21 => STREAM_3,
        // Hashes whose fields expire.
        22 if !redis => &[Elements(&[Text, Text, Bytes(8)])],
        22 if version.number >= 12 => &[Elements(&[Number, Text, Text])],
        23 if redis && version.number >= 12 => &[Text],
        24 if redis && version.number >= 12 => &[Bytes(8), Elements(&[Number, Text, Text])],
        25 if redis && version.number >= 12 => &[Bytes(8), Text],
        _ => return None,
    })
}

/// Redis 5 and 6: nodes, length, last id, groups.
const STREAM_1: &[Step] = &[STREAM_NODES, Number, Number, Number, Items(GROUP_1)];
const GROUP_1: &[Step] = &[Text, Number, Number, Items(PENDING), Items(CONSUMER_1)];
const CONSUMER_1: &[Step] = &[Text, Bytes(8), Items(OWNED)];

/// Redis 7.0 adds the first id, the largest deleted id and the number of entries ever added; to a group the number of entries read.
const STREAM_2: &[Step] = &[
    STREAM_NODES,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Items(GROUP_2),
];
const GROUP_2: &[Step] = &[Text, Number, Number, Number, Items(PENDING), Items(CONSUMER_1)];

/// Redis 7.2 adds to a consumer when it was last active.
const STREAM_3: &[Step] = &[
    STREAM_NODES,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Items(GROUP_3),
];
const GROUP_3: &[Step] = &[Text, Number, Number, Number, Items(PENDING), Items(CONSUMER_3)];
const CONSUMER_3: &[Step] = &[Text, Bytes(8), Bytes(8), Items(OWNED)];

/// Fields of a module's value, as often as it takes.
pub(crate) const MODULE_CODES: &[Step] = &[ModuleCode];

/// What follows a module's code; `None` where there is no such code.
pub(crate) fn module_field(code: u64) -> Option<&'static [Step]> {
    Some(match code {
        1 | 2 => &[Number],
        3 => &[Bytes(4)],
        4 => &[Bytes(8)],
        5 => &[Text],
        _ => return None,
    })
}

/// What an opcode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// What a slot migration in progress imports; a server's own affair.
    SlotImport,
    /// Size hints of a cluster's slot.
    SlotInfo,
    Function,
    ModuleAux,
    Idle,
    Frequency,
    Aux,
    Resize,
    ExpiryMilliseconds,
    ExpirySeconds,
    Database,
}

/// An opcode with its program; the end mark, 255, is none of them.
pub(crate) fn opcode(byte: u8, version: Version) -> Option<(Opcode, &'static [Step])> {
    Some(match byte {
        243 if version.dialect == Dialect::Valkey => (Opcode::SlotImport, &[Text, Items(&[Number, Number])]),
        244 => (Opcode::SlotInfo, &[Number, Number, Number]),
        245 => (Opcode::Function, &[Text]),
        247 => (Opcode::ModuleAux, &[Number, Number, Number, ModuleFields]),
        248 => (Opcode::Idle, &[Fact]),
        249 => (Opcode::Frequency, &[Kept(1)]),
        250 => (Opcode::Aux, &[Name, Name]),
        251 => (Opcode::Resize, &[Fact, Fact]),
        252 => (Opcode::ExpiryMilliseconds, &[Kept(8)]),
        253 => (Opcode::ExpirySeconds, &[Kept(4)]),
        254 => (Opcode::Database, &[Fact]),
        _ => return None,
    })
}

/// The name of a key.
pub(crate) const KEY: &[Step] = &[Name];

/// The type, and how it is stored, in the words of `TYPE` and `OBJECT ENCODING` as far as the file tells.
#[must_use]
pub fn name(kind: u8) -> (&'static str, &'static str) {
    match kind {
        0 => ("string", "raw"),
        1 => ("list", "linkedlist"),
        2 => ("set", "hashtable"),
        3 | 5 => ("zset", "skiplist"),
        4 => ("hash", "hashtable"),
        7 => ("module", "raw"),
        9 => ("hash", "zipmap"),
        10 => ("list", "ziplist"),
        11 => ("set", "intset"),
        12 => ("zset", "ziplist"),
        13 => ("hash", "ziplist"),
        14 | 18 => ("list", "quicklist"),
        15 | 19 | 21 => ("stream", "stream"),
        16 => ("hash", "listpack"),
        17 => ("zset", "listpack"),
        20 => ("set", "listpack"),
        22 | 24 => ("hash", "hashtable"),
        23 | 25 => ("hash", "listpackex"),
        _ => ("unknown", "unknown"),
    }
}

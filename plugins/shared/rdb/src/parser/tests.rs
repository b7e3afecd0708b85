//! The parser against files that the tests write themselves ([`Witness`] notes what it is told): every type and opcode, and every way to be wrong, also those
//! that no server at hand writes.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{text::decode, write};

/// Writes down what it is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Witness {
    told: Vec<String>,
    bytes: Vec<u8>,
}

impl Visitor for Witness {
    type Error = RdbError;

    fn version(&mut self, version: Version) -> Result<(), RdbError> {
        self.told.push(format!("version {version}"));
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), RdbError> {
        self.told.push(format!("{} = {}", name.escape_ascii(), value.escape_ascii()));
        Ok(())
    }

    fn resize(&mut self, database: u64, keys: u64, expires: u64) -> Result<(), RdbError> {
        self.told.push(format!("database {database}: {keys} keys, {expires} expire"));
        Ok(())
    }

    fn begin(&mut self, _: Record<'_>) -> Result<(), RdbError> {
        self.bytes.clear();
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        let what = match record {
            Record::Function => "function".to_owned(),
            Record::Key(key) => format!(
                "{}/{} type {} expires {:?} idle {:?} frequency {:?}",
                key.database,
                key.name.escape_ascii(),
                key.kind,
                key.expires,
                key.idle,
                key.frequency
            ),
        };
        self.told.push(format!("{what}: {}", self.bytes.escape_ascii()));
        Ok(())
    }
}

/// A file of version 12 with this between its header and its end.
fn file(body: &[u8]) -> Vec<u8> {
    versioned(12, body)
}

fn versioned(number: u16, body: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    write::header(&mut file, Version::from_number(number).unwrap());
    file.extend_from_slice(body);
    write::end(&mut file);
    let mut crc = Crc64::default();
    crc.update(&file);
    file.extend_from_slice(&crc.value().to_le_bytes());
    file
}

fn parse(file: &[u8], piece: usize) -> Result<Witness, RdbError> {
    let mut witness = Witness::default();
    let mut parser = Parser::new();
    let mut read = 0;
    for piece in file.chunks(piece) {
        read += parser.feed(piece, &mut witness)?;
    }
    parser.finish()?;
    assert_eq!(read as u64, parser.position());
    Ok(witness)
}

fn key(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    write::key(&mut body, None, kind, name);
    body.extend_from_slice(value);
    body
}

#[test]
fn statements_keys_and_values_whatever_the_pieces() {
    let mut body = Vec::new();
    write::aux(&mut body, b"redis-ver", b"8.2.3");
    write::aux(&mut body, b"long", &vec![b'x'; usize::try_from(AUX_LIMIT).unwrap() + 1]);
    write::function(&mut body, b"#!lua name=f");
    write::database(&mut body, 3);
    body.extend_from_slice(b"\xfb\x02\x01");
    body.extend_from_slice(b"\xf8\x05");
    write::key(&mut body, Some(1_800_000_000_123), 0, b"k");
    write::text(&mut body, b"v");
    // A key that is an integer, with a frequency, an expiry in seconds, and a compressed value.
    body.extend_from_slice(b"\xfd\x01\x00\x00\x00\xf9\x07\x00\xc1\x39\x30\xc3\x04\x07\x00a\x80\x00");
    // A compressed key.
    body.extend_from_slice(b"\x00\xc3\x04\x07\x00a\x80\x00\x01v");
    let file = file(&body);
    let whole = parse(&file, file.len()).unwrap();
    assert_eq!(
        whole.told,
        [
            "version 12",
            "redis-ver = 8.2.3",
            "long = ",
            "function: \\x0c#!lua name=f",
            "database 3: 2 keys, 1 expire",
            "3/k type 0 expires Some(1800000000123) idle Some(5) frequency None: \\x01v",
            "3/12345 type 0 expires Some(1000) idle None frequency Some(7): \\xc3\\x04\\x07\\x00a\\x80\\x00",
            "3/aaaaaaa type 0 expires None idle None frequency None: \\x01v",
        ]
    );
    for piece in [1, 2, 3, 5, 7, 64] {
        assert_eq!(parse(&file, piece).unwrap().told, whole.told, "in pieces of {piece}");
    }
}

/// A value of each type, whole.
fn values() -> Vec<(u16, u8, Vec<u8>)> {
    let stream = |middle: &[u8], consumer: &[u8]| {
        let nodes = [&b"\x01\x10"[..], &[1; 16], b"\x03abc"].concat();
        let group = [&b"\x01\x01g\x05\x00"[..], middle].concat();
        let pending = [&b"\x01"[..], &[2; 16], &[3; 8], b"\x01"].concat();
        let owned = [&b"\x01\x01c"[..], &[4; 8], consumer, b"\x01", &[2; 16]].concat();
        (nodes, [group, pending, owned].concat())
    };
    let (nodes, group) = stream(b"", b"");
    let stream_1 = [&nodes[..], b"\x01\x05\x00", &group].concat();
    let (nodes, group) = stream(b"\x07", b"");
    let stream_2 = [&nodes[..], b"\x01\x05\x00\x05\x00\x00\x00\x01", &group].concat();
    let (nodes, group) = stream(b"\x07", &[9; 8]);
    let stream_3 = [&nodes[..], b"\x01\x05\x00\x05\x00\x00\x00\x01", &group].concat();
    let module = [
        &b"\x81\x01\x02\x03\x04\x05\x06\x07\x08\x01\x05\x02\x06\x03"[..],
        &[0; 4],
        b"\x04",
        &[0; 8],
        b"\x05\x03xyz\x00",
    ]
    .concat();
    let double = [&b"\x02\x01a\x03"[..], b"1.5", b"\x01b\xfe"].concat();
    let binary_double = [&b"\x01\x01a"[..], &[0; 8]].concat();
    let field_ttl_80 = [&b"\x01\x01f\x01v"[..], &[255; 8]].concat();
    let field_ttl_24 = [&[7; 8][..], b"\x01\x05\x01f\x01v"].concat();
    let mut values = vec![
        (9, 0, b"\x40\x41".iter().chain(&[b'x'; 65]).copied().collect()),
        (9, 0, b"\xc0\x01".to_vec()),
        (9, 0, b"\xc2\x01\x02\x03\x04".to_vec()),
        (9, 1, b"\x02\x01a\xc0\x05".to_vec()),
        (9, 2, b"\x01\x01a".to_vec()),
        (9, 3, double),
        (9, 4, b"\x01\x01f\x01v".to_vec()),
        (9, 5, binary_double),
        (9, 7, module),
        (9, 14, b"\x02\x03abc\x80\x00\x00\x00\x01x".to_vec()),
        (9, 15, stream_1),
        (10, 18, b"\x02\x01\x03abc\x02\x03def".to_vec()),
        (10, 19, stream_2),
        (11, 21, stream_3),
        (80, 22, field_ttl_80),
        (12, 22, b"\x01\x05\x01f\x01v".to_vec()),
        (12, 24, field_ttl_24),
        (12, 25, [&[7; 8][..], b"\x03abc"].concat()),
    ];
    values.extend([9, 10, 11, 12, 13, 16, 17, 20].map(|kind| (11, kind, b"\x03abc".to_vec())));
    values.push((12, 23, b"\x03abc".to_vec()));
    values
}

#[test]
fn every_type_ends_where_it_ends_and_nowhere_else() {
    for (version, kind, value) in values() {
        // A second key behind it: were the first one longer or shorter, this one would not be found.
        let body = [key(kind, b"first", &value), key(0, b"second", b"\x01v")].concat();
        let file = versioned(version, &body);
        let whole = parse(&file, file.len()).unwrap_or_else(|error| panic_with(kind, &error));
        let expected = format!(
            "0/first type {kind} expires None idle None frequency None: {}",
            value.escape_ascii()
        );
        assert_eq!(whole.told[1], expected);
        assert_eq!(parse(&file, 1).unwrap().told, whole.told);
        assert_ne!(crate::type_name(kind).0, "unknown", "{kind}");
        for cut in 0..file.len() {
            let error = parse(&file[..cut], 16).unwrap_err();
            assert_eq!(error, RdbError::Truncated(cut as u64), "type {kind} cut at {cut}");
        }
    }
}

#[expect(clippy::panic, reason = "tests")]
fn panic_with(kind: u8, error: &RdbError) -> Witness {
    panic!("type {kind}: {error}")
}

#[test]
fn what_is_wrong_is_named() {
    let error = |body: &[u8]| {
        let whole = parse(&file(body), 4096).unwrap_err();
        assert_eq!(parse(&file(body), 1).unwrap_err(), whole, "in pieces");
        whole
    };
    assert_eq!(error(b"\x06\x01k"), RdbError::OldModule { offset: 9 });
    assert_eq!(error(b"\x08\x01k"), RdbError::Opcode { opcode: 8, offset: 9 });
    assert_eq!(error(b"\x1a\x01k"), RdbError::Opcode { opcode: 26, offset: 9 });
    assert_eq!(error(b"\xf3\x01k"), RdbError::Opcode { opcode: 243, offset: 9 });
    assert_eq!(error(b"\xf9\x07\xfe\x00"), RdbError::KeyMissing { opcode: 254, offset: 11 });
    assert_eq!(error(b"\xf9\x07"), RdbError::KeyMissing { opcode: 255, offset: 11 });
    assert_eq!(error(b"\x00\xc4"), RdbError::Encoding { found: 0xc4, offset: 10 });
    assert_eq!(error(b"\x00\x82"), RdbError::Encoding { found: 0x82, offset: 10 });
    assert_eq!(error(b"\x02\x01k\xc0"), RdbError::Length { found: 0xc0, offset: 12 });
    assert_eq!(error(b"\x07\x01k\x05\x06"), RdbError::ModuleCode { found: 6, offset: 13 });
    // A code of two bytes that come apart is where it begins.
    assert_eq!(error(b"\x07\x01k\x05\x40\x06"), RdbError::ModuleCode { found: 6, offset: 13 });
    assert!(matches!(error(b"\x00\xc3\x04\x08\x00a\x80\x00\x01v"), RdbError::Compression { .. }));
    assert!(matches!(error(b"\x00\x80\xff\xff\xff\xff"), RdbError::Truncated(_)));
    // Type 22 is Redis' from version 12 on only.
    let early = parse(&versioned(11, b"\x16\x01k"), 4096).unwrap_err();
    assert_eq!(early, RdbError::Opcode { opcode: 22, offset: 9 });
}

/// Keys, as they are at their ends.
#[derive(Default)]
struct Keys(Vec<Key>);

impl Visitor for Keys {
    type Error = RdbError;

    fn end(&mut self, record: Record<'_>) -> Result<(), RdbError> {
        if let Record::Key(key) = record {
            self.0.push(key.clone());
        }
        Ok(())
    }
}

#[test]
fn keys_without_elements_and_keys_with_long_names_are_told_and_passed() {
    let long = usize::try_from(KEY_LIMIT).unwrap() + 1;
    let body = [
        key(2, b"none", b"\x00"),
        key(0, &vec![b'x'; long], b"\x01v"),
        key(2, b"one", b"\x01\x01e"),
        key(0, &vec![b'x'; long - 1], b"\x01v"),
    ]
    .concat();
    for (mut parser, named) in [(Parser::new(), true), (Parser::without_names(), false)] {
        let mut keys = Keys::default();
        for piece in file(&body).chunks(70_000) {
            parser.feed(piece, &mut keys).unwrap();
        }
        parser.finish().unwrap();
        let told: Vec<_> = keys.0.iter().map(|key| (key.name.len(), key.long_name, key.empty)).collect();
        let length = |length: usize| if named { length } else { 0 };
        let expected = [
            (length(4), None, true),
            (0, Some(KEY_LIMIT + 1), false),
            (length(3), None, false),
            (length(long - 1), None, false),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn strings_are_decoded_whole_or_not_at_all() {
    assert_eq!(decode(b"\x03abc").unwrap(), b"abc");
    assert_eq!(decode(b"\xc3\x05\x0a\x00a\xe0\x00\x00").map(|text| text.len()), Some(10));
    for wrong in [
        &b""[..],
        b"\x03ab",
        b"\x03abcd",
        b"\xc0\x01",
        b"\xc3\x81",
        b"\xc3\x01\x80\xff\xff\xff\xff\x00",
        b"\xc4",
    ] {
        assert_eq!(decode(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_changed_byte_never_passes_and_a_missing_checksum_is_told() {
    let whole = file(&key(4, b"k", b"\x01\x01f\x01v"));
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 0x01;
        parse(&changed, 4096).unwrap_err();
    }
    let mut unsummed = whole.clone();
    let length = unsummed.len();
    unsummed[length - 8..].fill(0);
    let mut parser = Parser::without_names();
    assert_eq!(parser.feed(&unsummed, &mut Witness::default()).unwrap(), length);
    assert_eq!(parser.checksum(), Some(0));
}

#[test]
fn what_follows_the_file_is_left() {
    let whole = file(&key(0, b"k", b"\x01v"));
    let longer = [&whole[..], b"the end mark of a diskless transfer"].concat();
    for cut in 0..longer.len() {
        let mut parser = Parser::new();
        let (head, tail) = longer.split_at(cut);
        let read = parser.feed(head, &mut Witness::default()).unwrap() + parser.feed(tail, &mut Witness::default()).unwrap();
        assert_eq!(read, whole.len(), "cut at {cut}");
        assert!(parser.is_done());
    }
}

#[test]
fn a_value_of_any_length_is_never_held() {
    // The length says 2^60 bytes: nothing is allocated for it.
    let head = [&b"REDIS0012\x00\x01k\x81\x10"[..], &[0; 7]].concat();
    let mut parser = Parser::new();
    struct Count(u64);
    impl Visitor for Count {
        type Error = RdbError;
        fn bytes(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
            self.0 += bytes.len() as u64;
            Ok(())
        }
    }
    let mut count = Count(0);
    parser.feed(&head, &mut count).unwrap();
    for _ in 0..1000 {
        parser.feed(&[0; 4096], &mut count).unwrap();
    }
    assert_eq!(count.0, 9 + 1000 * 4096);
    assert!(parser.finish().is_err());
}

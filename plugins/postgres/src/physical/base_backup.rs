//! The command `BASE_BACKUP`: how it is written ([`command`]) and what comes back ([`receive`]).
//!
//! Source: PostgreSQL's documentation, chapter "Streaming Replication Protocol". The answer is a result set with the start of the backup, one with the
//! tablespaces, the archives and the manifest, and a result set with the end. Up to version 14 each archive is a `COPY` of its own; from 15 on there is one
//! `COPY` whose messages begin with a letter: `n` a new archive, `m` the manifest, `d` data, `p` progress.

use bulkhead_postgres_client::{ClientError, CopyEvent, Lsn, ServerReport, Session, TimelineId, Transport, wire::Fields};
use bulkhead_sdk::{Error, Result};

use super::layout::Archive;
use crate::config::Checkpoint;

/// The longest header of an archive or of progress, in bytes: two strings, of which one is a path.
const MAX_HEADER: usize = 16 << 10;

/// Tablespaces that a cluster may have; each costs a grant in the TOML, so nobody has as many.
const MAX_TABLESPACES: usize = 10_000;

/// SQLSTATE `data_corrupted`: what a base backup ends with where pages had wrong checksums.
const DATA_CORRUPTED: &str = "XX001";

const NAME: &str = "BASE_BACKUP";

/// Writes the command for a server of version `major`.
pub(crate) fn command(major: u32, checkpoint: Checkpoint, max_rate_kib: Option<u32>) -> String {
    if major >= 15 {
        let checkpoint = match checkpoint {
            Checkpoint::Fast => "fast",
            Checkpoint::Spread => "spread",
        };
        let rate = max_rate_kib.map(|rate| format!(", MAX_RATE {rate}")).unwrap_or_default();
        format!(
            "BASE_BACKUP (LABEL 'bulkhead', PROGRESS, CHECKPOINT '{checkpoint}', WAL, WAIT 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', \
             VERIFY_CHECKSUMS 1{rate})"
        )
    } else {
        let checkpoint = match checkpoint {
            Checkpoint::Fast => " FAST",
            Checkpoint::Spread => "",
        };
        let rate = max_rate_kib.map(|rate| format!(" MAX_RATE {rate}")).unwrap_or_default();
        format!("BASE_BACKUP LABEL 'bulkhead' PROGRESS{checkpoint} WAL NOWAIT{rate} MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'")
    }
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) lsn: Lsn,
    pub(crate) timeline: TimelineId,
}

/// A tablespace, or PGDATA itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tablespace {
    pub(crate) archive: Archive,
    /// As the server estimates it, in bytes.
    pub(crate) size: u64,
}

/// Takes what a base backup consists of, in order.
pub(crate) trait Receiver {
    /// The backup begins.
    fn begin(&mut self, start: Point, tablespaces: &[Tablespace]) -> Result<()>;
    /// What follows belongs to this archive.
    fn archive(&mut self, archive: Archive) -> Result<()>;
    /// What follows belongs to the manifest.
    fn manifest(&mut self) -> Result<()>;
    /// The next bytes.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;
    /// The archive or manifest is complete.
    fn content_end(&mut self) -> Result<()>;
    /// The backup is complete.
    fn end(&mut self, end: Point) -> Result<()>;
}

/// Runs the command. A server that found damaged pages says so after everything was sent: that report comes back, and the rest is as usual.
pub(crate) fn receive<T: Transport>(
    session: &mut Session<T>,
    command: &str,
    major: u32,
    receiver: &mut dyn Receiver,
) -> Result<Option<ServerReport>> {
    let mut exchange = Exchange {
        receiver,
        multiplexed: major >= 15,
        result_sets: 0,
        start: None,
        tablespaces: Vec::new(),
        copies: 0,
        open: false,
        message: CopyMessage::default(),
        ended: false,
    };
    session.start(command)?;
    loop {
        match session.next_event() {
            Ok(CopyEvent::Ready) => return exchange.finish().map(|()| None),
            Ok(event) => exchange.handle(event)?,
            Err(ClientError::Server(report)) if exchange.ended && report.code == DATA_CORRUPTED => return Ok(Some(*report)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn lacks(what: &'static str) -> Error {
    ClientError::Answer { command: NAME, what }.into()
}

/// The message of a multiplexed copy that is being read.
#[derive(Debug, Default)]
struct CopyMessage {
    kind: u8,
    header: Vec<u8>,
}

struct Exchange<'a> {
    receiver: &'a mut dyn Receiver,
    multiplexed: bool,
    result_sets: u32,
    start: Option<Point>,
    tablespaces: Vec<Tablespace>,
    /// `COPY`s that have begun.
    copies: usize,
    /// Whether an archive or manifest is being sent.
    open: bool,
    message: CopyMessage,
    ended: bool,
}

impl Exchange<'_> {
    fn handle(&mut self, event: CopyEvent<'_>) -> Result<()> {
        match event {
            CopyEvent::Columns(_) => {
                self.result_sets += 1;
                Ok(())
            }
            CopyEvent::Row(row) => self.row(&row),
            CopyEvent::CopyOut => self.copy_begins(),
            CopyEvent::CopyData { bytes, first, last } if self.multiplexed => self.multiplexed_data(bytes, first, last),
            CopyEvent::CopyData { bytes, .. } if self.open => self.receiver.data(bytes),
            CopyEvent::CopyData { .. } => Err(lacks("an archive around its data")),
            CopyEvent::CopyIn | CopyEvent::CopyBoth => Err(lacks("an archive: it asks for data instead")),
            CopyEvent::CopyDone => self.close(),
            CopyEvent::CommandComplete(_) | CopyEvent::Ready => Ok(()),
        }
    }

    fn row(&mut self, row: &[Option<String>]) -> Result<()> {
        match self.result_sets {
            1 if self.start.is_none() => self.start = Some(point(row)?),
            2 if self.tablespaces.len() < MAX_TABLESPACES => self.tablespaces.push(tablespace(row)?),
            3 if !self.ended => {
                self.receiver.end(point(row)?)?;
                self.ended = true;
            }
            _ => return Err(lacks("the documented result sets")),
        }
        Ok(())
    }

    fn copy_begins(&mut self) -> Result<()> {
        if self.copies == 0 {
            let start = self.start.ok_or_else(|| lacks("the start of the backup"))?;
            self.receiver.begin(start, &self.tablespaces)?;
        }
        let copy = self.copies;
        self.copies += 1;
        if self.multiplexed {
            return Ok(());
        }
        self.open = true;
        match self.tablespaces.get(copy) {
            Some(tablespace) => self.receiver.archive(tablespace.archive),
            None if copy == self.tablespaces.len() => self.receiver.manifest(),
            None => Err(lacks("one archive for each tablespace and one manifest")),
        }
    }

    fn multiplexed_data(&mut self, bytes: &[u8], first: bool, last: bool) -> Result<()> {
        let mut bytes = bytes;
        if first {
            let (&kind, rest) = bytes.split_first().ok_or_else(|| lacks("the type of a message"))?;
            self.message.kind = kind;
            self.message.header.clear();
            bytes = rest;
        }
        if self.message.kind == b'd' {
            return if self.open {
                self.receiver.data(bytes)
            } else {
                Err(lacks("an archive around its data"))
            };
        }
        if self.message.header.len() + bytes.len() > MAX_HEADER {
            return Err(lacks("message headers of a reasonable length"));
        }
        self.message.header.extend_from_slice(bytes);
        if last { self.header() } else { Ok(()) }
    }

    fn header(&mut self) -> Result<()> {
        match self.message.kind {
            b'n' => {
                self.close()?;
                let archive = archive_of(&self.message.header)?;
                self.open = true;
                self.receiver.archive(archive)
            }
            b'm' => {
                self.close()?;
                self.open = true;
                self.receiver.manifest()
            }
            // Progress: what was sent is counted here anyway.
            b'p' => Ok(()),
            _ => Err(lacks("messages of a known type")),
        }
    }

    fn close(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open) {
            self.receiver.content_end()
        } else {
            Ok(())
        }
    }

    fn finish(&self) -> Result<()> {
        if self.ended { Ok(()) } else { Err(lacks("the end of the backup")) }
    }
}

/// `n`: the archive's name (`base.tar`, `<oid>.tar`) and the tablespace's location.
fn archive_of(header: &[u8]) -> Result<Archive> {
    let name = Fields::new(header).string().map_err(|_| lacks("the name of an archive"))?;
    if name == b"base.tar" {
        return Ok(Archive::Base);
    }
    let oid = name.strip_suffix(b".tar").and_then(super::layout::oid);
    oid.map(Archive::Tablespace)
        .ok_or_else(|| lacks("an archive's name with the OID of a tablespace"))
}

fn point(row: &[Option<String>]) -> Result<Point> {
    let field = |index: usize| row.get(index).and_then(Option::as_deref);
    let lsn = field(0).and_then(|text| text.parse().ok()).ok_or_else(|| lacks("a log position"))?;
    let timeline = field(1).and_then(|text| text.parse().ok()).ok_or_else(|| lacks("a timeline"))?;
    Ok(Point {
        lsn,
        timeline: TimelineId(timeline),
    })
}

/// OID (NULL for PGDATA itself), location, size in KiB.
fn tablespace(row: &[Option<String>]) -> Result<Tablespace> {
    let field = |index: usize| row.get(index).and_then(Option::as_deref);
    let archive = match field(0) {
        None => Archive::Base,
        Some(oid) => Archive::Tablespace(oid.parse().map_err(|_| lacks("the OID of a tablespace"))?),
    };
    let kib: u64 = field(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Tablespace {
        archive,
        size: kib.saturating_mul(1024),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{collections::VecDeque, time::Duration};

    use bulkhead_postgres_client::{ConnectOptions, connect};
    use bulkhead_sdk::{
        ErrorKind,
        endpoint::{self, Settings, TlsMode},
    };

    use super::*;

    #[test]
    fn both_syntaxes() {
        assert_eq!(
            command(15, Checkpoint::Spread, Some(51_200)),
            "BASE_BACKUP (LABEL 'bulkhead', PROGRESS, CHECKPOINT 'spread', WAL, WAIT 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', \
             VERIFY_CHECKSUMS 1, MAX_RATE 51200)"
        );
        assert_eq!(
            command(14, Checkpoint::Fast, None),
            "BASE_BACKUP LABEL 'bulkhead' PROGRESS FAST WAL NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'"
        );
    }

    #[test]
    fn archives_are_known_by_name() {
        assert_eq!(archive_of(b"base.tar\0\0").ok(), Some(Archive::Base));
        assert_eq!(archive_of(b"16384.tar\0/srv/x\0").ok(), Some(Archive::Tablespace(16384)));
        for wrong in [&b"base.tar"[..], b"../x.tar\0\0", b".tar\0\0", b"99999999999.tar\0\0"] {
            assert!(archive_of(wrong).is_err());
        }
    }

    /// Gives what was scripted, one chunk a read.
    struct Script(VecDeque<Vec<u8>>);

    impl Transport for Script {
        fn read(&mut self, _max: usize, _deadline: Option<Duration>) -> Result<Option<Vec<u8>>> {
            Ok(self.0.pop_front())
        }
        fn write(&mut self, _data: &[u8]) -> Result<()> {
            Ok(())
        }
        fn start_tls(&mut self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
    }

    /// Writes down what it receives.
    #[derive(Default)]
    struct Recorder(Vec<String>);

    impl Receiver for Recorder {
        fn begin(&mut self, start: Point, tablespaces: &[Tablespace]) -> Result<()> {
            self.0.push(format!("begin {} with {}", start.lsn, tablespaces.len()));
            Ok(())
        }
        fn archive(&mut self, archive: Archive) -> Result<()> {
            self.0.push(format!("{archive:?}"));
            Ok(())
        }
        fn manifest(&mut self) -> Result<()> {
            self.0.push("manifest".into());
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(())
        }
        fn content_end(&mut self) -> Result<()> {
            self.0.push("done".into());
            Ok(())
        }
        fn end(&mut self, end: Point) -> Result<()> {
            self.0.push(format!("end {}", end.lsn));
            Ok(())
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
    }

    /// A result set with these rows.
    fn result_set(rows: &[&[Option<&str>]]) -> Vec<u8> {
        let mut messages = message(b'T', &[0, 0]);
        for row in rows {
            let mut body = u16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
            for value in *row {
                body.extend(value.map_or(-1, |text| i32::try_from(text.len()).unwrap()).to_be_bytes());
                body.extend(value.unwrap_or_default().as_bytes());
            }
            messages.extend(message(b'D', &body));
        }
        messages.extend(message(b'C', b"SELECT\0"));
        messages
    }

    fn start() -> Vec<u8> {
        result_set(&[&[Some("0/2000028"), Some("1")]])
    }

    fn tablespaces() -> Vec<u8> {
        result_set(&[&[Some("16384"), Some("/srv/fast"), Some("1")], &[None, None, Some("2")]])
    }

    fn end() -> Vec<u8> {
        [
            result_set(&[&[Some("0/2000100"), Some("1")]]),
            message(b'C', b"BASE_BACKUP\0"),
            message(b'Z', b"I"),
        ]
        .concat()
    }

    /// Runs the command against a server of version `major` that sends `messages`.
    fn run(major: u32, messages: Vec<Vec<u8>>) -> (Result<Option<ServerReport>>, Vec<String>) {
        let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        let script = Script([vec![welcome], messages].concat().into());
        let settings = Settings {
            transport: endpoint::Transport::Unix,
            tls: TlsMode::Disable,
            client_certificate: false,
            addresses: vec![],
        };
        let options = ConnectOptions {
            user: "x",
            parameters: &[],
            password: &|| Err(ClientError::PasswordMissing),
            allow_cleartext_password: false,
        };
        let mut session = connect(script, &settings, &options).unwrap();
        let mut recorder = Recorder::default();
        let outcome = receive(&mut session, "BASE_BACKUP", major, &mut recorder);
        (outcome, recorder.0)
    }

    const EXPECTED: [&str; 11] = [
        "begin 0/2000028 with 2",
        "Tablespace(16384)",
        "one",
        "done",
        "Base",
        "two",
        "done",
        "manifest",
        "three",
        "done",
        "end 0/2000100",
    ];

    #[test]
    fn one_copy_with_letters() {
        let copy = [
            message(b'H', &[0; 3]),
            message(b'd', b"n16384.tar\0/srv/fast\0"),
            message(b'd', b"done"),
            message(b'd', b"nbase.tar\0\0"),
            message(b'd', b"p\0\0\0\0\0\0\0\x01"),
            message(b'd', b"dtwo"),
            message(b'd', b"m"),
            message(b'd', b"dthree"),
            message(b'c', b""),
        ];
        let (outcome, events) = run(15, [vec![start(), tablespaces()], copy.to_vec(), vec![end()]].concat());
        assert_eq!(outcome.unwrap(), None);
        assert_eq!(events, EXPECTED);
    }

    #[test]
    fn one_copy_for_each_archive() {
        let copy = |data: &[u8]| [message(b'H', &[0; 3]), message(b'd', data), message(b'c', b"")].concat();
        let (outcome, events) = run(14, vec![start(), tablespaces(), copy(b"one"), copy(b"two"), copy(b"three"), end()]);
        assert_eq!(outcome.unwrap(), None);
        assert_eq!(events, EXPECTED);
    }

    #[test]
    fn damage_is_reported_only_at_the_very_end() {
        let damaged = message(b'E', b"VERROR\0CXX001\0Mchecksums\0\0");
        let copy = [message(b'H', &[0; 3]), message(b'c', b"")].concat();
        let late = [result_set(&[&[Some("0/2000100"), Some("1")]]), damaged.clone()].concat();
        let (outcome, _) = run(15, vec![start(), tablespaces(), copy.clone(), late]);
        assert_eq!(outcome.unwrap().unwrap().code, "XX001");
        let (outcome, _) = run(15, vec![start(), tablespaces(), copy, damaged]);
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::SourceDamaged);
    }

    #[test]
    fn what_is_missing_or_too_much_is_refused() {
        let copy = |messages: &[&[u8]]| {
            let data: Vec<u8> = messages.iter().flat_map(|body| message(b'd', body)).collect();
            [message(b'H', &[0; 3]), data, message(b'c', b"")].concat()
        };
        let long = [b"n", &vec![b'x'; MAX_HEADER + 1][..]].concat();
        for wrong in [
            vec![end()],
            vec![start(), tablespaces(), message(b'Z', b"I")],
            vec![start(), tablespaces(), copy(&[b"ddata without archive"]), end()],
            vec![start(), tablespaces(), copy(&[b""]), end()],
            vec![start(), tablespaces(), copy(&[b"?"]), end()],
            vec![start(), tablespaces(), copy(&[b"n../../x.tar\0\0"]), end()],
            vec![start(), tablespaces(), copy(&[&long]), end()],
            vec![start(), result_set(&[&[Some("-1"), None, None]]), copy(&[]), end()],
            vec![result_set(&[&[Some("x"), Some("1")]]), tablespaces(), copy(&[]), end()],
            vec![start(), tablespaces(), copy(&[]), start(), start(), end()],
        ] {
            let (outcome, events) = run(15, wrong);
            assert_eq!(outcome.unwrap_err().kind, ErrorKind::Protocol, "{events:?}");
        }
        let many = [message(b'H', &[0; 3]), message(b'c', b"")].concat();
        let (outcome, _) = run(14, [vec![start(), tablespaces()], vec![many; 5], vec![end()]].concat());
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Protocol);
        let (outcome, _) = run(15, vec![start(), tablespaces()]);
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::ConnectionLost, "cut");
    }
}

//! The command `BASE_BACKUP`: how it is written ([`Command`]), whether the server begins ([`begin`]), and what comes back ([`Begun::receive`]).
//!
//! Source: PostgreSQL's documentation, chapter "Streaming Replication Protocol". The answer is a result set with the start of the backup, one with the
//! tablespaces, the archives and the manifest, and a result set with the end. Up to version 14 each archive is a `COPY` of its own; from 15 on there is one
//! `COPY` whose messages begin with a letter: `n` a new archive, `m` the manifest, `d` data, `p` progress.

use bulkhead_postgres_client::{ClientError, CopyEvent, Lsn, ServerReport, Session, Severity, TimelineId, Transport, wire::Fields};
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

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// The server's version.
    pub(crate) major: u32,
    pub(crate) checkpoint: Checkpoint,
    /// KiB a second.
    pub(crate) max_rate: Option<u32>,
    /// Only what has changed since the backup whose manifest was uploaded; version 17 and later.
    pub(crate) incremental: bool,
}

impl Command {
    /// As the server of this version understands it.
    fn text(self) -> String {
        if self.multiplexed() {
            let checkpoint = match self.checkpoint {
                Checkpoint::Fast => "fast",
                Checkpoint::Spread => "spread",
            };
            let rate = self.max_rate.map(|rate| format!(", MAX_RATE {rate}")).unwrap_or_default();
            let incremental = if self.incremental { ", INCREMENTAL" } else { "" };
            format!(
                "BASE_BACKUP (LABEL 'bulkhead', PROGRESS, CHECKPOINT '{checkpoint}', WAL, WAIT 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', \
                 VERIFY_CHECKSUMS 1{rate}{incremental})"
            )
        } else {
            let checkpoint = match self.checkpoint {
                Checkpoint::Fast => " FAST",
                Checkpoint::Spread => "",
            };
            let rate = self.max_rate.map(|rate| format!(" MAX_RATE {rate}")).unwrap_or_default();
            format!("BASE_BACKUP LABEL 'bulkhead' PROGRESS{checkpoint} WAL NOWAIT{rate} MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'")
        }
    }

    /// Whether all comes in one `COPY`.
    fn multiplexed(self) -> bool {
        self.major >= 15
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

/// Runs the command up to the first archive.
pub(crate) fn begin<T: Transport>(session: &mut Session<T>, command: Command) -> Result<Beginning> {
    let mut begun = Begun {
        multiplexed: command.multiplexed(),
        result_sets: 0,
        start: None,
        tablespaces: Vec::new(),
        copies: 0,
        open: false,
        message: CopyMessage::default(),
        ended: false,
    };
    session.start(&command.text())?;
    loop {
        match session.next_event() {
            Ok(CopyEvent::CopyOut) => return Ok(Beginning::Begun(begun)),
            Ok(CopyEvent::Columns(_)) => begun.result_sets += 1,
            Ok(CopyEvent::Row(row)) => begun.heading(&row)?,
            Ok(CopyEvent::CommandComplete(_)) => {}
            Ok(_) => return Err(lacks("an archive after its heading")),
            Err(ClientError::Server(report)) if is_refusal(&report) => return Ok(Beginning::Refused(*report)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a server answers to the command.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Archives follow.
    Begun(Begun),
    /// It doesn't, and says why.
    Refused(ServerReport),
}

impl Beginning {
    /// A refusal as an error.
    pub(crate) fn or_error(self) -> Result<Begun> {
        match self {
            Self::Begun(begun) => Ok(begun),
            Self::Refused(report) => Err(ClientError::Server(Box::new(report)).into()),
        }
    }
}

/// Whether the server refuses just this command, and nobody wanted the connection to end.
pub(crate) fn is_refusal(report: &ServerReport) -> bool {
    /// SQLSTATE class `operator_intervention`.
    const INTERVENTION: &str = "57";
    report.severity <= Severity::Error && !report.code.starts_with(INTERVENTION)
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

/// A base backup that the server has begun to send.
#[derive(Debug)]
pub(crate) struct Begun {
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

impl Begun {
    /// Where the log of the backup begins.
    pub(crate) fn start(&self) -> Result<Point> {
        self.start.ok_or_else(|| lacks("the start of the backup"))
    }

    /// Receives all of it. A server that found damaged pages says so after everything was sent: that report comes back, and the rest is as usual.
    pub(crate) fn receive<T: Transport>(mut self, session: &mut Session<T>, receiver: &mut dyn Receiver) -> Result<Option<ServerReport>> {
        receiver.begin(self.start()?, &self.tablespaces)?;
        self.copy_begins(receiver)?;
        loop {
            match session.next_event() {
                Ok(CopyEvent::Ready) => return self.finish().map(|()| None),
                Ok(event) => self.handle(event, receiver)?,
                Err(ClientError::Server(report)) if self.ended && report.code == DATA_CORRUPTED => return Ok(Some(*report)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn handle(&mut self, event: CopyEvent<'_>, receiver: &mut dyn Receiver) -> Result<()> {
        match event {
            CopyEvent::Columns(_) => {
                self.result_sets += 1;
                Ok(())
            }
            CopyEvent::Row(row) => self.end(&row, receiver),
            CopyEvent::CopyOut => self.copy_begins(receiver),
            CopyEvent::CopyData { bytes, first, last } if self.multiplexed => self.multiplexed_data(bytes, first, last, receiver),
            CopyEvent::CopyData { bytes, .. } if self.open => receiver.data(bytes),
            CopyEvent::CopyData { .. } => Err(lacks("an archive around its data")),
            CopyEvent::CopyIn | CopyEvent::CopyBoth => Err(lacks("an archive: it asks for data instead")),
            CopyEvent::CopyDone => self.close(receiver),
            CopyEvent::CommandComplete(_) | CopyEvent::Ready => Ok(()),
        }
    }

    /// What comes before the archives.
    fn heading(&mut self, row: &[Option<String>]) -> Result<()> {
        match self.result_sets {
            1 if self.start.is_none() => self.start = Some(point(row)?),
            2 if self.tablespaces.len() < MAX_TABLESPACES => self.tablespaces.push(tablespace(row)?),
            _ => return Err(lacks("the documented result sets")),
        }
        Ok(())
    }

    /// What comes after them.
    fn end(&mut self, row: &[Option<String>], receiver: &mut dyn Receiver) -> Result<()> {
        if self.result_sets != 3 || self.ended {
            return Err(lacks("the documented result sets"));
        }
        receiver.end(point(row)?)?;
        self.ended = true;
        Ok(())
    }

    fn copy_begins(&mut self, receiver: &mut dyn Receiver) -> Result<()> {
        let copy = self.copies;
        self.copies += 1;
        if self.multiplexed {
            return Ok(());
        }
        self.open = true;
        match self.tablespaces.get(copy) {
            Some(tablespace) => receiver.archive(tablespace.archive),
            None if copy == self.tablespaces.len() => receiver.manifest(),
            None => Err(lacks("one archive for each tablespace and one manifest")),
        }
    }

    fn multiplexed_data(&mut self, bytes: &[u8], first: bool, last: bool, receiver: &mut dyn Receiver) -> Result<()> {
        let mut bytes = bytes;
        if first {
            let (&kind, rest) = bytes.split_first().ok_or_else(|| lacks("the type of a message"))?;
            self.message.kind = kind;
            self.message.header.clear();
            bytes = rest;
        }
        if self.message.kind == b'd' {
            return if self.open {
                receiver.data(bytes)
            } else {
                Err(lacks("an archive around its data"))
            };
        }
        if self.message.header.len() + bytes.len() > MAX_HEADER {
            return Err(lacks("message headers of a reasonable length"));
        }
        self.message.header.extend_from_slice(bytes);
        if last { self.header(receiver) } else { Ok(()) }
    }

    fn header(&mut self, receiver: &mut dyn Receiver) -> Result<()> {
        match self.message.kind {
            b'n' => {
                self.close(receiver)?;
                let archive = archive_of(&self.message.header)?;
                self.open = true;
                receiver.archive(archive)
            }
            b'm' => {
                self.close(receiver)?;
                self.open = true;
                receiver.manifest()
            }
            // Progress: what was sent is counted here anyway.
            b'p' => Ok(()),
            _ => Err(lacks("messages of a known type")),
        }
    }

    fn close(&mut self, receiver: &mut dyn Receiver) -> Result<()> {
        if std::mem::take(&mut self.open) {
            receiver.content_end()
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
        let command = |major, checkpoint, max_rate, incremental| {
            let command = Command {
                major,
                checkpoint,
                max_rate,
                incremental,
            };
            command.text()
        };
        assert_eq!(
            command(15, Checkpoint::Spread, Some(51_200), false),
            "BASE_BACKUP (LABEL 'bulkhead', PROGRESS, CHECKPOINT 'spread', WAL, WAIT 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', \
             VERIFY_CHECKSUMS 1, MAX_RATE 51200)"
        );
        assert_eq!(
            command(17, Checkpoint::Fast, None, true),
            "BASE_BACKUP (LABEL 'bulkhead', PROGRESS, CHECKPOINT 'fast', WAL, WAIT 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', \
             VERIFY_CHECKSUMS 1, INCREMENTAL)"
        );
        assert_eq!(
            command(14, Checkpoint::Fast, None, false),
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
        let command = Command {
            major,
            checkpoint: Checkpoint::Fast,
            max_rate: None,
            incremental: false,
        };
        let begun = begin(&mut session, command).and_then(Beginning::or_error);
        let outcome = begun.and_then(|begun| begun.receive(&mut session, &mut recorder));
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

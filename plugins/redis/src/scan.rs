//! Reading a server key by key, into the same file that replication gives: [`scan`].
//!
//! For servers that hide replication. `DUMP` returns a value just as an RDB file has it, so an RDB file can be written of such values; what is lost is the
//! point in time. `SCAN` promises every key that is there from beginning to end, and may return a key twice, which a file must not: keys that were seen are
//! remembered by 16 bytes of hash, and where there are so many keys that this takes too much memory, several passes each take their share.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use bulkhead_rdb::{Crc64, Version, write};
use bulkhead_resp::{Command, RespError, Session, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, host::BEST_TRANSFER, progress, types::Finding};

use crate::{
    clock,
    comparison::Agreement,
    counts::Counted,
    failure,
    server::{Info, Role},
};

/// Keys that one `SCAN` is asked for.
const BATCH: &str = "500";

/// Values that are asked for ahead: their sum is what the server may have to buffer.
const AHEAD: usize = 32;

/// Keys of one pass: 70 MiB of memory.
pub(crate) const KEYS_A_PASS: u64 = 3_500_000;

/// What was read.
pub(crate) struct Scanned {
    pub(crate) rdb: Counted,
    pub(crate) findings: Vec<Finding>,
}

/// Where the file goes, piece by piece.
type Store<'o> = dyn FnMut(&[u8]) -> Result<()> + 'o;

/// Reads all databases, remembering at most about so many keys at a time, and hands the file to `store`.
pub(crate) fn scan<T: Transport>(session: &mut Session<T>, info: &Info, keys_a_pass: u64, store: &mut Store<'_>) -> Result<Scanned> {
    read(session, info, keys_a_pass, store).map_err(with_rights)
}

/// Tries what [`scan`] needs: lists keys, and reads one.
pub(crate) fn probe<T: Transport>(session: &mut Session<T>, info: &Info) -> Result<()> {
    try_out(session, info).map_err(with_rights)
}

fn try_out<T: Transport>(session: &mut Session<T>, info: &Info) -> Result<()> {
    allow_reading(session, info)?;
    let listed = session
        .call(&["SCAN", "0", "COUNT", "1"])
        .context(|| "listing keys (SCAN) failed")?;
    let Some([_, _]) = listed.as_list() else {
        return Err(not_a_list("SCAN").into());
    };
    let database = info.keyspace().keys().next().copied();
    version(session, database)?;
    let key = session.call(&["RANDOMKEY"])?;
    let Some(key) = key.as_bytes() else { return Ok(()) };
    match session.call(&[&b"PEXPIRETIME"[..], key]) {
        Err(RespError::Server(error)) if error.is_unknown_command() => session.call(&[&b"PTTL"[..], key]),
        answer => answer,
    }
    .context(|| "asking when a key expires failed")?;
    Ok(())
}

/// A cluster's replica sends whoever has not said this to its master, for every key.
fn allow_reading<T: Transport>(session: &mut Session<T>, info: &Info) -> Result<()> {
    if info.is_cluster() && info.role() == Role::Replica {
        session
            .call(&["READONLY"])
            .context(|| "asking a cluster's replica for its keys (READONLY) failed")?;
    }
    Ok(())
}

/// A refusal names the rights that reading key by key takes.
fn with_rights(error: Error) -> Error {
    if error.kind != ErrorKind::PermissionDenied {
        return error;
    }
    error.with_hint("give the user what reading key by key takes: ACL SETUSER NAME ~* +scan +dump +pttl +pexpiretime +randomkey +select +info +ping +function|dump")
}

fn read<T: Transport>(session: &mut Session<T>, info: &Info, keys_a_pass: u64, store: &mut Store<'_>) -> Result<Scanned> {
    allow_reading(session, info)?;
    let keyspace = info.keyspace();
    let version = version(session, keyspace.keys().next().copied())?;
    let mut reader = Reader {
        session,
        output: Output::new(store),
        version,
        keys_a_pass,
        absolute: true,
        findings: vec![consistency()],
    };
    reader.output.add(|buffer| {
        write::header(buffer, version);
        let name: &[u8] = if version.number >= 80 { b"valkey-ver" } else { b"redis-ver" };
        let own = info.valkey_version().or(info.get("redis_version")).unwrap_or_default();
        write::aux(buffer, name, own.as_bytes());
        write::aux(buffer, b"ctime", (clock::now() / 1000).to_string().as_bytes());
    })?;
    reader.functions()?;
    for (database, keys) in keyspace {
        reader.database(database, keys)?;
    }
    let findings = reader.findings;
    let rdb = reader.output.finish()?;
    Ok(Scanned { rdb, findings })
}

fn consistency() -> Finding {
    Finding::warning(
        "no-point-in-time",
        "the dataset was read key by key: each key is as it was at some time during the run; keys that came or went meanwhile may be in it or not, and keys \
         that change together may not match",
    )
    .with_hint("`mode = \"replica\"` gives one point in time, where the server offers PSYNC")
}

/// The version that the server's payloads have: that of some key.
fn version<T: Transport>(session: &mut Session<T>, database: Option<u64>) -> Result<Version> {
    let oldest = || Version::from_number(9).map_err(|error| failure::from_server(&error));
    let Some(database) = database else { return oldest() };
    select(session, database)?;
    for _ in 0..8 {
        let key = session.call(&["RANDOMKEY"])?;
        let Some(key) = key.as_bytes() else { return oldest() };
        session.send(&Command::new(&[&b"DUMP"[..], key]))?;
        let mut payload = Payload::default();
        if payload.receive(session, |_| Ok(()))? {
            return payload.version();
        }
    }
    oldest()
}

fn select<T: Transport>(session: &mut Session<T>, database: u64) -> Result<()> {
    match session.call(&["SELECT", &database.to_string()]) {
        Ok(_) => Ok(()),
        // A cluster has database 0 alone and refuses the command; and a connection begins in it.
        Err(RespError::Server(_)) if database == 0 => Ok(()),
        Err(error) => Err(error).context(|| format!("choosing database {database} failed")),
    }
}

struct Reader<'s, T> {
    session: &'s mut Session<T>,
    output: Output<'s>,
    version: Version,
    keys_a_pass: u64,
    /// Whether the server tells expiries as times (7.0) and not only as durations.
    absolute: bool,
    findings: Vec<Finding>,
}

impl<T: Transport> Reader<'_, T> {
    /// Libraries of functions: `FUNCTION DUMP` is made of records as the file has them.
    fn functions(&mut self) -> Result<()> {
        self.session.send(&Command::new(&["FUNCTION", "DUMP"]))?;
        let mut payload = Payload::default();
        let output = &mut self.output;
        let received = payload.receive(self.session, |bytes| output.add(|buffer| buffer.extend_from_slice(bytes)));
        match received {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                let message = "functions could not be read and are not in the snapshot";
                self.findings.push(
                    Finding::warning("functions-not-backed-up", message)
                        .with_hint("ACL SETUSER NAME +function|dump gives the user the right"),
                );
                Ok(())
            }
            // A server from before 7.0 has none.
            Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Server) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn database(&mut self, database: u64, keys: u64) -> Result<()> {
        select(self.session, database)?;
        self.output.add(|buffer| write::database(buffer, database))?;
        let passes = keys.div_ceil(self.keys_a_pass).max(1);
        for pass in 0..passes {
            self.pass(u128::from(pass), u128::from(passes))?;
        }
        Ok(())
    }

    fn pass(&mut self, pass: u128, passes: u128) -> Result<()> {
        let (one, two) = (RandomState::new(), RandomState::new());
        // The share of a pass must be the same in each, so it is told by a hash of its own.
        let share = |key: &[u8]| u128::from(crc(key)) % passes;
        let mut seen = HashSet::new();
        let mut cursor = b"0".to_vec();
        loop {
            let answer = self
                .session
                .call(&[&b"SCAN"[..], &cursor, b"COUNT", BATCH.as_bytes()])
                .context(|| "listing keys (SCAN) failed")?;
            let Some([next, keys]) = answer.as_list() else {
                return Err(not_a_list("SCAN").into());
            };
            let keys = keys.as_list().ok_or_else(|| not_a_list("SCAN"))?;
            let keys: Vec<&[u8]> = keys
                .iter()
                .filter_map(|key| key.as_bytes())
                .filter(|key| share(key) == pass && seen.insert(u128::from(one.hash_one(key)) << 64 | u128::from(two.hash_one(key))))
                .collect();
            for keys in keys.chunks(AHEAD) {
                self.values(keys)?;
            }
            cursor = next.as_bytes().unwrap_or(b"0").to_vec();
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    fn values(&mut self, keys: &[&[u8]]) -> Result<()> {
        if self.absolute && !self.ask_and_receive(keys)? {
            self.absolute = false;
        }
        if !self.absolute {
            self.ask_and_receive(keys)?;
        }
        Ok(())
    }

    /// Whether the server knew the question.
    fn ask_and_receive(&mut self, keys: &[&[u8]]) -> Result<bool> {
        let question: &[u8] = if self.absolute { b"PEXPIRETIME" } else { b"PTTL" };
        if self.absolute {
            // Asked alone the first time, so that a server that does not know it has nothing else to answer.
            if let Some(key) = keys.first()
                && let Err(RespError::Server(error)) = self.session.call(&[question, key])
                && error.is_unknown_command()
            {
                return Ok(false);
            }
        }
        for key in keys {
            self.session.send(&Command::new(&[question, key]))?;
            self.session.send(&Command::new(&[&b"DUMP"[..], key]))?;
        }
        for key in keys {
            let answer = self.session.receive().context(|| "asking when a key expires failed")?;
            let expires = answer.as_integer().and_then(|time| u64::try_from(time).ok());
            let expires = expires.map(|time| if self.absolute { time } else { clock::now().saturating_add(time) });
            self.value(key, expires)?;
        }
        Ok(true)
    }

    /// The reply to `DUMP`, into the file; nothing where the key is gone.
    fn value(&mut self, key: &[u8], expires: Option<u64>) -> Result<()> {
        let mut payload = Payload::default();
        let output = &mut self.output;
        let mut begun = false;
        let there = payload
            .receive(self.session, |bytes| {
                let mut rest = bytes;
                if !begun && let [kind, behind @ ..] = bytes {
                    (begun, rest) = (true, behind);
                    output.add(|buffer| write::key(buffer, expires, *kind, key))?;
                }
                output.add(|buffer| buffer.extend_from_slice(rest))
            })
            .context(|| "reading a key (DUMP) failed")?;
        if there && payload.version()? != self.version {
            return Err(Error::new(ErrorKind::Conflict, "the server's version changed during the backup")
                .with_retryable(true)
                .with_hint("run it again when the upgrade is over"));
        }
        Ok(())
    }
}

fn not_a_list(command: &str) -> RespError {
    RespError::Answer {
        command: command.to_owned(),
        expected: "a cursor and a list of keys",
    }
}

fn crc(key: &[u8]) -> u64 {
    let mut crc = Crc64::default();
    crc.update(key);
    crc.value()
}

/// A payload of `DUMP`: content, then version and checksum, which are held back as it passes.
#[derive(Default)]
struct Payload {
    crc: Crc64,
    tail: Vec<u8>,
}

impl Payload {
    /// Receives it, handing its content to `take`; `false` where there is none.
    fn receive<T: Transport>(&mut self, session: &mut Session<T>, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some(mut bulk) = session.bulk()? else { return Ok(false) };
        while let Some(piece) = bulk.next_piece()? {
            self.tail.extend_from_slice(&piece);
            let content = self.tail.len().saturating_sub(write::DUMP_FOOTER);
            self.crc.update(&self.tail[..content]);
            take(&self.tail[..content])?;
            self.tail.drain(..content);
        }
        let (version, checksum) = self.footer()?;
        self.crc.update(&version);
        if self.crc.value() != u64::from_le_bytes(checksum) {
            return Err(Error::new(
                ErrorKind::SourceDamaged,
                "a value that the server dumped does not match its checksum",
            )
            .with_hint("run it again; if it happens again, something between the server's memory and here changes data"));
        }
        Ok(true)
    }

    fn footer(&self) -> Result<([u8; 2], [u8; 8])> {
        match *self.tail.as_slice() {
            [a, b, ref checksum @ ..] if checksum.len() == 8 => {
                let mut sum = [0; 8];
                sum.copy_from_slice(checksum);
                Ok(([a, b], sum))
            }
            _ => Err(Error::protocol("the server's answer to DUMP is too short to be one")),
        }
    }

    fn version(&self) -> Result<Version> {
        let (version, _) = self.footer()?;
        Version::from_number(u16::from_le_bytes(version)).map_err(|error| failure::from_server(&error))
    }
}

/// The file that is being written: read as it is, so that it is known to be one.
struct Output<'o> {
    store: &'o mut Store<'o>,
    buffer: Vec<u8>,
    crc: Crc64,
    rdb: Counted,
}

impl<'o> Output<'o> {
    fn new(store: &'o mut Store<'o>) -> Self {
        Self {
            store,
            buffer: Vec::new(),
            crc: Crc64::default(),
            rdb: Counted::new(),
        }
    }

    fn add(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        fill(&mut self.buffer);
        if self.buffer.len() >= BEST_TRANSFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.crc.update(&self.buffer);
        self.rdb.feed(&self.buffer).map_err(|error| failure::from_server(&error))?;
        (self.store)(&self.buffer)?;
        self.buffer.clear();
        progress::report("reading keys", self.rdb.position(), None);
        Ok(())
    }

    fn finish(mut self) -> Result<Counted> {
        write::end(&mut self.buffer);
        self.flush()?;
        let checksum = self.crc.value().to_le_bytes();
        self.rdb.feed(&checksum).map_err(|error| failure::from_server(&error))?;
        self.rdb.finish().map_err(|error| failure::from_server(&error))?;
        (self.store)(&checksum)?;
        Ok(self.rdb)
    }
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Agree(Agreement),
    /// The server counts keys that it does not list.
    Hidden,
    /// The server does not tell how much has changed.
    Untold,
}

/// Compares what was read with what the server counted before, where it tells how much has changed until `after`. Every key that is created, removed,
/// expired or evicted is counted there; so the counts may differ by that, and by nothing where that is nothing.
pub(crate) fn compare(file: &BTreeMap<u64, u64>, before: &Info, after: &Info) -> Result<Comparison> {
    if after.role() == Role::Replica && (before.has_expiries() || after.has_expiries()) {
        return Ok(Comparison::Hidden);
    }
    let difference = |name: &str| Some(after.number(name)?.saturating_sub(before.number(name)?));
    let (Some(changes), Some(expired), Some(evicted), Some(0)) = (
        difference("rdb_changes_since_last_save"),
        difference("expired_keys"),
        difference("evicted_keys"),
        difference("rdb_last_save_time"),
    ) else {
        return Ok(Comparison::Untold);
    };
    let bound = changes + expired + evicted;
    let keyspace = before.keyspace();
    let wrong = file.keys().chain(keyspace.keys()).find_map(|database| {
        let count = |counts: &BTreeMap<u64, u64>| counts.get(database).copied().unwrap_or(0);
        let (ours, theirs) = (count(file), count(&keyspace));
        (ours.abs_diff(theirs) > bound).then_some((database, ours, theirs))
    });
    let agreement = if bound == 0 { Agreement::Exact } else { Agreement::Within(bound) };
    match wrong {
        None => Ok(Comparison::Agree(agreement)),
        Some((database, ours, theirs)) => Err(Error::new(
            ErrorKind::Conflict,
            format!("{ours} keys of database {database} were read, and the server counted {theirs} ({agreement})"),
        )
        .with_retryable(true)
        .with_hint("run it again; if it happens again, the user may not be allowed to see all keys: ACL SETUSER NAME allkeys")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

    use bulkhead_rdb::{Parser, RdbError, Record, Visitor};

    use super::*;

    /// A server with keys `k0` to `k999`, which lists them by fifties, ten of them twice.
    #[derive(Default)]
    struct Played {
        replies: Vec<u8>,
        listings: Rc<RefCell<u32>>,
    }

    fn bulk(bytes: &[u8]) -> Vec<u8> {
        [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
    }

    fn payload() -> Vec<u8> {
        let mut payload = b"\x00\x01v\x0a\x00".to_vec();
        let checksum = crc(&payload).to_le_bytes();
        payload.extend_from_slice(&checksum);
        payload
    }

    impl Played {
        fn answer(&self, words: &[&str]) -> Vec<u8> {
            match words {
                ["RANDOMKEY"] => bulk(b"k0"),
                ["DUMP", _] => bulk(&payload()),
                ["SCAN", cursor, ..] => {
                    let from: usize = cursor.parse().unwrap();
                    *self.listings.borrow_mut() += u32::from(from == 0);
                    let next = if from == 950 { 0 } else { from + 50 };
                    let keys: Vec<_> = (from.saturating_sub(10)..from + 50)
                        .map(|key| bulk(format!("k{key}").as_bytes()))
                        .collect();
                    let head = [b"*2\r\n".to_vec(), bulk(next.to_string().as_bytes())].concat();
                    [head, format!("*{}\r\n", keys.len()).into_bytes(), keys.concat()].concat()
                }
                ["PEXPIRETIME", _] => b":-1\r\n".to_vec(),
                ["SELECT", _] => b"+OK\r\n".to_vec(),
                _ => b"-ERR unknown command\r\n".to_vec(),
            }
        }
    }

    impl Transport for Played {
        fn read(&mut self, max: usize, _: Option<Duration>) -> Result<Option<Vec<u8>>> {
            let rest = self.replies.split_off(max.min(self.replies.len()));
            let piece = std::mem::replace(&mut self.replies, rest);
            Ok((!piece.is_empty()).then_some(piece))
        }

        fn write(&mut self, data: &[u8]) -> Result<()> {
            // One command, whole: `*2`, `$4`, `DUMP`, `$1`, `k`.
            let text = String::from_utf8(data.to_vec()).unwrap();
            let words: Vec<&str> = text.lines().skip(2).step_by(2).collect();
            let reply = self.answer(&words);
            self.replies.extend(reply);
            Ok(())
        }
    }

    /// Names, which must not come twice.
    #[derive(Default)]
    struct Names(BTreeSet<Vec<u8>>);

    impl Visitor for Names {
        type Error = RdbError;

        fn begin(&mut self, record: Record<'_>) -> Result<(), RdbError> {
            if let Record::Key(key) = record {
                assert!(self.0.insert(key.name.clone()), "{} twice", key.name.escape_ascii());
            }
            Ok(())
        }
    }

    #[test]
    fn every_pass_takes_its_share_and_all_of_them_every_key_once() {
        let info = Info::parse("redis_version:7.0.15\r\ndb0:keys=1000,expires=0\r\n");
        for (keys_a_pass, passes) in [(100, 10), (999, 2), (KEYS_A_PASS, 1)] {
            let listings = Rc::default();
            let mut session = Session::new(Played {
                replies: Vec::new(),
                listings: Rc::clone(&listings),
            });
            let mut file = Vec::new();
            let scanned = scan(&mut session, &info, keys_a_pass, &mut |bytes| {
                file.extend_from_slice(bytes);
                Ok(())
            });
            assert_eq!(scanned.unwrap().rdb.counts.total(), 1000);
            assert_eq!(*listings.borrow(), passes);
            let mut names = Names::default();
            let mut parser = Parser::new();
            parser.feed(&file, &mut names).unwrap();
            parser.finish().unwrap();
            assert_eq!(names.0.len(), 1000);
        }
    }

    #[test]
    fn a_replica_whose_keys_expire_is_not_compared() {
        let info = |role: &str, expires: u64| {
            Info::parse(&format!(
                "role:{role}\r\nrdb_changes_since_last_save:0\r\nexpired_keys:0\r\nevicted_keys:0\r\nrdb_last_save_time:1\r\n\
                 db0:keys=3,expires={expires}\r\n"
            ))
        };
        let file = BTreeMap::from([(0, 2)]);
        let compared = |info: &Info| compare(&file, info, info);
        assert_eq!(compared(&info("slave", 1)).unwrap(), Comparison::Hidden);
        compared(&info("slave", 0)).unwrap_err();
        compared(&info("master", 1)).unwrap_err();
    }
}

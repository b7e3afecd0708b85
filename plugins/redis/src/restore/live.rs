//! Into a server that is running: [`restore`] sends `RESTORE` for every key that is asked for, with its value as the file has it.
//!
//! A payload of `RESTORE` is a type, a value, a version and a checksum, with the length of it all in front. Values up to [`BUFFER`] are kept until their
//! end, and so their length, is known; of larger ones only the length is counted, and then they are read a second time and passed on as they are read. So
//! memory does not grow with values.

use std::collections::BTreeSet;

use bulkhead_rdb::{Crc64, KEY_LIMIT, Key, Parser, Record, Version, Visitor, decode_text, write::DUMP_FOOTER};
use bulkhead_resp::{Command, RespError, Value};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    host::BEST_TRANSFER,
    progress,
    snapshot::{self, EntryReader},
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::{
    datasets,
    routes::{Redirection, Routes},
    window::{Answered, Purpose, Sent},
};
use crate::{
    backup::DUMP,
    clock,
    config::{Existing, RestoreOptions},
    connection::{Connection, Login},
    failure::{self, Failure},
    glob,
    manifest::Manifest,
    server::Info,
    sidecar,
};

/// Values that are kept until their length is known, in bytes.
const BUFFER: usize = 4 << 20;

/// The opcode that a library of functions has, in a file as in a payload.
const FUNCTION: u8 = 245;

/// What bounds an argument, and the servers' own values of that, in bytes.
const LIMITS: [(&str, u64); 2] = [("proto-max-bulk-len", 512 << 20), ("client-query-buffer-limit", 1 << 30)];

/// How often a large value is sent to another node.
const MAX_ATTEMPTS: u32 = 8;

/// Restores into the server, or the cluster, that is granted.
pub(super) fn restore(request: &RestoreRequest, options: &RestoreOptions) -> Result<RestoreResult> {
    let login = Login::server(options.user.as_deref());
    let routes = options.attempts.run(|| Routes::open(login))?;
    let paths = datasets(request)?;
    let mut restorer = Restorer {
        options,
        routes,
        questions: false,
        functions: options.wants_functions(),
        libraries: BTreeSet::new(),
        version: None,
        large: None,
        record: None,
        tally: Tally::default(),
        now: clock::now(),
    };
    if options.existing == Existing::Fail && restorer.may_be_in_the_way(&paths)? {
        restorer.questions = true;
        for path in &paths {
            restorer.file(path, "looking for keys that are in the way")?;
        }
        restorer.questions = false;
    }
    for path in &paths {
        restorer.file(path, "restoring")?;
        // Every shard has the same libraries.
        restorer.functions = false;
    }
    Ok(restorer.result(&paths))
}

/// What was done.
#[derive(Default)]
struct Tally {
    restored: u64,
    skipped: u64,
    expired: u64,
    functions: u64,
    /// Keys with names that are too long to be looked at.
    long_names: u64,
    /// Collections without elements.
    empty: u64,
    bytes: u64,
}

/// A value that passes.
struct Passing {
    /// Its bytes, while they fit.
    value: Vec<u8>,
    length: u64,
    /// Whether the bytes matter, or their number only.
    keep: bool,
}

struct Restorer<'a> {
    options: &'a RestoreOptions,
    routes: Routes<'a>,
    /// Only ask whether keys and libraries are there.
    questions: bool,
    functions: bool,
    /// Libraries that the target has, as far as it tells.
    libraries: BTreeSet<Vec<u8>>,
    version: Option<Version>,
    /// The file again, for what is read twice.
    large: Option<EntryReader>,
    record: Option<Passing>,
    tally: Tally,
    now: u64,
}

impl Restorer<'_> {
    /// Whether there is any key where keys will go, or any library where libraries will.
    fn may_be_in_the_way(&mut self, paths: &[String]) -> Result<bool> {
        let manifest = Manifest::load()?;
        let files = manifest.datasets.iter().filter(|dataset| paths.contains(&dataset.path));
        let functions = self.functions && files.clone().any(|dataset| dataset.functions > 0);
        let databases: Vec<u64> = files
            .flat_map(|dataset| dataset.keys.keys())
            .filter_map(|database| self.target(*database))
            .collect();
        let mut keys = false;
        for lane in self.routes.all() {
            let there = Info::ask(lane.session())?.keyspace();
            keys |= databases.iter().any(|database| there.contains_key(database));
            if functions {
                self.libraries.extend(libraries(lane.session())?);
            }
        }
        Ok(keys || !self.libraries.is_empty())
    }

    /// Where keys of a database go; `None` where they are not asked for.
    fn target(&self, database: u64) -> Option<u64> {
        let chosen = self.options.databases.is_empty() || self.options.databases.contains(&database);
        chosen.then(|| self.options.map_databases.get(&database).copied().unwrap_or(database))
    }

    fn wants(&mut self, key: &Key) -> Result<bool> {
        let patterns = &self.options.keys;
        if self.target(key.database).is_none() {
            return Ok(false);
        }
        if let Some(length) = key.long_name {
            if patterns.is_empty() {
                return Err(long_name(length));
            }
            self.tally.long_names += u64::from(!self.questions);
            return Ok(false);
        }
        Ok(patterns.is_empty() || patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), &key.name)))
    }

    fn file(&mut self, path: &str, phase: &str) -> Result<()> {
        let mut reader = snapshot::open(path)?;
        let size = reader.size();
        self.large = Some(snapshot::open(path)?);
        let mut parser = Parser::new();
        while let Some(piece) = reader.read_bytes(BEST_TRANSFER)? {
            parser.feed(&piece, self).map_err(|failure| failure.stored(path))?;
            progress::report(phase, parser.position(), Some(size));
        }
        parser.finish().map_err(|error| failure::stored(&error, path))?;
        self.drain()
    }

    /// Waits for every reply.
    fn drain(&mut self) -> Result<()> {
        while let Some(position) = self.routes.busy() {
            if let Some(answered) = self.routes.answer(position)? {
                self.answered(answered)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, position: usize, sent: Sent) -> Result<()> {
        self.routes.lane(position)?.send(sent)?;
        if !self.routes.lane(position)?.is_full() {
            return Ok(());
        }
        while !self.routes.lane(position)?.is_roomy() {
            match self.routes.answer(position)? {
                Some(answered) => self.answered(answered)?,
                None => break,
            }
        }
        Ok(())
    }

    fn answered(&mut self, Answered { sent, answer }: Answered) -> Result<()> {
        match (sent.purpose, answer) {
            (Purpose::Preparation, Ok(_)) => Ok(()),
            (Purpose::Preparation, Err(error)) => Err(bulkhead_resp::explain(&error)),
            (Purpose::Function, Ok(_)) => {
                self.tally.functions += 1;
                Ok(())
            }
            (Purpose::Function, Err(error)) => self.function_refused(&error),
            (Purpose::Key { name, .. }, Ok(Value::Integer(there))) if self.questions => {
                if there > 0 {
                    return Err(in_the_way(&name));
                }
                Ok(())
            }
            (Purpose::Key { expired, .. }, Ok(_)) => {
                *(if expired {
                    &mut self.tally.expired
                } else {
                    &mut self.tally.restored
                }) += 1;
                Ok(())
            }
            (Purpose::Key { .. }, Err(error)) if error.code == "BUSYKEY" && self.options.existing == Existing::Skip => {
                self.tally.skipped += 1;
                Ok(())
            }
            (Purpose::Key { name, .. }, Err(error)) if error.code == "BUSYKEY" => Err(in_the_way(&name)),
            (Purpose::Key { name, .. }, Err(error)) => {
                Err(bulkhead_resp::explain(&error).context(format!("restoring the key `{}` failed", shown(&name))))
            }
        }
    }

    fn function_refused(&mut self, error: &bulkhead_resp::ServerError) -> Result<()> {
        let exists = error.message.to_ascii_lowercase().contains("already exists");
        if exists && self.options.existing == Existing::Skip {
            self.tally.skipped += 1;
            return Ok(());
        }
        let explained = bulkhead_resp::explain(error).context("restoring a library of functions failed");
        Err(if exists {
            library_in_the_way(explained)
        } else {
            explained.with_hint("`functions = false` in the target's config leaves libraries of functions out")
        })
    }

    /// The whole payload of a record, where it fits.
    fn payload(&self, kind: u8, value: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(1 + value.len() + DUMP_FOOTER);
        payload.push(kind);
        payload.extend_from_slice(value);
        payload.extend_from_slice(&self.number().to_le_bytes());
        let mut crc = Crc64::default();
        crc.update(&payload);
        payload.extend_from_slice(&crc.value().to_le_bytes());
        payload
    }

    fn number(&self) -> u16 {
        self.version.map_or(0, |version| version.number)
    }

    fn function(&mut self, passing: &Passing) -> Result<()> {
        if passing.value.len() as u64 != passing.length {
            return Err(
                Error::new(ErrorKind::Limit, format!("a library of functions has more than {BUFFER} bytes"))
                    .with_hint("`functions = false` in the target's config leaves libraries of functions out"),
            );
        }
        if self.questions {
            let name = decode_text(&passing.value).and_then(|code| library_name(&code));
            return match name.filter(|name| self.libraries.contains(name)) {
                Some(name) => Err(library_in_the_way(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("the library of functions `{}` is on the server already", shown(&name)),
                ))),
                None => Ok(()),
            };
        }
        let policy: &[u8] = if self.options.existing == Existing::Replace {
            b"REPLACE"
        } else {
            b"APPEND"
        };
        let command = Command::new(&[&b"FUNCTION"[..], b"RESTORE", &self.payload(FUNCTION, &passing.value), policy]);
        for position in 0..self.routes.all().len() {
            let sent = Sent {
                purpose: Purpose::Function,
                command: command.clone(),
                redirections: 0,
            };
            self.send(position, sent)?;
        }
        // Functions stand before keys: where one is refused, no key has been written.
        self.drain()
    }

    fn key(&mut self, key: &Key, passing: &Passing) -> Result<()> {
        let database = self.target(key.database).unwrap_or(key.database);
        let position = self.routes.of(&key.name);
        self.routes.lane(position)?.select(database)?;
        let purpose = Purpose::Key {
            name: key.name.clone(),
            expired: key.expires.is_some_and(|expires| expires <= self.now),
        };
        if self.questions {
            let command = Command::new(&[&b"EXISTS"[..], &key.name]);
            return self.send(
                position,
                Sent {
                    purpose,
                    command,
                    redirections: 0,
                },
            );
        }
        self.tally.bytes += passing.length;
        if passing.value.len() as u64 != passing.length {
            return self.large_key(key, passing.length, purpose);
        }
        let mut command = Self::begin(key, self.extras(key).len());
        command.argument(&self.payload(key.kind, &passing.value));
        self.extras(key).iter().for_each(|word| command.argument(word));
        self.send(
            position,
            Sent {
                purpose,
                command,
                redirections: 0,
            },
        )
    }

    /// The command up to its payload.
    fn begin(key: &Key, extras: usize) -> Command {
        let mut command = Command::of(4 + extras);
        command.argument(b"RESTORE");
        command.argument(&key.name);
        command.argument(key.expires.unwrap_or(0).to_string().as_bytes());
        command
    }

    /// The command's words behind its payload.
    fn extras(&self, key: &Key) -> Vec<Vec<u8>> {
        let mut words = vec![b"ABSTTL".to_vec()];
        if self.options.existing == Existing::Replace {
            words.push(b"REPLACE".to_vec());
        }
        if let Some(idle) = key.idle {
            words.extend([b"IDLETIME".to_vec(), idle.to_string().into_bytes()]);
        } else if let Some(frequency) = key.frequency {
            words.extend([b"FREQ".to_vec(), frequency.to_string().into_bytes()]);
        }
        words
    }

    /// A value that is not kept: by itself, with nothing else under way.
    fn large_key(&mut self, key: &Key, length: u64, purpose: Purpose) -> Result<()> {
        self.drain()?;
        let mut position = self.routes.of(&key.name);
        accepts(self.routes.lane(position)?.session(), key, 1 + length + DUMP_FOOTER as u64)?;
        let mut asking = false;
        for _ in 0..MAX_ATTEMPTS {
            let answer = self
                .stream(position, key, length, asking)
                .context(|| format!("restoring the key `{}` failed", shown(&key.name)))?;
            let redirection = answer.as_ref().err().and_then(Redirection::of);
            let Some(redirection) = redirection.filter(|_| self.routes.is_cluster()) else {
                let sent = Sent {
                    purpose,
                    command: Command::default(),
                    redirections: 0,
                };
                return self.answered(Answered { sent, answer });
            };
            position = self.routes.follow(&redirection, position)?;
            asking = Routes::asks(&redirection);
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("the cluster sends the key `{}` from node to node", shown(&key.name)),
        )
        .with_retryable(true)
        .with_hint("slots of the cluster are moving: try again when CLUSTER INFO says cluster_state:ok"))
    }

    fn stream(&mut self, position: usize, key: &Key, length: u64, asking: bool) -> Result<Result<Value, bulkhead_resp::ServerError>> {
        let extras = self.extras(key);
        let mut command = Self::begin(key, extras.len());
        command.begin_argument(1 + length + DUMP_FOOTER as u64);
        command.raw(&[key.kind]);
        let mut crc = Crc64::default();
        crc.update(&[key.kind]);
        let number = self.number().to_le_bytes();
        let Some(reader) = self.large.as_ref() else {
            return Err(Error::new(ErrorKind::Internal, "no file to read a value from again"));
        };
        let session = self.routes.lane(position)?.session();
        if asking {
            session.call(&["ASKING"])?;
        }
        session.send(&command)?;
        let mut sent = 0;
        while sent < length {
            let want = usize::try_from(length - sent).unwrap_or(usize::MAX).min(BEST_TRANSFER);
            let piece = reader.read_at(key.offset + sent, want)?.unwrap_or_default();
            if piece.is_empty() {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the stored file is shorter than it was a moment ago",
                ));
            }
            crc.update(&piece);
            session.send_bytes(&piece)?;
            sent += piece.len() as u64;
        }
        crc.update(&number);
        let mut rest = Command::default();
        rest.raw(&number);
        rest.raw(&crc.value().to_le_bytes());
        rest.end_argument();
        extras.iter().for_each(|word| rest.argument(word));
        session.send(&rest)?;
        match session.receive() {
            Ok(value) => Ok(Ok(value)),
            Err(RespError::Server(error)) => Ok(Err(error)),
            Err(error) => Err(error.into()),
        }
    }

    fn result(self, paths: &[String]) -> RestoreResult {
        let tally = self.tally;
        let mut findings = Vec::new();
        if tally.expired > 0 {
            let message = format!("{} keys have expired since the backup and are gone", tally.expired);
            findings.push(Finding::info("keys-expired", message));
        }
        if tally.long_names > 0 {
            let message = format!(
                "{} keys with names of more than {KEY_LIMIT} bytes were left out: patterns are not compared with such names",
                tally.long_names
            );
            findings.push(
                Finding::warning("long-names", message).with_hint("a restore of the whole `dump.rdb` into a directory brings them back"),
            );
        }
        if tally.empty > 0 {
            let message = format!(
                "{} keys that are collections without elements were passed over, as servers do when they load a file",
                tally.empty
            );
            findings.push(Finding::info("empty-collections", message));
        }
        let mut users = paths
            .iter()
            .map(|path| format!("{}{}", path.strip_suffix(DUMP).unwrap_or_default(), sidecar::ACL));
        if let Some(acl) = users.find(|acl| snapshot::stat(acl).is_ok()) {
            let message = "users are not restored into a live server";
            findings.push(Finding::info("users-not-restored", message).with_hint(format!(
                "they are in `{acl}`: bulkhead dump PIPELINE {acl}; each line is an ACL SETUSER"
            )));
        }
        RestoreResult {
            entries: paths.len() as u64,
            bytes: tally.bytes,
            facts: vec![
                Fact::new("keys-restored", tally.restored),
                Fact::new("keys-skipped", tally.skipped),
                Fact::new("keys-expired", tally.expired),
                Fact::new("functions-restored", tally.functions),
            ],
            findings,
        }
    }
}

/// Whether the server takes an argument of so many bytes: it would hang up instead of saying so.
fn accepts(session: &mut Connection, key: &Key, bytes: u64) -> Result<()> {
    for (setting, default) in LIMITS {
        let told = sidecar::readable(session.call(&["CONFIG", "GET", setting]))?.ok();
        let told = told.and_then(|answer| answer.get(setting)?.as_str()?.parse().ok());
        let limit: u64 = told.unwrap_or(default);
        if bytes > limit {
            let name = shown(&key.name);
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the key `{name}` has a value of {bytes} bytes, and the server takes {limit} at once (`{setting}`)"),
            )
            .with_hint(format!(
                "CONFIG SET {setting} {} on the server, until the restore is done; or leave the key out with `keys` in the target's config",
                bytes.next_power_of_two()
            )));
        }
    }
    Ok(())
}

/// The libraries of a server, as far as it tells: it may not know the command, or not allow it.
fn libraries(session: &mut Connection) -> Result<Vec<Vec<u8>>> {
    let Ok(answer) = sidecar::readable(session.call(&["FUNCTION", "LIST"]))? else {
        return Ok(Vec::new());
    };
    let name = |library: &Value| Some(library.get("library_name")?.as_bytes()?.to_vec());
    Ok(answer.as_list().unwrap_or_default().iter().filter_map(name).collect())
}

/// `#!lua name=mylib`, as a library begins.
fn library_name(code: &[u8]) -> Option<Vec<u8>> {
    let first = code.split(|byte| *byte == b'\n').next()?;
    let mut words = first.split(u8::is_ascii_whitespace);
    let name = words.find(|word| word.len() > 5 && word[..5].eq_ignore_ascii_case(b"name="))?;
    Some(name[5..].to_vec())
}

fn library_in_the_way(error: Error) -> Error {
    Error {
        kind: ErrorKind::AlreadyExists,
        ..error
            .with_setting("existing")
            .with_hint("`existing = \"skip\"` or `\"replace\"` in the target's config says what to do; `functions = false` leaves them out")
    }
}

fn long_name(length: u64) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("a key has a name of {length} bytes; names of more than {KEY_LIMIT} cannot be restored into a live server"),
    )
    .with_setting("keys")
    .with_hint(
        "`keys = [\"*\"]` in the target's config leaves such keys out, and says how many they were; a restore into a directory has them",
    )
}

/// A key, as messages show it.
fn shown(name: &[u8]) -> String {
    name[..name.len().min(200)].escape_ascii().to_string()
}

fn in_the_way(name: &[u8]) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format!("the key `{}` is on the server already, and nothing says what to do with it", shown(name)),
    )
    .with_setting("existing")
    .with_hint("`existing = \"skip\"` keeps such keys, `\"replace\"` replaces them, in the restore target's config; or restore into an empty server")
}

impl Visitor for Restorer<'_> {
    type Error = Failure;

    fn version(&mut self, version: Version) -> Result<(), Failure> {
        self.version = Some(version);
        Ok(())
    }

    fn begin(&mut self, record: Record<'_>) -> Result<(), Failure> {
        let wanted = match record {
            Record::Key(key) => self.wants(key)?,
            Record::Function => self.functions,
        };
        let keep = !self.questions || record == Record::Function;
        self.record = wanted.then(|| Passing {
            value: Vec::new(),
            length: 0,
            keep,
        });
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(passing) = &mut self.record else { return Ok(()) };
        passing.length += bytes.len() as u64;
        if !passing.keep {
            return Ok(());
        }
        if passing.length <= BUFFER as u64 {
            passing.value.extend_from_slice(bytes);
        } else {
            passing.value = Vec::new();
        }
        Ok(())
    }

    fn end(&mut self, record: Record<'_>) -> Result<(), Failure> {
        let Some(passing) = self.record.take() else { return Ok(()) };
        match record {
            Record::Key(key) if key.empty => self.tally.empty += u64::from(!self.questions),
            Record::Key(key) => self.key(key, &passing)?,
            Record::Function => self.function(&passing)?,
        }
        Ok(())
    }
}

//! The parser: [`Parser`] is fed pieces of a file and tells a [`Visitor`].
//!
//! A machine with a small stack rather than a recursive reader, because the bytes come when they come: every state can wait for the next piece, and
//! nothing that a file says makes the stack grow beyond the depth of the deepest type (a stream's consumers: four frames).

use crate::{
    Crc64, KEY_LIMIT, RdbError, Version,
    grammar::{self, Opcode, Step},
    reader::{Carry, Reader},
    text::{self, Name, Prefix},
    version::HEADER,
};

/// A key and what the file says of it beside its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// The number of its database.
    pub database: u64,
    /// Its name; empty where the parser keeps none, or it is too long.
    pub name: Vec<u8>,
    /// The length of a name that has more than [`KEY_LIMIT`] bytes.
    pub long_name: Option<u64>,
    /// The type of its value, as in the file.
    pub kind: u8,
    /// When it expires, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// Seconds since it was last used, where the server evicts by LRU.
    pub idle: Option<u64>,
    /// How often it is used, where the server evicts by LFU.
    pub frequency: Option<u8>,
    /// Where its value begins in the file (behind type and name).
    pub offset: u64,
    /// Whether its value is a collection without elements, which is known at the record's end. Servers had bugs that left such keys behind; they pass over
    /// them when they load a file, and refuse them in `RESTORE`.
    pub empty: bool,
}

/// Something with bytes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'p> {
    /// A key; its bytes are its value as stored.
    Key(&'p Key),
    /// A library of functions; its bytes are its code as stored, a string.
    Function,
}

/// Who is told what a file holds. All methods do nothing unless they are written.
pub trait Visitor {
    /// What telling can fail with.
    type Error: From<RdbError>;

    /// The file's version: always first.
    ///
    /// # Errors
    /// End the parsing.
    fn version(&mut self, version: Version) -> Result<(), Self::Error> {
        let _ = version;
        Ok(())
    }

    /// A statement about the file (`redis-ver`, `repl-id`, …). One that is longer than 64 KiB has an empty value here.
    ///
    /// # Errors
    /// End the parsing.
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Self::Error> {
        let _ = (name, value);
        Ok(())
    }

    /// How many keys, and how many of them with an expiry, the current database has according to the file. Absent from some.
    ///
    /// # Errors
    /// End the parsing.
    fn resize(&mut self, database: u64, keys: u64, expires: u64) -> Result<(), Self::Error> {
        let _ = (database, keys, expires);
        Ok(())
    }

    /// A record begins.
    ///
    /// # Errors
    /// End the parsing.
    fn begin(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        let _ = record;
        Ok(())
    }

    /// Its next bytes, exactly as stored.
    ///
    /// # Errors
    /// End the parsing.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        let _ = bytes;
        Ok(())
    }

    /// It is complete.
    ///
    /// # Errors
    /// End the parsing.
    fn end(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        let _ = record;
        Ok(())
    }
}

/// Whose end the parser waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// An opcode or a type.
    Opcode,
    Statement(Opcode),
    KeyName,
    Function,
    Value,
    Trailer,
    Done,
}

/// A step that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// So many bytes that nobody wants.
    Skip(u64),
    /// So many bytes of a name.
    Collect(u64),
    /// A compressed string, of which the lengths are next.
    CompressedSize {
        keep: bool,
    },
    PlainSize {
        keep: bool,
        compressed: u64,
    },
}

/// Steps being carried out: position, and rounds left.
#[derive(Debug, Clone, Copy)]
struct Frame {
    steps: &'static [Step],
    at: usize,
    rounds: u64,
}

/// Longest text of a statement about the file that is kept.
const AUX_LIMIT: u64 = 64 << 10;

/// An incremental parser of one file.
#[derive(Debug, Clone)]
pub struct Parser {
    state: State,
    pending: Pending,
    frames: Vec<Frame>,
    carry: Carry,
    crc: Crc64,
    /// Of the piece that is being read.
    offset: u64,
    version: Option<Version>,
    keeps_names: bool,
    key: Key,
    name: Name,
    names: Vec<Vec<u8>>,
    facts: [u64; 2],
    fact_count: usize,
    /// Whether an expiry, LRU or LFU was said of the key that must follow.
    announced: bool,
    checksum: Option<u64>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

/// Where in a piece the machine stands: at its end, or before something.
type Progress = Result<bool, RdbError>;

impl Parser {
    /// A parser that shows the names of keys, up to [`KEY_LIMIT`]; of longer ones it shows the length.
    #[must_use]
    pub fn new() -> Self {
        Self::keeping_names(true)
    }

    /// A parser that keeps no names.
    #[must_use]
    pub fn without_names() -> Self {
        Self::keeping_names(false)
    }

    fn keeping_names(keeps_names: bool) -> Self {
        Self {
            state: State::Header,
            pending: Pending::Nothing,
            frames: Vec::new(),
            carry: Carry::default(),
            crc: Crc64::default(),
            offset: 0,
            version: None,
            keeps_names,
            key: Key::default(),
            name: Name::default(),
            names: Vec::new(),
            facts: [0; 2],
            fact_count: 0,
            announced: false,
            checksum: None,
        }
    }

    /// Whether the end of the file, with its checksum, has passed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The file's checksum, once it is done; 0 where the server makes none (`rdbchecksum no`).
    #[must_use]
    pub fn checksum(&self) -> Option<u64> {
        self.checksum
    }

    /// The file's version, once its first bytes have passed.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Bytes of the file that were read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// `Truncated`, unless the file is done.
    pub fn finish(&self) -> Result<(), RdbError> {
        if self.is_done() {
            Ok(())
        } else {
            Err(RdbError::Truncated(self.offset))
        }
    }

    /// Takes the next piece in. Returns how much of it belongs to the file: all, unless the file ends within it.
    ///
    /// # Errors
    /// What is wrong with the file, and what the visitor fails with; the parser is of no use after that.
    pub fn feed<V: Visitor>(&mut self, piece: &[u8], visitor: &mut V) -> Result<usize, V::Error> {
        let mut reader = Reader::new(piece);
        // Where the bytes begin that the visitor has not been given; of a record only.
        let mut from = 0;
        let mut summed = false;
        while self.state != State::Done {
            match self.state {
                State::Header => {
                    let Some(header) = reader.exactly::<HEADER>(&mut self.carry) else {
                        break;
                    };
                    self.carry.clear();
                    let version = Version::from_header(header)?;
                    self.version = Some(version);
                    self.state = State::Opcode;
                    visitor.version(version)?;
                }
                State::Opcode => {
                    let [byte] = match reader.exactly::<1>(&mut self.carry) {
                        Some(byte) => byte,
                        None => break,
                    };
                    self.carry.clear();
                    self.opcode(byte, self.offset + reader.position() as u64 - 1)?;
                    if self.state == State::Function {
                        from = reader.position();
                        visitor.begin(Record::Function)?;
                    } else if self.state == State::Trailer {
                        self.crc.update(reader.since(0));
                        summed = true;
                    }
                }
                State::Statement(opcode) => {
                    if !self.run(&mut reader)? {
                        break;
                    }
                    self.state = State::Opcode;
                    self.statement(opcode, visitor)?;
                }
                State::KeyName => {
                    if !self.run(&mut reader)? {
                        break;
                    }
                    self.key.name = self.names.pop().unwrap_or_default();
                    self.key.offset = self.offset + reader.position() as u64;
                    self.begin_value()?;
                    from = reader.position();
                    visitor.begin(Record::Key(&self.key))?;
                }
                State::Function | State::Value => {
                    let complete = self.run(&mut reader)?;
                    let bytes = reader.since(from);
                    if !bytes.is_empty() {
                        visitor.bytes(bytes)?;
                    }
                    if !complete {
                        break;
                    }
                    self.end_record(visitor)?;
                }
                State::Trailer => {
                    let Some(trailer) = reader.exactly::<8>(&mut self.carry) else {
                        break;
                    };
                    self.carry.clear();
                    self.check(u64::from_le_bytes(trailer))?;
                    self.state = State::Done;
                }
                State::Done => {}
            }
        }
        if !summed && !matches!(self.state, State::Trailer | State::Done) {
            self.crc.update(reader.since(0));
        }
        self.offset += reader.position() as u64;
        Ok(reader.position())
    }

    fn check(&mut self, stored: u64) -> Result<(), RdbError> {
        let computed = self.crc.value();
        if stored != 0 && stored != computed {
            return Err(RdbError::Checksum { stored, computed });
        }
        self.checksum = Some(stored);
        Ok(())
    }

    /// What the byte at `offset` begins.
    fn opcode(&mut self, byte: u8, offset: u64) -> Result<(), RdbError> {
        let Some(version) = self.version else {
            return Err(RdbError::Opcode { opcode: byte, offset });
        };
        let announces = matches!(byte, 248 | 249 | 252 | 253);
        if byte == 255 || grammar::opcode(byte, version).is_some() {
            if self.announced && !announces {
                return Err(RdbError::KeyMissing { opcode: byte, offset });
            }
            self.announced = announces;
        }
        if byte == 255 {
            self.state = State::Trailer;
        } else if let Some((opcode, steps)) = grammar::opcode(byte, version) {
            self.state = if opcode == Opcode::Function {
                State::Function
            } else {
                State::Statement(opcode)
            };
            self.begin(steps);
        } else if grammar::value(byte, version).is_some() {
            self.key.kind = byte;
            (self.key.long_name, self.key.empty) = (None, false);
            self.announced = false;
            self.state = State::KeyName;
            self.begin(grammar::KEY);
        } else if byte == 6 {
            return Err(RdbError::OldModule { offset });
        } else {
            return Err(RdbError::Opcode { opcode: byte, offset });
        }
        Ok(())
    }

    fn begin(&mut self, steps: &'static [Step]) {
        self.frames.clear();
        self.names.clear();
        self.fact_count = 0;
        self.frames.push(Frame { steps, at: 0, rounds: 1 });
    }

    fn begin_value(&mut self) -> Result<(), RdbError> {
        let kind = self.key.kind;
        let offset = self.key.offset;
        let steps = self.version.and_then(|version| grammar::value(kind, version));
        self.begin(steps.ok_or(RdbError::Opcode { opcode: kind, offset })?);
        self.state = State::Value;
        Ok(())
    }

    fn end_record<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        if self.state == State::Function {
            visitor.end(Record::Function)?;
        } else {
            visitor.end(Record::Key(&self.key))?;
            (self.key.expires, self.key.idle, self.key.frequency) = (None, None, None);
        }
        self.state = State::Opcode;
        Ok(())
    }

    /// A statement is complete.
    fn statement<V: Visitor>(&mut self, opcode: Opcode, visitor: &mut V) -> Result<(), V::Error> {
        let [first, second] = self.facts;
        match opcode {
            Opcode::Aux => {
                if let [name, value] = self.names.as_slice() {
                    visitor.aux(name, value)?;
                }
            }
            Opcode::Database => self.key.database = first,
            Opcode::Resize => visitor.resize(self.key.database, first, second)?,
            Opcode::ExpiryMilliseconds => self.key.expires = Some(first),
            Opcode::ExpirySeconds => self.key.expires = Some(first.saturating_mul(1000)),
            Opcode::Idle => self.key.idle = Some(first),
            Opcode::Frequency => self.key.frequency = Some(first.to_le_bytes()[0]),
            Opcode::SlotImport | Opcode::SlotInfo | Opcode::ModuleAux | Opcode::Function => {}
        }
        Ok(())
    }

    /// Carries the program out, as far as the piece goes; whether it is complete.
    fn run(&mut self, reader: &mut Reader<'_>) -> Progress {
        loop {
            if !self.settle(reader)? {
                return Ok(false);
            }
            let Some(step) = self.next_step() else { return Ok(true) };
            if !self.step(step, reader)? {
                return Ok(false);
            }
        }
    }

    /// The step that is next; `None` at the program's end.
    fn next_step(&mut self) -> Option<Step> {
        loop {
            let frame = self.frames.last_mut()?;
            if let Some(step) = frame.steps.get(frame.at) {
                return Some(*step);
            }
            frame.at = 0;
            frame.rounds -= 1;
            if frame.rounds == 0 {
                self.frames.pop();
            }
        }
    }

    fn advance(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.at += 1;
        }
    }

    fn push(&mut self, steps: &'static [Step], rounds: u64) {
        if rounds > 0 {
            self.frames.push(Frame { steps, at: 0, rounds });
        }
    }

    /// Begins a step; `false` where it takes more bytes to begin it.
    fn step(&mut self, step: Step, reader: &mut Reader<'_>) -> Progress {
        match step {
            Step::Bytes(count) => self.pending = Pending::Skip(u64::from(count)),
            Step::Kept(count) => {
                let Some(bytes) = reader.carry(&mut self.carry, usize::from(count)) else {
                    return Ok(false);
                };
                let mut number = [0; 8];
                number.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                self.carry.clear();
                self.keep(u64::from_le_bytes(number));
            }
            Step::TextualDouble => {
                let Some([length]) = reader.exactly::<1>(&mut self.carry) else {
                    return Ok(false);
                };
                self.carry.clear();
                // 253 to 255 stand for NaN and the infinities.
                self.pending = Pending::Skip(if length < 253 { u64::from(length) } else { 0 });
            }
            Step::Text | Step::Name => {
                let Some(prefix) = self.prefix(reader)? else { return Ok(false) };
                self.begin_text(prefix, step == Step::Name);
                return Ok(true);
            }
            Step::Number | Step::Fact | Step::Elements(_) | Step::Items(_) | Step::ModuleCode => {
                let at = self.unread(reader);
                let Some(prefix) = self.prefix(reader)? else { return Ok(false) };
                let Prefix::Length(number) = prefix else {
                    return Err(RdbError::Length { found: 0xc0, offset: at });
                };
                return self.counted(step, number, at).map(|()| true);
            }
            Step::ModuleFields => {
                self.advance();
                self.push(grammar::MODULE_CODES, u64::MAX);
                return Ok(true);
            }
        }
        self.advance();
        Ok(true)
    }

    /// What a number is for.
    fn counted(&mut self, step: Step, number: u64, offset: u64) -> Result<(), RdbError> {
        self.advance();
        match step {
            Step::Fact => self.keep(number),
            Step::Elements(_) if number == 0 => self.key.empty = true,
            Step::Elements(steps) | Step::Items(steps) => self.push(steps, number),
            Step::ModuleCode if number == 0 => _ = self.frames.pop(),
            Step::ModuleCode => {
                let steps = grammar::module_field(number).ok_or(RdbError::ModuleCode { found: number, offset })?;
                self.push(steps, 1);
            }
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, number: u64) {
        if let Some(fact) = self.facts.get_mut(self.fact_count) {
            *fact = number;
            self.fact_count += 1;
        }
    }

    fn begin_text(&mut self, prefix: Prefix, name: bool) {
        let (length, keep) = match prefix {
            Prefix::Length(length) => {
                let keep = name && self.fits(length);
                if keep {
                    self.name.begin_raw();
                }
                (length, keep)
            }
            Prefix::Integer(bytes) => {
                let keep = name && self.fits(u64::from(bytes));
                if keep {
                    self.name.begin_integer();
                }
                (u64::from(bytes), keep)
            }
            Prefix::Compressed => {
                self.pending = Pending::CompressedSize { keep: name };
                return;
            }
        };
        self.collect_or_skip(length, keep, name);
    }

    fn collect_or_skip(&mut self, length: u64, keep: bool, name: bool) {
        if keep {
            self.pending = Pending::Collect(length);
            return;
        }
        if name {
            self.names.push(Vec::new());
        }
        self.pending = Pending::Skip(length);
        self.advance();
    }

    /// Whether a name of this length is to be kept. A long one is passed over, be it a key's or of a statement about the file.
    fn fits(&mut self, length: u64) -> bool {
        if self.state != State::KeyName {
            return length <= AUX_LIMIT;
        }
        self.key.long_name = (length > KEY_LIMIT).then_some(length);
        self.keeps_names && self.key.long_name.is_none()
    }

    /// Carries on with what is under way; `false` where the piece ends before it does.
    fn settle(&mut self, reader: &mut Reader<'_>) -> Progress {
        loop {
            match self.pending {
                Pending::Nothing => return Ok(true),
                Pending::Skip(left) => {
                    let left = left - reader.some(left).len() as u64;
                    if left > 0 {
                        self.pending = Pending::Skip(left);
                        return Ok(false);
                    }
                    self.pending = Pending::Nothing;
                    return Ok(true);
                }
                Pending::Collect(left) => {
                    let bytes = reader.some(left);
                    self.name.push(bytes);
                    let left = left - bytes.len() as u64;
                    if left > 0 {
                        self.pending = Pending::Collect(left);
                        return Ok(false);
                    }
                    self.pending = Pending::Nothing;
                    let mut name = Vec::new();
                    self.name.finish(&mut name, self.offset + reader.position() as u64)?;
                    self.names.push(name);
                    self.advance();
                    return Ok(true);
                }
                Pending::CompressedSize { keep } => {
                    let Some(compressed) = self.number(reader)? else { return Ok(false) };
                    self.pending = Pending::PlainSize { keep, compressed };
                }
                Pending::PlainSize { keep: name, compressed } => {
                    let Some(length) = self.number(reader)? else { return Ok(false) };
                    let keep = name && self.fits(length.max(compressed));
                    if keep {
                        self.name.begin_compressed(usize::try_from(length).unwrap_or(usize::MAX));
                    }
                    self.collect_or_skip(compressed, keep, name);
                }
            }
        }
    }

    /// Where in the file begins what is to be understood next; some of it may be carried.
    fn unread(&self, reader: &Reader<'_>) -> u64 {
        self.offset + reader.position() as u64 - self.carry.len()
    }

    fn number(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, RdbError> {
        let offset = self.unread(reader);
        match self.prefix(reader)? {
            None => Ok(None),
            Some(Prefix::Length(number)) => Ok(Some(number)),
            Some(_) => Err(RdbError::Length { found: 0xc0, offset }),
        }
    }

    fn prefix(&mut self, reader: &mut Reader<'_>) -> Result<Option<Prefix>, RdbError> {
        let Some(first) = self.carry.first().or_else(|| reader.peek()) else {
            return Ok(None);
        };
        let offset = self.unread(reader);
        let wrong = RdbError::Encoding { found: first, offset };
        let Some(length) = text::prefix_length(first) else {
            return Err(wrong);
        };
        let Some(bytes) = reader.carry(&mut self.carry, length) else {
            return Ok(None);
        };
        let prefix = text::prefix(bytes).ok_or(wrong)?;
        self.carry.clear();
        Ok(Some(prefix))
    }
}

#[cfg(test)]
mod tests;

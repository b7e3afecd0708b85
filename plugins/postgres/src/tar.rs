//! The tar archives that a PostgreSQL server sends, unpacked as they pass: [`TarReader`].
//!
//! Only what the server writes is understood (PostgreSQL's `src/port/tar.c`: ustar headers for files, folders and symbolic links, large numbers in base
//! 256); anything else is refused by name. The reader never holds more than one header of 512 bytes, and file contents are handed on as slices of
//! what came in.

const BLOCK: usize = 512;

/// A header that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// The checksum doesn't fit.
    #[error("a tar header's checksum is wrong")]
    Checksum,
    /// A number that isn't one.
    #[error("the {0} in a tar header is not a number")]
    Number(&'static str),
    /// Something else than file, folder or symbolic link.
    #[error("a tar header has type {:?}", char::from(*.0))]
    Type(u8),
    /// A path that leads out of the archive, or is no path.
    #[error("a tar header has the unusable path {0:?}")]
    Path(String),
    /// Bytes after the end marker.
    #[error("the tar archive goes on after its end")]
    AfterEnd,
    /// No more bytes, in the middle of something.
    #[error("the tar archive ends in the middle of an entry")]
    Truncated,
}

/// What a member of the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// With its size in bytes.
    File(u64),
    /// A folder.
    Directory,
    /// With its target.
    Symlink(Vec<u8>),
}

/// A member of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Relative, without `.`, `..` and empty components.
    pub path: Vec<u8>,
    /// File, folder or link.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub modified: i64,
}

/// What [`TarReader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum TarEvent<'a> {
    /// A member begins.
    Begin(Header),
    /// A piece of a file's content.
    Data(&'a [u8]),
    /// The member that began is complete.
    End,
}

#[derive(Debug)]
enum State {
    Header,
    Content {
        remaining: u64,
        padding: usize,
    },
    Padding(usize),
    /// One block of zeros was seen.
    Ending,
    Ended,
}

/// Takes an archive in pieces of any size.
#[derive(Debug)]
pub struct TarReader {
    state: State,
    block: [u8; BLOCK],
    filled: usize,
}

impl Default for TarReader {
    fn default() -> Self {
        Self {
            state: State::Header,
            block: [0; BLOCK],
            filled: 0,
        }
    }
}

impl TarReader {
    /// The next event in `input`, which is moved past what was used; `None` when it is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<TarEvent<'a>>, TarError> {
        loop {
            match self.state {
                State::Content { remaining: 0, padding } => {
                    self.state = State::Padding(padding);
                    return Ok(Some(TarEvent::End));
                }
                State::Padding(0) => self.state = State::Header,
                _ if input.is_empty() => return Ok(None),
                State::Content { remaining, padding } => {
                    let data = take(input, usize::try_from(remaining).unwrap_or(usize::MAX));
                    self.state = State::Content {
                        remaining: remaining - data.len() as u64,
                        padding,
                    };
                    return Ok(Some(TarEvent::Data(data)));
                }
                State::Padding(remaining) => self.state = State::Padding(remaining - take(input, remaining).len()),
                State::Header | State::Ending => {
                    if let Some(event) = self.read_block(input)? {
                        return Ok(Some(event));
                    }
                }
                State::Ended => {
                    if take(input, usize::MAX).iter().any(|&byte| byte != 0) {
                        return Err(TarError::AfterEnd);
                    }
                }
            }
        }
    }

    /// Checks that the archive may end here. A server up to 14 leaves the end marker to the client, so none is asked for.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            State::Header | State::Ending if self.filled == 0 => Ok(()),
            State::Ended | State::Padding(0) => Ok(()),
            _ => Err(TarError::Truncated),
        }
    }

    fn read_block<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<TarEvent<'a>>, TarError> {
        let part = take(input, BLOCK - self.filled);
        self.block[self.filled..self.filled + part.len()].copy_from_slice(part);
        self.filled += part.len();
        if self.filled < BLOCK {
            return Ok(None);
        }
        self.filled = 0;
        if self.block.iter().all(|&byte| byte == 0) {
            self.state = if matches!(self.state, State::Ending) {
                State::Ended
            } else {
                State::Ending
            };
            return Ok(None);
        }
        if matches!(self.state, State::Ending) {
            return Err(TarError::AfterEnd);
        }
        let header = parse(&self.block)?;
        let size = if let Kind::File(size) = header.kind { size } else { 0 };
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.state = State::Content { remaining: size, padding };
        Ok(Some(TarEvent::Begin(header)))
    }
}

fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(input.len().min(most));
    *input = rest;
    taken
}

/// Fields of a ustar header (POSIX.1-1988) by their places.
fn parse(block: &[u8; BLOCK]) -> Result<Header, TarError> {
    let stated = number(&block[148..156], "checksum")?;
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(place, &byte)| if (148..156).contains(&place) { 32 } else { u64::from(byte) })
        .sum();
    if stated != sum {
        return Err(TarError::Checksum);
    }
    let kind = match block[156] {
        b'0' | 0 => Kind::File(number(&block[124..136], "size")?),
        b'5' => Kind::Directory,
        b'2' => Kind::Symlink(text(&block[157..257]).to_vec()),
        other => return Err(TarError::Type(other)),
    };
    let narrow = |range: std::ops::Range<usize>, what| u32::try_from(number(&block[range], what)?).map_err(|_| TarError::Number(what));
    Ok(Header {
        path: path(text(&block[345..500]), text(&block[..100]))?,
        kind,
        mode: narrow(100..108, "mode")? & 0o7777,
        uid: narrow(108..116, "owner")?,
        gid: narrow(116..124, "group")?,
        modified: i64::try_from(number(&block[136..148], "time")?).map_err(|_| TarError::Number("time"))?,
    })
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Octal digits, with spaces around them or a zero byte behind; or, where the first bit is set, base 256. Negative numbers are refused.
fn number(field: &[u8], what: &'static str) -> Result<u64, TarError> {
    let error = TarError::Number(what);
    if let Some((&first @ 0x80.., rest)) = field.split_first() {
        if first != 0x80 {
            return Err(error);
        }
        return rest
            .iter()
            .try_fold(0_u64, |value, &byte| Some(value.checked_mul(256)? + u64::from(byte)))
            .ok_or(error);
    }
    let digits = text(field).trim_ascii();
    digits
        .iter()
        .try_fold(0_u64, |value, &byte| {
            let digit = byte.checked_sub(b'0').filter(|&digit| digit < 8)?;
            value.checked_mul(8)?.checked_add(u64::from(digit))
        })
        .ok_or(error)
}

fn path(prefix: &[u8], name: &[u8]) -> Result<Vec<u8>, TarError> {
    let whole = if prefix.is_empty() {
        name.to_vec()
    } else {
        [prefix, b"/", name].concat()
    };
    let relative = whole.strip_prefix(b"./").unwrap_or(&whole);
    let relative = relative.strip_suffix(b"/").unwrap_or(relative);
    let usable = relative
        .split(|&byte| byte == b'/')
        .all(|component| !matches!(component, b"" | b"." | b".."));
    if usable {
        Ok(relative.to_vec())
    } else {
        Err(TarError::Path(String::from_utf8_lossy(&whole).into_owned()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn member(name: &str, kind: u8, size: u64, link: &str) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000600");
        block[108..115].copy_from_slice(b"0000145");
        block[116..123].copy_from_slice(b"0000150");
        block[124..136].copy_from_slice(format!("{size:011o} ").as_bytes());
        block[136..147].copy_from_slice(b"14712345670");
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut block);
        block
    }

    fn seal(block: &mut [u8; BLOCK]) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }

    /// What is in an archive that arrives in pieces of `size` bytes.
    fn unpack(archive: &[u8], size: usize) -> Result<Vec<(Header, Vec<u8>)>, TarError> {
        let mut reader = TarReader::default();
        let mut members = Vec::new();
        let mut open: Option<(Header, Vec<u8>)> = None;
        for mut piece in archive.chunks(size) {
            while let Some(event) = reader.next(&mut piece)? {
                match event {
                    TarEvent::Begin(header) => assert!(open.replace((header, Vec::new())).is_none()),
                    TarEvent::Data(data) => open.as_mut().unwrap().1.extend_from_slice(data),
                    TarEvent::End => members.push(open.take().unwrap()),
                }
            }
        }
        // A member may end exactly where the last piece does.
        while let Some(event) = reader.next(&mut &[][..])? {
            assert_eq!(event, TarEvent::End);
            members.push(open.take().unwrap());
        }
        reader.finish()?;
        Ok(members)
    }

    fn archive() -> Vec<u8> {
        let mut archive = Vec::new();
        archive.extend(member("./pg_wal/archive_status/", b'5', 0, ""));
        archive.extend(member("global/1260", b'0', 700, ""));
        archive.extend([7; 700]);
        archive.extend([0; 1024 - 700]);
        archive.extend(member("base/empty", b'0', 0, ""));
        archive.extend(member("pg_tblspc/16384", b'2', 0, "/srv/fast"));
        archive
    }

    #[test]
    fn pieces_make_no_difference() {
        let with_trailer = [archive(), vec![0; 1024]].concat();
        let expected = unpack(&with_trailer, usize::MAX).unwrap();
        let names: Vec<_> = expected
            .iter()
            .map(|(header, _)| String::from_utf8_lossy(&header.path).into_owned())
            .collect();
        assert_eq!(names, ["pg_wal/archive_status", "global/1260", "base/empty", "pg_tblspc/16384"]);
        assert_eq!(expected[1].0.kind, Kind::File(700));
        assert_eq!((expected[1].0.uid, expected[1].0.gid, expected[1].0.mode), (0o145, 0o150, 0o600));
        assert_eq!(expected[1].0.modified, 0o14712345670);
        assert_eq!(expected[1].1, [7; 700]);
        assert_eq!(expected[3].0.kind, Kind::Symlink(b"/srv/fast".to_vec()));
        for size in [1, 3, 511, 512, 513, 1000] {
            assert_eq!(unpack(&with_trailer, size).unwrap(), expected, "pieces of {size}");
            assert_eq!(unpack(&archive(), size).unwrap(), expected, "without trailer, pieces of {size}");
        }
    }

    #[test]
    fn every_cut_within_a_member_is_noticed() {
        let archive = archive();
        for end in (1..archive.len()).filter(|end| ![512, 2048, 2560].contains(end)) {
            assert_eq!(unpack(&archive[..end], 100), Err(TarError::Truncated), "cut at {end}");
        }
    }

    #[test]
    fn reads_numbers_in_base_256() {
        let mut block = member("big", b'0', 0, "");
        block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
        seal(&mut block);
        assert_eq!(parse(&block).unwrap().kind, Kind::File(3 << 24 << 8 | 1));
        block[124] = 0xFF;
        seal(&mut block);
        assert_eq!(parse(&block), Err(TarError::Number("size")));
    }

    #[test]
    fn refuses_what_a_hostile_server_may_send() {
        let refused = |name: &str| matches!(parse(&member(name, b'0', 0, "")), Err(TarError::Path(_)));
        for name in ["../etc/passwd", "/etc/passwd", "a/../b", "a//b", ".", "./", "", "a/./b"] {
            assert!(refused(name), "{name:?}");
        }
        assert_eq!(parse(&member("x", b'L', 0, "")), Err(TarError::Type(b'L')));
        let mut damaged = member("x", b'0', 0, "");
        damaged[3] ^= 1;
        assert_eq!(parse(&damaged), Err(TarError::Checksum));
        let mut after = vec![0; 1024];
        after.push(1);
        assert_eq!(unpack(&after, 512), Err(TarError::AfterEnd));
        let one_zero_block = [vec![0; 512], member("x", b'0', 0, "").to_vec()].concat();
        assert_eq!(unpack(&one_zero_block, 512), Err(TarError::AfterEnd));
    }

    #[test]
    fn survives_any_header() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut block = member("x", b'0', 0, "");
            for _ in 0..8 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                block[(state >> 33) as usize % BLOCK] = (state >> 56) as u8;
            }
            seal(&mut block);
            let _ = parse(&block);
        }
    }
}

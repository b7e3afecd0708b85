//! A piece of a file, and what of the last piece was too short to be understood: [`Reader`] and [`Carry`].

/// The longest thing that must be seen whole: a header, or a length of nine bytes.
const MOST: usize = 16;

/// Bytes at the end of a piece that wait for the next one.
#[derive(Debug, Default, Clone)]
pub(crate) struct Carry {
    bytes: [u8; MOST],
    count: usize,
}

/// Reads a piece.
pub(crate) struct Reader<'p> {
    piece: &'p [u8],
    position: usize,
}

impl<'p> Reader<'p> {
    pub(crate) fn new(piece: &'p [u8]) -> Self {
        Self { piece, position: 0 }
    }

    /// Bytes of this piece that were taken.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// What was taken since `from`.
    pub(crate) fn since(&self, from: usize) -> &'p [u8] {
        self.piece.get(from..self.position).unwrap_or_default()
    }

    /// At most `count` bytes.
    pub(crate) fn some(&mut self, count: u64) -> &'p [u8] {
        let rest = self.piece.get(self.position..).unwrap_or_default();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest.len());
        self.position += count;
        &rest[..count]
    }

    /// Exactly `N` bytes, of which the first may have come with an earlier piece; `None` until all are here. What was carried is not given up before
    /// [`Carry::clear`].
    pub(crate) fn exactly<const N: usize>(&mut self, carry: &mut Carry) -> Option<[u8; N]> {
        if carry.count == 0
            && let Some(bytes) = self.piece.get(self.position..self.position + N)
        {
            self.position += N;
            return bytes.try_into().ok();
        }
        self.carry(carry, N).and_then(|bytes| bytes.try_into().ok())
    }

    /// The same where the number is known only now; at most 16.
    pub(crate) fn carry<'c>(&mut self, carry: &'c mut Carry, count: usize) -> Option<&'c [u8]> {
        let missing = count.saturating_sub(carry.count) as u64;
        for &byte in self.some(missing) {
            carry.bytes[carry.count] = byte;
            carry.count += 1;
        }
        (carry.count >= count).then(|| &carry.bytes[..count])
    }

    /// The next byte, without taking it, where it is in this piece.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.piece.get(self.position).copied()
    }
}

impl Carry {
    /// What was carried has been understood.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    pub(crate) fn len(&self) -> u64 {
        self.count as u64
    }

    pub(crate) fn first(&self) -> Option<u8> {
        self.bytes[..self.count].first().copied()
    }
}

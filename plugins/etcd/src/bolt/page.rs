//! The format: pages, their elements, and the two meta pages ([`Meta`]).
//!
//! | page | 16 bytes of head: id (8), flags (2), count (2), overflow (4): how many further pages belong to it |
//! |---|---|
//! | meta | magic, version, page size, flags (4 each), root page, sequence, freelist, high-water mark, transaction, FNV-1a of all before it (8 each) |
//! | branch | elements of 16 bytes: position (4), key size (4), page (8); then the keys |
//! | leaf | elements of 16 bytes: flags, position, key size, value size (4 each); then keys and values, each key followed by its value |
//!
//! Positions count from the element's own first byte; all numbers are little endian.

/// Bytes of a page's head, and of an element.
pub(crate) const HEAD: usize = 16;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const META_SIZE: usize = 64;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;

/// The element's value is a bucket: its root page and sequence, and where the root is 0, the bucket's only page.
pub(crate) const BUCKET: u32 = 0x01;

/// What is wrong with a bbolt file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Shorter than two pages.
    #[error("the file is shorter than its meta pages")]
    TooShort,
    /// A meta page.
    #[error("meta page {page} is damaged: {what}")]
    Meta {
        /// 0 or 1.
        page: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Both are valid, of transactions that bbolt does not write into one snapshot.
    #[error("the two meta pages disagree")]
    MetasDisagree,
    /// Fewer bytes than the high-water mark says.
    #[error("the file has {size} bytes where its meta page says {expected}")]
    Size {
        /// Bytes found.
        size: u64,
        /// Bytes that the meta page tells.
        expected: u64,
    },
    /// A page of the tree.
    #[error("page {page} is damaged: {what}")]
    Page {
        /// Its number.
        page: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The tree.
    #[error("the tree of pages leads into itself at page {0}")]
    Circle(u64),
    /// No bucket of this name.
    #[error("the store has no bucket `{0}`")]
    NoBucket(String),
}

/// A little-endian number at `offset`.
fn number<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    number(data, offset).map(u32::from_le_bytes)
}

fn u64_at(data: &[u8], offset: usize) -> Option<u64> {
    number(data, offset).map(u64::from_le_bytes)
}

/// A meta page: where the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_size: u32,
    /// The page of the root bucket.
    pub root: u64,
    /// The number of pages.
    pub pages: u64,
    /// The transaction that wrote it.
    pub transaction: u64,
}

impl Meta {
    /// Bytes that a file begins with for [`Meta::page_size_of`] to work.
    pub(crate) const PROBE: usize = HEAD + META_SIZE;

    /// The page size that the first meta page claims; where it is damaged, nobody knows where the second one is.
    pub(crate) fn page_size_of(front: &[u8]) -> Result<usize, Damage> {
        Self::parse(front, 0).map(|meta| meta.page_size as usize)
    }

    /// The valid meta page of the later transaction. bbolt writes both into a snapshot, the second with the number of the transaction before; that
    /// both are whole and agree is checked, although bbolt itself opens a file with one.
    pub(crate) fn choose(first: &[u8], second: &[u8]) -> Result<Self, Damage> {
        let (first, second) = (Self::parse(first, 0)?, Self::parse(second, 1)?);
        if first.page_size != second.page_size || first.transaction.abs_diff(second.transaction) > 1 {
            return Err(Damage::MetasDisagree);
        }
        Ok(if first.transaction >= second.transaction { first } else { second })
    }

    /// Bytes that all pages have together.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pages.saturating_mul(self.page_size.into())
    }

    fn parse(data: &[u8], page: u64) -> Result<Self, Damage> {
        let damage = |what| Damage::Meta { page, what };
        let head = Head::parse(data).ok_or(Damage::TooShort)?;
        let meta = data.get(HEAD..HEAD + META_SIZE).ok_or(Damage::TooShort)?;
        if u32_at(meta, 0) != Some(MAGIC) {
            return Err(damage("it does not begin as one"));
        }
        if u32_at(meta, 4) != Some(VERSION) {
            return Err(damage("it is of another version of the format"));
        }
        if u64_at(meta, 56) != Some(fnv1a(&meta[..56])) {
            return Err(damage("its checksum is wrong"));
        }
        if head.id != page {
            return Err(damage("it has another page's number"));
        }
        let page_size = u32_at(meta, 8).ok_or(Damage::TooShort)?;
        if !(1 << 10..=1 << 16).contains(&page_size) || !page_size.is_power_of_two() {
            return Err(damage("its page size is impossible"));
        }
        let parsed = Self {
            page_size,
            root: u64_at(meta, 16).ok_or(Damage::TooShort)?,
            pages: u64_at(meta, 40).ok_or(Damage::TooShort)?,
            transaction: u64_at(meta, 48).ok_or(Damage::TooShort)?,
        };
        if parsed.root < 2 || parsed.root >= parsed.pages || parsed.pages > 1 << 40 {
            return Err(damage("its root lies outside of the file"));
        }
        Ok(parsed)
    }
}

/// 64-bit FNV-1a.
pub(super) fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Branch,
    Leaf,
    Other,
}

/// A page's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) count: u16,
    pub(crate) overflow: u32,
}

impl Head {
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let flags = number(data, 8).map(u16::from_le_bytes)?;
        Some(Self {
            id: u64_at(data, 0)?,
            kind: match flags {
                BRANCH => Kind::Branch,
                LEAF => Kind::Leaf,
                _ => Kind::Other,
            },
            count: number(data, 10).map(u16::from_le_bytes)?,
            overflow: u32_at(data, 12)?,
        })
    }
}

/// One element of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// See [`BUCKET`].
    pub(crate) flags: u32,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// A leaf with all its overflow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf<'a> {
    data: &'a [u8],
    count: usize,
}

impl<'a> Leaf<'a> {
    pub(crate) fn new(data: &'a [u8], count: u16) -> Self {
        Self { data, count: count.into() }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn size(&self, at: usize) -> Option<usize> {
        usize::try_from(u32_at(self.data, at)?).ok()
    }

    /// The element at `index`; `None` where it lies outside of the page.
    pub(crate) fn get(&self, index: usize) -> Option<Element<'a>> {
        let at = HEAD + index * HEAD;
        let key = at.checked_add(self.size(at + 4)?)?;
        let value = key.checked_add(self.size(at + 8)?)?;
        Some(Element {
            flags: u32_at(self.data, at)?,
            key: self.data.get(key..value)?,
            value: self.data.get(value..value.checked_add(self.size(at + 12)?)?)?,
        })
    }

    /// The last element.
    pub(crate) fn last(&self) -> Option<Element<'a>> {
        self.get(self.count.checked_sub(1)?)
    }

    /// The first 8 bytes of the last key: in the bucket `key`, its revision. 0 where there are none.
    pub(crate) fn leading(&self) -> u64 {
        let last = self.last().and_then(|element| element.key.first_chunk().copied());
        last.map_or(0, u64::from_be_bytes)
    }

    /// All keys and values in one piece, as bbolt writes them: each key, its value, the next key. `None` where they do not lie so.
    pub(crate) fn content(&self) -> Option<&'a [u8]> {
        let begin = HEAD + self.count * HEAD;
        let mut end = begin;
        for index in 0..self.count {
            let at = HEAD + index * HEAD;
            if at.checked_add(self.size(at + 4)?)? != end {
                return None;
            }
            end = end.checked_add(self.size(at + 8)?)?.checked_add(self.size(at + 12)?)?;
        }
        self.data.get(begin..end)
    }
}

/// The children of a branch with all its overflow; `None` where they lie outside of the page, or there are none.
pub(crate) fn children(data: &[u8], count: u16) -> Option<Vec<u64>> {
    if count == 0 {
        return None;
    }
    (0..usize::from(count)).map(|index| u64_at(data, HEAD + index * HEAD + 8)).collect()
}

/// The value of a bucket's element: the root page, and where it is 0, the page within the value.
pub(crate) fn bucket(value: &[u8]) -> Option<(u64, &[u8])> {
    Some((u64_at(value, 0)?, value.get(HEAD..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification of FNV (draft-eastlake-fnv).
    #[test]
    fn fnv1a_of_known_strings() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn elements_outside_of_their_page_are_none() {
        let mut page = vec![0; 64];
        page[20..24].copy_from_slice(&16_u32.to_le_bytes());
        page[24..28].copy_from_slice(&8_u32.to_le_bytes());
        page[28..32].copy_from_slice(&24_u32.to_le_bytes());
        let leaf = Leaf::new(&page, 1);
        assert_eq!(leaf.get(0).map(|element| (element.key.len(), element.value.len())), Some((8, 24)));
        assert_eq!(leaf.content().map(<[u8]>::len), Some(32));
        page[28..32].copy_from_slice(&25_u32.to_le_bytes());
        let leaf = Leaf::new(&page, 1);
        assert_eq!((leaf.get(0), leaf.content()), (None, None));
        page[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Leaf::new(&page, 1).get(0), None);
    }
}

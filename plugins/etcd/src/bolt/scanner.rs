//! A file that passes once: [`Scanner`], and what it says of the store at the end, [`Summary`].
//!
//! Pages pass in the order of their numbers, the tree is in another, and pages that nobody uses any more still hold what they held. So the scanner
//! remembers, of every page that looks like one of a tree, a few numbers (of a leaf the CRC-32C of its content, of a branch its children), and when
//! the file has ended it walks the tree over these. All that is reachable must be there and whole; what isn't reachable doesn't matter.
//!
//! A large value makes a leaf of several pages. When such a leaf was freed and its space used again in parts, its old head is followed by pages of
//! others; so leaves of several pages are put together beside each other, and a page within one of them is looked at as a page of its own too.
//!
//! The figures are those of `etcdctl snapshot status`: CRC-32C over every bucket's name and content in order.

use std::collections::HashMap;

use bulkhead_sdk::digest::{Algorithm, Hasher, digest};

use super::{
    MAX_DEPTH,
    crc::Joined,
    page::{BUCKET, Damage, Head, Kind, Leaf, Meta, bucket, children},
};

/// Pages that are remembered, at 24 bytes each: 16 GiB of pages of 4 KiB. etcd's makers recommend at most 8 GiB.
const MAX_PAGES: u64 = 4 << 20;

/// Children of branches that are remembered, at 8 bytes each; a store has as many as leaves, and old branches add theirs.
const MAX_CHILDREN: usize = 6 << 20;

/// Bytes of leaves of several pages that are put together at a time; etcd refuses requests of more than 1.5 MiB by default.
const MAX_ASSEMBLED: usize = 64 << 20;

/// Bytes that a store may grow between the word of its size and the snapshot, and still be in the room that was made.
const GROWTH: u64 = 64 << 20;

/// What a store is, in the figures of `etcdctl snapshot status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// CRC-32C of all buckets.
    pub hash: u32,
    /// The last revision in the bucket `key`; 0 for an empty one.
    pub revision: u64,
    /// Keys in all buckets, with all their revisions.
    pub keys: u64,
    /// Bytes of all pages.
    pub size: u64,
}

/// What is remembered of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    /// Of a leaf: the first 8 bytes of its last key, which are the revision in the bucket `key`.
    last: u64,
    crc: u32,
    length: u32,
    count: u16,
    kind: SeenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum SeenKind {
    #[default]
    Nothing,
    Leaf,
    Branch,
    /// It looks like a page of a tree, but its elements don't fit into it.
    Damaged,
}

impl From<SeenKind> for Seen {
    fn from(kind: SeenKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

/// A page with overflow, being put together.
struct Assembly {
    head: Head,
    needed: usize,
    data: Vec<u8>,
}

/// Looks at a file that passes.
pub struct Scanner {
    /// The beginning, until the meta pages are there.
    front: Vec<u8>,
    meta: Option<Meta>,
    /// The beginning of a page whose end has not passed.
    page: Vec<u8>,
    number: u64,
    seen: Vec<Seen>,
    branches: HashMap<u64, Box<[u64]>>,
    children: usize,
    assemblies: Vec<Assembly>,
    assembled: usize,
    root: Option<(u16, Vec<u8>)>,
    hasher: Hasher,
    /// Bytes that the file is said to have.
    expected: u64,
    /// The bound that was passed; the summary is then not known.
    overrun: Option<&'static str>,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Scanner(at page {})", self.number)
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            front: Vec::new(),
            meta: None,
            page: Vec::new(),
            number: 0,
            seen: Vec::new(),
            branches: HashMap::new(),
            children: 0,
            assemblies: Vec::new(),
            assembled: 0,
            root: None,
            hasher: Hasher::new(Algorithm::Crc32c),
            expected: 0,
            overrun: None,
        }
    }
}

impl Scanner {
    /// For a file that is said to have so many bytes: room for what is remembered of its pages is made at once, because the memory of a sandbox never
    /// shrinks, and what a growing vector leaves behind stays.
    #[must_use]
    pub fn expecting(bytes: u64) -> Self {
        Self {
            expected: bytes,
            ..Self::default()
        }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// What is wrong with a meta page, as soon as both have passed. Other pages are judged at the end.
    pub fn feed(&mut self, data: &[u8]) -> Result<(), Damage> {
        let Some(meta) = self.meta else {
            self.front.extend_from_slice(data);
            return self.begin();
        };
        let size = meta.page_size as usize;
        let mut rest = data;
        if !self.page.is_empty() {
            let (part, tail) = rest.split_at(rest.len().min(size - self.page.len()));
            self.page.extend_from_slice(part);
            rest = tail;
            if self.page.len() < size {
                return Ok(());
            }
            let mut page = std::mem::take(&mut self.page);
            self.look(&page, &meta);
            page.clear();
            self.page = page;
        }
        let pages = rest.chunks_exact(size);
        self.page.extend_from_slice(pages.remainder());
        for page in pages {
            self.look(page, &meta);
        }
        Ok(())
    }

    /// The meta pages, when they are there.
    fn begin(&mut self) -> Result<(), Damage> {
        if self.front.len() < Meta::PROBE {
            return Ok(());
        }
        let size = Meta::page_size_of(&self.front)?;
        if self.front.len() < 2 * size {
            return Ok(());
        }
        let (first, rest) = self.front.split_at(size);
        let meta = Meta::choose(first, &rest[..size])?;
        self.meta = Some(meta);
        self.number = 2;
        if meta.pages > MAX_PAGES {
            self.overrun("it has more pages than are remembered");
        } else {
            // The meta page's word alone is worth nothing: a small file can claim any number.
            let expected = self.expected.saturating_add(GROWTH) / u64::from(meta.page_size);
            self.seen = Vec::with_capacity(usize::try_from(meta.pages.min(expected)).unwrap_or(0));
            self.seen.resize(2, Seen::default());
        }
        let front = std::mem::take(&mut self.front);
        self.feed(&front[2 * size..])
    }

    /// Gives up: what was remembered is of no use any more.
    fn overrun(&mut self, reason: &'static str) {
        self.overrun = Some(reason);
        self.seen = Vec::new();
        self.branches = HashMap::new();
        self.assemblies = Vec::new();
    }

    fn look(&mut self, page: &[u8], meta: &Meta) {
        let number = self.number;
        self.number += 1;
        if self.overrun.is_some() || number >= meta.pages {
            return;
        }
        self.seen.push(Seen::default());
        if !self.assemblies.is_empty() {
            self.assemble(page, meta);
        }
        let Some(head) = Head::parse(page).filter(|head| head.id == number && head.kind != Kind::Other) else {
            return;
        };
        if head.overflow == 0 {
            self.take(head, page, meta);
        } else if u64::from(head.overflow) >= meta.pages - number {
            self.set(number, SeenKind::Damaged.into());
        } else {
            self.start(head, page);
        }
    }

    /// A page with overflow begins.
    fn start(&mut self, head: Head, page: &[u8]) {
        let needed = (head.overflow as usize).saturating_add(1).saturating_mul(page.len());
        if self.assembled.saturating_add(needed) > MAX_ASSEMBLED {
            self.overrun("its values are larger than are put together");
            return;
        }
        self.assembled += needed;
        let mut data = Vec::with_capacity(needed);
        data.extend_from_slice(page);
        self.assemblies.push(Assembly { head, needed, data });
    }

    fn assemble(&mut self, page: &[u8], meta: &Meta) {
        for assembly in &mut self.assemblies {
            assembly.data.extend_from_slice(page);
        }
        let assemblies = std::mem::take(&mut self.assemblies);
        let is_done = |assembly: &Assembly| assembly.data.len() >= assembly.needed;
        let (done, going): (Vec<_>, Vec<_>) = assemblies.into_iter().partition(is_done);
        self.assemblies = going;
        for Assembly { head, needed, data } in done {
            self.assembled -= needed;
            self.take(head, &data, meta);
        }
    }

    /// A whole page with its overflow.
    fn take(&mut self, head: Head, data: &[u8], meta: &Meta) {
        let seen = match head.kind {
            Kind::Leaf => self.leaf(head, data),
            Kind::Branch | Kind::Other => self.branch(head, data),
        };
        if head.id == meta.root {
            self.root = Some((head.count, data.to_vec()));
        }
        self.set(head.id, seen);
    }

    fn set(&mut self, number: u64, seen: Seen) {
        if let Some(place) = usize::try_from(number).ok().and_then(|index| self.seen.get_mut(index)) {
            *place = seen;
        }
    }

    fn leaf(&mut self, head: Head, data: &[u8]) -> Seen {
        let leaf = Leaf::new(data, head.count);
        let Some(content) = leaf.content() else {
            return SeenKind::Damaged.into();
        };
        self.hasher.update(content);
        Seen {
            last: leaf.leading(),
            crc: crc(self.hasher.finish()),
            length: u32::try_from(content.len()).unwrap_or(u32::MAX),
            count: head.count,
            kind: SeenKind::Leaf,
        }
    }

    fn branch(&mut self, head: Head, data: &[u8]) -> Seen {
        let Some(children) = children(data, head.count) else {
            return SeenKind::Damaged.into();
        };
        self.children += children.len();
        if self.children > MAX_CHILDREN {
            self.overrun("it has more branches than are remembered");
            return SeenKind::Nothing.into();
        }
        self.branches.insert(head.id, children.into());
        SeenKind::Branch.into()
    }

    fn seen_at(&self, number: u64) -> Seen {
        let seen = usize::try_from(number).ok().and_then(|index| self.seen.get(index));
        seen.copied().unwrap_or_default()
    }

    /// Walks the tree. The summary is `Err` with the reason where the store is larger than what is remembered of it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn finish(mut self) -> Result<(Meta, Result<Summary, &'static str>), Damage> {
        let meta = self.meta.ok_or(Damage::TooShort)?;
        let size = self.number * u64::from(meta.page_size) + self.page.len() as u64;
        // The file may go on beyond the last page: bbolt grows it in steps.
        if size < meta.size() || !self.page.is_empty() {
            let expected = meta.size();
            return Err(Damage::Size { size, expected });
        }
        if let Some(reason) = self.overrun {
            return Ok((meta, Err(reason)));
        }
        let root = self.root.take();
        let summary = match (self.seen_at(meta.root).kind, root) {
            (SeenKind::Leaf, Some((count, root))) => Ok(self.summarize(&meta, Leaf::new(&root, count))?),
            (SeenKind::Branch, _) => Err("its root has more buckets than etcd makes"),
            (SeenKind::Damaged, _) => return Err(damaged(meta.root)),
            _ => return Err(missing(meta.root)),
        };
        Ok((meta, summary))
    }

    fn summarize(&self, meta: &Meta, root: Leaf<'_>) -> Result<Summary, Damage> {
        let mut walk = Walk::new(self);
        let mut revision = 0;
        for index in 0..root.count() {
            let element = root.get(index).ok_or_else(|| damaged(meta.root))?;
            let no_bucket = Damage::Page {
                page: meta.root,
                what: "it holds something else than buckets",
            };
            let found = bucket(element.value).filter(|_| element.flags & BUCKET != 0);
            let (page, inline) = found.ok_or(no_bucket)?;
            walk.content(element.key);
            walk.last = 0;
            if page == 0 {
                walk.inline(inline).ok_or_else(|| damaged(meta.root))?;
            } else {
                walk.page(page, 0)?;
            }
            if element.key == b"key" {
                revision = walk.last;
            }
        }
        Ok(Summary {
            hash: walk.joined.crc(),
            revision,
            keys: walk.keys,
            size: meta.size(),
        })
    }
}

fn crc(digest: Vec<u8>) -> u32 {
    digest.try_into().map_or(0, u32::from_be_bytes)
}

fn missing(page: u64) -> Damage {
    let what = "it is not the page of a tree that it should be";
    Damage::Page { page, what }
}

fn damaged(page: u64) -> Damage {
    let what = "its elements lie outside of it";
    Damage::Page { page, what }
}

/// The tree, walked over what is remembered.
struct Walk<'a> {
    scanner: &'a Scanner,
    joined: Joined,
    keys: u64,
    last: u64,
    pages: u64,
}

impl<'a> Walk<'a> {
    fn new(scanner: &'a Scanner) -> Self {
        Self {
            scanner,
            joined: Joined::default(),
            keys: 0,
            last: 0,
            pages: 0,
        }
    }

    fn content(&mut self, data: &[u8]) {
        self.joined.append(crc(digest(Algorithm::Crc32c, data)), data.len() as u64);
    }

    fn page(&mut self, number: u64, depth: usize) -> Result<(), Damage> {
        self.pages += 1;
        if depth > MAX_DEPTH || self.pages > self.scanner.number {
            return Err(Damage::Circle(number));
        }
        let seen = self.scanner.seen_at(number);
        match seen.kind {
            SeenKind::Leaf => {
                self.joined.append(seen.crc, seen.length.into());
                self.keys += u64::from(seen.count);
                self.last = seen.last;
                Ok(())
            }
            SeenKind::Branch => {
                let scanner = self.scanner;
                let children = scanner.branches.get(&number).ok_or_else(|| missing(number))?;
                children.iter().try_for_each(|child| self.page(*child, depth + 1))
            }
            SeenKind::Damaged => Err(damaged(number)),
            SeenKind::Nothing => Err(missing(number)),
        }
    }

    fn inline(&mut self, data: &[u8]) -> Option<()> {
        let head = Head::parse(data).filter(|head| head.kind == Kind::Leaf)?;
        let leaf = Leaf::new(data, head.count);
        self.content(leaf.content()?);
        self.keys += u64::from(head.count);
        self.last = leaf.leading();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use bulkhead_sdk::testing::Harness;

    use super::{super::page::fnv1a, *};

    /// Two meta pages of a file of so many pages.
    fn front(pages: u64) -> Vec<u8> {
        let mut front = vec![0; 8192];
        for (number, page) in front.chunks_mut(4096).enumerate() {
            page[0] = u8::try_from(number).unwrap();
            let meta = &mut page[16..80];
            meta[..4].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
            meta[4] = 2;
            meta[8..12].copy_from_slice(&4096_u32.to_le_bytes());
            meta[16] = 3;
            meta[40..48].copy_from_slice(&pages.to_le_bytes());
            let sum = fnv1a(&meta[..56]);
            meta[56..].copy_from_slice(&sum.to_le_bytes());
        }
        front
    }

    fn room(pages: u64, bytes: u64) -> usize {
        Harness::new().run(|| {
            let mut scanner = Scanner::expecting(bytes);
            scanner.feed(&front(pages)).unwrap();
            scanner.seen.capacity()
        })
    }

    #[test]
    fn room_for_pages_is_made_once_and_only_for_those_that_can_come() {
        assert_eq!(room(1 << 20, 4 << 30), 1 << 20);
        assert_eq!(room(1 << 20, (4 << 30) - GROWTH), 1 << 20, "a store that has grown since");
        let (hostile, small) = (room(MAX_PAGES, 8192), usize::try_from(GROWTH / 4096).unwrap() + 2);
        assert!(hostile <= small, "{hostile} pages for a file of two");
        assert_eq!(room(MAX_PAGES + 1, u64::MAX), 0, "of so many, nothing is remembered");
    }
}

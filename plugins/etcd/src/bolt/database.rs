//! A stored file, read at offsets: [`Database`].

use std::{collections::HashMap, rc::Rc};

use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, snapshot::EntryReader};

use super::{
    MAX_DEPTH,
    page::{BUCKET, Damage, Element, HEAD, Head, Kind, Leaf, Meta, bucket, children},
};

/// Blocks of [`BEST_TRANSFER`] that are kept: 8 MiB. Neighbours in the tree are mostly neighbours in the file, and the host keeps what it has decrypted too.
const BLOCKS: usize = 32;

/// The largest page with its overflow; etcd refuses values of more than 1.5 MiB by default.
const MAX_PAGE: usize = 64 << 20;

/// Leaves of one bucket: 16 GiB of pages of 4 KiB.
const MAX_LEAVES: usize = 4 << 20;

/// The largest page size, twice: where both meta pages are.
const FRONT: usize = 2 << 16;

/// Something that can be read at offsets.
pub trait ReadAt {
    /// Bytes at an offset; fewer than `max` only at the end.
    ///
    /// # Errors
    /// Those of whatever is read.
    fn read_at(&self, offset: u64, max: usize) -> Result<Vec<u8>>;

    /// Bytes in all.
    fn size(&self) -> u64;
}

impl ReadAt for EntryReader {
    fn read_at(&self, offset: u64, max: usize) -> Result<Vec<u8>> {
        Ok(Self::read_at(self, offset, max)?.unwrap_or_default())
    }

    fn size(&self) -> u64 {
        Self::size(self)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, max: usize) -> Result<Vec<u8>> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        Ok(rest[..rest.len().min(max)].to_vec())
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

/// Damage of a stored file is damage of the snapshot.
impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Self::new(ErrorKind::Corrupt, damage.to_string())
    }
}

/// Where a bucket's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// In a tree of its own, with this root.
    Tree(u64),
    /// On a page within another one.
    Inline(Rc<Vec<u8>>),
}

/// Where a leaf is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafPlace {
    /// The page of this number.
    Page(u64),
    /// On a page within another one.
    Inline(Rc<Vec<u8>>),
}

/// What is done with each leaf.
type Visit<'v, R> = &'v mut dyn FnMut(&mut Database<R>, LeafPlace) -> Result<()>;

/// A stored file.
pub struct Database<R> {
    reader: R,
    meta: Meta,
    blocks: HashMap<u64, (u64, Rc<Vec<u8>>)>,
    clock: u64,
}

impl<R> std::fmt::Debug for Database<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Database({:?})", self.meta)
    }
}

fn damage(page: u64, what: &'static str) -> Error {
    Damage::Page { page, what }.into()
}

impl<R: ReadAt> Database<R> {
    /// Opens a file; what follows its last page (etcd's trailer) is not looked at.
    ///
    /// # Errors
    /// `Corrupt`; those of the reader.
    pub fn open(reader: R) -> Result<Self> {
        let front = reader.read_at(0, FRONT)?;
        if front.len() < Meta::PROBE {
            return Err(Damage::TooShort.into());
        }
        let size = Meta::page_size_of(&front)?;
        let second = front.get(size..2 * size).ok_or(Damage::TooShort)?;
        let meta = Meta::choose(&front[..size], second)?;
        if reader.size() < meta.size() {
            let (size, expected) = (reader.size(), meta.size());
            return Err(Damage::Size { size, expected }.into());
        }
        Ok(Self {
            reader,
            meta,
            blocks: HashMap::new(),
            clock: 0,
        })
    }

    /// All buckets in order.
    ///
    /// # Errors
    /// `Corrupt`; those of the reader.
    pub fn buckets(&mut self) -> Result<Vec<(Vec<u8>, Bucket)>> {
        let mut buckets = Vec::new();
        let root = self.meta.root;
        for place in self.leaves(&Bucket::Tree(root))? {
            for element in self.leaf(&place)?.elements() {
                let element = element?;
                let found = bucket(element.value).filter(|_| element.flags & BUCKET != 0);
                let (page, inline) = found.ok_or_else(|| damage(root, "it holds something else than buckets"))?;
                let bucket = match page {
                    0 => Bucket::Inline(Rc::new(inline.to_vec())),
                    page => Bucket::Tree(page),
                };
                buckets.push((element.key.to_vec(), bucket));
            }
        }
        Ok(buckets)
    }

    /// The bucket called `name`.
    ///
    /// # Errors
    /// `Corrupt`, also where there is none; those of the reader.
    pub fn bucket(&mut self, name: &str) -> Result<Bucket> {
        let found = self.buckets()?.into_iter().find(|(bucket, _)| bucket == name.as_bytes());
        found
            .map(|(_, bucket)| bucket)
            .ok_or_else(|| Damage::NoBucket(name.to_owned()).into())
    }

    /// The leaves of a bucket in order.
    ///
    /// # Errors
    /// `Corrupt`, `Limit`; those of the reader.
    pub fn leaves(&mut self, bucket: &Bucket) -> Result<Vec<LeafPlace>> {
        match bucket {
            Bucket::Inline(page) => Ok(vec![LeafPlace::Inline(Rc::clone(page))]),
            Bucket::Tree(root) => {
                let mut leaves = Vec::new();
                self.each_leaf(&Bucket::Tree(*root), &mut 0, &mut |_, place| {
                    if leaves.len() >= MAX_LEAVES {
                        return Err(Error::new(ErrorKind::Limit, "the store has more pages than this plugin reads"));
                    }
                    leaves.push(place);
                    Ok(())
                })?;
                Ok(leaves)
            }
        }
    }

    /// Calls `visit` with the leaves of a bucket in order. `visited` counts pages: for several buckets of one file, use one counter.
    pub(super) fn each_leaf(&mut self, bucket: &Bucket, visited: &mut u64, visit: Visit<'_, R>) -> Result<()> {
        match bucket {
            Bucket::Inline(page) => visit(self, LeafPlace::Inline(Rc::clone(page))),
            Bucket::Tree(root) => {
                let height = self.height(*root)?;
                self.descend(*root, height, visited, visit)
            }
        }
    }

    /// Bytes that all pages have together.
    pub(super) fn size(&self) -> u64 {
        self.meta.size()
    }

    /// How many branches lead to a leaf: as many to each, in a tree of bbolt's.
    fn height(&mut self, root: u64) -> Result<usize> {
        let mut number = root;
        for height in 0..=MAX_DEPTH {
            let head = self.head(number)?;
            match head.kind {
                Kind::Leaf => return Ok(height),
                Kind::Branch => number = *self.children(number)?.first().ok_or_else(|| damage(number, "it leads nowhere"))?,
                Kind::Other => return Err(damage(number, "it is not the page of a tree that it should be")),
            }
        }
        Err(Damage::Circle(number).into())
    }

    /// Leaves are not looked at, only the branches above them: whoever reads a leaf sees whether it is one.
    fn descend(&mut self, number: u64, height: usize, visited: &mut u64, visit: Visit<'_, R>) -> Result<()> {
        // Nothing is visited twice in a tree: what visits more than there is, leads into itself.
        *visited += 1;
        if *visited > self.meta.pages {
            return Err(Damage::Circle(number).into());
        }
        if height == 0 {
            return visit(self, LeafPlace::Page(number));
        }
        for child in self.children(number)? {
            self.descend(child, height - 1, visited, visit)?;
        }
        Ok(())
    }

    /// Where a branch leads.
    fn children(&mut self, number: u64) -> Result<Vec<u64>> {
        let head = self.head(number)?;
        if head.kind != Kind::Branch {
            return Err(damage(number, "it is no branch"));
        }
        let page = self.page(number, head)?;
        children(&page, head.count).ok_or_else(|| damage(number, "its elements lie outside of it"))
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// `Corrupt`; those of the reader.
    pub fn leaf(&mut self, place: &LeafPlace) -> Result<LeafPage> {
        let (number, head, data) = match place {
            LeafPlace::Page(number) => {
                let head = self.head(*number)?;
                (*number, head, Rc::new(self.page(*number, head)?))
            }
            LeafPlace::Inline(data) => {
                let root = self.meta.root;
                let head = Head::parse(data).ok_or_else(|| damage(root, "a bucket within it is damaged"))?;
                (root, head, Rc::clone(data))
            }
        };
        if head.kind != Kind::Leaf {
            return Err(damage(number, "it is no leaf"));
        }
        Ok(LeafPage {
            number,
            count: head.count,
            data,
        })
    }

    fn head(&mut self, number: u64) -> Result<Head> {
        let bytes = self.bytes(number, HEAD)?;
        let head = Head::parse(&bytes).filter(|head| head.id == number);
        head.ok_or_else(|| damage(number, "it has another page's number"))
    }

    /// A page with its overflow.
    fn page(&mut self, number: u64, head: Head) -> Result<Vec<u8>> {
        let size = (u64::from(head.overflow) + 1) * u64::from(self.meta.page_size);
        if u64::from(head.overflow) >= self.meta.pages.saturating_sub(number) {
            return Err(damage(number, "its overflow lies outside of the file"));
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_PAGE);
        let too_large = || {
            Error::new(
                ErrorKind::Limit,
                format!("page {number} is larger than the {MAX_PAGE} bytes that this plugin reads"),
            )
        };
        self.bytes(number, size.ok_or_else(too_large)?)
    }

    /// The first `length` bytes of a page.
    fn bytes(&mut self, page: u64, length: usize) -> Result<Vec<u8>> {
        let outside = || damage(page, "it lies outside of the file");
        if page >= self.meta.pages {
            return Err(outside());
        }
        let mut at = page * u64::from(self.meta.page_size);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let block = self.block(at / BEST_TRANSFER as u64)?;
            let from = usize::try_from(at % BEST_TRANSFER as u64).unwrap_or(0);
            let part = block.get(from..).filter(|part| !part.is_empty()).ok_or_else(outside)?;
            let part = &part[..part.len().min(length - bytes.len())];
            bytes.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok(bytes)
    }

    fn block(&mut self, number: u64) -> Result<Rc<Vec<u8>>> {
        self.clock += 1;
        if let Some((used, block)) = self.blocks.get_mut(&number) {
            *used = self.clock;
            return Ok(Rc::clone(block));
        }
        let oldest = self.blocks.iter().min_by_key(|(_, (used, _))| *used).map(|(number, _)| *number);
        if self.blocks.len() >= BLOCKS
            && let Some(oldest) = oldest
        {
            self.blocks.remove(&oldest);
        }
        let block = Rc::new(self.reader.read_at(number * BEST_TRANSFER as u64, BEST_TRANSFER)?);
        self.blocks.insert(number, (self.clock, Rc::clone(&block)));
        Ok(block)
    }
}

/// A leaf in memory.
#[derive(Debug, Clone)]
pub struct LeafPage {
    number: u64,
    count: u16,
    data: Rc<Vec<u8>>,
}

impl LeafPage {
    fn leaf(&self) -> Leaf<'_> {
        Leaf::new(&self.data, self.count)
    }

    /// How many elements it has.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// See [`Leaf::leading`].
    pub(super) fn leading(&self) -> u64 {
        self.leaf().leading()
    }

    /// See [`Leaf::content`].
    pub(super) fn content(&self) -> Result<&[u8]> {
        let content = self.leaf().content();
        content.ok_or_else(|| damage(self.number, "its elements do not lie one after the other"))
    }

    /// Its elements in order; also backwards.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = Result<Element<'_>>> + ExactSizeIterator {
        let leaf = self.leaf();
        let number = self.number;
        (0..leaf.count()).map(move |index| leaf.get(index).ok_or_else(|| damage(number, "its elements lie outside of it")))
    }
}

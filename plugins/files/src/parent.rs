//! What the parent snapshot has: [`Parent`], read alongside the tree, in the same order, so that memory does not grow with it.

use std::cmp::Ordering;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::Stat,
    metadata::NodeType,
    snapshot::{self, Entry, Walk},
    warn,
};

/// The parent's entries of one tree, from the first on.
pub(crate) struct Parent {
    walk: Option<Walk>,
    next: Option<Entry>,
    is_damaged: bool,
}

impl Parent {
    /// Of the tree `name`; nothing where there is no parent, or no such tree in it.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let mut parent = Self {
            walk: None,
            next: None,
            is_damaged: false,
        };
        match snapshot::walk(name) {
            Ok(walk) => parent.walk = Some(walk),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => parent.end(error)?,
        }
        parent.advance()?;
        Ok(parent)
    }

    fn advance(&mut self) -> Result<()> {
        match self.walk.as_mut().and_then(Iterator::next).transpose() {
            Ok(next) => {
                self.next = next;
                Ok(())
            }
            Err(error) => self.end(error),
        }
    }

    /// What was lost of an old snapshot keeps no new one from being taken: from here on, all files are read.
    fn end(&mut self, error: Error) -> Result<()> {
        if error.kind != ErrorKind::Corrupt {
            return Err(error);
        }
        warn!("{error}");
        (self.walk, self.next, self.is_damaged) = (None, None, true);
        Ok(())
    }

    /// Whether some of it could not be read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Whether it has the file at `path` as `stat` describes it. Paths are asked for in order.
    pub(crate) fn has(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        while let Some(entry) = &self.next {
            match in_order(&entry.path, path) {
                Ordering::Less => self.advance()?,
                Ordering::Equal => return Ok(is_same(entry, stat)),
                Ordering::Greater => break,
            }
        }
        Ok(false)
    }
}

/// The order of a walk: component by component, a folder before what is in it.
fn in_order(left: &[u8], right: &[u8]) -> Ordering {
    left.split(|byte| *byte == b'/').cmp(right.split(|byte| *byte == b'/'))
}

/// Size, both times and inode: whoever changes content without changing one of them means to deceive, or has a clock that stands still.
fn is_same(entry: &Entry, stat: &Stat) -> bool {
    let metadata = &entry.metadata;
    metadata.node_type == NodeType::File
        && entry.size == stat.size
        && metadata.modified == Some(stat.modified)
        && metadata.changed == Some(stat.changed)
        && metadata.inode == stat.inode
        && metadata.inode != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_what_is_in_it_and_that_before_its_neighbours() {
        let paths = ["home", "home/a", "home/a/b", "home/a b", "home/a.txt", "home/b"];
        assert!(paths.is_sorted_by(|left, right| in_order(left.as_bytes(), right.as_bytes()) == Ordering::Less));
    }
}

//! [`Page`]: the first names of a listing, whatever the order in which they are found. For a source's `browse` whose data is not sorted by name, so that memory
//! is bounded by a page and not by the data.

use std::collections::BTreeMap;

/// Items of one page; the ABI's own bound.
pub const MAX_ITEMS: usize = 10_000;

/// The first items, in the order of their names, of all that were added in any. A page has at most [`MAX_ITEMS`], and names of at most so many bytes as it was
/// made for, but for a single one that has more.
#[derive(Debug)]
pub struct Page<T> {
    items: BTreeMap<String, T>,
    bytes: usize,
    max_bytes: usize,
    /// The first name that there was no room for: nothing from there on belongs to this page, or the next one would begin too late.
    end: Option<String>,
}

impl<T> Page<T> {
    /// An empty page with names of at most `max_bytes` in all.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            items: BTreeMap::new(),
            bytes: 0,
            max_bytes,
            end: None,
        }
    }

    /// Whether an item of that name belongs to this page, as far as is known. Without, it need not even be made.
    #[must_use]
    pub fn has_room_for(&self, name: &str) -> bool {
        self.end.as_ref().is_none_or(|end| name < &end[..])
    }

    /// Adds an item, unless it belongs to a later page. Of two with one name the later stays.
    pub fn add(&mut self, name: String, item: T) {
        if !self.has_room_for(&name) {
            return;
        }
        let length = name.len();
        if self.items.insert(name, item).is_none() {
            self.bytes += length;
        }
        while self.items.len() > MAX_ITEMS || self.bytes > self.max_bytes && self.items.len() > 1 {
            let Some((last, _)) = self.items.pop_last() else { return };
            self.bytes -= last.len();
            self.end = Some(last);
        }
    }
}

impl<T> IntoIterator for Page<T> {
    type Item = (String, T);
    type IntoIter = std::collections::btree_map::IntoIter<String, T>;

    /// The items in the order of their names.
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 1 << 20;

    /// Names of all pages, as somebody gets them who asks for one after the other.
    fn pages(names: &[String]) -> Vec<Vec<String>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let mut page = Page::new(MAX_BYTES);
            for name in names.iter().filter(|name| after.as_ref().is_none_or(|after| *name > after)) {
                page.add(name.clone(), ());
            }
            assert!(page.items.len() <= MAX_ITEMS && (page.bytes <= MAX_BYTES || page.items.len() == 1));
            let page: Vec<String> = page.into_iter().map(|(name, ())| name).collect();
            after = page.last().cloned();
            if page.is_empty() {
                return pages;
            }
            pages.push(page);
        }
    }

    #[test]
    fn a_page_is_bounded_in_bytes_and_none_is_lost_between_two() {
        // Long and short names, in no order.
        let length = |number: usize| {
            if number.is_multiple_of(7) { MAX_BYTES / 3 } else { 5 + number % 11 }
        };
        let mut names: Vec<String> = (0..100)
            .map(|number| format!("{:03}{}", number * 37 % 100, "x".repeat(length(number))))
            .collect();
        names.push(format!("050{}", "y".repeat(MAX_BYTES * 2)));
        let found = pages(&names);
        assert!(found.len() > 4, "{} pages", found.len());
        names.sort();
        assert_eq!(found.concat(), names);
    }

    #[test]
    fn a_page_is_bounded_in_items() {
        let names: Vec<String> = (0..MAX_ITEMS * 2 + 5).rev().map(|number| format!("{number:06}")).collect();
        assert_eq!(pages(&names).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_ITEMS, MAX_ITEMS, 5]);
    }

    #[test]
    fn of_two_with_one_name_the_later_stays() {
        let mut page = Page::new(MAX_BYTES);
        page.add("same".to_owned(), 1);
        page.add("same".to_owned(), 2);
        assert_eq!(page.bytes, 4);
        assert_eq!(page.into_iter().collect::<Vec<_>>(), [("same".to_owned(), 2)]);
    }
}

//! The keys in a stored snapshot: [`browse`].

use std::collections::BTreeMap;

use bulkhead_sdk::{
    Error, Result,
    source::{BrowseRequest, Item},
    types::Fact,
};

use crate::{facts, store::Store};

/// Items of one answer; the ABI's own bound.
const PAGE: usize = 10_000;

/// Bytes of names in one answer: a key can have as many as a request, 1.5 MiB by default. A single name may have more.
const PAGE_BYTES: usize = 1 << 20;

/// Lists live keys in order, with revision, version and lease.
pub(crate) fn browse(request: &BrowseRequest) -> Result<Vec<Item>> {
    if request.entry != facts::SNAPSHOT.as_bytes() {
        let name = String::from_utf8_lossy(&request.entry).into_owned();
        return Err(Error::unsupported(format!("{name} has no inside")).with_hint(format!("browse {}", facts::SNAPSHOT)));
    }
    let mut store = Store::of_snapshot()?;
    let live = store.live(i64::MAX)?;
    let mut page = Page::default();
    let mut index = 0;
    store.forwards(|change| {
        let place = index;
        index += 1;
        if !live.has(place) {
            return Ok(true);
        }
        let name = shown(change.key()?);
        let is_wanted = name.starts_with(&request.prefix) && request.after.as_ref().is_none_or(|after| name > *after);
        if is_wanted && page.has_room_for(&name) {
            let stored = change.decode()?;
            let facts = vec![
                Fact::new("mod-revision", stored.mod_revision),
                Fact::new("create-revision", stored.create_revision),
                Fact::new("version", stored.version),
                Fact::new("lease", format!("{:x}", stored.lease)),
            ];
            let size = Some(stored.value.len() as u64);
            page.add(Item { name, size, facts });
        }
        Ok(true)
    })?;
    Ok(page.items.into_values().collect())
}

/// The first items, in the order of their names, of all that were added in any.
#[derive(Default)]
struct Page {
    items: BTreeMap<String, Item>,
    bytes: usize,
    /// The first name that there was no room for: nothing from there on belongs to this page, or the next one would begin too late.
    end: Option<String>,
}

impl Page {
    fn has_room_for(&self, name: &str) -> bool {
        self.end.as_ref().is_none_or(|end| name < &end[..])
    }

    fn add(&mut self, item: Item) {
        self.bytes += item.name.len();
        // Two keys can be shown as one name: what is no text, and a text that looks like it.
        if let Some(same) = self.items.insert(item.name.clone(), item) {
            self.bytes -= same.name.len();
        }
        while self.items.len() > PAGE || self.bytes > PAGE_BYTES && self.items.len() > 1 {
            let Some((last, _)) = self.items.pop_last() else { return };
            self.bytes -= last.len();
            self.end = Some(last);
        }
    }
}

/// A key as text; bytes that are none are written as `\xNN`.
fn shown(key: &[u8]) -> String {
    key.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_text_are_shown_all_the_same() {
        assert_eq!(shown("/registry/pods/ä".as_bytes()), "/registry/pods/ä");
        assert_eq!(shown(b"a\xff\x00b"), "a\\xff\0b");
    }

    /// Names of all pages, as somebody gets them who asks for one after the other.
    fn pages(names: &[String]) -> Vec<Vec<String>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let mut page = Page::default();
            for name in names.iter().filter(|name| after.as_ref().is_none_or(|after| *name > after)) {
                if page.has_room_for(name) {
                    let (name, size, facts) = (name.clone(), None, Vec::new());
                    page.add(Item { name, size, facts });
                }
            }
            assert!(page.items.len() <= PAGE && (page.bytes <= PAGE_BYTES || page.items.len() == 1));
            let page: Vec<String> = page.items.into_keys().collect();
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
            if number.is_multiple_of(7) {
                PAGE_BYTES / 3
            } else {
                5 + number % 11
            }
        };
        let mut names: Vec<String> = (0..100)
            .map(|number| format!("{:03}{}", number * 37 % 100, "x".repeat(length(number))))
            .collect();
        names.push(format!("050{}", "y".repeat(PAGE_BYTES * 2)));
        let found = pages(&names);
        assert!(found.len() > 4, "{} pages", found.len());
        names.sort();
        assert_eq!(found.concat(), names);
    }

    #[test]
    fn a_page_is_bounded_in_items() {
        let names: Vec<String> = (0..PAGE * 2 + 5).rev().map(|number| format!("{number:06}")).collect();
        assert_eq!(pages(&names).iter().map(Vec::len).collect::<Vec<_>>(), [PAGE, PAGE, 5]);
    }
}

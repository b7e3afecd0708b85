//! The keys in a stored snapshot: [`browse`].

use bulkhead_sdk::{
    Error, Result,
    page::Page,
    source::{BrowseRequest, Item},
    types::Fact,
};

use crate::{facts, store::Store};

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
    let mut page = Page::new(PAGE_BYTES);
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
            page.add(name.clone(), Item { name, size, facts });
        }
        Ok(true)
    })?;
    Ok(page.into_iter().map(|(_, item)| item).collect())
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
}

//! The names in a folder, sorted: [`Names`]. A million of them take their bytes and eight more each.

/// Names in the order of their bytes, which is that of a snapshot.
#[derive(Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Beginning and end of each.
    places: Vec<(u32, u32)>,
    next: usize,
}

impl Names {
    /// Adds a name; `false` where there is no room for it, beyond 4 GiB of names.
    #[must_use]
    pub(crate) fn add(&mut self, name: &[u8]) -> bool {
        let begin = self.bytes.len();
        let places = u32::try_from(begin).ok().zip(u32::try_from(begin + name.len()).ok());
        self.places.extend(places);
        self.bytes.extend_from_slice(if places.is_some() { name } else { &[] });
        places.is_some()
    }

    /// Sorts them; nothing is added afterwards.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by_key(|place| slice(bytes, *place));
    }

    /// Any of them for which it holds.
    pub(crate) fn any(&self, holds: impl Fn(&[u8]) -> bool) -> bool {
        self.places.iter().any(|place| holds(slice(&self.bytes, *place)))
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(slice(&self.bytes, place))
    }
}

fn slice(bytes: &[u8], (begin, end): (u32, u32)) -> &[u8] {
    &bytes[begin as usize..end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_the_order_of_their_bytes() {
        let mut names = Names::default();
        for name in ["b", "a", "ab", "", "B", "\u{e9}"] {
            assert!(names.add(name.as_bytes()));
        }
        names.sort();
        assert!(names.any(|name| name == b"ab") && !names.any(|name| name == b"c"));
        let mut sorted = Vec::new();
        while let Some(name) = names.next() {
            sorted.push(String::from_utf8_lossy(name).into_owned());
        }
        assert_eq!(sorted, ["", "B", "a", "ab", "b", "\u{e9}"]);
    }
}

//! [`Appearances`]: in which of many snapshots something is.

/// A set of snapshots by their numbers in a list, kept as ranges: what an operator looks for is in one snapshot after the other, so a set is small however
/// many they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appearances {
    /// First and last number of each range; in order, and never touching each other.
    ranges: Vec<(u32, u32)>,
}

impl Appearances {
    /// In one snapshot.
    pub(crate) fn one(number: u32) -> Self {
        Self {
            ranges: vec![(number, number)],
        }
    }

    /// Adds those of another set.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut all: Vec<(u32, u32)> = std::mem::take(&mut self.ranges);
        all.extend(&other.ranges);
        all.sort_unstable();
        for (first, last) in all {
            match self.ranges.last_mut() {
                Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
                _ => self.ranges.push((first, last)),
            }
        }
    }

    /// The numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.ranges.iter().flat_map(|(first, last)| *first as usize..=*last as usize)
    }

    /// The lowest number.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.ranges.first().map(|(first, _)| *first as usize)
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<usize> {
        self.ranges.last().map(|(_, last)| *last as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = Appearances::one(3);
        for number in [7, 1, 2, 8, 3, 5] {
            set.add(&Appearances::one(number));
        }
        assert_eq!(set.ranges, [(1, 3), (5, 5), (7, 8)]);
        set.add(&Appearances {
            ranges: vec![(0, 0), (4, 6)],
        });
        assert_eq!(set.ranges, [(0, 8)]);
        assert_eq!((set.first(), set.last(), set.iter().count()), (Some(0), Some(8), 9));
        assert_eq!(Appearances::default().last(), None);
    }
}

//! Names of which only the first are told: [`Few`].

/// Names that a finding tells.
const TOLD: usize = 10;

/// Counts names, and keeps the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Few {
    first: Vec<String>,
    count: u64,
}

impl Few {
    pub(crate) fn add(&mut self, name: impl Into<String>) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(name.into());
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// `a, b and 3 more`, where there are any.
    pub(crate) fn told(&self) -> Option<String> {
        let named = self.first.join(", ");
        match (self.count, self.count - self.first.len() as u64) {
            (0, _) => None,
            (_, 0) => Some(named),
            (_, more) => Some(format!("{named} and {more} more")),
        }
    }
}

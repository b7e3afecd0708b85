//! Records of a restore that may be carried out at the same time: [`Together`] collects them, in their order in the index, until one comes that must wait for them.
//!
//! Rows of any two tables may come together, and so may indexes and keys of any two tables; foreign keys, attached indexes and all else wait, and are carried out one after the other.
//! What a table has of its own stays in one task: there, two statements would wait for each other's locks.

use std::collections::{BTreeMap, HashMap};

use super::{
    parallel,
    replay::{Rows, Statement, Task},
};

/// Records that are collected at most: the work of a part has at most 1 MiB.
const AT_ONCE: usize = 1_000;

/// What a row costs beside its bytes, in bytes, where it is taken, and where it goes into an index: PostgreSQL 15 takes 1.7 million rows of 100 bytes in 4.4 s and 87,000 of 1,000
/// in 1.6 s, and makes an index of the former in 0.96 s and of the latter in 0.13 s.
const ROW_TAKEN: u64 = 48;
const ROW_INDEXED: u64 = 480;

/// Kinds of statements that need only their own table, with its rows.
const KINDS: [&str; 2] = ["CONSTRAINT", "INDEX"];

/// A table, view or sequence: its schema and name.
type Relation = (String, String);

/// What has been collected.
#[derive(Default)]
pub(crate) struct Together {
    rows: Vec<(u64, Rows)>,
    statements: BTreeMap<Relation, Vec<Statement>>,
    statements_collected: usize,
    /// What an index of a table costs.
    indexing: HashMap<Relation, u64>,
}

impl Together {
    /// Whether statements of this kind may be collected.
    pub(crate) fn takes(kind: &str) -> bool {
        KINDS.contains(&kind)
    }

    /// Whether rows could come with what is collected.
    pub(crate) fn is_ready_for_rows(&self) -> bool {
        self.statements.is_empty() && self.rows.len() < AT_ONCE
    }

    /// Whether statements could.
    pub(crate) fn is_ready_for_statements(&self) -> bool {
        self.rows.is_empty() && self.statements_collected < AT_ONCE
    }

    /// Collects rows, with the bytes of their entry.
    pub(crate) fn add_rows(&mut self, of: Relation, size: u64, rows: Rows) {
        let cost = |row: u64| size.saturating_add(rows.rows.saturating_mul(row));
        self.indexing.insert(of, cost(ROW_INDEXED));
        self.rows.push((cost(ROW_TAKEN), rows));
    }

    /// Collects a statement.
    pub(crate) fn add_statement(&mut self, of: Relation, statement: Statement) {
        self.statements_collected += 1;
        self.statements.entry(of).or_default().push(statement);
    }

    /// Everything that was collected, in at most so many tasks; each like `task`.
    pub(crate) fn share(&mut self, jobs: u32, task: impl Fn() -> Task) -> Vec<Task> {
        let indexing = &self.indexing;
        let statements = std::mem::take(&mut self.statements).into_iter();
        let weighed = statements.map(|(of, statements)| {
            (
                indexing.get(&of).copied().unwrap_or(0).saturating_mul(statements.len() as u64),
                statements,
            )
        });
        let statements = parallel::split(weighed.collect(), jobs as usize);
        let rows = parallel::split(std::mem::take(&mut self.rows), jobs as usize);
        self.statements_collected = 0;
        let tasks = rows.into_iter().zip(statements).map(|(rows, statements)| Task {
            rows,
            statements: statements.into_iter().flatten().collect(),
            ..task()
        });
        tasks.filter(|task| !(task.rows.is_empty() && task.statements.is_empty())).collect()
    }

    /// Begins with another database.
    pub(crate) fn forget(&mut self) {
        self.indexing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_table_has_stays_together() {
        let mut together = Together::default();
        let table = |name: &str| ("public".to_owned(), name.to_owned());
        let statement = |offset| Statement {
            offset,
            ..Statement::default()
        };
        for (name, size) in [("large", 1 << 30), ("small", 1), ("other", 1)] {
            together.add_rows(table(name), size, Rows::default());
        }
        let tasks = together.share(2, Task::default);
        assert_eq!(tasks.iter().map(|task| task.rows.len()).collect::<Vec<_>>(), [1, 2]);
        for (offset, name) in ["small", "large", "large", "other"].into_iter().enumerate() {
            together.add_statement(table(name), statement(offset as u64));
        }
        assert!(!together.is_ready_for_rows());
        let tasks = together.share(2, Task::default);
        let offsets = tasks
            .iter()
            .map(|task| task.statements.iter().map(|statement| statement.offset).collect());
        assert_eq!(offsets.collect::<Vec<Vec<u64>>>(), [vec![1, 2], vec![3, 0]]);
        assert!(together.is_ready_for_rows());
    }

    /// As `cargo xtask bench logical` has them: of the large table the rows are small, and there are many.
    #[test]
    fn many_small_rows_count_for_more_than_a_few_large_ones() {
        let mut together = Together::default();
        for (name, size, rows) in [
            ("many", 166 << 20, 1_700_000),
            ("a", 89 << 20, 87_000),
            ("b", 89 << 20, 87_000),
            ("c", 89 << 20, 87_000),
        ] {
            let rows = Rows { rows, ..Rows::default() };
            together.add_rows(("public".to_owned(), name.to_owned()), size, rows);
        }
        let tasks = together.share(2, Task::default);
        assert_eq!(tasks.iter().map(|task| task.rows.len()).collect::<Vec<_>>(), [1, 3]);
        for name in ["many", "a", "a", "b", "b", "c", "c"] {
            together.add_statement(("public".to_owned(), name.to_owned()), Statement::default());
        }
        let tasks = together.share(2, Task::default);
        assert_eq!(tasks.iter().map(|task| task.statements.len()).collect::<Vec<_>>(), [1, 6]);
    }
}

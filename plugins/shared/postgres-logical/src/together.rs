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
    /// Bytes of rows, by which the work on indexes is estimated.
    sizes: HashMap<Relation, u64>,
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
        self.sizes.insert(of, size);
        self.rows.push((size, rows));
    }

    /// Collects a statement.
    pub(crate) fn add_statement(&mut self, of: Relation, statement: Statement) {
        self.statements_collected += 1;
        self.statements.entry(of).or_default().push(statement);
    }

    /// Everything that was collected, in at most so many tasks; each like `task`.
    pub(crate) fn share(&mut self, jobs: u32, task: impl Fn() -> Task) -> Vec<Task> {
        let sizes = &self.sizes;
        let statements = std::mem::take(&mut self.statements).into_iter();
        let weighed = statements.map(|(of, statements)| (sizes.get(&of).copied().unwrap_or(0) * statements.len() as u64, statements));
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
        self.sizes.clear();
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
}

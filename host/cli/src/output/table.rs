//! Tables whose columns line up.

use super::{Mark, Output};

/// To which side a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table of text.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with as many cells as there are columns. What is in a cell stays on its line.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace('\n', "\\n")).collect());
    }

    /// Prints it.
    pub(crate) fn print(&self, output: &Output) {
        let heads: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        output.line(&output.mark(Mark::Strong, &self.format(&heads)));
        for row in &self.rows {
            output.line(&self.format(row));
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(self.columns[column].0.len())
    }

    fn format(&self, cells: &[String]) -> String {
        let cell = |(column, cell): (usize, &String)| match self.columns.get(column) {
            Some((_, Align::Right)) => format!("{cell:>width$}", width = self.width(column)),
            Some((_, Align::Left)) => format!("{cell:<width$}", width = self.width(column)),
            None => cell.clone(),
        };
        cells
            .iter()
            .enumerate()
            .map(cell)
            .collect::<Vec<_>>()
            .join("  ")
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("ID", Align::Left), ("SIZE", Align::Right)]);
        table.row(["abcdef".into(), "1 B".into()]);
        table.row(["a".into(), "100 MiB".into()]);
        let lines: Vec<String> = table.rows.iter().map(|row| table.format(row)).collect();
        assert_eq!(lines, ["abcdef      1 B", "a       100 MiB"]);
    }
}

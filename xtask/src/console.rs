//! What a task tells its reader: numbered steps, the commands that it runs, and figures. Everything that prints is here.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the task's own voice")]

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};

use crate::error::Error;

/// The reader's terminal, or a log.
pub(crate) struct Console {
    colour: bool,
    steps: Cell<u32>,
    /// Whether standard output is for data, and the story goes to standard error.
    aside: bool,
}

impl Console {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: std::io::stdout().is_terminal() && !refused,
            steps: Cell::new(0),
            aside: false,
        }
    }

    /// A console that leaves standard output to [`data`](Self::data).
    pub(crate) fn beside_data() -> Self {
        Self {
            colour: false,
            steps: Cell::new(0),
            aside: true,
        }
    }

    /// Begins a step of the task.
    pub(crate) fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        let line = format!("{}. {title}", self.steps.get());
        self.say(&format!("\n{}", self.paint("1;36", &line)));
    }

    /// A command as a reader would type it.
    pub(crate) fn command(&self, line: &str) {
        self.say(&format!("{} {}", self.paint("2", "$"), self.paint("1", line)));
    }

    /// A sentence.
    pub(crate) fn note(&self, text: &str) {
        self.say(text);
    }

    /// A file's content, set apart.
    pub(crate) fn file(&self, name: &str, content: &str) {
        self.say(&self.paint("2", &format!("── {name} ──")));
        for line in content.trim_end().lines() {
            self.say(&self.paint("32", line));
        }
        self.say(&self.paint("2", "──"));
    }

    /// A success.
    pub(crate) fn success(&self, text: &str) {
        self.say(&format!("{} {text}", self.paint("1;32", "✓")));
    }

    /// A table of names and figures, aligned.
    pub(crate) fn figures(&self, rows: &[(&str, String)]) {
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, figure) in rows {
            self.say(&format!("  {name:<width$}  {}", self.paint("1", figure)));
        }
    }

    /// Data for a program.
    pub(crate) fn data(&self, text: &str) {
        println!("{text}");
    }

    /// Why the task failed, on standard error.
    pub(crate) fn failure(&self, error: &Error) {
        eprintln!("{} {error}", self.paint("1;31", "error:"));
    }

    fn say(&self, line: &str) {
        if self.aside {
            eprintln!("{line}");
        } else {
            println!("{line}");
            // The output of a program that is started next must come after it.
            let _ = std::io::stdout().flush();
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// 1,234,567 bytes are "1.2 MB".
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

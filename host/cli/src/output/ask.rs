//! Questions to whoever sits at the terminal, before something is removed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::output::{Output, harmless};

impl Output {
    /// Whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        !self.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks on stderr, and waits. Only `y` and `yes` agree.
    pub(crate) fn ask(&self, question: &str) -> bool {
        self.bars().suspend(|| {
            let mut answer = String::new();
            let asked = write!(io::stderr().lock(), "{} [y/N] ", harmless::lines(question))
                .and_then(|()| io::stdin().lock().read_line(&mut answer));
            asked.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
        })
    }
}

//! Everything that is printed: data to stdout, all else to stderr. The only module that writes to either.

mod ask;
mod harmless;
mod human;
mod metrics;
mod progress;
mod stream;
mod table;

use std::{
    env,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
};

use bulkhead_config::Style;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

pub(crate) use harmless::shown;
pub(crate) use human::{bytes, count, counted, duration, local_time, rate};
pub(crate) use metrics::metrics;
pub(crate) use progress::ProgressDisplay;
pub(crate) use stream::DocumentStream;
pub(crate) use table::{Align, Table};

use crate::{arguments::GlobalArguments, error::CommandError, exit::Exit};

/// Where output goes and how it looks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Output(Arc<Settings>);

struct Settings {
    json: bool,
    quiet: bool,
    colour_out: bool,
    colour_err: bool,
    terminal: bool,
    width: usize,
    bars: MultiProgress,
    /// The first failure of stdout.
    failure: Mutex<Option<io::Error>>,
}

/// What text is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Warning,
    Bad,
    Strong,
    Faint,
}

impl Output {
    pub(crate) fn new(arguments: &GlobalArguments) -> Self {
        let terminal = io::stderr().is_terminal();
        let shows_bars = terminal && !arguments.quiet && !arguments.json;
        let target = if shows_bars {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(Arc::new(Settings {
            json: arguments.json,
            quiet: arguments.quiet,
            colour_out: has_colour(io::stdout().is_terminal()),
            colour_err: has_colour(terminal),
            terminal,
            width: terminal_width().unwrap_or(120),
            bars: MultiProgress::with_draw_target(target),
            failure: Mutex::default(),
        }))
    }

    /// Whether results are JSON documents.
    pub(crate) fn is_json(&self) -> bool {
        self.0.json
    }

    /// Whether what is printed is seen by whoever sits there, and kept by nobody.
    pub(crate) fn shows_secrets(&self) -> bool {
        !self.is_json() && io::stdout().is_terminal()
    }

    /// Whether stderr has colours.
    pub(crate) fn colours_errors(&self) -> bool {
        self.0.colour_err
    }

    /// A line of data, to stdout, of which nothing but our own colours acts on a terminal. A reader that went away ends the output, not the operation; any other failure is kept for [`Output::finish`], since what
    /// was done is done, whoever gets to hear of it.
    pub(crate) fn line(&self, text: &str) {
        self.json_line(&harmless::lines(text));
    }

    /// A line of JSON, which has its own escapes.
    pub(crate) fn json_line(&self, text: &str) {
        let written = self.0.bars.suspend(|| writeln!(io::stdout().lock(), "{text}"));
        self.keep(written);
    }

    fn keep(&self, written: io::Result<()>) {
        let Err(error) = written else { return };
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Ends all output to stdout; fails where something of it was lost.
    pub(crate) fn finish(&self) -> Result<(), CommandError> {
        self.keep(io::stdout().lock().flush());
        match self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(CommandError::output(&error)),
            None => Ok(()),
        }
    }

    /// Bytes of data, to stdout; what becomes of them is as in [`Output::line`].
    pub(crate) fn raw(&self, data: &[u8]) {
        self.keep(io::stdout().lock().write_all(data));
    }

    /// Stdout for bytes that may have to wait for their reader: without the lock, on which the end of all output would wait too.
    pub(crate) fn unlocked(&self) -> io::Result<File> {
        Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
    }

    /// A JSON document, to stdout: `kind` and `version` with the fields of `content`.
    pub(crate) fn document(&self, kind: &str, content: &impl Serialize) {
        let mut document = serde_json::json!({ "kind": kind, "version": 1 });
        if let (Some(document), Ok(serde_json::Value::Object(fields))) = (document.as_object_mut(), serde_json::to_value(content)) {
            document.extend(fields);
        }
        self.json_value(&document);
    }

    /// A JSON value, to stdout.
    pub(crate) fn json_value(&self, value: &serde_json::Value) {
        self.json_line(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// A remark, to stderr; not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.0.quiet && !self.0.json {
            self.tell(&format!("{text}\n"));
        }
    }

    /// What went wrong without being the command's failure, to stderr; also with `--quiet`.
    pub(crate) fn warn(&self, text: &str) {
        if !self.0.json {
            self.tell(&format!("{text}\n"));
        }
    }

    /// Text to stderr; as [`Output::line`], harmless.
    pub(crate) fn tell(&self, text: &str) {
        self.tell_json(&harmless::lines(text));
    }

    /// JSON to stderr, between redraws of the progress.
    pub(crate) fn tell_json(&self, text: &str) {
        self.0.bars.suspend(|| {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        });
    }

    /// Tells why a command failed: as text to stderr, or as a document to stdout.
    pub(crate) fn fail(&self, error: &CommandError) -> Exit {
        if self.0.json {
            self.json_value(&error.to_json());
        } else {
            self.complain(error);
        }
        error.exit()
    }

    /// Tells of a failure on stderr.
    pub(crate) fn complain(&self, error: &CommandError) {
        self.tell(&format!("{}\n", error.render(self.error_style(), self.0.width)));
    }

    /// How diagnostics on stderr look.
    pub(crate) fn error_style(&self) -> Style {
        if self.0.colour_err { Style::Coloured } else { Style::Plain }
    }

    /// Columns of the terminal.
    pub(crate) fn width(&self) -> usize {
        self.0.width
    }

    /// `text` marked, for stdout.
    pub(crate) fn mark(&self, mark: Mark, text: &str) -> String {
        if !self.0.colour_out {
            return text.to_owned();
        }
        let code = match mark {
            Mark::Good => "32",
            Mark::Warning => "33",
            Mark::Bad => "1;31",
            Mark::Strong => "1",
            Mark::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.0.bars
    }

    /// Whether progress is shown at all, and whether as a bar.
    pub(crate) fn progress_style(&self) -> progress::Kind {
        match (self.0.quiet || self.0.json, self.0.terminal) {
            (true, _) => progress::Kind::None,
            (false, true) => progress::Kind::Bar,
            (false, false) => progress::Kind::Lines,
        }
    }
}

/// <https://no-color.org> and <https://bixense.com/clicolors>.
fn has_colour(is_terminal: bool) -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let forced = env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    if set("NO_COLOR") {
        return false;
    }
    let refused = env::var_os("CLICOLOR").is_some_and(|value| value == "0") || env::var_os("TERM").is_some_and(|value| value == "dumb");
    forced || is_terminal && !refused
}

fn terminal_width() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 20)
}

//! `ErrorResponse` and `NoticeResponse`, parsed: [`ServerReport`].

use std::fmt;

use crate::wire::{Fields, Truncated};

/// How serious the server finds it; the words of the `V` field, which are never translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "PostgreSQL's own words")]
pub enum Severity {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    /// The connection is over.
    Fatal,
    /// The server is over.
    Panic,
}

/// An error or a notice of the server. Texts are cut at [`ServerReport::MAX_TEXT`] and freed of control characters: they end up on terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    /// How serious.
    pub severity: Severity,
    /// SQLSTATE: five characters (PostgreSQL's documentation, appendix "Error Codes").
    pub code: String,
    /// The main sentence, in the server's `lc_messages`.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
    /// The call stack of the message, for notices of functions.
    pub context: Option<String>,
    /// The C function that raised it: the only stable identifier where one SQLSTATE stands for several causes.
    pub routine: Option<String>,
}

impl ServerReport {
    /// The most of one text that is kept, in bytes. A server's texts are a few hundred; a hostile one's shall not fill logs.
    pub const MAX_TEXT: usize = 4096;

    pub(crate) fn parse(mut fields: Fields<'_>) -> Result<Self, Truncated> {
        let mut report = Self {
            severity: Severity::Error,
            code: String::new(),
            message: String::new(),
            detail: None,
            hint: None,
            context: None,
            routine: None,
        };
        loop {
            let kind = fields.u8()?;
            if kind == 0 {
                return Ok(report);
            }
            let text = clean(fields.string()?);
            match kind {
                b'S' if report.severity == Severity::Error => report.severity = severity(&text),
                b'V' => report.severity = severity(&text),
                b'C' => report.code = text,
                b'M' => report.message = text,
                b'D' => report.detail = Some(text),
                b'H' => report.hint = Some(text),
                b'W' => report.context = Some(text),
                b'R' => report.routine = Some(text),
                _ => {}
            }
        }
    }

    /// Whether the routine that raised it is `name`.
    #[must_use]
    pub fn is_from(&self, name: &str) -> bool {
        self.routine.as_deref() == Some(name)
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (SQLSTATE {})", self.message, self.code)?;
        self.detail.iter().try_for_each(|detail| write!(formatter, ": {detail}"))
    }
}

impl std::error::Error for ServerReport {}

/// A translated or unknown word counts as an error: the message type says notice or error anyway.
fn severity(word: &str) -> Severity {
    match word {
        "LOG" | "INFO" => Severity::Info,
        "NOTICE" => Severity::Notice,
        "WARNING" => Severity::Warning,
        "FATAL" => Severity::Fatal,
        "PANIC" => Severity::Panic,
        word if word.starts_with("DEBUG") => Severity::Debug,
        _ => Severity::Error,
    }
}

fn clean(text: &[u8]) -> String {
    let cut = &text[..text.len().min(ServerReport::MAX_TEXT)];
    String::from_utf8_lossy(cut)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

//! What is wrong with a configuration, and where: [`Diagnostics`], many at once, rendered as rustc does with the file, the line, a caret and help.
//!
//! A [`Diagnostic`] is data (message, place, label, help); rendering is one function, so that a message reads the same on a terminal, in a log and in
//! JSON. Values of secrets that were written into the file by mistake are blotted out of every excerpt.

use std::{fmt, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::{blot, tree::Span};

/// The text of a configuration and the name under which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the operator named it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A text that was read from `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Line and column of a byte position, both counted from 1, columns in characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// How serious a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiagnosticLevel {
    /// The configuration can't be used, or an operation failed because of it.
    Error,
    /// Works, but should be changed.
    Warning,
    /// Worth knowing.
    Info,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How serious.
    pub level: DiagnosticLevel,
    /// One sentence without a full stop.
    pub message: String,
    /// The place to blame.
    pub span: Span,
    /// What is said at the caret.
    pub label: Option<String>,
    /// Other places that explain it.
    pub related: Vec<(Span, String)>,
    /// Underlying causes, outermost first.
    pub notes: Vec<String>,
    /// What to do, one sentence each.
    pub help: Vec<String>,
    /// What must not be shown of the text.
    secret: Option<Span>,
}

impl Diagnostic {
    /// An error with `message` at `span`.
    #[must_use]
    pub fn error(message: impl Into<String>, span: Span) -> Self {
        Self {
            level: DiagnosticLevel::Error,
            message: message.into(),
            span,
            label: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            secret: None,
        }
    }

    /// The same, less or more serious.
    #[must_use]
    pub fn level(mut self, level: DiagnosticLevel) -> Self {
        self.level = level;
        self
    }

    /// Adds what is said at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place and what it has to do with this.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds a sentence that says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Keeps what stands at the caret out of every excerpt.
    #[must_use]
    pub fn secret(self) -> Self {
        let span = self.span.clone();
        self.hiding(span)
    }

    /// Keeps what stands at `span` out of every excerpt.
    #[must_use]
    pub fn hiding(mut self, span: Span) -> Self {
        self.secret = Some(span);
        self
    }
}

/// Collects diagnostics while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    items: Vec<Diagnostic>,
}

impl Report {
    /// Adds `diagnostic`; one that is already there (an expanded template repeats itself) is dropped.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if !self.items.contains(&diagnostic) {
            self.items.push(diagnostic);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn into_diagnostics(mut self, source: Arc<Source>) -> Diagnostics {
        self.items.sort_by_key(|item| item.span.start);
        Diagnostics { source, items: self.items }
    }
}

/// Everything that is wrong with one configuration, in the order of the text.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: Arc<Source>,
    items: Vec<Diagnostic>,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// ANSI colours.
    Coloured,
}

impl Diagnostics {
    /// Diagnostics about the text of `source`.
    #[must_use]
    pub fn new(source: Arc<Source>, items: Vec<Diagnostic>) -> Self {
        Self { source, items }
    }

    /// The diagnostics.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// All diagnostics with excerpts of the text, at most `width` columns wide.
    #[must_use]
    pub fn render(&self, style: Style, width: usize) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let renderer = renderer.term_width(width);
        let text = self.text_without_secrets();
        let rendered: Vec<String> = self
            .items
            .iter()
            .map(|item| renderer.render(&groups(item, &self.source.name, &text)))
            .collect();
        rendered.join("\n\n")
    }

    /// The diagnostics for programs: level, message, line, column, label, help.
    #[must_use]
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        let item = |item: &Diagnostic| {
            let (line, column) = self.source.position(item.span.start);
            serde_json::json!({
                "level": item.level, "message": item.message, "file": self.source.name, "line": line, "column": column,
                "label": item.label, "causes": item.notes, "help": item.help,
            })
        };
        self.items.iter().map(item).collect()
    }

    fn text_without_secrets(&self) -> String {
        let mut text = self.source.text.clone().into_bytes();
        let told = self.items.iter().filter_map(|item| item.secret.clone());
        for span in told.chain(blot::suspicious(&self.source.text)) {
            if let Some(secret) = text.get_mut(span) {
                secret.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
            }
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

fn groups<'a>(item: &'a Diagnostic, name: &'a str, text: &'a str) -> Vec<Group<'a>> {
    let level = match item.level {
        DiagnosticLevel::Error => Level::ERROR,
        DiagnosticLevel::Warning => Level::WARNING,
        DiagnosticLevel::Info => Level::INFO,
    };
    let place = |span: &Span| span.start.min(text.len())..span.end.min(text.len());
    let snippet = Snippet::source(text)
        .path(name)
        .annotation(AnnotationKind::Primary.span(place(&item.span)).label(item.label.as_deref()))
        .annotations(
            item.related
                .iter()
                .map(|(span, label)| AnnotationKind::Context.span(place(span)).label(label.as_str())),
        );
    let mut group = level.primary_title(item.message.as_str()).element(snippet);
    for note in &item.notes {
        group = group.element(Level::NOTE.with_name(Some("cause")).message(note.as_str()));
    }
    for help in &item.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    vec![group]
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(Style::Plain, annotate_snippets::renderer::DEFAULT_TERM_WIDTH))
    }
}

impl std::error::Error for Diagnostics {}

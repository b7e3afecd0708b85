//! The parsed TOML as a tree of our own, every key and value with its place in the text.
//!
//! [`Node`] exists beside the toml crate's types because templates (`each`) clone, merge and fill in subtrees, and because a plugin's config is
//! handed on as JSON; both want owned values in the order in which they were written.

use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Report};

/// Byte positions in the text.
pub type Span = Range<usize>;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table in the order of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table(pub(crate) Vec<Entry>);

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

/// After an unclosed bracket everything looks wrong; what comes later says little.
const MAX_SYNTAX_ERRORS: usize = 5;

/// The text as a tree. Of syntax errors the first of each line goes into `report`, and not more than a handful.
pub(crate) fn parse(text: &str, report: &mut Report) -> Table {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    let line_of = |error: &toml::de::Error| {
        error.span().map_or(0, |span| {
            text.as_bytes()[..span.start.min(text.len())]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
        })
    };
    errors.dedup_by_key(|error| line_of(error));
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let span = error.span().unwrap_or(0..0);
        report.push(Diagnostic::error(format!("this is not valid TOML: {}", error.message()), span));
    }
    table_of(table.get_ref(), report)
}

fn table_of(table: &DeTable<'_>, report: &mut Report) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: key.span(),
            node: Node {
                span: value.span(),
                value: value_of(value.get_ref(), value.span(), report),
            },
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Table(entries)
}

fn value_of(value: &DeValue<'_>, span: Span, report: &mut Report) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Array(values) => Value::Array(array_of(values, report)),
        DeValue::Table(table) => Value::Table(table_of(table, report)),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
            report.push(Diagnostic::error("this number does not fit into 64 bits", span));
            0
        })),
        DeValue::Float(number) => Value::Float(
            number
                .as_str()
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .unwrap_or_else(|| {
                    report.push(Diagnostic::error("`inf` and `nan` have no meaning here", span).help("write a finite number"));
                    0.0
                }),
        ),
    }
}

fn array_of(values: &DeArray<'_>, report: &mut Report) -> Vec<Node> {
    values
        .iter()
        .map(|value| Node {
            span: value.span(),
            value: value_of(value.get_ref(), value.span(), report),
        })
        .collect()
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The value as JSON, as a plugin receives it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::String(text) | Value::Datetime(text) => text.clone().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(value) => (*value).into(),
            Value::Array(values) => values.iter().map(Self::to_json).collect(),
            Value::Table(table) => table.to_json().into(),
        }
    }

    /// Replaces `placeholder` in every string of the tree.
    pub(crate) fn fill(&mut self, placeholder: &str, with: &str) {
        match &mut self.value {
            Value::String(text) => *text = text.replace(placeholder, with),
            Value::Array(values) => values.iter_mut().for_each(|value| value.fill(placeholder, with)),
            Value::Table(table) => table.fill(placeholder, with),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
        }
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.key.as_str())
    }

    /// The table under `key`, empty where there is none.
    pub(crate) fn subtable(&self, key: &str) -> Option<&Table> {
        match &self.get(key)?.node.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.0.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
    }

    pub(crate) fn fill(&mut self, placeholder: &str, with: &str) {
        self.0.iter_mut().for_each(|entry| entry.node.fill(placeholder, with));
    }

    /// This table with `changes` laid over it: tables merge, everything else is replaced.
    pub(crate) fn merged(mut self, changes: &Table) -> Self {
        for change in &changes.0 {
            match self.0.iter_mut().find(|entry| entry.key == change.key) {
                None => self.0.push(change.clone()),
                Some(entry) => match (&mut entry.node.value, &change.node.value) {
                    (Value::Table(own), Value::Table(new)) => *own = std::mem::take(own).merged(new),
                    _ => *entry = change.clone(),
                },
            }
        }
        self
    }

    /// Where the setting with the dotted path `path` (`exclude[1]`, `exclude.1`) stands, or the nearest part of the way there.
    pub(crate) fn locate(&self, path: &str) -> Option<Located> {
        let path = path.replace('[', ".").replace(']', "");
        let mut segments = path.split('.');
        let first = self.get(segments.next()?)?;
        let mut found = Located {
            span: first.node.span.clone(),
            key_span: first.key_span.clone(),
            exact: true,
        };
        let (mut node, mut key_span) = (&first.node, &first.key_span);
        for segment in segments {
            let next = match &node.value {
                Value::Table(table) => table.get(segment).map(|entry| (&entry.node, &entry.key_span)),
                Value::Array(values) => segment
                    .parse::<usize>()
                    .ok()
                    .and_then(|at| values.get(at))
                    .map(|node| (node, &node.span)),
                _ => None,
            };
            let Some(next) = next else {
                found.exact = false;
                break;
            };
            (node, key_span) = next;
        }
        found.key_span = key_span.clone();
        found.span = if matches!(node.value, Value::Table(_)) {
            key_span.clone()
        } else {
            node.span.clone()
        };
        Some(found)
    }
}

/// Where a setting stands.
pub(crate) struct Located {
    pub(crate) span: Span,
    /// Its key; what an element of an array has in place of one is the element itself.
    pub(crate) key_span: Span,
    /// Whether the whole path was there.
    pub(crate) exact: bool,
}

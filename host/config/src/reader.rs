//! Reads typed values out of the tree and reports everything that is wrong on the way, never just the first thing.
//!
//! [`Fields`] is a table being read: the keys that were asked for are the keys that are allowed, so the list of allowed keys in a message can't go
//! stale. A value that can't be read becomes `None` and a diagnostic; the configuration is refused if there is any diagnostic at all.

use std::path::{Path, PathBuf};

use bulkhead_units::{ByteRate, ByteSize, Percent, Period, UnitError, duration_units, size_units};

use crate::{
    blot,
    diagnostic::{Diagnostic, Report},
    tree::{Entry, Node, Span, Table, Value},
};

/// What reading needs to know beside the tree.
pub(crate) struct Reader<'t> {
    pub(crate) report: Report,
    /// The folder that relative paths start from: that of the file itself.
    pub(crate) base: &'t Path,
    /// Names that other parts of the file define.
    pub(crate) names: Names<'t>,
}

/// What references can point to.
#[derive(Default)]
pub(crate) struct Names<'t> {
    pub(crate) vaults: Vec<&'t str>,
    pub(crate) sinks: Vec<&'t str>,
}

/// A type that can be read from one value.
pub(crate) trait FromNode: Sized {
    /// Reads `node`, which stands at the dotted path `path`; reports what is wrong.
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A table that is being read.
pub(crate) struct Fields<'t> {
    table: &'t Table,
    path: String,
    place: Span,
    asked: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// Begins to read `node` as a table.
    pub(crate) fn open(node: &'t Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Table(table) => Some(Self::of(table, path, node.span.clone())),
            other => {
                wrong_type(other, node.span.clone(), path, "a table", "", reader);
                None
            }
        }
    }

    /// Begins to read the table of `entry`; a missing key is reported at the entry's key.
    pub(crate) fn open_entry(entry: &'t Entry, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let mut fields = Self::open(&entry.node, path, reader)?;
        fields.place = entry.key_span.clone();
        Some(fields)
    }

    pub(crate) fn of(table: &'t Table, path: &str, place: Span) -> Self {
        Self {
            table,
            path: path.to_owned(),
            place,
            asked: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of `key` below this table.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The entry of `key`, if it is there.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<&'t Entry> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    fn is_known(&self, key: &str) -> bool {
        self.asked.contains(&key)
    }

    /// The value of `key`, if it is there and right.
    pub(crate) fn optional<T: FromNode>(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<T> {
        let entry = self.entry(key)?;
        T::read(&entry.node, &self.path_of(key), reader)
    }

    /// The value of `key`; reports it as missing, with `example`, where it isn't there.
    pub(crate) fn required<T: FromNode>(&mut self, key: &'static str, example: &str, reader: &mut Reader<'_>) -> Option<T> {
        if let Some(entry) = self.entry(key) {
            return T::read(&entry.node, &self.path_of(key), reader);
        }
        let message = format!("{} lacks `{key}`", self.subject());
        reader
            .report
            .push(Diagnostic::error(message, self.place.clone()).help(format!("add `{key} = {example}`")));
        None
    }

    /// The table of `key`, its entries named by the operator.
    pub(crate) fn named(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Vec<&'t Entry> {
        let path = self.path_of(key);
        let Some(entry) = self.entry(key) else { return Vec::new() };
        match &entry.node.value {
            Value::Table(table) => table.0.iter().filter(|entry| is_name(entry, &path, reader)).collect(),
            other => {
                wrong_type(
                    other,
                    entry.node.span.clone(),
                    &path,
                    "a table of names",
                    &format!("[{path}.NAME]"),
                    reader,
                );
                Vec::new()
            }
        }
    }

    /// Ends reading: whatever was not asked for is unknown.
    pub(crate) fn close(self, reader: &mut Reader<'_>) {
        for entry in self.table.0.iter().filter(|entry| !self.is_known(&entry.key)) {
            let message = format!("unknown key `{}` in {}", entry.key, self.subject());
            let diagnostic = Diagnostic::error(message, entry.key_span.clone());
            // What was meant to be `key` or `password` may hold one.
            let meant = nearest(&entry.key, self.asked.iter().copied()).unwrap_or_default();
            let diagnostic = if meant == "key" || blot::is_of_a_secret(meant) {
                diagnostic.hiding(entry.node.span.clone())
            } else {
                diagnostic
            };
            reader
                .report
                .push(suggest(diagnostic, &entry.key, self.asked.iter().copied(), "allowed here"));
        }
    }

    /// Ends reading a secret's source, where even a mistyped key may hold what must not be shown.
    pub(crate) fn close_secret(self, reader: &mut Reader<'_>) {
        for entry in self.table.0.iter().filter(|entry| !self.is_known(&entry.key)) {
            let message = format!("unknown key `{}` in {}", entry.key, self.subject());
            let diagnostic = suggest(
                Diagnostic::error(message, entry.key_span.clone()).hiding(entry.node.span.clone()),
                &entry.key,
                self.asked.iter().copied(),
                "allowed here",
            );
            reader.report.push(diagnostic);
        }
    }

    pub(crate) fn subject(&self) -> String {
        if self.path.is_empty() {
            "the file".to_owned()
        } else {
            format!("`{}`", self.path)
        }
    }

    pub(crate) fn place(&self) -> Span {
        self.place.clone()
    }
}

/// Adds "did you mean" or the list of what is allowed.
pub(crate) fn suggest<'a>(diagnostic: Diagnostic, written: &str, allowed: impl Iterator<Item = &'a str> + Clone, what: &str) -> Diagnostic {
    let near = nearest(written, allowed.clone());
    let listed = allowed.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let diagnostic = match near {
        Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
        None => diagnostic,
    };
    if listed.is_empty() {
        diagnostic
    } else {
        diagnostic.help(format!("{what}: {listed}"))
    }
}

/// The allowed name that is most like `written`, if one is like it at all.
pub fn nearest<'a>(written: &str, allowed: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this, two words have little in common (found by trying the keys of this file against each other).
    const SIMILAR: f64 = 0.75;
    let written = written.to_lowercase().replace('_', "-");
    allowed
        .map(|name| (strsim::jaro_winkler(&written, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

/// Checks a name that the operator gave: kebab-case, at most 64 bytes, because it becomes part of tags, paths and metrics.
fn is_name(entry: &Entry, path: &str, reader: &mut Reader<'_>) -> bool {
    let good = is_kebab_case(&entry.key);
    if !good {
        let diagnostic = Diagnostic::error(format!("`{}` is not a good name", entry.key), entry.key_span.clone())
            .label(format!("in `{path}`"))
            .help("names are kebab-case: lower-case letters, digits and `-`, beginning with a letter, at most 64 characters");
        let suggestion = to_kebab_case(&entry.key);
        let diagnostic = if is_kebab_case(&suggestion) {
            diagnostic.help(format!("for example `{suggestion}`"))
        } else {
            diagnostic
        };
        reader.report.push(diagnostic);
    }
    good
}

/// Lower-case letters, digits and single inner `-`, beginning with a letter, at most 64 bytes.
pub(crate) fn is_kebab_case(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn to_kebab_case(name: &str) -> String {
    let mapped: String = name
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    mapped.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

pub(crate) fn wrong_type(value: &Value, span: Span, path: &str, expected: &str, example: &str, reader: &mut Reader<'_>) {
    let diagnostic = Diagnostic::error(format!("`{path}` must be {expected}"), span).label(format!("this is {}", value.describe()));
    reader.report.push(if example.is_empty() {
        diagnostic
    } else {
        diagnostic.help(format!("for example `{example}`"))
    });
}

impl FromNode for String {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::String(text) if text.is_empty() => {
                reader
                    .report
                    .push(Diagnostic::error(format!("`{path}` is empty"), node.span.clone()));
                None
            }
            Value::String(text) => Some(text.clone()),
            other => {
                wrong_type(other, node.span.clone(), path, "a string", "", reader);
                None
            }
        }
    }
}

impl FromNode for bool {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(value) => Some(*value),
            other => {
                wrong_type(other, node.span.clone(), path, "`true` or `false`", "", reader);
                None
            }
        }
    }
}

impl FromNode for u64 {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok().or_else(|| {
                reader
                    .report
                    .push(Diagnostic::error(format!("`{path}` can't be negative"), node.span.clone()));
                None
            }),
            other => {
                wrong_type(other, node.span.clone(), path, "a whole number", "", reader);
                None
            }
        }
    }
}

impl FromNode for u32 {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let number = u64::read(node, path, reader)?;
        Self::try_from(number).ok().or_else(|| {
            reader
                .report
                .push(Diagnostic::error(format!("`{path}` is too large"), node.span.clone()).help(format!("at most {}", Self::MAX)));
            None
        })
    }
}

/// A path; relative ones start from the folder of the file.
impl FromNode for PathBuf {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        String::read(node, path, reader).map(|text| reader.base.join(text))
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Array(values) => {
                let read: Vec<Option<T>> = values
                    .iter()
                    .enumerate()
                    .map(|(at, value)| T::read(value, &format!("{path}.{at}"), reader))
                    .collect();
                read.into_iter().collect()
            }
            other => {
                wrong_type(other, node.span.clone(), path, "an array", "[…, …]", reader);
                None
            }
        }
    }
}

impl FromNode for Period {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        quantity(
            node,
            path,
            "a duration",
            "\"90 s\"`, `\"6 h\"",
            &duration_units(),
            Self::parse,
            reader,
        )
    }
}

impl FromNode for ByteSize {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        quantity(node, path, "a size", "\"128 MiB\"", &size_units(""), Self::parse, reader)
    }
}

impl FromNode for ByteRate {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        quantity(node, path, "a rate", "\"10 MiB/s\"", &size_units("/s"), Self::parse, reader)
    }
}

impl FromNode for Percent {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        quantity(node, path, "a share from `0 %` to `100 %`", "\"90 %\"", "%", Self::parse, reader)
    }
}

fn quantity<T>(
    node: &Node,
    path: &str,
    what: &str,
    example: &str,
    units: &str,
    parse: impl Fn(&str) -> Result<T, UnitError>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let label = match &node.value {
        Value::String(text) => match parse(text) {
            Ok(value) => return Some(value),
            Err(error) => error.to_string(),
        },
        Value::Integer(_) | Value::Float(_) => "the unit is missing; write it as a string".to_owned(),
        other => format!("this is {}", other.describe()),
    };
    reader.report.push(
        Diagnostic::error(format!("`{path}` must be {what}"), node.span.clone())
            .label(label)
            .help(format!("units: {units}; for example `{example}`")),
    );
    None
}

/// One of a fixed set of words.
pub(crate) fn word<T: Copy>(node: &Node, path: &str, words: &[(&'static str, T)], reader: &mut Reader<'_>) -> Option<T> {
    let text = String::read(node, path, reader)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let diagnostic = Diagnostic::error(format!("`{text}` is not a value of `{path}`"), node.span.clone());
        reader
            .report
            .push(suggest(diagnostic, &text, words.iter().map(|(word, _)| *word), "allowed values"));
    }
    found
}

/// A name that another part of the file must define.
pub(crate) fn reference(node: &Node, path: &str, kind: &str, defined: &[&str], report: &mut Report) -> Option<String> {
    let Value::String(text) = &node.value else {
        report.push(
            Diagnostic::error(format!("`{path}` must be the name of a {kind}"), node.span.clone())
                .label(format!("this is {}", node.value.describe())),
        );
        return None;
    };
    if defined.contains(&text.as_str()) {
        return Some(text.clone());
    }
    let diagnostic = Diagnostic::error(format!("there is no {kind} `{text}`"), node.span.clone());
    let diagnostic = suggest(diagnostic, text, defined.iter().copied(), &format!("defined {kind}s"));
    report.push(if defined.is_empty() {
        diagnostic.help(format!("define it: `[{kind}.{text}]`"))
    } else {
        diagnostic
    });
    None
}

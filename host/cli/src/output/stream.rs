//! [`DocumentStream`]: a JSON document with a list that may be too long to be held.
//!
//! One document as all others are; but each item of the list stands on a line of its own, so that a reader can take it line by line, too.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Output;

/// A document whose list is being written.
pub(crate) struct DocumentStream {
    output: Output,
    kind: &'static str,
    list: &'static str,
    /// The item that was added last: whether a comma follows it is not known yet.
    last: Option<String>,
    begun: bool,
}

impl DocumentStream {
    /// A document `kind` with the list `list`. Nothing is written before the first item or the end.
    pub(crate) fn new(output: &Output, kind: &'static str, list: &'static str) -> Self {
        Self {
            output: output.clone(),
            kind,
            list,
            last: None,
            begun: false,
        }
    }

    /// Adds an item.
    pub(crate) fn item(&mut self, item: &impl Serialize) {
        self.begin();
        if let Some(last) = self.last.replace(serde_json::to_string(item).unwrap_or_default()) {
            self.output.json_line(&format!("    {last},"));
        }
    }

    /// Whether something was written, so that what goes wrong now has to be told within the document.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Ends the list, and the document with further fields.
    pub(crate) fn end(mut self, fields: Map<String, Value>) {
        self.begin();
        if let Some(last) = self.last.take() {
            self.output.json_line(&format!("    {last}"));
        }
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!(",\n  {}: {value}", Value::from(name.as_str())))
            .collect();
        self.output.json_line(&format!("  ]{fields}\n}}"));
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            let (kind, list) = (self.kind, self.list);
            self.output
                .json_line(&format!("{{\n  \"kind\": \"{kind}\",\n  \"version\": 1,\n  \"{list}\": ["));
        }
    }
}

//! Partial answers: what `fields` asks for ([`Selection`]).

use serde_json::{Map, Value};

/// A selection of fields: names, and what is wanted of each; nothing said of one means all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection(Vec<(String, Selection)>);

impl Selection {
    /// Reads `a,b(c,d/e)`; `None` where it cannot be read.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let selection = list(&mut rest)?;
        rest.is_empty().then_some(selection)
    }

    /// The first name that is not among `known`, where the selection is of a resource with these fields.
    pub(super) fn unknown(&self, known: &[&str]) -> Option<&str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names.into_iter().find(|name| *name != "*" && !known.contains(name))
    }

    /// What is selected of a field.
    pub(super) fn of(&self, name: &str) -> Option<&Self> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, selection)| selection)
    }

    /// What is left of `value`.
    pub(super) fn apply(&self, value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(|value| self.apply(value)).collect(),
            Value::Object(fields) if !self.0.is_empty() => Value::Object(self.select(fields)),
            other => other.clone(),
        }
    }

    fn select(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut selected = Map::new();
        for (name, inner) in &self.0 {
            if name == "*" {
                selected.extend(fields.iter().map(|(name, value)| (name.clone(), inner.apply(value))));
            } else if let Some(value) = fields.get(name) {
                selected.insert(name.clone(), inner.apply(value));
            }
        }
        selected
    }
}

fn list(rest: &mut &str) -> Option<Selection> {
    let mut fields = Vec::new();
    loop {
        fields.push(field(rest)?);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Some(Selection(fields)),
        }
    }
}

fn field(rest: &mut &str) -> Option<(String, Selection)> {
    let text = rest.trim_start();
    let end = text
        .find(|character: char| !character.is_ascii_alphanumeric() && character != '*')
        .unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    *rest = after;
    if name.is_empty() {
        return None;
    }
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        return Some((name.to_owned(), Selection(vec![field(rest)?])));
    }
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let inner = list(rest)?;
        *rest = rest.strip_prefix(')')?;
        return Some((name.to_owned(), inner));
    }
    Some((name.to_owned(), Selection::default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selected(fields: &str, value: &Value) -> Option<Value> {
        Selection::parse(fields).map(|selection| selection.apply(value))
    }

    #[test]
    fn fields_are_selected() {
        let value = json!({ "kind": "k", "files": [{ "id": "1", "name": "a", "capabilities": { "x": true, "y": false } }] });
        assert_eq!(
            selected("files(id,capabilities/x),kind", &value),
            Some(json!({ "files": [{ "id": "1", "capabilities": { "x": true } }], "kind": "k" }))
        );
        assert_eq!(selected("*", &value), Some(value.clone()));
        assert_eq!(selected("nothing", &value), Some(json!({})));
        for bad in ["", "files(id", "files)", "a,,b", "a b"] {
            assert_eq!(selected(bad, &value), None, "{bad}");
        }
    }
}

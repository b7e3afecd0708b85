//! Templates: `[pipeline.X.each.NAME]` makes one pipeline of each of its entries, by laying the entry's table over the pipeline's and putting its key
//! wherever `{NAME}` stands. The pipelines are called `X.key`.

use crate::{
    diagnostic::Diagnostic,
    reader::{Reader, is_kebab_case, wrong_type},
    tree::{Entry, Node, Span, Table, Value},
};

/// A pipeline's table, expanded.
pub(crate) struct Instance {
    pub(crate) name: String,
    /// The template and the key within it.
    pub(crate) template: Option<String>,
    pub(crate) place: Span,
    pub(crate) table: Table,
}

/// The pipelines that `entry` stands for: itself, or one for each key of its `each`.
pub(crate) fn expand(entry: &Entry, reader: &mut Reader<'_>) -> Vec<Instance> {
    let Value::Table(table) = &entry.node.value else {
        wrong_type(
            &entry.node.value,
            entry.node.span.clone(),
            &format!("pipeline.{}", entry.key),
            "a table",
            "",
            reader,
        );
        return Vec::new();
    };
    let place = entry.key_span.clone();
    let Some(each) = table.get("each") else {
        return vec![Instance {
            name: entry.key.clone(),
            template: None,
            place,
            table: table.clone(),
        }];
    };
    let base = Table(table.0.iter().filter(|entry| entry.key != "each").cloned().collect());
    variants(entry, each, reader)
        .into_iter()
        .map(|variant| {
            let mut table = base.clone().merged(&variant.changes);
            table.fill(&format!("{{{}}}", variant.variable), &variant.key);
            Instance {
                name: format!("{}.{}", entry.key, variant.key),
                template: Some(entry.key.clone()),
                place: variant.place,
                table,
            }
        })
        .collect()
}

struct Variant {
    variable: String,
    key: String,
    place: Span,
    changes: Table,
}

fn variants(pipeline: &Entry, each: &Entry, reader: &mut Reader<'_>) -> Vec<Variant> {
    let path = format!("pipeline.{}.each", pipeline.key);
    let variables = match &each.node.value {
        Value::Table(table) => &table.0[..],
        other => {
            wrong_type(
                other,
                each.node.span.clone(),
                &path,
                "a table",
                "each.database = [\"sales\", \"stock\"]",
                reader,
            );
            return Vec::new();
        }
    };
    let [variable] = variables else {
        let diagnostic = Diagnostic::error(format!("`{path}` must have exactly one name"), each.key_span.clone());
        reader
            .report
            .push(diagnostic.help("for example `each.database = [\"sales\", \"stock\"]`, or a table with what differs"));
        return Vec::new();
    };
    let variants = match &variable.node.value {
        Value::Array(keys) => keys.iter().filter_map(|key| listed(variable, key, &path, reader)).collect(),
        Value::Table(table) => table
            .0
            .iter()
            .filter_map(|entry| described(variable, entry, &path, reader))
            .collect(),
        other => {
            wrong_type(
                other,
                variable.node.span.clone(),
                &format!("{path}.{}", variable.key),
                "an array of names or a table",
                "",
                reader,
            );
            return Vec::new();
        }
    };
    check_keys(variants, variable, &path, reader)
}

fn listed(variable: &Entry, key: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Variant> {
    match &key.value {
        Value::String(text) => Some(Variant {
            variable: variable.key.clone(),
            key: text.clone(),
            place: key.span.clone(),
            changes: Table::default(),
        }),
        other => {
            wrong_type(
                other,
                key.span.clone(),
                &format!("{path}.{}", variable.key),
                "an array of names",
                "",
                reader,
            );
            None
        }
    }
}

fn described(variable: &Entry, entry: &Entry, path: &str, reader: &mut Reader<'_>) -> Option<Variant> {
    match &entry.node.value {
        Value::Table(changes) => Some(Variant {
            variable: variable.key.clone(),
            key: entry.key.clone(),
            place: entry.key_span.clone(),
            changes: changes.clone(),
        }),
        other => {
            wrong_type(
                other,
                entry.node.span.clone(),
                &format!("{path}.{}.{}", variable.key, entry.key),
                "a table",
                "",
                reader,
            );
            None
        }
    }
}

fn check_keys(variants: Vec<Variant>, variable: &Entry, path: &str, reader: &mut Reader<'_>) -> Vec<Variant> {
    if variants.is_empty() {
        let diagnostic = Diagnostic::error(format!("`{path}.{}` names nothing", variable.key), variable.key_span.clone());
        reader.report.push(diagnostic.help("name at least one, or remove `each`"));
    }
    let mut kept: Vec<Variant> = Vec::with_capacity(variants.len());
    for variant in variants {
        if !is_kebab_case(&variant.key) {
            reader.report.push(
                Diagnostic::error(format!("`{}` is not a good name", variant.key), variant.place.clone())
                    .help("names are kebab-case: lower-case letters, digits and `-`, beginning with a letter, at most 64 characters"),
            );
        } else if let Some(first) = kept.iter().find(|other| other.key == variant.key) {
            let diagnostic = Diagnostic::error(format!("`{}` is named twice", variant.key), variant.place.clone());
            reader.report.push(diagnostic.related(first.place.clone(), "first here"));
        } else {
            kept.push(variant);
        }
    }
    kept
}

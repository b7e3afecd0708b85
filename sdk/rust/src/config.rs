//! From the JSON of a plugin's config to its Rust type, with errors that name the setting, so that the host can show the line of the TOML.

pub use bulkhead_units::{ByteSize, Period};
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Parses a config. Its errors carry the dotted path of the setting to blame, and what was meant where a key is misspelt.
///
/// # Errors
/// `Config`.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    let deserializer = &mut serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(deserializer).map_err(|error| explain(&error))
}

/// Turns serde's words into ours.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let path = error.path().to_string();
    let text = without_position(&error.inner().to_string());
    let setting = if path == "." { String::new() } else { path };
    let (setting, message) = match quoted(&text, "missing field ") {
        Some(field) => {
            let setting = join(&setting, field);
            (setting.clone(), format!("the setting `{setting}` is missing"))
        }
        None => match quoted(&text, "unknown field ") {
            Some(field) if setting.is_empty() || setting == field || setting.ends_with(&format!(".{field}")) => {
                let setting = if setting.is_empty() { field.to_owned() } else { setting };
                (setting.clone(), format!("there is no setting `{setting}`"))
            }
            Some(field) => {
                let setting = join(&setting, field);
                (setting.clone(), format!("there is no setting `{setting}`"))
            }
            None if setting.is_empty() => (setting, format!("the config cannot be read: {text}")),
            None => (setting.clone(), format!("the setting `{setting}` cannot be read: {text}")),
        },
    };
    let error = Error {
        setting: (!setting.is_empty()).then_some(setting),
        ..Error::new(crate::ErrorKind::Config, message)
    };
    match hint(&text) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn join(parent: &str, field: &str) -> String {
    if parent.is_empty() {
        field.to_owned()
    } else {
        format!("{parent}.{field}")
    }
}

/// serde_json's position in the JSON says nothing to the author of the TOML.
fn without_position(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text).to_owned()
}

/// The name in backticks after `prefix`.
fn quoted<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// What can be written instead: serde lists it as "expected `a`", "expected `a` or `b`" or "expected one of `a`, `b`, `c`".
fn hint(text: &str) -> Option<String> {
    let wrong = quoted(text, "unknown field ").or_else(|| quoted(text, "unknown variant "))?;
    let expected = text.rsplit_once(", expected ")?.1;
    let allowed: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = allowed.iter().map(|name| (strsim::damerau_levenshtein(wrong, name), *name)).min()?;
    let alike = nearest.0 <= 1 + wrong.len().max(nearest.1.len()) / 4;
    let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Some(if alike {
        format!("did you mean `{}`?", nearest.1)
    } else {
        format!("allowed: {list}")
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only parsed")]
    struct Config {
        mode: Mode,
        #[serde(default)]
        tables: Tables,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Physical,
        Logical,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Tables {
        exclude: Vec<String>,
        jobs: u32,
    }

    fn fails(json: &str) -> (Option<String>, String, Option<String>) {
        let error = parse::<Config>(json).unwrap_err();
        (error.setting, error.message, error.hint)
    }

    #[test]
    fn a_misspelt_key_is_named_with_what_was_meant() {
        let (setting, message, hint) = fails(r#"{"mode":"physical","tables":{"exclud":[]}}"#);
        assert_eq!(setting.as_deref(), Some("tables.exclud"));
        assert_eq!(message, "there is no setting `tables.exclud`");
        assert_eq!(hint.as_deref(), Some("did you mean `exclude`?"));
    }

    #[test]
    fn a_key_like_no_other_lists_what_there_is() {
        let (setting, _, hint) = fails(r#"{"mode":"physical","compression":9}"#);
        assert_eq!(setting.as_deref(), Some("compression"));
        assert_eq!(hint.as_deref(), Some("allowed: `mode`, `tables`"));
    }

    #[test]
    fn a_wrong_type_is_named_by_its_dotted_path() {
        let (setting, message, _) = fails(r#"{"mode":"physical","tables":{"exclude":["a",7]}}"#);
        assert_eq!(setting.as_deref(), Some("tables.exclude[1]"));
        assert_eq!(
            message,
            "the setting `tables.exclude[1]` cannot be read: invalid type: integer `7`, expected a string"
        );
        let (setting, message, _) = fails(r#"{"mode":"physical","tables":{"jobs":-1}}"#);
        assert_eq!(setting.as_deref(), Some("tables.jobs"));
        assert_eq!(
            message,
            "the setting `tables.jobs` cannot be read: invalid value: integer `-1`, expected u32"
        );
    }

    #[test]
    fn a_wrong_word_lists_the_right_ones() {
        let (setting, message, hint) = fails(r#"{"mode":"phisical"}"#);
        assert_eq!(setting.as_deref(), Some("mode"));
        assert!(
            message.starts_with("the setting `mode` cannot be read: unknown variant `phisical`"),
            "{message}"
        );
        assert_eq!(hint.as_deref(), Some("did you mean `physical`?"));
    }

    #[test]
    fn a_missing_setting_is_named() {
        let (setting, message, _) = fails("{}");
        assert_eq!(setting.as_deref(), Some("mode"));
        assert_eq!(message, "the setting `mode` is missing");
    }
}

//! Finds what may be a secret in the text of a configuration, so that no excerpt shows it: values of keys such as `password` or `api-token`.
//!
//! Found by looking at the text and not at the tree, because a text that is not valid TOML is shown as well, and because a secret can be a parameter in a
//! string (`postgres://…?password=…`). Rather too much than too little: all that is lost is a value in an excerpt.

use crate::tree::Span;

/// Words in a key whose value is secret.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "credentials",
];
/// What makes a secret of a `…-key`; a plain `key` is a table, or the name of a column.
const KINDS_OF_KEYS: [&str; 7] = ["api", "private", "access", "secret", "encryption", "master", "shared"];

/// Whether the value of `key` is secret by its name.
pub(crate) fn is_of_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let words: Vec<&str> = key.split('-').collect();
    let is_key = |pair: &[&str]| KINDS_OF_KEYS.contains(&pair[0]) && pair[1] == "key";
    words.iter().any(|word| WORDS.contains(word)) || words.windows(2).next_back().is_some_and(is_key)
}

/// Values that may be secrets. Tables (`{ file = … }`) and arrays are not: what is secret in them has a key of its own.
pub(crate) fn suspicious(text: &str) -> impl Iterator<Item = Span> {
    text.match_indices('=')
        .filter(|(at, _)| is_of_a_secret(key_before(&text[..*at])))
        .filter_map(|(at, _)| value_after(text, at + 1))
}

/// The last segment of the key that ends `text`.
fn key_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t', '"', '\'']);
    let start = text.rfind(|character: char| !(character.is_alphanumeric() || matches!(character, '-' | '_')));
    let start = start.map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    &text[start..]
}

fn value_after(text: &str, start: usize) -> Option<Span> {
    let rest = &text[start..];
    let start = start + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let value = &text[start..];
    if value.is_empty() || value.starts_with(['{', '[', '\n', '\r', '=']) {
        return None;
    }
    let quote = ["\"\"\"", "\'\'\'", "\"", "\'"].into_iter().find(|quote| value.starts_with(quote));
    let length = match quote {
        Some(quote) => quoted(value, quote),
        None => value
            .find([',', '}', ']', '#', '&', '"', '\'', ' ', '\t', '\n', '\r'])
            .unwrap_or(value.len()),
    };
    Some(start..start + length)
}

/// Length of the string that begins `value`; to the end of its line, or of the text, where it is never closed.
fn quoted(value: &str, quote: &str) -> usize {
    let inside = &value[quote.len()..];
    let end_of_line = if quote.len() == 1 {
        value.find('\n').unwrap_or(value.len())
    } else {
        value.len()
    };
    let mut from = 0;
    while let Some(at) = inside[from..].find(quote).map(|at| from + at) {
        let backslashes = inside[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        if quote.starts_with('\'') || backslashes.is_multiple_of(2) {
            return (quote.len() + at + quote.len()).min(end_of_line);
        }
        from = at + quote.len();
    }
    end_of_line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        suspicious(text).map(|span| &text[span]).collect()
    }

    #[test]
    fn values_of_secret_keys_are_found_wherever_they_stand() {
        assert_eq!(found("password = \"hunter2\"\n"), ["\"hunter2\""]);
        assert_eq!(found("config = { user = \"a\", api-token = 'x y', b = 1 }"), ["'x y'"]);
        assert_eq!(found("secret.password=\"a\\\"b\" # c"), ["\"a\\\"b\""]);
        assert_eq!(found("\"PASSWORD\" = 12345"), ["12345"]);
        assert_eq!(found("url = \"postgres://h/db?password=hunter2&x=1\""), ["hunter2"]);
        assert_eq!(found("token = \"\"\"\nab\ncd\"\"\"\nx = 1"), ["\"\"\"\nab\ncd\"\"\""]);
        assert_eq!(found("password = \"hunter2\nvault = \"a\"\n"), ["\"hunter2"]);
        assert_eq!(found("secret-access-key = \"abc\""), ["\"abc\""]);
    }

    #[test]
    fn where_a_secret_comes_from_is_not_secret() {
        assert!(found("secret.password = { file = \"/etc/pw\", reveal = true }").is_empty());
        assert!(found("key = { credential = \"vault\" }\nprimary-key = \"id\"\npasses = 3").is_empty());
        assert!(found("password =").is_empty());
    }
}

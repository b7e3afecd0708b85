//! A server's config as a flat list of settings: [`Settings`]. Only the events of the YAML parser are read, so that no alias is ever expanded.

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, Result};
use yaml_rust2::{
    parser::{Event, Parser},
    scanner::TScalarStyle,
};

/// The most that a config may have.
pub(crate) const MAX_BYTES: u64 = 1 << 20;
/// Folders of settings within each other.
const MAX_DEPTH: usize = 64;

/// Values by their dotted paths, in lower case: the server does not tell cases apart either. What is empty is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, Vec<String>>);

/// A mapping with the key whose value comes next, or a sequence.
enum Level {
    Mapping(Option<String>),
    Sequence,
}

impl Settings {
    /// Reads the first document of a config.
    ///
    /// # Errors
    /// `SourceDamaged`: it is no YAML.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut settings = Self::default();
        let (mut parser, mut levels) = (Parser::new_from_str(text), Vec::new());
        loop {
            let (event, _) = parser.next_token().map_err(|error| damaged(error.to_string()))?;
            match event {
                Event::StreamEnd | Event::DocumentEnd => return Ok(settings),
                Event::MappingStart(..) => levels.push(Level::Mapping(None)),
                Event::SequenceStart(..) => levels.push(Level::Sequence),
                Event::MappingEnd | Event::SequenceEnd => {
                    levels.pop();
                    settings.take(&mut levels, None);
                }
                Event::Scalar(text, style, ..) => {
                    let is_null = style == TScalarStyle::Plain && matches!(&text[..], "" | "~" | "null");
                    settings.take(&mut levels, (!is_null).then_some(text));
                }
                Event::Alias(_) => settings.take(&mut levels, None),
                _ => {}
            }
            if levels.len() > MAX_DEPTH {
                return Err(damaged(format!("it has more than {MAX_DEPTH} levels")));
            }
        }
    }

    /// With settings that stand over what was read.
    #[must_use]
    pub(crate) fn with<'a>(mut self, settings: impl IntoIterator<Item = (String, &'a str)>) -> Self {
        for (path, value) in settings {
            self.0.insert(path, vec![value.to_owned()]);
        }
        self
    }

    /// What was read is a key, or the value of one.
    fn take(&mut self, levels: &mut [Level], text: Option<String>) {
        if let Some(Level::Mapping(key @ None)) = levels.last_mut() {
            *key = Some(text.unwrap_or_default().to_lowercase());
            return;
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let keys = levels.iter().filter_map(|level| match level {
                Level::Mapping(key) => key.as_deref(),
                Level::Sequence => None,
            });
            self.0.entry(keys.collect::<Vec<_>>().join(".")).or_default().push(text);
        }
        if let Some(Level::Mapping(key)) = levels.last_mut() {
            *key = None;
        }
    }

    /// The value of a setting.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.first().map(String::as_str)
    }

    /// The values of a setting that is a list, or has commas.
    pub(crate) fn list(&self, path: &str) -> Vec<&str> {
        self.0.get(path).map(|values| split(values).collect()).unwrap_or_default()
    }

    /// Settings that name files: those whose names end so. That is the server's own rule.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let names_files = |path: &&String| path.ends_with("file") || path.ends_with("files");
        let named = self.0.keys().filter(names_files);
        named.flat_map(|path| self.list(path).into_iter().map(move |file| (&path[..], file)))
    }
}

fn split(values: &[String]) -> impl Iterator<Item = &str> {
    values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

fn damaged(reason: String) -> Error {
    Error::new(ErrorKind::SourceDamaged, format!("it is no YAML that can be read: {reason}"))
        .with_hint("repair the server's config: the server does not start with it either")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_their_paths_whatever_their_case() {
        let text = "port: 7054\ntls:\n  enabled: false\n  certfile:\n  clientauth: { certfiles: [a.pem, 'b.pem'] }\nCA:\n  Name: \"ca-org1\"\n\
                    bccsp:\n  sw:\n    FileKeyStore:\n      KeyStore: msp/keystore\nregistry:\n  identities:\n    - name: admin\n      attrs: { hf.Revoker: true }\n\
                    db:\n  datasource: x.db\ncafiles: ca/one.yaml, ca/two.yaml\n";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.get("ca.name"), Some("ca-org1"));
        assert_eq!(settings.get("tls.certfile"), None);
        assert_eq!(settings.get("bccsp.sw.filekeystore.keystore"), Some("msp/keystore"));
        assert_eq!(settings.get("db.datasource"), Some("x.db"));
        assert_eq!(settings.list("cafiles"), ["ca/one.yaml", "ca/two.yaml"]);
        let files: Vec<_> = settings.files().filter(|(path, _)| *path != "cafiles").collect();
        assert_eq!(
            files,
            [("tls.clientauth.certfiles", "a.pem"), ("tls.clientauth.certfiles", "b.pem")]
        );
    }

    #[test]
    fn what_is_no_yaml_or_means_to_grow_is_refused_or_stays_small() {
        assert_eq!(Settings::parse("a: [1, 2\nb: }").unwrap_err().kind, ErrorKind::SourceDamaged);
        assert_eq!(Settings::parse(&"[".repeat(5000)).unwrap_err().kind, ErrorKind::SourceDamaged);
        let bomb = "a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\nport: 7054\n";
        assert_eq!(Settings::parse(bomb).unwrap().get("port"), Some("7054"));
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }
}

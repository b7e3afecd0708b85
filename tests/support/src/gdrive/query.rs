//! Searches: the language of `q` in `files.list` ([`Query`]).

use super::state::{File, State};

/// A condition on files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    And(Box<Query>, Box<Query>),
    Or(Box<Query>, Box<Query>),
    Not(Box<Query>),
    /// `'ID' in parents`
    In(String),
    /// `FIELD OPERATOR VALUE`
    Compare(String, String, String),
    /// `appProperties has { key='K' and value='V' }`
    Has(String, String, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Name(String),
    Text(String),
    Sign(String),
}

impl Query {
    /// Reads one; `None` where Drive would say "Invalid Value".
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words = words(text)?;
        let mut parser = Parser { words, position: 0 };
        let query = parser.any()?;
        (parser.position == parser.words.len()).then_some(query)
    }

    /// Ids of the folders that it asks for.
    pub(super) fn folders(&self) -> Vec<&str> {
        match self {
            Self::And(a, b) | Self::Or(a, b) => [a.folders(), b.folders()].concat(),
            Self::Not(inner) => inner.folders(),
            Self::In(id) => vec![id],
            _ => Vec::new(),
        }
    }

    /// Whether it is true of a file.
    pub(super) fn matches(&self, state: &State, file: &File) -> bool {
        match self {
            Self::And(a, b) => a.matches(state, file) && b.matches(state, file),
            Self::Or(a, b) => a.matches(state, file) || b.matches(state, file),
            Self::Not(inner) => !inner.matches(state, file),
            Self::In(id) => file.parents.contains(&state.resolve(id)),
            Self::Compare(field, operator, value) => compare(state, file, field, operator, value),
            Self::Has(field, key, value) => field == "appProperties" && file.app_properties.get(key) == Some(value),
        }
    }
}

fn compare(state: &State, file: &File, field: &str, operator: &str, value: &str) -> bool {
    let own = match field {
        "name" => file.name.clone(),
        "mimeType" => file.mime_type.clone(),
        "trashed" => state.is_trashed(file).to_string(),
        "modifiedTime" => file.modified.clone(),
        "createdTime" => file.created.clone(),
        _ => return false,
    };
    match operator {
        "=" => own == value,
        "!=" => own != value,
        "contains" => own.to_lowercase().starts_with(&value.to_lowercase()),
        "<" => own.as_str() < value,
        "<=" => own.as_str() <= value,
        ">" => own.as_str() > value,
        _ => own.as_str() >= value,
    }
}

fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' => {}
            '\'' => {
                let mut value = String::new();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        '\\' => value.push(characters.next()?),
                        other => value.push(other),
                    }
                }
                words.push(Word::Text(value));
            }
            '(' | ')' | '{' | '}' | '=' => words.push(Word::Sign(character.to_string())),
            '!' | '<' | '>' => {
                let mut sign = character.to_string();
                sign.extend(characters.next_if_eq(&'='));
                words.push(Word::Sign(sign));
            }
            name if name.is_ascii_alphabetic() => {
                let mut word = name.to_string();
                while let Some(next) = characters.next_if(char::is_ascii_alphabetic) {
                    word.push(next);
                }
                words.push(Word::Name(word));
            }
            _ => return None,
        }
    }
    Some(words)
}

struct Parser {
    words: Vec<Word>,
    position: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.position).cloned();
        self.position += 1;
        word
    }

    fn skip(&mut self, word: &Word) -> bool {
        let is_next = self.words.get(self.position) == Some(word);
        self.position += usize::from(is_next);
        is_next
    }

    fn skip_name(&mut self, name: &str) -> bool {
        self.skip(&Word::Name(name.to_owned()))
    }

    fn sign(&mut self, sign: &str) -> Option<()> {
        self.skip(&Word::Sign(sign.to_owned())).then_some(())
    }

    fn text(&mut self) -> Option<String> {
        match self.next()? {
            Word::Text(text) => Some(text),
            _ => None,
        }
    }

    fn any(&mut self) -> Option<Query> {
        let mut query = self.all()?;
        while self.skip_name("or") {
            query = Query::Or(Box::new(query), Box::new(self.all()?));
        }
        Some(query)
    }

    fn all(&mut self) -> Option<Query> {
        let mut query = self.one()?;
        while self.skip_name("and") {
            query = Query::And(Box::new(query), Box::new(self.one()?));
        }
        Some(query)
    }

    fn one(&mut self) -> Option<Query> {
        if self.skip_name("not") {
            return Some(Query::Not(Box::new(self.one()?)));
        }
        match self.next()? {
            Word::Sign(sign) if sign == "(" => {
                let query = self.any()?;
                self.sign(")")?;
                Some(query)
            }
            Word::Text(value) => {
                let is_parents = self.skip_name("in") && self.skip_name("parents");
                is_parents.then_some(Query::In(value))
            }
            Word::Name(field) => self.condition(field),
            Word::Sign(_) => None,
        }
    }

    fn condition(&mut self, field: String) -> Option<Query> {
        if self.skip_name("has") {
            self.sign("{")?;
            let key = self.pair("key")?;
            self.skip_name("and").then_some(())?;
            let value = self.pair("value")?;
            self.sign("}")?;
            return Some(Query::Has(field, key, value));
        }
        let operator = match self.next()? {
            Word::Sign(sign) => sign,
            Word::Name(name) if name == "contains" => name,
            _ => return None,
        };
        let value = match (field.as_str(), self.next()?) {
            ("trashed" | "starred", Word::Name(value)) if ["true", "false"].contains(&&value[..]) => value,
            ("name" | "mimeType" | "modifiedTime" | "createdTime", Word::Text(value)) => value,
            _ => return None,
        };
        Some(Query::Compare(field, operator, value))
    }

    fn pair(&mut self, name: &str) -> Option<String> {
        self.skip_name(name).then_some(())?;
        self.sign("=")?;
        self.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let compare = |field: &str, value: &str| Box::new(Query::Compare(field.into(), "=".into(), value.into()));
        assert_eq!(
            Query::parse(r"trashed=false and ('a' in parents or name = 'it\'s')"),
            Some(Query::And(
                compare("trashed", "false"),
                Box::new(Query::Or(Box::new(Query::In("a".into())), compare("name", "it's")))
            ))
        );
        assert!(Query::parse("not mimeType != 'x' and appProperties has { key='a' and value='b' }").is_some());
        for bad in [
            "",
            "name = x",
            "name = 'x",
            "trashed = 'true'",
            "'a' in",
            "(name = 'x'",
            "name 'x'",
            "unknown = 'x'",
        ] {
            assert_eq!(Query::parse(bad), None, "{bad}");
        }
    }
}

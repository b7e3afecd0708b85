//! Where a CA's database on PostgreSQL is, as its config says: [`Datasource`].
//!
//! Source: connection strings of Go's `lib/pq` as keys and values, the only form in which Fabric CA finds the name of the database.

/// The port that PostgreSQL has unless somebody says otherwise.
const PORT: &str = "5432";

/// A connection string, without its password, which is neither kept nor used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datasource {
    /// `host:port`, as the server reaches it.
    pub(crate) server: String,
    pub(crate) database: String,
    pub(crate) user: Option<String>,
}

impl Datasource {
    /// Reads one; `None` where it names no database.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let pairs = pairs(text)?;
        let get = |key: &str| pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let port = get("port").unwrap_or_else(|| PORT.to_owned());
        Some(Self {
            server: format!("{}:{port}", get("host").unwrap_or_else(|| "localhost".to_owned())),
            database: get("dbname").filter(|name| !name.is_empty())?,
            user: get("user"),
        })
    }
}

/// `key=value`, separated by blanks; a value may be in single quotation marks, and a backslash takes what follows as it is.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start())?;
        pairs.push((key.trim().to_owned(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// The value that a text begins with, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let (is_quoted, text) = match text.strip_prefix('\'') {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if is_quoted => return Some((value, &text[at + 1..])),
            blank if blank.is_whitespace() && !is_quoted => return Some((value, &text[at..])),
            other => value.push(other),
        }
    }
    (!is_quoted).then_some((value, ""))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_taken_apart_and_its_password_left() {
        let source =
            Datasource::parse("host=db.org1 port=5433 user=fabric password='it\\'s a secret' dbname=fabric_ca sslmode=disable").unwrap();
        assert_eq!(
            (&source.server[..], &source.database[..], source.user.as_deref()),
            ("db.org1:5433", "fabric_ca", Some("fabric"))
        );
        assert!(!format!("{source:?}").contains("secret"));
        let short = Datasource::parse(" dbname = ca ").unwrap();
        assert_eq!((&short.server[..], &short.database[..], short.user), ("localhost:5432", "ca", None));
    }

    #[test]
    fn what_names_no_database_is_none() {
        for text in ["", "host=x", "dbname=", "dbname='x", "postgres://fabric@db/fabric_ca", "dbname=a\\"] {
            assert_eq!(Datasource::parse(text), None, "{text}");
        }
    }
}

//! Where things are in a snapshot.

/// Roles and tablespaces.
const GLOBALS: &str = "globals.sql";
/// What is where, in the order of a restore.
const INDEX: &str = "index.jsonl";
/// All databases, a folder each.
const DATABASES: &str = "databases";

/// The longest name of a file that every file system takes.
const LONGEST: usize = 255;

/// The folder of a snapshot that has a dump; by default its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout(&'static str);

impl Layout {
    /// Everything is below the folder `folder`, whose name has no slash at its end.
    #[must_use]
    pub const fn below(folder: &'static str) -> Self {
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        match self.0 {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        }
    }

    pub(crate) fn globals(&self) -> String {
        self.path(GLOBALS)
    }

    /// The entry that every dump has.
    #[must_use]
    pub fn index(&self) -> String {
        self.path(INDEX)
    }

    /// The folder of a database.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        self.path(&format!("{DATABASES}/{}", escaped(name)))
    }

    /// A script of a database.
    pub(crate) fn script(&self, database: &str, script: &str) -> String {
        format!("{}/{script}.sql", self.database(database))
    }

    /// The rows of a table. Where the names are too long for a file's, its number takes their place; the index has both.
    pub(crate) fn table(&self, database: &str, schema: &str, name: &str, oid: u32) -> String {
        let file = format!("{}.{}.copy", escaped(schema), escaped(name));
        let file = if file.len() > LONGEST { format!("{oid}.copy") } else { file };
        format!("{}/data/{file}", self.database(database))
    }
}

/// A name as part of a path: what would end it, or the schema's name, or a line of a listing, is written as `%2E`.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '/' | '.' | '%' | '\\' => text += &format!("%{:02X}", u32::from(character)),
            character if character.is_control() => text += &format!("%{:02X}", u32::from(character)),
            character => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart() {
        let layout = Layout::default();
        assert_eq!(
            layout.table("shop", "public", "orders", 1),
            "databases/shop/data/public.orders.copy"
        );
        assert_ne!(layout.table("d", "a.b", "c", 1), layout.table("d", "a", "b.c", 1));
        assert_eq!(layout.table("../x", "a/b", "%\n", 1), "databases/%2E%2E%2Fx/data/a%2Fb.%25%0A.copy");
        let long = ".".repeat(63);
        assert_eq!(layout.table("d", &long, &long, 16_400), "databases/d/data/16400.copy");
    }

    #[test]
    fn a_dump_may_be_a_part_of_a_snapshot() {
        let layout = Layout::below("database");
        assert_eq!(layout.index(), "database/index.jsonl");
        assert_eq!(layout.script("ca", "pre-data"), "database/databases/ca/pre-data.sql");
    }
}

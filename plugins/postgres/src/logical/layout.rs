//! Where things are in a snapshot.

/// Roles and tablespaces.
pub(crate) const GLOBALS: &str = "globals.sql";
/// What is where, in the order of a restore.
pub(crate) const INDEX: &str = "index.jsonl";
/// All databases, a folder each.
pub(crate) const DATABASES: &str = "databases";

/// The longest name of a file that every file system takes.
const LONGEST: usize = 255;

/// The folder of a database.
pub(crate) fn database(name: &str) -> String {
    format!("{DATABASES}/{}", escaped(name))
}

/// A script of a database.
pub(crate) fn script(database_name: &str, script: &str) -> String {
    format!("{}/{script}.sql", database(database_name))
}

/// The rows of a table. Where the names are too long for a file's, its number takes their place; the index has both.
pub(crate) fn table(database_name: &str, schema: &str, name: &str, oid: u32) -> String {
    let file = format!("{}.{}.copy", escaped(schema), escaped(name));
    let file = if file.len() > LONGEST { format!("{oid}.copy") } else { file };
    format!("{}/data/{file}", database(database_name))
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
        assert_eq!(table("shop", "public", "orders", 1), "databases/shop/data/public.orders.copy");
        assert_ne!(table("d", "a.b", "c", 1), table("d", "a", "b.c", 1));
        assert_eq!(table("../x", "a/b", "%\n", 1), "databases/%2E%2E%2Fx/data/a%2Fb.%25%0A.copy");
        let long = ".".repeat(63);
        assert_eq!(table("d", &long, &long, 16_400), "databases/d/data/16400.copy");
    }
}

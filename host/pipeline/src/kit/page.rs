//! The text of a kit: for somebody who has nothing else, and may never have heard of Bulkhead.

use zeroize::Zeroizing;

use crate::kit::place::{Place, Repository};

/// What is on the page beside the password.
pub(super) struct Page<'p> {
    pub(super) vault: &'p str,
    pub(super) repository: &'p str,
    pub(super) key: &'p str,
    /// When it was made, RFC 3339.
    pub(super) made: &'p str,
    pub(super) host: &'p str,
    pub(super) places: Vec<Place>,
}

impl Page<'_> {
    /// The whole page. One piece of memory has it, which is wiped.
    pub(super) fn write(&self, password: &str, code: &str) -> Zeroizing<String> {
        Zeroizing::new(
            [
                &self.head(),
                "    ",
                password,
                ABOUT_THE_PASSWORD,
                code,
                &self.places(),
                &self.end(),
            ]
            .concat(),
        )
    }

    fn head(&self) -> String {
        let Self {
            vault,
            repository,
            key,
            made,
            host,
            ..
        } = self;
        format!(
            "RECOVERY KIT\n\n\
             Vault       {vault}\n\
             Repository  {repository}\n\
             Key         {key}\n\
             Made        {made} on {host}, by Bulkhead\n\n\
             Whoever has this page can read all backups in the vault. Lock it away, and not\n\
             where the backups are.\n\n\
             PASSWORD\n\n"
        )
    }

    fn places(&self) -> String {
        let places = self.places.iter().enumerate();
        let told: String = places.map(|(number, place)| told(number + 1, place)).collect();
        format!(
            "\nWHERE THE BACKUPS ARE\n\n\
             The vault is a repository of restic's (https://restic.net), the same in each of\n\
             these places. restic asks for the password.\n\n{told}"
        )
    }

    fn end(&self) -> String {
        let (vault, key) = (self.vault, self.key.get(..8).unwrap_or(self.key));
        format!(
            "WHEN THIS PAGE WAS LOST OR SEEN\n\n    \
             bulkhead key remove {vault} {key}\n\n\
             Its password opens the vault no more. Who has used it may still read what is in\n\
             it: then back up into a new vault, too.\n"
        )
    }
}

const ABOUT_THE_PASSWORD: &str = "\n\n\
    Digits and capital letters; the hyphens are part of it. What looks like an I or an\n\
    L is a one, what looks like an O is a zero. The last two characters check the rest.\n\n";

fn told(number: usize, place: &Place) -> String {
    let commands = place.restic.as_ref().map_or_else(no_commands, commands);
    format!("{number}. {} (sink `{}`)\n\n{commands}\n", place.description, place.sink)
}

fn no_commands() -> String {
    "    restic does not know such places: copy the objects into a folder.\n".to_owned()
}

fn commands(repository: &Repository) -> String {
    let first = repository.first.as_ref().map(|first| format!("    {first}\n")).unwrap_or_default();
    let name = quoted(&repository.name);
    format!(
        "{first}    restic -r {name} snapshots\n    \
         restic -r {name} check\n    \
         restic -r {name} restore latest --target restored\n"
    )
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

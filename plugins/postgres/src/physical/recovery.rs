//! Settings for the recovery of a restored cluster: [`lines`] before anything is written, [`append`] when everything is.

use bulkhead_sdk::{
    Error, Result, ResultExt,
    directory::{Folder, OpenMode},
};

/// What a server reads last, so that it overrules what the cluster had; `pg_verifybackup` leaves it out.
const FILE: &str = "postgresql.auto.conf";

/// The settings as the server reads them; an error where one cannot be written so.
pub(crate) fn lines(settings: &[(String, String)]) -> Result<String> {
    let mut lines = String::from("\n# For this recovery, by Bulkhead.\n");
    for (name, value) in settings {
        lines.push_str(&line(name, value)?);
    }
    Ok(lines)
}

/// Puts settings behind those that the cluster has.
pub(crate) fn append(folder: &Folder, lines: &str) -> Result<()> {
    let write = || {
        let file = folder.open_file(FILE, OpenMode::Modify)?;
        let end = file.stat()?.size;
        file.write_at(end, lines.as_bytes())
    };
    write().context(|| format!("writing the settings of the recovery into {FILE} failed"))
}

/// A setting as the server's parser takes it: backslashes and quotation marks are doubled.
fn line(name: &str, value: &str) -> Result<String> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !is_name || value.contains(char::is_control) {
        return Err(
            Error::config("recovery", format!("the setting `{name}` of the recovery cannot be written"))
                .with_hint("values have no control characters"),
        );
    }
    let value = value.replace('\\', r"\\").replace('\'', "''");
    Ok(format!("{name} = '{value}'\n"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted() {
        let command = line("restore_command", r"'/a b' c\d %f").unwrap();
        assert_eq!(command, "restore_command = '''/a b'' c\\\\d %f'\n");
        for (name, value) in [("a\nb", "x"), ("a", "x\ny"), ("A", "x")] {
            assert!(line(name, value).is_err());
        }
    }
}

//! restic's layout of a repository in folders (restic's `doc/design.rst`, "Repository Layout"): which keys there are ([`is_key`]), and in which folders
//! they lie ([`folders`]). A sink that keeps to it holds a repository that plain restic opens.

/// Folders of a repository beside [`DATA`].
pub const FOLDERS: [&str; 4] = ["index", KEYS, "locks", "snapshots"];
/// Folder of the packs, with one folder for each value of the first byte of their names.
pub const DATA: &str = "data";
/// The file that makes a folder a repository. The vault stores it last.
pub const CONFIG: &str = "config";
/// Folder of the keys, which are stored before [`CONFIG`].
pub const KEYS: &str = "keys";

/// Whether `name` is one of an object: hexadecimal digits in lower case.
#[must_use]
pub fn is_hex(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `key` is an object's.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let components: Vec<&str> = key.split('/').collect();
    match components[..] {
        [CONFIG] => true,
        [folder, name] => FOLDERS.contains(&folder) && is_hex(name),
        [DATA, byte, name] => byte.len() == 2 && is_hex(byte) && is_hex(name) && name.starts_with(byte),
        _ => false,
    }
}

/// Whether `path` is a folder in which objects are, or are below.
#[must_use]
pub fn is_folder(path: &str) -> bool {
    match path.split_once('/') {
        None => path == DATA || FOLDERS.contains(&path),
        Some((DATA, byte)) => byte.len() == 2 && is_hex(byte),
        Some(_) => false,
    }
}

/// All folders of a repository, 261, each before those in it.
pub fn folders() -> impl Iterator<Item = String> {
    let bytes = (0..=u8::MAX).map(|byte| format!("{DATA}/{byte:02x}"));
    FOLDERS.iter().chain([&DATA]).map(|folder| (*folder).to_owned()).chain(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_restics_layout() {
        for good in ["config", "keys/0a", "snapshots/ff00", "data/ab/abcd", "locks/1", "index/2"] {
            assert!(is_key(good), "{good}");
        }
        for bad in [
            "",
            "config/a",
            "data/abcd",
            "data/ab/cdef",
            "data/AB/ABCD",
            "keys/../config",
            "keys/",
            "other",
            "keys/a-tmp-1",
            "data/ab/abcd/e",
        ] {
            assert!(!is_key(bad), "{bad}");
        }
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let all: Vec<String> = folders().collect();
        assert_eq!(all.len(), 261);
        assert!(all.iter().all(|folder| is_folder(folder)));
        let position = |name: &str| all.iter().position(|folder| folder == name);
        assert!(position("data") < position("data/00") && position("data/ff").is_some());
    }
}

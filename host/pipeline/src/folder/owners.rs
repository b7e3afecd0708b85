//! Whose restored entries are: [`Owners`], the snapshot's ids, or others in their place.

use std::str::FromStr;

use bulkhead_model::EntryMetadata;

/// Set-user-id and set-group-id.
const SET_ID_BITS: u32 = 0o6000;

/// Whose restored entries are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// Leave entries to whoever restores them.
    pub skip: bool,
    /// What users become.
    pub users: Vec<IdMapping>,
    /// What groups become.
    pub groups: Vec<IdMapping>,
}

/// An id in the snapshot, and the one that it becomes: `1000:2000`, or `*:2000` for all that no other mapping names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    from: Option<u32>,
    to: u32,
}

/// Text that is no [`IdMapping`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mapping of an id to another one, such as `1000:2000`, or `*:2000` for all others")]
pub struct IdMappingError(String);

impl FromStr for IdMapping {
    type Err = IdMappingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = || IdMappingError(text.to_owned());
        // The largest number means "don't change" to the operating system.
        let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX).ok_or_else(failed);
        let (from, to) = text.split_once(':').ok_or_else(failed)?;
        Ok(Self {
            from: if from == "*" { None } else { Some(id(from)?) },
            to: id(to)?,
        })
    }
}

/// What the owner and the permission bits of an entry are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// User and group; `None` to leave them.
    pub(crate) ids: Option<(u32, u32)>,
    /// Permission bits, where the owner is as wanted.
    pub(crate) mode: u32,
    /// Whether that is the snapshot's owner.
    pub(crate) is_owner: bool,
}

impl Owners {
    /// What `metadata` asks for. Set-user-id and set-group-id belong to the owner that the snapshot names, and are dropped with it.
    pub(crate) fn of(&self, metadata: &EntryMetadata) -> Ownership {
        let ids = (map(&self.users, metadata.uid), map(&self.groups, metadata.gid));
        let is_known = metadata.uid != u32::MAX && metadata.gid != u32::MAX;
        let is_owner = !self.skip && ids == (metadata.uid, metadata.gid);
        let mode = metadata.mode & 0o7777;
        Ownership {
            ids: (!self.skip && is_known).then_some(ids),
            mode: if is_owner { mode } else { without_set_id(mode) },
            is_owner,
        }
    }
}

/// Permission bits without set-user-id and set-group-id.
pub(crate) fn without_set_id(mode: u32) -> u32 {
    mode & !SET_ID_BITS
}

fn map(mappings: &[IdMapping], id: u32) -> u32 {
    let named = mappings.iter().find(|mapping| mapping.from == Some(id));
    let others = || mappings.iter().find(|mapping| mapping.from.is_none());
    named.or_else(others).map_or(id, |mapping| mapping.to)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use bulkhead_model::NodeType;

    use super::*;

    fn owners(users: &[&str], groups: &[&str]) -> Owners {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Owners {
            skip: false,
            users: read(users),
            groups: read(groups),
        }
    }

    fn metadata(uid: u32, gid: u32) -> EntryMetadata {
        EntryMetadata {
            uid,
            gid,
            mode: 0o6755,
            ..EntryMetadata::private(NodeType::File)
        }
    }

    #[test]
    fn ids_that_no_mapping_names_stay_unless_a_star_takes_them() {
        let mapped = owners(&["1000:2000", "0:1"], &["*:7", "5:6"]);
        assert_eq!(mapped.of(&metadata(1000, 5)).ids, Some((2000, 6)));
        assert_eq!(mapped.of(&metadata(33, 33)).ids, Some((33, 7)));
    }

    #[test]
    fn set_id_bits_go_with_the_owner_that_they_belong_to() {
        let mapped = owners(&["1000:0"], &[]);
        assert_eq!(mapped.of(&metadata(1000, 5)).mode, 0o755);
        assert_eq!(mapped.of(&metadata(33, 5)).mode, 0o6755);
        let skipped = Owners {
            skip: true,
            ..Owners::default()
        };
        assert_eq!(
            skipped.of(&metadata(0, 0)),
            Ownership {
                ids: None,
                mode: 0o755,
                is_owner: false
            }
        );
    }

    #[test]
    fn an_id_that_is_not_known_is_left() {
        assert_eq!(Owners::default().of(&metadata(u32::MAX, 0)).ids, None);
    }

    #[test]
    fn what_is_no_mapping_is_told() {
        for text in ["", "1", "a:1", "1:b", "4294967295:1", "1:4294967295", "1:2:3", "1:*"] {
            assert!(text.parse::<IdMapping>().is_err(), "{text}");
        }
    }
}

//! Where things are: paths in the server's archives, in its manifest, in a snapshot and in a restored cluster.

/// Everything of PGDATA.
pub(crate) const DATA: &[u8] = b"data";
/// Everything of all tablespaces.
pub(crate) const TABLESPACES: &[u8] = b"tablespaces";
/// The server's manifest; in a restored cluster it lies in PGDATA.
pub(crate) const MANIFEST: &[u8] = b"backup_manifest";
/// The log, in PGDATA. The manifest doesn't list its segments.
pub(crate) const WAL: &[u8] = b"pg_wal";
/// Where the server marks each segment of the backup's log as archived, as it sends it: after the backup has ended, and with its clock's time.
pub(crate) const LOG_MARKS: &[u8] = b"pg_wal/archive_status";
/// The links to tablespaces, in PGDATA.
pub(crate) const LINKS: &[u8] = b"pg_tblspc";

/// Where the backup begins, and how; in PGDATA.
pub(crate) const LABEL: &[u8] = b"backup_label";
/// How the name of a file begins of which an incremental backup has only what changed.
const INCREMENTAL: &[u8] = b"INCREMENTAL.";

/// What all databases share, in PGDATA.
pub(crate) const GLOBAL: &[u8] = b"global";
/// Without it no server starts, in PGDATA.
pub(crate) const CONTROL: &[u8] = b"global/pg_control";
/// Where it is put while a restore writes over its cluster: it says whose cluster that was.
pub(crate) const CONTROL_ASIDE: &[u8] = b"global/pg_control.aside";

/// An archive of a base backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Archive {
    /// PGDATA.
    Base,
    /// The tablespace with this OID.
    Tablespace(u32),
}

impl Archive {
    /// The snapshot's folder for it.
    pub(crate) fn root(self) -> Vec<u8> {
        match self {
            Self::Base => DATA.to_vec(),
            Self::Tablespace(oid) => join(TABLESPACES, oid.to_string().as_bytes()),
        }
    }

    /// The path in the manifest for `path` in the archive.
    pub(crate) fn in_manifest(self, path: &[u8]) -> Vec<u8> {
        match self {
            Self::Base => path.to_vec(),
            Self::Tablespace(oid) => join(&join(LINKS, oid.to_string().as_bytes()), path),
        }
    }
}

/// `parent` and `name` with a slash between.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    [parent, b"/", name].concat()
}

/// What is behind `parent` and a slash.
pub(crate) fn below<'a>(path: &'a [u8], parent: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(parent)?.strip_prefix(b"/")
}

/// The path of the whole file, where `path` is that of one of which an incremental backup has only what changed.
pub(crate) fn whole(path: &[u8]) -> Option<Vec<u8>> {
    let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(name);
    name.strip_prefix(INCREMENTAL).map(|name| [folder, name].concat())
}

/// Whether a file is of a visibility map: `<number>_vm`, or a further segment of it, `<number>_vm.1`.
pub(crate) fn is_visibility_map(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.split(|&byte| byte == b'.').next().is_some_and(|fork| fork.ends_with(b"_vm"))
}

/// A place in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// PGDATA (empty path), or what is at this path in it.
    Data(&'a [u8]),
    /// The folder of a tablespace (empty path), or what is at this path in it.
    Tablespace(u32, &'a [u8]),
    /// The folder of all tablespaces.
    Tablespaces,
    /// The manifest.
    Manifest,
}

impl<'a> Place<'a> {
    /// The place of the entry at `path`; `None` for what this mode never stores.
    pub(crate) fn of(path: &'a [u8]) -> Option<Self> {
        match path {
            DATA => return Some(Self::Data(b"")),
            TABLESPACES => return Some(Self::Tablespaces),
            MANIFEST => return Some(Self::Manifest),
            _ => {}
        }
        if let Some(path) = below(path, DATA) {
            return Some(Self::Data(path));
        }
        let rest = below(path, TABLESPACES)?;
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let oid = oid(&rest[..end])?;
        Some(Self::Tablespace(oid, rest.get(end + 1..).unwrap_or_default()))
    }
}

/// An OID in decimal.
pub(crate) fn oid(digits: &[u8]) -> Option<u32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The snapshot's path for a path of the manifest.
pub(crate) fn from_manifest(path: &[u8]) -> Vec<u8> {
    let in_tablespace = below(path, LINKS).and_then(|rest| {
        let end = rest.iter().position(|&byte| byte == b'/')?;
        Some(join(&Archive::Tablespace(oid(&rest[..end])?).root(), &rest[end + 1..]))
    });
    in_tablespace.unwrap_or_else(|| join(DATA, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_back_and_forth() {
        for (archive, path, snapshot, manifest) in [
            (Archive::Base, "global/1260", "data/global/1260", "global/1260"),
            (
                Archive::Tablespace(16384),
                "PG_15_1/5/2",
                "tablespaces/16384/PG_15_1/5/2",
                "pg_tblspc/16384/PG_15_1/5/2",
            ),
        ] {
            assert_eq!(join(&archive.root(), path.as_bytes()), snapshot.as_bytes());
            assert_eq!(archive.in_manifest(path.as_bytes()), manifest.as_bytes());
            assert_eq!(from_manifest(manifest.as_bytes()), snapshot.as_bytes());
        }
    }

    #[test]
    fn what_changed_goes_into_the_whole_file() {
        assert_eq!(whole(b"base/5/INCREMENTAL.1259.1").as_deref(), Some(&b"base/5/1259.1"[..]));
        assert_eq!(whole(b"base/INCREMENTAL.5/1259"), None);
        assert_eq!(whole(b"base/5/1259"), None);
    }

    #[test]
    fn visibility_maps_are_known_by_name() {
        assert!(is_visibility_map(b"base/5/1259_vm") && is_visibility_map(b"pg_tblspc/1/PG_17_1/5/1259_vm.2"));
        assert!(!is_visibility_map(b"base/5/1259") && !is_visibility_map(b"base/5_vm/1259_fsm"));
    }

    #[test]
    fn what_is_foreign_has_no_place() {
        assert_eq!(Place::of(b"tablespaces/x/y"), None);
        assert_eq!(Place::of(b"database"), None);
        assert_eq!(Place::of(b"tablespaces/16384"), Some(Place::Tablespace(16384, b"")));
    }
}

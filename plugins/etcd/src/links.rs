//! Where a path of a granted folder leads when its symbolic links are followed: [`follow`].
//!
//! The host does not follow a link out of a grant, and `stat` does not follow one at all; so each name is looked at in its turn, as the kernel would do it.
//! Absolute targets are followed where the operator's own path of the grant is the beginning of them (K3s links `server/node-token` so).

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{FileType, Folder, Stat},
};

/// Links that are followed for one path; Linux' own bound.
const MAX_LINKS: usize = 40;

/// Where a path leads.
pub(crate) enum Leads {
    /// To this path in the same grant, which is no link and has none in it.
    To(Vec<u8>, Stat),
    /// Out of the grant: what the link says that does it.
    Out(Vec<u8>),
}

/// Follows `path` in `folder`, which is `location` on its host.
///
/// Fails with `NotFound` where a link leads to nothing, and with `Conflict` where links lead into each other.
pub(crate) fn follow(folder: &Folder, location: &str, path: &[u8]) -> Result<Leads> {
    let mut reached: Vec<Vec<u8>> = Vec::new();
    let mut left: Vec<Vec<u8>> = names(path);
    let (mut links, mut target) = (0, Vec::new());
    while let Some(name) = left.pop() {
        match &name[..] {
            b"" | b"." => continue,
            b".." if reached.pop().is_some() => continue,
            b".." => return Ok(Leads::Out(target)),
            _ => reached.push(name),
        }
        let here = reached.join(&b'/');
        let stat = folder.stat(&here);
        let stat = match links {
            0 => stat?,
            _ => stat.context(|| format!("the link to {} leads nowhere", String::from_utf8_lossy(&target)))?,
        };
        if stat.file_type != FileType::Symlink {
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            let message = format!(
                "{} leads through more than {MAX_LINKS} symbolic links",
                String::from_utf8_lossy(path)
            );
            return Err(Error::new(ErrorKind::Conflict, message).with_hint("they lead into each other: name the file itself"));
        }
        target = folder.read_link(&here)?;
        reached.pop();
        if target.starts_with(b"/") {
            let Some(inside) = below(location.as_bytes(), &target) else {
                return Ok(Leads::Out(target));
            };
            reached.clear();
            left.extend(names(inside));
        } else {
            left.extend(names(&target));
        }
    }
    let real = reached.join(&b'/');
    let stat = folder.stat(&real)?;
    Ok(Leads::To(real, stat))
}

/// The names of a path, the first one last.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

/// What of an absolute path is below `folder`.
fn below<'p>(folder: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let end = folder.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let rest = path.strip_prefix(&folder[..end])?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_with_the_whole_path_of_the_grant_is_below_it() {
        for (folder, path, expected) in [
            ("/srv/server", "/srv/server/token", Some("/token")),
            ("/srv/server/", "/srv/server/token", Some("/token")),
            ("/srv/server", "/srv/server", Some("")),
            ("/srv/server", "/srv/server2/token", None),
            ("/srv/server", "/srv/token", None),
            ("/", "/srv/token", Some("/srv/token")),
            ("server", "/server/token", None),
        ] {
            let found = below(folder.as_bytes(), path.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{path} in {folder}");
        }
    }
}

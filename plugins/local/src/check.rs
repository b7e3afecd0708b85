//! Preflight: whether the folder can be used, and by whom else.

use bulkhead_sdk::{
    directory::{Folder, OpenMode, Stat},
    prelude::*,
};

use crate::{
    layout::{CONFIG, State, state, temporary_name},
    location,
};

/// Free bytes below which a backup is likely to fail soon: 1 GiB.
const LITTLE_SPACE: u64 = 1 << 30;

/// Looks at the folder, writes a file and removes it.
pub(crate) fn check(root: &Folder) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let stat = root.stat("")?;
    findings.extend(content(&state(root)?));
    findings.extend(openness(&stat));
    findings.extend(space(root)?);
    findings.extend(writable(root, &stat));
    Ok(findings)
}

fn content(state: &State) -> Option<Finding> {
    let location = location();
    match state {
        State::Repository => None,
        State::Empty => Some(
            Finding::info("not-initialized", format!("{location} is empty: there is no vault in it yet"))
                .with_hint("create it with `bulkhead init`"),
        ),
        State::Half => Some(
            Finding::error(
                "half-initialized",
                format!("{location} holds part of a vault: its creation was cut off, or its file `config` was lost"),
            )
            .with_hint(
                "if no backup was ever made into it, empty it and run `bulkhead init`; otherwise restore `config` from another replica",
            ),
        ),
        State::Foreign(names) => Some(
            Finding::error(
                "foreign-content",
                format!("{location} is not a vault; it holds {}", names.join(", ")),
            )
            .with_hint("give the vault a folder of its own in `directory.root.path`"),
        ),
    }
}

/// Everything is encrypted, but who may read the key files can guess at the password, and who may write can delete.
fn openness(stat: &Stat) -> Option<Finding> {
    let location = location();
    let open = stat.mode & 0o077;
    (open != 0).then(|| {
        Finding::warning(
            "open-to-others",
            format!("{location} is open to other users (mode {:04o})", stat.mode),
        )
        .with_hint(format!("`chmod 700 {location}`"))
    })
}

fn space(root: &Folder) -> Result<Option<Finding>> {
    let space = root.space()?;
    let location = location();
    if space.available > LITTLE_SPACE {
        return Ok(None);
    }
    let message = format!(
        "{} MiB of {} MiB are left on the file system of {location}",
        space.available >> 20,
        space.total >> 20
    );
    let hint = "make room, or move the vault to a larger file system";
    Ok(Some(match space.available {
        0 => Finding::error("no-space", message).with_hint(hint),
        _ => Finding::warning("little-space", message).with_hint(hint),
    }))
}

/// Writes a file and removes it; its owner tells as whom we write.
fn writable(root: &Folder, folder: &Stat) -> Option<Finding> {
    let location = location();
    let probe = temporary_name(CONFIG);
    let written = root.open_file(&probe, OpenMode::Create).and_then(|file| {
        file.write_at(0, b"bulkhead check\n")?;
        file.sync()?;
        file.stat()
    });
    _ = root.remove_file(&probe);
    match written {
        Ok(own) if own.uid != folder.uid => Some(
            Finding::warning(
                "owner-differs",
                format!(
                    "{location} belongs to user {}, and this host writes as user {}",
                    folder.uid, own.uid
                ),
            )
            .with_hint(format!("`chown {} {location}`", own.uid)),
        ),
        Ok(_) => None,
        Err(error) => Some(
            Finding::error("not-writable", format!("{location} cannot be written to: {error}"))
                .with_hint("grant it with `access = \"read-write\"`, and let the user that runs bulkhead write there"),
        ),
    }
}

//! Preflight: whether the folder can be used, and by whom else.

use bulkhead_layout::CONFIG;
use bulkhead_sdk::{
    digest::{Algorithm, digest},
    prelude::*,
};

use crate::{
    client::{Call, with_query},
    config::Removed,
    store::remove,
    tree::{State, Tree, in_any},
    upload::{Target, require_same, store},
};

/// An object that `check` stores and removes. Always the same one, so that credentials which may not remove anything leave one of them at most; it is no
/// key of a vault.
pub(crate) const PROBE: &str = "bulkhead-check";

/// What the probe holds.
const CONTENT: &[u8] = b"bulkhead check\n";

/// Free bytes below which a backup is likely to fail soon: 1 GiB.
const LITTLE_SPACE: u64 = 1 << 30;

/// Looks at the folder, stores an object and removes it.
pub(crate) fn check(tree: &mut Tree, removed: Removed) -> Result<Vec<Finding>> {
    let place = tree.location()?;
    let mut findings = Vec::new();
    let state = tree.state()?;
    findings.extend(content(&state, &place));
    if state == State::Repository {
        findings.extend(duplicates(tree, &place)?);
    }
    findings.extend(trash(tree, removed, &state, &place)?);
    findings.extend(space(tree)?);
    findings.extend(writing(tree, removed, &place)?);
    Ok(findings)
}

/// Fails where a new vault cannot be made.
pub(crate) fn require_empty(tree: &mut Tree) -> Result<()> {
    let place = tree.location()?;
    let conflict = |message: String, hint: &str| Err(Error::new(ErrorKind::Conflict, message).with_hint(hint).with_setting("folder"));
    match tree.state()? {
        State::Empty => Ok(()),
        State::Repository => conflict(
            format!("{place} already holds a vault"),
            "leave out `init` to use it, or name another folder",
        ),
        State::Half => conflict(
            format!("{place} holds part of a vault: its creation was cut off, or its file `config` was lost"),
            "if no backup was ever made into it, empty it and init again; otherwise restore `config` from the trash or from another replica",
        ),
        State::Foreign(names) => conflict(
            format!("{place} is not empty and not a vault; it holds {}", names.join(", ")),
            "make a folder for the vault alone, and write its id",
        ),
    }
}

fn content(state: &State, place: &str) -> Option<Finding> {
    match state {
        State::Repository => None,
        State::Empty => {
            Some(Finding::info("not-initialized", format!("{place} is empty: there is no vault in it yet")).with_hint("create it with `bulkhead init`"))
        }
        State::Half => Some(
            Finding::error(
                "half-initialized",
                format!("{place} holds part of a vault: its creation was cut off, or its file `config` was lost"),
            )
            .with_hint("if no backup was ever made into it, empty it and run `bulkhead init`; otherwise restore `config` from the trash or from another replica"),
        ),
        State::Foreign(names) => Some(
            Finding::error("foreign-content", format!("{place} is not a vault; it holds {}", names.join(", ")))
                .with_hint("make a folder for the vault alone, and write its id")
                .with_setting("folder"),
        ),
    }
}

/// Folders of one path, or several files `config`: other tools see only one of them.
fn duplicates(tree: &mut Tree, place: &str) -> Result<Vec<Finding>> {
    tree.refresh()?;
    let several: Vec<String> = tree
        .folders()
        .iter()
        .filter(|(_, ids)| ids.len() > 1)
        .map(|(path, _)| path.clone())
        .take(5)
        .collect();
    let mut findings = Vec::new();
    if !several.is_empty() {
        findings.push(
            Finding::warning(
                "duplicate-folders",
                format!("{place} has several folders of the same name: {}", several.join(", ")),
            )
            .with_hint(
                "all of them are read, but other tools see one only: move what is in the newer into the older (`rclone dedupe` does)",
            ),
        );
    }
    let configs = tree.find(CONFIG)?;
    if configs.len() > 1 {
        let differ = configs.iter().any(|file| file.sha256_checksum != configs[0].sha256_checksum);
        let message = format!("{place} has {} files `{CONFIG}`; the oldest is used", configs.len());
        let finding = match differ {
            true => Finding::error(
                "duplicate-config",
                format!("{message}, and they differ: two vaults were made in it"),
            ),
            false => Finding::warning("duplicate-config", message),
        };
        findings.push(finding.with_hint("remove all but the oldest in Drive"));
    }
    Ok(findings)
}

/// Whether somebody has thrown away what belongs to the vault.
fn trash(tree: &mut Tree, removed: Removed, state: &State, place: &str) -> Result<Option<Finding>> {
    let root = tree.root()?.id.clone();
    let mut folders = vec![root];
    for (path, ids) in tree.folders() {
        if !path.contains('/') {
            folders.extend(ids.iter().cloned());
        }
    }
    let query = format!("({}) and trashed = true", in_any(&folders));
    let mut thrown = tree.any_page(&query, false, None)?.files;
    thrown.retain(|file| file.name != PROBE);
    if removed == Removed::Trashed && *state == State::Repository {
        // What `forget` removes is there too; folders and `config` never are.
        thrown.retain(|file| file.is_folder() || file.name == CONFIG);
    }
    let Some(first) = thrown.first() else { return Ok(None) };
    let message = format!(
        "{} files or folders of {place} are in the trash, `{}` for one",
        thrown.len(),
        first.name
    );
    Ok(Some(
        Finding::warning("objects-in-trash", message).with_hint("if it was not you, restore them in Drive before the trash is emptied"),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    storage_quota: Quota,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Quota {
    /// Absent where there is no limit.
    limit: Option<String>,
    usage: String,
}

/// What is left of the account's room; a shared drive's is not told.
fn space(tree: &mut Tree) -> Result<Option<Finding>> {
    if tree.root()?.drive_id.is_some() {
        return Ok(None);
    }
    let call = Call::new("GET", with_query("/drive/v3/about", &[("fields", "storageQuota(limit,usage)")]));
    let quota = tree.client.document::<About>(&call)?.storage_quota;
    let (Some(limit), Ok(usage)) = (quota.limit.and_then(|limit| limit.parse::<u64>().ok()), quota.usage.parse::<u64>()) else {
        return Ok(None);
    };
    let left = limit.saturating_sub(usage);
    if left > LITTLE_SPACE {
        return Ok(None);
    }
    let message = format!("{} MiB of {} MiB are left in this Drive", left >> 20, limit >> 20);
    let hint = "buy room, empty the trash, or use a shared drive; a service account has no room of its own";
    Ok(Some(match left {
        0 => Finding::error("no-space", message).with_hint(hint),
        _ => Finding::warning("little-space", message).with_hint(hint),
    }))
}

/// Stores the probe, and removes it.
fn writing(tree: &mut Tree, removed: Removed, place: &str) -> Result<Option<Finding>> {
    let root = tree.root()?.id.clone();
    let probe = Probe::default();
    let mut body = ObjectReader::new(&probe);
    let target = Target::New {
        name: PROBE,
        parent: &root,
    };
    let not_writable = |error: &Error| {
        let finding = Finding::error("not-writable", format!("{place} cannot be written to: {error}"));
        finding.with_hint(
            error
                .hint
                .clone()
                .unwrap_or_else(|| "share it with these credentials as an editor".to_owned()),
        )
    };
    match store(&tree.client, &target, &mut body, 1 << 20, None) {
        Ok(stored) => require_same(&stored, &mut body)?,
        Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::StorageFull) => return Ok(Some(not_writable(&error))),
        Err(error) => return Err(error),
    }
    // Of earlier checks too.
    for file in tree
        .page(&format!("name = '{PROBE}' and ({})", in_any(&[root])), false, None)?
        .files
    {
        match remove(tree, &file.id, removed) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                return Ok(Some(
                    Finding::warning("append-only", format!("these credentials cannot remove anything from {place}: {error}"))
                        .with_setting("removed")
                        .with_hint("in a shared drive, only managers delete: write `removed = \"trashed\"`; locks of finished runs stay behind otherwise"),
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The probe as an object.
#[derive(Default)]
struct Probe(std::cell::Cell<bool>);

impl bulkhead_sdk::host::ObjectReader for Probe {
    fn size(&self) -> u64 {
        CONTENT.len() as u64
    }

    fn sha256(&self) -> Vec<u8> {
        digest(Algorithm::Sha256, CONTENT)
    }

    fn read(&self, _max: u32) -> Result<Option<Vec<u8>>> {
        Ok((!self.0.replace(true)).then(|| CONTENT.to_vec()))
    }

    fn rewind(&self) {
        self.0.set(false);
    }
}

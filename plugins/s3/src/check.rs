//! Preflight: whether the bucket can be used, by whom else it is, and what its server can do.

use bulkhead_sdk::{prelude::*, services::Store};

use crate::dialect::Amazon;

/// An object that `check` stores and removes. Always the same one, so that credentials which may not remove anything leave one of them at most; it is no
/// key of a vault.
pub(crate) const PROBE: &str = "bulkhead-check";

/// What the probe holds.
const CONTENT: &[u8] = b"bulkhead check\n";

/// Top folders of a vault.
const LAYOUT: [&str; 5] = ["keys/", "snapshots/", "index/", "data/", "locks/"];

/// Looks at what is there, stores an object, tries to store it again and removes it.
pub(crate) fn check(store: &Store<Amazon>, place: &str) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(content(store, place)?);
    findings.extend(writing(store, place)?);
    Ok(findings)
}

/// Fails where there is anything but the probe of a check.
pub(crate) fn require_empty(store: &Store<Amazon>, place: &str) -> Result<()> {
    let found = store.list("", None)?;
    match found.objects.iter().find(|object| object.key != PROBE) {
        None => Ok(()),
        Some(object) => Err(
            Error::new(ErrorKind::Conflict, format!("{place} is not empty: it holds {}", object.key))
                .with_hint("give the vault a `prefix` of its own, or a bucket"),
        ),
    }
}

fn content(store: &Store<Amazon>, place: &str) -> Result<Option<Finding>> {
    // Refusals of a listing say what is wrong; those of a look at one object have no body to say it in.
    store.list("keys/", None)?;
    if store.stat("config")?.is_some() {
        return Ok(None);
    }
    let found = store.list("", None)?;
    let others: Vec<&str> = found
        .objects
        .iter()
        .map(|object| object.key.as_str())
        .filter(|key| *key != PROBE)
        .collect();
    Ok(Some(match others.first() {
        None => Finding::info("not-initialized", format!("{place} is empty: there is no vault in it yet"))
            .with_hint("create it with `bulkhead init`"),
        Some(key) if LAYOUT.iter().any(|folder| key.starts_with(folder)) => Finding::error(
            "half-initialized",
            format!("{place} holds part of a vault: its creation was cut off, or its object `config` was lost"),
        )
        .with_hint("if no backup was ever made into it, empty it and run `bulkhead init`; otherwise restore `config` from another replica"),
        Some(key) => Finding::error("foreign-content", format!("{place} is not a vault; it holds {key}"))
            .with_hint("give the vault a `prefix` of its own, or a bucket"),
    }))
}

/// Stores the probe twice, and removes it.
fn writing(store: &Store<Amazon>, place: &str) -> Result<Vec<Finding>> {
    let body = Probe::default();
    let options = PutOptions {
        if_absent: true,
        lock_until: None,
    };
    let mut findings = Vec::new();
    for attempt in 1..=2 {
        match store.put(PROBE, &mut ObjectReader::new(&body), options, &[]) {
            Ok(()) if attempt == 2 => findings.push(
                Finding::warning(
                    "conditional-put-ignored",
                    "the server stores over what is there, though it was asked not to (`If-None-Match`)",
                )
                .with_hint(
                    "write `conditional-put = false`: then it is looked for first, and two hosts must not create the same vault at once",
                )
                .with_setting("conditional-put"),
            ),
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                findings.push(
                    Finding::error("not-writable", format!("{place} cannot be written to: {error}"))
                        .with_hint("allow `s3:PutObject` there"),
                );
                return Ok(findings);
            }
            Err(error) => return Err(error),
        }
    }
    match store.delete(PROBE) {
        Ok(()) => {}
        Err(error) if error.kind == ErrorKind::PermissionDenied => findings.push(
            Finding::info("append-only", format!("these credentials cannot remove anything from {place}")).with_hint(
                "good for hosts that only write; `forget` and `prune` need others, and so do the locks of finished runs, which stay behind",
            ),
        ),
        Err(error) => return Err(error),
    }
    Ok(findings)
}

/// The probe as an object.
#[derive(Default)]
struct Probe(std::cell::Cell<bool>);

impl bulkhead_sdk::host::ObjectReader for Probe {
    fn size(&self) -> u64 {
        CONTENT.len() as u64
    }

    fn sha256(&self) -> Vec<u8> {
        bulkhead_sdk::digest::digest(bulkhead_sdk::digest::Algorithm::Sha256, CONTENT)
    }

    fn read(&self, _max: u32) -> Result<Option<Vec<u8>>> {
        Ok((!self.0.replace(true)).then(|| CONTENT.to_vec()))
    }

    fn rewind(&self) {
        self.0.set(false);
    }
}

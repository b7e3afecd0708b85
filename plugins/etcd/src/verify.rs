//! Whether a stored snapshot is still what the cluster sent: [`verify`].
//!
//! Once from front to end: etcd's SHA-256 trailer, the meta pages, the tree, and the figures in the proof. Then in the order of the keys: `HashKV`,
//! compared with what the member itself said when the snapshot was taken.

use std::collections::HashMap;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::{Algorithm, Hasher},
    host::BEST_TRANSFER,
    progress, snapshot,
    types::Finding,
};

use crate::{
    backup::TRAILER,
    bolt::{Database, Meta, Scanner, Summary},
    facts,
    store::Store,
};

/// The facts of the snapshot's proof.
type Facts = HashMap<String, String>;

/// Reads all of it.
pub(crate) fn verify() -> Result<Vec<Finding>> {
    let facts: Facts = snapshot::info().facts.into_iter().map(|fact| (fact.name, fact.value)).collect();
    let mut findings = Vec::new();
    // Damage is what a verification is there to find; anything else keeps it from being made.
    let looked = whole(&facts, &mut findings).and_then(|()| agreed(&facts, &mut findings));
    if let Err(error) = looked {
        if error.kind != ErrorKind::Corrupt {
            return Err(error);
        }
        findings.push(Finding::error("snapshot-damaged", error.to_string()).with_hint("restore from another snapshot"));
    }
    Ok(findings)
}

/// The trailer, the tree and the figures.
fn whole(facts: &Facts, findings: &mut Vec<Finding>) -> Result<()> {
    let mut entry = snapshot::open(facts::SNAPSHOT)?;
    let size = entry.size();
    let content = size.checked_sub(TRAILER as u64).filter(|content| content % 512 == 0);
    let content = content.ok_or_else(|| corrupt(format!("{} has {size} bytes, which no snapshot has", facts::SNAPSHOT)))?;
    let (mut hasher, mut scanner) = (Hasher::new(Algorithm::Sha256), Scanner::expecting(content));
    let (mut passed, mut trailer) = (0_u64, Vec::new());
    while let Some(part) = entry.read_bytes(BEST_TRANSFER)? {
        let left = usize::try_from(content - passed).unwrap_or(usize::MAX);
        let (part, rest) = part.split_at(part.len().min(left));
        trailer.extend_from_slice(rest);
        hasher.update(part);
        scanner.feed(part)?;
        passed += part.len() as u64;
        progress::report("verifying", passed, Some(size));
    }
    let sha256 = hasher.finish();
    if sha256 != trailer {
        return Err(corrupt(format!("{} does not have the SHA-256 at its end", facts::SNAPSHOT)));
    }
    if facts.get(facts::SHA256).is_some_and(|stated| *stated != hex::encode(&sha256)) {
        return Err(corrupt(format!("{} is not the one that the proof is about", facts::SNAPSHOT)));
    }
    match scanner.finish()? {
        (meta, Ok(summary)) => findings.push(compare(facts, meta, summary)),
        (meta, Err(_)) => findings.push(walked(facts, meta)?),
    }
    Ok(())
}

/// The figures of a store that is larger than what is remembered of one as it passes: its tree is walked from the root, page by page.
fn walked(facts: &Facts, meta: Meta) -> Result<Finding> {
    progress::report("walking the tree", 0, None);
    match Database::open(snapshot::open(facts::SNAPSHOT)?).and_then(|mut database| database.summarize()) {
        Err(error) if error.kind == ErrorKind::Limit => {
            let message = format!("the tree of pages was not walked to its end: {error}");
            let finding = Finding::warning("tree-not-walked", message);
            Ok(finding.with_hint("`dump` the snapshot, and let `etcdutl snapshot status` read it"))
        }
        summary => Ok(compare(facts, meta, summary?)),
    }
}

/// The figures against the proof's.
fn compare(facts: &Facts, meta: Meta, summary: Summary) -> Finding {
    let figures = [
        (facts::HASH, format!("{:08x}", summary.hash)),
        (facts::REVISION, summary.revision.to_string()),
        (facts::TOTAL_KEYS, summary.keys.to_string()),
        (facts::TOTAL_SIZE, summary.size.to_string()),
    ];
    let differs = |(name, found): &&(&str, String)| facts.get(*name).is_some_and(|stated| stated != found);
    match figures.iter().find(differs) {
        Some((name, found)) => {
            let stated = facts.get(*name).map_or("nothing", String::as_str);
            let message = format!("the proof says {name} {stated}, the stored snapshot has {found}");
            Finding::error("proof-differs", message).with_hint("restore from another snapshot")
        }
        None => {
            let Summary {
                hash,
                revision,
                keys,
                size,
            } = summary;
            let message = format!(
                "the SHA-256 trailer, the meta pages (transaction {}) and the tree hold: hash {hash:08x}, revision {revision}, {keys} keys, {size} bytes",
                meta.transaction
            );
            Finding::info("snapshot-verified", message)
        }
    }
}

/// The content against what the member said.
fn agreed(facts: &Facts, findings: &mut Vec<Finding>) -> Result<()> {
    let number = |name: &str| facts.get(name).and_then(|value| value.parse::<i64>().ok());
    let stated = (
        number(facts::HASH_KV),
        number(facts::HASH_KV_REVISION),
        number(facts::HASH_KV_COMPACTED),
    );
    let (Some(stated), Some(at), Some(compacted)) = stated else {
        let message = "the member told no hash of its content when the snapshot was taken: there is none to compare with";
        findings.push(Finding::info("no-hash", message));
        return Ok(());
    };
    progress::report("hashing the keys", 0, None);
    let found = match Store::of_snapshot().and_then(|mut store| store.hash(at, compacted)) {
        Err(error) if error.kind == ErrorKind::Limit => {
            findings.push(Finding::info("hash-not-compared", error.to_string()));
            return Ok(());
        }
        found => found?,
    };
    findings.push(if i64::from(found) == stated {
        let witness = facts.get(facts::HASH_KV_WITNESS);
        let witness = witness.map_or_else(String::new, |address| format!(", and with it the one at {address}"));
        let message = format!("the keys up to revision {at} have the hash that the member told{witness} (HashKV {found})");
        Finding::info("hash-agrees", message)
    } else {
        let message = format!("the keys up to revision {at} hash to {found}, where the member said {stated} (HashKV)");
        Finding::error("hash-differs", message).with_hint(
            "the member read one thing for the snapshot and another for the hash, so its disk or memory is not to be trusted: compare members with \
             `etcdctl endpoint hashkv --cluster`, and back up another one",
        )
    });
    Ok(())
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

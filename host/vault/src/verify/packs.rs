//! Packs: there, of the right size and, where asked, right in every byte.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::{
    access, blob,
    crew::Tools,
    error::VerifyError,
    format::{
        index_file::{IndexBlob, IndexPack},
        pack::{self, LENGTH_FIELD},
    },
    id::ObjectId,
    index::{BlobKind, Location},
    vault::{Core, Vault},
    verify::{
        VerifyPhase, VerifyProgress, damage,
        report::{Findings, WholeIndex},
    },
};

/// Compares what the store lists with what the index names.
pub(super) async fn check_listing(core: &Arc<Core>, index: &mut WholeIndex, findings: &mut Findings) -> Result<(), VerifyError> {
    let listed = access::list(&*core.store, "data/").await?;
    let mut sizes: HashMap<ObjectId, u64> = listed
        .iter()
        .filter_map(|object| Some((access::id_of(&object.key)?, object.size)))
        .collect();
    for (id, blobs) in &index.packs {
        let expected = expected_size(blobs);
        let wrong = match sizes.remove(id) {
            Some(size) if size == expected => continue,
            Some(size) => format!("it has {size} bytes instead of {expected}"),
            None => "it is missing from the store".to_owned(),
        };
        if let Some(number) = findings.add(access::pack_key(id), wrong, consequence(blobs)) {
            findings.packs.insert(*id, number);
        }
    }
    for pack in std::mem::take(&mut index.doomed) {
        if sizes.remove(&pack.id).is_some_and(|size| size == expected_size(&pack.blobs)) {
            add_doomed(index, pack);
        }
    }
    findings.unreferenced.extend(sizes.into_keys());
    Ok(())
}

/// A pack that is marked for deletion, and still there, is as good as any other until it goes. One that was in no index has nothing that is needed.
fn add_doomed(index: &mut WholeIndex, pack: IndexPack) {
    index.index.add_doomed(&pack);
    let mut blobs = pack.blobs;
    blobs.sort_unstable_by_key(|blob| blob.offset);
    index.packs.insert(pack.id, blobs);
}

/// Bytes of a pack with these blobs.
pub(super) fn expected_size(blobs: &[IndexBlob]) -> u64 {
    blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>() + pack::header_size(blobs) as u64
}

fn consequence(blobs: &[IndexBlob]) -> &'static str {
    if blobs.iter().any(|blob| blob.kind == BlobKind::Tree) {
        "folders in it, and all below them, cannot be restored"
    } else {
        "files whose content is in it cannot be restored whole"
    }
}

/// Reads those of the packs `chosen` that are there, several at a time within the reader's memory.
pub(super) async fn check_content(
    vault: &Vault,
    index: &WholeIndex,
    chosen: &[ObjectId],
    progress: &Arc<dyn VerifyProgress>,
    findings: &mut Findings,
) -> Result<(), VerifyError> {
    let there = chosen.iter().filter(|id| !findings.packs.contains_key(id));
    let packs: Vec<_> = there.filter_map(|id| index.packs.get_key_value(id)).collect();
    findings.packs_read = packs.len() as u64;
    let total = packs.iter().map(|(_, blobs)| expected_size(blobs)).sum();
    let largest = packs.iter().map(|(_, blobs)| expected_size(blobs)).max().unwrap_or(1).max(1);
    // Two at least, whatever they take: one is read while the other is checked.
    let memory = usize::try_from(vault.options.read_ahead as u64 / largest).unwrap_or(2).max(2);
    let at_once = memory.min(vault.core.concurrency());
    let mut results = stream::iter(packs)
        .map(|(id, blobs)| check_pack(&vault.core, *id, blobs))
        .buffer_unordered(at_once);
    while let Some(result) = results.next().await {
        let (id, size, damaged) = result?;
        findings.bytes_read += size;
        progress.report(VerifyPhase::Packs, findings.bytes_read, total);
        let Some(damaged) = damaged else { continue };
        let blobs = index.packs.get(&id).map_or(&[][..], Vec::as_slice);
        let what = match damaged.blobs.len() {
            0 => consequence(blobs),
            _ if blobs.len() == damaged.blobs.len() => consequence(blobs),
            _ => "some of what is in it cannot be restored",
        };
        let what = if damaged.header_only {
            "its content is intact; only its table of contents, which is in the index as well, is lost"
        } else {
            what
        };
        let Some(number) = findings.add(access::pack_key(&id), damaged.reason, what) else {
            continue;
        };
        findings.blobs.extend(damaged.blobs.into_iter().map(|blob| (blob, number)));
    }
    Ok(())
}

/// What is wrong with a pack.
struct Damaged {
    reason: String,
    blobs: Vec<(BlobKind, ObjectId)>,
    header_only: bool,
}

async fn check_pack(core: &Arc<Core>, id: ObjectId, blobs: &[IndexBlob]) -> Result<(ObjectId, u64, Option<Damaged>), VerifyError> {
    let all = || blobs.iter().map(|blob| (blob.kind, blob.id)).collect();
    let content = match access::get(&*core.store, &access::pack_key(&id), None).await {
        Ok(content) => content,
        Err(error) => {
            return Ok((
                id,
                0,
                Some(Damaged {
                    reason: damage(error)?,
                    blobs: all(),
                    header_only: false,
                }),
            ));
        }
    };
    let size = content.len() as u64;
    let (owned, blobs) = (Arc::clone(core), blobs.to_vec());
    let examined = core.crew.run(move |tools| examine(&owned, id, &blobs, &content, tools)).await;
    Ok((id, size, examined.map_err(VerifyError::Internal)?))
}

/// Checks every blob even when the hash is right: it says that the pack is what was written, not that what was written was right.
fn examine(core: &Core, id: ObjectId, blobs: &[IndexBlob], content: &Bytes, tools: &mut Tools) -> Option<Damaged> {
    let intact = ObjectId::of(content) == id;
    let mut reason = None;
    let mut damaged = Vec::new();
    for entry in blobs {
        let range = entry.offset as usize..entry.offset as usize + entry.length as usize;
        let location = Location {
            pack: id,
            offset: entry.offset,
            length: entry.length,
            uncompressed: entry.uncompressed_length,
        };
        let stored = content.get(range).map(<[u8]>::to_vec).ok_or_else(|| "it ends before it".to_owned());
        if let Err(wrong) = stored.and_then(|mut stored| blob::open(&core.key, &entry.id, &location, &mut stored, tools)) {
            reason.get_or_insert_with(|| format!("blob {}: {wrong}", entry.id));
            damaged.push((entry.kind, entry.id));
        }
    }
    let header = check_header(core, blobs, content).err();
    let header_only = damaged.is_empty();
    let reason = match (reason, header) {
        (Some(reason), _) => format!("{reason} ({} of {} blobs are damaged)", damaged.len(), blobs.len()),
        (None, Some(reason)) => reason,
        (None, None) if intact => return None,
        (None, None) => "its content does not match its name".to_owned(),
    };
    Some(Damaged {
        reason,
        blobs: damaged,
        header_only,
    })
}

/// The header must say what the index says.
fn check_header(core: &Core, blobs: &[IndexBlob], content: &Bytes) -> Result<(), String> {
    let cut = || "it is too short for its header".to_owned();
    let (rest, length) = content.split_last_chunk::<LENGTH_FIELD>().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    let mut header = rest
        .get(rest.len().checked_sub(length).ok_or_else(cut)?..)
        .ok_or_else(cut)?
        .to_vec();
    let records = core
        .key
        .open(&mut header)
        .map_err(|error| format!("its header is damaged: {error}"))?;
    if pack::decode_records(records)? == blobs {
        Ok(())
    } else {
        Err("its header contradicts the index".to_owned())
    }
}

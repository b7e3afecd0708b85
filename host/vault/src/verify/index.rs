//! Index files: readable, and of one mind.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt, stream};

use crate::{
    access,
    crew::Tools,
    error::VerifyError,
    format::{document, index_file::IndexFile},
    id::ObjectId,
    index::Index,
    vault::Core,
    verify::{
        VerifyPhase, VerifyProgress, damage,
        report::{Findings, WholeIndex},
    },
};

/// What a lost index file means.
const CONSEQUENCE: &str = "what only this file names cannot be found until the index is rebuilt (`bulkhead repair index`)";

/// Reads all index files; what one of them says is lost goes into the findings.
pub(super) async fn read(core: &Arc<Core>, progress: &dyn VerifyProgress, findings: &mut Findings) -> Result<WholeIndex, VerifyError> {
    let names = access::list_ids(&*core.store, "index/").await?;
    let total = names.len() as u64;
    let mut whole = WholeIndex {
        index: Index::default(),
        packs: BTreeMap::new(),
        doomed: Vec::new(),
    };
    let mut files = stream::iter(names)
        .map(|name| read_file(core, name))
        .buffer_unordered(core.concurrency());
    let mut done = 0;
    while let Some(read) = files.next().await {
        match read? {
            (name, Ok(file)) => add(&mut whole, name, file, findings),
            (name, Err(reason)) => {
                findings.add(format!("index/{name}"), reason, CONSEQUENCE);
            }
        }
        done += 1;
        progress.report(VerifyPhase::Index, done, total);
    }
    Ok(whole)
}

async fn read_file(core: &Arc<Core>, name: ObjectId) -> Result<(ObjectId, Result<IndexFile, String>), VerifyError> {
    let content = match access::get(&*core.store, &format!("index/{name}"), None).await {
        Ok(content) => content,
        Err(error) => return Ok((name, Err(damage(error)?))),
    };
    let owned = Arc::clone(core);
    let decode = move |_: &mut Tools| {
        if ObjectId::of(&content) != name {
            return Err("its content does not match its name".to_owned());
        }
        document::decode(&owned.key, content.to_vec())
    };
    let decoded = core.crew.run(decode).await.map_err(VerifyError::Internal)?;
    Ok((name, decoded))
}

fn add(whole: &mut WholeIndex, name: ObjectId, mut file: IndexFile, findings: &mut Findings) {
    whole.doomed.append(&mut file.packs_to_delete);
    whole.index.add(name, &file);
    for pack in file.packs {
        let mut blobs = pack.blobs;
        blobs.sort_unstable_by_key(|blob| blob.offset);
        match whole.packs.get(&pack.id) {
            Some(known) if *known != blobs => {
                findings.add(
                    format!("index/{name}"),
                    format!("it contradicts another about pack {}", pack.id),
                    CONSEQUENCE,
                );
            }
            Some(_) => {}
            None => {
                whole.packs.insert(pack.id, blobs);
            }
        }
    }
}

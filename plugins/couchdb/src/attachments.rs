//! Attachments, streamed one by one and compared with their digests: [`store`].

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    entries::{self, EntryWriter, Finished},
    host::BEST_TRANSFER,
    http::Response,
    metadata::Metadata,
};

use crate::{
    document::Stub,
    names::{component, document_url, hex, url},
    server::Server,
};

/// What follows the name of an attachment that is kept compressed.
pub(crate) const COMPRESSED: &str = ".gz";

/// The name of its entry, without [`COMPRESSED`]: one digest is one entry, whatever names it has in however many leaf revisions.
pub(crate) fn entry_name(stub: &Stub) -> String {
    match stub.md5() {
        Some(md5) => format!("md5-{}", hex(&md5)),
        None => component(&stub.digest),
    }
}

/// Which attachment it is.
pub(crate) struct Wanted<'a> {
    pub(crate) database: &'a str,
    pub(crate) id: &'a str,
    pub(crate) rev: &'a str,
    pub(crate) name: &'a str,
    pub(crate) stub: &'a Stub,
}

/// Asks for it; the name that its entry has to have.
pub(crate) fn open(server: &Server, wanted: &Wanted<'_>) -> Result<(Response, String)> {
    let Wanted {
        database,
        id,
        rev,
        name,
        stub,
    } = wanted;
    let response = server.get_as_kept(&format!("/{}/{}/{}?rev={}", url(database), document_url(id), url(name), url(rev)))?;
    let is_compressed = response
        .header("content-encoding")
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
    let suffix = if is_compressed { COMPRESSED } else { "" };
    Ok((response, format!("{}{suffix}", entry_name(stub))))
}

/// Stores it at `path`. What does not match its digest, or its length, is an error.
pub(crate) fn store(mut response: Response, path: &str, wanted: &Wanted<'_>) -> Result<Finished> {
    let mut writer: EntryWriter = entries::create_with_digest(path, &Metadata::file(), Algorithm::Md5)?;
    while let Some(part) = response.read_bytes(BEST_TRANSFER)? {
        writer.write_bytes(&part)?;
    }
    let finished = writer.finish()?;
    let Wanted { id, name, stub, .. } = wanted;
    let is_as_it_was = !path.ends_with(COMPRESSED);
    if is_as_it_was && finished.size != stub.length {
        return Err(Error::new(
            ErrorKind::ConnectionLost,
            format!(
                "the attachment `{name}` of `{id}` came with {} bytes instead of {}",
                finished.size, stub.length
            ),
        ));
    }
    match (stub.md5(), &finished.digest) {
        (Some(expected), Some(found)) if expected != *found => Err(Error::new(
            ErrorKind::SourceDamaged,
            format!("the attachment `{name}` of `{id}` does not match its digest {}", stub.digest),
        )
        .with_hint("is there a proxy that compresses or unpacks what passes? If not, the server's file is damaged: replicate the document from a sound copy")),
        _ => Ok(finished),
    }
}

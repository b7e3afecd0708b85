//! A leaf revision as the server sends it: [`Revision`]. Only what is needed is read out of it; the document itself stays the bytes that came.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use bulkhead_sdk::{Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The members that CouchDB gives a meaning.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "_rev", borrow)]
    rev: Cow<'a, str>,
    #[serde(rename = "_deleted", default)]
    deleted: bool,
    #[serde(rename = "_revisions", borrow)]
    revisions: Option<&'a RawValue>,
    #[serde(rename = "_attachments", borrow)]
    attachments: Option<&'a RawValue>,
}

/// A leaf revision.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) id: String,
    pub(crate) rev: String,
    pub(crate) is_deleted: bool,
    /// By name.
    pub(crate) attachments: BTreeMap<String, Stub>,
    /// Where the value of `_attachments` is in the document.
    pub(crate) place: Option<Range<usize>>,
}

/// What a document says about an attachment.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stub {
    #[serde(default = "unknown_type")]
    pub(crate) content_type: String,
    pub(crate) digest: String,
    /// Bytes when it is not compressed.
    pub(crate) length: u64,
    pub(crate) revpos: Option<u64>,
}

fn unknown_type() -> String {
    "application/octet-stream".to_owned()
}

impl Revision {
    /// Reads it out of a document.
    pub(crate) fn read(document: &[u8]) -> Result<Self> {
        let wrong = |error: serde_json::Error| Error::protocol("a document is not what CouchDB makes of one").with_cause(error);
        let members: Members<'_> = serde_json::from_slice(document).map_err(wrong)?;
        if members.revisions.is_none() {
            return Err(Error::protocol(format!(
                "the document `{}` came without the history of its revision",
                members.id
            )));
        }
        let attachments = members.attachments.map(|raw| serde_json::from_str(raw.get()));
        Ok(Self {
            attachments: attachments
                .transpose()
                .map_err(|error| wrong(error).context(format!("the attachments of `{}` cannot be read", members.id)))?
                .unwrap_or_default(),
            place: members.attachments.map(|raw| place(document, raw.get())),
            is_deleted: members.deleted,
            id: members.id.into_owned(),
            rev: members.rev.into_owned(),
        })
    }
}

/// Where `part` is in `whole`, whose slice it is.
fn place(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

impl Stub {
    /// The MD5 that the server computed of what it keeps, in hexadecimal digits, where it is one.
    pub(crate) fn md5(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        let encoded = self.digest.strip_prefix("md5-")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        (bytes.len() == 16).then_some(bytes)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"_id":"a","_rev":"1-x","deep":[[{}]],"_revisions":{"start":1,"ids":["x"]},"_attachments":{"n":{"content_type":"text/plain","revpos":1,"digest":"md5-QppjWcctmGVHMdc5zw7lBQ==","length":1200,"stub":true}}}"#;

    #[test]
    fn what_is_needed_is_read_and_the_place_of_attachments_is_known() {
        let revision = Revision::read(DOCUMENT.as_bytes()).unwrap();
        assert_eq!((&revision.id[..], &revision.rev[..], revision.is_deleted), ("a", "1-x", false));
        assert!(DOCUMENT[revision.place.unwrap()].starts_with(r#"{"n":"#));
        assert_eq!(
            crate::names::hex(&revision.attachments["n"].md5().unwrap()),
            "429a6359c72d98654731d739cf0ee505"
        );
    }

    #[test]
    fn a_document_that_is_none_is_an_error() {
        for wrong in [
            "{}",
            r#"{"_id":"a","_rev":"1-x"}"#,
            "[]",
            &DOCUMENT.replace(r#""length""#, r#""size""#),
        ] {
            assert!(Revision::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let deep = DOCUMENT.replace("[[{}]]", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
        assert!(Revision::read(deep.as_bytes()).is_ok(), "depth is the document's own affair");
    }
}

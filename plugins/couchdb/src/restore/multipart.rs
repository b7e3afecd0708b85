//! A revision with its attachments, as `multipart/related` ([`put`]), or for servers that do not take that, within the document ([`inline`]).

use std::fmt::Write as _;

use base64::Engine as _;
use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, snapshot};
use serde_json::{Map, Value, json};

use crate::{
    attachments::{self, COMPRESSED},
    document::{Revision, Stub},
    names::{self, document_url, url},
    server::{Begun, Server},
};

/// What is between the parts: nothing that an attachment could have by accident.
const BOUNDARY: &str = "bulkhead-5f0c2e6b9a7d41c8a3e4";
/// Bytes of attachments that may be in a document itself.
const INLINE: u64 = 16 << 20;

/// The attachments of a revision, in the order of their names.
pub(super) struct Attachments(Vec<Attachment>);

struct Attachment {
    name: String,
    stub: Stub,
    path: String,
    size: u64,
}

impl Attachments {
    /// Finds them in the snapshot.
    pub(super) fn open(folder: &str, levels: u8, leaf: &Revision) -> Result<Self> {
        let folder = names::attachments(folder, &leaf.id, levels);
        let find = |(name, stub): (&String, &Stub)| {
            let mut path = format!("{folder}/{}", attachments::entry_name(stub));
            let entry = match snapshot::stat(&path) {
                Err(error) if error.kind == ErrorKind::NotFound => {
                    path.push_str(COMPRESSED);
                    snapshot::stat(&path)?
                }
                entry => entry?,
            };
            Ok(Attachment {
                name: name.clone(),
                stub: stub.clone(),
                path,
                size: entry.size,
            })
        };
        leaf.attachments.iter().map(find).collect::<Result<_>>().map(Self)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|attachment| attachment.size).sum()
    }

    /// The document as one that they follow.
    pub(super) fn following(&self, leaf: &Revision, document: &[u8]) -> Result<Vec<u8>> {
        self.document(leaf, document, |attachment| Ok(attachment.follows()))
    }

    /// The document with `describe` in the place of each stub.
    fn document(&self, leaf: &Revision, document: &[u8], describe: impl Fn(&Attachment) -> Result<Value>) -> Result<Vec<u8>> {
        let described = self.0.iter().map(|attachment| Ok((attachment.name.clone(), describe(attachment)?)));
        let described = Value::Object(described.collect::<Result<Map<_, _>>>()?).to_string();
        let place = leaf.place.clone().unwrap_or_default();
        Ok([&document[..place.start], described.as_bytes(), &document[place.end..]].concat())
    }
}

impl Attachment {
    fn is_compressed(&self) -> bool {
        self.path.ends_with(COMPRESSED)
    }

    /// As CouchDB wants to be told of one that follows.
    fn follows(&self) -> Value {
        let mut described = json!({
            "follows": true,
            "content_type": self.stub.content_type,
            "length": self.stub.length,
            "digest": self.stub.digest,
        });
        if let Some(revpos) = self.stub.revpos {
            described["revpos"] = revpos.into();
        }
        if self.is_compressed() {
            described["encoding"] = "gzip".into();
            described["encoded_length"] = self.size.into();
        }
        described
    }

    /// What goes before its bytes.
    fn head(&self) -> String {
        let quoted: String = self
            .name
            .chars()
            .map(|letter| {
                if letter.is_control() || letter == '"' || letter == '\\' {
                    '_'
                } else {
                    letter
                }
            })
            .collect();
        let mut head = format!("\r\n--{BOUNDARY}\r\nContent-Disposition: attachment; filename=\"{quoted}\"\r\n");
        let media_type: String = self.stub.content_type.chars().filter(|letter| !letter.is_control()).collect();
        let _ = write!(head, "Content-Type: {media_type}\r\nContent-Length: {}\r\n", self.size);
        if self.is_compressed() {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// Sends a revision that its attachments follow, streamed out of the snapshot.
pub(super) fn put(server: &Server, database: &str, id: &str, document: Vec<u8>, attachments: Attachments) -> Begun {
    let head = format!("--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n");
    let heads: Vec<String> = attachments.0.iter().map(Attachment::head).collect();
    let end = format!("\r\n--{BOUNDARY}--");
    let framing = head.len() + document.len() + heads.iter().map(String::len).sum::<usize>() + end.len();
    let length = framing as u64 + attachments.bytes();
    let path = format!("/{}/{}?new_edits=false", url(database), document_url(id));
    server.begin(move |server| {
        let request = server
            .request("PUT", &path)?
            .header("content-type", format!("multipart/related; boundary=\"{BOUNDARY}\""));
        let mut exchange = request.begin(Some(length))?;
        exchange.write_bytes(head.as_bytes())?;
        exchange.write_bytes(&document)?;
        for (attachment, head) in attachments.0.iter().zip(&heads) {
            exchange.write_bytes(head.as_bytes())?;
            let mut reader = snapshot::open(&attachment.path)?;
            while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
                exchange.write_bytes(&part)?;
            }
        }
        exchange.write_bytes(end.as_bytes())?;
        Ok(exchange)
    })
}

/// A revision that has its attachments in itself, for servers that take them in no other way.
pub(super) fn inline(leaf: &Revision, document: &[u8], attachments: &Attachments) -> Result<Vec<u8>> {
    if attachments.bytes() > INLINE {
        let message = format!(
            "the attachments of `{}` have {} bytes, and this server takes them only within the document, which has to fit into memory",
            leaf.id,
            attachments.bytes()
        );
        return Err(Error::unsupported(message).with_hint("restore into CouchDB, which takes them of any size"));
    }
    attachments.document(leaf, document, |attachment| {
        if attachment.is_compressed() {
            let message = format!(
                "the attachment `{}` of `{}` is stored compressed, as CouchDB keeps it, which this server does not take",
                attachment.name, leaf.id
            );
            return Err(Error::unsupported(message).with_hint("restore into CouchDB"));
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut snapshot::open(&attachment.path)?, &mut bytes)?;
        let mut described = json!({
            "content_type": attachment.stub.content_type,
            "data": base64::engine::general_purpose::STANDARD.encode(bytes),
        });
        if let Some(revpos) = attachment.stub.revpos {
            described["revpos"] = revpos.into();
        }
        Ok(described)
    })
}

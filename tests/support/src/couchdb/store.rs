//! What the imitation keeps: [`Server`], [`Database`], and documents as trees of revisions, which merge as CouchDB's do.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use super::attachment::Attachment;

/// All databases.
#[derive(Debug, Default)]
pub struct Server {
    pub(super) databases: BTreeMap<String, Database>,
    /// How many were ever made: no two are made at one time.
    pub(super) made: u64,
}

/// A database.
#[derive(Debug)]
pub struct Database {
    pub(super) made: u64,
    pub(super) changes: u64,
    pub(super) purges: u64,
    pub(super) documents: BTreeMap<String, Document>,
    /// Which document changed last with which change.
    pub(super) feed: BTreeMap<u64, String>,
    /// The page of the feed that was sent last: what follows it need not be counted again.
    pub(super) page: Option<Page>,
    pub(super) local: BTreeMap<String, Value>,
    pub(super) security: Value,
    pub(super) revs_limit: u64,
    pub(super) purged_infos_limit: u64,
    pub(super) props: Value,
    pub(super) shards: u64,
}

/// A page of the feed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) last: u64,
    /// Of the database, when it was sent.
    pub(super) changes: u64,
    /// How many documents came after it.
    pub(super) pending: usize,
}

/// A document.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    /// When it changed last.
    pub(super) seq: u64,
    revisions: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    parent: Option<String>,
    body: Option<Body>,
}

/// A revision.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    pub(super) is_deleted: bool,
    /// Without the members that begin with `_`.
    pub(super) members: Map<String, Value>,
    pub(super) attachments: BTreeMap<String, Attachment>,
}

/// The number in front of a revision.
pub(super) fn generation(rev: &str) -> u64 {
    rev.split('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

impl Document {
    fn is_leaf(&self, rev: &str) -> bool {
        !self.revisions.values().any(|node| node.parent.as_deref() == Some(rev))
    }

    /// Leaf revisions, the winner first: what is not deleted, then the longer history, then the greater name.
    pub(super) fn leaves(&self) -> Vec<(&str, &Body)> {
        let body = |(rev, node): (&'_ String, &'_ Node)| node.body.is_some() && self.is_leaf(rev);
        let mut leaves: Vec<(&str, &Body)> = self
            .revisions
            .iter()
            .filter(|(rev, node)| body((rev, node)))
            .filter_map(|(rev, node)| Some((&rev[..], node.body.as_ref()?)))
            .collect();
        leaves.sort_by_key(|(rev, body)| (body.is_deleted, std::cmp::Reverse((generation(rev), (*rev).to_owned()))));
        leaves
    }

    /// Whether the winner is deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.leaves().first().is_none_or(|(_, body)| body.is_deleted)
    }

    /// A revision whose body has not been compacted away.
    pub(super) fn body(&self, rev: &str) -> Option<&Body> {
        self.revisions.get(rev)?.body.as_ref()
    }

    pub(super) fn knows(&self, rev: &str) -> bool {
        self.revisions.contains_key(rev)
    }

    /// A revision's name and those of its ancestors, as `_revisions` has them.
    pub(super) fn history(&self, rev: &str) -> Value {
        let names = std::iter::successors(Some(rev), |rev| self.revisions.get(*rev)?.parent.as_deref());
        let ids: Vec<&str> = names.filter_map(|rev| rev.split_once('-').map(|(_, id)| id)).collect();
        json!({ "start": generation(rev), "ids": ids })
    }

    /// Merges a revision with its history, newest first.
    pub(super) fn merge(&mut self, history: &[String], body: Body) {
        for pair in history.windows(2) {
            self.revisions.entry(pair[0].clone()).or_default().parent = Some(pair[1].clone());
        }
        for rev in history {
            self.revisions.entry(rev.clone()).or_default();
        }
        if let Some(node) = history.first().and_then(|rev| self.revisions.get_mut(rev)) {
            node.body.get_or_insert(body);
        }
    }

    fn compact(&mut self) {
        let leaves: Vec<String> = self.leaves().into_iter().map(|(rev, _)| rev.to_owned()).collect();
        for (rev, node) in &mut self.revisions {
            if !leaves.contains(rev) {
                node.body = None;
            }
        }
    }
}

impl Server {
    /// Makes a database; `None` where it is there.
    pub(super) fn create(&mut self, name: &str, shards: u64, props: Value) -> Option<&mut Database> {
        if self.databases.contains_key(name) {
            return None;
        }
        self.made += 1;
        let database = Database {
            made: 1_795_252_566 + self.made,
            changes: 0,
            purges: 0,
            documents: BTreeMap::new(),
            feed: BTreeMap::new(),
            page: None,
            local: BTreeMap::new(),
            security: json!({ "admins": { "names": [], "roles": ["_admin"] }, "members": { "names": [], "roles": ["_admin"] } }),
            revs_limit: 1000,
            purged_infos_limit: 1000,
            props,
            shards,
        };
        Some(self.databases.entry(name.to_owned()).or_insert(database))
    }

    /// A database, made if it is not there.
    pub fn database(&mut self, name: &str) -> &mut Database {
        self.create(name, 2, json!({}));
        // Made a line above.
        self.databases.entry(name.to_owned()).or_insert_with(|| unreachable!())
    }

    /// Removes a database.
    pub fn delete(&mut self, name: &str) {
        self.databases.remove(name);
    }
}

impl Database {
    pub(super) fn document(&mut self, id: &str) -> &mut Document {
        self.changes += 1;
        let seq = self.changes;
        let document = self.documents.entry(id.to_owned()).or_default();
        self.feed.remove(&document.seq);
        self.feed.insert(seq, id.to_owned());
        document.seq = seq;
        document
    }

    /// Edits a document: a new revision over the winner, whose name it returns.
    pub fn put(&mut self, id: &str, members: Value) -> String {
        self.edit(id, &members, false, |_| {})
    }

    /// Deletes a document.
    pub fn tombstone(&mut self, id: &str) -> String {
        self.edit(id, &json!({}), true, |_| {})
    }

    /// Edits a document's attachments: `None` removes one. Others stay.
    pub fn attach(&mut self, id: &str, name: &str, content: Option<(&str, &[u8])>) -> String {
        let members = self
            .documents
            .get(id)
            .and_then(|document| document.leaves().first().map(|(_, body)| body.members.clone()));
        self.edit(id, &Value::Object(members.unwrap_or_default()), false, |body| match content {
            Some((content_type, bytes)) => _ = body.attachments.insert(name.to_owned(), Attachment::new(content_type, bytes, 1)),
            None => _ = body.attachments.remove(name),
        })
    }

    fn edit(&mut self, id: &str, members: &Value, is_deleted: bool, change: impl FnOnce(&mut Body)) -> String {
        let document = self.document(id);
        let winner = document.leaves().first().map(|(rev, body)| ((*rev).to_owned(), (*body).clone()));
        let mut body = Body {
            is_deleted,
            members: members.as_object().cloned().unwrap_or_default(),
            attachments: BTreeMap::new(),
        };
        if let (Some((_, old)), false) = (&winner, is_deleted) {
            body.attachments.clone_from(&old.attachments);
        }
        change(&mut body);
        let parent = winner.map(|(rev, _)| rev);
        let number = parent.as_deref().map_or(1, |rev| generation(rev) + 1);
        let attachments: Vec<_> = body.attachments.iter().map(|(name, kept)| (name, kept.digest())).collect();
        let digest = Md5::digest(format!("{id}{number}{is_deleted}{members}{attachments:?}"));
        let rev = format!("{number}-{}", hex::encode(digest));
        let history: Vec<String> = std::iter::once(rev.clone()).chain(parent).collect();
        document.merge(&history, body);
        rev
    }

    /// Adds a branch: a leaf with this history, newest first.
    pub fn conflict(&mut self, id: &str, history: &[&str], members: Value) {
        let mut members = members.as_object().cloned().unwrap_or_default();
        let body = Body {
            is_deleted: members.remove("_deleted").is_some(),
            members,
            attachments: BTreeMap::new(),
        };
        let history: Vec<String> = history.iter().map(|rev| (*rev).to_owned()).collect();
        self.document(id).merge(&history, body);
    }

    /// Forgets what is no leaf.
    pub fn compact(&mut self) {
        self.documents.values_mut().for_each(Document::compact);
    }

    /// Removes a document without a trace.
    pub fn purge(&mut self, id: &str) {
        if let Some(document) = self.documents.remove(id) {
            self.feed.remove(&document.seq);
        }
        self.page = None;
        self.purges += 1;
    }

    /// Goes back to a smaller number of changes, as one that was restored from a copy of its files does.
    pub fn rewind(&mut self, changes: u64) {
        self.documents.retain(|_, document| document.seq <= changes);
        self.feed.retain(|seq, _| *seq <= changes);
        self.changes = changes;
        self.page = None;
    }

    /// Who may do what.
    pub fn secure(&mut self, security: Value) {
        self.security = security;
    }

    /// All local documents, by their ids.
    #[must_use]
    pub fn local_documents(&self) -> BTreeMap<String, Value> {
        self.local.clone()
    }

    /// Writes a local document.
    pub fn local(&mut self, name: &str, members: Value) {
        self.local.insert(format!("_local/{name}"), members);
    }

    /// Documents that are not deleted, and those that are.
    pub fn counts(&self) -> (usize, usize) {
        let deleted = self.documents.values().filter(|document| document.is_deleted()).count();
        (self.documents.len() - deleted, deleted)
    }

    /// Everything that a replication would carry over, as text: leaf revisions with histories, bodies and what is in attachments.
    pub fn content(&self) -> BTreeMap<String, Vec<String>> {
        let leaf = |document: &Document, rev: &str, body: &Body| {
            let attachments: BTreeMap<_, _> = body
                .attachments
                .iter()
                .map(|(name, attachment)| (name, (&attachment.content_type, attachment.plain(), attachment.digest())))
                .collect();
            format!(
                "{rev} {} {} {} {attachments:?}",
                body.is_deleted,
                document.history(rev),
                Value::Object(body.members.clone())
            )
        };
        let leaves = |document: &Document| document.leaves().into_iter().map(|(rev, body)| leaf(document, rev, body)).collect();
        self.documents.iter().map(|(id, document)| (id.clone(), leaves(document))).collect()
    }
}

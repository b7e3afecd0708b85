//! Vaults as an attacker makes them: [`Crafted`] writes trees that no backup tool would, into a repository that plain restic made.
//!
//! Everything is encrypted with the repository's own key and named by its own hash, so that only what a tree *says* is wrong.

use std::fs;
use std::path::Path;

use aes256ctr_poly1305aes::aead::AeadInPlace as _;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_test_support::Bulkhead;
use bulkhead_test_support::restic::Restic;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A repository with one snapshot of the pipeline `good`, made by hand.
pub(crate) struct Crafted {
    pub(crate) bulkhead: Bulkhead,
    key: Vec<u8>,
    pack: Vec<u8>,
    blobs: Vec<Value>,
}

impl Crafted {
    /// An empty repository.
    pub(crate) fn new() -> Self {
        let bulkhead = Bulkhead::new().unwrap();
        bulkhead.configure(super::restoring::GOOD).unwrap();
        let restic = Restic::new(bulkhead.vault(), bulkhead.vault_password_file()).unwrap();
        restic.run(["init"]).unwrap();
        let key: Value = serde_json::from_str(&restic.text(["cat", "masterkey"]).unwrap()).unwrap();
        let part = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        Self {
            bulkhead,
            key: [part(&key["encrypt"]), part(&key["mac"]["k"]), part(&key["mac"]["r"])].concat(),
            pack: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Adds content; its id.
    pub(crate) fn content(&mut self, content: &[u8]) -> String {
        self.blob("data", content, &sha256(content))
    }

    /// Adds a tree of these nodes; its id.
    pub(crate) fn tree(&mut self, nodes: &[Value]) -> String {
        let json = serde_json::to_vec(&json!({ "nodes": nodes })).unwrap();
        self.blob("tree", &json, &sha256(&json))
    }

    /// Adds a tree that says it is `id`, which it is not; the only way to make one that contains itself.
    pub(crate) fn false_tree(&mut self, nodes: &[Value], id: &str) {
        let json = serde_json::to_vec(&json!({ "nodes": nodes })).unwrap();
        self.blob("tree", &json, id);
    }

    fn blob(&mut self, kind: &str, content: &[u8], id: &str) -> String {
        let sealed = self.seal(content);
        self.blobs
            .push(json!({ "id": id, "type": kind, "offset": self.pack.len(), "length": sealed.len() }));
        self.pack.extend(sealed);
        id.to_owned()
    }

    /// Makes a snapshot with this root.
    pub(crate) fn snapshot(&mut self, tree: &str) {
        let pack = sha256(&self.pack);
        let vault = self.bulkhead.vault();
        let folder = vault.join("data").join(&pack[..2]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(&pack), &self.pack).unwrap();
        let index = json!({ "packs": [{ "id": pack, "blobs": self.blobs }] });
        self.file(&vault.join("index"), &index);
        let snapshot = json!({
            "time": "2026-11-21T00:00:00Z", "tree": tree, "paths": ["/good"], "hostname": "elsewhere", "tags": ["bulkhead", "pipeline:good"],
        });
        self.file(&vault.join("snapshots"), &snapshot);
    }

    fn file(&self, folder: &Path, content: &Value) {
        let sealed = self.seal(&serde_json::to_vec(content).unwrap());
        fs::write(folder.join(sha256(&sealed)), sealed).unwrap();
    }

    fn seal(&self, content: &[u8]) -> Vec<u8> {
        // A nonce must never come twice; these contents don't.
        let nonce = &Sha256::digest(content)[..16];
        let mut sealed = content.to_vec();
        let cipher = Aes256CtrPoly1305Aes::new(Key::from_slice(&self.key));
        let tag = cipher
            .encrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut sealed)
            .unwrap();
        [nonce, &sealed, &tag].concat()
    }
}

/// A node of this type.
pub(crate) fn node(name: &str, kind: &str, more: Value) -> Value {
    let mut node = json!({ "name": name, "type": kind, "mode": 0o644, "mtime": "2020-01-01T00:00:00Z", "uid": 0, "gid": 0 });
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

//! Nodes of trees, in the JSON that restic writes: same fields, same order, same escapes, so that equal folders are equal blobs whoever wrote them.

use base64::{Engine, engine::general_purpose::STANDARD};
use bulkhead_model::{EntryMetadata, ExtendedAttribute, NodeType, Timestamp};
use serde::Deserialize;

use crate::{
    format::{quote, time},
    id::ObjectId,
};

/// Bits of Go's `fs.FileMode`.
mod mode {
    pub(super) const DIRECTORY: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const FIFO: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SET_UID: u32 = 1 << 23;
    pub(super) const SET_GID: u32 = 1 << 22;
    pub(super) const CHARACTER_DEVICE: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name in the folder.
    pub(crate) name: Box<[u8]>,
    /// What it is. Times are always there.
    pub(crate) metadata: EntryMetadata,
    /// Bytes, of a file.
    pub(crate) size: u64,
    /// Its content, of a file.
    pub(crate) content: Box<[ObjectId]>,
    /// Its tree, of a folder.
    pub(crate) subtree: Option<ObjectId>,
}

/// A tree as it is parsed.
#[derive(Deserialize)]
struct TreeDocument {
    #[serde(default)]
    nodes: Option<Vec<NodeDocument>>,
}

/// A node as it is parsed: lenient about what is missing, strict about what is wrong.
#[derive(Deserialize)]
struct NodeDocument {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    mode: u32,
    mtime: Option<String>,
    ctime: Option<String>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    user: Option<String>,
    group: Option<String>,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    linktarget: String,
    linktarget_raw: Option<String>,
    #[serde(default)]
    extended_attributes: Option<Vec<AttributeDocument>>,
    #[serde(default)]
    device: u64,
    content: Option<Vec<ObjectId>>,
    subtree: Option<ObjectId>,
}

#[derive(Deserialize)]
struct AttributeDocument {
    name: String,
    value: Option<String>,
}

/// Reads a tree; its nodes must be in order.
pub(crate) fn decode_tree(json: &[u8]) -> Result<Vec<Node>, String> {
    let document: TreeDocument = serde_json::from_slice(json).map_err(|error| format!("the tree is malformed: {error}"))?;
    let nodes = document
        .nodes
        .unwrap_or_default()
        .into_iter()
        .map(decode_node)
        .collect::<Result<Vec<_>, _>>()?;
    if nodes.windows(2).all(|pair| pair[0].name < pair[1].name) {
        Ok(nodes)
    } else {
        Err("the tree is not in order".to_owned())
    }
}

fn decode_node(document: NodeDocument) -> Result<Node, String> {
    let name = quote::unquote(&document.name)?.into_boxed_slice();
    if matches!(&*name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(format!("the name {:?} cannot be", document.name));
    }
    let metadata = EntryMetadata {
        node_type: decode_type(&document)?,
        mode: decode_mode(document.mode),
        uid: document.uid,
        gid: document.gid,
        user: document.user,
        group: document.group,
        modified: document.mtime.as_deref().map(time::parse).transpose()?,
        changed: document.ctime.as_deref().map(time::parse).transpose()?,
        device: document.device_id,
        inode: document.inode,
        links: document.links,
        extended_attributes: document
            .extended_attributes
            .unwrap_or_default()
            .into_iter()
            .map(decode_attribute)
            .collect::<Result<_, _>>()?,
    };
    let content = document.content.unwrap_or_default().into_boxed_slice();
    Ok(Node {
        name,
        metadata,
        size: document.size,
        content,
        subtree: document.subtree,
    })
}

fn decode_type(document: &NodeDocument) -> Result<NodeType, String> {
    Ok(match document.kind.as_str() {
        "file" => NodeType::File,
        "dir" => NodeType::Directory,
        "symlink" => NodeType::Symlink(match &document.linktarget_raw {
            Some(raw) => STANDARD.decode(raw).map_err(|_| "a link's target is malformed".to_owned())?,
            None => document.linktarget.clone().into_bytes(),
        }),
        "fifo" => NodeType::Fifo,
        "socket" => NodeType::Socket,
        "chardev" => NodeType::CharacterDevice(document.device),
        "dev" => NodeType::BlockDevice(document.device),
        other => return Err(format!("{:?} is of the unknown type {other:?}", document.name)),
    })
}

fn decode_attribute(document: AttributeDocument) -> Result<ExtendedAttribute, String> {
    let value = STANDARD
        .decode(document.value.unwrap_or_default())
        .map_err(|_| "an extended attribute is malformed".to_owned())?;
    Ok(ExtendedAttribute {
        name: document.name.into_bytes(),
        value,
    })
}

fn decode_mode(go: u32) -> u32 {
    [(mode::SET_UID, 0o4000), (mode::SET_GID, 0o2000), (mode::STICKY, 0o1000)]
        .into_iter()
        .fold(go & 0o777, |bits, (flag, bit)| if go & flag == 0 { bits } else { bits | bit })
}

fn encode_mode(metadata: &EntryMetadata) -> u32 {
    let kind = match metadata.node_type {
        NodeType::File => 0,
        NodeType::Directory => mode::DIRECTORY,
        NodeType::Symlink(_) => mode::SYMLINK,
        NodeType::Fifo => mode::FIFO,
        NodeType::Socket => mode::SOCKET,
        NodeType::CharacterDevice(_) => mode::DEVICE | mode::CHARACTER_DEVICE,
        NodeType::BlockDevice(_) => mode::DEVICE,
    };
    [(mode::SET_UID, 0o4000), (mode::SET_GID, 0o2000), (mode::STICKY, 0o1000)]
        .into_iter()
        .fold(kind | metadata.mode & 0o777, |bits, (flag, bit)| {
            if metadata.mode & bit == 0 { bits } else { bits | flag }
        })
}

/// Begins a tree; nodes follow, then [`end_tree`].
pub(crate) fn begin_tree(json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"nodes\":[");
}

/// Ends a tree. restic ends its trees with a line feed.
pub(crate) fn end_tree(json: &mut Vec<u8>) {
    json.extend_from_slice(b"]}\n");
}

/// The name of the tree without nodes.
pub(crate) fn empty_tree() -> ObjectId {
    let mut json = Vec::new();
    begin_tree(&mut json);
    end_tree(&mut json);
    ObjectId::of(&json)
}

/// What a node's JSON is made from: borrowed, so that a run can keep its entries in a form of its own.
pub(crate) struct NodeParts<'n> {
    /// Its name.
    pub(crate) name: &'n [u8],
    /// What it is.
    pub(crate) metadata: &'n EntryMetadata,
    /// Stands in for times that are not known.
    pub(crate) default_time: Timestamp,
    /// Bytes, of a file.
    pub(crate) size: u64,
    /// Content, of a file.
    pub(crate) content: &'n [ObjectId],
    /// Tree, of a folder.
    pub(crate) subtree: Option<ObjectId>,
}

/// Appends a node to a tree.
pub(crate) fn push_node(json: &mut Vec<u8>, node: &NodeParts<'_>) {
    if json.last() == Some(&b'}') {
        json.push(b',');
    }
    let metadata = node.metadata;
    let modified = metadata.modified.unwrap_or(node.default_time);
    let mtime = time::format(modified);
    json.extend_from_slice(b"{\"name\":");
    push_string(json, &quote::quote(node.name));
    push_field(json, "type", type_name(&metadata.node_type));
    push_number(json, "mode", u64::from(encode_mode(metadata)));
    push_field(json, "mtime", &mtime);
    push_field(json, "atime", &mtime);
    push_field(json, "ctime", &metadata.changed.map_or(mtime.clone(), time::format));
    push_key(json, "uid");
    json.extend_from_slice(metadata.uid.to_string().as_bytes());
    push_key(json, "gid");
    json.extend_from_slice(metadata.gid.to_string().as_bytes());
    metadata
        .user
        .as_deref()
        .filter(|user| !user.is_empty())
        .into_iter()
        .for_each(|user| push_field(json, "user", user));
    metadata
        .group
        .as_deref()
        .filter(|group| !group.is_empty())
        .into_iter()
        .for_each(|group| push_field(json, "group", group));
    push_number(json, "inode", metadata.inode);
    // As restic does: the device is only of use to tell hard links apart, and changes from boot to boot.
    push_number(json, "device_id", if metadata.links > 1 { metadata.device } else { 0 });
    push_number(json, "size", node.size);
    push_number(json, "links", metadata.links);
    push_link(json, &metadata.node_type);
    push_attributes(json, &metadata.extended_attributes);
    if let NodeType::CharacterDevice(device) | NodeType::BlockDevice(device) = metadata.node_type {
        push_number(json, "device", device);
    }
    push_content(json, node);
    json.push(b'}');
}

fn type_name(node_type: &NodeType) -> &'static str {
    match node_type {
        NodeType::File => "file",
        NodeType::Directory => "dir",
        NodeType::Symlink(_) => "symlink",
        NodeType::Fifo => "fifo",
        NodeType::Socket => "socket",
        NodeType::CharacterDevice(_) => "chardev",
        NodeType::BlockDevice(_) => "dev",
    }
}

fn push_link(json: &mut Vec<u8>, node_type: &NodeType) {
    let NodeType::Symlink(target) = node_type else { return };
    if !target.is_empty() {
        push_field(json, "linktarget", &String::from_utf8_lossy(target));
    }
    if str::from_utf8(target).is_err() {
        push_field(json, "linktarget_raw", &STANDARD.encode(target));
    }
}

fn push_attributes(json: &mut Vec<u8>, attributes: &[ExtendedAttribute]) {
    if attributes.is_empty() {
        return;
    }
    push_key(json, "extended_attributes");
    for (position, attribute) in attributes.iter().enumerate() {
        json.extend_from_slice(if position == 0 { b"[{\"name\":" } else { b",{\"name\":" });
        push_string(json, &String::from_utf8_lossy(&attribute.name));
        push_field(json, "value", &STANDARD.encode(&attribute.value));
        json.push(b'}');
    }
    json.push(b']');
}

fn push_content(json: &mut Vec<u8>, node: &NodeParts<'_>) {
    push_key(json, "content");
    if node.metadata.node_type == NodeType::File {
        json.push(b'[');
        for (position, id) in node.content.iter().enumerate() {
            if position > 0 {
                json.push(b',');
            }
            push_id(json, id);
        }
        json.push(b']');
    } else {
        json.extend_from_slice(b"null");
    }
    if let Some(subtree) = &node.subtree {
        push_key(json, "subtree");
        push_id(json, subtree);
    }
}

fn push_id(json: &mut Vec<u8>, id: &ObjectId) {
    json.push(b'"');
    for byte in id.as_bytes() {
        json.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
        json.push(b"0123456789abcdef"[usize::from(byte & 15)]);
    }
    json.push(b'"');
}

fn push_key(json: &mut Vec<u8>, key: &str) {
    json.extend_from_slice(b",\"");
    json.extend_from_slice(key.as_bytes());
    json.extend_from_slice(b"\":");
}

fn push_field(json: &mut Vec<u8>, key: &str, text: &str) {
    push_key(json, key);
    push_string(json, text);
}

/// A number that Go leaves out when it is 0.
fn push_number(json: &mut Vec<u8>, key: &str, number: u64) {
    if number != 0 {
        push_key(json, key);
        json.extend_from_slice(number.to_string().as_bytes());
    }
}

/// A string with the escapes of Go's `encoding/json`, which is safe inside HTML.
fn push_string(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    for character in text.chars() {
        match character {
            '"' => json.extend_from_slice(b"\\\""),
            '\\' => json.extend_from_slice(b"\\\\"),
            '\n' => json.extend_from_slice(b"\\n"),
            '\r' => json.extend_from_slice(b"\\r"),
            '\t' => json.extend_from_slice(b"\\t"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                json.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => json.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tree(nodes: &[Node]) -> Vec<u8> {
        let mut json = Vec::new();
        begin_tree(&mut json);
        for node in nodes {
            let default_time = Timestamp {
                seconds: 0,
                nanoseconds: 0,
            };
            let Node {
                name,
                metadata,
                size,
                content,
                subtree,
            } = node;
            push_node(
                &mut json,
                &NodeParts {
                    name,
                    metadata,
                    default_time,
                    size: *size,
                    content,
                    subtree: *subtree,
                },
            );
        }
        end_tree(&mut json);
        json
    }

    fn node(name: &[u8], node_type: NodeType) -> Node {
        let metadata = EntryMetadata {
            mode: 0o4751,
            uid: 7,
            user: Some("a<b".to_owned()),
            modified: Some(Timestamp {
                seconds: -5,
                nanoseconds: 1,
            }),
            changed: Some(Timestamp {
                seconds: 9,
                nanoseconds: 0,
            }),
            device: 3,
            inode: 4,
            links: 2,
            ..EntryMetadata::private(node_type)
        };
        Node {
            name: name.into(),
            metadata,
            size: 0,
            content: Box::new([]),
            subtree: None,
        }
    }

    #[test]
    fn a_node_has_gos_fields_in_gos_order() {
        let file = Node {
            size: 3,
            content: [ObjectId::of(b"abc")].into(),
            ..node(b"n\xff\"&", NodeType::File)
        };
        assert_eq!(
            String::from_utf8(tree(&[file])).unwrap(),
            concat!(
                r#"{"nodes":[{"name":"n\\xff\\\"\u0026","type":"file","mode":8389097,"mtime":"1969-12-31T23:59:55.000000001Z","#,
                r#""atime":"1969-12-31T23:59:55.000000001Z","ctime":"1970-01-01T00:00:09Z","uid":7,"gid":0,"user":"a\u003cb","inode":4,"#,
                r#""device_id":3,"size":3,"links":2,"content":["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_type_survives() {
        let mut nodes = [
            NodeType::File,
            NodeType::Directory,
            NodeType::Symlink(b"../\xfftarget".to_vec()),
            NodeType::Symlink(b"plain".to_vec()),
            NodeType::Fifo,
            NodeType::Socket,
            NodeType::CharacterDevice(1283),
            NodeType::BlockDevice(2049),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, node_type)| node(format!("{number}").as_bytes(), node_type))
        .collect::<Vec<_>>();
        nodes[0].metadata.extended_attributes = vec![ExtendedAttribute {
            name: b"user.x".to_vec(),
            value: vec![0, 255],
        }];
        nodes[1].subtree = Some(ObjectId::of(b"t"));
        assert_eq!(decode_tree(&tree(&nodes)).unwrap(), nodes);
    }

    #[test]
    fn malformed_trees_are_refused() {
        for bad in [
            r#"{"nodes":[{"name":"..","type":"dir"}]}"#,
            r#"{"nodes":[{"name":"a/b","type":"dir"}]}"#,
            r#"{"nodes":[{"name":"a","type":"door"}]}"#,
            r#"{"nodes":[{"name":"b","type":"dir"},{"name":"a","type":"dir"}]}"#,
            r#"{"nodes":[{"name":"a","type":"dir"},{"name":"a","type":"dir"}]}"#,
            r#"{"nodes":7}"#,
            "",
        ] {
            assert!(decode_tree(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(decode_tree(br#"{"nodes":null}"#).unwrap(), []);
    }
}

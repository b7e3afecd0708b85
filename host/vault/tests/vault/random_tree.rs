//! Random trees: every kind of entry, and names, owners, times and content at the edges of what can be.

use std::collections::BTreeMap;

use bulkhead_model::{EntryMetadata, ExtendedAttribute, NodeType, Timestamp};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::model::{Item, Model};

/// The variable with the number that a failed test printed: its trees are made again.
const SEED: &str = "BULKHEAD_SEED";
/// Bytes of the longest path: a folder that it is restored into has room before it.
const LONGEST_PATH: usize = 3_500;
/// The times that survive: from ext4's first second, which has no nanoseconds, to the last that restic restores, which counts nanoseconds in 63 bits.
const TIMES: std::ops::Range<i64> = -(1 << 31) + 1..9_223_372_036;

/// What a tree's owners, devices and modes may be.
#[derive(Clone, Copy)]
pub(crate) struct Rights {
    /// Whether this process can make devices and give files away.
    pub(crate) root: bool,
    own: (u32, u32),
}

impl Rights {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        Self {
            root: user.is_root(),
            own: (user.as_raw(), group.as_raw()),
        }
    }
}

/// A source of chance, whose seed is printed.
pub(crate) fn chance() -> StdRng {
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    #[expect(clippy::print_stdout, reason = "shown when the test fails")]
    {
        println!("{SEED}={seed}");
    }
    StdRng::seed_from_u64(seed)
}

/// A tree of about `entries` random entries, besides all names of one byte.
pub(crate) fn random_tree(chance: &mut StdRng, rights: Rights, entries: usize) -> Model {
    let mut tree = Model::default();
    let mut folders = vec![Vec::new()];
    let all = vec![b"names".to_vec()];
    tree.0.insert(all.clone(), folder(chance, rights));
    for byte in (1..=255).filter(|byte| !b"/.".contains(byte)) {
        let name = [&all[..], &[vec![byte]]].concat();
        tree.0.insert(name, file(chance, rights, vec![byte]));
    }
    while tree.0.len() < entries + 250 {
        let mut name = folders.choose(chance).unwrap().clone();
        name.push(random_name(chance));
        if tree.0.contains_key(&name) || name.join(&b'/').len() > LONGEST_PATH {
            continue;
        }
        let item = random_item(chance, rights);
        if item.metadata.node_type == NodeType::Directory {
            folders.push(name.clone());
        }
        tree.0.insert(name, item);
    }
    add_links(chance, &mut tree, &folders);
    tree
}

/// Further names for some files.
fn add_links(chance: &mut StdRng, tree: &mut Model, folders: &[Vec<Vec<u8>>]) {
    let files = tree.0.iter().filter(|(_, item)| item.metadata.node_type == NodeType::File);
    let files: Vec<_> = files.map(|(name, _)| name.clone()).collect();
    let mut links: BTreeMap<Vec<Vec<u8>>, Item> = BTreeMap::new();
    for (number, name) in (1..).zip(files.choose_multiple(chance, 6)) {
        let count = chance.random_range(2..5);
        let item = tree.0.get_mut(name).unwrap();
        item.metadata = EntryMetadata {
            links: count,
            inode: number,
            device: 7,
            ..item.metadata.clone()
        };
        for other in 1..count {
            let mut name = folders.choose(chance).unwrap().clone();
            name.push(format!("link {number} {other}").into_bytes());
            links.insert(name, item.clone());
        }
    }
    tree.0.extend(links);
}

fn random_item(chance: &mut StdRng, rights: Rights) -> Item {
    let kind = match chance.random_range(0..100) {
        0..20 => return folder(chance, rights),
        20..30 => NodeType::Symlink(random_target(chance)),
        30..34 => NodeType::Fifo,
        34..38 => NodeType::Socket,
        38..42 if rights.root => NodeType::CharacterDevice(device(chance)),
        42..46 if rights.root => NodeType::BlockDevice(device(chance)),
        _ => {
            let content = random_content(chance);
            return file(chance, rights, content);
        }
    };
    Item {
        metadata: random_metadata(chance, rights, kind),
        content: Vec::new(),
    }
}

fn folder(chance: &mut StdRng, rights: Rights) -> Item {
    Item {
        metadata: random_metadata(chance, rights, NodeType::Directory),
        content: Vec::new(),
    }
}

fn file(chance: &mut StdRng, rights: Rights, content: Vec<u8>) -> Item {
    Item {
        metadata: random_metadata(chance, rights, NodeType::File),
        content,
    }
}

fn device(chance: &mut StdRng) -> u64 {
    rustix::fs::makedev(chance.random_range(0..1 << 12), chance.random_range(0..1 << 20))
}

fn random_metadata(chance: &mut StdRng, rights: Rights, node_type: NodeType) -> EntryMetadata {
    let owner = |chance: &mut StdRng, own| match rights.root {
        true => *[0, 1, 1000, 65_534, 1 << 31, u32::MAX - 1].choose(chance).unwrap(),
        false => own,
    };
    // What its owner cannot read, only root can.
    let needed = if rights.root { 0 } else { 0o700 };
    EntryMetadata {
        mode: chance.random_range(0..0o10000) | needed,
        uid: owner(chance, rights.own.0),
        gid: owner(chance, rights.own.1),
        user: chance.random_bool(0.3).then(|| "<näme> & \"more\"".to_owned()),
        group: chance.random_bool(0.3).then(|| "group".to_owned()),
        modified: Some(random_time(chance)),
        changed: chance.random_bool(0.5).then(|| random_time(chance)),
        inode: if chance.random_bool(0.1) { u64::MAX } else { 0 },
        links: u64::from(chance.random_bool(0.5)),
        extended_attributes: match node_type {
            NodeType::File | NodeType::Directory => random_attributes(chance, "user"),
            // Those of links are what restic 0.14 does not read; of other nodes, only root may give any.
            NodeType::Fifo | NodeType::Socket | NodeType::CharacterDevice(_) | NodeType::BlockDevice(_) if rights.root => {
                random_attributes(chance, "trusted")
            }
            _ => Vec::new(),
        },
        ..EntryMetadata::private(node_type)
    }
}

fn random_time(chance: &mut StdRng) -> Timestamp {
    let edges = [
        TIMES.start,
        -1,
        0,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        1 << 32,
        TIMES.end - 1,
    ];
    let any = chance.random_range(TIMES);
    Timestamp {
        seconds: *edges.choose(chance).filter(|_| any % 2 == 0).unwrap_or(&any),
        nanoseconds: *[0, 1, 999_999_999, 500_000_000, 123_456_789].choose(chance).unwrap(),
    }
}

fn random_attributes(chance: &mut StdRng, namespace: &str) -> Vec<ExtendedAttribute> {
    let count = chance.random_range(0..3_usize).saturating_sub(1) * chance.random_range(1..4);
    let attribute = |number| {
        let length = *[0, 1, 20, 300].choose(chance).unwrap();
        ExtendedAttribute {
            name: format!("{namespace}.ä {number}").into_bytes(),
            value: random_bytes(chance, length),
        }
    };
    (0..count).map(attribute).collect()
}

/// Plain or odd, short or as long as can be; any byte but `/` and zero.
fn random_name(chance: &mut StdRng) -> Vec<u8> {
    const ODD: [&str; 20] = [
        "\"quoted\"",
        "it's",
        "back\\slash",
        "\\x41",
        "line\nfeed",
        "tab\t",
        "%00 %s %2f",
        "...",
        "-rf",
        " ",
        "*",
        "[a]?{b}",
        "<&>",
        "e\u{301}",
        "\u{301}e",
        "\u{200b}",
        "\u{fffd}",
        "\u{2028}\u{10ffff}",
        "\u{ad}\u{feff}",
        "日本語",
    ];
    let name = match chance.random_range(0..10) {
        0..4 => format!("file-{}", chance.random_range(0..1000)).into_bytes(),
        4..7 => format!("{}{}", ODD.choose(chance).unwrap(), chance.random_range(0..3)).into_bytes(),
        7 => random_bytes(chance, 255),
        _ => {
            let length = chance.random_range(1..40);
            random_bytes(chance, length)
        }
    };
    let name: Vec<u8> = name
        .into_iter()
        .map(|byte| if matches!(byte, 0 | b'/') { b'_' } else { byte })
        .collect();
    if matches!(&name[..], b"." | b"..") { b"_".to_vec() } else { name }
}

/// Mostly dangling.
fn random_target(chance: &mut StdRng) -> Vec<u8> {
    match chance.random_range(0..5) {
        0 => b"names/a".to_vec(),
        1 => b"/nowhere/at/all".to_vec(),
        2 => vec![b'l'; 4095],
        3 => b"../../line\nfeed \"quoted\" <&>".to_vec(),
        _ => b"not UTF-8: \xff\xfe".to_vec(),
    }
}

/// Nothing, a little, text, noise of several chunks, or islands in zeros.
fn random_content(chance: &mut StdRng) -> Vec<u8> {
    match chance.random_range(0..20) {
        0..3 => Vec::new(),
        3..10 => {
            let length = chance.random_range(1..2_000);
            random_bytes(chance, length)
        }
        10..14 => "text that repeats itself\n".repeat(chance.random_range(1..20_000)).into_bytes(),
        14..18 => {
            let length = chance.random_range(1..300_000);
            random_bytes(chance, length)
        }
        18 => {
            let length = chance.random_range(1 << 20..3 << 20);
            random_bytes(chance, length)
        }
        _ => islands(chance),
    }
}

fn islands(chance: &mut StdRng) -> Vec<u8> {
    let mut content = vec![0; chance.random_range(1 << 20..4 << 20)];
    for _ in 0..3 {
        let place = chance.random_range(0..content.len());
        content[place] = 1;
    }
    content
}

fn random_bytes(chance: &mut StdRng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    chance.fill_bytes(&mut bytes);
    bytes
}

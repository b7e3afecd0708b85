//! A cluster's nodes and slots: [`Topology`].

use bulkhead_resp::{RespError, Session, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, types::Proof};
use serde::Serialize;

use crate::{config::Prefer, manifest::store_entry};

/// Slots of every cluster.
pub(crate) const SLOTS: usize = 16_384;

/// Its entry.
const PATH: &str = "topology.json";

/// Nodes and slots as one node sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Topology {
    nodes: Vec<Node>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Node {
    pub(crate) id: String,
    /// `host:port`, as a connection of the kind that asked needs it.
    pub(crate) address: String,
    /// Its master's id; none for a master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) master: Option<String>,
    /// First and last slot of each range.
    pub(crate) slots: Vec<(u16, u16)>,
    /// Whether it is the node that was asked.
    #[serde(skip)]
    myself: bool,
    /// Whether slots are on their way from or to it.
    #[serde(skip)]
    moving: bool,
    /// Whether it is there, as far as the node that was asked can tell.
    #[serde(skip)]
    well: bool,
}

/// A master's slots, and the node to read them from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    /// The master's.
    pub(crate) id: String,
    /// The id of the node to read: the master's or a replica's.
    pub(crate) node: String,
    /// Of the node to read.
    pub(crate) address: String,
    /// `0-5460`.
    pub(crate) slots: String,
}

impl Topology {
    /// Asks a node, which was reached at `address`.
    pub(crate) fn ask<T: Transport>(session: &mut Session<T>, address: &str) -> Result<Self> {
        let answer = session
            .call(&["CLUSTER", "NODES"])
            .context(|| "asking for the cluster's nodes (CLUSTER NODES) failed")?;
        let text = answer.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        Self::parse(&text, address).ok_or_else(|| {
            RespError::Answer {
                command: "CLUSTER NODES".to_owned(),
                expected: "a list of nodes",
            }
            .into()
        })
    }

    fn parse(text: &str, seed: &str) -> Option<Self> {
        let nodes = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| Node::parse(line, seed));
        let nodes = nodes.collect::<Option<Vec<_>>>()?;
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    fn masters(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.master.is_none() && !node.slots.is_empty())
    }

    /// Where each slot is: the position of its master among the nodes.
    pub(crate) fn owners(&self) -> Vec<Option<&Node>> {
        let mut owners = vec![None; SLOTS];
        for node in self.masters() {
            for &(first, last) in &node.slots {
                let range = owners.get_mut(usize::from(first)..=usize::from(last));
                range.into_iter().flatten().for_each(|owner| *owner = Some(node));
            }
        }
        owners
    }

    /// What to read. Fails where a slot is nobody's or on its way.
    pub(crate) fn shards(&self, prefer: Prefer) -> Result<Vec<Shard>> {
        let uncovered = self.owners().iter().filter(|owner| owner.is_none()).count();
        if uncovered > 0 {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{uncovered} of the cluster's {SLOTS} slots belong to no master: their keys would be missing"),
            )
            .with_retryable(true)
            .with_hint("`redis-cli --cluster check HOST:PORT` says what is wrong; `--cluster fix` repairs it"));
        }
        if let Some(node) = self.masters().find(|node| node.moving) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "slots are moving to or from {}: their keys would be missing, or there twice",
                    node.address
                ),
            )
            .with_retryable(true)
            .with_hint("run it again when the cluster has been rebalanced"));
        }
        let shard = |master: &Node| {
            let replica = |node: &&Node| node.well && node.master.as_deref() == Some(master.id.as_str());
            let replica = (prefer == Prefer::Replica).then(|| self.nodes.iter().find(replica)).flatten();
            let node = replica.unwrap_or(master);
            Shard {
                id: master.id.clone(),
                node: node.id.clone(),
                address: node.address.clone(),
                slots: slots(&master.slots),
            }
        };
        Ok(self.masters().map(shard).collect())
    }

    /// Whether a node that is about to be read, at `address`, sees the slots where this node sees them: nodes learn of slots that are taken over, not
    /// of slots that are given up.
    pub(crate) fn agrees(&self, theirs: &Self, address: &str) -> Result<()> {
        theirs.shards(Prefer::Master).context(|| format!("the node at {address} says"))?;
        if self.places() == theirs.places() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("the node at {address} sees slots elsewhere than the node that was asked first"),
        )
        .with_retryable(true)
        .with_hint("`redis-cli --cluster check HOST:PORT` says what is wrong; `--cluster fix` repairs it"))
    }

    /// Whether it was the shard's chosen node that told this, at `address`, and still a node of that shard. Every node sees the slots alike, so only this
    /// tells one from another where an address leads to several, or to another than it did.
    pub(crate) fn is_of(&self, shard: &Shard, address: &str) -> Result<()> {
        let myself = self.nodes.iter().find(|node| node.myself);
        let found = match myself {
            Some(node) if node.id == shard.node && node.master.as_ref().unwrap_or(&node.id) == &shard.id => return Ok(()),
            Some(Node { id, master: None, .. }) => format!("the master {id}"),
            Some(Node {
                id, master: Some(master), ..
            }) => format!("{id}, a replica of {master}"),
            None => "a node that does not say which".to_owned(),
        };
        Err(Error::new(
            ErrorKind::Conflict,
            format!("{address} should be the node {} of the shard {}, and is {found}", shard.node, shard.id),
        )
        .with_retryable(true)
        .with_hint(
            "each node must have an address of its own: look at `cluster-announce-ip` and `-port`, at load balancers, and at addresses that are used anew; \
             `redis-cli --cluster check HOST:PORT` lists them",
        ))
    }

    /// The id of each slot's master.
    fn places(&self) -> Vec<Option<String>> {
        self.owners().iter().map(|owner| owner.map(|node| node.id.clone())).collect()
    }

    /// Whether every slot is still where it was.
    pub(crate) fn unchanged(&self, later: &Self) -> Result<()> {
        if self.places() == later.places() && !later.masters().any(|node| node.moving) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "slots of the cluster moved, or a replica took over, during the backup: keys may be missing, or there twice",
        )
        .with_retryable(true)
        .with_hint("run it again when nobody rebalances the cluster"))
    }

    /// Stores it beside the datasets.
    pub(crate) fn store(&self, proof: &mut Proof) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        store_entry(PATH, &text, proof)
    }
}

/// `0-5460,6000`
fn slots(ranges: &[(u16, u16)]) -> String {
    let range = |(first, last): &(u16, u16)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

impl Node {
    /// `<id> <host:port@bus,name> <flags> <master> <ping> <pong> <epoch> <link> <slots…>`; `seed` is where a node is that does not know its own address.
    fn parse(line: &str, seed: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (id, address, flags, master) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let link = fields.nth(3)?;
        let flags: Vec<&str> = flags.split(',').collect();
        let has = |flag| flags.contains(&flag);
        let mut node = Self {
            id: is_id(id).then(|| id.to_owned())?,
            address: node_address(address).unwrap_or_else(|| seed.to_owned()),
            master: (master != "-").then(|| master.to_owned()),
            slots: Vec::new(),
            myself: has("myself"),
            moving: false,
            well: (link == "connected" || has("myself")) && !["fail", "fail?", "noaddr", "handshake"].iter().any(|flag| has(flag)),
        };
        for slot in fields {
            if slot.starts_with('[') {
                node.moving = true;
                continue;
            }
            let (first, last) = slot.split_once('-').unwrap_or((slot, slot));
            let range: (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (range.0 <= range.1 && usize::from(range.1) < SLOTS).then(|| node.slots.push(range))?;
        }
        Some(node)
    }
}

/// Ids name folders of the snapshot.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `host:port` of `host:port@bus,name`; `None` where the host is not known.
fn node_address(text: &str) -> Option<String> {
    let address = text.split('@').next()?;
    let (host, port) = address.rsplit_once(':')?;
    if host.is_empty() {
        return None;
    }
    Some(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        address.to_owned()
    })
}

/// The slot of a key: CRC-16 of it, or of what is between its first braces.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let length = rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        rest.get(..length)
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NODES: &str = "\
aaa 10.0.0.1:7000@17000,one myself,master - 0 0 1 connected 0-5460
bbb 10.0.0.2:7000@17000 master - 0 1 2 connected 5461-10921 10922
ccc ::1:7000@17000 master - 0 1 3 connected 10923-16383
ddd 10.0.0.4:7000@17000 slave aaa 0 1 1 connected
eee 10.0.0.5:7000@17000 slave,fail bbb 0 1 1 disconnected
";

    #[test]
    fn shards_are_masters_or_their_healthy_replicas() {
        let topology = Topology::parse(NODES, "seed:1").unwrap();
        let addresses = |prefer| {
            topology
                .shards(prefer)
                .unwrap()
                .into_iter()
                .map(|shard| shard.address)
                .collect::<Vec<_>>()
        };
        assert_eq!(addresses(Prefer::Master), ["10.0.0.1:7000", "10.0.0.2:7000", "[::1]:7000"]);
        assert_eq!(addresses(Prefer::Replica), ["10.0.0.4:7000", "10.0.0.2:7000", "[::1]:7000"]);
        assert_eq!(topology.shards(Prefer::Master).unwrap()[1].slots, "5461-10921,10922");
        let alone = Topology::parse("aaa :7000@17000 myself,master - 0 0 1 connected 0-16383\n", "seed:1").unwrap();
        assert_eq!(alone.shards(Prefer::Master).unwrap()[0].address, "seed:1");
    }

    #[test]
    fn a_node_is_known_by_its_id_and_its_master() {
        let shard = Topology::parse(NODES, "seed:1").unwrap().shards(Prefer::Replica).unwrap().remove(0);
        assert_eq!((shard.id.as_str(), shard.node.as_str()), ("aaa", "ddd"));
        let seen_by = |flags: [&str; 2], nodes: &str| {
            let nodes = nodes.replace("myself,", "").replacen(flags[0], flags[1], 1);
            Topology::parse(&nodes, "seed:1").unwrap().is_of(&shard, "10.0.0.4:7000")
        };
        seen_by(["slave aaa", "myself,slave aaa"], NODES).unwrap();
        // Somebody else; the node itself, of another master meanwhile; and nobody.
        let other = seen_by(["17000,one master", "17000,one myself,master"], NODES).unwrap_err();
        assert!(other.message.contains("is the master aaa") && other.retryable, "{other}");
        let moved = seen_by(["slave bbb", "myself,slave bbb"], &NODES.replace("slave aaa", "slave bbb")).unwrap_err();
        assert!(moved.message.contains("ddd, a replica of bbb"), "{moved}");
        seen_by(["slave aaa", "slave aaa"], NODES).unwrap_err();
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let holed = Topology::parse(&NODES.replace(" 10922", ""), "seed:1").unwrap();
        assert!(holed.shards(Prefer::Master).unwrap_err().message.starts_with("1 of the cluster's"));
        let moving = Topology::parse(&NODES.replace(" 10922", " 10922 [5461->-aaa]"), "seed:1").unwrap();
        assert!(moving.shards(Prefer::Master).unwrap_err().message.contains("10.0.0.2:7000"));
        let whole = Topology::parse(NODES, "seed:1").unwrap();
        whole.unchanged(&whole).unwrap();
        let moved = Topology::parse(&NODES.replace("0-5460", "0-5459").replace("5461-", "5460-"), "seed:1").unwrap();
        whole.agrees(&whole, "other:1").unwrap();
        assert!(whole.agrees(&moved, "other:1").unwrap_err().message.contains("other:1"));
        assert!(whole.agrees(&holed, "other:1").unwrap_err().retryable);
        assert!(whole.unchanged(&moved).unwrap_err().retryable);
        for damaged in [
            "",
            "aaa",
            "../x 1:1@1 master - 0 0 1 connected 0",
            "aaa 1:1@1 master - 0 0 1 connected 0-16384",
        ] {
            assert_eq!(Topology::parse(damaged, "seed:1"), None, "{damaged}");
        }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b""), 0);
    }
}

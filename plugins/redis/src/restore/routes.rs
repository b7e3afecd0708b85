//! Which connection a key goes over: [`Routes`], one for a server of its own, one for each master of a cluster.

use bulkhead_resp::{Command, ServerError};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt};

use super::window::{Answered, Lane, Purpose, Sent};
use crate::{
    cluster::{self, SLOTS, Topology},
    connection::Login,
    server::Info,
};

/// Bytes of commands ahead of their replies, all connections together.
const WINDOW: usize = 8 << 20;

/// The same of one connection at least.
const MIN_WINDOW: usize = 128 << 10;

/// How often a command is sent elsewhere before that is an error.
const MAX_REDIRECTIONS: u8 = 16;

/// Connections to the target.
pub(super) struct Routes<'a> {
    login: Login<'a>,
    lanes: Vec<Lane>,
    /// The position of each slot's lane; none for a server of its own.
    slots: Option<Vec<usize>>,
}

/// Where a cluster says that a command belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirection {
    /// For good, or this once.
    moved: bool,
    slot: u16,
    address: String,
}

impl Redirection {
    /// `MOVED 3999 127.0.0.1:6381`, `ASK 3999 127.0.0.1:6381`
    pub(super) fn of(error: &ServerError) -> Option<Self> {
        let moved = match error.code.as_str() {
            "MOVED" => true,
            "ASK" => false,
            _ => return None,
        };
        // Newer servers may add to the address, behind a blank.
        let (slot, rest) = error.message.split_once(' ')?;
        let address = rest.split(' ').next().unwrap_or_default();
        let slot = slot.parse().ok().filter(|slot| usize::from(*slot) < SLOTS)?;
        Some(Self {
            moved,
            slot,
            address: address.to_owned(),
        })
    }
}

impl Redirection {
    /// The address, as the node at `answering` means it: without a host, it is another port of the same host.
    fn seen_from(&self, answering: &str) -> String {
        let host_of = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
        match self.address.rsplit_once(':') {
            Some(("", port)) => format!("{}:{port}", host_of(answering).unwrap_or_default()),
            Some((host, port)) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
            _ => self.address.clone(),
        }
    }
}

impl<'a> Routes<'a> {
    /// Connects to the server that is granted, and to all masters where it is of a cluster.
    pub(super) fn open(login: Login<'a>) -> Result<Self> {
        let (mut session, place) = login.open(None)?;
        let info = Info::ask(&mut session)?;
        info.loaded(&place)?;
        if !info.is_cluster() {
            return Ok(Self {
                login,
                lanes: vec![Lane::new(place, session, WINDOW)],
                slots: None,
            });
        }
        let topology = Topology::ask(&mut session, &place)?;
        let shards = topology.shards(crate::config::Prefer::Master)?;
        let window = (WINDOW / shards.len().max(1)).max(MIN_WINDOW);
        let mut lanes = Vec::new();
        for shard in &shards {
            let (mut session, _) = login.open(Some(&shard.address))?;
            Info::ask(&mut session)?.loaded(&shard.address)?;
            lanes.push(Lane::new(shard.address.clone(), session, window));
        }
        let position = |id: &str| shards.iter().position(|shard| shard.id == id).unwrap_or(0);
        let slots = topology
            .owners()
            .iter()
            .map(|owner| owner.map_or(0, |node| position(&node.id)))
            .collect();
        Ok(Self {
            login,
            lanes,
            slots: Some(slots),
        })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// All connections, for what concerns every master.
    pub(super) fn all(&mut self) -> &mut [Lane] {
        &mut self.lanes
    }

    /// The position of the connection for a key.
    pub(super) fn of(&self, key: &[u8]) -> usize {
        match &self.slots {
            None => 0,
            Some(slots) => slots.get(usize::from(cluster::slot(key))).copied().unwrap_or(0),
        }
    }

    pub(super) fn lane(&mut self, position: usize) -> Result<&mut Lane> {
        self.lanes
            .get_mut(position)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a slot of the cluster has no connection"))
    }

    /// The oldest reply of a connection that is not about going elsewhere; `None` where none is due.
    pub(super) fn answer(&mut self, position: usize) -> Result<Option<Answered>> {
        loop {
            let Some(answered) = self.lane(position)?.answer()? else {
                return Ok(None);
            };
            match answered.answer.as_ref().err().and_then(Redirection::of) {
                Some(redirection) if self.is_cluster() => self.send_elsewhere(answered.sent, &redirection, position)?,
                _ => return Ok(Some(answered)),
            }
        }
    }

    fn send_elsewhere(&mut self, mut sent: Sent, redirection: &Redirection, from: usize) -> Result<()> {
        sent.redirections += 1;
        if sent.redirections > MAX_REDIRECTIONS {
            return Err(
                Error::new(ErrorKind::Conflict, "the cluster sends a key from node to node without end")
                    .with_retryable(true)
                    .with_hint("slots of the cluster are moving: try again when CLUSTER INFO says cluster_state:ok"),
            );
        }
        let position = self.follow(redirection, from)?;
        let lane = self.lane(position)?;
        if !redirection.moved {
            lane.send(Sent {
                purpose: Purpose::Preparation,
                command: Command::new(&["ASKING"]),
                redirections: 0,
            })?;
        }
        lane.send(sent)
    }

    /// The position of the connection that a redirection names, which came over the connection at `from`.
    pub(super) fn follow(&mut self, redirection: &Redirection, from: usize) -> Result<usize> {
        let address = redirection.seen_from(&self.lane(from)?.address);
        let known = self.lanes.iter().position(|lane| lane.address == address);
        let position = match known {
            Some(position) => position,
            None => {
                let (session, _) = self
                    .login
                    .open(Some(&address))
                    .context(|| format!("slot {} moved to a node that cannot be reached", redirection.slot))?;
                self.lanes.push(Lane::new(address, session, MIN_WINDOW));
                self.lanes.len() - 1
            }
        };
        if redirection.moved
            && let Some(slot) = self.slots.as_mut().and_then(|slots| slots.get_mut(usize::from(redirection.slot)))
        {
            *slot = position;
        }
        Ok(position)
    }

    /// Asks the node that a redirection names for its slot this once.
    pub(super) fn asks(redirection: &Redirection) -> bool {
        !redirection.moved
    }

    /// Whether replies are due anywhere.
    pub(super) fn busy(&self) -> Option<usize> {
        self.lanes.iter().position(|lane| !lane.is_idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_read_and_nothing_else_is() {
        let of = |text: &[u8]| Redirection::of(&ServerError::parse(text));
        assert_eq!(
            of(b"MOVED 3999 127.0.0.1:6381"),
            Some(Redirection {
                moved: true,
                slot: 3999,
                address: "127.0.0.1:6381".to_owned()
            })
        );
        assert!(of(b"ASK 0 [::1]:6381").is_some_and(|redirection| Routes::asks(&redirection)));
        let seen = |text: &[u8]| of(text).map(|redirection| redirection.seen_from("10.0.0.1:6379"));
        for (text, address) in [
            (&b"MOVED 7 :6381"[..], "10.0.0.1:6381"),
            (b"ASK 7 10.0.0.2:6381", "10.0.0.2:6381"),
            (b"MOVED 7 ::1:6381", "[::1]:6381"),
        ] {
            assert_eq!(seen(text).as_deref(), Some(address));
        }
        for other in [
            &b"MOVED 16384 a:1"[..],
            b"MOVED x a:1",
            b"MOVED 1",
            b"ERR MOVED 1 a:1",
            b"BUSYKEY Target key name already exists.",
        ] {
            assert_eq!(of(other), None);
        }
    }
}

//! Work that further instances of the plugin do at the same time, each with a connection of its own: [`Work`], and how it is shared out.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    parts::{self, Part},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    data::{self, Share},
    replay::{self, Task},
    settings::Settings,
};

/// What an instance does besides what it is given to do, in bytes of rows: a request and its answer.
const OVERHEAD: u64 = 16 << 10;

/// The most that one share has: an outcome has at most 1 MiB.
const MOST: usize = 10_000;

/// What an instance is given to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Rows, in a backup.
    Read(Share),
    /// Rows and statements, in a restore.
    Replay(Task),
}

/// Starts an instance.
pub(crate) fn start(work: &Work) -> Result<Part> {
    parts::start(&serde_json::to_vec(work).map_err(internal)?)
}

/// What an instance has returned.
pub(crate) fn outcome<T: DeserializeOwned>(outcome: &[u8]) -> Result<T> {
    serde_json::from_slice(outcome).map_err(internal)
}

/// Does what `work` says.
pub(crate) fn run(settings: &Settings, work: &[u8]) -> Result<Vec<u8>> {
    match serde_json::from_slice(work).map_err(internal)? {
        Work::Read(share) => serde_json::to_vec(&data::read_share(settings, &share)?).map_err(internal),
        Work::Replay(task) => replay::carry_out(settings, &task).map(|()| Vec::new()),
    }
}

fn internal(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("work that is shared out cannot be read: {error}"))
}

/// Shares things out by their weight: the heaviest first, each to whoever has least by then. The last share takes what would be too many for the others.
pub(crate) fn split<T>(mut things: Vec<(u64, T)>, shares: usize) -> Vec<Vec<T>> {
    things.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut split: Vec<(u64, Vec<T>)> = (0..shares.max(1)).map(|_| (0, Vec::new())).collect();
    let last = split.len() - 1;
    for (weight, thing) in things {
        let open = split
            .iter()
            .enumerate()
            .filter(|(place, (_, share))| *place == last || share.len() < MOST);
        let lightest = open.min_by_key(|(_, (load, _))| *load).map_or(last, |(place, _)| place);
        let (load, share) = &mut split[lightest];
        *load = load.saturating_add(weight).saturating_add(OVERHEAD);
        share.push(thing);
    }
    split.into_iter().map(|(_, share)| share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_come_first_and_to_whoever_has_least() {
        let things = vec![(1 << 20, 'a'), (9 << 20, 'b'), (5 << 20, 'c'), (3 << 20, 'd'), (0, 'e')];
        assert_eq!(split(things, 2), [vec!['b', 'e'], vec!['c', 'd', 'a']]);
        assert_eq!(split(vec![(1, 'a')], 3), [vec!['a'], vec![], vec![]]);
        assert_eq!(split(vec![(1, 'a'), (2, 'b')], 1), [vec!['b', 'a']]);
    }

    #[test]
    fn a_share_has_a_limit() {
        let shares = split((0..3 * MOST).map(|thing| (0, thing)).collect(), 2);
        assert_eq!((shares[0].len(), shares[1].len()), (MOST, 2 * MOST));
    }
}

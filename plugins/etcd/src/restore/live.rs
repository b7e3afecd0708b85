//! Key by key into a running cluster: [`restore`].
//!
//! Of every key that is live in the snapshot, the last value is written, in the order in which the keys were last changed, in transactions below the
//! servers' limits. Revisions and versions are the cluster's own and begin anew; leases are granted anew with their full time to live, under their old
//! number where it is free.
//!
//! With `existing = "fail"` all keys are looked for before any is written; every transaction still says that its keys are absent, so a key that somebody
//! else makes meanwhile is not overwritten either.

use std::collections::{BTreeSet, HashMap};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, progress,
    snapshot::EntryReader,
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::batch::{Batch, put};
use crate::{
    config::{Existing, RestoreOptions},
    facts,
    members::{Reached, survey},
    rpc::{
        Client,
        messages::{KeyValue, LeaseGrantRequest, PutRequest, RangeRequest, TxnResponse},
    },
    store::{Live, Store},
};

/// How often a batch is tried again because somebody makes keys that it is to make; each time those are left out.
const ATTEMPTS: usize = 10;

/// Writes the keys that the options select.
pub(crate) fn restore(request: &RestoreRequest, options: &RestoreOptions) -> Result<RestoreResult> {
    if !request.selects(facts::SNAPSHOT.as_bytes()) {
        let message = format!(
            "the keys of a cluster are in {}, which is not among what is to be restored",
            facts::SNAPSHOT
        );
        return Err(
            Error::new(ErrorKind::NotFound, message).with_hint("restore without paths, and narrow with `prefix` in the target's config")
        );
    }
    let mut client = options.attempts.run(|| writable(options))?;
    let mut source = Source::open(options)?;
    if options.existing == Existing::Fail {
        refuse_existing(&mut source, &mut client, options)?;
    }
    let mut writing = Writing {
        leases: source.store.leases()?,
        granted: HashMap::new(),
        missing: BTreeSet::new(),
        renumbered: 0,
        options,
        request_bytes: options.request_bytes()?,
        batch: Batch::default(),
        result: RestoreResult::default(),
        keys: 0,
        skipped: 0,
        client: &mut client,
        total: source.live.count,
    };
    source.each(|stored, key| writing.add(stored, key))?;
    writing.flush()?;
    Ok(writing.finish())
}

/// A member that takes writes.
fn writable(options: &RestoreOptions) -> Result<Client> {
    let reached = survey(options.user.as_deref())?.reached;
    let led = |member: &Reached| member.status.leader != 0 && !member.status.is_learner;
    let no_leader = || {
        Error::new(ErrorKind::Server, "no member of the target knows a leader: nothing can be written")
            .with_retryable(true)
            .with_hint("bring the cluster's quorum back")
    };
    reached.into_iter().find(led).map(|member| member.client).ok_or_else(no_leader)
}

/// The selected keys of the snapshot.
struct Source<'a> {
    store: Store<EntryReader>,
    live: Live,
    options: &'a RestoreOptions,
}

impl<'a> Source<'a> {
    fn open(options: &'a RestoreOptions) -> Result<Self> {
        progress::report("reading the keys", 0, None);
        let mut store = Store::of_snapshot()?;
        let live = store.live(i64::MAX)?;
        Ok(Self { store, live, options })
    }

    /// Calls `visit` with each key's last state and the name that it gets.
    fn each(&mut self, mut visit: impl FnMut(KeyValue, Vec<u8>) -> Result<()>) -> Result<()> {
        let (live, options) = (&self.live, self.options);
        let mut index = 0;
        self.store.forwards(|change| {
            let place = index;
            index += 1;
            if live.has(place)
                && let Some(name) = renamed(change.key()?, options)
            {
                visit(change.decode()?, name)?;
            }
            Ok(true)
        })
    }
}

/// The name that a key gets; `None` where it is not selected.
fn renamed(key: &[u8], options: &RestoreOptions) -> Option<Vec<u8>> {
    let prefix = options.prefix.as_deref().unwrap_or_default();
    let rest = key.strip_prefix(prefix.as_bytes())?;
    Some([options.rename.as_deref().unwrap_or(prefix).as_bytes(), rest].concat())
}

/// Fails where a key is there already. Most targets are empty below the prefix, and one request says so.
fn refuse_existing(source: &mut Source<'_>, client: &mut Client, options: &RestoreOptions) -> Result<()> {
    let prefix = options
        .rename
        .as_ref()
        .or(options.prefix.as_ref())
        .map(String::as_bytes)
        .unwrap_or_default();
    if client.range(&below(prefix))?.count == 0 {
        return Ok(());
    }
    progress::report("looking for keys that are there already", 0, None);
    let bytes = options.request_bytes()?;
    let mut batch = Batch::default();
    let mut look = |batch: &mut Batch| {
        let there = existing(&client.transact(&batch.looking())?);
        *batch = Batch::default();
        there.first().map_or(Ok(()), |key| Err(already(key)))
    };
    source.each(|_, key| {
        let key = PutRequest {
            key,
            ..PutRequest::default()
        };
        if !batch.fits(&key, bytes) {
            look(&mut batch)?;
        }
        batch.push(key);
        Ok(())
    })?;
    if batch.is_empty() { Ok(()) } else { look(&mut batch) }
}

/// Asks how many keys begin with `prefix`.
fn below(prefix: &[u8]) -> RangeRequest {
    // The first key after all of them: the prefix with its last byte that can be raised, raised. A zero byte stands for "no end".
    let raised = prefix.iter().rposition(|byte| *byte < 0xff).map(|last| {
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        end
    });
    RangeRequest {
        key: if prefix.is_empty() { vec![0] } else { prefix.to_vec() },
        range_end: raised.unwrap_or_else(|| vec![0]),
        count_only: true,
        ..RangeRequest::default()
    }
}

fn existing(answer: &TxnResponse) -> Vec<Vec<u8>> {
    let ranges = answer.responses.iter().filter_map(|response| response.range.as_ref());
    ranges.flat_map(|range| range.kvs.iter().map(|found| found.key.clone())).collect()
}

fn already(key: &[u8]) -> Error {
    let message = format!("the key {:?} is already there", String::from_utf8_lossy(key));
    Error::new(ErrorKind::AlreadyExists, message)
        .with_setting("existing")
        .with_hint("set `existing = \"skip\"` or `\"replace\"` in the target's config, or restore below another prefix with `rename`")
}

struct Writing<'a> {
    client: &'a mut Client,
    options: &'a RestoreOptions,
    request_bytes: usize,
    /// Of the snapshot: times to live by number.
    leases: HashMap<i64, i64>,
    /// Numbers in the target by those in the snapshot.
    granted: HashMap<i64, i64>,
    missing: BTreeSet<i64>,
    renumbered: u64,
    batch: Batch,
    result: RestoreResult,
    keys: u64,
    skipped: u64,
    total: u64,
}

impl Writing<'_> {
    fn add(&mut self, stored: KeyValue, key: Vec<u8>) -> Result<()> {
        let lease = self.lease(stored.lease)?;
        let put = put(stored, key, lease);
        if !self.batch.fits(&put, self.request_bytes) {
            self.flush()?;
        }
        self.batch.push(put);
        Ok(())
    }

    /// The lease in the target that stands for this one.
    fn lease(&mut self, id: i64) -> Result<i64> {
        if id == 0 || self.missing.contains(&id) {
            return Ok(0);
        }
        if let Some(granted) = self.granted.get(&id) {
            return Ok(*granted);
        }
        let Some(&ttl) = self.leases.get(&id) else {
            self.missing.insert(id);
            return Ok(0);
        };
        let granted = match self.client.grant_lease(LeaseGrantRequest { ttl, id }) {
            // Somebody else's: what is attached to it would end with theirs.
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                self.renumbered += 1;
                self.client.grant_lease(LeaseGrantRequest { ttl, id: 0 })?
            }
            granted => granted?,
        };
        if granted.id == 0 {
            let message = format!("the cluster granted no lease: {}", granted.error);
            return Err(Error::new(ErrorKind::Server, message));
        }
        self.granted.insert(id, granted.id);
        Ok(granted.id)
    }

    /// Writes the batch.
    fn flush(&mut self) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        for _ in 0..ATTEMPTS {
            if batch.is_empty() {
                return Ok(());
            }
            let largest = || {
                let largest = batch.puts.iter().max_by_key(|put| put.value.len());
                largest.map_or_else(String::new, |put| String::from_utf8_lossy(&put.key).into_owned())
            };
            let request = match self.options.existing {
                Existing::Replace => batch.replacing(),
                Existing::Fail | Existing::Skip => batch.creating(),
            };
            let answer = self
                .client
                .transact(&request)
                .context(|| format!("writing {} keys failed, the largest of them {:?}", batch.puts.len(), largest()))?;
            if answer.succeeded {
                self.written(&batch);
                return Ok(());
            }
            let there: BTreeSet<Vec<u8>> = existing(&answer).into_iter().collect();
            match there.first() {
                Some(key) if self.options.existing == Existing::Fail => return Err(already(key)),
                _ => {}
            }
            let before = batch.puts.len();
            batch.retain(|key| !there.contains(key));
            self.skipped += (before - batch.puts.len()) as u64;
        }
        Err(Error::new(ErrorKind::Conflict, "somebody else is making the keys that are to be restored").with_retryable(true))
    }

    fn written(&mut self, batch: &Batch) {
        self.keys += batch.puts.len() as u64;
        self.result.bytes += batch.puts.iter().map(|put| (put.key.len() + put.value.len()) as u64).sum::<u64>();
        progress::report(&format!("{} of {} keys", self.keys, self.total), self.result.bytes, None);
    }

    fn finish(mut self) -> RestoreResult {
        self.result.entries = 1;
        self.result.facts = vec![
            Fact::new("keys", self.keys),
            Fact::new("skipped-keys", self.skipped),
            Fact::new("leases", self.granted.len()),
        ];
        let mut findings = Vec::new();
        if self.skipped > 0 {
            let message = format!("{} keys were there already and were left as they are", self.skipped);
            findings.push(Finding::info("keys-skipped", message));
        }
        if self.renumbered > 0 {
            let message = format!(
                "{} leases got new numbers, because others have theirs in this cluster",
                self.renumbered
            );
            let hint = "whoever keeps such a lease alive must ask for its number anew";
            findings.push(Finding::warning("leases-renumbered", message).with_hint(hint));
        }
        if !self.missing.is_empty() {
            let message = format!(
                "{} leases that keys refer to are not in the snapshot: their keys were restored without one and will not expire",
                self.missing.len()
            );
            findings.push(Finding::warning("leases-missing", message));
        }
        if self.keys == 0 && self.skipped == 0 {
            let message = "no key of the snapshot was selected";
            findings.push(Finding::warning("nothing-selected", message).with_setting("prefix"));
        }
        self.result.findings = findings;
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(prefix: Option<&str>, rename: Option<&str>) -> RestoreOptions {
        RestoreOptions {
            prefix: prefix.map(str::to_owned),
            rename: rename.map(str::to_owned),
            ..RestoreOptions::default()
        }
    }

    #[test]
    fn keys_are_selected_and_renamed_by_prefix() {
        let name = |prefix, rename| renamed(b"/a/b", &options(prefix, rename));
        assert_eq!(name(None, None), Some(b"/a/b".to_vec()));
        assert_eq!(name(Some("/a"), None), Some(b"/a/b".to_vec()));
        assert_eq!(name(Some("/a"), Some("/x/a")), Some(b"/x/a/b".to_vec()));
        assert_eq!(name(Some("/a"), Some("")), Some(b"/b".to_vec()));
        assert_eq!(name(Some("/b"), None), None);
    }

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        let range = |prefix: &[u8]| {
            let range = below(prefix);
            (range.key, range.range_end)
        };
        assert_eq!(range(b"/a"), (b"/a".to_vec(), b"/b".to_vec()));
        assert_eq!(range(b"a\xff\xff"), (b"a\xff\xff".to_vec(), b"b".to_vec()));
        assert_eq!(range(b"\xff"), (b"\xff".to_vec(), vec![0]));
        assert_eq!(range(b""), (vec![0], vec![0]));
    }
}

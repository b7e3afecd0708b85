//! The log on its way into the vault: [`Archive`] cuts what is received into segments, and commits.
//!
//! The segment that is being received is held in memory, because its beginning may have to be committed before its end is known. A commit that has
//! less than the one before it would take away what the server has already let go of; so there is none before the log is received beyond `durable`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bulkhead_postgres_client::{Lsn, TimelineId};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, entries,
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
    snapshot,
    source::BackupResult,
    types::{Finding, Proof, Timestamp},
};

use super::{checkpoint::Checkpoint, layout};
use crate::{
    segment::{HEAD, SegmentName},
    server::Server,
};

/// The largest segment that is held in memory; a plugin has 256 MiB by default. `initdb` makes them of 16 MiB unless it is told otherwise.
pub(crate) const MAX_SEGMENT: u64 = 64 << 20;

/// Bytes of whole segments after which a commit is due whatever the interval, so that the server needn't keep more beside a fast writer.
const MUCH: u64 = 256 << 20;

/// After so many intervals without anything new, that is committed: a log that nobody adds to is as good as of now, and looks as if nobody followed it.
const QUIET_INTERVALS: u32 = 4;

/// The fact that states up to which moment the log reaches by the server's clock, in seconds since 1970.
const TIME_FACT: &str = "server-time";

/// The cluster that the log is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) system_identifier: u64,
    pub(crate) segment_size: u64,
}

impl Cluster {
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            system_identifier: server.identity.system_identifier,
            segment_size: server.wal_segment_size,
        }
    }

    /// Where the segment begins that holds `position`.
    pub(crate) fn segment_start(&self, position: Lsn) -> Lsn {
        Lsn(position.0 - position.0 % self.segment_size)
    }
}

/// The log in the vault, and what is about to be.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) cluster: Cluster,
    slot: String,
    /// Where the log begins.
    start: Lsn,
    pub(crate) timeline: TimelineId,
    /// Up to where log was received.
    pub(crate) received: Lsn,
    /// Up to where it is committed.
    pub(crate) durable: Lsn,
    /// From the beginning of the segment to `received`.
    current: Vec<u8>,
    stored: Stored,
    /// What is in the snapshot that is being written; `None` before the first entry.
    proof: Option<Proof>,
    /// Entries that no snapshot has yet: bytes, and whether there are any.
    new: Option<u64>,
    /// Since when there is something to commit.
    waiting_since: Option<Instant>,
    committed: Option<Instant>,
    /// Since when nothing was committed.
    quiet_since: Instant,
    clock: Clock,
}

/// Up to which moment the log reaches, by the server's clock.
#[derive(Debug, Default)]
struct Clock {
    /// How far the server's log goes, as it last said.
    end: Lsn,
    /// A position that is not reached yet, and when the server was there.
    mark: Option<(Lsn, Timestamp)>,
    /// When the server was at a position that is reached.
    reached: i64,
    /// What the last snapshot says of that.
    stated: i64,
}

impl Clock {
    fn heard(&mut self, end: Lsn, sent: Timestamp) {
        self.end = end;
        self.mark.get_or_insert((end, sent));
    }

    fn received(&mut self, position: Lsn) {
        if let Some((_, sent)) = self.mark.take_if(|(end, _)| *end <= position) {
            self.reached = sent.seconds;
        }
    }
}

/// What the last snapshot has, which the next one carries forward.
#[derive(Debug, Default)]
struct Stored {
    wal: bool,
    /// What is carried forward this once, where the beginning of the log is left out.
    only: Option<Vec<String>>,
    histories: BTreeSet<TimelineId>,
    /// The file with the beginning of the current segment.
    partial: Option<String>,
    /// Last segments of timelines that ended.
    ended: BTreeSet<String>,
}

impl Stored {
    /// Lists what the parent snapshot has; `current` is the file name of the segment that the log ends in.
    fn of_parent(current: &str) -> Result<Self> {
        let mut stored = Self::default();
        for name in files_in(layout::WAL, false)? {
            stored.wal = true;
            stored.histories.extend(layout::history_timeline(&name));
        }
        for name in files_in(layout::PARTIAL, true)? {
            if name == current {
                stored.partial = Some(name);
            } else {
                stored.ended.insert(name);
            }
        }
        Ok(stored)
    }
}

/// Names of files in a folder of the parent snapshot, at any depth; none where there is no such folder.
fn files_in(folder: &str, all: bool) -> Result<Vec<String>> {
    let walk = match snapshot::walk(folder) {
        Ok(walk) => walk,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    let mut first = true;
    for entry in walk {
        let entry = entry?;
        let is_file = entry.metadata.node_type == NodeType::File;
        let name = String::from_utf8_lossy(layout::file_name(&entry.path)).into_owned();
        // Of segments it is enough to know that there are some.
        if is_file && (all || first || layout::history_timeline(&name).is_some()) {
            first = false;
            names.push(name);
        }
    }
    Ok(names)
}

/// Names of what is directly in a folder of the parent snapshot.
fn children_of(folder: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in snapshot::walk(folder)? {
        let path = String::from_utf8_lossy(&entry?.path).into_owned();
        let below = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        names.extend(below.and_then(|rest| rest.split('/').next()).map(str::to_owned));
    }
    Ok(names)
}

impl Archive {
    /// A log that begins with the segment at `start`.
    pub(crate) fn begin(cluster: Cluster, slot: &str, start: Lsn, timeline: TimelineId) -> Result<Self> {
        let start = cluster.segment_start(start);
        Self::at(cluster, slot, (start, start), timeline, Stored::default(), 0)
    }

    /// The log that the last snapshot has.
    pub(crate) fn resume(checkpoint: &Checkpoint) -> Result<Self> {
        let cluster = Cluster {
            system_identifier: checkpoint.system_identifier,
            segment_size: checkpoint.wal_segment_size,
        };
        if !crate::segment::is_segment_size(cluster.segment_size) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the last snapshot's checkpoint has an impossible size of segments",
            ));
        }
        let (end, timeline) = (checkpoint.end()?, TimelineId(checkpoint.timeline));
        let current = layout::partial_name(SegmentName::at(end, timeline, cluster.segment_size), cluster.segment_size);
        let stored = Stored::of_parent(&current)?;
        let facts = snapshot::info().facts;
        let reached = facts.iter().find(|fact| fact.name == TIME_FACT);
        let reached = reached.and_then(|fact| fact.value.parse().ok()).unwrap_or(0);
        Self::at(cluster, &checkpoint.slot, (checkpoint.start()?, end), timeline, stored, reached)
    }

    /// Leaves out what lies before `limit`, in whole folders: 4 GiB of log each. The one where the log ends stays.
    pub(crate) fn expire(&mut self, limit: Lsn) -> Result<()> {
        if !self.stored.wal {
            return Ok(());
        }
        let last = Lsn(self.durable.0.saturating_sub(1));
        let limit = limit.min(layout::folder_of(last));
        let expired = |name: &str| layout::folder_end(name).is_some_and(|end| end <= limit);
        let (gone, kept): (Vec<_>, Vec<_>) = children_of(layout::WAL)?.into_iter().partition(|name| expired(name));
        if gone.is_empty() {
            return Ok(());
        }
        bulkhead_sdk::info!("leaving out the log in {}", gone.join(", "));
        self.start = kept
            .iter()
            .filter_map(|name| layout::folder_start(name))
            .min()
            .unwrap_or(self.start);
        self.stored.only = Some(kept.iter().map(|name| format!("{}/{name}", layout::WAL)).collect());
        self.stored.ended.retain(|name| !expired(name));
        Ok(())
    }

    fn at(cluster: Cluster, slot: &str, (start, end): (Lsn, Lsn), timeline: TimelineId, stored: Stored, reached: i64) -> Result<Self> {
        if cluster.segment_size > MAX_SEGMENT {
            let message = format!(
                "the cluster's segments have {} bytes; mode `wal` holds one in memory, and takes up to {MAX_SEGMENT}",
                cluster.segment_size
            );
            return Err(Error::new(ErrorKind::Limit, message).with_hint("initdb --wal-segsize=16 is PostgreSQL's default"));
        }
        let room = usize::try_from(cluster.segment_size).unwrap_or_default();
        Ok(Self {
            received: cluster.segment_start(end),
            durable: end,
            cluster,
            slot: slot.to_owned(),
            start,
            timeline,
            current: Vec::with_capacity(room),
            stored,
            proof: None,
            new: None,
            waiting_since: None,
            committed: None,
            quiet_since: Instant::now(),
            clock: Clock {
                end,
                mark: None,
                reached,
                stated: reached,
            },
        })
    }

    /// The next bytes of the log.
    pub(crate) fn take(&mut self, start: Lsn, mut bytes: &[u8]) -> Result<()> {
        if start != self.received {
            let message = format!("the server sent the log at {start}, and {} was to follow", self.received);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        while !bytes.is_empty() {
            let room = self.segment_bytes() - self.current.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.current.extend_from_slice(now);
            self.received = Lsn(self.received.0 + now.len() as u64);
            bytes = later;
            if self.current.len() == self.segment_bytes() {
                self.finish_segment()?;
            }
        }
        if self.is_ahead() {
            self.waiting_since.get_or_insert_with(Instant::now);
        }
        self.clock.received(self.received);
        Ok(())
    }

    /// The server says how far its log goes.
    pub(crate) fn heard(&mut self, end: Lsn, sent: Timestamp) {
        self.clock.heard(end, sent);
        self.clock.received(self.received);
    }

    /// Bytes of the server's log that were not received.
    pub(crate) fn lag(&self) -> u64 {
        self.clock.end.0.saturating_sub(self.received.0)
    }

    fn segment_bytes(&self) -> usize {
        usize::try_from(self.cluster.segment_size).unwrap_or_default()
    }

    /// The segment that is in memory.
    fn current_name(&self) -> SegmentName {
        let start = Lsn(self.received.0 - self.current.len() as u64);
        SegmentName::at(start, self.timeline, self.cluster.segment_size)
    }

    fn finish_segment(&mut self) -> Result<()> {
        let name = self.current_name();
        let current = std::mem::take(&mut self.current);
        let written = self.add_segment(name, &current);
        self.current = current;
        self.current.clear();
        written
    }

    fn add_segment(&mut self, name: SegmentName, content: &[u8]) -> Result<()> {
        self.is_of_it(name, content)?;
        self.add_file(&layout::segment(name, self.cluster.segment_size), content)
    }

    /// Whether this is the segment of that name, of this cluster.
    pub(crate) fn is_of_it(&self, name: SegmentName, content: &[u8]) -> Result<()> {
        let size = self.cluster.segment_size;
        let head = content.get(..HEAD).unwrap_or_default();
        if content.len() as u64 == size && name.is_first_page(head, size, self.cluster.system_identifier) {
            return Ok(());
        }
        let message = format!(
            "the server gave a segment that is not {}: its first page says so",
            name.file_name(size)
        );
        Err(Error::new(ErrorKind::SourceDamaged, message)
            .with_hint("it is another cluster's, or the server's own log is damaged: pg_waldump tells"))
    }

    /// Adds a file as it is.
    pub(crate) fn add_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.add(path, |entry| write(entry, content))?;
        self.stored.wal = true;
        Ok(())
    }

    /// Adds a whole segment that was `written` then, in seconds since 1970. They come in order, but for what was left out before.
    pub(crate) fn put(&mut self, name: SegmentName, content: &[u8], written: i64) -> Result<()> {
        if name.timeline > self.timeline {
            self.keep_end_of_timeline()?;
        }
        self.add_segment(name, content)?;
        let size = self.cluster.segment_size;
        let start = name.start(size);
        let end = Lsn(start.0 + size);
        self.start = self.start.min(start);
        if name.timeline > self.timeline {
            // What the former timeline has from here on does not lead here.
            self.timeline = name.timeline;
            self.durable = self.durable.min(start);
            self.received = end;
        } else if name.timeline == self.timeline && end > self.end() {
            self.received = end;
        }
        self.clock.end = self.end();
        self.clock.reached = self.clock.reached.max(written);
        Ok(())
    }

    /// The last segment of a timeline, which is handed over once, stays beside those of the next one.
    fn keep_end_of_timeline(&mut self) -> Result<()> {
        let Some(last) = self.stored.partial.take() else { return Ok(()) };
        if self.proof.is_some() {
            self.keep(&layout::partial(&last))?;
        }
        self.stored.ended.insert(last);
        Ok(())
    }

    /// Adds an entry to the snapshot that is being written.
    fn add(&mut self, path: &str, content: impl FnOnce(&mut entries::EntryWriter) -> Result<()>) -> Result<()> {
        self.open_snapshot()?;
        let mut entry = entries::create(path, &Metadata::file())?;
        content(&mut entry)?;
        let finished = entry.finish()?;
        *self.new.get_or_insert(0) += finished.size;
        self.count(&finished);
        Ok(())
    }

    fn count(&mut self, finished: &entries::Finished) {
        self.proof.get_or_insert_with(Proof::default).count(finished);
    }

    /// Carries the log forward, before anything is added to it.
    fn open_snapshot(&mut self) -> Result<()> {
        if self.proof.is_some() {
            return Ok(());
        }
        self.proof = Some(Proof::default());
        match self.stored.only.take() {
            Some(paths) => paths.iter().try_for_each(|path| self.keep(path))?,
            None if self.stored.wal => self.keep(layout::WAL)?,
            None => {}
        }
        for name in self.stored.ended.clone() {
            self.keep(&layout::partial(&name))?;
        }
        Ok(())
    }

    fn keep(&mut self, path: &str) -> Result<()> {
        let kept = entries::keep(path).context(|| format!("carrying {path} forward from the last snapshot failed"))?;
        self.count(&kept);
        Ok(())
    }

    /// Whether log was received that no snapshot has.
    fn is_ahead(&self) -> bool {
        self.received > self.durable
    }

    /// Whether there is anything to commit.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_ahead() || self.new.is_some()
    }

    /// Whether any of it is in the vault.
    pub(crate) fn is_stored(&self) -> bool {
        self.durable > self.start
    }

    /// How long until a commit is due; `None` while there is nothing to commit.
    pub(crate) fn due_in(&self, interval: Duration) -> Option<Duration> {
        if self.new.is_some_and(|bytes| bytes >= MUCH) {
            return Some(Duration::ZERO);
        }
        if self.is_waiting() {
            return self.waiting_since.map(|since| interval.saturating_sub(since.elapsed()));
        }
        let quiet = interval.saturating_mul(QUIET_INTERVALS);
        self.is_quiet().then(|| quiet.saturating_sub(self.quiet_since.elapsed()))
    }

    /// Whether all that there is to tell is that the server has nothing new.
    fn is_quiet(&self) -> bool {
        self.is_stored() && self.lag() == 0 && self.clock.reached > self.clock.stated
    }

    /// How long ago the last commit was.
    pub(crate) fn since_commit(&self) -> Option<Duration> {
        self.committed.map(|at| at.elapsed())
    }

    /// Commits what was received, if it is more than is committed.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if self.is_waiting() { self.commit_now() } else { Ok(()) }
    }

    /// Commits what there is.
    pub(crate) fn commit_now(&mut self) -> Result<()> {
        let (proof, checkpoint) = self.complete()?;
        entries::commit(&proof, Some(&checkpoint)).context(|| format!("committing the log up to {} failed", self.end()))?;
        self.committed();
        Ok(())
    }

    /// Ends the run: with what was not committed yet, if there is any.
    pub(crate) fn finish(mut self, findings: Vec<Finding>) -> Result<BackupResult> {
        let nothing_left = self.committed.is_some() && !self.is_waiting();
        let (proof, checkpoint) = if nothing_left {
            let mut proof = Proof {
                complete: true,
                ..Proof::default()
            };
            self.state_facts(&mut proof);
            (proof, self.checkpoint()?)
        } else {
            self.complete()?
        };
        Ok(BackupResult {
            proof,
            checkpoint: Some(checkpoint),
            findings,
        })
    }

    /// Up to where the snapshot's log goes.
    fn end(&self) -> Lsn {
        self.received.max(self.durable)
    }

    /// Adds what is in memory, and states what the snapshot has.
    fn complete(&mut self) -> Result<(Proof, Vec<u8>)> {
        self.open_snapshot()?;
        self.store_partial()?;
        let mut proof = self.proof.take().unwrap_or_default();
        proof.complete = true;
        self.state_facts(&mut proof);
        Ok((proof, self.checkpoint()?))
    }

    /// The beginning of the current segment, padded to a segment's size: PostgreSQL takes no other.
    fn store_partial(&mut self) -> Result<()> {
        if !self.is_ahead() {
            // What is in memory is less than what is stored.
            return match self.stored.partial.clone() {
                Some(name) => self.keep(&layout::partial(&name)),
                None => Ok(()),
            };
        }
        self.stored.partial = None;
        if self.current.is_empty() {
            return Ok(());
        }
        let file = layout::partial_name(self.current_name(), self.cluster.segment_size);
        let current = std::mem::take(&mut self.current);
        let missing = self.cluster.segment_size - current.len() as u64;
        let written = self.add(&layout::partial(&file), |entry| {
            write(entry, &current)?;
            entry.write_zeros(missing)
        });
        self.current = current;
        self.stored.partial = Some(file);
        written
    }

    fn committed(&mut self) {
        self.durable = self.end();
        self.new = None;
        self.waiting_since = None;
        self.committed = Some(Instant::now());
        self.quiet_since = Instant::now();
        self.clock.stated = self.clock.reached;
    }

    fn checkpoint(&self) -> Result<Vec<u8>> {
        let Cluster {
            system_identifier,
            segment_size,
        } = self.cluster;
        Checkpoint::new(system_identifier, segment_size, &self.slot, self.start, self.end(), self.timeline).to_bytes()
    }

    fn state_facts(&self, proof: &mut Proof) {
        proof.fact("start-lsn", self.start);
        proof.fact("end-lsn", self.end());
        proof.fact("timeline", self.timeline);
        proof.fact("system-identifier", self.cluster.system_identifier);
        proof.fact("wal-segment-size", self.cluster.segment_size);
        proof.fact("slot", &self.slot);
        proof.fact("lag-bytes", self.lag());
        proof.fact(TIME_FACT, self.clock.reached);
    }

    /// Bytes of log that the server keeps because they are not committed.
    pub(crate) fn kept_by_server(&self) -> u64 {
        self.clock.end.0.saturating_sub(self.durable.0)
    }

    /// The connection broke: the current segment will come again from its beginning.
    pub(crate) fn rewind(&mut self) {
        self.received = self.cluster.segment_start(self.received);
        self.current.clear();
    }

    /// The timeline ended at `start`, where `next` begins. Its log is followed from the beginning of that segment, which repeats what the former timeline
    /// has there.
    pub(crate) fn switch(&mut self, next: TimelineId, start: Lsn) -> Result<()> {
        self.commit()?;
        bulkhead_sdk::info!("timeline {} ended at {start}, {next} follows", self.timeline);
        self.stored.ended.extend(self.stored.partial.take());
        self.current.clear();
        self.timeline = next;
        self.received = self.cluster.segment_start(start);
        self.durable = self.durable.min(start);
        Ok(())
    }

    /// Whether the history of the current timeline has to be asked for.
    pub(crate) fn lacks_history(&self) -> bool {
        self.timeline > TimelineId(1) && !self.stored.histories.contains(&self.timeline)
    }

    /// Adds the history of a timeline.
    pub(crate) fn add_history(&mut self, timeline: TimelineId, content: &str) -> Result<()> {
        if self.stored.histories.insert(timeline) {
            self.add(&layout::history(timeline), |entry| entry.write_bytes(content.as_bytes()))?;
            self.stored.wal = true;
            self.waiting_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }
}

fn write(entry: &mut entries::EntryWriter, bytes: &[u8]) -> Result<()> {
    bytes.chunks(BEST_TRANSFER).try_for_each(|part| entry.write_bytes(part))
}

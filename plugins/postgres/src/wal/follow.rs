//! Following a server's log: [`backup`].
//!
//! ```text
//! connect ─▶ slot ─▶ which timeline ─▶ START_REPLICATION ─▶ log ─▶ Archive ─▶ commit ─▶ report the position ─┐
//!    ▲                     ▲                                 ▲───────────────────────────────────────────────┘
//!    └── connection lost   └── timeline ended
//! ```

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use bulkhead_postgres_client::{ClientError, CopyEvent, Lsn, StreamDecoder, StreamMessage};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, progress,
    retry::Attempts,
    source::{BackupRequest, BackupResult},
    types::Finding,
};

use super::{
    archive::{Archive, Cluster},
    checkpoint::Checkpoint,
    history::History,
    slot::{self, Slot},
};
use crate::{
    config::{Config, Until},
    connection::{self, Connection, Purpose},
    server::Server,
};

/// How often the server hears of us at least. It gives up who is silent for `wal_sender_timeout`, a minute by default.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A server that waits for our position in order to shut down gets a commit for it; one that asks again and again, not more often than so.
const COMMIT_ON_REQUEST: Duration = Duration::from_secs(5);

/// How long a server that was there may be away before the run fails: long enough for a restart with recovery and for a failover.
const PATIENCE: Duration = Duration::from_secs(600);

/// The first pause before connecting again; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// SQLSTATE `undefined_file`: what a stream ends with whose log was removed.
const REMOVED: &str = "58P01";

/// How often a log of which nothing is stored yet is begun. A checkpoint that is under way when the slot is made may remove the very segment that the slot is to
/// keep; that it happens again and again takes a server that keeps next to nothing.
const BEGINNINGS: u32 = 5;

/// Streams the log into the vault until `until` says that it is enough.
pub(crate) fn backup(config: &Config, request: &BackupRequest) -> Result<BackupResult> {
    let checkpoint = request.checkpoint.as_deref().map(Checkpoint::read).transpose()?;
    let mut follower = Follower::begin(config, checkpoint.as_ref())?;
    loop {
        match follower.follow() {
            Ok(()) => break,
            Err(Stop::Vault(error)) => return Err(error),
            Err(Stop::Removed(error)) => follower.begin_anew(error)?,
            Err(Stop::Server(error)) => {
                // What has come is worth having, whatever comes next.
                follower.archive.commit()?;
                if !error.retryable {
                    return Err(error);
                }
                follower.connect_again(error)?;
            }
        }
    }
    follower.end()
}

/// Why following ended.
enum Stop {
    /// The server, or the way to it: what has come so far is good.
    Server(Error),
    /// The server has removed the log that was to come.
    Removed(ClientError),
    /// The vault: nothing can be done.
    Vault(Error),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Server(error.into())
    }
}

/// When a run ends by itself.
enum End {
    /// When the log is received up to what the server had at the beginning.
    Position(Lsn),
    /// At a moment.
    At(Instant),
}

/// A connection, and what is known of the server at its other end.
struct Contact {
    session: Connection,
    server: Server,
    slot: Slot,
}

impl Contact {
    fn make(config: &Config, slot_expected: bool) -> Result<Self> {
        let mut session = connection::open(config, Purpose::PhysicalReplication)?;
        let server = Server::inspect(&mut session)?;
        let slot = slot::prepare(&mut session, server.major, config.slot(), slot_expected)?;
        Ok(Self { session, server, slot })
    }
}

struct Follower<'c> {
    config: &'c Config,
    session: Connection,
    archive: Archive,
    decoder: StreamDecoder,
    end: End,
    findings: Vec<Finding>,
    /// When the server last heard of us.
    reported: Instant,
    /// Whether the server waits to hear of us.
    asked: bool,
    /// Bytes received in this run.
    bytes: u64,
    /// Whether it was told that the server keeps too much.
    warned: bool,
    /// Whether this run has made the slot.
    made_slot: bool,
    /// How often the log was begun.
    beginnings: u32,
}

impl<'c> Follower<'c> {
    /// Connects, and begins where the last run ended.
    fn begin(config: &'c Config, checkpoint: Option<&Checkpoint>) -> Result<Self> {
        let Contact { session, server, slot } = Attempts::default().run(|| Contact::make(config, checkpoint.is_some()))?;
        let archive = match checkpoint {
            Some(checkpoint) => {
                let mut archive = Archive::resume(checkpoint)?;
                config.expire_before()?.map_or(Ok(()), |limit| archive.expire(limit))?;
                archive
            }
            None => {
                let here = (server.identity.position, server.identity.timeline);
                let (start, timeline) = slot.kept_from.unwrap_or(here);
                Archive::begin(Cluster::of(&server), config.slot(), start, timeline)?
            }
        };
        let end = match config.until() {
            Until::CaughtUp => End::Position(server.identity.position),
            Until::After(period) => End::At(Instant::now() + period),
        };
        let mut follower = Self {
            config,
            session,
            archive,
            decoder: StreamDecoder::default(),
            end,
            findings: slot.finding.into_iter().collect(),
            reported: Instant::now(),
            asked: false,
            bytes: 0,
            warned: false,
            made_slot: slot.made,
            beginnings: 1,
        };
        let mut first = Some(server);
        Attempts::default().run(|| match first.take() {
            Some(server) => follower.start(&server),
            None => follower.reconnect(),
        })?;
        Ok(follower)
    }

    /// Begins the stream on a new connection.
    fn start(&mut self, server: &Server) -> Result<()> {
        self.agree_with(server)?;
        while server.identity.timeline > self.archive.timeline && self.leave_timeline(server)? {}
        self.fetch_history()?;
        self.stream()
    }

    /// Refuses another cluster, and one that was set back.
    fn agree_with(&self, server: &Server) -> Result<()> {
        let (ours, theirs) = (&self.archive.cluster, Cluster::of(server));
        if *ours != theirs {
            let message = format!(
                "the server is not the one whose log is stored: its system identifier is {}, and the log's is {}",
                theirs.system_identifier, ours.system_identifier
            );
            return Err(Error::new(ErrorKind::Conflict, message).with_hint(
                "check the addresses in `endpoint.server`; for a cluster that was made anew, begin a pipeline with another name",
            ));
        }
        let stored = self.archive.durable;
        let identity = server.identity;
        let set_back =
            identity.timeline < self.archive.timeline || identity.timeline == self.archive.timeline && identity.position < stored;
        if set_back {
            let message = format!(
                "the server's log ends at {} of timeline {}, but it is stored up to {stored} of timeline {}",
                identity.position, identity.timeline, self.archive.timeline
            );
            return Err(Error::new(ErrorKind::Conflict, message).with_hint(
                "the server is an old primary, a standby that lags, or was restored without a new timeline: connect to the one that is right; if this one \
                 is, take a base backup and begin anew with `bulkhead run PIPELINE --full --accept-small`",
            ));
        }
        Ok(())
    }

    /// Goes on to the next timeline where all of this one is stored. Otherwise the server still has it, and says when it ends.
    fn leave_timeline(&mut self, server: &Server) -> Result<bool> {
        let newest = server.identity.timeline;
        let (_, content) = self
            .session
            .timeline_history(newest)
            .context(|| format!("reading the history of timeline {newest} failed"))?;
        let history = History::parse(newest, &content).map_err(|error| Error::new(ErrorKind::Protocol, error.to_string()))?;
        let timeline = self.archive.timeline;
        let (Some(end), Some(next)) = (history.end_of(timeline), history.after(timeline)) else {
            let message =
                format!("the server is on timeline {newest}, which does not descend from timeline {timeline}, whose log is stored");
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_hint("take a base backup of it, and begin anew with `bulkhead run PIPELINE --full --accept-small`"));
        };
        if self.archive.durable < end {
            return Ok(false);
        }
        self.archive.switch(next, end)?;
        Ok(true)
    }

    /// A recovery that is to reach a timeline needs its history.
    fn fetch_history(&mut self) -> Result<()> {
        if !self.archive.lacks_history() {
            return Ok(());
        }
        let timeline = self.archive.timeline;
        let (_, content) = self
            .session
            .timeline_history(timeline)
            .context(|| format!("reading the history of timeline {timeline} failed"))?;
        self.archive.add_history(timeline, &content)
    }

    fn stream(&mut self) -> Result<()> {
        let (slot, position, timeline) = (self.config.slot(), self.archive.received, self.archive.timeline);
        self.decoder = StreamDecoder::default();
        self.session
            .start_physical_replication(slot, position, timeline)
            .map_err(|error| self.explain(error))?;
        bulkhead_sdk::info!("streaming timeline {timeline} from {position}");
        self.report().map_err(Error::from)
    }

    /// Takes what comes until it is enough, or something fails.
    fn follow(&mut self) -> std::result::Result<(), Stop> {
        while !self.is_enough() {
            let wait = self.wait();
            match self.session.next_event_within(wait) {
                Ok(None) => {}
                Ok(Some(CopyEvent::CopyData { bytes, first, last })) => match self.decoder.take(bytes, first, last)? {
                    Some(StreamMessage::Data { start, bytes, end, sent }) => {
                        self.bytes += bytes.len() as u64;
                        self.archive.heard(end, sent);
                        self.archive.take(start, bytes).map_err(Stop::Vault)?;
                    }
                    Some(StreamMessage::Keepalive { end, sent, reply }) => {
                        self.archive.heard(end, sent);
                        self.asked |= reply;
                    }
                    None => {}
                },
                Ok(Some(CopyEvent::CopyDone)) => self.next_timeline()?,
                // A server that shuts down ends the command.
                Ok(Some(CopyEvent::CommandComplete(_) | CopyEvent::Ready)) => return Err(ended()),
                Ok(Some(_)) => return Err(Stop::Server(Error::protocol("the server sent something else than its log"))),
                Err(error) if is_removed(&error) => return Err(Stop::Removed(error)),
                Err(error) => return Err(Stop::Server(self.explain(error))),
            }
            self.attend()?;
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        match self.end {
            End::Position(position) => self.archive.received >= position,
            End::At(moment) => Instant::now() >= moment,
        }
    }

    /// How long nothing has to be done unless something comes.
    fn wait(&self) -> Duration {
        let commit = self.archive.due_in(self.config.interval());
        let end = match self.end {
            End::Position(_) => None,
            End::At(moment) => Some(moment.saturating_duration_since(Instant::now())),
        };
        let request = self
            .asks_for_commit()
            .then(|| COMMIT_ON_REQUEST.saturating_sub(self.since_commit()));
        let report = REPORT_EVERY.saturating_sub(self.reported.elapsed());
        [commit, end, request].into_iter().flatten().fold(report, Duration::min)
    }

    /// Whether the server waits for a position that takes a commit.
    fn asks_for_commit(&self) -> bool {
        self.asked && self.archive.is_waiting() && self.archive.lag() == 0
    }

    fn since_commit(&self) -> Duration {
        self.archive.since_commit().unwrap_or(Duration::MAX)
    }

    /// Commits and reports where that is due.
    fn attend(&mut self) -> std::result::Result<(), Stop> {
        let requested = self.asks_for_commit() && self.since_commit() >= COMMIT_ON_REQUEST;
        if requested || self.archive.due_in(self.config.interval()) == Some(Duration::ZERO) {
            self.archive.commit_now().map_err(Stop::Vault)?;
            self.watch_slot();
            self.asked = true;
        }
        // An answer that does not satisfy the server makes it ask again at once.
        let answer = self.asked && !self.asks_for_commit();
        if answer || self.reported.elapsed() >= REPORT_EVERY {
            self.report()?;
        }
        Ok(())
    }

    fn report(&mut self) -> std::result::Result<(), ClientError> {
        let (received, durable) = (self.archive.received, self.archive.durable);
        // Nothing is durable of a log that has just begun, and 0 says that nothing is known.
        let durable = if self.archive.is_stored() { durable } else { Lsn(0) };
        self.session.report_position(received, durable)?;
        self.reported = Instant::now();
        self.asked = false;
        let lag = self.archive.lag();
        let phase = format!("timeline {} at {received}, {lag} bytes behind", self.archive.timeline);
        progress::report(&phase, self.bytes, None);
        Ok(())
    }

    /// Warns once where the server keeps more than it should have to.
    fn watch_slot(&mut self) {
        let kept = self.archive.kept_by_server();
        let too_much = kept > self.config.slot_warning();
        if too_much && !self.warned {
            bulkhead_sdk::warn!(bytes = kept; "the server keeps {kept} bytes of log for the slot `{}`: the vault is slower than the server writes", self.config.slot());
        }
        self.warned = too_much;
    }

    fn next_timeline(&mut self) -> std::result::Result<(), Stop> {
        let next = self.session.end_of_timeline()?;
        if next.timeline <= self.archive.timeline {
            return Err(Stop::Server(Error::protocol(
                "the server goes on with a timeline that is not newer",
            )));
        }
        self.archive.switch(next.timeline, next.start).map_err(Stop::Vault)?;
        self.fetch_history().and_then(|()| self.stream()).map_err(Stop::Server)
    }

    /// Connects again after a connection was lost, for as long as [`PATIENCE`] allows.
    fn connect_again(&mut self, lost: Error) -> Result<()> {
        bulkhead_sdk::warn!("the connection was lost, connecting again: {lost}");
        self.archive.rewind();
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause);
            match self.reconnect() {
                Ok(()) => return Ok(()),
                Err(error) if error.retryable && begun.elapsed() < PATIENCE && !self.is_enough() => {
                    bulkhead_sdk::info!("not yet: {error}");
                }
                Err(error) => return Err(error),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Where nothing is stored yet, log that was removed leaves no gap: the log begins where the server is now.
    fn begin_anew(&mut self, removed: ClientError) -> Result<()> {
        self.archive.commit()?;
        if self.archive.is_stored() || self.beginnings == BEGINNINGS {
            return Err(self.explain(removed));
        }
        self.beginnings += 1;
        bulkhead_sdk::warn!(
            "the server has removed the log at {}, of which nothing is stored yet: the log begins where the server is now",
            self.archive.received
        );
        let (config, made_slot) = (self.config, std::mem::take(&mut self.made_slot));
        let contact = Attempts::default().run(|| {
            if made_slot {
                slot::remove(&mut connection::open(config, Purpose::PhysicalReplication)?, config.slot())?;
            }
            Contact::make(config, false)
        })?;
        let identity = contact.server.identity;
        self.archive = Archive::begin(Cluster::of(&contact.server), config.slot(), identity.position, identity.timeline)?;
        self.session = contact.session;
        self.made_slot = contact.slot.made;
        self.start(&contact.server)
    }

    fn reconnect(&mut self) -> Result<()> {
        let contact = Contact::make(self.config, true)?;
        self.session = contact.session;
        self.findings.extend(contact.slot.finding);
        self.start(&contact.server)
    }

    /// Commits what is left, and tells the server, which would keep it until the next run otherwise.
    fn end(mut self) -> Result<BackupResult> {
        self.archive.commit()?;
        if let Err(error) = self.report() {
            bulkhead_sdk::debug!("the server was gone before it heard the last position: {error}");
        }
        self.session.close();
        self.archive.finish(self.findings)
    }

    /// Says what it means that log was removed, or that somebody else has the slot.
    fn explain(&self, error: ClientError) -> Error {
        if !is_removed(&error) {
            return slot::explain(error, self.config.slot(), "streaming the log failed");
        }
        let (message, hint) = gap(self.archive.is_stored().then_some(self.archive.durable));
        let mut error = Error::from(error).context(message).with_hint(hint);
        error.kind = ErrorKind::NotFound;
        error.retryable = false;
        error
    }
}

fn is_removed(error: &ClientError) -> bool {
    matches!(error, ClientError::Server(report) if report.code == REMOVED)
}

/// What it means that the server has removed log, where it is `stored` up to a position; and what to do.
fn gap(stored: Option<Lsn>) -> (String, &'static str) {
    match stored {
        Some(end) => (
            format!("there is a gap in the log: it is stored up to {end}, and the server has removed what follows"),
            "no recovery can cross the gap: take a base backup now, and begin the log anew with `bulkhead run PIPELINE --full --accept-small`; earlier snapshots \
             of this pipeline still reach up to it",
        ),
        None => (
            format!("the server removes its log before it can be read: {BEGINNINGS} times it was begun, and nothing of it is stored yet"),
            "raise `max_slot_wal_keep_size`, `wal_keep_size` or `max_wal_size` on the server",
        ),
    }
}

fn ended() -> Stop {
    Stop::Server(Error::new(
        ErrorKind::ConnectionLost,
        "the server ended the stream, as it does when it shuts down",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_that_is_stored_has_a_gap() {
        assert!(gap(Some(Lsn(1 << 24))).0.contains("gap in the log: it is stored up to 0/1000000"));
        let (message, hint) = gap(None);
        assert!(message.contains("nothing of it is stored") && !message.contains("gap"), "{message}");
        assert!(!hint.contains("--full"), "{hint}");
    }
}

//! Taking a snapshot: [`backup`].
//!
//! The member's stream goes into one entry as it comes, trailer included: `etcdctl snapshot restore` wants it so. On its way it is hashed (by the
//! host) and its pages are looked at, so that at the end three things are known to hold: the stream was whole (etcd's SHA-256 trailer), the store
//! is a sound bbolt tree, and its figures are those that `etcdctl snapshot status` would show.
//!
//! Beside the stream the member computes `HashKV`, the hash by which etcd itself compares its members, up to the revision that it had before the
//! snapshot began: every later state contains that. It is asked for after the stream has begun, so that the compaction that it reports is at least the
//! snapshot's. `verify` computes the same over what was stored.
//!
//! That hash is of the member's own file, so it says nothing of the others. Where a second member is there, it is asked for the same one at the same time: two
//! members that were compacted at the same revision have the same, and a run in which they differ fails (`witness.rs`).

use bulkhead_grpc::Call;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    digest::{Algorithm, Hasher},
    entries::{self, EntryWriter},
    host::BEST_TRANSFER,
    metadata::Metadata,
    progress,
    source::BackupResult,
    types::{Finding, Proof},
    warn,
};

use crate::{
    bolt::{Damage, Meta, Scanner, Summary},
    config::{Accepted, Config},
    facts, files,
    members::{Reached, no_alarm, survey, usable},
    rpc::{
        HASHING,
        messages::{HashKvResponse, StatusResponse},
    },
    runbook,
    witness::{Heard, Witness},
};

/// Bytes of etcd's trailer, a SHA-256 of all before it.
pub(crate) const TRAILER: usize = 32;

/// Takes a snapshot from the member that is best for it.
pub(crate) fn backup(config: &Config) -> Result<BackupResult> {
    let (stream, member, other, findings) = config.attempts.run(|| match begin_anywhere(config) {
        // Every member has kept us waiting for minutes: asking anew would only make them begin anew.
        Err(error) if error.kind == ErrorKind::TimedOut => Ok(Err(error)),
        begun => begun.map(Ok),
    })??;
    stream.take(config, member, other, findings)
}

/// A stream that has begun, its member, another one that can be asked, and what is to be said of all.
type Begun = (Stream, Reached, Option<Reached>, Vec<Finding>);

/// Asks one member after the other until one begins.
fn begin_anywhere(config: &Config) -> Result<Begun> {
    let survey = survey(config.user.as_deref())?;
    let mut findings = survey.unreached.iter().map(unreached).collect::<Vec<_>>();
    let mut failures = Vec::new();
    let mut members = survey.reached.into_iter();
    while let Some(mut member) = members.next() {
        match begin(config, &mut member) {
            Ok(stream) => {
                findings.extend(accepted(config, &member.status));
                findings.extend(stream.alarms.iter().cloned());
                let other = members.find(|other| usable(config, other).is_ok());
                return Ok((stream, member, other, findings));
            }
            Err(error) => {
                warn!(address = member.client.address(); "no snapshot from this member: {error}");
                failures.push(error);
            }
        }
    }
    failures.extend(survey.unreached.into_iter().map(|(_, error)| error));
    Err(most_hopeful(failures))
}

/// The first failure that may pass, or else the first; the others are its causes.
fn most_hopeful(mut failures: Vec<Error>) -> Error {
    if failures.is_empty() {
        return Error::new(ErrorKind::Internal, "no member was asked");
    }
    let hopeful = failures.iter().position(|error| error.retryable).unwrap_or(0);
    let first = failures.remove(hopeful);
    failures.into_iter().fold(first, |first, other| first.with_cause(other))
}

/// A member that could not be asked, as a finding.
pub(crate) fn unreached((address, error): &(String, Error)) -> Finding {
    let finding = Finding::warning("member-unreached", format!("the member at {address} cannot be used: {error}"));
    match &error.hint {
        Some(hint) => finding.with_hint(hint),
        None => finding,
    }
}

/// What the operator accepts is not forgotten.
fn accepted(config: &Config, status: &StatusResponse) -> Option<Finding> {
    (status.leader == 0 && config.accepts(Accepted::NoLeader)).then(|| {
        let message = "the member knows no leader: the snapshot may be older than what the cluster has agreed on";
        Finding::warning("no-leader", message).with_hint("bring the quorum back, then take another one")
    })
}

/// A stream that has begun.
struct Stream {
    call: Call,
    first: prost::bytes::Bytes,
    /// The member's revision before.
    revision: i64,
    /// What is raised, and was accepted.
    alarms: Vec<Finding>,
}

/// Makes sure of the member, and waits for the first bytes: until then another one can take its place.
fn begin(config: &Config, member: &mut Reached) -> Result<Stream> {
    usable(config, member)?;
    let alarms = no_alarm(config, member)?;
    member.status = member.client.status()?;
    let revision = member.status.header.unwrap_or_default().revision;
    progress::report("waiting for the member", 0, u64::try_from(member.status.db_size).ok());
    let mut call = member.client.start_snapshot()?;
    let first = member.client.next_blob(&mut call)?.ok_or_else(|| broken_off(0))?;
    Ok(Stream {
        call,
        first,
        revision,
        alarms,
    })
}

impl Stream {
    fn take(mut self, config: &Config, mut member: Reached, other: Option<Reached>, mut findings: Vec<Finding>) -> Result<BackupResult> {
        let mut hash = match config.skip_hash {
            true => None,
            false => Some(member.client.start_hash(self.revision)?),
        };
        let witness = other
            .filter(|_| !config.skip_hash)
            .and_then(|other| Witness::ask(other, self.revision));
        let mut receiver = Receiver::create(u64::try_from(member.status.db_size).ok())?;
        receiver.write(&self.first)?;
        let address = member.client.address().to_owned();
        let lost = |error: Error, received: u64| error.context(format!("the snapshot from {address} broke off after {received} bytes"));
        loop {
            match member.client.next_blob(&mut self.call) {
                Ok(Some(blob)) => receiver.write(&blob)?,
                Ok(None) => break,
                Err(error) => return Err(lost(error, receiver.received)),
            }
        }
        let received = receiver.finish()?;
        let mut proof = Proof {
            complete: true,
            ..Proof::default()
        };
        proof.count(&received.finished);
        state(&mut proof, &received, &member);
        match hash.as_mut().map(|call| member.client.finish_hash(call, HASHING)) {
            Some(Ok(answer)) => {
                state_hash(&mut proof, self.revision, answer);
                match witness.map(|witness| witness.hear(member.client.address(), answer)) {
                    Some(Heard::Agrees(address)) => proof.fact(facts::HASH_KV_WITNESS, address),
                    Some(Heard::Differs(error)) if config.accepts(Accepted::Corrupt) => findings.push(members_differ(&error)),
                    Some(Heard::Differs(error)) => return Err(error),
                    Some(Heard::Nothing) | None => {}
                }
            }
            Some(Err(error)) => findings.push(no_hash(&error)),
            None => {}
        }
        if let Err(reason) = received.summary {
            let message = format!("the store's figures are not in the proof: {reason}");
            findings.push(
                Finding::warning("store-not-summed", message).with_hint("`bulkhead verify` walks the tree of the stored one page by page"),
            );
        }
        let taken = files::take(config, &mut proof)?;
        findings.extend(taken.findings);
        runbook::take(config, &mut proof, &member, taken.token.as_deref())?;
        Ok(BackupResult {
            proof,
            findings,
            ..BackupResult::default()
        })
    }
}

/// Two members that disagree, where the operator accepts that.
fn members_differ(error: &Error) -> Finding {
    let finding = Finding::warning("members-differ", error.to_string());
    finding.with_hint("find the odd member with `etcdctl endpoint hashkv --cluster`, remove it and add it anew, then take another snapshot")
}

fn no_hash(error: &Error) -> Finding {
    let message = format!("the member did not tell the hash of its content: {error}");
    let hint = "the snapshot's own checksums hold; `verify` has no word of the cluster to compare with";
    Finding::warning("no-hash", message).with_hint(hint)
}

/// Puts what is known into the proof.
fn state(proof: &mut Proof, received: &Received, member: &Reached) {
    let header = member.status.header.unwrap_or_default();
    if let Ok(summary) = received.summary {
        proof.fact(facts::REVISION, summary.revision);
        proof.fact(facts::HASH, format!("{:08x}", summary.hash));
        proof.fact(facts::TOTAL_KEYS, summary.keys);
        proof.fact(facts::TOTAL_SIZE, summary.size);
    }
    proof.fact(facts::SHA256, hex::encode(&received.sha256));
    proof.fact(facts::VERSION, &member.status.version);
    proof.fact("cluster-id", format!("{:x}", header.cluster_id));
    proof.fact("member-id", format!("{:x}", header.member_id));
    proof.fact("member", member.client.address());
    proof.fact("member-role", if member.status.is_led_by_itself() { "leader" } else { "follower" });
    proof.fact("raft-term", member.status.raft_term);
    proof.fact("raft-index", member.status.raft_index);
    proof.fact("raft-applied-index", member.status.applied());
    proof.fact("bbolt-transaction", received.meta.transaction);
    proof.fact("db-size", member.status.db_size);
    proof.fact("db-size-in-use", member.status.db_size_in_use);
}

fn state_hash(proof: &mut Proof, revision: i64, answer: HashKvResponse) {
    proof.fact(facts::HASH_KV, answer.hash);
    proof.fact(facts::HASH_KV_REVISION, revision);
    proof.fact(facts::HASH_KV_COMPACTED, answer.compact_revision);
}

/// The stream ended before its trailer.
fn broken_off(received: u64) -> Error {
    let message = format!("the snapshot ended after {received} bytes, before its SHA-256 trailer");
    Error::new(ErrorKind::ConnectionLost, message).with_hint("the member's own log says why; nothing was committed")
}

/// Everything that came, checked.
struct Received {
    finished: entries::Finished,
    sha256: Vec<u8>,
    meta: Meta,
    summary: Result<Summary, &'static str>,
}

/// Where the stream goes.
struct Receiver {
    entry: EntryWriter,
    hasher: Hasher,
    scanner: Scanner,
    /// What came and is not passed on yet. Its last 32 bytes may be the trailer.
    pending: Vec<u8>,
    received: u64,
    expected: Option<u64>,
}

impl Receiver {
    fn create(expected: Option<u64>) -> Result<Self> {
        Ok(Self {
            entry: entries::create(facts::SNAPSHOT, &Metadata::file())?,
            hasher: Hasher::new(Algorithm::Sha256),
            scanner: Scanner::expecting(expected.unwrap_or(0)),
            pending: Vec::with_capacity(BEST_TRANSFER + (64 << 10)),
            received: 0,
            expected,
        })
    }

    fn write(&mut self, blob: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(blob);
        self.received += blob.len() as u64;
        if self.pending.len() >= BEST_TRANSFER + TRAILER {
            self.pass_on()?;
            progress::report("receiving the snapshot", self.received, self.expected);
        }
        Ok(())
    }

    /// Passes on all but what may be the trailer.
    fn pass_on(&mut self) -> Result<()> {
        let content = &self.pending[..self.pending.len() - TRAILER];
        self.hasher.update(content);
        self.scanner.feed(content).map_err(damaged)?;
        self.entry.write_bytes(content)?;
        self.pending.drain(..self.pending.len() - TRAILER);
        Ok(())
    }

    /// Checks the trailer, and the tree of pages.
    fn finish(mut self) -> Result<Received> {
        // bbolt's pages are multiples of 512 bytes: what else is left over is no trailer.
        if self.received % 512 != TRAILER as u64 || self.pending.len() < TRAILER {
            return Err(broken_off(self.received));
        }
        self.pass_on()?;
        let sha256 = self.hasher.finish();
        if sha256 != self.pending {
            let message = format!(
                "the {} bytes of the snapshot do not have the SHA-256 that the member sent at its end",
                self.received
            );
            return Err(Error::new(ErrorKind::SourceDamaged, message)
                .with_retryable(true)
                .with_hint("try again; if it stays so, the member's disk or memory is failing: read from another member"));
        }
        self.entry.write_bytes(&self.pending)?;
        let (meta, summary) = self.scanner.finish().map_err(damaged)?;
        let finished = self.entry.finish().context(|| "storing the snapshot failed")?;
        Ok(Received {
            finished,
            sha256,
            meta,
            summary,
        })
    }
}

/// Damage of a file that the member sent with the right checksum is damage on its disk.
fn damaged(damage: Damage) -> Error {
    Error::new(ErrorKind::SourceDamaged, "the member's store is damaged")
        .with_cause(damage)
        .with_hint("read from another member: put its address first, or take this one's out; then remove this member and add it anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_before_what_does_not() {
        let learner = || Error::new(ErrorKind::Unsupported, "a learner");
        let restarting = || Error::new(ErrorKind::Unreachable, "not there");
        let told = most_hopeful(vec![learner(), restarting(), learner()]);
        assert_eq!((told.kind, told.retryable, told.causes.len()), (ErrorKind::Unreachable, true, 2));
        assert_eq!(most_hopeful(vec![learner(), learner()]).kind, ErrorKind::Unsupported);
    }
}

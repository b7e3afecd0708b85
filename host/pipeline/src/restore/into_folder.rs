//! A restore into a folder: the vault is read, ahead, by one task, and the folder written by a thread that may wait.
//!
//! ```text
//! walk ─▶ Filter (Decider: what is there?) ─▶ content ─▶ steps ─▶ FolderWriter
//! ```

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use bulkhead_model::{EntryPath, Finding, NodeType, Severity};
use bulkhead_vault::{Piece, SnapshotEntry, SnapshotReader};
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::{
    Progress,
    browse::{Place, SnapshotError, open_snapshot},
    folder::{self, Action, Decision, EntryChange, Existing, FolderError, FolderWriter, Skipped, Surplus, Survey, Tally},
    operation::{Interrupted, Operation},
    restore::{
        ExistingFiles, FolderOptions, RestoreError, RestoreOptions, RestoreReport,
        decide::{Decider, Decisions, Filter},
        patterns::{Matched, Selected, Selection},
    },
};

/// Steps between reading and writing. Content among them is what the vault had ahead anyway, except for one window (4 MiB, or a chunk of 8).
const STEPS_AHEAD: usize = 16;

/// Asked whether what the snapshot does not have is to be removed.
pub type Confirm = Box<dyn FnOnce(&Surplus) -> bool + Send>;

/// Told of an entry that is not there as it should be, when it is decided what becomes of it.
pub type Tell = Box<dyn FnMut(&EntryPath, EntryChange) + Send>;

/// Whoever attends a restore.
pub struct Attendant {
    /// Asked before anything is done, where something is to be removed.
    pub confirm: Confirm,
    /// Told of entries, in the order of the snapshot: of a rehearsal and of one with [`ExistingFiles::Delta`]. Others create all that they restore.
    pub tell: Tell,
}

/// Restores a snapshot from `place` into a folder. `attendant` is asked and told.
///
/// # Errors
/// See [`RestoreError`].
pub async fn restore_to_folder(
    operation: &Operation,
    place: Place<'_>,
    options: &RestoreOptions,
    folder: &FolderOptions,
    attendant: Attendant,
) -> Result<RestoreReport, RestoreError> {
    operation
        .until_interrupted(None, to_folder(operation, place, options, folder, attendant))
        .await?
}

#[tracing::instrument(name = "restore", skip_all, fields(vault = place.vault, pipeline = place.pipeline, target = %folder.folder.display()))]
async fn to_folder(
    operation: &Operation,
    place: Place<'_>,
    options: &RestoreOptions,
    folder: &FolderOptions,
    attendant: Attendant,
) -> Result<RestoreReport, RestoreError> {
    let clock = tokio::time::Instant::now();
    let progress = &operation.progress;
    progress.phase("opening", None);
    let found = look_at(folder)?;
    let snapshot = open_snapshot(operation, place, &options.snapshot).await?;
    let reader = snapshot.reader();
    let selection = Selection::new(&options.paths, folder.patterns.clone());
    progress.phase("planning", None);
    let plan = plan(reader, &selection, folder, found.as_ref()).await?;
    if let Some(root) = found.as_ref().filter(|_| !folder.dry_run && !plan.surplus.items.is_empty()) {
        // Before anything is compared: what is in the way is gone by then.
        remove(&plan.surplus, duplicate(root, &folder.folder)?, folder, attendant.confirm).await?;
    }
    progress.phase("restoring", plan.bytes);
    let delta = folder.existing != ExistingFiles::Refuse;
    let checksum = matches!(folder.existing, ExistingFiles::Delta { checksum: true, .. });
    let existing = match &found {
        Some(root) if delta => Some(Existing::new(duplicate(root, &folder.folder)?, folder.owners.clone(), checksum)),
        _ => None,
    };
    let mut decider = Decider::new(selection.clone(), existing, folder.folder.clone(), folder.devices);
    if folder.dry_run {
        decider.suppose_removed(&plan.surplus);
    }
    let decider = Arc::new(Mutex::new(decider));
    let work = Work {
        reader,
        selection: &selection,
        decider: Arc::clone(&decider),
        progress,
        tell: (folder.dry_run || delta).then_some(attendant.tell),
    };
    let (mut tally, mut findings) = if folder.dry_run {
        (work.send(&Receiver::Nobody).await?, Vec::new())
    } else {
        work.write(folder).await?
    };
    let (compared, skipped) = Arc::into_inner(decider).ok_or(RestoreError::Writer)?.into_inner().into_outcome();
    tally.changes.bytes_compared = compared;
    tally.changes.deleted = plan.surplus.entries();
    findings.extend(snapshot.findings());
    findings.extend(plan.findings);
    findings.extend(skipped.iter().flat_map(Skipped::findings));
    Ok(RestoreReport {
        pipeline: snapshot.pipeline().map(str::to_owned),
        snapshot: snapshot.id(),
        target: folder.folder.display().to_string(),
        entries: tally.entries,
        bytes: tally.bytes,
        seconds: clock.elapsed().as_secs_f64(),
        dry_run: folder.dry_run,
        changes: Some(tally.changes),
        surplus: plan.surplus.items,
        recovery: None,
        facts: Vec::new(),
        findings,
    })
}

/// The folder as it is found.
fn look_at(folder: &FolderOptions) -> Result<Option<OwnedFd>, FolderError> {
    let found = folder::look_at(&folder.folder)?;
    if let (Some(root), ExistingFiles::Refuse) = (&found, folder.existing) {
        folder::expect_empty(root, &folder.folder)?;
    }
    Ok(found)
}

fn duplicate(root: &OwnedFd, path: &Path) -> Result<OwnedFd, FolderError> {
    root.try_clone().map_err(|error| FolderError::new("open the folder", path, error))
}

/// What is known before anything is done.
#[derive(Default)]
struct Plan {
    /// Bytes of all that is selected, where that is known.
    bytes: Option<u64>,
    surplus: Surplus,
    findings: Vec<Finding>,
}

/// Removes what the snapshot does not have, if that is confirmed.
async fn remove(surplus: &Surplus, root: OwnedFd, folder: &FolderOptions, confirm: Confirm) -> Result<(), RestoreError> {
    let (surplus, target) = (surplus.clone(), folder.folder.clone());
    let removed = tokio::task::spawn_blocking(move || {
        if !confirm(&surplus) {
            return Err(RestoreError::Declined);
        }
        Ok(surplus.remove(root.as_fd(), &target)?)
    });
    removed.await.map_err(|_| RestoreError::Writer)?
}

/// Goes through the snapshot's folders, where that has to be known: what the patterns take, and what the folder has beside it.
async fn plan(
    reader: &SnapshotReader,
    selection: &Selection,
    folder: &FolderOptions,
    found: Option<&OwnedFd>,
) -> Result<Plan, RestoreError> {
    let deletes = matches!(folder.existing, ExistingFiles::Delta { delete: true, .. });
    let mut survey = match found.filter(|_| deletes) {
        Some(root) => Some(Survey::new(duplicate(root, &folder.folder)?, &folder.folder, selection)?),
        None => None,
    };
    if survey.is_none() && selection.is_everything() {
        let record = reader.record().await.map_err(SnapshotError::from)?;
        return Ok(Plan {
            bytes: record.map(|record| record.proof.bytes),
            ..Plan::default()
        });
    }
    let mut bytes = 0;
    let mut matched = Matched::new(selection);
    for path in &selection.paths {
        let mut walk = reader.walk(path).await.map_err(SnapshotError::from)?;
        if let Some(survey) = survey.as_mut().filter(|_| path.is_root()) {
            survey.enter_root();
        }
        while let Some(entry) = walk.next().await.map_err(SnapshotError::from)? {
            matched.note(&entry.path);
            let selected = selection.of(entry.path.as_bytes());
            if let Some(survey) = &mut survey {
                survey.note(&entry)?;
            }
            match selected {
                Selected::Yes => bytes += entry.size,
                Selected::Below => {}
                Selected::No => {
                    walk.skip_below();
                    if let Some(survey) = &mut survey {
                        survey.skip_below(&entry);
                    }
                }
            }
        }
        if let Some(survey) = &mut survey {
            survey.end()?;
        }
    }
    let (untaken, unused) = matched.unmatched();
    if !untaken.is_empty() {
        return Err(RestoreError::NothingMatches {
            snapshot: reader.info().id.to_string(),
            patterns: untaken,
        });
    }
    Ok(Plan {
        bytes: Some(bytes),
        surplus: survey.map(Survey::into_surplus).unwrap_or_default(),
        findings: unused.iter().map(|pattern| excludes_nothing(pattern)).collect(),
    })
}

fn excludes_nothing(pattern: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        code: "nothing-excluded".to_owned(),
        message: format!("nothing in the snapshot matches the excluded `{pattern}`"),
        hint: Some("patterns match whole paths: `*` stays within a folder, `**` crosses folders".to_owned()),
        setting: None,
    }
}

/// From the reading half of a restore to the writing half.
enum Step {
    Begin(Box<SnapshotEntry>, Decision),
    Content(Bytes),
    /// So many bytes of the file are there already.
    Gap(u64),
    FinishFile,
    /// Everything was sent: a channel that merely ends is a restore that was cut short.
    Done,
}

/// Who does what was decided.
enum Receiver {
    Writer(mpsc::Sender<Step>),
    /// Nobody: it is only said.
    Nobody,
}

impl Receiver {
    /// Whether somebody still receives.
    async fn send(&self, step: Step) -> bool {
        match self {
            Self::Writer(steps) => steps.send(step).await.is_ok(),
            Self::Nobody => true,
        }
    }
}

/// The reading half of a restore.
struct Work<'w> {
    reader: &'w SnapshotReader,
    selection: &'w Selection,
    decider: Arc<Mutex<Decider>>,
    progress: &'w Progress,
    /// Told of entries, where somebody wants to know.
    tell: Option<Tell>,
}

impl Work<'_> {
    /// Writes what is decided.
    async fn write(self, folder: &FolderOptions) -> Result<(Tally, Vec<Finding>), RestoreError> {
        let (steps, received) = mpsc::channel(STEPS_AHEAD);
        let writing = tokio::task::spawn_blocking({
            let (progress, target, owners) = (self.progress.clone(), folder.folder.clone(), folder.owners.clone());
            let refuses = folder.existing == ExistingFiles::Refuse;
            move || {
                let root = folder::make(&target)?;
                if refuses {
                    folder::expect_empty(&root, &target)?;
                }
                write_steps(FolderWriter::new(root, &target, owners), received, &progress)
            }
        });
        let receiver = Receiver::Writer(steps);
        let sent = self.send(&receiver).await;
        drop(receiver);
        // The writer's own failure is the cause where sending ended because nobody received.
        let written = writing.await.map_err(|_| RestoreError::Writer)??;
        let tally = sent?;
        let findings = written.ok_or(RestoreError::Interrupted(Interrupted::Cancelled))?;
        Ok((tally, findings))
    }

    /// Decides, and sends what was decided with the content that it needs.
    async fn send(mut self, receiver: &Receiver) -> Result<Tally, RestoreError> {
        let mut tally = Tally::default();
        let mut entered: Vec<EntryPath> = Vec::new();
        for path in &self.selection.paths {
            for ancestor in ancestors(path) {
                if entered.contains(&ancestor) {
                    continue;
                }
                let entry = self.reader.stat(&ancestor).await.map_err(SnapshotError::from)?;
                entered.push(ancestor);
                let decision = self.decider.lock().await.passage(&entry).await?;
                if !receiver.send(Step::Begin(Box::new(entry), decision)).await {
                    return Ok(tally);
                }
            }
            if !self.send_below(path, receiver, &mut tally).await? {
                return Ok(tally);
            }
        }
        // Nobody receives where the writer failed, which then says so itself.
        receiver.send(Step::Done).await;
        Ok(tally)
    }

    /// Whether somebody still receives.
    async fn send_below(&mut self, path: &EntryPath, receiver: &Receiver, tally: &mut Tally) -> Result<bool, RestoreError> {
        let brings_content = matches!(receiver, Receiver::Writer(_));
        let (filter, decisions) = Filter::new(Arc::clone(&self.decider), brings_content);
        let mut walk = self.reader.walk_content(path, filter).await.map_err(SnapshotError::from)?;
        let mut passages = Passages::default();
        let mut in_file = false;
        while let Some(piece) = walk.next().await.map_err(SnapshotError::from)? {
            let mut steps = Vec::new();
            match piece {
                Piece::Entry(entry) => {
                    steps.extend(in_file.then_some(Step::FinishFile));
                    in_file = false;
                    let decision = next(&decisions)?;
                    tally.count(&decision);
                    if let (Some(tell), Some(change)) = (&mut self.tell, decision.change()) {
                        tell(&entry.path, change);
                    }
                    if !brings_content {
                        self.progress.add_entry();
                    }
                    if decision.action == Action::Refuse {
                        // Nothing comes of it.
                    } else if decision.is_passage {
                        passages.push(*entry, decision);
                    } else {
                        steps.extend(passages.lead_to(&entry.path));
                        in_file = has_content(&entry, &decision);
                        steps.push(Step::Begin(entry, decision));
                    }
                }
                Piece::Content(data) => steps.push(Step::Content(data)),
                Piece::Gap(bytes) => steps.push(Step::Gap(bytes)),
            }
            for step in steps {
                if !receiver.send(step).await {
                    return Ok(false);
                }
            }
        }
        Ok(!in_file || receiver.send(Step::FinishFile).await)
    }
}

/// The decision on the entry that comes next in a walk, which was made before the walk told the entry.
fn next(decisions: &Decisions) -> Result<Decision, RestoreError> {
    Ok(decisions.try_recv().map_err(|_| RestoreError::Writer)??)
}

/// Whether a file is opened, and has to be finished.
fn has_content(entry: &SnapshotEntry, decision: &Decision) -> bool {
    entry.metadata.node_type == NodeType::File && matches!(decision.action, Action::Create | Action::Replace | Action::Update(_))
}

/// Folders that are only entered if something in them is restored.
#[derive(Default)]
struct Passages(Vec<(SnapshotEntry, Decision)>);

impl Passages {
    fn push(&mut self, entry: SnapshotEntry, decision: Decision) {
        self.leave(&entry.path);
        self.0.push((entry, decision));
    }

    /// Steps into those on the way to `path` that were not entered yet.
    fn lead_to(&mut self, path: &EntryPath) -> impl Iterator<Item = Step> {
        self.leave(path);
        let entering = std::mem::take(&mut self.0);
        entering.into_iter().map(|(entry, decision)| Step::Begin(Box::new(entry), decision))
    }

    fn leave(&mut self, path: &EntryPath) {
        while self.0.last().is_some_and(|(entry, _)| !path.starts_with(&entry.path)) {
            self.0.pop();
        }
    }
}

/// Does what comes; `None` where it was cut short.
fn write_steps(
    mut writer: FolderWriter,
    mut steps: mpsc::Receiver<Step>,
    progress: &Progress,
) -> Result<Option<Vec<Finding>>, FolderError> {
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Begin(entry, decision) => {
                let kept = if decision.action == Action::Keep { decision.bytes } else { 0 };
                if !decision.is_passage {
                    progress.add_entry();
                }
                writer.begin(*entry, &decision)?;
                progress.add(kept);
            }
            Step::Content(data) => {
                progress.add(data.len() as u64);
                writer.write(&data)?;
            }
            Step::Gap(bytes) => {
                progress.add(bytes);
                writer.skip(bytes);
            }
            Step::FinishFile => writer.finish_file()?,
            Step::Done => return writer.finish().map(Some),
        }
    }
    Ok(None)
}

fn ancestors(path: &EntryPath) -> Vec<EntryPath> {
    let bytes = path.as_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.filter_map(|at| EntryPath::new(&bytes[..at]).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ancestors_come_from_the_outside_in() {
        let paths = |texts: &[&str]| texts.iter().map(|text| EntryPath::new(*text).unwrap()).collect::<Vec<_>>();
        assert_eq!(ancestors(&EntryPath::new("a/b/c").unwrap()), paths(&["a", "a/b"]));
        assert_eq!(ancestors(&EntryPath::default()), paths(&[]));
    }
}

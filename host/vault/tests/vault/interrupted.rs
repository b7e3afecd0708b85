//! Runs that end at any moment: their future is dropped at each of its awaits, the machine dies with writes on their way, and a disk lies about what it
//! has kept.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bulkhead_vault::Vault;
use bytes::Bytes;
use rand::{Rng, rngs::StdRng};

use crate::{
    every_call::{End, Ground, SMALL, nothing_is_read_wrongly, nothing_lingers, run, run_in},
    random_tree::chance,
    support::{Call, Faulty, Hook, Hooked, long, password, random, read, small_packs, verify},
};

/// A future that is given up when it has been polled so often.
struct Limited<F> {
    inner: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for Limited<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.polls = left;
        self.inner.as_mut().poll(context).map(Some)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_dropped_at_each_of_its_awaits() {
    let ground = Ground::new().await;
    for polls in 1.. {
        ground.memory.tamper(|objects| objects.clone_from(&ground.objects));
        let store = Faulty::new(ground.memory.clone());
        let limited = Limited {
            inner: Box::pin(run(&store, &ground.first, SMALL)),
            polls,
        };
        let end = limited.await.unwrap_or(End::Dropped);
        nothing_lingers(&store).await;
        ground.is_whole(&end, SMALL).await;
        if let End::Committed(_) = end {
            // The awaits of opening, reading the parent, each entry and each step of the commit.
            assert!(polls > 10, "only {polls} polls");
            break;
        }
    }
}

/// What happened to an object.
enum Event {
    /// A put began.
    Begun(String, Bytes),
    /// It has returned.
    Ended(String),
    Deleted(String),
}

/// Notes when writes begin and when they are acknowledged.
#[derive(Default)]
struct Recorder {
    events: Mutex<Vec<Event>>,
}

#[async_trait]
impl Hook for Recorder {
    async fn before(&self, call: Call<'_>) {
        if let Call::Put(key, body) = call {
            self.events
                .lock()
                .unwrap()
                .push(Event::Begun(key.to_owned(), body.parts.concat().into()));
            // Others have time to begin as well: that they do is no condition, because there need not be any.
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    }

    async fn after(&self, call: Call<'_>) {
        let event = match call {
            Call::Put(key, _) => Event::Ended(key.to_owned()),
            Call::Delete(key) => Event::Deleted(key.to_owned()),
            Call::List(_) => return,
        };
        self.events.lock().unwrap().push(event);
    }
}

/// A whole run, and what happened in it.
async fn recorded_run(ground: &Ground) -> (End, Vec<Event>) {
    ground.memory.tamper(|objects| objects.clone_from(&ground.objects));
    let store = Hooked::new(ground.memory.clone(), Recorder::default());
    let vault = Vault::open(store.clone(), &password()).await.unwrap().with_options(small_packs());
    let end = run_in(&vault, &ground.first, SMALL).await;
    let events = std::mem::take(&mut *store.hook.events.lock().unwrap());
    (end, events)
}

/// What a disk has when the machine dies after these events: all that was acknowledged, and some of what was on its way.
fn after_a_crash(ground: &Ground, events: &[Event], chance: &mut StdRng) -> BTreeMap<String, Bytes> {
    let mut objects = ground.objects.clone();
    let mut on_their_way = BTreeMap::new();
    for event in events {
        match event {
            Event::Begun(key, content) => {
                on_their_way.insert(key, content);
            }
            Event::Ended(key) => {
                objects.insert(key.clone(), on_their_way.remove(key).unwrap().clone());
            }
            Event::Deleted(key) => {
                objects.remove(key);
            }
        }
    }
    for (key, content) in on_their_way {
        if chance.random_bool(0.5) {
            objects.insert(key.clone(), content.clone());
        }
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_dies_with_writes_on_their_way_leaves_a_good_vault() {
    let mut chance = chance();
    let ground = Ground::new().await;
    for _ in 0..if long() { 50 } else { 2 } {
        let (end, events) = recorded_run(&ground).await;
        assert!(matches!(end, End::Committed(_)));
        for last in 0..=events.len() {
            let objects = after_a_crash(&ground, &events[..last], &mut chance);
            let snapshots = objects.keys().filter(|key| key.starts_with("snapshots/")).count();
            ground.memory.tamper(|now| *now = objects);
            assert_eq!(ground.vault.snapshots().await.unwrap().len(), snapshots);
            ground.is_whole(&End::Dropped, SMALL).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lying_disk_has_lost_is_found_and_never_read() {
    let mut chance = chance();
    let ground = Ground::new().await;
    let (end, _) = recorded_run(&ground).await;
    let End::Committed(id) = end else { panic!("the run failed") };
    let after = ground.memory.tamper(|objects| objects.clone());
    let new: Vec<&String> = after.keys().filter(|key| !ground.objects.contains_key(*key)).collect();
    assert!(new.len() >= 4, "{new:?}");
    for round in 0..new.len() + if long() { 500 } else { 30 } {
        // Each alone, then any of them.
        let is_lost = |number| {
            if round < new.len() {
                number == round
            } else {
                chance.random_bool(0.3)
            }
        };
        let lost: Vec<bool> = (0..new.len()).map(is_lost).collect();
        ground.memory.tamper(|objects| {
            objects.clone_from(&after);
            new.iter().zip(&lost).filter(|(_, lost)| **lost).for_each(|(key, _)| {
                objects.remove(*key);
            });
        });
        let report = verify(&ground.vault).await;
        assert!(
            report
                .problems
                .iter()
                .all(|problem| !problem.snapshots.contains(&ground.first.snapshot.id))
        );
        let there = ground.vault.snapshots().await.unwrap().iter().any(|snapshot| snapshot.id == id);
        let something_else = new.iter().zip(&lost).any(|(key, lost)| *lost && !key.starts_with("snapshots/"));
        if there && something_else {
            let found = report.problems.iter().any(|problem| problem.snapshots == [id]);
            assert!(found, "{lost:?} of {new:?} are lost, and the snapshot is said to be whole");
        }
        if there {
            let all = nothing_is_read_wrongly(&ground.vault, id).await;
            assert!(all || something_else);
        }
        let first = ground.vault.read(ground.first.snapshot.id).await.unwrap();
        assert!(read(&first, "first").await == random(3 << 20, 100));
    }
}

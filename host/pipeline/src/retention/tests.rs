//! The rules by themselves, and against plain restic on the same snapshots.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, path::Path, process::Command, sync::Arc};

use bulkhead_config::Period;
use bulkhead_model::Proof;
use bulkhead_vault::{BeginSnapshot, InitOptions, ObjectId, PluginIdentity, SnapshotRecord, Vault, stores::FolderStore};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

fn time(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().unwrap();
    Timestamp {
        seconds: time.as_second(),
        nanoseconds: 0,
    }
}

/// A snapshot of that time, and no other one's copy.
fn snapshot(time: Timestamp) -> SnapshotInfo {
    let tree = ObjectId::of(format!("{time:?}").as_bytes());
    SnapshotInfo {
        id: tree,
        time,
        host: "here".to_owned(),
        pipeline: Some("shop".to_owned()),
        paths: Vec::new(),
        tags: Vec::new(),
        parent: None,
        tree,
        original: None,
        recorded: None,
    }
}

const UNVERIFIED: [bool; 3] = [false; 3];

fn taken(time: Timestamp) -> Taken {
    Taken::of(&snapshot(time), None, UNVERIFIED)
}

fn at(now: Timestamp) -> Circumstances {
    Circumstances {
        zone: TimeZone::UTC,
        now,
        clock_is_right: true,
        rpo: None,
    }
}

/// The same, where the clock may have jumped.
fn unsure(now: Timestamp) -> Circumstances {
    Circumstances {
        clock_is_right: false,
        ..at(now)
    }
}

fn kept(retention: &Retention, texts: &[&str]) -> Vec<bool> {
    let times: Vec<Taken> = texts.iter().map(|text| taken(time(text))).collect();
    apply(retention, &times, &at(time("2026-12-01T00:00:00Z")))
        .iter()
        .map(|reasons| !reasons.is_empty())
        .collect()
}

#[test]
fn the_newest_stays_whatever_the_rules_say() {
    let nothing = Retention::default();
    assert_eq!(kept(&nothing, &["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"]), [false, true]);
}

#[test]
fn days_end_where_the_operator_lives() {
    let daily = Retention {
        daily: Some(9),
        ..Retention::default()
    };
    let times = ["2026-05-01T22:30:00Z", "2026-05-02T10:00:00Z", "2026-05-02T21:00:00Z"].map(|text| taken(time(text)));
    let there = Circumstances {
        zone: TimeZone::fixed(jiff::tz::offset(2)),
        ..at(time("2026-12-01T00:00:00Z"))
    };
    let reasons = apply(&daily, &times, &there);
    // All three are of one day there; in UTC the first is of the day before.
    assert_eq!(reasons.iter().map(Vec::is_empty).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn a_snapshot_of_the_future_takes_nobodys_place() {
    let last = Retention {
        last: Some(1),
        hourly: Some(1),
        ..Retention::default()
    };
    let times = ["2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z", "2030-01-01T00:00:00Z"];
    assert_eq!(kept(&last, &times), [false, true, true]);
    assert_eq!(kept(&Retention::default(), &times), [false, true, true]);
}

#[test]
fn an_indefinite_retention_keeps_all() {
    let indefinite = Retention {
        indefinite: true,
        ..Retention::default()
    };
    assert_eq!(kept(&indefinite, &["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"]), [true, true]);
}

#[test]
fn within_counts_from_the_newest_snapshot() {
    let week = Retention {
        within: Some(Period::parse("7 d").unwrap()),
        ..Retention::default()
    };
    let times = ["2020-01-01T00:00:00Z", "2020-01-05T00:00:00Z", "2020-01-10T00:00:00Z"];
    assert_eq!(kept(&week, &times), [false, true, true]);
}

#[test]
fn a_snapshot_of_a_clock_that_was_set_back_takes_nobodys_place() {
    let last = Retention {
        last: Some(2),
        ..Retention::default()
    };
    let days: Vec<Timestamp> = (1..=4).map(|day| time(&format!("2026-05-0{day}T00:00:00Z"))).collect();
    let back = Taken {
        parent: Some(days[3]),
        ..taken(time("2025-01-01T00:00:00Z"))
    };
    let all: Vec<Taken> = days.iter().copied().map(taken).chain([back]).collect();
    let kept = apply(&last, &all, &at(time("2026-12-01T00:00:00Z")));
    assert_eq!(kept, [vec![], vec![], vec!["last"], vec!["last"], vec!["clock"]]);
}

#[test]
fn copies_of_one_snapshot_take_nobodys_place() {
    let last = Retention {
        last: Some(2),
        ..Retention::default()
    };
    let days: Vec<SnapshotInfo> = (1..=3).map(|day| snapshot(time(&format!("2026-05-0{day}T00:00:00Z")))).collect();
    let again = |name: &str| SnapshotInfo {
        id: ObjectId::of(name.as_bytes()),
        original: Some(days[2].id),
        ..days[2].clone()
    };
    let all = [days[0].clone(), days[1].clone(), days[2].clone(), again("one"), again("two")];
    let all: Vec<Taken> = all.iter().map(|snapshot| Taken::of(snapshot, None, UNVERIFIED)).collect();
    let kept = apply(&last, &all, &at(time("2026-12-01T00:00:00Z")));
    assert_eq!(kept, [vec![], vec!["last"], vec![], vec![], vec!["last"]]);
}

#[test]
fn what_remained_of_a_damaged_snapshot_is_not_all_that_stays() {
    let last = Retention {
        last: Some(1),
        ..Retention::default()
    };
    let days: Vec<SnapshotInfo> = (1..=4).map(|day| snapshot(time(&format!("2026-05-0{day}T00:00:00Z")))).collect();
    let repaired = |number: usize| SnapshotInfo {
        tags: vec!["repaired".to_owned()],
        ..days[number].clone()
    };
    let all = [days[0].clone(), days[1].clone(), repaired(2), repaired(3)];
    let all: Vec<Taken> = all.iter().map(|snapshot| Taken::of(snapshot, None, UNVERIFIED)).collect();
    let kept = apply(&last, &all, &at(time("2026-12-01T00:00:00Z")));
    assert_eq!(kept, [vec![], vec!["whole"], vec![], vec!["last"]]);
}

#[test]
fn nothing_goes_while_the_newest_is_older_than_the_rpo() {
    let last = Retention {
        last: Some(1),
        ..Retention::default()
    };
    let times = ["2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"].map(|text| taken(time(text)));
    let with_rpo = |now: &str| Circumstances {
        rpo: Some(Duration::from_secs(3600)),
        ..at(time(now))
    };
    assert_eq!(apply(&last, &times, &with_rpo("2026-05-02T00:59:59Z")), [vec![], vec!["last"]]);
    assert_eq!(
        apply(&last, &times, &with_rpo("2026-05-02T01:00:00Z")),
        [vec![OVERDUE], vec!["last"]]
    );
}

/// A history of runs, some of which had a wrong clock, and rules; the same for the same seed.
fn history(random: &mut StdRng) -> (Retention, Vec<Taken>, Timestamp) {
    let mut count = || random.random_bool(0.5).then(|| random.random_range(0..6));
    let retention = Retention {
        last: count(),
        hourly: count(),
        daily: count(),
        weekly: count(),
        monthly: count(),
        yearly: count(),
        verified: count(),
        ..Retention::default()
    };
    let mut seconds = 1_700_000_000_i64;
    let mut taken: Vec<Taken> = Vec::new();
    for _ in 0..random.random_range(0..60) {
        let longest = (40 * 86_400_i64) >> random.random_range(0..20);
        seconds += random.random_range(1..longest);
        let wrong = random.random_bool(0.1).then(|| random.random_range(-400..400) * 86_400);
        let time = Timestamp {
            seconds: seconds + wrong.unwrap_or(0),
            nanoseconds: 0,
        };
        let parent = taken.last().map(|last| last.time);
        let is_repaired = random.random_bool(0.2);
        let verified = [0.3, 0.1, 0.2].map(|share| random.random_bool(share));
        taken.push(Taken {
            is_repaired,
            ..Taken::of(&snapshot(time), parent, verified)
        });
    }
    (retention, taken, Timestamp { seconds, nanoseconds: 0 })
}

/// Which stay.
fn stays(retention: &Retention, snapshots: &[Taken], circumstances: &Circumstances) -> Vec<bool> {
    let reasons = apply(retention, snapshots, circumstances);
    reasons.iter().map(|reasons| !reasons.is_empty()).collect()
}

#[test]
fn a_pause_makes_nothing_older_until_somebody_says_that_it_was_one() {
    let rules = Retention {
        within: Some(Period::parse("3 d").unwrap()),
        ..Retention::default()
    };
    let days = ["2026-05-01", "2026-05-02", "2026-05-03", "2026-05-04", "2027-12-01"];
    let snapshots = days.map(|day| taken(time(&format!("{day}T00:00:00Z"))));
    let now = time("2027-12-01T00:00:01Z");
    assert_eq!(
        apply(&rules, &snapshots, &unsure(now)),
        [vec![], vec![PAUSE], vec![PAUSE], vec![PAUSE], vec!["within"]]
    );
    assert_eq!(
        apply(&rules, &snapshots, &at(now)),
        [vec![], vec![], vec![], vec![], vec!["within"]]
    );
    // A day without a snapshot gives the rule that counts days one place more; where there is none, all is as ever.
    let daily = Retention {
        daily: Some(2),
        ..Retention::default()
    };
    assert_eq!(
        apply(&daily, &snapshots, &unsure(now)),
        [vec![], vec![], vec![PAUSE], vec!["daily"], vec!["daily"]]
    );
    assert_eq!(stays(&daily, &snapshots[..4], &unsure(now)), [false, false, true, true]);
}

/// What goes by time after runs whose clock was fast would go after the same ones with a clock that is right, too, however fast it was.
#[test]
fn one_jump_of_the_clock_costs_no_time() {
    let (mut gone, mut kept) = (0, 0);
    for seed in 0..2000 {
        let mut random = StdRng::seed_from_u64(seed);
        let (_, snapshots, now) = sure_history(&mut random);
        let retention = Retention {
            within: Some(Period(Duration::from_secs(86_400 * random.random_range(1..200)))),
            verified: Some(random.random_range(1..3)),
            ..Retention::default()
        };
        let runs = runs(&mut random, now);
        let right = stays_after(&retention, &snapshots, &runs, at);
        let wrong = stays_after(
            &retention,
            &snapshots,
            &shifted(&runs, random.random_range(0..2000 * 86_400)),
            unsure,
        );
        for (number, taken) in snapshots.iter().enumerate() {
            assert!(wrong[number] || !right[number], "seed {seed}: {taken:?} goes by a jump");
            (gone, kept) = (gone + usize::from(!wrong[number]), kept + usize::from(wrong[number]));
        }
    }
    assert!(gone > 1000 && kept > 1000, "{gone} went and {kept} stayed");
}

/// What goes by its period after such runs would go with the run of the next period by a clock that is right. A second one is what a short month may cost.
#[test]
fn one_jump_of_the_clock_costs_no_period() {
    const PERIODS: [(PlaceOf, i64); 5] = [
        (|rules| &mut rules.hourly, 3600),
        (|rules| &mut rules.daily, 86_400),
        (|rules| &mut rules.weekly, 7 * 86_400),
        (|rules| &mut rules.monthly, 31 * 86_400),
        (|rules| &mut rules.yearly, 366 * 86_400),
    ];
    let (mut gone, mut kept) = (0, 0);
    for seed in 0..20_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let (_, snapshots, now) = sure_history(&mut random);
        let (rule, period) = PERIODS[random.random_range(0..PERIODS.len())];
        let mut retention = Retention::default();
        *rule(&mut retention) = Some(random.random_range(1..6));
        let runs = runs(&mut random, now);
        let jump = random.random_range(0..2000 * 86_400_i64) >> random.random_range(0..12);
        let wrong = stays_after(&retention, &snapshots, &shifted(&runs, jump), unsure);
        let last = runs.last().map_or(now.seconds, |last| last.seconds);
        let right = stays_after(&retention, &snapshots, &[&runs[..], &[seconds(last + period)]].concat(), at);
        for (number, taken) in snapshots.iter().enumerate() {
            assert!(
                wrong[number] || !right[number],
                "seed {seed}: {taken:?} goes by a jump of {jump} s and {retention:?}"
            );
            (gone, kept) = (gone + usize::from(!wrong[number]), kept + usize::from(wrong[number]));
        }
    }
    assert!(gone > 1000 && kept > 1000, "{gone} went and {kept} stayed");
}

/// A snapshot each day of three years, and one more after a jump into another period.
#[test]
fn a_jump_of_little_more_than_a_period_takes_no_place() {
    for (rule, jump) in [
        ("yearly", 400 * 86_400),
        ("monthly", 45 * 86_400),
        ("weekly", 10 * 86_400),
        ("daily", 46 * 3600),
    ] {
        let mut retention = Retention::default();
        let place = match rule {
            "yearly" => &mut retention.yearly,
            "monthly" => &mut retention.monthly,
            "weekly" => &mut retention.weekly,
            _ => &mut retention.daily,
        };
        *place = Some(3);
        let end = time("2026-11-23T01:00:00Z").seconds;
        let snapshots: Vec<Taken> = (0..3 * 366).rev().map(|days| taken(seconds(end - days * 86_400))).collect();
        let next = seconds(end + 3600);
        let right = stays_after(&retention, &snapshots, &[next], at);
        let wrong = stays_after(&retention, &snapshots, &shifted(&[next], jump), unsure);
        let oldest = |stays: &[bool]| stays.iter().position(|stays| *stays);
        assert_eq!(oldest(&wrong), oldest(&right), "{rule}");
    }
}

/// How many periods a rule keeps.
type PlaceOf = fn(&mut Retention) -> &mut Option<u32>;

fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: 0 }
}

/// A history without a clock that is wrong.
fn sure_history(random: &mut StdRng) -> (Retention, Vec<Taken>, Timestamp) {
    let (retention, mut snapshots, now) = history(random);
    snapshots.retain(|taken| at(now).wrong_clock(taken).is_none());
    (retention, snapshots, now)
}

/// The times of a few runs from `now` on, hours to days from each other.
fn runs(random: &mut StdRng, now: Timestamp) -> Vec<Timestamp> {
    let step = 3600_i64 << random.random_range(0..6);
    (1..=random.random_range(1..20))
        .map(|number| seconds(now.seconds + number * step))
        .collect()
}

fn shifted(times: &[Timestamp], jump: i64) -> Vec<Timestamp> {
    times.iter().map(|time| seconds(time.seconds + jump)).collect()
}

/// Which of `snapshots` stay after `runs`, at the last of them.
fn stays_after(retention: &Retention, snapshots: &[Taken], runs: &[Timestamp], by: fn(Timestamp) -> Circumstances) -> Vec<bool> {
    let all: Vec<Taken> = snapshots.iter().copied().chain(runs.iter().copied().map(taken)).collect();
    let now = runs.last().copied().unwrap_or(seconds(i64::MAX));
    let mut stays = stays(retention, &all, &by(now));
    stays.truncate(snapshots.len());
    stays
}

#[test]
fn of_no_history_anything_goes_while_its_newest_is_as_old_as_the_rpo() {
    for seed in 0..3000 {
        let mut random = StdRng::seed_from_u64(seed);
        let (retention, snapshots, now) = history(&mut random);
        let snapshots: Vec<Taken> = snapshots.into_iter().filter(|taken| at(now).wrong_clock(taken).is_none()).collect();
        let Some(newest) = snapshots.iter().map(|taken| taken.time).max() else {
            continue;
        };
        let rpo = random.random_range(1..100_000);
        // At the boundary, and on both sides of it.
        for age in [0, rpo - 1, rpo, rpo + 1, rpo + random.random_range(0..1 << 40)] {
            let without = at(Timestamp {
                seconds: newest.seconds + age,
                ..newest
            });
            let with = Circumstances {
                rpo: Some(Duration::from_secs(rpo.unsigned_abs())),
                zone: TimeZone::UTC,
                ..without
            };
            let (free, bound) = (apply(&retention, &snapshots, &at(with.now)), apply(&retention, &snapshots, &with));
            for (free, bound) in free.iter().zip(&bound) {
                let expected = if free.is_empty() && age >= rpo {
                    vec![OVERDUE]
                } else {
                    free.clone()
                };
                assert_eq!(*bound, expected, "seed {seed}: {age} s old with an RPO of {rpo} s");
            }
        }
    }
}

#[test]
fn no_history_and_no_clock_lets_go_of_what_must_stay() {
    for seed in 0..3000 {
        let mut random = StdRng::seed_from_u64(seed);
        let (retention, snapshots, now) = history(&mut random);
        let at = if random.random_bool(0.5) { at } else { unsure };
        let kept = |snapshots: &[Taken], circumstances: &Circumstances| -> Vec<bool> { stays(&retention, snapshots, circumstances) };
        let today = kept(&snapshots, &at(now));
        let is_sure = |taken: &&Taken| at(now).wrong_clock(taken).is_none();
        let newest = snapshots.iter().filter(is_sure).map(|taken| taken.time).max();
        let whole = |taken: &&Taken| is_sure(taken) && !taken.is_repaired;
        let newest_whole = snapshots.iter().filter(whole).map(|taken| taken.time).max();
        for (taken, stays) in snapshots.iter().zip(&today) {
            let is_newest = Some(taken.time) == newest || !taken.is_repaired && Some(taken.time) == newest_whole;
            let must = !is_sure(&taken) || is_newest;
            assert!(*stays || !must, "seed {seed}: {taken:?} goes");
        }
        let sure: Vec<bool> = snapshots
            .iter()
            .zip(&today)
            .filter(|(taken, _)| is_sure(taken))
            .map(|(_, stays)| *stays)
            .collect();
        let last = retention.last.unwrap_or(0) as usize;
        assert!(
            sure.iter().filter(|stays| **stays).count() >= last.min(sure.len()),
            "seed {seed}: fewer than `last`"
        );
        // The last that were verified stay, at whatever depth that was, however old they are.
        for depth in 0..3 {
            let mut verified: Vec<(Timestamp, bool)> = snapshots
                .iter()
                .zip(&today)
                .filter(|(taken, _)| is_sure(taken) && !taken.is_repaired && taken.verified[depth])
                .map(|(taken, stays)| (taken.time, *stays))
                .collect();
            verified.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
            let last = verified.iter().take(retention.verified.unwrap_or(0) as usize);
            assert!(last.into_iter().all(|(_, stays)| *stays), "seed {seed}: a verified one goes");
        }
        // However wrong the clock is at the time of `forget`: nothing goes that would not go today.
        let jump = random.random_range(-4000..4000) * 86_400;
        let jumped = Timestamp {
            seconds: now.seconds + jump,
            ..now
        };
        if jump <= 0 {
            for ((taken, then), stays) in snapshots.iter().zip(kept(&snapshots, &at(jumped))).zip(&today) {
                assert!(then || !stays, "seed {seed}: {taken:?} goes by a clock that was set back");
            }
        } else {
            let far = Circumstances {
                rpo: Some(Duration::from_secs(3600)),
                ..at(jumped)
            };
            assert!(
                kept(&snapshots, &far).into_iter().all(|stays| stays),
                "seed {seed}: something goes by a clock that was set forward"
            );
        }
    }
}

/// A vault with snapshots at odd times over three years.
async fn vault_with_history(folder: &Path) -> Vault {
    let vault = Vault::init(Arc::new(FolderStore::new(folder)), &"secret".into(), InitOptions::default())
        .await
        .unwrap();
    let begin = time("2021-12-30T22:00:00Z").seconds;
    // Steps of minutes, hours, days and weeks; no two snapshots of the same second.
    let steps = [7 * 60, 3600, 5 * 3600 + 17, 86_400, 3 * 86_400 + 11 * 3600, 8 * 86_400, 33 * 86_400];
    let mut seconds = begin;
    for number in 0..70_usize {
        seconds += steps[(number * number + number / 7) % steps.len()];
        let snapshot = BeginSnapshot {
            pipeline: "shop".to_owned(),
            host: "here".to_owned(),
            time: Timestamp { seconds, nanoseconds: 0 },
            parent: None,
        };
        let writer = vault.begin(snapshot).await.unwrap();
        writer.commit(record(seconds)).await.unwrap();
    }
    vault
}

fn record(seconds: i64) -> SnapshotRecord {
    SnapshotRecord {
        bulkhead_version: "0".to_owned(),
        plugin: PluginIdentity {
            name: "test".to_owned(),
            version: "0".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        config_digest: None,
        started: Timestamp { seconds, nanoseconds: 0 },
        proof: Proof {
            entries: 0,
            bytes: 0,
            complete: true,
            facts: Vec::new(),
        },
        findings: Vec::new(),
        checkpoint: None,
    }
}

/// The snapshots that restic would keep.
fn kept_by_restic(folder: &Path, options: &str) -> BTreeSet<String> {
    let output = Command::new("restic")
        .args(["--no-cache", "--json", "--repo"])
        .arg(folder)
        .args(["forget", "--dry-run", "--group-by", ""])
        .args(options.split(' '))
        .env("RESTIC_PASSWORD", "secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let groups: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kept = groups[0]["keep"].as_array().unwrap().iter();
    kept.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_keep_what_restic_keeps() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("vault");
    let vault = vault_with_history(&folder).await;
    let snapshots = vault.snapshots().await.unwrap();
    let times: Vec<Taken> = snapshots.iter().map(|snapshot| taken(snapshot.time)).collect();
    let now = at(crate::clock::now());
    let days = |days: u64| Some(Period(std::time::Duration::from_secs(days * 86_400)));
    let none = Retention::default;
    for (options, retention) in [
        ("--keep-last 5", Retention { last: Some(5), ..none() }),
        ("--keep-hourly 9", Retention { hourly: Some(9), ..none() }),
        ("--keep-daily 11", Retention { daily: Some(11), ..none() }),
        (
            "--keep-weekly 30",
            Retention {
                weekly: Some(30),
                ..none()
            },
        ),
        (
            "--keep-monthly 500",
            Retention {
                monthly: Some(500),
                ..none()
            },
        ),
        ("--keep-yearly 2", Retention { yearly: Some(2), ..none() }),
        (
            "--keep-within 100d",
            Retention {
                within: days(100),
                ..none()
            },
        ),
        (
            "--keep-last 2 --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --keep-yearly 9 --keep-within 30d",
            Retention {
                last: Some(2),
                daily: Some(7),
                weekly: Some(4),
                monthly: Some(12),
                yearly: Some(9),
                within: days(30),
                ..none()
            },
        ),
    ] {
        let reasons = apply(&retention, &times, &now);
        let ours: BTreeSet<String> = snapshots
            .iter()
            .zip(reasons)
            .filter(|(_, reasons)| !reasons.is_empty())
            .map(|(snapshot, _)| snapshot.id.to_string())
            .collect();
        assert_eq!(ours, kept_by_restic(&folder, options), "{options}");
    }
}

//! The rules by themselves, and against plain restic on the same snapshots.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, path::Path, process::Command, sync::Arc};

use bulkhead_config::Period;
use bulkhead_model::Proof;
use bulkhead_vault::{BeginSnapshot, InitOptions, PluginIdentity, SnapshotRecord, Vault, stores::FolderStore};

use super::*;

fn time(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().unwrap();
    Timestamp {
        seconds: time.as_second(),
        nanoseconds: 0,
    }
}

fn kept(retention: &Retention, texts: &[&str]) -> Vec<bool> {
    let times: Vec<Timestamp> = texts.iter().map(|text| time(text)).collect();
    let now = time("2026-12-01T00:00:00Z");
    apply(retention, &times, &TimeZone::UTC, now)
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
    let times: Vec<Timestamp> = ["2026-05-01T22:30:00Z", "2026-05-02T10:00:00Z", "2026-05-02T21:00:00Z"]
        .iter()
        .map(|text| time(text))
        .collect();
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let reasons = apply(&daily, &times, &zone, time("2026-12-01T00:00:00Z"));
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
fn within_counts_from_the_newest_snapshot() {
    let week = Retention {
        within: Some(Period::parse("7 d").unwrap()),
        ..Retention::default()
    };
    let times = ["2020-01-01T00:00:00Z", "2020-01-05T00:00:00Z", "2020-01-10T00:00:00Z"];
    assert_eq!(kept(&week, &times), [false, true, true]);
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
    let times: Vec<Timestamp> = snapshots.iter().map(|snapshot| snapshot.time).collect();
    let now = crate::clock::now();
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
        let reasons = apply(&retention, &times, &TimeZone::UTC, now);
        let ours: BTreeSet<String> = snapshots
            .iter()
            .zip(reasons)
            .filter(|(_, reasons)| !reasons.is_empty())
            .map(|(snapshot, _)| snapshot.id.to_string())
            .collect();
        assert_eq!(ours, kept_by_restic(&folder, options), "{options}");
    }
}

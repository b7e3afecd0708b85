//! `status`: how old the last snapshots are, and what further sinks lack.

use std::ffi::OsStr;
use std::fs;

use bulkhead_test_support::{Tool, run};
use serde_json::Value;

use crate::replicas::Pair;
use crate::world::World;

fn pipelines(world: &World, code: i32) -> Vec<Value> {
    let outcome = world.run(&["status", "--json"]);
    assert_eq!(outcome.code, Some(code), "{}{}", outcome.stdout, outcome.stderr);
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    document["pipelines"].as_array().unwrap().clone()
}

#[test]
fn a_pipeline_is_good_overdue_or_has_no_snapshot() {
    let world = World::with_a_snapshot();
    let text = |objectives: &str| {
        let good = crate::world::GOOD.replace("seed = 7 }", &format!("seed = 7 }}\n{objectives}"));
        let other = good.replace("[pipeline.good", "[pipeline.other");
        format!(
            "{}\n{}{good}\n{other}",
            world.bulkhead().vault_section(),
            crate::world::plugin_section("misbehaving-source")
        )
    };
    world.write(&text("objectives = { rpo = \"1 h\" }"));
    let found = pipelines(&world, 14);
    assert_eq!(
        (&found[0]["standing"], &found[1]["standing"]),
        (&"good".into(), &"none".into()),
        "{found:#?}"
    );
    assert_eq!((&found[0]["snapshots"], &found[0]["rpo-seconds"]), (&1.into(), &3600.into()));
    assert!(found[0]["last"]["age-seconds"].as_u64().unwrap() < 3600 && found[1]["last"].is_null());
    world.write(&text("objectives = { rpo = \"1 s\" }"));
    while pipelines(&world, 14)[0]["standing"] != "overdue" {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let shown = world.run(&["status", "good"]);
    assert_eq!(shown.code, Some(14));
    assert!(shown.stderr.contains("older than its RPO"), "{}", shown.stderr);
    world.write(&text(""));
    assert_eq!(world.run(&["status", "good"]).code, Some(0));
}

#[test]
fn what_a_further_sink_lacks_is_told() {
    let pair = Pair::with_snapshots(2, 9);
    let replica = |code| pipelines(&pair.world, code)[0]["replicas"][0].clone();
    let whole = replica(0);
    assert_eq!((&whole["sink"], &whole["behind"]), (&"second".into(), &0.into()), "{whole}");
    let newest = pair.snapshots("disk").pop().unwrap();
    fs::remove_file(pair.second.join("snapshots").join(&newest)).unwrap();
    let behind = replica(15);
    assert_eq!(behind["behind"], 1, "{behind}");
    assert_ne!(behind["last"]["id"], newest.as_str());
    let shown = pair.world.run(&["status"]);
    assert!(
        shown.stdout.contains("second -1") && shown.stderr.contains("lacks 1 snapshot"),
        "{}{}",
        shown.stdout,
        shown.stderr
    );
    // A damaged snapshot may be the one that matters.
    let file = pair.world.bulkhead().vault().join("snapshots").join(&newest);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..20]).unwrap();
    let damaged = pair.world.run(&["status"]);
    assert_eq!(damaged.code, Some(10), "{}{}", damaged.stdout, damaged.stderr);
    assert!(damaged.stderr.contains(&newest[..8]), "{}", damaged.stderr);
    fs::write(&file, whole).unwrap();
    fs::remove_dir_all(&pair.second).unwrap();
    let away = replica(15);
    assert!(away["error"].is_string() || away["behind"] == 2, "{away}");
}

/// What Prometheus' own reader of OpenMetrics, which is strict, makes of a file: samples with their labels.
fn samples(file: &std::path::Path) -> Vec<(String, Value, f64)> {
    let script = "import json, sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                  print(json.dumps([[s.name, s.labels, s.value] for f in read(open(sys.argv[1]).read()) for s in f.samples]))";
    let python = Tool::at("/usr/bin/python3", "apt-get install python3-prometheus-client").unwrap();
    let mut command = python.command([OsStr::new("-c"), OsStr::new(script), file.as_os_str()]);
    let samples: Vec<(String, Value, f64)> = serde_json::from_slice(&run(&mut command).unwrap().stdout).unwrap();
    samples
}

#[test]
fn metrics_are_what_the_status_says_and_prometheus_reads() {
    let pair = Pair::with_snapshots(2, 9);
    let file = pair.world.folder().join("bulkhead.prom");
    let measure = |code| {
        let outcome = pair.world.run(&["status", "--metrics", file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(code), "{}{}", outcome.stdout, outcome.stderr);
        samples(&file)
    };
    let value = |samples: &[(String, Value, f64)], name: &str, label: (&str, &str)| {
        let found = samples
            .iter()
            .find(|(found, labels, _)| found == name && labels[label.0] == label.1);
        found.map(|(_, _, value)| *value)
    };
    let whole = measure(0);
    let status = &pipelines(&pair.world, 0)[0];
    let (pipeline, vault) = (status["pipeline"].as_str().unwrap(), status["vault"].as_str().unwrap());
    assert_eq!(value(&whole, "bulkhead_snapshots", ("pipeline", pipeline)), Some(2.0), "{whole:?}");
    assert_eq!(value(&whole, "bulkhead_vault_readable", ("vault", vault)), Some(1.0));
    assert_eq!(value(&whole, "bulkhead_replica_behind_snapshots", ("sink", "second")), Some(0.0));
    let collected = whole
        .iter()
        .find(|sample| sample.0 == "bulkhead_collected_timestamp_seconds")
        .unwrap()
        .2;
    let last = value(&whole, "bulkhead_last_snapshot_timestamp_seconds", ("pipeline", pipeline)).unwrap();
    assert!((0.0..3600.0).contains(&(collected - last)), "{collected} {last}");
    assert!(value(&whole, "bulkhead_key_age_seconds", ("vault", vault)).unwrap() < 3600.0);

    let newest = pair.snapshots("disk").pop().unwrap();
    fs::remove_file(pair.second.join("snapshots").join(&newest)).unwrap();
    assert_eq!(
        value(&measure(15), "bulkhead_replica_behind_snapshots", ("sink", "second")),
        Some(1.0)
    );
    // Nobody reads half of them, and what cannot be told is not told.
    for folder in [&pair.world.bulkhead().vault(), &pair.second] {
        fs::remove_file(folder.join("config")).unwrap();
    }
    let outcome = pair.world.run(&["status", "--metrics", file.to_str().unwrap()]);
    assert_ne!(outcome.code, Some(0));
    let gone = samples(&file);
    assert_eq!(value(&gone, "bulkhead_vault_readable", ("vault", vault)), Some(0.0), "{gone:?}");
    assert_eq!(value(&gone, "bulkhead_snapshots", ("pipeline", pipeline)), None);
    assert!(!pair.world.folder().join("bulkhead.prom.new").exists());
}

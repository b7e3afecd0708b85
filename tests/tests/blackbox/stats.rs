//! `stats` against `restic stats`, and against what forgetting and pruning really frees.

use serde_json::Value;

use crate::history::History;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn vault(history: &History) -> Value {
    history.json(0, &["stats"])["vaults"][0].clone()
}

fn used(vault: &Value) -> u64 {
    number(&vault["data"]["stored-bytes"]) + number(&vault["folders"]["stored-bytes"])
}

#[test]
fn restic_counts_the_same_blobs_bytes_and_entries() {
    let history = History::eventful();
    let vault = vault(&history);
    let raw = history.restic_json(&["stats", "--mode", "raw-data"]);
    assert_eq!(used(&vault), number(&raw["total_size"]));
    let blobs = number(&vault["data"]["blobs"]) + number(&vault["folders"]["blobs"]);
    assert_eq!(blobs, number(&raw["total_blob_count"]));
    let restored = history.restic_json(&["stats", "--mode", "restore-size"]);
    assert_eq!(vault["restore-bytes"], restored["total_size"]);
    assert_eq!(vault["unused-bytes"], 0);
    for (id, growth) in history.ids().iter().zip(vault["growth"].as_array().unwrap()) {
        let restored = history.restic_json(&["stats", "--mode", "restore-size", id]);
        assert_eq!(growth["snapshot"], id.as_str());
        assert_eq!(
            (&growth["bytes"], &growth["entries"]),
            (&restored["total_size"], &restored["total_file_count"])
        );
    }
    let good = &vault["pipelines"][0];
    assert_eq!((&good["pipeline"], &good["snapshots"]), (&"good".into(), &4.into()));
    assert_eq!(good["first"]["time"], "2026-01-01T00:00:00Z");
    assert_eq!(good["last"]["time"], "2026-01-04T00:00:00Z");
    assert_eq!(good["bytes"], vault["growth"][3]["bytes"]);
    let packs = history.packs();
    let bytes: u64 = packs.iter().map(|pack| pack.metadata().unwrap().len()).sum();
    assert_eq!(
        (number(&vault["packs"]["count"]), number(&vault["packs"]["bytes"])),
        (packs.len() as u64, bytes)
    );
}

#[test]
fn what_snapshots_added_is_all_that_is_used_and_what_is_unused_is_what_prune_frees() {
    let history = History::eventful();
    let before = vault(&history);
    let growth = before["growth"].as_array().unwrap();
    let added: Vec<u64> = growth.iter().map(|snapshot| number(&snapshot["added"]["stored-bytes"])).collect();
    assert_eq!(added.iter().sum::<u64>(), used(&before));
    assert!(
        added[0] > 3_000_000 && added[2] > 1_000_000 && added[3] < 2_000 && added[4] > 700_000,
        "{added:?}"
    );
    let other = &before["pipelines"][1];
    assert_eq!(other["pipeline"], "other");
    let exclusive = number(&other["exclusive"]["stored-bytes"]);
    assert!((700_000..720_000).contains(&exclusive), "{exclusive}");

    let ids = history.ids();
    history.restic().run(["forget", &ids[4]]).unwrap();
    let forgotten = vault(&history);
    let unused = number(&forgotten["unused-bytes"]);
    // What its packs had around its blobs is unused, too.
    assert!((exclusive..exclusive + 1_000).contains(&unused), "{unused} instead of {exclusive}");
    history.restic().run(["prune", "--max-unused", "0"]).unwrap();
    let pruned = vault(&history);
    assert_eq!(number(&pruned["unused-bytes"]), 0);
    let freed = number(&forgotten["packs"]["bytes"]) - number(&pruned["packs"]["bytes"]);
    assert!(freed.abs_diff(unused) < 1_000, "{freed} instead of {unused}");
    assert_eq!(used(&pruned), used(&forgotten));
}

#[test]
fn tables_show_pipelines_and_growth_and_can_be_narrowed_to_one() {
    let history = History::eventful();
    let text = history.succeed(&["stats", "other", "--growth"]);
    assert!(text.starts_with("vault main on sink disk\n  snapshots               5\n"), "{text}");
    for part in ["PIPELINE", "ITS OWN", "SNAPSHOT", "STORED", "2026-01-05 00:00:00"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("good"), "{text}");
    assert!(!history.succeed(&["stats"]).contains("STORED"));
}

#[test]
fn what_cannot_be_counted_is_told() {
    let history = History::eventful();
    let ids = history.ids();
    std::fs::remove_file(history.pack_of_root(&ids[4])).unwrap();
    let counted = history.json(10, &["stats"]);
    assert_eq!(counted["vaults"][0]["damage"].as_array().unwrap().len(), 1, "{counted}");
    assert_eq!(counted["vaults"][0]["growth"][4]["bytes"], 0);
    assert!(number(&counted["vaults"][0]["growth"][3]["bytes"]) > 3_000_000);
    let told = history.run(&["stats"]);
    assert!(told.stderr.contains("was not counted"), "{}", told.stderr);
}

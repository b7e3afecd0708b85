//! `find` against `restic find`: the same entries in the same snapshots, each told once.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::history::History;

type Places = BTreeSet<(String, String)>;

/// Every snapshot and path that a document of ours names.
fn ours(document: &Value) -> Places {
    let entries = document["entries"].as_array().unwrap();
    let places = entries.iter().flat_map(|entry| {
        let snapshots = entry["snapshots"].as_array().unwrap().iter();
        snapshots.map(|id| (id.as_str().unwrap().to_owned(), format!("/{}", entry["path"].as_str().unwrap())))
    });
    places.collect()
}

/// The same of a document of restic's.
fn theirs(document: &Value) -> Places {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let snapshots = document.as_array().unwrap().iter();
    let places = snapshots.flat_map(|snapshot| {
        let matches = snapshot["matches"].as_array().unwrap().iter();
        matches.map(|entry| (text(&snapshot["snapshot"]), text(&entry["path"])))
    });
    places.collect()
}

#[test]
fn restic_finds_the_same_entries_in_the_same_snapshots() {
    let history = History::eventful();
    let ids = history.ids();
    let options: [(&[&str], &[&str]); 7] = [
        (&["*.txt"], &["*.txt"]),
        (&["*.txt", "--ignore-case"], &["--ignore-case", "*.txt"]),
        (&["c*.txt", "l*"], &["c*.txt", "l*"]),
        (&["/docs/*.txt"], &["/docs/*.txt"]),
        (&["below/*.rs"], &["below/*.rs"]),
        (&["*.txt", "--snapshot", &ids[1]], &["--snapshot", &ids[1], "*.txt"]),
        (&["*.txt", "--pipeline", "other"], &["--tag", "pipeline:other", "*.txt"]),
    ];
    for (ask, ask_restic) in options {
        let found = ours(&history.json(0, &[&["find"], ask].concat()));
        let expected = theirs(&history.restic_json(&[&["find"], ask_restic].concat()));
        assert!(!expected.is_empty(), "{ask:?}");
        assert_eq!(found, expected, "{ask:?}");
    }
    let nothing = history.run(&["find", "no such name"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("nothing found in 5 snapshots"), "{}", nothing.stderr);
}

#[test]
fn an_entry_is_told_once_with_its_first_and_its_last_snapshot() {
    let history = History::eventful();
    let ids = history.ids();
    let found = history.json(0, &["find", "/docs/*"]);
    let entries = found["entries"].as_array().unwrap();
    let told: Vec<(&str, &str, &str, &str, u64)> = entries
        .iter()
        .map(|entry| {
            (
                entry["path"].as_str().unwrap(),
                entry["pipeline"].as_str().unwrap(),
                entry["first"]["id"].as_str().unwrap(),
                entry["last"]["id"].as_str().unwrap(),
                entry["size"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("docs/changing.txt", "good", 0, 0, 5),
        ("docs/changing.txt", "good", 1, 3, 18),
        ("docs/changing.txt", "other", 4, 4, 18),
        ("docs/coming.txt", "good", 1, 3, 3),
        ("docs/coming.txt", "other", 4, 4, 3),
        ("docs/copy.txt", "good", 1, 3, 13),
        ("docs/copy.txt", "other", 4, 4, 13),
        ("docs/going.txt", "good", 0, 1, 21),
        ("docs/same.txt", "good", 0, 3, 13),
        ("docs/same.txt", "other", 4, 4, 13),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, pipeline, first, last, size)| (*path, *pipeline, ids[*first].as_str(), ids[*last].as_str(), *size))
        .collect();
    assert_eq!(told, expected);
    assert_eq!(entries[0]["first"]["time"], "2026-01-01T00:00:00Z");
    let text = history.succeed(&["find", "same.txt", "--pipeline", "good"]);
    let line = format!(
        "{} 2026-01-01 00:00:00  {} 2026-01-04 00:00:00          4  good: docs/same.txt",
        &ids[0][..8],
        &ids[3][..8]
    );
    assert_eq!(text.lines().nth(1), Some(line.as_str()), "{text}");
}

#[test]
fn types_and_times_are_conditions() {
    let history = History::eventful();
    let paths = |arguments: &[&str]| -> BTreeSet<String> {
        let found = history.json(0, &[&["find", "--pipeline", "good"], arguments].concat());
        ours(&found).into_iter().map(|(_, path)| path).collect()
    };
    assert_eq!(paths(&["--type", "symlink"]), BTreeSet::from(["/link".to_owned()]));
    let folders = ["/docs", "/empty", "/kind", "/src", "/src/deep", "/src/deep/below"];
    assert_eq!(paths(&["--type", "directory"]), folders.map(str::to_owned).into());
    assert_eq!(paths(&["same.txt", "--newer", "1 d"]).len(), 1);
    assert_eq!(paths(&["same.txt", "--older", "1 d"]).len(), 0);
    assert_eq!(paths(&["same.txt", "--older", "2199-01-01"]).len(), 1);
    let nonsense = history.run(&["find", "--newer", "yesterday"]);
    assert_eq!(nonsense.code, Some(2), "{}", nonsense.stderr);
}

#[test]
fn what_was_in_a_pack_or_a_blob_is_named_whether_or_not_it_is_still_there() {
    let history = History::eventful();
    // restic keeps folders and content in packs of their own; the largest holds content.
    let packs = history.packs();
    let largest = packs.last().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let by_pack = history.json(0, &["find", "--pack", &largest[..10]]);
    let found = ours(&by_pack);
    let mut expected = Places::new();
    for entry in by_pack["entries"].as_array().unwrap() {
        for blob in entry["blobs"].as_array().unwrap() {
            let id = blob["id"].as_str().unwrap();
            let objects = history.restic_json(&["find", "--blob", id]);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let places = objects.as_array().unwrap().iter();
            expected.extend(places.map(|place| (text(&place["snapshot"]), text(&place["path"]))));
            assert!(ours(&history.json(0, &["find", "--blob", &id[..12]])).is_subset(&found));
        }
    }
    assert!(found.iter().any(|(_, path)| path == "/large"), "{found:?}");
    assert_eq!(found, expected);

    std::fs::remove_file(packs.last().unwrap()).unwrap();
    assert_eq!(ours(&history.json(0, &["find", "--pack", &largest])), found);
    assert_eq!(history.json(13, &["find", "--pack", "0000000000"])["class"], "not-found");
    assert_eq!(history.run(&["find", "--pack", "no id"]).code, Some(3));
}

#[test]
fn a_folder_that_is_damaged_is_told_and_the_rest_is_searched() {
    let history = History::eventful();
    let ids = history.ids();
    let path = history.pack_of_root(&ids[4]);
    std::fs::remove_file(&path).unwrap();
    let pack = path.file_name().unwrap().to_str().unwrap();

    let found = history.json(10, &["find", "same.txt"]);
    assert_eq!(found["entries"][0]["snapshots"].as_array().unwrap().len(), 4, "{found}");
    assert_eq!(found["unreadable"][0]["path"], "");
    assert_eq!(found["unreadable"][0]["snapshots"], serde_json::json!([ids[4]]));
    let told = history.run(&["find", "same.txt"]);
    assert!(told.stderr.contains("was not searched"), "{}", told.stderr);
    let lost = history.json(10, &["find", "--pack", pack]);
    assert!(ours(&lost).contains(&(ids[4].clone(), "/".to_owned())), "{lost}");
}

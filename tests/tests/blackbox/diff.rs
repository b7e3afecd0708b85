//! `diff` against `restic diff`: the same entries, counts and bytes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::history::History;

type Changes = BTreeSet<(String, String)>;

/// Sign and path of each difference, as restic writes them.
fn ours(document: &Value) -> Changes {
    let differences = document["differences"].as_array().unwrap().iter();
    let changes = differences.map(|difference| {
        let sign = match difference["change"].as_str().unwrap() {
            "added" => "+",
            "removed" => "-",
            "modified" => "M",
            "retyped" => "T",
            "metadata" => "U",
            other => panic!("{other}"),
        };
        let (before, after) = (&difference["before"], &difference["after"]);
        let entry = if after.is_null() { before } else { after };
        let slash = if entry["type"] == "directory" { "/" } else { "" };
        (sign.to_owned(), format!("/{}{slash}", difference["path"].as_str().unwrap()))
    });
    changes.collect()
}

/// What restic says of two snapshots: the changes, and the line with the totals.
fn theirs(history: &History, before: &str, after: &str, options: &[&str]) -> (Changes, Value) {
    let text = history
        .restic()
        .text([&["diff", before, after, "--json"], options].concat())
        .unwrap();
    let (mut changes, mut totals) = (Changes::new(), Value::Null);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message_type"] == "change" {
            let text = |field: &str| line[field].as_str().unwrap().to_owned();
            changes.insert((text("modifier"), text("path")));
        } else {
            totals = line;
        }
    }
    (changes, totals)
}

#[test]
fn restic_sees_the_same_differences_between_any_two_snapshots() {
    let history = History::eventful();
    let ids = history.ids();
    for (before, after) in [(0, 1), (1, 0), (1, 2), (2, 3), (2, 4), (0, 4), (4, 1), (3, 3)] {
        let found = history.json(0, &["diff", "good", &ids[before], &ids[after]]);
        let (mut expected, totals) = theirs(&history, &ids[before], &ids[after], &[]);
        // restic neither lists nor counts what is in a folder that something else became, or that became something else.
        let sign = if before < after { "+" } else { "-" };
        if expected.iter().any(|(change, _)| change == "T") {
            expected.insert((sign.to_owned(), "/kind/inside.txt".to_owned()));
            assert_eq!(ours(&found), expected, "{before} {after}");
            continue;
        }
        assert_eq!(ours(&found), expected, "{before} {after}");
        for side in ["added", "removed"] {
            let number = |field: &str| totals[side][field].as_u64().unwrap();
            let (told, data) = (&found["totals"][side], &found["data"][side]);
            let counted = [&told["files"], &told["folders"], &data["blobs"], &data["bytes"]].map(|value| value.as_u64().unwrap());
            let blobs = number("data_blobs") + number("tree_blobs");
            assert_eq!(
                counted,
                [number("files"), number("dirs"), blobs, number("bytes")],
                "{side} {before} {after}"
            );
            assert!(data["stored-bytes"].as_u64() > Some(0) || blobs == 0);
        }
    }
}

#[test]
fn what_differs_in_metadata_only_is_shown_when_asked_for() {
    let history = History::eventful();
    let ids = history.ids();
    let files = |changes: Changes| -> Changes {
        let files = changes.into_iter().filter(|(sign, path)| sign == "U" && !path.ends_with('/'));
        files.collect()
    };
    let expected = files(theirs(&history, &ids[0], &ids[1], &["--metadata"]).0);
    assert!(expected.contains(&("U".to_owned(), "/src/UPPER.TXT".to_owned())), "{expected:?}");
    let found = history.json(0, &["diff", "good", &ids[0], &ids[1], "--metadata"]);
    assert_eq!(files(ours(&found)), expected);
    let silent = history.json(0, &["diff", "good", &ids[0], &ids[1]]);
    assert_eq!(silent["totals"], found["totals"]);
    assert!(found["totals"]["metadata"].as_u64() > Some(0), "{found}");
}

#[test]
fn snapshots_are_named_from_the_latest_backwards_and_the_exit_code_tells_on_request() {
    let history = History::eventful();
    let ids = history.ids();
    let default = history.json(0, &["diff", "good"]);
    assert_eq!(
        (&default["before"]["id"], &default["after"]["id"]),
        (&ids[2].as_str().into(), &ids[3].as_str().into())
    );
    assert_eq!(default["differences"], serde_json::json!([]));
    let further = history.json(0, &["diff", "good", "latest~3", "latest~2", "--no-data"]);
    assert_eq!(further["before"]["id"], ids[0].as_str());
    assert_eq!(further["data"], Value::Null);
    assert_eq!(history.run(&["diff", "good", "--exit-code"]).code, Some(0));
    assert_eq!(history.run(&["diff", "good", "latest~3", "--exit-code"]).code, Some(16));
    let too_far = history.run(&["diff", "good", "latest~4"]);
    assert_eq!(too_far.code, Some(13), "{}", too_far.stderr);
    assert!(
        too_far.stderr.contains("holds 4 snapshots of pipeline \"good\""),
        "{}",
        too_far.stderr
    );
    let text = history.succeed(&["diff", "good", "latest~3", "latest~2", "--quiet"]);
    assert_eq!(text, "M docs/changing.txt\n+ docs/coming.txt\n+ docs/copy.txt\n");
}

#[test]
fn a_folder_that_is_damaged_is_told_and_the_rest_is_compared() {
    let history = History::eventful();
    let ids = history.ids();
    let pack = history.pack_of_root(&ids[4]);
    std::fs::remove_file(pack).unwrap();
    let found = history.json(10, &["diff", "good", &ids[0], &ids[4]]);
    assert_eq!(found["unreadable"][0]["snapshots"], serde_json::json!([ids[4]]), "{found}");
    assert_eq!(found["differences"], serde_json::json!([]));
    let told = history.run(&["diff", "good", &ids[0], &ids[4], "--quiet"]);
    assert!(told.stderr.contains("was not compared"), "{}", told.stderr);
    assert_eq!(ours(&history.json(0, &["diff", "good", &ids[0], &ids[1]])).len(), 3);
}

//! Snapshots that somebody holds: no `forget` removes them, on no sink, until they are released.

use serde_json::Value;

use crate::replicas::Pair;

#[test]
fn what_is_held_stays_whoever_asks_until_it_is_released() {
    let pair = Pair::with_snapshots(3, 1);
    let world = &pair.world;
    let oldest = pair.snapshots("disk").remove(0);
    let hold = |name: &str, reason: &str| {
        let arguments = [
            "hold",
            "add",
            "--vault",
            "main",
            "--snapshot",
            &pair.snapshots("disk")[0],
            "--name",
            name,
            "--reason",
            reason,
        ];
        world.succeed(&arguments);
    };
    hold("Jane Doe", "litigation 4711, part 2");
    hold("Tax office", "audit");
    let held = pair.snapshots("disk").remove(0);
    assert_ne!(held, oldest, "a snapshot is named by what is said about it");
    assert!(!pair.snapshots("second").contains(&oldest) && pair.snapshots("second").contains(&held));
    let told = world.succeed(&["forget", "good", "--yes"]);
    assert!(
        told.contains("kept: held (Jane Doe: litigation 4711, part 2) (Tax office: audit)"),
        "{told}"
    );
    for sink in ["disk", "second"] {
        assert_eq!(pair.snapshots(sink).len(), 2, "{sink}: the held one and the newest");
    }
    for arguments in [
        ["forget", "good", "--snapshot", &held, "--yes"].as_slice(),
        &["forget", "--vault", "main", "--snapshot", &held, "--yes"],
    ] {
        let refused = world.run(arguments);
        assert_eq!(refused.code, Some(12), "{}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains("Jane Doe (litigation 4711, part 2)"), "{}", refused.stderr);
    }
    // Nor do tags take it away, and restic knows it by one.
    assert_eq!(
        world.run(&["tag", "--vault", "main", "--snapshot", &held, "--remove", "held"]).code,
        Some(3)
    );
    world.restic().run(["forget", "--keep-last", "1", "--keep-tag", "held"]).unwrap();
    assert!(pair.snapshots("disk").contains(&held));
    let listed: Value = world.json(&["hold", "list", "--json"]);
    let holds = listed["vaults"][0]["snapshots"][0]["holds"].as_array().unwrap().clone();
    assert_eq!(holds.len(), 2, "{listed}");
    let release = |more: &[&str]| {
        let base = [
            "hold",
            "release",
            "--vault",
            "main",
            "--name",
            "John Doe",
            "--reason",
            "settled",
            "--snapshot",
        ];
        let snapshot = pair.snapshots("disk").remove(0);
        world.run(&[&base[..], &[&snapshot], more].concat())
    };
    let several = release(&[]);
    assert_eq!(several.code, Some(3), "{}", several.stderr);
    for hold in &holds {
        assert!(world.succeed(&["forget", "good", "--dry-run"]).contains("held"));
        let released = release(&["--hold", hold["id"].as_str().unwrap()]);
        assert_eq!(released.code, Some(0), "{}", released.stderr);
    }
    assert_eq!(release(&[]).code, Some(13), "nobody holds it");
    world.succeed(&["forget", "good", "--yes"]);
    for sink in ["disk", "second"] {
        assert_eq!(pair.snapshots(sink).len(), 1, "{sink}");
    }
    world.restic().check().unwrap();
}

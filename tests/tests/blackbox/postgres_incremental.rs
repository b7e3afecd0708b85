//! A cluster of PostgreSQL 17, of which only what has changed is read, through the sandbox: killed in the middle, verified, and back.

use std::process::Stdio;

use bulkhead_test_support::postgres::{Builder, Cluster};
use serde_json::Value;

use crate::interruption::outcome;
use crate::postgres::{Shop, assert_same_dump};

fn seventeen() -> Builder {
    Cluster::builder().major(17).setting("summarize_wal", "on")
}

/// How the run that says this was made.
fn method(report: &str) -> String {
    let report: Value = serde_json::from_str(report).unwrap();
    let facts = report["runs"][0]["proof"]["facts"].as_array().unwrap();
    let method = facts.iter().find(|fact| fact["name"] == "method").unwrap();
    method["value"].as_str().unwrap().to_owned()
}

/// Changes rows here and there.
fn change(shop: &Shop, generation: u32) {
    let statement =
        format!("UPDATE purchase SET note = 'returned' WHERE id % 1000 = {generation}; INSERT INTO old_purchase VALUES ({generation})");
    shop.cluster.execute("shop", &statement).unwrap();
}

/// Kills a run while the server sends what has changed.
fn kill_a_run(shop: &Shop) {
    let mut command = shop.bulkhead.command(["run", "shop"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let sending = "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase LIKE 'streaming%'";
    while shop.cluster.execute("postgres", sending).unwrap() == "0" {
        assert!(run.try_wait().unwrap().is_none(), "the run had ended before it could be killed");
    }
    run.kill().unwrap();
    assert_ne!(outcome(run).code, Some(0));
}

#[test]
fn a_cluster_of_which_only_changes_are_read_comes_back_the_same() {
    let shop = Shop::of(seventeen().start().unwrap());
    let throttled = "backup\", max-rate = \"8 MiB/s";
    assert_eq!(
        method(&shop.succeed(&["run", "shop", "--json"])),
        "full: this run has no snapshot to build on"
    );
    for generation in 1..=2 {
        change(&shop, generation);
        let method = method(&shop.succeed(&["run", "shop", "--json"]));
        assert!(method.starts_with("incremental since "), "{method}");
    }
    change(&shop, 3);
    shop.configure(throttled, "");
    kill_a_run(&shop);
    shop.configure("backup", "");
    change(&shop, 4);
    let after = method(&shop.succeed(&["run", "shop", "--json"]));
    assert!(after.starts_with("incremental since "), "{after}");
    let whole = method(&shop.succeed(&["run", "shop", "--full", "--json"]));
    assert_eq!(whole, "full: this run has no snapshot to build on");
    change(&shop, 5);
    let last = method(&shop.succeed(&["run", "shop", "--json"]));
    assert!(last.starts_with("incremental since "), "{last}");
    shop.succeed(&["verify", "--read-data"]);

    let before = shop.dump(&shop.cluster, "before.sql");
    let data = shop.destroy();
    shop.succeed(&["restore", "shop", "--target", "elsewhere"]);
    let restored = Cluster::builder().major(17).adopt(&data, shop.cluster.password()).unwrap();
    assert_same_dump(&before, &shop.dump(&restored, "after.sql"));
}

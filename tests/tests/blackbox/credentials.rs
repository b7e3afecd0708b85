//! Keys and secrets: missing, wrong, or of somebody else.

use crate::world::{World, assert_told};
use bulkhead_test_support::Bulkhead;

#[test]
fn a_wrong_vault_password_opens_nothing_and_harms_nothing() {
    let world = World::with_a_snapshot();
    let right = std::fs::read(world.bulkhead().vault_password_file()).unwrap();
    std::fs::write(world.bulkhead().vault_password_file(), "not the password").unwrap();
    let outcome = world.run(&["run", "good"]);
    assert_told!(outcome);
    assert!(!outcome.stderr.contains("not the password"), "a password is never shown");
    std::fs::write(world.bulkhead().vault_password_file(), right).unwrap();
    world.assert_nothing_was_lost();
}

#[test]
fn a_missing_password_file_is_named() {
    let world = World::with_a_snapshot();
    let file = world.bulkhead().vault_password_file();
    let aside = world.folder().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    let outcome = world.run(&["run", "good"]);
    assert_told!(outcome);
    std::fs::rename(&aside, &file).unwrap();
    world.assert_nothing_was_lost();
}

#[test]
fn a_missing_secret_of_a_source_is_named_with_its_line() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour(
        "leak-secret",
        "secret.password = { env = \"BULKHEAD_TEST_NOT_SET\", reveal = true }",
    );
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    world.assert_nothing_was_lost();
}

#[test]
fn somebody_elses_folder_is_not_made_a_vault() {
    let world = World::with_a_snapshot();
    let stranger = Bulkhead::new().unwrap();
    std::fs::write(stranger.vault().join("thesis.odt"), "years of work").unwrap();
    stranger.configure("").unwrap();
    let outcome = stranger.run(["init", "main"]).unwrap();
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    assert_eq!(
        std::fs::read_to_string(stranger.vault().join("thesis.odt")).unwrap(),
        "years of work"
    );
    assert_eq!(std::fs::read_dir(stranger.vault()).unwrap().count(), 1, "nothing was added");
    world.assert_nothing_was_lost();
}

#[test]
fn a_second_init_leaves_the_vault_as_it_is() {
    let world = World::with_a_snapshot();
    let outcome = world.run(&["init", "main"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    world.assert_nothing_was_lost();
}

#[test]
fn somebody_elses_vault_is_not_written_to() {
    let world = World::with_a_snapshot();
    let other = World::with_a_snapshot();
    let ours = std::fs::read(world.bulkhead().vault_password_file()).unwrap();
    let theirs = std::fs::read(other.bulkhead().vault_password_file()).unwrap();
    std::fs::write(other.bulkhead().vault_password_file(), ours).unwrap();
    let outcome = other.run(&["run", "good"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    std::fs::write(other.bulkhead().vault_password_file(), theirs).unwrap();
    other.assert_nothing_was_lost();
    world.assert_nothing_was_lost();
}

#[test]
fn a_secret_that_is_not_to_be_revealed_stays_with_the_host() {
    let world = World::with_a_snapshot();
    let secret = bulkhead_test_support::random_secret().unwrap();
    world.bulkhead().scratch().private_file("secret", &secret).unwrap();
    // This plugin asks for the secret and puts it into its log and its error.
    world.configure_misbehaviour("leak-secret", "secret.password = { file = \"secret\" }");
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    for arguments in [&["run", "bad"][..], &["run", "bad", "--json"], &["run", "bad", "-vvv"]] {
        let outcome = world.run(arguments);
        assert_ne!(outcome.code, Some(0));
        assert!(
            !format!("{}{}", outcome.stdout, outcome.stderr).contains(&secret),
            "the secret leaked by {arguments:?}"
        );
    }
    world.assert_nothing_was_lost();
}

#[test]
fn a_password_is_to_be_made_only_where_its_vault_is_made() {
    let bulkhead = Bulkhead::new().unwrap();
    bulkhead.configure("").unwrap();
    std::fs::remove_file(bulkhead.vault_password_file()).unwrap();
    let outcome = bulkhead.run(["init", "main"]).unwrap();
    assert_eq!(outcome.code, Some(4));
    assert!(outcome.stderr.contains("bulkhead key generate "), "{}", outcome.stderr);
    let outcome = bulkhead.run(["init", "main", "--json"]).unwrap();
    let document: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document["vaults"][0]["vault"], "main");
    let outcome = bulkhead.run(["snapshots", "--vault", "main"]).unwrap();
    assert!(
        !outcome.stderr.contains("key generate"),
        "a new password would not open a vault that is there: {}",
        outcome.stderr
    );
}

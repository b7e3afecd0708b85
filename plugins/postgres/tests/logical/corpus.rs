//! Schemas that were made to be difficult, one for each theme: back into an empty server, over what is there, and by psql.

use crate::{
    oracle::assert_same,
    render::{assert_replayed, replay, script},
    setup::{backup, builder, empty, restore},
};

/// What `sql` makes comes back the same from PostgreSQL `major`, in each way.
fn comes_back(major: u32, sql: &str) {
    let cluster = || builder().major(major).start().unwrap();
    let original = cluster();
    original.execute("postgres", sql).unwrap();
    let (result, snapshot) = backup(&original, "").unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let restored = cluster();
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same(&original, &restored);
    restore(&restored, &snapshot, r#"{"clean": true, "jobs": 2}"#).unwrap();
    assert_same(&original, &restored);
    let replayed = cluster();
    assert_replayed(&replay(&script(&snapshot, &[]).unwrap(), &original, &replayed));
    assert_same(&original, &replayed);
}

#[test]
fn names_with_all_that_may_be_in_one() {
    comes_back(15, include_str!("corpus/names.sql"));
}

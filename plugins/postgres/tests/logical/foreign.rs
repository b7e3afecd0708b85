//! Databases that nobody here wrote: PostgreSQL's own regression database, and schemas of applications.

use bulkhead_test_support::postgres::application_schemas;

use crate::{
    oracle::assert_same,
    render::{assert_replayed, replay, script},
    setup::{backup, empty, restore},
};

/// Fewer tests than this having passed, the database is not what it should be.
const MOST: usize = 200;

#[test]
fn the_regression_database_comes_back_the_same() {
    let original = empty();
    let said = original.run_regression_suite().unwrap();
    let counts: Vec<usize> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let passed = if said.contains("failed") {
        counts[1] - counts[0]
    } else {
        counts[0]
    };
    assert!(passed >= MOST, "{said}");
    let (_, snapshot) = backup(&original, r#", "jobs": 3"#).unwrap();
    let restored = empty();
    restore(&restored, &snapshot, r#"{"jobs": 3}"#).unwrap();
    assert_same(&original, &restored);
    let replayed = empty();
    assert_replayed(&replay(&script(&snapshot, &[]).unwrap(), &original, &replayed));
    assert_same(&original, &replayed);
}

#[test]
fn schemas_of_applications_come_back_the_same() {
    let original = empty();
    let schemas = application_schemas().unwrap();
    assert!(schemas.len() > 2, "{}", schemas.len());
    for (name, sql) in &schemas {
        original.execute("postgres", &format!("CREATE DATABASE \"{name}\"")).unwrap();
        original.execute(name, sql).unwrap();
    }
    let (result, snapshot) = backup(&original, "").unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let restored = empty();
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same(&original, &restored);
}

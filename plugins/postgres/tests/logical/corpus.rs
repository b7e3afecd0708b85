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
fn children_that_differ_from_their_parents() {
    comes_back(15, include_str!("corpus/inheritance.sql"));
}

#[test]
fn what_needs_a_view_that_needs_a_key() {
    comes_back(15, include_str!("corpus/late_views.sql"));
}

#[test]
fn what_needs_a_view_of_such_a_view() {
    comes_back(15, include_str!("corpus/views_of_views.sql"));
}

#[test]
fn names_with_all_that_may_be_in_one() {
    comes_back(15, include_str!("corpus/names.sql"));
}

#[test]
fn privileges_of_the_servers_own_types() {
    comes_back(15, include_str!("corpus/privileges.sql"));
}

/// Restored into a living parent, or backed up by themselves.
#[test]
fn children_alone() {
    let original = empty();
    original.execute("postgres", include_str!("corpus/alone.sql")).unwrap();
    let (_, snapshot) = backup(&original, "").unwrap();
    let restored = empty();
    restore(&restored, &snapshot, "{}").unwrap();
    restored.execute("postgres", "DROP TABLE ev1, young, child").unwrap();
    restore(
        &restored,
        &snapshot,
        r#"{"tables": ["public.ev1", "public.young", "public.child"]}"#,
    )
    .unwrap();
    assert_same(&original, &restored);
    let (_, alone) = backup(&original, r#", "tables": ["public.ev1", "public.young"]"#).unwrap();
    let target = empty();
    restore(&target, &alone, r#"{"globals": false}"#).unwrap();
    for (refused, check) in [("ev1 VALUES ('', 1)", "not_empty"), ("young VALUES (0)", "ok")] {
        let error = target.execute("postgres", &format!("INSERT INTO {refused}")).unwrap_err();
        assert!(error.to_string().contains(&format!("check constraint \"{check}\"")), "{error}");
    }
}

/// Neither its children nor what has its row type is what it cannot be made without.
#[test]
fn a_parent_alone() {
    let original = empty();
    original.execute("postgres", include_str!("corpus/alone.sql")).unwrap();
    for part in [
        r#", "tables": ["public.parent"]"#,
        r#", "exclude-tables": ["public.child", "public.remembers"]"#,
    ] {
        let (_, snapshot) = backup(&original, part).unwrap();
        let target = empty();
        restore(&target, &snapshot, r#"{"globals": false}"#).unwrap();
        let there = "SELECT count(*), to_regclass('child') IS NULL, to_regclass('remembers') IS NULL, \
                     (SELECT attstorage FROM pg_attribute WHERE attrelid = 'parent'::regclass AND attname = 'b') FROM parent";
        assert_eq!(target.execute("postgres", there).unwrap(), "1|t|t|e", "{part}");
    }
}

/// `pg_dump` is no witness here: it lists privileges in the order in which the server has them, which cannot be that of the original.
#[test]
fn privileges_that_came_from_several_hands() {
    let (original, restored) = (empty(), empty());
    original.execute("postgres", include_str!("corpus/passed_on.sql")).unwrap();
    let (_, snapshot) = backup(&original, "").unwrap();
    restore(&restored, &snapshot, "{}").unwrap();
    let held = "SELECT name, grantor::regrole, grantee::regrole, privilege_type, is_grantable FROM \
                (SELECT relname, relacl FROM pg_class UNION ALL SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute \
                UNION ALL SELECT 'database ' || datname, datacl FROM pg_database UNION ALL SELECT 'setting ' || parname, paracl FROM pg_parameter_acl) held(name, acl), \
                aclexplode(acl) WHERE name ~ 'passed|^setting' ORDER BY 1, 2, 3, 4, 5";
    assert_eq!(
        original
            .execute("postgres", held)
            .unwrap()
            .lines()
            .filter(|line| line.contains("|d|b|"))
            .count(),
        3
    );
    assert_eq!(
        restored.execute("postgres", held).unwrap(),
        original.execute("postgres", held).unwrap()
    );
}

#[test]
fn settings_that_change_how_sessions_read() {
    comes_back(15, include_str!("corpus/settings.sql"));
}

#[test]
fn what_goes_with_an_extension() {
    comes_back(15, include_str!("corpus/extensions.sql"));
}

#[test]
fn memberships_that_came_from_several_hands() {
    comes_back(17, include_str!("corpus/memberships.sql"));
}

/// Of 17, which has each of the ways in which the themes differ between majors.
#[test]
fn a_newer_server_has_them_too() {
    for sql in [
        include_str!("corpus/inheritance.sql"),
        include_str!("corpus/settings.sql"),
        include_str!("corpus/late_views.sql"),
        include_str!("corpus/privileges.sql"),
    ] {
        comes_back(17, sql);
    }
}

/// The oldest one has the others of the ways.
#[test]
fn an_older_server_has_them_too() {
    for sql in [
        include_str!("corpus/inheritance.sql"),
        include_str!("corpus/settings.sql"),
        include_str!("corpus/late_views.sql"),
    ] {
        comes_back(13, sql);
    }
}

#[test]
fn a_timeout_of_idle_sessions_ends_no_dump_and_no_restore() {
    let hurried = || builder().setting("idle_session_timeout", "1s").start().unwrap();
    let original = hurried();
    let content = "CREATE TABLE t (n integer, CONSTRAINT slow CHECK (pg_sleep(1.5)::text = '')); INSERT INTO t VALUES (1)";
    original.execute("postgres", content).unwrap();
    let slowly = r#", "rows": {"public.t": "pg_sleep(1.5)::text = ''"}"#;
    let (_, snapshot) = backup(&original, slowly).unwrap();
    let restored = hurried();
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same(&original, &restored);
}

/// The session that restores began before; the ones after it begin as somebody else.
#[test]
fn a_role_that_begins_as_another_one_backs_up_and_restores() {
    let (original, restored) = (empty(), empty());
    for cluster in [&original, &restored] {
        cluster
            .execute("postgres", "CREATE ROLE nobody; ALTER ROLE postgres SET role = 'nobody'")
            .unwrap();
    }
    original
        .execute("postgres", "RESET ROLE; SET ROLE NONE; CREATE TABLE t AS SELECT 1 AS n")
        .unwrap();
    let (_, snapshot) = backup(&original, "").unwrap();
    restore(&restored, &snapshot, r#"{"clean": true}"#).unwrap();
    for cluster in [&original, &restored] {
        let kept = "SET ROLE NONE; SELECT n, pg_get_userbyid(relowner) FROM t, pg_class WHERE relname = 't'";
        assert_eq!(cluster.execute("postgres", kept).unwrap(), "1|postgres");
    }
}

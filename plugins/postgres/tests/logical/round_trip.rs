//! Backup, restore into an empty server, and the same dump of both.

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::types::Severity;
use bulkhead_test_support::run;

use crate::{
    oracle::{assert_same, assert_same_database},
    render::{assert_replayed, replay, script},
    setup::{backup, config, empty, over_tcp, restore, shop},
};

#[test]
fn about_everything_comes_back_the_same() {
    let original = shop();
    let (result, snapshot) = backup(&original, "").unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let verified = over_tcp(&original)
        .snapshot(snapshot.clone())
        .verify::<Postgres>(&config(""))
        .unwrap();
    assert!(verified.iter().all(|finding| finding.severity == Severity::Info), "{verified:?}");
    let restored = empty();
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same(&original, &restored);
}

#[test]
fn one_database_comes_back_under_another_name() {
    let original = shop();
    let (_, snapshot) = backup(&original, "").unwrap();
    // Beside the original: roles and tablespaces are there.
    restore(
        &original,
        &snapshot,
        r#"{"databases": ["Odd \"Name\".x/y"], "rename": {"Odd \"Name\".x/y": "again"}}"#,
    )
    .unwrap();
    assert_same_database(&original, &original, "Odd \"Name\".x/y", "again");
    let encoding = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'again'";
    assert_eq!(original.execute("postgres", encoding).unwrap(), "LATIN1");
}

#[test]
fn psql_alone_replays_the_entries() {
    let original = shop();
    let (_, snapshot) = backup(&original, "").unwrap();
    let restored = empty();
    // Rows and large objects don't say that they write, as the other scripts do; one of the databases is set to read only.
    let writing = b"SET default_transaction_read_only = off;\n";
    let replay = |database: &str, path: &str| {
        if let Some(entry) = snapshot.entries.get(path.as_bytes()) {
            let script = [&writing[..], &entry.content].concat();
            restored.execute_bytes(database, &script).unwrap();
        }
    };
    // The first superuser has the password of the snapshot from now on; these tests go on with their own.
    let globals = String::from_utf8(snapshot.entries[&b"globals.sql"[..]].content.clone()).unwrap();
    let globals: String = globals
        .lines()
        .filter(|line| !line.starts_with("ALTER ROLE postgres"))
        .map(|line| format!("{line}\n"))
        .collect();
    restored.execute("postgres", &globals).unwrap();
    for (folder, name) in [
        ("bytes", "bytes"),
        ("postgres", "postgres"),
        ("shop", "shop"),
        ("template1", "template1"),
        ("Odd \"Name\"%2Ex%2Fy", "Odd \"Name\".x/y"),
    ] {
        let script = |script: &str| format!("databases/{folder}/{script}.sql");
        replay("postgres", &script("database"));
        replay(name, &script("pre-data"));
        let data = format!("databases/{folder}/data/");
        for path in snapshot.entries.keys().filter(|path| path.starts_with(data.as_bytes())) {
            replay(name, std::str::from_utf8(path).unwrap());
        }
        for part in ["sequences", "large-objects", "post-data"] {
            replay(name, &script(part));
        }
    }
    assert_same(&original, &restored);
}

#[test]
fn a_role_that_is_set_to_read_only_backs_up_and_restores() {
    let (original, restored) = (empty(), empty());
    let content =
        "CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t (n) SELECT generate_series(1, 1000); SELECT lo_from_bytea(7, 'x')";
    original.execute("postgres", "CREATE DATABASE small").unwrap();
    original.execute("small", content).unwrap();
    for cluster in [&original, &restored] {
        let read_only = "ALTER ROLE postgres SET default_transaction_read_only = on";
        cluster.execute("postgres", read_only).unwrap();
    }
    let (_, snapshot) = backup(&original, "").unwrap();
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same_database(&original, &restored, "small", "small");
    let scripted = empty();
    assert_replayed(&replay(&script(&snapshot, &[]).unwrap(), &original, &scripted));
    assert_same_database(&original, &scripted, "small", "small");
}

#[test]
fn a_snapshot_is_of_one_moment() {
    let original = empty();
    original
        .execute("postgres", "CREATE TABLE a_first (n bigint); CREATE TABLE z_last (n bigint); INSERT INTO a_first VALUES (0); INSERT INTO z_last VALUES (0)")
        .unwrap();
    original
        .execute(
            "postgres",
            "CREATE TABLE between AS SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 100000) n",
        )
        .unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let snapshot = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let both = "BEGIN; UPDATE a_first SET n = n + 1; UPDATE z_last SET n = n + 1; COMMIT";
                original.execute("postgres", both).unwrap();
            }
        });
        let outcome = backup(&original, r#", "databases": ["postgres"], "jobs": 3"#);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap().1
    });
    let rows = |table: &str| {
        snapshot.entries[format!("databases/postgres/data/public.{table}.copy").as_bytes()]
            .content
            .clone()
    };
    let value = |table: &str| String::from_utf8(rows(table)).unwrap().lines().nth(2).unwrap().to_owned();
    assert_eq!(value("a_first"), value("z_last"));
}

#[test]
fn a_pgbench_database_comes_back_the_same() {
    let original = empty();
    original.execute("postgres", "CREATE DATABASE bench").unwrap();
    let mut init = original
        .client(
            "pgbench",
            ["--initialize", "--scale=2", "--foreign-keys", "--partitions=3", "bench"],
        )
        .unwrap();
    run(&mut init).unwrap();
    let mut load = original.client("pgbench", ["--transactions=200", "--client=2", "bench"]).unwrap();
    run(&mut load).unwrap();
    let (result, snapshot) = backup(&original, "").unwrap();
    let rows = result
        .proof
        .facts
        .iter()
        .find(|fact| fact.name == "rows")
        .unwrap()
        .value
        .parse::<u64>()
        .unwrap();
    assert!(rows > 200_000, "{rows}");
    let restored = empty();
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same(&original, &restored);
}

#[test]
fn a_role_that_may_only_read_is_enough() {
    let original = empty();
    let content = "CREATE TABLE t AS SELECT 1 AS n; CREATE SEQUENCE s;
        CREATE ROLE all_data LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO all_data;
        CREATE ROLE some_data LOGIN PASSWORD 'x'; GRANT SELECT ON t, s TO some_data";
    original.execute("postgres", content).unwrap();
    for (role, expected) in [("all_data", &[][..]), ("some_data", &["no-passwords"])] {
        let harness = over_tcp(&original).secret("password", "x");
        let config = format!(r#"{{"mode":"logical","user":"{role}"}}"#);
        let checked = harness.check::<Postgres>(&config).unwrap();
        assert!(checked.iter().all(|finding| finding.severity == Severity::Info), "{checked:?}");
        let result = harness.backup::<Postgres>(&config).unwrap();
        let codes: Vec<&str> = result.findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, expected, "{role}");
        let restored = empty();
        restore(&restored, &harness.last().unwrap(), "{}").unwrap();
        if role == "some_data" {
            original
                .execute("postgres", "ALTER ROLE all_data PASSWORD NULL; ALTER ROLE some_data PASSWORD NULL")
                .unwrap();
        }
        assert_same(&original, &restored);
    }
}

/// Which partition a label of an enumeration hashes to depends on its number, which is another one in the target.
#[test]
fn rows_that_are_hashed_by_a_label_find_their_partitions() {
    let original = empty();
    let content =
        "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'); CREATE TABLE moods (m mood, n integer) PARTITION BY HASH (m);
        CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY HASH (m);
        CREATE TABLE moods_1_0 PARTITION OF moods_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE TYPE pair AS (m mood, n integer); CREATE TYPE moody AS RANGE (subtype = mood, multirange_type_name = moodies);
        INSERT INTO moods SELECT (enum_range(NULL::mood))[1 + n % 8], n FROM generate_series(1, 1000) n";
    original.execute("postgres", content).unwrap();
    // What consists of labels, and what is a number of the server's itself.
    let keys = [
        ("mood[]", "ARRAY[m, 'a']"),
        ("pair", "ROW(m, n)::pair"),
        ("moody", "moody(m, NULL)"),
        ("moodies", "moodies(moody(m, NULL))"),
        (
            "regclass",
            "(ARRAY['moods', 'moods_0', 'moods_1', 'moods_1_0'])[1 + n % 4]::regclass",
        ),
    ];
    for (place, (key, value)) in keys.iter().enumerate() {
        let table = format!(
            "CREATE TABLE keys{place} (k {key}) PARTITION BY HASH (k);
            CREATE TABLE keys{place}_0 PARTITION OF keys{place} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE keys{place}_1 PARTITION OF keys{place} FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            INSERT INTO keys{place} SELECT {value} FROM moods LIMIT 100"
        );
        original.execute("postgres", &table).unwrap();
    }
    let (_, snapshot) = backup(&original, "").unwrap();
    let restored = empty();
    // Numbers go on from here.
    restored
        .execute("postgres", "CREATE TYPE before AS ENUM ('x'); DROP TYPE before")
        .unwrap();
    restore(&restored, &snapshot, "{}").unwrap();
    let of_keys = |place| format!("UNION ALL SELECT md5(string_agg(k::text, ',' ORDER BY k::text)) FROM keys{place} ");
    let rows = (0..keys.len()).map(of_keys).collect::<String>();
    let rows = format!("SELECT md5(string_agg(m || ':' || n, ',' ORDER BY n)) FROM moods {rows}");
    assert_eq!(
        restored.execute("postgres", &rows).unwrap(),
        original.execute("postgres", &rows).unwrap()
    );
}

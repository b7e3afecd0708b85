//! CAs whose databases are in a real PostgreSQL 15: PostgreSQL's own `pg_dump` is the witness of what comes back, OpenSSL of what is in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bulkhead_plugin_fabric_ca::FabricCa;
use bulkhead_sdk::{
    ErrorKind, Result,
    source::RestoreResult,
    testing::{Directory, Endpoint, Harness},
    types::Severity,
};
use bulkhead_test_support::{
    fabric_ca::{Home, ROLE, verify},
    postgres::Cluster,
    run,
};

use crate::setup::{Desk, coded, errors, fact, told};

/// A PostgreSQL server that waits for no disk.
pub(crate) fn server() -> Arc<Cluster> {
    Arc::new(Cluster::builder().without_tls().setting("fsync", "off").start().unwrap())
}

/// A CA with its database there, and the plugin beside it.
struct Bench {
    desk: Desk,
    cluster: Arc<Cluster>,
}

impl Bench {
    fn new() -> Self {
        let cluster = server();
        let mut desk = Desk::of(|folder| Home::root_with(folder, "ca-org1", &cluster, "fabric_ca").unwrap());
        desk.home.register("peer0", "peer", "org1.department1").unwrap();
        desk.home.enroll("peer0").unwrap();
        desk.home.register("user1", "client", "org2.department1").unwrap();
        desk.home.enroll("user1").unwrap();
        desk.home.revoke("user1").unwrap();
        desk.harness = granted(desk.harness, &cluster, "secret");
        Self { desk, cluster }
    }

    /// Into a folder and a server, as its superuser.
    fn restore(&self, folder: &Directory, cluster: &Cluster, options: &str, paths: &[&str]) -> Result<RestoreResult> {
        granted(Harness::new().directory("home", folder.clone()), cluster, cluster.password())
            .snapshot(self.desk.harness.last().unwrap())
            .restore_paths::<FabricCa>("{}", &format!(r#"{{ "database-user": "postgres"{options} }}"#), paths)
    }
}

pub(crate) fn granted(harness: Harness, cluster: &Cluster, password: &str) -> Harness {
    harness
        .endpoint("database", Endpoint::tcp(cluster.address()))
        .secret("database-password", password)
}

/// A server that knows the role which owns the databases.
fn target() -> Arc<Cluster> {
    let cluster = server();
    cluster.execute("postgres", &format!("CREATE ROLE {ROLE} LOGIN CREATEDB")).unwrap();
    cluster
}

/// What `pg_dump` writes of a database, with rows in an order of their own: a restored table has them sorted.
fn dump(cluster: &Cluster, database: &str) -> Vec<String> {
    let mut command = cluster
        .client("pg_dump", ["--restrict-key=bulkhead", "--dbname", database])
        .unwrap();
    let text = String::from_utf8_lossy(&run(&mut command).unwrap().stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn names(cluster: &Cluster) -> String {
    cluster
        .execute(
            "postgres",
            "SELECT datname FROM pg_database WHERE datname LIKE 'fabric%' ORDER BY 1",
        )
        .unwrap()
}

#[test]
fn home_and_databases_come_back_as_they_were_and_pg_dump_agrees() {
    let bench = Bench::new();
    let other = bench.desk.home.another("ca1").unwrap();
    other.register("orderer", "orderer", "org1").unwrap();
    other.enroll("orderer").unwrap();
    let result = bench.desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    for (name, value) in [
        ("authorities", "2"),
        ("databases", "2"),
        ("identities", "5"),
        ("affiliations", "10"),
        ("certificates", "5"),
        ("revoked-certificates", "1"),
    ] {
        assert_eq!(fact(&result, name), value, "{name}");
    }
    assert!(
        fact(&result, "database").starts_with("fabric_ca: snapshot "),
        "{:?}",
        result.proof.facts
    );
    let findings = bench.desk.verify();
    assert!(errors(&findings).is_empty(), "{findings:#?}");
    assert_eq!(coded(&findings, "database-verified").len(), 2, "{findings:#?}");
    told(&findings, "dump-verified", Severity::Info, "2 databases");

    let (folder, cluster) = (Directory::temporary(), target());
    let restored = bench.restore(&folder, &cluster, "", &[]).unwrap();
    assert!(restored.findings.is_empty(), "{:#?}", restored.findings);
    for database in ["fabric_ca", "fabric_ca_ca1"] {
        assert_eq!(dump(&cluster, database), dump(&bench.cluster, database), "{database}");
    }
    assert_eq!(
        fs::read(folder.path().join("ca-cert.pem")).unwrap(),
        fs::read(bench.desk.home.join("ca-cert.pem")).unwrap()
    );
    for id in ["admin", "peer0", "user1"] {
        let pem = cluster
            .execute(
                "fabric_ca",
                &format!("SELECT convert_from(pem, 'UTF8') FROM certificates WHERE id = '{id}'"),
            )
            .unwrap();
        verify(&folder.path().join("ca-cert.pem"), None, &format!("{pem}\n")).unwrap();
    }
}

#[test]
fn the_inventory_is_that_of_the_same_database_in_sqlite() {
    let bench = Bench::new();
    bench.desk.backup().unwrap();
    let served = bench.desk.inventory("database");
    assert!(
        !served.contains("2432612431302462696e67656e"),
        "nothing that anybody could enrol with"
    );

    // The same rows in SQLite, by its own shell.
    let kept = Desk::of(|folder| Home::root(folder, "ca-org1").unwrap());
    let rows = |table: &str, values: &[&str]| {
        let places = vec!["%L"; values.len()].join(", ");
        let query = format!(
            "SELECT format('INSERT INTO {table} VALUES ({places});', {}) FROM {table}",
            values.join(", ")
        );
        bench.cluster.execute("fabric_ca", &query).unwrap()
    };
    let users = rows(
        "users",
        &[
            "id",
            "''",
            "type",
            "affiliation",
            "attributes",
            "state",
            "max_enrollments",
            "level",
            "0",
        ],
    );
    let text = |column: &str| format!("convert_from({column}, 'UTF8')");
    let (serial, aki, status, pem) = (text("serial_number"), text("authority_key_identifier"), text("status"), text("pem"));
    let certificates = rows(
        "certificates",
        &["id", &serial, &aki, "''", &status, "reason", "expiry", "revoked_at", &pem, "level"],
    );
    kept.home
        .sql(&format!("DELETE FROM users; DELETE FROM certificates; {users} {certificates}"))
        .unwrap();
    kept.backup().unwrap();
    let lines = |inventory: &str| {
        let mut lines: Vec<String> = inventory.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&served), lines(&kept.inventory("database")));

    // What is stored of the same again is the same.
    bench.desk.backup().unwrap();
    assert_eq!(bench.desk.inventory("database"), served);
}

#[test]
fn the_home_alone_or_a_database_alone_comes_back() {
    let bench = Bench::new();
    bench.desk.home.another("ca1").unwrap();
    bench.desk.backup().unwrap();
    let (folder, cluster) = (Directory::temporary(), target());
    bench.restore(&folder, &cluster, "", &["database/databases/fabric_ca_ca1"]).unwrap();
    assert_eq!(names(&cluster), "fabric_ca_ca1");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    bench.restore(&folder, &cluster, "", &["home"]).unwrap();
    assert!(folder.path().join("ca-cert.pem").exists());
    assert_eq!(names(&cluster), "fabric_ca_ca1");

    // One CA of several: its folder, and its database.
    let (folder, cluster) = (Directory::temporary(), target());
    let one = ["home/ca/ca1", "database/databases/fabric_ca_ca1"];
    bench.restore(&folder, &cluster, "", &one).unwrap();
    assert_eq!(names(&cluster), "fabric_ca_ca1");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    // Without a folder, and by the role that owns it.
    cluster
        .execute(
            "postgres",
            &format!("DROP DATABASE fabric_ca_ca1; ALTER ROLE {ROLE} PASSWORD 'secret'"),
        )
        .unwrap();
    let harness = granted(Harness::new(), &cluster, "secret").snapshot(bench.desk.harness.last().unwrap());
    harness.restore_paths::<FabricCa>("{}", "{}", &["database"]).unwrap();
    assert_eq!(dump(&cluster, "fabric_ca"), dump(&bench.cluster, "fabric_ca"));
    let error = harness.restore_paths::<FabricCa>("{}", "{}", &["inventory"]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[test]
fn a_database_that_is_in_the_way_leaves_all_as_it_is_and_another_name_tells_what_is_lost() {
    let bench = Bench::new();
    bench.desk.backup().unwrap();
    bench.desk.home.register("late", "client", "org1").unwrap();
    let issued = bench.desk.home.enroll("late").unwrap();
    bench.desk.home.revoke("peer0").unwrap();
    let folder = Directory::temporary();
    let error = bench.restore(&folder, &bench.cluster, "", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(bench.cluster.execute("fabric_ca", "SELECT count(*) FROM users").unwrap(), "4");

    let told_of = |result: &RestoreResult| {
        told(&result.findings, "registered-after", Severity::Warning, "late (client, org1)");
        told(&result.findings, "issued-after", Severity::Warning, &issued.serial);
        told(&result.findings, "revoked-after", Severity::Warning, "peer0");
    };
    let rename = r#", "rename": { "fabric_ca": "fabric_again" }"#;
    told_of(&bench.restore(&folder, &bench.cluster, rename, &["database"]).unwrap());
    assert_eq!(bench.cluster.execute("fabric_again", "SELECT count(*) FROM users").unwrap(), "3");
    // In its own place, with the old one moved away.
    bench
        .cluster
        .execute(
            "postgres",
            "DROP DATABASE fabric_again; ALTER DATABASE fabric_ca RENAME TO fabric_old",
        )
        .unwrap();
    let previous = r#", "previous": { "fabric_ca": "fabric_old" }"#;
    told_of(&bench.restore(&folder, &bench.cluster, previous, &[]).unwrap());
    bench.cluster.execute("postgres", "DROP DATABASE fabric_ca").unwrap();
    let gone = r#", "previous": { "fabric_ca": "fabric_gone" }"#;
    let result = bench.restore(&folder, &bench.cluster, gone, &["database"]).unwrap();
    told(&result.findings, "previous-unreadable", Severity::Warning, "fabric_gone");

    // Without the role that owns it, nothing is made that would be in the way of the next attempt.
    let cluster = server();
    let error = bench.restore(&folder, &cluster, "", &["database"]).unwrap_err();
    assert!(error.hint.as_deref().unwrap_or_default().contains("CREATE ROLE"), "{error:?}");
    cluster.execute("postgres", &format!("CREATE ROLE {ROLE}")).unwrap();
    bench.restore(&folder, &cluster, "", &["database"]).unwrap();
}

#[test]
fn what_cannot_be_reached_or_is_no_database_of_a_ca_fails_the_run() {
    let bench = Bench::new();
    let home = || Harness::new().directory("home", Directory::at(bench.desk.home.path()).read_only());
    let fails = |harness: &Harness, config: &str, kind: ErrorKind, hint: &str| {
        let error = harness.backup::<FabricCa>(config).unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{error:?}");
        assert!(harness.snapshots().is_empty());
        let findings = harness.check::<FabricCa>(config).unwrap();
        assert_eq!(errors(&findings).len(), 1, "{findings:#?}");
    };
    let address = bench.cluster.address();
    fails(
        &home(),
        "{}",
        ErrorKind::NotGranted,
        &format!("endpoint.database = {{ address = \"{address}\""),
    );
    let wrong = granted(home(), &bench.cluster, "wrong");
    fails(&wrong, "{}", ErrorKind::Unauthenticated, "secret.database-password");
    let harness = || granted(home(), &bench.cluster, "secret");
    for (from, to, kind, hint) in [
        ("dbname=fabric_ca", "dbname=postgres", ErrorKind::SourceDamaged, "db.datasource"),
        ("dbname=postgres", "", ErrorKind::SourceDamaged, "dbname=fabric_ca"),
        ("type: postgres", "type: mysql", ErrorKind::Unsupported, "elsewhere"),
    ] {
        bench.desk.home.change_config(from, to).unwrap();
        let error = harness().backup::<FabricCa>("{}").unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{error:?}");
    }
    bench.desk.home.change_config("type: mysql", "type: postgres").unwrap();
    let text = "datasource: host=127.0.0.1";
    bench
        .desk
        .home
        .change_config(text, "datasource: dbname=fabric_ca host=127.0.0.1")
        .unwrap();
    harness().backup::<FabricCa>("{}").unwrap();
    bench.desk.home.another("ca1").unwrap();
    let config = Path::new("ca/ca1/fabric-ca-config.yaml");
    let moved = fs::read_to_string(bench.desk.home.join(config))
        .unwrap()
        .replace("host=127.0.0.1", "host=another");
    fs::write(bench.desk.home.join(config), moved).unwrap();
    fails(&harness(), "{}", ErrorKind::Unsupported, "one");
}

#[test]
fn a_dump_that_was_changed_is_seen() {
    let bench = Bench::new();
    bench.desk.backup().unwrap();
    let path = b"database/databases/fabric_ca/data/public.users.copy";
    let original = bench.desk.harness.content(path).unwrap();
    let text = String::from_utf8(original.clone()).unwrap();
    for (changed, code) in [
        (text.replace("org1.department1", "org1.department2"), "inventory-differs"),
        (text.replace("\\.\n", ""), "home-damaged"),
        (
            text.lines()
                .filter(|line| !line.starts_with("peer0"))
                .map(|line| format!("{line}\n"))
                .collect(),
            "home-damaged",
        ),
    ] {
        bench.desk.harness.tamper(|snapshot| {
            snapshot.entries.get_mut(&path[..]).unwrap().content = changed.clone().into_bytes();
        });
        let findings = bench.desk.verify();
        assert!(
            !coded(&errors(&findings).into_iter().cloned().collect::<Vec<_>>(), code).is_empty(),
            "{code}: {findings:#?}"
        );
    }
    bench
        .desk
        .harness
        .tamper(|snapshot| snapshot.entries.get_mut(&path[..]).unwrap().content = original.clone());
    assert!(errors(&bench.desk.verify()).is_empty());
}

#[test]
fn a_database_that_only_the_servers_environment_names_is_found() {
    let bench = Bench::new();
    // As the server writes its config when variables tell it of the database: as if there were none.
    let config = fs::read_to_string(bench.desk.home.join("fabric-ca-server-config.yaml")).unwrap();
    let datasource = config.lines().find(|line| line.contains("datasource:")).unwrap().trim().to_owned();
    bench
        .desk
        .home
        .change_config(&datasource, "datasource: fabric-ca-server.db")
        .unwrap();
    bench.desk.home.change_config("type: postgres", "type: sqlite3").unwrap();
    assert_eq!(bench.desk.backup().unwrap_err().kind, ErrorKind::NotFound);

    let named = datasource.trim_start_matches("datasource: ").trim_matches('"');
    let variables = |datasource: &str| {
        format!(r#"{{ "environment": {{ "FABRIC_CA_SERVER_DB_TYPE": "postgres", "FABRIC_CA_SERVER_DB_DATASOURCE": "{datasource}" }} }}"#)
    };
    let error = bench.desk.harness.backup::<FabricCa>(&variables(named)).unwrap_err();
    assert_eq!(
        (error.kind, error.setting.as_deref()),
        (ErrorKind::Config, Some("environment")),
        "{error}"
    );
    let words = named.split(' ').filter(|word| !word.starts_with("password="));
    let config = variables(&words.collect::<Vec<_>>().join(" "));
    let result = bench.desk.harness.backup::<FabricCa>(&config).unwrap();
    assert_eq!(fact(&result, "databases"), "1");

    // What was stored knows it without the config of today.
    let findings = bench.desk.verify();
    assert!(errors(&findings).is_empty(), "{findings:#?}");
    told(&findings, "dump-verified", Severity::Info, "1 database");
    let (folder, cluster) = (Directory::temporary(), target());
    bench.restore(&folder, &cluster, "", &[]).unwrap();
    assert_eq!(dump(&cluster, "fabric_ca"), dump(&bench.cluster, "fabric_ca"));
}

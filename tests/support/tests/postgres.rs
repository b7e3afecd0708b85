//! The PostgreSQL that other tests stand on does what they assume of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::TcpStream;

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Scratch, run};

#[test]
fn a_cluster_answers_over_tls_with_a_password_and_over_its_socket() {
    let cluster = Cluster::start_default().unwrap();
    assert_eq!(
        cluster
            .execute("postgres", "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            .unwrap(),
        "t"
    );
    let mut psql = cluster
        .client(
            "psql",
            ["-AtXc", "select system_user from (select current_user as system_user) as it"],
        )
        .unwrap();
    psql.env("PGHOST", cluster.socket().parent().unwrap()).env_remove("PGPASSWORD");
    assert_eq!(String::from_utf8(run(&mut psql).unwrap().stdout).unwrap().trim(), "postgres");
}

#[test]
fn a_wrong_password_is_refused() {
    let cluster = Cluster::start_default().unwrap();
    let error = run(cluster.client("psql", ["-c", "select 1"]).unwrap().env("PGPASSWORD", "wrong")).unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
}

#[test]
fn an_error_in_sql_is_an_error() {
    let cluster = Cluster::start_default().unwrap();
    let error = cluster.execute("postgres", "select 1; select nonsense; select 2").unwrap_err();
    assert!(error.to_string().contains("column \"nonsense\" does not exist"), "{error}");
}

#[test]
fn a_killed_cluster_starts_again_with_what_was_committed() {
    let cluster = Cluster::start_default().unwrap();
    cluster.execute("postgres", "create table kept as select 42 as answer").unwrap();
    cluster.kill().unwrap();
    cluster.execute("postgres", "select 1").unwrap_err();
    cluster.start().unwrap();
    assert_eq!(cluster.execute("postgres", "select answer from kept").unwrap(), "42");
}

#[test]
fn a_standby_has_the_primarys_tablespaces_and_follows_it() {
    let cluster = Cluster::start_default().unwrap();
    let folder = cluster.tablespace_folder("fast").unwrap();
    cluster
        .execute(
            "postgres",
            &format!(
                "create tablespace fast location '{}'; create table t (n int) tablespace fast",
                folder.display()
            ),
        )
        .unwrap();
    let standby = cluster.start_standby().unwrap();
    assert_eq!(standby.execute("postgres", "select pg_is_in_recovery()").unwrap(), "t");
    cluster.execute("postgres", "insert into t values (7)").unwrap();
    let target = cluster.execute("postgres", "select pg_current_wal_flush_lsn()").unwrap();
    let arrived = format!("select pg_last_wal_replay_lsn() >= '{target}'::pg_lsn");
    while standby.execute("postgres", &arrived).unwrap() != "t" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(standby.execute("postgres", "select n from t").unwrap(), "7");
}

#[test]
fn a_base_backup_by_postgresqls_own_tool_verifies_is_adopted_and_dumps_the_same() {
    let cluster = Cluster::start_default().unwrap();
    cluster
        .execute(
            "postgres",
            "create role reader; create table t as select generate_series(1, 1000) as n",
        )
        .unwrap();
    let scratch = Scratch::new().unwrap();
    let copy = scratch.join("copy");
    run(cluster
        .client("pg_basebackup", ["--checkpoint=fast", "--pgdata"])
        .unwrap()
        .arg(&copy))
    .unwrap();
    cluster.installation().user().own_all(&copy).unwrap();
    cluster.installation().verify_backup(&copy).unwrap();
    let restored = Cluster::builder().adopt(&copy, cluster.password()).unwrap();
    let dumps = [&cluster, &restored].map(|server| {
        let path = scratch.join(format!("{}.sql", server.port()));
        server.dump_all(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    });
    assert!(dumps[0].contains("CREATE ROLE reader"));
    assert!(dumps[0] == dumps[1], "the dumps differ");
}

#[test]
fn a_dropped_cluster_leaves_no_server_and_no_folder() {
    let cluster = Cluster::start_default().unwrap();
    let (address, folder) = (cluster.address(), cluster.data_directory().to_owned());
    drop(cluster);
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    assert!(!folder.exists());
}

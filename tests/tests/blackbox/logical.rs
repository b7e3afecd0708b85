//! Databases as SQL into a vault, out of one server and into another that runs, through the sandbox; `pg_dump` and `psql` as the witnesses.

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Bulkhead, Outcome, run};

const CONTENT: &str = "
CREATE ROLE keeper;
CREATE DATABASE shop OWNER keeper;
\\connect shop
CREATE TYPE state AS ENUM ('open', 'paid');
CREATE TABLE buyer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE purchase (id serial PRIMARY KEY, buyer int REFERENCES buyer, state state DEFAULT 'open', note text);
INSERT INTO buyer (name) SELECT 'ü' || n FROM generate_series(1, 100) AS n;
INSERT INTO purchase (buyer, note) SELECT n % 100 + 1, md5(n::text) FROM generate_series(1, 50000) AS n;
CREATE INDEX ON purchase (lower(note));
CREATE VIEW unpaid AS SELECT buyer.name, count(*) FROM purchase JOIN buyer ON buyer.id = buyer GROUP BY buyer.name;
CREATE MATERIALIZED VIEW total AS SELECT count(*) FROM purchase;
GRANT SELECT ON unpaid TO keeper;
COMMENT ON TABLE purchase IS 'what was bought';
SELECT lo_from_bytea(0, decode(repeat(md5('x'), 5000), 'hex'));
";

/// Two servers, the first with a database `shop`, and a pipeline that reads it.
struct Shop {
    server: Cluster,
    other: Cluster,
    bulkhead: Bulkhead,
}

impl Shop {
    fn open() -> Self {
        let start = || Cluster::builder().setting("fsync", "off").start().unwrap();
        let shop = Self {
            server: start(),
            other: start(),
            bulkhead: Bulkhead::new().unwrap(),
        };
        shop.server.execute("postgres", CONTENT).unwrap();
        let grants = |name: &str, server: &Cluster| {
            shop.bulkhead.scratch().private_file(name, server.password()).unwrap();
            let authority = server.certificates().unwrap().authority_certificate().display().to_string();
            format!(
                "endpoint.server = {{ address = \"{}\", tls = {{ mode = \"verify-full\", ca = {authority:?} }} }}\n\
                 secret.password = {{ file = \"{name}\", reveal = true }}\n",
                server.address()
            )
        };
        let (server, other) = (grants("password", &shop.server), grants("other-password", &shop.other));
        let pipeline = format!(
            "[pipeline.shop]\nplugin = \"postgres\"\nvault = \"main\"\n\
             config = {{ mode = \"logical\", user = \"postgres\", databases = [\"shop\"], jobs = 2 }}\n{server}\n\
             [pipeline.shop.target.other]\n{other}config = {{ jobs = 2 }}\n\
             [pipeline.shop.target.over]\n{other}config = {{ jobs = 2, clean = true }}\n\
             [pipeline.shop.target.beside]\n{server}config = {{ databases = [\"shop\"], rename = {{ shop = \"shop-restored\" }} }}\n"
        );
        shop.bulkhead.configure(&pipeline).unwrap();
        shop.succeed(&["init", "main"]);
        shop
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.bulkhead.run(arguments).unwrap()
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }
}

/// What `pg_dump` says of a database.
fn dump(server: &Cluster, name: &str) -> String {
    let arguments = ["--format=plain", "--restrict-key=bulkhead", "--dbname", name];
    let output = run(&mut server.client("pg_dump", arguments).unwrap()).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_database_comes_back_in_another_server_and_under_another_name() {
    let shop = Shop::open();
    shop.succeed(&["check"]);
    assert!(shop.succeed(&["run", "shop"]).contains("50100"), "rows are counted");
    shop.succeed(&["verify", "shop", "--read-data"]);
    let before = dump(&shop.server, "shop");
    assert!(before.len() > 1_000_000);

    shop.succeed(&["restore", "shop", "--target", "other"]);
    assert!(dump(&shop.other, "shop") == before, "pg_dump differs");
    shop.succeed(&["restore", "shop", "--target", "beside"]);
    assert!(dump(&shop.server, "shop-restored") == before, "pg_dump differs");

    // What is there is not written over.
    let again = shop.run(&["restore", "shop", "--target", "other"]);
    assert_eq!(again.code, Some(12), "{}", again.stderr);
    assert!(dump(&shop.other, "shop") == before);
    // Unless that is asked for.
    let change = "ALTER TABLE buyer ADD COLUMN added int; DELETE FROM purchase; DROP VIEW unpaid";
    shop.other.execute("shop", change).unwrap();
    assert!(dump(&shop.other, "shop") != before);
    shop.succeed(&["restore", "shop", "--target", "over"]);
    assert!(dump(&shop.other, "shop") == before, "pg_dump differs");
}

#[test]
fn psql_alone_replays_what_was_stored() {
    let shop = Shop::open();
    shop.succeed(&["run", "shop"]);
    let before = dump(&shop.server, "shop");
    shop.succeed(&["restore", "shop", "--into", "files"]);
    let folder = shop.bulkhead.scratch().join("files/databases/shop");
    shop.other.execute("postgres", "CREATE ROLE keeper").unwrap();
    let replay = |database: &str, name: &str| {
        let text = std::fs::read(folder.join(name)).unwrap();
        shop.other.execute_bytes(database, &text).unwrap();
    };
    replay("postgres", "database.sql");
    replay("shop", "pre-data.sql");
    for table in std::fs::read_dir(folder.join("data")).unwrap() {
        replay("shop", &format!("data/{}", table.unwrap().file_name().display()));
    }
    for name in ["sequences.sql", "large-objects.sql", "post-data.sql"] {
        replay("shop", name);
    }
    assert!(dump(&shop.other, "shop") == before, "pg_dump differs");
}

#[test]
fn psql_alone_replays_a_snapshot_as_one_script() {
    let shop = Shop::open();
    shop.succeed(&["run", "shop"]);
    let before = dump(&shop.server, "shop");
    let script = shop.bulkhead.scratch().join("shop.sql");
    let psql = |into: &Cluster| {
        let mut psql = into
            .client("psql", ["--no-psqlrc", "--quiet", "--dbname=postgres", "--file"])
            .unwrap();
        psql.arg(&script).output().unwrap()
    };
    let print = |arguments: &[&str]| {
        let file = std::fs::File::create(&script).unwrap();
        let mut dump = shop.bulkhead.command([&["dump", "shop", "--format", "sql"], arguments].concat());
        let output = dump.stdout(file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    shop.other.execute("postgres", "CREATE ROLE keeper").unwrap();
    assert_eq!(print(&["databases/shop"]), (Some(0), String::new()));
    let replayed = psql(&shop.other);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert!(dump(&shop.other, "shop") == before, "pg_dump differs");

    let (code, said) = print(&["databases/office"]);
    assert_eq!(code, Some(13), "{said}");
    assert!(said.contains("`databases/shop`"), "{said}");

    // A script that its writer was stopped at fails, although what is there of it is right.
    assert_eq!(print(&[]).0, Some(0));
    let whole = std::fs::read(&script).unwrap();
    std::fs::write(&script, &whole[..whole.len() / 2]).unwrap();
    let fresh = Cluster::builder().start().unwrap();
    assert_eq!(psql(&fresh).status.code(), Some(3));
}

#[test]
fn a_server_that_cannot_be_reached_fails_the_run() {
    let shop = Shop::open();
    shop.succeed(&["run", "shop"]);
    shop.server.stop().unwrap();
    let outcome = shop.run(&["run", "shop"]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    shop.server.start().unwrap();
    shop.succeed(&["run", "shop"]);
    assert_eq!(
        shop.succeed(&["snapshots", "shop", "--json"]).matches("\"id\"").count(),
        2,
        "the failed run left none"
    );
}

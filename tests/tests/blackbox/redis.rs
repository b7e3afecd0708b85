//! Redis datasets into a vault and back, through the sandbox.

use bulkhead_test_support::redis::{Client, Frozen, Program, Sentinel, Server, cluster, fill, frozen};
use bulkhead_test_support::{Bulkhead, Outcome};

use crate::world::assert_told;

/// An installation with a vault, and a pipeline `cache`.
struct Shop(Bulkhead);

impl Shop {
    /// `lines` of the pipeline's table, and targets.
    fn open(lines: &str) -> Self {
        let shop = Self(Bulkhead::new().unwrap());
        shop.configure(lines);
        shop.succeed(&["init", "main"]);
        shop
    }

    fn configure(&self, lines: &str) {
        let text = format!("[pipeline.cache]\nplugin = \"redis\"\nvault = \"main\"\n{lines}\n");
        self.0.configure(&text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.0.run(arguments).unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(
            outcome.code,
            Some(0),
            "bulkhead {}\n{}{}",
            arguments.join(" "),
            outcome.stdout,
            outcome.stderr
        );
        outcome.stdout
    }
}

/// A line of TOML that grants these addresses without TLS.
fn endpoint(name: &str, addresses: &[String]) -> String {
    format!("endpoint.{name} = {{ addresses = {addresses:?}, tls = {{ mode = \"disable\" }} }}\n")
}

/// The sample, as a server has it that has loaded it.
fn filled(server: &Server) -> Frozen {
    let mut client = server.client().unwrap();
    fill(&mut client).unwrap();
    client.call(&["DEBUG", "RELOAD"]).unwrap();
    frozen(&mut client).unwrap()
}

fn content(server: &Server) -> Frozen {
    frozen(&mut server.client().unwrap()).unwrap()
}

#[track_caller]
fn assert_same(before: &Frozen, after: &Frozen) {
    let different = before.iter().find(|(key, value)| after.get(key) != Some(value));
    let name = different.map(|((database, key), _)| format!("{database}/{}", key.escape_ascii()));
    assert_eq!(name, None, "differs");
    assert_eq!(before.len(), after.len());
}

#[test]
fn a_dataset_over_tls_with_a_client_certificate_comes_back_as_a_file_and_into_a_live_server() {
    let server = Server::builder().debug().tls().password("sesame").start().unwrap();
    let before = filled(&server);
    server
        .call(&[
            "ACL",
            "SETUSER",
            "backup",
            "on",
            ">open",
            "+psync",
            "+replconf",
            "+info",
            "+ping",
            "+acl|list",
            "+config|get",
        ])
        .unwrap();
    let fresh = Server::start_default().unwrap();
    let certificates = server.certificates().unwrap();
    let client = certificates.issue_client("backup").unwrap();
    let shop = Shop::open(&format!(
        "config = {{ mode = \"replica\", user = \"backup\" }}\nlimits = {{ memory = \"64 MiB\" }}\n\
         endpoint.server = {{ address = \"{}\", tls = {{ mode = \"verify-full\", ca = {:?}, certificate = {:?}, key = {{ file = {:?} }} }} }}\n\
         secret.password = {{ file = \"redis-password\", reveal = true }}\n\
         [pipeline.cache.target.file]\ndirectory.data = {{ path = \"restored\", access = \"read-write\" }}\n\
         [pipeline.cache.target.live]\n{}",
        server.tls_address(),
        certificates.authority_certificate().display().to_string(),
        client.certificate.display().to_string(),
        client.key.display().to_string(),
        endpoint("server", &[fresh.address()]),
    ));
    shop.0.scratch().private_file("redis-password", "open\n").unwrap();
    let restored = shop.0.scratch().folder("restored").unwrap();

    shop.succeed(&["check"]);
    shop.succeed(&["run", "cache"]);
    shop.succeed(&["verify", "--read-data"]);
    shop.succeed(&["restore", "cache", "--target", "file"]);
    Program::debian().unwrap().check_rdb(&restored.join("dump.rdb")).unwrap();
    let loaded = Server::builder().rdb(restored.join("dump.rdb")).start().unwrap();
    assert_same(&before, &content(&loaded));

    shop.succeed(&["restore", "cache", "--target", "live"]);
    assert_same(&before, &content(&fresh));
    let again = shop.run(&["restore", "cache", "--target", "live"]);
    assert_eq!(again.code, Some(12), "{}", again.stderr);
    assert!(again.stderr.contains("is on the server already"), "{}", again.stderr);
}

#[test]
fn values_far_larger_than_the_plugin_may_hold() {
    let server = Server::start_default().unwrap();
    let large: Vec<u8> = (0..128_u32 << 20)
        .map(|byte| byte.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    server.client().unwrap().call(&[&b"SET"[..], b"large", &large]).unwrap();
    server.call(&["SET", "small", "x"]).unwrap();
    let fresh = Server::start_default().unwrap();
    let pipeline = |mode: &str| {
        format!(
            "config = {{ mode = \"{mode}\" }}\nlimits = {{ memory = \"48 MiB\" }}\n{}[pipeline.cache.target.live]\nlimits = {{ memory = \"48 MiB\" }}\n\
             config = {{ existing = \"replace\" }}\n{}",
            endpoint("server", &[server.address()]),
            endpoint("server", &[fresh.address()])
        )
    };
    let shop = Shop::open(&pipeline("replica"));
    for mode in ["replica", "scan"] {
        shop.configure(&pipeline(mode));
        shop.succeed(&["run", "cache"]);
        shop.succeed(&["restore", "cache", "--target", "live"]);
        assert!(fresh.client().unwrap().call(&["GET", "large"]).unwrap().bytes() == large, "{mode}");
        fresh.call(&["FLUSHALL"]).unwrap();
    }
}

/// The server's own digest of everything stands for a comparison key by key.
#[test]
fn five_million_keys_and_a_value_of_512_mib() {
    const VALUE: u64 = 512 << 20;
    let keys = "5000001";
    let big = || {
        Server::builder()
            .debug()
            .setting("rdbcompression", "no")
            .setting("proto-max-bulk-len", "1gb")
    };
    let digest = |server: &Server| {
        assert_eq!(server.call(&["DBSIZE"]).unwrap(), keys);
        server.call(&["DEBUG", "DIGEST"]).unwrap()
    };
    let server = big().start().unwrap();
    server.call(&["DEBUG", "POPULATE", "5000000", "key", "20"]).unwrap();
    server.call(&["SETRANGE", "large", &(VALUE - 1).to_string(), "z"]).unwrap();
    let before = digest(&server);

    let mut fresh = big().start().unwrap();
    let shop = Shop::open(&format!(
        "config = {{ mode = \"replica\" }}\nlimits = {{ memory = \"128 MiB\" }}\n{}\
         [pipeline.cache.target.file]\ndirectory.data = {{ path = \"restored\", access = \"read-write\" }}\n\
         [pipeline.cache.target.live]\nlimits = {{ memory = \"128 MiB\" }}\n{}",
        endpoint("server", &[server.address()]),
        endpoint("server", &[fresh.address()])
    ));
    shop.succeed(&["run", "cache"]);
    drop(server);
    shop.succeed(&["restore", "cache", "--target", "live"]);
    assert_eq!(digest(&fresh), before);
    fresh.kill().unwrap();

    let restored = shop.0.scratch().folder("restored").unwrap();
    shop.succeed(&["restore", "cache", "--target", "file"]);
    Program::debian().unwrap().check_rdb(&restored.join("dump.rdb")).unwrap();
    let loaded = big().rdb(restored.join("dump.rdb")).start().unwrap();
    assert_eq!(digest(&loaded), before);
}

#[test]
fn a_cluster_of_three_into_another_cluster_by_slot() {
    let masters = cluster(3, Server::builder).unwrap();
    let others = cluster(3, Server::builder).unwrap();
    let addresses = |servers: &[Server]| servers.iter().map(Server::address).collect::<Vec<_>>();
    let mut client = Client::connect(&masters[0].address()).unwrap();
    for number in 0..3000 {
        set_in_cluster(&mut client, &format!("key:{number}"), &number.to_string());
    }
    let sizes = |servers: &[Server]| servers.iter().map(|server| server.call(&["DBSIZE"]).unwrap()).collect::<Vec<_>>();
    let replica = Server::builder().replica_of(&masters[0]).unwrap();
    let mut granted = addresses(&masters);
    granted.push(replica.address());
    let pipeline = |config: &str| {
        format!(
            "{config}{}[pipeline.cache.target.live]\n{}",
            endpoint("server", &granted),
            endpoint("server", &addresses(&others))
        )
    };
    let shop = Shop::open(&pipeline(""));
    shop.succeed(&["check"]);
    shop.succeed(&["run", "cache"]);
    let listed = shop.succeed(&["ls", "cache"]);
    assert!(
        listed.contains("topology.json") && listed.matches("dump.rdb").count() == 3,
        "{listed}"
    );
    shop.succeed(&["verify"]);
    shop.succeed(&["restore", "cache", "--target", "live"]);
    assert_eq!(sizes(&others), sizes(&masters));
    for (original, restored) in masters.iter().zip(&others) {
        assert_same(&content(original), &content(restored));
    }

    shop.configure(&pipeline("config = { prefer = \"replica\" }\n"));
    replica
        .wait_until("the replica did not follow", |client| {
            let linked = client.call(&["ROLE"]).unwrap().text().contains("connected");
            linked && client.call(&["DBSIZE"]).unwrap().text() == sizes(&masters)[0]
        })
        .unwrap();
    let before = syncs(&replica);
    shop.succeed(&["run", "cache"]);
    assert_eq!(syncs(&replica), before + 1, "the replica was not read");

    // A slot that nobody has: its keys would be missing.
    masters[2].call(&["CLUSTER", "DELSLOTS", "16383"]).unwrap();
    for command in [&["run", "cache"][..], &["check"]] {
        let outcome = shop.run(command);
        assert_ne!(outcome.code, Some(0));
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("1 of the cluster's 16384 slots"), "{said}");
    }
}

/// Follows the cluster's redirections.
fn set_in_cluster(client: &mut Client, key: &str, value: &str) {
    let answer = client.ask(&["SET", key, value]).unwrap().text();
    if let Some(address) = answer.strip_prefix("MOVED ").and_then(|rest| rest.split(' ').nth(1)) {
        *client = Client::connect(address).unwrap();
        client.call(&["SET", key, value]).unwrap();
    }
}

/// Full resynchronizations that it has given.
fn syncs(server: &Server) -> u32 {
    let stats = server.call(&["INFO", "stats"]).unwrap();
    let count = stats.lines().find_map(|line| line.strip_prefix("sync_full:"));
    count.unwrap().parse().unwrap()
}

#[test]
fn sentinels_say_which_server_it_is() {
    let master = Server::start_default().unwrap();
    master.call(&["SET", "a", "b"]).unwrap();
    let replica = Server::builder()
        .setting("replicaof", format!("127.0.0.1 {}", master.port()))
        .start()
        .unwrap();
    let sentinel = Sentinel::watch(&master, "cache", 1, Some("sentry")).unwrap();
    let pipeline = |config: &str| {
        // The servers themselves are found, not listed.
        format!(
            "secret.sentinel-password = {{ file = \"sentinel-password\", reveal = true }}\nconfig = {{ sentinel = {{ master = \"cache\" }}{config} }}\n{}endpoint.server = {{ address = \"127.0.0.1:1\", tls = {{ mode = \"disable\" }}, \
             discovered = [\"127.0.0.*:*\"] }}\n",
            endpoint("sentinel", &["127.0.0.1:1".to_owned(), sentinel.address()])
        )
    };
    let shop = Shop::open(&pipeline(""));
    shop.0.scratch().private_file("sentinel-password", "sentry\n").unwrap();
    let (of_master, of_replica) = (syncs(&master), syncs(&replica));
    shop.succeed(&["run", "cache"]);
    assert_eq!((syncs(&master), syncs(&replica)), (of_master + 1, of_replica));
    shop.configure(&pipeline(", prefer = \"replica\""));
    shop.succeed(&["run", "cache"]);
    assert_eq!((syncs(&master), syncs(&replica)), (of_master + 1, of_replica + 1));

    // One that knows nothing of the master, and one that takes the replica for it: the next one is asked.
    let stranger = Sentinel::watch(&master, "other", 1, Some("sentry")).unwrap();
    let stale = Sentinel::watch(&replica, "cache", 0, Some("sentry")).unwrap();
    let asking = |sentinels: &[&Sentinel]| {
        let addresses: Vec<_> = sentinels.iter().map(|sentinel| sentinel.address()).collect();
        let line = format!("endpoint.sentinel = {{ addresses = {addresses:?}, tls = {{ mode = \"disable\" }} }}");
        let text = pipeline("");
        let lines = text
            .lines()
            .map(|known| if known.starts_with("endpoint.sentinel") { &line } else { known });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (of_master, of_replica) = (syncs(&master), syncs(&replica));
    shop.configure(&asking(&[&stranger, &stale, &sentinel]));
    shop.succeed(&["run", "cache"]);
    assert_eq!((syncs(&master), syncs(&replica)), (of_master + 1, of_replica));
    shop.configure(&asking(&[&stale]));
    let outcome = shop.run(&["run", "cache"]);
    assert!(
        outcome.stderr.contains("the server says that it is a replica"),
        "{}",
        outcome.stderr
    );
    assert_eq!(syncs(&replica), of_replica, "the replica was read");

    shop.configure(&pipeline("").replace("master = \"cache\"", "master = \"nobody\""));
    assert_told!(shop.run(&["run", "cache"]));
}

#[test]
fn a_server_that_dies_in_the_middle_of_its_dataset() {
    let mut server = slow_server();
    let shop = Shop::open(&endpoint("server", &[server.address()]));
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| shop.run(&["run", "cache"]));
        server.wait_until("the transfer did not begin", is_sending).unwrap();
        server.kill().unwrap();
        run.join().unwrap()
    });
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("stopped sending its dataset"), "{}", outcome.stderr);
    let listed = shop.run(&["snapshots", "--json"]);
    assert!(!listed.stdout.contains("\"id\""), "{}", listed.stdout);
}

/// A server that takes half a minute to send its dataset.
fn slow_server() -> Server {
    let server = Server::builder().debug().setting("repl-diskless-sync", "yes").start().unwrap();
    server.call(&["DEBUG", "POPULATE", "30000", "key", "500"]).unwrap();
    server.call(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]).unwrap();
    server
}

/// Whether a part of the dataset is on its way.
fn is_sending(client: &mut Client) -> bool {
    let stats = client.call(&["INFO", "stats"]).unwrap().text();
    let sent = stats.lines().find_map(|line| line.strip_prefix("total_net_repl_output_bytes:"));
    sent.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap() > 20_000
}

#[test]
fn a_run_that_fails_says_why_and_leaves_no_snapshot() {
    let server = Server::builder().password("sesame").start().unwrap();
    server.call(&["SET", "a", "b"]).unwrap();
    let pipeline = |more: &str| format!("{}{more}", endpoint("server", &[server.address()]));
    let shop = Shop::open(&pipeline(""));
    assert_told!("redis_without_password", shop.run(&["run", "cache"]));
    shop.0.scratch().private_file("redis-password", "wrong\n").unwrap();
    shop.configure(&pipeline("secret.password = { file = \"redis-password\", reveal = true }\n"));
    assert_told!("redis_with_wrong_password", shop.run(&["run", "cache"]));
    let listed = shop.run(&["snapshots", "--json"]);
    assert!(!listed.stdout.contains("\"id\""), "{}", listed.stdout);
}

//! Configurations that are right, and what becomes of them.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;

use bulkhead_config::{Auth, Config, DefaultLimits, Destination, Limits, Plan, SecretSource, TlsMode, parse};

const MAINNET: &str = include_str!("../../../examples/mainnet.toml");

fn mainnet() -> Config {
    parse("/etc/bulkhead/mainnet.toml", MAINNET).expect("the example is right")
}

fn defaults() -> DefaultLimits {
    DefaultLimits {
        source: Limits::default(),
        sink: Limits::default(),
    }
}

#[test]
fn the_example_is_right() {
    let config = mainnet();
    let names: Vec<&str> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["mainnet-postgres", "fabric-ca.root", "fabric-ca.org1", "fabric-ca.org2"]);
    assert_eq!(config.pipelines_named("fabric-ca").len(), 3);
    assert_eq!(config.pipelines_named("fabric-ca.org1").len(), 1);
    assert_eq!(
        config.pipeline("fabric-ca.org2").expect("it exists").grants.directories[0].path,
        Path::new("/mnt/ca-org2")
    );
    let archive = &config.sink("archive").expect("it exists").grants.endpoints[0];
    assert_eq!(
        archive.destination,
        Destination::Url("https://s3.eu-central-1.amazonaws.com".into())
    );
    assert!(matches!(&archive.auth, Some(Auth::Aws { region, .. }) if region == "eu-central-1"));
    let server = &config.pipelines[0].grants.endpoints[0];
    assert_eq!(server.tls.mode, TlsMode::VerifyFull);
    assert_eq!(config.pipelines[0].config["databases"][0], "*");
}

#[test]
fn so_are_all_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it is readable").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("it is readable");
            let config = parse(&path.display().to_string(), &text);
            let config = config.unwrap_or_else(|diagnostics| panic!("{}: {diagnostics:?}", path.display()));
            assert!(!config.pipelines.is_empty(), "{}", path.display());
            read += 1;
        }
    }
    assert!(read >= 3);
}

#[test]
fn a_plan_says_everything_that_may_be_touched() {
    let config = mainnet();
    let plans: Vec<String> = config.pipelines[..2]
        .iter()
        .map(|pipeline| Plan::run(&config, pipeline, &defaults()).expect("it plans").to_string())
        .collect();
    insta::assert_snapshot!(plans.join("\n"));
}

#[test]
fn a_plan_shows_no_value_that_is_named_like_a_secret() {
    let text = MAINNET.replace(
        "config = { mode = \"logical\"",
        "config = { password = \"hunter2\", more = { api-token = \"hunter2\", list = [{ pwd = \"hunter2\" }, [{ pwd = [\"hunter2\"] }]], token = [{ value = \"hunter2\" }] }, mode = \"logical\"",
    );
    assert!(text.contains("hunter2"));
    let config = parse("/srv/conf/bulkhead.toml", &text).expect("it is right");
    for pipeline in &config.pipelines {
        let plan = Plan::run(&config, pipeline, &defaults()).expect("it plans");
        let data = serde_json::to_string(&plan).expect("it is data");
        assert!(!format!("{plan}{data}").contains("hunter2"), "{plan}");
    }
}

#[test]
fn a_plan_is_data_too() {
    let config = mainnet();
    insta::assert_json_snapshot!(Plan::run(&config, &config.pipelines[0], &defaults()).expect("it plans"));
}

#[test]
fn relative_paths_start_from_the_file() {
    let text = MAINNET.replace("/etc/bulkhead/keys/databases", "keys/databases");
    let config = parse("/srv/conf/bulkhead.toml", &text).expect("it is right");
    assert_eq!(config.vaults[0].key, SecretSource::File("/srv/conf/keys/databases".into()));
}

#[test]
fn a_template_fills_in_its_name_everywhere() {
    let text = r#"version = 1
[vault.v]
key = { env = "K" }
sinks = ["s"]
[sink.s]
plugin = "local"
[pipeline.shop]
plugin = "postgres"
vault = "v"
config = { databases = ["{db}", "{other}"], slot = "bulkhead-{db}" }
limits = { memory = "1 GiB" }
directory.data = { path = "/data/{db}", access = "read-only" }
each.db = ["sales", "stock"]
[pipeline.shop.target.scratch]
directory.data = { path = "/restore/{db}", access = "read-write" }
"#;
    let config = parse("bulkhead.toml", text).expect("it is right");
    let stock = config.pipeline("shop.stock").expect("it exists");
    assert_eq!(stock.config["databases"], serde_json::json!(["stock", "{other}"]));
    assert_eq!(stock.config["slot"], "bulkhead-stock");
    assert_eq!(stock.grants.directories[0].path, Path::new("/data/stock"));
    assert_eq!(stock.targets[0].grants.directories[0].path, Path::new("/restore/stock"));
    let plan = Plan::restore(&config, stock, &stock.targets[0], &defaults()).expect("it plans");
    insta::assert_snapshot!(plan.to_string());
}

#[test]
fn limits_are_layered() {
    let text = MAINNET.replace("version = 1", "version = 1\nlimits = { memory = \"64 MiB\", parts = 2 }");
    let config = parse("bulkhead.toml", &text).expect("it is right");
    let postgres = &config.pipelines[0].limits;
    assert_eq!(postgres.memory.map(|memory| memory.0), Some(128 << 20), "its own");
    assert_eq!(postgres.parts, Some(2), "the file's");
    assert_eq!(postgres.entries, None, "the runtime's default");
}

#[test]
fn credentials_may_go_over_the_loopback_in_the_clear() {
    for (host, good) in [
        ("localhost:8080", true),
        ("127.0.0.1:9000/base", true),
        ("[::1]:9000", true),
        ("localhost.example", false),
        ("127.0.0.1.example", false),
        ("10.0.0.1:9000", false),
    ] {
        let text = format!(
            "version = 1\n[sink.a]\nplugin = \"s3\"\nendpoint.api = {{ url = \"http://{host}\", auth = {{ bearer = {{ env = \"TOKEN\" }} }} }}\n"
        );
        let in_the_clear = parse("a.toml", &text)
            .err()
            .is_some_and(|report| format!("{report:?}").contains("in the clear"));
        assert_eq!(in_the_clear, !good, "{host}");
    }
}

//! Values of a real module: FalkorDB's graphs, in whose server `cargo xtask setup` brings Redis 8.2.

use bulkhead_test_support::{
    Scratch,
    redis::{Builder, Program, Server},
};

use crate::setup::{Operations, assert_says, codes, fact, into_folder, into_server, over_tcp};

/// A server that has the module.
fn with_module() -> Builder {
    let (program, module) = Program::with_module().unwrap();
    let module = module.display().to_string();
    Server::builder().program(program).debug().words("loadmodule", &[&module])
}

/// Graphs of some sizes, beside what every server has.
fn filled() -> Server {
    let server = with_module().start().unwrap();
    let create = "UNWIND range(1, 2000) AS n CREATE (:Person {name: 'p' + toString(n), age: n % 90, weight: n * 0.5})";
    for query in [
        create,
        "CREATE INDEX FOR (p:Person) ON (p.age)",
        "MATCH (a:Person {age: 7}), (b:Person {age: 8}) CREATE (a)-[:KNOWS {since: 1999}]->(b)",
    ] {
        server.call(&["GRAPH.QUERY", "people", query]).unwrap();
    }
    server.call(&["GRAPH.QUERY", "tiny", "CREATE (:Only)"]).unwrap();
    server.call(&["SET", "beside", "a string"]).unwrap();
    server
}

/// What its users ask a graph; the answer ends with how long it took.
fn answers(server: &Server) -> Vec<String> {
    let queries = [
        ("people", "MATCH (p:Person) RETURN count(p), sum(p.age), sum(p.weight), max(p.name)"),
        ("people", "MATCH (a)-[k:KNOWS]->(b) RETURN count(k), min(k.since), sum(b.age)"),
        ("people", "MATCH (p:Person) WHERE p.age = 33 RETURN p.name ORDER BY p.name"),
        ("tiny", "MATCH (n) RETURN labels(n)"),
    ];
    let mut client = server.client().unwrap();
    let ask = |(graph, query): &(&str, &str)| {
        let reply = client.call(&["GRAPH.RO_QUERY", graph, query]).unwrap();
        format!("{:?}", reply.list().get(1))
    };
    queries.iter().map(ask).collect()
}

#[test]
fn a_modules_values_and_its_own_data_come_back_as_a_file_and_into_a_live_server() {
    let server = filled();
    let before = answers(&server);
    assert!(before.iter().all(|answer| answer.len() > 20), "{before:?}");
    let harness = over_tcp(&server);
    for (mode, findings) in [("replica", &[][..]), ("scan", &["no-point-in-time"])] {
        let result = harness.backup_with(&format!(r#"{{"mode":"{mode}"}}"#)).unwrap();
        assert_eq!(codes(&result.findings), findings, "{mode}");
        assert_eq!(fact(&result.proof.facts, "keys"), "3");
        assert_eq!(codes(&harness.verified()), ["rdb-verified"], "{mode}");

        let live = with_module().start().unwrap();
        into_server(&harness.last().unwrap(), &live, "{}").unwrap();
        assert_eq!(answers(&live), before, "{mode}");
    }
    let folder = Scratch::new().unwrap();
    harness.backup_with(r#"{"mode":"replica"}"#).unwrap();
    into_folder(&harness.last().unwrap(), &folder, "{}").unwrap();
    let loaded = with_module().rdb(folder.join("dump.rdb")).start().unwrap();
    assert_eq!(answers(&loaded), before);
}

#[test]
fn a_server_without_the_module_refuses_its_values_and_takes_the_others() {
    let server = filled();
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    let snapshot = harness.last().unwrap();
    let plain = Server::builder().program(Program::with_module().unwrap().0).start().unwrap();
    let error = into_server(&snapshot, &plain, "{}").unwrap_err();
    assert_says(&error, "restoring the key", "module");
    plain.call(&["FLUSHALL"]).unwrap();
    into_server(&snapshot, &plain, r#"{"keys":["beside"]}"#).unwrap();
    assert_eq!(plain.call(&["GET", "beside"]).unwrap(), "a string");
}

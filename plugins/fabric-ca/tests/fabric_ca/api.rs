//! The server's REST API beside its home, by requests that OpenSSL believes: what both say is the same, or somebody enrolled in between.

use bulkhead_plugin_fabric_ca::FabricCa;
use bulkhead_sdk::{
    ErrorKind,
    source::BackupResult,
    testing::{Directory, Harness, HttpRequest, HttpResponse},
    types::Severity,
};
use bulkhead_test_support::{
    couchdb::{Answer, Request},
    fabric_ca::{Api, Home, crl},
};

use crate::postgres::{granted, server};
use crate::setup::{Desk, coded, errors, fact, told};

/// A home, its server, and the plugin with a registrar of it.
struct Server {
    desk: Desk,
    api: Api,
    /// Certificate and key.
    registrar: (String, String),
}

impl Server {
    fn new() -> Self {
        Self::of(Desk::root())
    }

    fn of(desk: Desk) -> Self {
        let registrar = desk.home.enroll_with_key("admin").unwrap();
        let api = Api::of(&desk.home);
        Self { desk, api, registrar }
    }

    fn harness(&self, registrar: &(String, String)) -> Harness {
        let api = self.api.clone();
        Harness::new()
            .directory("home", Directory::at(self.desk.home.path()).read_only())
            .secret("admin-certificate", &registrar.0)
            .secret("admin-key", &registrar.1)
            .http("api", move |request: &HttpRequest| {
                let headers = request.headers.iter();
                let answer = api.answer(&Request {
                    method: request.method.clone(),
                    path: request.path.clone(),
                    headers: headers
                        .map(|(name, value)| (name.to_lowercase(), String::from_utf8_lossy(value).into_owned()))
                        .collect(),
                    body: request.body.clone(),
                });
                HttpResponse {
                    status: answer.status,
                    headers: Vec::new(),
                    body: answer.body,
                    break_after: answer.break_after,
                }
            })
    }

    fn backup(&self) -> (Harness, BackupResult) {
        let harness = self.harness(&self.registrar);
        let result = harness.backup::<FabricCa>("{}").unwrap();
        (harness, result)
    }
}

#[test]
fn what_the_server_lists_is_what_its_database_has_and_its_list_of_revoked_ones_is_openssls() {
    let mut server = Server::new();
    for name in ["ca1", "ca2"] {
        let other = server.desk.home.another(name).unwrap();
        other.revoke("admin").unwrap();
        // Each CA lets in those that it has enrolled itself.
        let (certificate, key) = other.enroll_with_key("admin").unwrap();
        server.registrar.0.push_str(&certificate);
        server.registrar.1.push_str(&key);
    }
    let findings = server.harness(&server.registrar).check::<FabricCa>("{}").unwrap();
    told(
        &findings,
        "api-reached",
        Severity::Info,
        "for 3 CAs; the registrar sees 5 identities",
    );
    let (harness, result) = server.backup();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    assert_eq!(fact(&result, "api-differences"), "0");
    let listed = String::from_utf8(harness.content("inventory/api.jsonl").unwrap()).unwrap();
    assert!(
        listed.contains(r#"{"kind":"server","ca":"ca/ca2","name":"ca2","version":"1.5.21"}"#),
        "{listed}"
    );
    assert!(listed.contains(r#""ca":".","id":"peer0","type":"peer""#), "{listed}");
    let list = harness.content("inventory/crl/ca-org1.pem").unwrap();
    let text = crl(&server.desk.home.join("ca-cert.pem"), &list).unwrap();
    assert!(text.contains("Key Compromise"), "{text}");
    let findings = harness.verify::<FabricCa>("{}").unwrap();
    assert!(errors(&findings).is_empty(), "{findings:#?}");
    told(&findings, "api-verified", Severity::Info, "0 lines");

    // A line that the run did not know of.
    harness.tamper(|snapshot| {
        let entry = snapshot.entries.get_mut(&b"inventory/api.jsonl"[..]).unwrap();
        entry.content = listed
            .replace(r#""id":"peer0","type":"peer""#, r#""id":"peer0","type":"admin""#)
            .into_bytes();
    });
    assert_eq!(errors(&harness.verify::<FabricCa>("{}").unwrap())[0].code, "inventory-differs");
}

#[test]
fn who_enrols_between_database_and_api_is_told_apart_from_a_server_with_another_database() {
    let server = Server::new();
    let home = server.desk.home.clone();
    let mut first = true;
    server.api.meddle(move |request| {
        if request.path.starts_with("/identities") && std::mem::take(&mut first) {
            home.register("late", "client", "org1").unwrap();
            home.enroll("late").unwrap();
        }
        None
    });
    let (harness, result) = server.backup();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(&result.findings, "changed-meanwhile", Severity::Info, "identity late");
    assert_eq!(fact(&result, "api-differences"), "2", "an identity and a certificate");
    assert!(errors(&harness.verify::<FabricCa>("{}").unwrap()).is_empty());

    // The server has identities that its home's database knows nothing of.
    server.api.meddle(|request| {
        let body = r#"{"result":{"identities":[{"id":"ghost","type":"client","affiliation":"","attrs":null,"max_enrollments":-1}],"caname":"ca-org1"},"errors":[],"messages":[],"success":true}"#;
        request.path.starts_with("/identities").then(|| Answer::json(200, body))
    });
    let (_, result) = server.backup();
    told(&result.findings, "api-differs", Severity::Error, "identity ghost");
}

#[test]
fn a_server_with_another_ca_and_a_registrar_who_is_not_let_in_fail_the_run() {
    let server = Server::new();
    let other = Desk::root();
    let stranger = Server::of(other);
    // Another server's registrar.
    let error = server.harness(&stranger.registrar).backup::<FabricCa>("{}").unwrap_err();
    assert!(
        error.kind == ErrorKind::Config && error.to_string().contains("no CA of this home"),
        "{error}"
    );
    // A certificate with another's key.
    let mixed = (server.registrar.0.clone(), stranger.registrar.1.clone());
    let error = server.harness(&mixed).backup::<FabricCa>("{}").unwrap_err();
    assert!(
        error.kind == ErrorKind::Config && error.to_string().contains("another certificate"),
        "{error}"
    );
    server
        .api
        .meddle(|request| (request.path != "/cainfo").then(|| Answer::json(401, r#"{"success":false}"#)));
    let error = server.harness(&server.registrar).backup::<FabricCa>("{}").unwrap_err();
    assert!(error.kind == ErrorKind::Unauthenticated && error.hint.unwrap().contains("hf.GenCRL"));
    // The home of one, the server of another.
    let strange = stranger.api.clone();
    server.api.meddle(move |request| Some(strange.answer(request)));
    let error = server.harness(&server.registrar).backup::<FabricCa>("{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
}

#[test]
fn an_answer_that_ends_early_or_is_none_fails_the_run() {
    let server = Server::new();
    for (body, kind) in [
        (r#"{"result":{"certs":[{"PEM":"-----BEGIN CERTIFICATE-----"#, ErrorKind::Protocol),
        (r#"{"result":{"certs":[{"PEM":"none"}], "caname":""}}"#, ErrorKind::Protocol),
        ("<html>", ErrorKind::Protocol),
    ] {
        server
            .api
            .meddle(move |request| request.path.starts_with("/certificates").then(|| Answer::json(200, body)));
        let harness = server.harness(&server.registrar);
        assert_eq!(harness.backup::<FabricCa>("{}").unwrap_err().kind, kind, "{body}");
        assert!(harness.snapshots().is_empty());
    }
    // A list without one that is revoked.
    let empty = Desk::of(|folder| Home::root(folder, "ca-org1").unwrap());
    assert!(coded(&empty.backup().unwrap().findings, "revocation-missing").is_empty());
    let home = server.desk.home.clone();
    server.api.meddle(move |request| {
        // Whoever asks for the list gets it as if nobody were revoked.
        if request.path == "/gencrl" {
            home.sql("UPDATE certificates SET status = 'good';").unwrap();
        }
        None
    });
    let (_, result) = server.backup();
    told(&result.findings, "revocation-missing", Severity::Error, "user1");
}

#[test]
fn who_enrols_between_a_dump_and_the_api_is_told_too() {
    let cluster = server();
    let server = Server::of(Desk::of(|folder| {
        Home::root_with(folder, "ca-org1", &cluster, "fabric_ca").unwrap()
    }));
    let harness = granted(server.harness(&server.registrar), &cluster, "secret");
    let result = harness.backup::<FabricCa>("{}").unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    assert_eq!(fact(&result, "api-differences"), "0");
    let home = server.desk.home.clone();
    let mut first = true;
    server.api.meddle(move |request| {
        if request.path.starts_with("/identities") && std::mem::take(&mut first) {
            home.register("late", "client", "org1").unwrap();
            home.enroll("late").unwrap();
        }
        None
    });
    let result = harness.backup::<FabricCa>("{}").unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(&result.findings, "changed-meanwhile", Severity::Info, "identity late");
    let findings = harness.verify::<FabricCa>("{}").unwrap();
    told(&findings, "api-verified", Severity::Info, "2 lines");
}

//! What a run stores, says and proves, of a root CA, an intermediate one, and a server with several.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bulkhead_plugin_fabric_ca::FabricCa;
use bulkhead_sdk::{
    testing::Directory,
    types::{Severity, Timestamp},
};
use bulkhead_test_support::fabric_ca::{Home, query, sign, verify};
use serde_json::Value;

use crate::setup::{Desk, coded, errors, fact};

/// Every path below a folder with what it is, but for databases.
fn listing(root: &Path) -> Vec<(String, u32, u32, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = match metadata.is_file() && path.extension().is_none_or(|end| end != "db") {
                true => fs::read(&path).unwrap(),
                false => Vec::new(),
            };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.push((name, metadata.mode(), metadata.uid(), metadata.mtime(), content));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_home_comes_back_as_it_was_and_openssl_agrees() {
    let desk = Desk::root();
    desk.home.enable_tls().unwrap();
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    for (name, value) in [
        ("authorities", "1"),
        ("keys", "2"),
        ("databases", "1"),
        ("identities", "3"),
        ("affiliations", "5"),
        ("certificates", "3"),
        ("revoked-certificates", "1"),
        ("expiring-identities", "0"),
        ("expiring-ca-certificates", "0"),
    ] {
        assert_eq!(fact(&result, name), value, "{name}");
    }
    assert!(fact(&result, "first-expiry").starts_with("20"), "{}", fact(&result, "first-expiry"));
    // The TLS certificate of a year ends before the CA's.
    let left = fact(&result, "first-expiry-seconds").parse::<i64>().unwrap() - Timestamp::now().seconds;
    assert!((364 * 86_400..=365 * 86_400).contains(&left), "{left}");
    let findings = desk.verify();
    assert!(errors(&findings).is_empty(), "{findings:#?}");
    assert_eq!(coded(&findings, "home-verified").len(), 1, "{findings:#?}");
    assert!(
        coded(&findings, "database-verified")[0]
            .message
            .contains("3 certificates, 1 of them revoked")
    );

    let target = Directory::temporary();
    let restored = desk.restore(&target, "{}", &[]).unwrap();
    assert!(restored.findings.is_empty(), "{:#?}", restored.findings);
    assert_eq!(listing(target.path()), listing(desk.home.path()));
    let key = target
        .path()
        .join(desk.home.key_file().unwrap().strip_prefix(desk.home.path()).unwrap());
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(
        query(&target.path().join("fabric-ca-server.db"), ".dump").unwrap(),
        desk.home.query(".dump").unwrap()
    );

    // The restored key signs for the restored certificate, and that one is the root of what the restored database has.
    let root = target.path().join("ca-cert.pem");
    sign(&key, &root).unwrap();
    for id in ["admin", "peer0", "user1"] {
        let pem = query(
            &target.path().join("fabric-ca-server.db"),
            &format!("SELECT pem FROM certificates WHERE id = '{id}'"),
        )
        .unwrap();
        verify(&root, None, &format!("{pem}\n")).unwrap();
    }
}

#[test]
fn an_inventory_is_lines_that_people_read_and_diff() {
    let desk = Desk::root();
    desk.backup().unwrap();
    let first = desk.inventory("database");
    let lines: Vec<Value> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let names: Vec<_> = of("affiliation")
        .iter()
        .map(|line| line["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["org1", "org1.department1", "org1.department2", "org2", "org2.department1"]);
    let peer = of("identity")[1];
    assert_eq!(
        (&peer["id"], &peer["type"], &peer["affiliation"], &peer["state"]),
        (&"peer0".into(), &"peer".into(), &"org1.department1".into(), &1.into())
    );
    assert!(
        peer["attributes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|attribute| attribute["name"] == "hf.Type" && attribute["ecert"] == true)
    );
    let revoked: Vec<_> = of("certificate").into_iter().filter(|line| line["status"] == "revoked").collect();
    assert_eq!(
        (revoked.len(), &revoked[0]["id"], &revoked[0]["reason"]),
        (1, &"user1".into(), &1.into())
    );
    assert!(
        !first.contains("2432612431302462696e67656e") && !first.contains("PRIVATE"),
        "nothing that anybody could enrol with"
    );

    // The same again is the same; one more enrolment is its lines.
    desk.backup().unwrap();
    assert_eq!(desk.inventory("database"), first);
    desk.home.enroll("peer0").unwrap();
    desk.backup().unwrap();
    let second = desk.inventory("database");
    let new: Vec<&str> = second.lines().filter(|line| !first.lines().any(|old| old == *line)).collect();
    assert_eq!(new.len(), 3, "a certificate, its identity's state, the table's rows: {new:#?}");

    let home = desk.inventory("home");
    let lines: Vec<Value> = home.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let key = lines.iter().find(|line| line["kind"] == "key").unwrap();
    assert_eq!((&key["algorithm"], &key["certificate"]), (&"P-256".into(), &"ca-cert.pem".into()));
    assert_eq!(key["file"], format!("msp/keystore/{}_sk", key["ski"].as_str().unwrap()));
    let authority = lines.iter().find(|line| line["kind"] == "authority").unwrap();
    assert_eq!(
        (&authority["name"], &authority["database"]),
        (&"ca-org1".into(), &"fabric-ca-server.db".into())
    );
}

#[test]
fn an_intermediate_ca_leads_up_to_its_root() {
    let parent = Desk::root();
    let desk = Desk::of(|folder| Home::intermediate(folder, "ca-org2", &parent.home).unwrap());
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    assert!(errors(&desk.verify()).is_empty());
    let pem = desk.home.query("SELECT pem FROM certificates").unwrap();
    verify(
        &parent.home.join("ca-cert.pem"),
        Some(&desk.home.join("ca-cert.pem")),
        &format!("{pem}\n"),
    )
    .unwrap();

    // Without its chain, nobody knows where it leads to; that is no damage.
    fs::remove_file(desk.home.join("ca-chain.pem")).unwrap();
    let result = desk.backup().unwrap();
    crate::setup::told(&result.findings, "chain-incomplete", Severity::Warning, "CN=ca-org1");
}

#[test]
fn a_server_with_several_cas_is_one_snapshot_and_one_of_them_comes_back_alone() {
    let desk = Desk::root();
    for name in ["ca1", "ca2"] {
        let other = desk.home.another(name).unwrap();
        other.register("orderer", "orderer", "org1").unwrap();
        other.enroll("orderer").unwrap();
    }
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    assert_eq!(
        (
            fact(&result, "authorities"),
            fact(&result, "databases"),
            fact(&result, "certificates")
        ),
        ("3".into(), "3".into(), "7".into())
    );
    assert!(errors(&desk.verify()).is_empty());
    let inventory = desk.inventory("database");
    assert!(
        inventory.contains(r#"{"kind":"identity","ca":"ca/ca2","id":"orderer""#),
        "{inventory}"
    );

    let target = Directory::temporary();
    desk.restore(&target, "{}", &["home/ca/ca1"]).unwrap();
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
    assert_eq!(listing(&target.path().join("ca/ca1")), listing(&desk.home.join("ca/ca1")));
    assert!(!target.path().join("ca/ca2").exists());
    assert_eq!(fs::metadata(target.path().join("ca")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn keys_of_the_other_curve_are_proved_alike() {
    let desk = Desk::of(|folder| Home::root_of_384(folder, "ca-org3").unwrap());
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    assert!(desk.inventory("home").contains(r#""algorithm":"P-384""#));
    let findings = desk.verify();
    assert!(
        errors(&findings).is_empty() && coded(&findings, "signature-unchecked").is_empty(),
        "{findings:#?}"
    );
    let pem = desk.home.query("SELECT pem FROM certificates").unwrap();
    verify(&desk.home.join("ca-cert.pem"), None, &format!("{pem}\n")).unwrap();
    fs::remove_file(desk.home.key_file().unwrap()).unwrap();
    assert_eq!(errors(&desk.backup().unwrap().findings)[0].code, "certificate-without-key");
}

#[test]
fn a_check_says_what_a_run_would_find() {
    let desk = Desk::root();
    let findings = desk.harness.check::<FabricCa>("{}").unwrap();
    assert!(errors(&findings).is_empty(), "{findings:#?}");
    assert!(coded(&findings, "authority-found")[0].message.contains("ca-org1"));
    assert_eq!(coded(&findings, "database-found").len(), 1);
    fs::remove_file(desk.home.key_file().unwrap()).unwrap();
    let findings = desk.harness.check::<FabricCa>("{}").unwrap();
    assert_eq!(errors(&findings)[0].code, "certificate-without-key");
}

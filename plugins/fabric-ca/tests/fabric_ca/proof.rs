//! What the proof finds: keys without certificates and the other way round, chains that break, what expires, rows that are not what they say.

use std::fs;
use std::os::unix::fs::symlink;

use bulkhead_sdk::{testing::Directory, types::Severity};
use bulkhead_test_support::fabric_ca::Home;

use crate::setup::{Desk, coded, errors, fact, told};

#[test]
fn a_certificate_without_its_key_fails_the_run_unless_that_is_kept_elsewhere() {
    let desk = Desk::root();
    fs::remove_file(desk.home.key_file().unwrap()).unwrap();
    let result = desk.backup().unwrap();
    told(&result.findings, "certificate-without-key", Severity::Error, "ca-cert.pem");
    let result = desk.backup_with(r#"{ "keys-elsewhere": ["ca-cert.pem"] }"#).unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(&result.findings, "key-elsewhere", Severity::Info, "ca-cert.pem");
    desk.home.change_config("default: SW", "default: PKCS11").unwrap();
    let result = desk.backup().unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(&result.findings, "key-in-module", Severity::Warning, "PKCS#11");
}

#[test]
fn a_key_outside_of_the_keystore_counts_where_the_config_names_it() {
    let desk = Desk::root();
    fs::rename(desk.home.key_file().unwrap(), desk.home.join("ca-key.pem")).unwrap();
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
}

#[test]
fn a_certificate_may_have_any_name_that_the_config_gives_it() {
    let desk = Desk::root();
    fs::rename(desk.home.join("ca-cert.pem"), desk.home.join("authority")).unwrap();
    told(
        &desk.backup().unwrap().findings,
        "certificate-missing",
        Severity::Error,
        "ca-cert.pem",
    );
    desk.home
        .change_config("  certfile:\n  chainfile:", "  certfile: authority\n  chainfile:")
        .unwrap();
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    assert!(errors(&desk.verify()).is_empty());
}

#[test]
fn a_key_without_a_certificate_and_a_file_that_is_no_key_are_told_and_stored() {
    let desk = Desk::root();
    desk.home.new_key().unwrap();
    desk.home.file("msp/keystore/notes.txt", 0o644, "do not delete").unwrap();
    let result = desk.backup().unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    assert_eq!(coded(&result.findings, "key-without-certificate").len(), 1);
    told(&result.findings, "foreign-file", Severity::Warning, "msp/keystore/notes.txt");
    assert_eq!(desk.harness.content("home/msp/keystore/notes.txt").unwrap(), b"do not delete");
    assert_eq!(fact(&result, "keys"), "2");
}

#[test]
fn a_key_that_is_cut_short_fails_the_run() {
    let desk = Desk::root();
    let path = desk.home.key_file().unwrap();
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    let result = desk.backup().unwrap();
    told(&result.findings, "key-unreadable", Severity::Error, "_sk");
    told(&result.findings, "certificate-without-key", Severity::Error, "ca-cert.pem");
    // The other half of an Idemix key.
    fs::write(&path, text).unwrap();
    let other = Desk::root();
    let public = fs::read(other.home.join("IssuerRevocationPublicKey")).unwrap();
    desk.home.file("IssuerRevocationPublicKey", 0o644, public).unwrap();
    told(
        &desk.backup().unwrap().findings,
        "idemix-differs",
        Severity::Error,
        "IssuerRevocationPublicKey",
    );
    fs::remove_file(desk.home.join("IssuerRevocationPublicKey")).unwrap();
    told(
        &desk.backup().unwrap().findings,
        "idemix-missing",
        Severity::Error,
        "IssuerRevocationPublicKey",
    );
}

#[test]
fn a_chain_with_a_signature_that_does_not_hold_fails_the_run() {
    let parent = Desk::root();
    let desk = Desk::of(|folder| Home::intermediate(folder, "ca-org2", &parent.home).unwrap());
    // A root of the same name and another key.
    let other = Desk::root();
    let (own, root) = (desk.home.join("ca-cert.pem"), other.home.join("ca-cert.pem"));
    let chain = format!("{}{}", fs::read_to_string(own).unwrap(), fs::read_to_string(root).unwrap());
    desk.home.file("ca-chain.pem", 0o644, chain).unwrap();
    told(&desk.backup().unwrap().findings, "chain-incomplete", Severity::Warning, "ca-org1");
    // A certificate whose signature was changed.
    let text = fs::read_to_string(parent.home.join("ca-cert.pem")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let end = lines.len() - 2;
    let last = lines[end].replace('=', "");
    let changed = format!("{}{}", if last.starts_with('A') { 'B' } else { 'A' }, &lines[end][1..]);
    lines[end] = &changed;
    parent.home.file("ca-cert.pem", 0o644, lines.join("\n") + "\n").unwrap();
    let result = parent.backup().unwrap();
    told(&result.findings, "chain-broken", Severity::Error, "ca-org1");
}

#[test]
fn what_expires_soon_is_told_in_time() {
    let desk = Desk::root();
    desk.home.register("short", "client", "org1").unwrap();
    desk.home.enroll_for("short", 10).unwrap();
    desk.home.register("renewed", "client", "org1").unwrap();
    desk.home.enroll_for("renewed", 10).unwrap();
    desk.home.enroll_for("renewed", 400).unwrap();
    let result = desk.backup().unwrap();
    told(&result.findings, "identity-expires", Severity::Warning, "soon: short");
    assert_eq!(fact(&result, "expiring-identities"), "1");
    let result = desk.backup_with(r#"{ "expires-within": "5 d" }"#).unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
    let result = desk.backup_with(r#"{ "expires-within": "6000 d" }"#).unwrap();
    told(&result.findings, "certificate-expires", Severity::Warning, "ca-cert.pem");
    assert_eq!(fact(&result, "expiring-ca-certificates"), "1");
    told(&desk.verify(), "identity-expires", Severity::Warning, "soon: short");
}

#[test]
fn rows_that_are_not_what_they_say_fail_the_run_or_the_verification() {
    let desk = Desk::root();
    desk.home
        .sql("UPDATE certificates SET serial_number = '1234' WHERE id = 'peer0';")
        .unwrap();
    told(&desk.backup().unwrap().findings, "row-differs", Severity::Error, "peer0 (1234)");
    desk.home.sql("UPDATE certificates SET pem = 'none' WHERE id = 'peer0';").unwrap();
    told(&desk.backup().unwrap().findings, "row-unreadable", Severity::Error, "peer0 (1234)");
    // The database of another CA.
    let other = Desk::root();
    fs::copy(other.home.join("fabric-ca-server.db"), desk.home.join("fabric-ca-server.db")).unwrap();
    told(
        &desk.backup().unwrap().findings,
        "database-of-another",
        Severity::Error,
        "none of the 3",
    );
}

#[test]
fn a_verification_sees_what_was_changed_in_a_snapshot() {
    let desk = Desk::root();
    let changed = |entry: &str, change: &dyn Fn(&mut Vec<u8>)| {
        desk.backup().unwrap();
        desk.harness
            .tamper(|snapshot| change(&mut snapshot.entries.get_mut(entry.as_bytes()).unwrap().content));
        let findings = desk.verify();
        errors(&findings).iter().map(|finding| finding.code.clone()).collect::<Vec<_>>()
    };
    assert_eq!(changed("inventory/home.jsonl", &|_| {}), Vec::<String>::new());
    let codes = changed("inventory/database.jsonl", &|content| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace(r#""status":"revoked""#, r#""status":"good""#).into_bytes();
    });
    assert_eq!(codes, ["inventory-differs"]);
    let codes = changed("inventory/database.jsonl", &|content| content.extend_from_slice(b"{}\n"));
    assert_eq!(codes, ["inventory-differs"]);
    desk.backup().unwrap();
    desk.harness
        .tamper(|snapshot| drop(snapshot.entries.remove(&b"inventory/database.jsonl"[..])));
    assert_eq!(errors(&desk.verify())[0].code, "home-damaged");
    let codes = changed("home/ca-cert.pem", &|content| content.truncate(300));
    assert!(
        codes.contains(&"inventory-differs".to_owned()) && codes.contains(&"certificate-unreadable".to_owned()),
        "{codes:?}"
    );
    let codes = changed("home/fabric-ca-server.db", &|content| {
        let middle = content.len() / 2;
        content[middle..middle + 3000].fill(0xa5);
    });
    assert_eq!(codes, ["home-damaged"]);
    // A certificate that was signed by nobody: its bytes are another's but for the end.
    let codes = changed("home/fabric-ca-server.db", &|content| {
        let folder = Directory::temporary();
        let path = folder.path().join("x.db");
        fs::write(&path, &*content).unwrap();
        let pem = bulkhead_test_support::fabric_ca::query(&path, "SELECT pem FROM certificates WHERE id = 'peer0'").unwrap();
        let at = pem.rfind("-----END").unwrap() - 40;
        let other = if pem.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{other}{}", &pem[..at], &pem[at + 1..]);
        bulkhead_test_support::fabric_ca::query(&path, &format!("UPDATE certificates SET pem = '{forged}' WHERE id = 'peer0'")).unwrap();
        *content = fs::read(&path).unwrap();
    });
    assert_eq!(codes, ["certificate-forged", "inventory-differs"]);
}

#[test]
fn files_that_the_config_names_are_looked_for_also_through_links() {
    let desk = Desk::root();
    desk.home
        .change_config(
            "    certfiles:\nca:",
            "    certfiles: tls/client-ca.pem, /opt/ca/tls/other.pem, /etc/elsewhere.pem, gone.pem\nca:",
        )
        .unwrap();
    let pem = fs::read(desk.home.join("ca-cert.pem")).unwrap();
    fs::create_dir_all(desk.home.join("tls/..2026")).unwrap();
    desk.home.file("tls/..2026/client-ca.pem", 0o644, &pem).unwrap();
    desk.home.file("tls/other.pem", 0o644, &pem).unwrap();
    symlink("..2026", desk.home.join("tls/..data")).unwrap();
    symlink("..data/client-ca.pem", desk.home.join("tls/client-ca.pem")).unwrap();
    let result = desk.backup_with(r#"{ "server-home": "/opt/ca" }"#).unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(
        &result.findings,
        "file-missing",
        Severity::Warning,
        "gone.pem in `tls.clientauth.certfiles`",
    );
    told(&result.findings, "file-outside", Severity::Warning, "/etc/elsewhere.pem");
    assert!(
        errors(&desk.verify()).is_empty(),
        "where the server saw its home is in the snapshot"
    );
    let target = Directory::temporary();
    desk.restore(&target, "{}", &[]).unwrap();
    assert_eq!(fs::read(target.path().join("tls/client-ca.pem")).unwrap(), pem);
}

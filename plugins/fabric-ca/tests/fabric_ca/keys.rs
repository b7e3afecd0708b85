//! Keys and certificates as others make them, and in places where a server does not expect them.

use std::fs;
use std::os::unix::fs::symlink;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_sdk::types::Severity;
use bulkhead_test_support::fabric_ca::{Home, encrypted, traditional};

use crate::setup::{Desk, coded, errors, fact, told};

#[test]
fn a_tls_key_that_fabric_does_not_make_is_a_key_all_the_same() {
    a_tls_key_is_proved("RSA");
    a_tls_key_is_proved("RSA -pkeyopt rsa_keygen_primes:3");
}

fn a_tls_key_is_proved(algorithm: &str) {
    let desk = Desk::root();
    let key = desk.home.enable_foreign_tls(algorithm).unwrap();
    for form in [key.clone(), traditional(&key, None).unwrap()] {
        desk.home.file("tls/server.key", 0o600, form).unwrap();
        let result = desk.backup().unwrap();
        assert!(result.findings.is_empty(), "{:#?}", result.findings);
        assert_eq!(fact(&result, "keys"), "2");
        assert!(errors(&desk.verify()).is_empty());
    }
    let inventory = desk.inventory("home");
    assert!(inventory.contains(r#""algorithm":"RSA""#), "{inventory}");
    // That of another certificate.
    let other = Desk::root().home.enable_foreign_tls("RSA").unwrap();
    desk.home.file("tls/server.key", 0o600, other).unwrap();
    let result = desk.backup().unwrap();
    told(&result.findings, "certificate-without-key", Severity::Error, "tls/server.crt");
    told(&result.findings, "key-differs", Severity::Error, "tls/server.key");
}

#[test]
fn a_key_that_cannot_be_compared_is_told_and_fails_no_run() {
    let desk = Desk::root();
    desk.home.enable_foreign_tls("ED25519").unwrap();
    a_key_is_not_compared(&desk);
    let desk = Desk::root();
    let key = desk.home.enable_foreign_tls("EC -pkeyopt ec_paramgen_curve:P-521").unwrap();
    a_key_is_not_compared(&desk);
    desk.home.file("tls/server.key", 0o600, traditional(&key, None).unwrap()).unwrap();
    a_key_is_not_compared(&desk);
}

fn a_key_is_not_compared(desk: &Desk) {
    let result = desk.backup().unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(&result.findings, "key-unchecked", Severity::Warning, "tls/server.key");
}

#[test]
fn a_tls_key_in_the_keystore_is_taken_before_the_key_file() {
    for curve in ["P-256", "P-521"] {
        let desk = Desk::root();
        let key = desk
            .home
            .enable_foreign_tls(&format!("EC -pkeyopt ec_paramgen_curve:{curve}"))
            .unwrap();
        fs::copy(Desk::root().home.key_file().unwrap(), desk.home.join("tls/server.key")).unwrap();
        // Somewhere else in the home the server does not find it.
        let elsewhere = desk.home.another("ca2").unwrap();
        elsewhere.file("msp/keystore/tls_sk", 0o600, &key).unwrap();
        told(&desk.backup().unwrap().findings, "key-differs", Severity::Error, "tls/server.key");
        desk.home.file("msp/keystore/tls_sk", 0o600, &key).unwrap();
        let result = desk.backup().unwrap();
        assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
        told(&result.findings, "key-without-certificate", Severity::Warning, "tls/server.key");
    }
}

#[test]
fn a_key_of_rsa_whose_private_half_is_damaged_is_none() {
    let desk = Desk::root();
    let key = traditional(&desk.home.enable_foreign_tls("RSA").unwrap(), None).unwrap();
    let text: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let whole = STANDARD.decode(text).unwrap();
    let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
    // In the private exponent, in a prime, and without an end; the public half is before them.
    for damaged in [flipped(400), flipped(600), whole[..700].to_vec()] {
        let text = STANDARD.encode(damaged);
        let form = format!("-----BEGIN RSA PRIVATE KEY-----\n{text}\n-----END RSA PRIVATE KEY-----\n");
        desk.home.file("tls/server.key", 0o600, form).unwrap();
        let result = desk.backup().unwrap();
        told(&result.findings, "key-unreadable", Severity::Error, "tls/server.key");
        told(&result.findings, "certificate-without-key", Severity::Error, "tls/server.crt");
    }
}

#[test]
fn an_encrypted_key_fails_the_run_and_is_called_one() {
    let desk = Desk::root();
    let path = desk.home.key_file().unwrap();
    let key = fs::read_to_string(&path).unwrap();
    for form in [encrypted(&key, "x").unwrap(), traditional(&key, Some("x")).unwrap()] {
        fs::write(&path, form).unwrap();
        let result = desk.backup().unwrap();
        told(&result.findings, "key-unreadable", Severity::Error, "it is encrypted");
        told(&result.findings, "certificate-without-key", Severity::Error, "ca-cert.pem");
    }
}

#[test]
fn a_key_file_that_the_server_takes_first_has_to_be_the_right_one() {
    let desk = Desk::root();
    let other = Desk::root();
    // The right one is in the keystore, too.
    fs::copy(other.home.key_file().unwrap(), desk.home.join("ca-key.pem")).unwrap();
    fs::copy(other.home.join("ca-cert.pem"), desk.home.join("former.pem")).unwrap();
    let result = desk.backup().unwrap();
    told(
        &result.findings,
        "key-differs",
        Severity::Error,
        "ca-key.pem is not the key of the CA certificate ca-cert.pem",
    );
    assert_eq!(errors(&result.findings).len(), 1, "{:#?}", result.findings);
    fs::copy(desk.home.key_file().unwrap(), desk.home.join("ca-key.pem")).unwrap();
    assert!(errors(&desk.backup().unwrap().findings).is_empty());
}

#[test]
fn a_certificate_that_is_not_of_a_ca_cannot_be_its() {
    let desk = Desk::root();
    let (certificate, key) = desk.home.enroll_with_key("peer0").unwrap();
    fs::copy(desk.home.join("ca-cert.pem"), desk.home.join("ca-chain.pem")).unwrap();
    desk.home.file("ca-cert.pem", 0o644, certificate).unwrap();
    desk.home.file("ca-key.pem", 0o600, key).unwrap();
    let result = desk.backup().unwrap();
    told(&result.findings, "certificate-of-no-ca", Severity::Error, "ca-cert.pem");
}

#[test]
fn what_stands_around_keys_and_certificates_is_passed_over_in_any_encoding() {
    let desk = Desk::root();
    for path in [desk.home.key_file().unwrap(), desk.home.join("ca-cert.pem")] {
        let text = fs::read_to_string(&path).unwrap().replace('\n', "\r\n");
        let head = b"\xef\xbb\xbfBag Attributes\r\n    friendlyName: CA pro \xe8\xe1st\r\n";
        fs::write(&path, [&head[..], text.as_bytes()].concat()).unwrap();
    }
    let result = desk.backup().unwrap();
    assert!(result.findings.is_empty(), "{:#?}", result.findings);
}

#[test]
fn what_a_link_leads_to_outside_of_the_home_is_said_to_be_there() {
    let desk = Desk::root();
    let outside = desk.tree.path().join("ca-cert.pem");
    fs::rename(desk.home.join("ca-cert.pem"), &outside).unwrap();
    for target in [outside.as_path(), "../ca-cert.pem".as_ref()] {
        symlink(target, desk.home.join("ca-cert.pem")).unwrap();
        told(
            &desk.backup().unwrap().findings,
            "certificate-outside",
            Severity::Error,
            "ca-cert.pem",
        );
        fs::remove_file(desk.home.join("ca-cert.pem")).unwrap();
    }
}

#[test]
fn an_intermediate_ca_without_its_chain_is_told() {
    let parent = Desk::root();
    let desk = Desk::of(|folder| Home::intermediate(folder, "ca-org2", &parent.home).unwrap());
    assert!(coded(&desk.backup().unwrap().findings, "chain-missing").is_empty());
    // What is in it is elsewhere in the home, where the server does not look.
    fs::rename(desk.home.join("ca-chain.pem"), desk.home.join("parents.pem")).unwrap();
    let result = desk.backup().unwrap();
    assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
    told(&result.findings, "chain-missing", Severity::Warning, "ca-chain.pem");
}

//! Temporary credentials for a bucket: of a role that a token stands for, and of the machine's own. Who gives them out is a listener of the test's own, which answers as
//! AWS's documentation says; who checks what is signed with them is a real server of S3.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bulkhead_test_support::s3::Server;
use bulkhead_test_support::{Bulkhead, Outcome};

type Answers = dyn Fn(&str, &str) -> (u16, String) + Send + Sync;

/// Somebody who gives credentials out, by a request's head and body.
struct Giver {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Giver {
    fn start(answers: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &answers, &seen);
            }
        });
        Self { url, heads }
    }

    /// First lines of all requests.
    fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, answers: &Answers, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    seen.lock().unwrap().push(head.lines().next().unwrap().to_owned());
    let (status, text) = answers(&head, &String::from_utf8(body).unwrap());
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
}

/// A vault in a bucket, for whoever `aws` says, and a file to back up.
fn installation(server: &Server, aws: &str) -> Bulkhead {
    let bulkhead = Bulkhead::new().unwrap();
    let home = bulkhead.scratch().folder("home").unwrap();
    std::fs::write(home.join("file"), "content").unwrap();
    bulkhead.scratch().private_file("token", "a.web.identity").unwrap();
    let text = format!(
        "version = 1\n\n[vault.main]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"bucket\"]\n\n\
         [sink.bucket]\nplugin = \"s3\"\nconfig = {{ bucket = \"vaults\" }}\n\
         endpoint.storage = {{ url = \"{}\", auth = {{ aws = {{ region = \"us-east-1\", {aws} }} }} }}\n\n\
         [pipeline.home]\nplugin = \"files\"\nvault = \"main\"\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n",
        server.url()
    );
    bulkhead.write_configuration(&text).unwrap();
    bulkhead
}

#[track_caller]
fn succeed(bulkhead: &Bulkhead, arguments: &[&str]) {
    let outcome = bulkhead.run(arguments).unwrap();
    assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
}

#[track_caller]
fn assert_backs_up_and_restores(bulkhead: &Bulkhead) {
    succeed(bulkhead, &["init"]);
    succeed(bulkhead, &["run", "home"]);
    succeed(bulkhead, &["restore", "home", "--into", "restored"]);
    assert_eq!(std::fs::read(bulkhead.scratch().join("restored/home/file")).unwrap(), b"content");
}

fn refused(bulkhead: &Bulkhead, secrets: &[&str]) -> Outcome {
    let outcome = bulkhead.run(["init"]).unwrap();
    assert_ne!(outcome.code, Some(0));
    for secret in secrets {
        assert!(!outcome.stderr.contains(secret), "tells a secret\n{}", outcome.stderr);
    }
    outcome
}

#[test]
fn a_role_is_assumed_with_a_token_that_somebody_else_writes() {
    let server = Server::start().unwrap();
    let (key, secret) = (server.access_key().to_owned(), server.secret_key().to_owned());
    let giver = Giver::start(move |head, body| {
        assert!(head.starts_with("post / "), "{head}");
        let fields = [
            "Action=AssumeRoleWithWebIdentity",
            "Version=2011%2D06%2D15",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbackup",
            "WebIdentityToken=a%2Eweb%2Eidentity",
        ];
        assert!(fields.iter().all(|field| body.split('&').any(|part| part == *field)), "{body}");
        let document = format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials>\
             <SessionToken>session</SessionToken><SecretAccessKey>{secret}</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration>\
             <AccessKeyId>{key}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        (200, document)
    });
    let aws = format!(
        "web-identity = {{ role = \"arn:aws:iam::1:role/backup\", token-file = \"token\", url = \"{}\" }}",
        giver.url
    );
    assert_backs_up_and_restores(&installation(&server, &aws));
    // Once a command, not once a request.
    assert_eq!(giver.requests().len(), 3);
}

#[test]
fn a_role_that_may_not_be_assumed_is_told_without_the_token() {
    let server = Server::start().unwrap();
    let giver = Giver::start(|_, _| {
        let document = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>";
        (403, document.to_owned())
    });
    let aws = format!(
        "web-identity = {{ role = \"arn:aws:iam::1:role/backup\", token-file = \"token\", url = \"{}\" }}",
        giver.url
    );
    let outcome = refused(&installation(&server, &aws), &["a.web.identity"]);
    assert!(
        outcome.stderr.contains("AccessDenied: Not authorized") && outcome.stderr.contains("trust policy"),
        "{}",
        outcome.stderr
    );
    // What a pod lacks is named where nothing is written.
    let outcome = refused(&installation(&server, "web-identity = { token-file = \"token\" }"), &[]);
    assert!(outcome.stderr.contains("AWS_ROLE_ARN"), "{}", outcome.stderr);
}

#[test]
fn a_machine_asks_its_metadata_with_a_token_of_version_2() {
    let server = Server::start().unwrap();
    let (key, secret) = (server.access_key().to_owned(), server.secret_key().to_owned());
    let giver = Giver::start(move |head, _| {
        if head.starts_with("put /latest/api/token ") {
            assert!(head.contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n"), "{head}");
            return (200, "metadata-token".to_owned());
        }
        if !head.contains("x-aws-ec2-metadata-token: metadata-token\r\n") {
            return (401, String::new());
        }
        match head.split(' ').nth(1).unwrap() {
            "/latest/meta-data/iam/security-credentials/" => (200, "backup-role\n".to_owned()),
            "/latest/meta-data/iam/security-credentials/backup-role" => (
                200,
                format!(
                    r#"{{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"{key}","SecretAccessKey":"{secret}","Token":"session","Expiration":"2099-01-01T00:00:00Z"}}"#
                ),
            ),
            _ => (404, String::new()),
        }
    });
    let aws = format!("instance-metadata = {{ url = \"{}\" }}", giver.url);
    assert_backs_up_and_restores(&installation(&server, &aws));
    assert_eq!(giver.requests().len(), 9);
}

#[test]
fn a_machine_without_a_role_is_told_so() {
    let server = Server::start().unwrap();
    let giver = Giver::start(|head, _| {
        if head.starts_with("put ") {
            (200, "t".to_owned())
        } else {
            (404, String::new())
        }
    });
    let outcome = refused(
        &installation(&server, &format!("instance-metadata = {{ url = \"{}\" }}", giver.url)),
        &[],
    );
    assert!(outcome.stderr.contains("this machine has no role"), "{}", outcome.stderr);
}

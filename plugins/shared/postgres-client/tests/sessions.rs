//! Sessions with servers that a test plays: orders of messages that a real server rarely or never sends, and hostile ones.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use bulkhead_postgres_client::{
    AuthenticationMethod, ClientError, ConnectOptions, CopyEvent, Encryption, Lsn, Session, TimelineId, Transport, Violation,
    auth::Password, connect,
};
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    endpoint::{self, Settings, TlsMode},
};

/// Gives what was scripted, one chunk a read, and remembers what was written.
#[derive(Clone, Default)]
struct Script {
    chunks: Rc<RefCell<VecDeque<Vec<u8>>>>,
    written: Rc<RefCell<Vec<u8>>>,
    tls: Rc<RefCell<bool>>,
}

impl Script {
    fn new(chunks: &[Vec<u8>]) -> Self {
        Self {
            chunks: Rc::new(RefCell::new(chunks.iter().cloned().collect())),
            ..Self::default()
        }
    }

    fn written(&self) -> Vec<u8> {
        self.written.borrow().clone()
    }
}

impl Transport for Script {
    fn read(&mut self, max: usize, _deadline: Option<Duration>) -> Result<Option<Vec<u8>>> {
        let mut chunks = self.chunks.borrow_mut();
        let Some(mut chunk) = chunks.pop_front() else { return Ok(None) };
        if chunk.len() > max {
            chunks.push_front(chunk.split_off(max));
        }
        Ok(Some(chunk))
    }
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.written.borrow_mut().extend_from_slice(data);
        Ok(())
    }
    fn start_tls(&mut self) -> Result<Vec<u8>> {
        // As the host: nothing may be unread.
        if !self.chunks.borrow().is_empty() {
            return Err(Error::new(ErrorKind::Unreachable, "bytes ahead of TLS"));
        }
        *self.tls.borrow_mut() = true;
        Ok(Vec::new())
    }
}

fn settings(tls: TlsMode) -> Settings {
    Settings {
        transport: endpoint::Transport::Tcp,
        tls,
        client_certificate: false,
        addresses: vec![],
    }
}

fn try_connect(script: &Script, tls: TlsMode) -> std::result::Result<Session<Script>, ClientError> {
    let options = ConnectOptions {
        user: "backup",
        parameters: &[("replication", "true")],
        password: &|| Ok(Password::new(b"secret".to_vec())),
        allow_cleartext_password: false,
    };
    connect(script.clone(), &settings(tls), &options)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

fn authentication(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes(), rest].concat())
}

/// What follows a login: the version, then ready.
fn welcome() -> Vec<u8> {
    [
        authentication(0, b""),
        message(b'S', b"server_version\x0015.18 (Debian 15.18-1)\0"),
        message(b'K', &[0; 8]),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn report(tag: u8, code: &str, routine: &str) -> Vec<u8> {
    let body = format!("SFEHLER\0VFATAL\0C{code}\0Mno \u{1b}[31mway\0Dbecause\0Htry\0R{routine}\0\0");
    message(tag, body.as_bytes())
}

/// `RowDescription` with these columns.
fn columns(names: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(names.len()).unwrap().to_be_bytes().to_vec();
    for name in names {
        body.extend([name.as_bytes(), &[0; 19]].concat());
    }
    message(b'T', &body)
}

/// `DataRow` with these values.
fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        let length = value.map_or(-1, |text| i32::try_from(text.len()).unwrap());
        body.extend([&length.to_be_bytes()[..], value.unwrap_or_default().as_bytes()].concat());
    }
    message(b'D', &body)
}

fn session(after_login: &[Vec<u8>]) -> (Script, Session<Script>) {
    let script = Script::new(&[vec![welcome()], after_login.to_vec()].concat());
    let session = try_connect(&script, TlsMode::Disable).unwrap();
    (script, session)
}

#[test]
fn a_login_without_a_question() {
    let (script, session) = session(&[]);
    assert_eq!(session.authentication(), AuthenticationMethod::NotAsked);
    assert_eq!(session.encryption(), Encryption::None);
    assert_eq!(session.version_number(), Some(150_018));
    let startup = b"\0\x03\0\0user\0backup\0client_encoding\0UTF8\0replication\0true\0\0";
    assert_eq!(script.written()[4..], startup[..]);
}

#[test]
fn tls_is_asked_for_and_given_up_as_the_mode_says() {
    let request = [0, 0, 0, 8, 4, 210, 22, 47];
    let plain = Script::new(&[b"N".to_vec(), welcome()]);
    let session = try_connect(&plain, TlsMode::Prefer).unwrap();
    assert_eq!(session.encryption(), Encryption::None);
    assert_eq!(plain.written()[..8], request);
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let script = Script::new(&[b"N".to_vec(), welcome()]);
        assert!(matches!(try_connect(&script, mode), Err(ClientError::TlsNotOffered)));
        assert_eq!(script.written(), request, "nothing but the request was said in clear");
    }
    // TLS and then silence: the login never happens in clear.
    let tls = Script::new(&[b"S".to_vec()]);
    assert!(matches!(try_connect(&tls, TlsMode::Prefer), Err(ClientError::Closed)));
    assert!(*tls.tls.borrow());
}

#[test]
fn bytes_ahead_of_tls_are_not_believed() {
    let stuffed = Script::new(&[[b"S".to_vec(), welcome()].concat()]);
    assert!(matches!(try_connect(&stuffed, TlsMode::Require), Err(ClientError::Transport(error)) if error.kind == ErrorKind::Unreachable));
    let forged = Script::new(&[report(b'E', "28000", "x")]);
    let error = try_connect(&forged, TlsMode::Prefer).err().unwrap();
    assert!(
        matches!(error, ClientError::Protocol(Violation::TlsAnswer(b'E'))),
        "a forged text is not shown"
    );
}

#[test]
fn passwords_are_answered_in_their_method_only() {
    let md5 = Script::new(&[authentication(5, &[1, 2, 3, 4]), welcome()]);
    assert_eq!(
        try_connect(&md5, TlsMode::Disable).unwrap().authentication(),
        AuthenticationMethod::Md5
    );
    let written = String::from_utf8_lossy(&md5.written()).into_owned();
    assert!(written.contains("md5") && !written.contains("secret"));

    let clear = Script::new(&[authentication(3, b""), welcome()]);
    assert!(matches!(try_connect(&clear, TlsMode::Disable), Err(ClientError::CleartextRefused)));
    assert!(!String::from_utf8_lossy(&clear.written()).contains("secret"));

    // A server that lets in after the first half of SCRAM has not proved anything.
    let lazy = Script::new(&[authentication(10, b"SCRAM-SHA-256\0\0"), welcome()]);
    let error = try_connect(&lazy, TlsMode::Disable).err().unwrap();
    assert!(matches!(error, ClientError::Protocol(Violation::Unexpected { tag: b'R', .. })));
    // Nor one that asks a second time, in clear.
    let twice = Script::new(&[authentication(5, &[0; 4]), authentication(3, b""), welcome()]);
    assert!(matches!(try_connect(&twice, TlsMode::Disable), Err(ClientError::Protocol(_))));

    for (request, name) in [
        (authentication(7, b""), "GSSAPI"),
        (authentication(10, b"OAUTHBEARER\0\0"), "OAUTHBEARER"),
        (authentication(99, b""), "99"),
    ] {
        let error = Error::from(try_connect(&Script::new(&[request]), TlsMode::Disable).err().unwrap());
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn every_refusal_has_a_kind_and_a_hint() {
    for (code, routine, kind, retryable, hint) in [
        ("28P01", "auth_failed", ErrorKind::Unauthenticated, false, "secret.password"),
        ("28000", "ClientAuthentication", ErrorKind::PermissionDenied, false, "pg_hba.conf"),
        ("28000", "auth_failed", ErrorKind::Unauthenticated, false, "peer"),
        ("28000", "InitializeSessionUserId", ErrorKind::Unauthenticated, false, "CREATE ROLE"),
        ("42501", "InitPostgres", ErrorKind::PermissionDenied, false, "ALTER ROLE"),
        ("53300", "InitProcess", ErrorKind::Limit, true, "max_wal_senders"),
        ("53300", "CheckMyDatabase", ErrorKind::Limit, true, "max_connections"),
        ("53400", "ReplicationSlotCreate", ErrorKind::Limit, true, "max_replication_slots"),
        ("53100", "mdextend", ErrorKind::StorageFull, false, "not the vault's"),
        ("57P01", "ProcessInterrupts", ErrorKind::ConnectionLost, true, "administrator"),
        ("57P03", "ProcessStartupPacket", ErrorKind::Unreachable, true, "starting up"),
        ("XX001", "perform_base_backup", ErrorKind::SourceDamaged, false, "try"),
        ("22012", "int4div", ErrorKind::Server, false, "try"),
    ] {
        let script = Script::new(&[report(b'E', code, routine)]);
        let error = Error::from(try_connect(&script, TlsMode::Disable).err().unwrap());
        assert_eq!((error.kind, error.retryable), (kind, retryable), "{code} {routine}");
        assert_eq!(error.message, "no  [31mway", "control characters don't reach a terminal");
        assert_eq!(error.causes, [format!("SQLSTATE {code}"), "because".into()]);
        assert!(error.hint.as_deref().unwrap().contains(hint), "{code} {routine}: {:?}", error.hint);
    }
}

#[test]
fn a_query_gives_rows_and_keeps_notices() {
    let (_, mut session) = session(&[
        report(b'N', "01000", "sendFile"),
        columns(&["a", "b"]),
        row(&[Some("x"), None]),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]);
    let sets = session.query("SELECT").unwrap();
    assert_eq!(
        (sets[0].value(0, "a"), sets[0].value(0, "b"), sets[0].value(1, "a")),
        (Some("x"), None, None)
    );
    let (notices, dropped) = session.take_notices();
    assert_eq!((notices.len(), dropped), (1, 0));
    assert!(notices[0].is_from("sendFile"));
}

#[test]
fn copy_data_is_handed_on_as_it_comes() {
    let data = message(b'd', &[7; 100]);
    let (_, mut session) = session(&[message(b'H', &[0; 3]), data[..50].to_vec(), data[50..].to_vec(), message(b'c', b"")]);
    session.start("BASE_BACKUP").unwrap();
    assert_eq!(session.next_event().unwrap(), CopyEvent::CopyOut);
    let mut pieces = Vec::new();
    while let CopyEvent::CopyData { bytes, first, last } = session.next_event().unwrap() {
        pieces.push((bytes.len(), first, last));
    }
    assert_eq!(pieces, [(45, true, false), (55, false, true)]);
    assert!(matches!(session.next_event(), Err(ClientError::Closed)));
}

#[test]
fn a_cluster_is_identified() {
    let answer = |system: &str| {
        [
            columns(&["systemid", "timeline", "xlogpos", "dbname"]),
            row(&[Some(system), Some("3"), Some("16/B374D848"), None]),
            message(b'C', b"IDENTIFY_SYSTEM\0"),
            message(b'Z', b"I"),
        ]
        .concat()
    };
    let identity = session(&[answer("7710572992032007771")]).1.identify_system().unwrap();
    assert_eq!(identity.system_identifier, 7_710_572_992_032_007_771);
    assert_eq!((identity.timeline, identity.position), (TimelineId(3), Lsn(0x16_B374_D848)));
    let error = session(&[answer("-1")]).1.identify_system().err().unwrap();
    assert!(matches!(
        error,
        ClientError::Answer {
            what: "the system identifier",
            ..
        }
    ));
}

#[test]
fn memory_stays_bounded_whatever_a_server_sends() {
    // A length that nothing follows.
    let before_login = Script::new(&[b"E\x7f\xff\xff\xff".to_vec()]);
    assert!(matches!(
        try_connect(&before_login, TlsMode::Disable),
        Err(ClientError::Protocol(Violation::Frame(_)))
    ));
    // Rows without end.
    let big = row(&[Some("x".repeat(1 << 20).as_str())]);
    let (_, mut endless) = session(&[vec![columns(&["a"])], vec![big; 20]].concat());
    assert!(matches!(
        endless.query("SELECT"),
        Err(ClientError::Protocol(Violation::ResultTooLarge { .. }))
    ));
    // Notices and parameters without end.
    let chatter: Vec<_> = (0..2000)
        .flat_map(|number| [report(b'N', "01000", "x"), message(b'S', format!("p{number}\0v\0").as_bytes())])
        .chain([message(b'Z', b"I")])
        .collect();
    let (_, mut chatty) = session(&chatter);
    chatty.query("SELECT").unwrap();
    let (kept, dropped) = chatty.take_notices();
    assert_eq!((kept.len(), dropped), (1000, 1000));
    assert_eq!(chatty.parameter("p10"), Some("v"));
    assert_eq!(chatty.parameter("p1999"), None);
}

#[test]
fn no_bytes_make_it_panic() {
    let tags = b"RKCWcGHDIEvNASZTd1\0";
    let mut state = 7_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..20_000 {
        let mut chunks = Vec::new();
        for _ in 0..random() % 4 {
            let length = random() % 40;
            let body: Vec<u8> = (0..length)
                .map(|_| if random() % 3 == 0 { 0 } else { (random() % 256) as u8 })
                .collect();
            chunks.push(message(tags[random() % tags.len()], &body));
        }
        let _ = try_connect(&Script::new(&chunks), TlsMode::Disable);
        let (_, mut session) = session(&chunks);
        let _ = session.query("SELECT");
    }
}

#[test]
fn what_the_protocol_cannot_carry_is_refused() {
    let (_, mut session) = session(&[]);
    assert!(matches!(session.query("SELECT 1\0; DROP"), Err(ClientError::ZeroByte(_))));
    let options = ConnectOptions {
        user: "a\0replication\0true",
        parameters: &[],
        password: &|| Err(ClientError::PasswordMissing),
        allow_cleartext_password: false,
    };
    assert!(matches!(
        connect(Script::new(&[]), &settings(TlsMode::Disable), &options),
        Err(ClientError::ZeroByte(_))
    ));
}

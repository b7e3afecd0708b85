//! The harness finds the mistakes that the real host refuses.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use super::*;
use crate::{
    directory::OpenMode,
    endpoint::{self, TlsMode, TlsSession},
    http::Request,
    parts,
    prelude::*,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    Good,
    Unfinished,
    FalseProof,
    Incomplete,
    SamePath,
    EscapingPath,
    Parts,
    KeepFolder,
}

struct Doer(Deed);

impl Source for Doer {
    type Config = Deed;

    fn describe() -> Description {
        Description::new("doer", "1.0.0", "Does", Operations::BACKUP)
    }

    fn new(deed: Deed) -> Result<Self> {
        Ok(Self(deed))
    }

    fn backup(&mut self, request: BackupRequest) -> Result<BackupResult> {
        let mut proof = Proof {
            complete: true,
            ..Proof::default()
        };
        if request.checkpoint.is_some() {
            proof.count(&entries::keep("a")?);
        }
        if let Deed::KeepFolder = self.0 {
            proof.count(&entries::keep("folder")?);
        }
        let mut entry = entries::create_with_digest("b", &Metadata::file(), crate::digest::Algorithm::Crc32c)?;
        entry.write_all(b"content")?;
        entry.write_zeros(3)?;
        match self.0 {
            Deed::Unfinished => drop(entry),
            _ => proof.count(&entry.finish()?),
        }
        match self.0 {
            Deed::FalseProof => proof.bytes += 1,
            Deed::Incomplete => proof.complete = false,
            Deed::SamePath => drop(entries::create("b", &Metadata::file())?),
            Deed::EscapingPath => entries::add("../b", &Metadata::directory())?,
            Deed::Parts => proof.count(&entries::Finished {
                entries: 1,
                size: u64::from(parts::start(b"p")?.wait()?[0]),
                digest: None,
            }),
            Deed::Good | Deed::Unfinished | Deed::KeepFolder => {}
        }
        Ok(BackupResult {
            proof,
            checkpoint: Some(b"next".to_vec()),
            findings: Vec::new(),
        })
    }

    fn run_part(&mut self, work: Vec<u8>) -> Result<Vec<u8>> {
        assert_eq!(parts::start(b"q").unwrap_err().kind, ErrorKind::Unsupported);
        let mut entry = entries::create("part", &Metadata::file())?;
        entry.write_bytes(&work)?;
        Ok(vec![u8::try_from(entry.finish()?.size).unwrap()])
    }
}

#[test]
fn a_good_backup_becomes_a_snapshot_and_the_next_ones_parent() {
    let harness = Harness::new().snapshot(Snapshot::default().file("a", "old").checkpoint("first"));
    harness.backup::<Doer>(r#""good""#).unwrap();
    assert_eq!(harness.content("a").unwrap(), b"old");
    assert_eq!(harness.content("b").unwrap(), b"content\0\0\0");
    assert_eq!(harness.last().unwrap().checkpoint.unwrap(), b"next");
    assert_eq!(harness.snapshots().len(), 2);
}

#[test]
fn a_kept_folder_counts_the_files_below_it() {
    let parent = Snapshot::default()
        .file("folder/a", "12")
        .file("folder/deep/b", "345")
        .file("folders", "6");
    let harness = Harness::new().snapshot(parent);
    let proof = harness.backup::<Doer>(r#""keep-folder""#).unwrap().proof;
    assert_eq!((proof.entries, proof.bytes), (3, 2 + 3 + 10));
    assert_eq!(harness.content("folder/deep/b").unwrap(), b"345");
    assert_eq!(harness.content("folders"), None);
}

#[test]
fn what_a_kept_folder_has_can_be_replaced_once() {
    let harness = Harness::new().snapshot(Snapshot::default().file("folder/a", "old").file("folder/b", "kept"));
    harness.run(|| {
        entries::keep("folder").unwrap();
        let mut writer = entries::create("folder/a", &Metadata::file()).unwrap();
        writer.write_bytes(b"new").unwrap();
        writer.finish().unwrap();
        let again = entries::create("folder/a", &Metadata::file()).map(drop);
        assert_eq!(again.unwrap_err().kind, ErrorKind::AlreadyExists);
    });
}

#[test]
fn reading_no_bytes_is_not_the_end_and_loses_none() {
    let harness = Harness::new().snapshot(Snapshot::default().file("a", "content"));
    harness.run(|| {
        let mut reader = crate::snapshot::open("a").unwrap();
        assert_eq!(reader.read_bytes(0).unwrap().unwrap(), b"c");
        assert_eq!(std::io::BufRead::fill_buf(&mut reader).unwrap(), b"ontent");
        assert_eq!(reader.read_bytes(0).unwrap().unwrap(), b"o");
        assert_eq!(reader.read_bytes(100).unwrap().unwrap(), b"ntent");
        assert_eq!(reader.read_bytes(0).unwrap(), None);
    });
}

#[test]
fn what_the_host_refuses_the_harness_refuses() {
    for (deed, kind) in [
        ("unfinished", ErrorKind::Internal),
        ("false-proof", ErrorKind::Conflict),
        ("incomplete", ErrorKind::Conflict),
        ("same-path", ErrorKind::AlreadyExists),
        ("escaping-path", ErrorKind::Internal),
    ] {
        let harness = Harness::new();
        let error = harness.backup::<Doer>(&format!("{deed:?}")).unwrap_err();
        assert_eq!(error.kind, kind, "{deed}: {error}");
        assert_eq!(harness.snapshots().len(), 0, "{deed}");
    }
}

#[test]
fn parts_run_in_instances_of_their_own() {
    let harness = Harness::new();
    harness.backup::<Doer>(r#""parts""#).unwrap();
    assert_eq!(harness.content("part").unwrap(), b"p");
}

#[test]
fn a_scripted_peer_talks() {
    let peer = Endpoint::scripted(|mut socket| {
        let mut ping = [0; 4];
        socket.read_exact(&mut ping).unwrap();
        socket.write_all(&ping).unwrap();
    });
    let session = TlsSession {
        protocol: "TLSv1.3".to_owned(),
        peer_certificate: vec![1],
    };
    let harness = Harness::new().endpoint("server", peer.tls(TlsMode::Require, session));
    harness.run(|| {
        let mut connection = endpoint::open("server").unwrap();
        assert_eq!(connection.start_tls().unwrap().protocol, "TLSv1.3");
        let late = connection.read_bytes(10, Some(Duration::from_millis(20))).unwrap_err();
        assert_eq!((late.kind, late.retryable), (ErrorKind::TimedOut, true));
        assert_eq!(endpoint::wait_any(&[&connection], Some(Duration::from_millis(5))).unwrap(), [0; 0]);
        connection.write_all(b"ping").unwrap();
        assert_eq!(endpoint::wait_any(&[&connection], None).unwrap(), [0]);
        let mut pong = String::new();
        connection.read_to_string(&mut pong).unwrap();
        assert_eq!(pong, "ping");
        assert_eq!(endpoint::open("other").unwrap_err().kind, ErrorKind::NotGranted);
    });
}

#[test]
fn a_handler_answers_requests() {
    let harness = Harness::new().http("api", |request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/list") => HttpResponse::new(200, "[1, 2]").header("X-Count", "2"),
        ("PUT", "/list") => HttpResponse::new(201, request.body.clone()),
        ("GET", "/cut") => HttpResponse::new(200, "whole").break_after(2),
        _ => HttpResponse::new(404, "no such thing\n"),
    });
    harness.run(|| {
        let list = Request::get("api", "/list").send().unwrap();
        assert_eq!((list.status(), list.header("x-count")), (200, Some("2")));
        assert_eq!(list.into_json::<Vec<u32>>(100).unwrap(), [1, 2]);
        let mut exchange = Request::new("PUT", "api", "/list").begin(None).unwrap();
        exchange.write_all(b"abc").unwrap();
        assert_eq!(exchange.respond().unwrap().into_bytes(2).unwrap_err().kind, ErrorKind::Limit);
        let cut = Request::get("api", "/cut").send().unwrap().into_bytes(100).unwrap_err();
        assert_eq!(cut.kind, ErrorKind::ConnectionLost);
        let missing = Request::get("api", "/other").send().unwrap().success().unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "GET /other was answered with status 404: no such thing");
    });
}

#[test]
fn requests_that_overlap_are_counted() {
    let harness = Harness::new().http("api", |_| HttpResponse::new(200, "whole"));
    let begin = || Request::get("api", "/").begin(Some(0)).unwrap();
    harness.run(|| {
        for _ in 0..3 {
            begin().respond().unwrap().into_bytes(100).unwrap();
        }
        assert_eq!(harness.most_requests_in_flight(), 1);
        let (first, second) = (begin(), begin().respond().unwrap());
        drop(first);
        assert!(Request::get("none", "/").begin(Some(0)).is_err());
        drop((begin(), second));
    });
    assert_eq!(harness.most_requests_in_flight(), 2);
}

#[test]
fn a_directory_can_fill_up_and_die() {
    let directory = Directory::temporary();
    let harness = Harness::new()
        .directory("target", directory.clone())
        .directory("source", Directory::at(directory.path()).read_only());
    harness.run(|| {
        let target = crate::directory::open("target").unwrap();
        target.create_folders("a/b", 0o700).unwrap();
        let mut file = target.open_file("a/b/c", OpenMode::Create).unwrap();
        file.write_all(b"12345").unwrap();
        directory.set_room(3);
        assert_eq!(file.write_all(b"1234").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        directory.die_after(1);
        target.sync("a").unwrap();
        assert_eq!(target.sync("a").unwrap_err().kind, ErrorKind::Io);
        let source = crate::directory::open("source").unwrap();
        assert_eq!(source.read("a/b/c", 10).unwrap(), b"12345");
        assert_eq!(source.remove_file("a/b/c").unwrap_err().kind, ErrorKind::PermissionDenied);
        assert_eq!(source.stat("../a").unwrap_err().kind, ErrorKind::Internal);
    });
}

#[test]
fn logs_and_progress_are_kept() {
    let harness = Harness::new();
    harness.run(|| {
        crate::warn!(table = "t", rows = 3; "copied {}", "it");
        progress::report("copying", 1, Some(2));
    });
    let fields = vec![("table".to_owned(), "t".to_owned()), ("rows".to_owned(), "3".to_owned())];
    assert_eq!(
        harness.logs(),
        [LogRecord {
            level: Level::Warn,
            message: "copied it".to_owned(),
            fields
        }]
    );
    assert_eq!(
        harness.progress(),
        [ProgressRecord {
            phase: "copying".to_owned(),
            bytes: 1,
            total_bytes: Some(2)
        }]
    );
}

#[test]
fn outside_of_a_harness_calls_say_so() {
    let error = endpoint::open("server").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.hint.unwrap().contains("Harness::run"));
}

//! What goes wrong, at each moment at which it can.

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::gdrive::Fault;

use crate::world::{KEY, World, content};

/// What passes by itself, of all kinds.
fn passing() -> Vec<Fault> {
    vec![
        Fault::refusal(500, "backendError"),
        Fault::refusal(403, "userRateLimitExceeded"),
        Fault::refusal(403, "rateLimitExceeded"),
        Fault::refusal(429, "rateLimitExceeded"),
        Fault::refusal(401, "authError"),
        Fault::pause(503, 1),
        Fault::CutRequest(300_000),
        Fault::Silence,
        Fault::CutAnswer(5),
    ]
}

/// An object of three pieces.
const SIZE: usize = (640 << 10) + 17;

fn in_pieces(world: &World) -> String {
    world.config(r#","piece":"256 KiB""#)
}

#[test]
fn whatever_passes_by_itself_passes_at_each_request() {
    let object = content(SIZE);
    for fault in passing() {
        for moment in 0.. {
            let world = World::new();
            world.initialized();
            let (mut number, injected) = (0, fault.clone());
            world.drive.inject(move |_, _| {
                number += 1;
                (number == moment + 1).then(|| injected.clone())
            });
            world.drive.requests();
            world.put_with(&in_pieces(&world), KEY, &object).unwrap();
            let requests = world.drive.requests().len();
            world.drive.behave();
            let state = world.drive.state();
            let files = state.at(&world.folder, KEY);
            assert_eq!(files.len(), 1, "{fault:?} at request {moment}: one file, whatever was sent twice");
            assert!(files[0].content.as_ref().unwrap().bytes == object, "{fault:?} at request {moment}");
            drop(state);
            if moment >= requests {
                assert!(moment >= 8, "only {moment} requests");
                break;
            }
        }
    }
}

#[test]
fn whatever_passes_by_itself_passes_while_reading_listing_and_removing() {
    let object = content(SIZE);
    for fault in passing() {
        let world = World::new();
        world.initialized();
        world.put(KEY, &object).unwrap();
        for what in ["GET /drive/v3/files?", "alt=media"] {
            world.drive.inject_times(what, 1, fault.clone());
            assert!(world.get(KEY).unwrap() == object, "{fault:?} at {what}");
            world.drive.inject_times(what, 1, fault.clone());
            assert_eq!(world.list("data/ab/").len(), 1, "{fault:?}");
        }
        world.drive.inject_times("DELETE ", 1, fault.clone());
        world.delete(KEY).unwrap();
        assert_eq!(world.drive.state().objects(&world.folder), 0, "{fault:?}");
    }
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let world = World::new();
    world.initialized();
    let object = content(1 << 20);
    world.drive.inject_times("PUT /upload", 1, Fault::CutRequest(700_000));
    world.ranges();
    world.put(KEY, &object).unwrap();
    // Of 700,000 bytes Drive keeps two times 256 KiB.
    assert_eq!(
        world.ranges(),
        ["bytes 0-1048575/1048576", "bytes */1048576", "bytes 524288-1048575/1048576"]
    );
    assert!(world.get(KEY).unwrap() == object);
}

#[test]
fn an_upload_that_drive_forgets_begins_anew() {
    for status in [404, 410] {
        let world = World::new();
        world.initialized();
        let object = content(SIZE);
        let mut pieces = 0;
        world.drive.inject(move |request, state| {
            pieces += usize::from(request.method == "PUT");
            if pieces != 2 || request.method != "PUT" {
                return None;
            }
            state.forget_uploads();
            Some(Fault::refusal(status, "notFound"))
        });
        world.put_with(&in_pieces(&world), KEY, &object).unwrap();
        assert!(world.get(KEY).unwrap() == object, "{status}");
        assert_eq!(world.drive.state().objects(&world.folder), 1);
    }
}

#[test]
fn an_answer_that_was_lost_makes_no_second_file() {
    let world = World::new();
    world.initialized();
    world.drive.inject_times("PUT /upload", 1, Fault::Silence);
    world.put("config", b"config").unwrap();
    assert_eq!(world.drive.state().at(&world.folder, "config").len(), 1);
    // Nor do folders come twice.
    let other = World::new();
    other.drive.inject_times("POST /batch", 1, Fault::Silence);
    other.initialized();
    assert_eq!(other.drive.state().at(&other.folder, "data").len(), 1);
    assert_eq!(other.drive.state().children(&other.folder).len(), 5);
}

#[test]
fn what_drive_has_got_differently_is_sent_again_and_does_not_stay() {
    let world = World::new();
    world.initialized();
    world.drive.inject_times("PUT /upload", 1, Fault::FlipRequest(1000));
    world.put(KEY, &content(5000)).unwrap();
    assert_eq!(world.get(KEY).unwrap(), content(5000));
    assert_eq!(world.drive.state().objects(&world.folder), 1);

    world.drive.inject_times("PUT /upload", 100, Fault::FlipRequest(1000));
    let error = world
        .put_with(&world.config(r#","attempts":2"#), "data/cd/cd01", &content(5000))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert_eq!(world.list("data/cd/"), [], "nothing is visible under the key");
}

#[test]
fn a_new_content_that_breaks_off_leaves_the_old_one() {
    let world = World::new();
    world.repository();
    world
        .drive
        .inject(|request, _| (request.method == "PUT").then_some(Fault::CutRequest(0)));
    world.put_with(&world.config(r#","attempts":2"#), "config", b"another").unwrap_err();
    world.drive.behave();
    assert_eq!(world.get("config").unwrap(), b"config");
}

#[test]
fn what_does_not_pass_is_told_at_once() {
    for (status, reason, kind, hint) in [
        (403, "storageQuotaExceeded", ErrorKind::StorageFull, "bulkhead prune"),
        (403, "teamDriveFileLimitExceeded", ErrorKind::StorageFull, "drive of its own"),
        (403, "dailyLimitExceeded", ErrorKind::Limit, "Google Cloud console"),
        (403, "insufficientFilePermissions", ErrorKind::PermissionDenied, "as an editor"),
        (403, "appNotAuthorizedToFile", ErrorKind::PermissionDenied, "bulkhead auth gdrive"),
        (403, "accessNotConfigured", ErrorKind::Config, "enable it"),
    ] {
        let world = World::new();
        world.initialized();
        world.drive.inject_times("upload", 100, Fault::refusal(status, reason));
        world.drive.requests();
        let error = world.put(KEY, b"pack").unwrap_err();
        assert_eq!((error.kind, error.retryable), (kind, false), "{error}");
        assert!(error.hint.as_ref().is_some_and(|told| told.contains(hint)), "{error:?}");
        let uploads = world.drive.requests().iter().filter(|line| line.contains("/upload/")).count();
        assert_eq!(uploads, 1, "{reason} is not tried again");
    }
}

#[test]
fn a_full_drive_says_so_and_keeps_nothing() {
    let world = World::new();
    world.repository();
    world.drive.state().quota = Some(1 << 20);
    let error = world.put(KEY, &content(2 << 20)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::StorageFull, "{error}");
    assert_eq!(world.list("data/"), []);
}

#[test]
fn a_token_that_stays_refused_is_told_after_few_more_attempts() {
    let world = World::new();
    world.initialized();
    world.drive.requests();
    world.drive.inject_times("", 100, Fault::refusal(401, "authError"));
    let error = world.put(KEY, b"pack").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error}");
    assert!(error.hint.unwrap().contains("bulkhead auth gdrive"));
    assert_eq!(world.drive.requests().len(), 4);
}

#[test]
fn a_file_that_drive_takes_for_malware_is_read() {
    let world = World::new();
    world.initialized();
    world.put(KEY, b"looks like a worm").unwrap();
    let id = world.drive.state().at(&world.folder, KEY)[0].id.clone();
    world.drive.state().file_mut(&id).unwrap().is_abusive = true;
    assert_eq!(world.get(KEY).unwrap(), b"looks like a worm");
}

#[test]
fn an_object_that_was_replaced_since_it_was_seen_is_found() {
    let world = World::new();
    world.initialized();
    world.put(KEY, b"first").unwrap();
    let got = world.with(&world.config(""), |sink| {
        sink.list("data/")?;
        let id = world.drive.state().at(&world.folder, KEY)[0].id.clone();
        let folder = world.drive.state().at(&world.folder, "data/ab")[0].id.clone();
        world.drive.state().remove(&id);
        world.drive.state().add_file(&folder, "ab01", b"again");
        sink.get(KEY)
    });
    assert_eq!(got.unwrap(), b"again");
}

//! Attachments that break off on their way: they go on where they did, and what is stored is what the server has.

use std::sync::{Arc, Mutex};

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::couchdb::{Answer, Request};

use crate::setup::Desk;

/// More than one transfer, and nothing that repeats.
fn content() -> Vec<u8> {
    (0_u32..600_000)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// A server with two large attachments: one that it keeps as it is, and one that it keeps compressed.
fn laden() -> Desk {
    let desk = Desk::empty();
    {
        let mut state = desk.server.state();
        let ledger = state.database("ledger");
        ledger.attach("doc", "plain.bin", Some(("application/octet-stream", &content())));
        ledger.attach("doc", "text.txt", Some(("text/plain", &content())));
    }
    desk
}

/// An attachment that was asked for, and the request's header `Range`.
type Asked = (String, Option<String>);

/// Changes the answers with attachments, of which it is told how often each was asked for; says what was asked for.
fn meddle(desk: &Desk, mut change: impl FnMut(&mut Answer, usize) + Send + 'static) -> Arc<Mutex<Vec<Asked>>> {
    let (whole, asked) = (laden(), Arc::new(Mutex::new(Vec::new())));
    desk.server.meddle({
        let asked = Arc::clone(&asked);
        move |request: &Request, _| {
            let name = request.path.split(['/', '?']).nth(3).filter(|name| name.contains('.'))?.to_owned();
            let mut asked = asked.lock().unwrap();
            asked.push((name.clone(), request.header("range").map(str::to_owned)));
            let times = asked.iter().filter(|(other, _)| *other == name).count();
            let mut answer = whole.server.answer(request);
            change(&mut answer, times);
            Some(answer)
        }
    });
    asked
}

fn has_all(desk: &Desk) {
    desk.server.behave();
    assert_eq!(desk.verify()[0].code, "database-verified");
    let target = desk.elsewhere();
    target.restore("{}").unwrap();
    let content = |desk: &Desk| desk.server.state().database("ledger").content();
    assert_eq!(content(&target), content(desk));
}

fn ranges(asked: &[(String, Option<String>)], name: &str) -> Vec<Option<String>> {
    asked.iter().filter(|(of, _)| of == name).map(|(_, range)| range.clone()).collect()
}

#[test]
fn an_attachment_goes_on_where_it_broke_off() {
    let desk = laden();
    let asked = meddle(&desk, |answer, times| {
        let has_parts = answer
            .headers
            .iter()
            .any(|(name, value)| name == "Accept-Ranges" && value == "bytes");
        answer.break_after = (has_parts && times < 3).then_some(answer.body.len() / 3);
    });
    desk.backup_with(r#"{ "attempts": 2 }"#).unwrap();
    let asked = asked.lock().unwrap();
    let (third, two_ninths) = (content().len() / 3, (content().len() - content().len() / 3) / 3);
    let expected = [
        None,
        Some(format!("bytes={third}-")),
        Some(format!("bytes={}-", third + two_ninths)),
    ];
    assert_eq!(ranges(&asked, "plain.bin"), expected);
    has_all(&desk);
}

#[test]
fn what_comes_only_as_a_whole_is_passed_over_up_to_there() {
    let desk = laden();
    let asked = meddle(&desk, |answer, times| {
        answer.break_after = (times == 1).then_some(answer.body.len() * 3 / 4);
    });
    desk.backup_with(r#"{ "attempts": 2 }"#).unwrap();
    // What is kept compressed has no parts.
    assert_eq!(ranges(&asked.lock().unwrap(), "text.txt"), [None, None]);
    has_all(&desk);
    // As from a server that does not know what a range is.
    let desk = laden();
    let asked = meddle(&desk, |answer, times| {
        answer.headers.retain(|(name, _)| name != "Accept-Ranges");
        answer.break_after = (times == 1).then_some(answer.body.len() - 1);
    });
    desk.backup_with(r#"{ "attempts": 2 }"#).unwrap();
    assert_eq!(ranges(&asked.lock().unwrap(), "plain.bin"), [None, None]);
    has_all(&desk);
}

#[test]
fn an_attachment_that_brings_nothing_more_fails_the_run() {
    let desk = laden();
    let asked = meddle(&desk, |answer, _| {
        answer.headers.retain(|(name, _)| name != "Accept-Ranges");
        answer.break_after = Some(1_000_000);
    });
    let error = desk.backup_with(r#"{ "attempts": 2 }"#).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::ConnectionLost, true), "{error:?}");
    assert_eq!(asked.lock().unwrap().len(), 2, "as often as is configured");
    assert_eq!(desk.harness.snapshots(), []);
}

#[test]
fn pieces_of_two_attachments_are_not_put_together() {
    let kinds = [
        // Another content of the same length.
        (ErrorKind::SourceDamaged, "does not match its digest"),
        (ErrorKind::Protocol, "comes from another byte on"),
        (ErrorKind::Protocol, "comes compressed at one time"),
        (ErrorKind::Conflict, "was replaced, or went with its document"),
    ];
    for (kind, (expected, text)) in kinds.into_iter().enumerate() {
        let desk = laden();
        meddle(&desk, move |answer, times| match (times, kind) {
            (1, _) => answer.break_after = Some(1_000_000),
            (_, 0) => answer.body.fill(7),
            (_, 1) => answer.headers.iter_mut().for_each(|(name, value)| {
                if name == "Content-Range" {
                    *value = "bytes 5-".to_owned();
                }
            }),
            (_, 2) => answer.headers.push(("Content-Encoding".to_owned(), "gzip".to_owned())),
            _ => *answer = Answer::failure(404, "not_found", "Document is missing attachment"),
        });
        let error = desk.backup_with(r#"{ "attempts": 2 }"#).unwrap_err();
        assert_eq!(error.kind, expected, "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(desk.harness.snapshots(), []);
    }
}

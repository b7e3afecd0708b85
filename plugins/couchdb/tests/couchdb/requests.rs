//! What is in flight at once: the plugin does one thing at a time, the server need not.

use serde_json::json;

use crate::setup::Desk;

/// Two pages of the feed; of the first batch some have attachments, and so many bytes that they do not wait for its end.
fn large() -> Desk {
    let desk = Desk::empty();
    {
        let mut state = desk.server.state();
        let ledger = state.database("ledger");
        for number in 0..10 {
            let id = format!("laden{number}");
            ledger.put(&id, json!({ "text": "x".repeat(600 << 10) }));
            ledger.attach(&id, "a", Some(("image/png", id.as_bytes())));
        }
        for number in 0..2_000 {
            ledger.put(&format!("doc{number}"), json!({ "number": number }));
        }
    }
    desk
}

#[test]
fn a_backup_has_batches_a_page_and_attachments_in_flight() {
    let desk = large();
    desk.backup().unwrap();
    assert_eq!(desk.harness.most_requests_in_flight(), 4 + 1 + 4);
}

#[test]
fn a_document_that_is_asked_for_anew_has_no_more_in_flight() {
    let desk = large();
    let mut asked = 0;
    desk.server.meddle(move |request, state| {
        asked += u32::from(request.path.starts_with("/ledger/laden0/"));
        if asked == 1 {
            asked += 1;
            for number in 1..5 {
                let content = format!("other{number}");
                let attachment = ("image/png", content.as_bytes());
                state.database("ledger").attach("laden0", &content, Some(attachment));
            }
            state.database("ledger").attach("laden0", "a", None);
            state.database("ledger").compact();
        }
        None
    });
    desk.backup().unwrap();
    assert_eq!(desk.harness.most_requests_in_flight(), 4 + 1 + 4);
}

#[test]
fn a_restore_has_what_is_written_in_flight_and_the_question_what_is_missing() {
    let desk = large();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    target.restore("{}").unwrap();
    assert_eq!(target.harness.most_requests_in_flight(), 4);
    let target = desk.elsewhere();
    target.server.state().database("ledger").put("there", json!({}));
    target.restore(r#"{ "existing": "merge" }"#).unwrap();
    assert_eq!(target.harness.most_requests_in_flight(), 4 + 1);
}

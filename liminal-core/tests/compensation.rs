//! What is undone when a participant exits whose conversations are compensated, one story each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

mod kit;

use std::time::Duration;

use bytes::Bytes;
use kit::{Kit, bus, crash, follows, reply, says, secs};
use liminal_core::{Answer, BusNext, Call, CrashPolicy, LinkId, Load, Offer, Settings};
use liminal_proto::{Expects, ReasonCode};

fn compensated() -> (Kit, LinkId) {
    compensated_with(Settings::default())
}

fn compensated_with(settings: Settings) -> (Kit, LinkId) {
    let (mut kit, _) = bus(1, CrashPolicy::Compensate("undo".into()), settings);
    kit.bus.register("undo".into(), Offer::Participant).unwrap();
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    (kit, link)
}

/// The last call, which is the notice.
fn notice(kit: &mut Kit) -> serde_json::Value {
    let mut notice = None;
    while let Some(next) = kit.poll() {
        if let BusNext::Run(_, invocation) = next
            && let Call::Message { payload, .. } = invocation.what
        {
            notice = Some(serde_json::from_slice(&payload).unwrap());
        }
    }
    notice.unwrap()
}

#[test]
fn the_original_fails_at_once_and_the_compensator_is_told_what_was_left_undone() {
    let (mut kit, link) = compensated();
    kit.ask(link, 1, 1, "pay 42");
    kit.say(link, 1, 2, "ship");
    kit.ask(link, 1, 3, "");
    kit.drain();
    kit.answer_last(crash("out of \"memory\"\n"));
    let story = ["l1 c1 p1 exited r5: crashed: out of \\\"memory\\\"\\n", "t3 p2 join undo"];
    follows(&mut kit, &story);
    assert_eq!(kit.bus.compensating(), 1);
    kit.answer_last(Answer::Joined);
    let expected = serde_json::json!({
        "conversation": 1,
        "subject": "work",
        "pid": 1,
        "record": 5,
        "reason": {"cause": 1, "text": "out of \"memory\"\n"},
        "unanswered": [
            {"record": 2, "id": "1", "asked": true, "delivered": true, "payload": "cGF5IDQy"},
            {"record": 3, "id": "2", "asked": false, "delivered": false, "payload": "c2hpcA=="},
            {"record": 4, "id": "3", "asked": true, "delivered": false, "payload": ""},
        ],
        "left_out": 0,
    });
    assert_eq!(notice(&mut kit), expected);
    kit.answer_last(reply("undone"));
    kit.answer_last(Answer::Done);
    follows(&mut kit, &["t5 p2 leave Closed"]);
    kit.answer_last(Answer::Done);
    follows(&mut kit, &[]);
    let counters = kit.bus.counters();
    assert_eq!((counters.compensations, counters.compensations_failed), (1, 0));
    assert_eq!(counters.messages, 4, "the notice is one, too");
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
    assert_eq!(kit.bus.compensating(), 0);
}

#[test]
fn what_has_ended_is_no_part_of_the_notice() {
    let (mut kit, link) = compensated();
    kit.ask(link, 1, 1, "answered");
    kit.drain();
    kit.answer_last(reply("x"));
    kit.answer_last(crash(""));
    kit.drain();
    kit.answer_last(Answer::Joined);
    assert_eq!(notice(&mut kit)["unanswered"], serde_json::json!([]));
}

/// One line of the story says so, and nothing is left.
#[track_caller]
fn fails_to_compensate(kit: &mut Kit, line: &str) {
    let story = kit.drain();
    assert_eq!(story.iter().filter(|it| it.starts_with("conversation-")).collect::<Vec<_>>(), [line]);
    // What still runs returns, and what leaves after it.
    for _ in 0..2 {
        let tickets = kit.tickets.clone();
        tickets.iter().for_each(|ticket| kit.answer(*ticket, Answer::Done));
        kit.drain();
    }
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
    let counters = kit.bus.counters();
    assert_eq!((counters.compensations, counters.compensations_failed), (1, 1));
}

#[test]
fn a_compensation_that_fails_is_said_once() {
    let refused = Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: Some("no".into()) };
    let not_compensated = "conversation-1 was not compensated on \"undo\":";
    let cases: [(&[Answer], &str); 5] = [
        (std::slice::from_ref(&refused), "not allowed (0x0109): no"),
        (&[crash("boom")], "the participant has exited"),
        (&[Answer::Joined, refused.clone()], "not allowed (0x0109): no"),
        (&[Answer::Joined, crash("boom")], "the participant has exited"),
        (&[Answer::Joined, Answer::Done], "no reply was given (0x010d)"),
    ];
    for (answers, why) in cases {
        let (mut kit, link) = compensated();
        kit.say(link, 1, 1, "a");
        kit.drain();
        kit.answer_last(crash(""));
        for answer in answers {
            kit.drain();
            kit.answer_last(answer.clone());
        }
        fails_to_compensate(&mut kit, &format!("{not_compensated} {why}"));
    }
}

#[test]
fn a_compensator_that_hangs_is_given_up_in_time() {
    let (mut kit, link) = compensated();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.pass(secs(30) - Duration::from_millis(1));
    follows(&mut kit, &[]);
    kit.pass(Duration::from_millis(1));
    fails_to_compensate(&mut kit, "conversation-1 was not compensated on \"undo\": no reply in time");
}

#[test]
fn a_compensator_that_is_busy_is_waited_for() {
    let (mut kit, link) = compensated();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    kit.drain();
    for _ in 0..3 {
        kit.answer_last(Answer::Busy);
        follows(&mut kit, &[]);
        kit.pass(Duration::from_millis(20));
        assert!(kit.drain()[0].ends_with("join undo"));
    }
    kit.answer_last(Answer::Joined);
    assert_eq!(kit.drain().len(), 1);
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &[]);
    kit.pass(Duration::from_millis(20));
    assert_eq!(notice(&mut kit)["conversation"], 1);
    kit.answer_last(reply("undone"));
    kit.answer_last(Answer::Done);
    kit.drain();
    assert_eq!(kit.bus.counters().compensations_failed, 0);
}

#[test]
fn a_subject_that_nobody_serves_compensates_nothing_and_hangs_nowhere() {
    for nobody in ["nobody", "log"] {
        let (mut kit, _) = bus(1, CrashPolicy::Compensate(nobody.into()), Settings::default());
        let link = kit.link();
        kit.open(link, 1, "work");
        kit.drain();
        kit.answer_last(crash(""));
        let why =
            format!("conversation-1 was not compensated on {nobody:?}: nobody serves the subject (0x0100)");
        fails_to_compensate(&mut kit, &why);
    }
}

#[test]
fn a_compensator_may_be_compensated_on_itself_without_going_round() {
    let (mut kit, _) = bus(1, CrashPolicy::Compensate("work".into()), Settings::default());
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.drain();
    kit.answer_last(crash("a"));
    kit.drain();
    kit.answer_last(crash("b"));
    let why = "conversation-1 was not compensated on \"work\": the participant has exited";
    fails_to_compensate(&mut kit, why);
}

#[test]
fn r2_a_notice_is_bounded_and_says_what_it_leaves_out() {
    let (mut kit, link) = compensated_with(Settings { notice_bytes_max: 1000, ..Settings::default() });
    for (message, len) in [(1, 150), (2, 150), (3, 400), (4, 1), (5, 1)] {
        let payload = Bytes::from(vec![7; len]);
        kit.event(link, says(1, message, Expects::Nothing, None, payload));
    }
    kit.drain();
    kit.answer_last(crash(""));
    kit.drain();
    kit.answer_last(Answer::Joined);
    let notice = notice(&mut kit);
    let listed = notice["unanswered"].as_array().unwrap();
    assert_eq!((listed.len(), &notice["left_out"]), (2, &3.into()), "what is listed has no holes");
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&"1".into(), &"2".into()));
}

#[test]
fn r2_notices_that_wait_share_the_bound_of_a_link_and_are_limited_in_number() {
    let settings =
        Settings { held_bytes_per_link_max: 2000, conversations_per_link_max: 4, ..Settings::default() };
    let (mut kit, _) = compensated_with(settings);
    let mut listed = Vec::new();
    for round in 0..5 {
        let link = kit.link();
        kit.open(link, 9, "work");
        kit.event(link, says(9, 1, Expects::Nothing, None, Bytes::from(vec![7; 700])));
        kit.drain();
        kit.answer_last(crash(""));
        let story = kit.drain();
        if round == 4 {
            assert!(story.iter().any(|line| line.ends_with("limit reached (0x010a)")), "{story:?}");
            break;
        }
        kit.answer_last(Answer::Joined);
        listed.push(notice(&mut kit)["unanswered"].as_array().unwrap().len());
    }
    assert_eq!(listed, [1, 0, 0, 0]);
}

#[test]
fn compensations_are_begun_and_ended_while_the_bus_stops() {
    let (mut kit, link) = compensated();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.bus.stop(kit.now);
    follows(&mut kit, &["l1 disconnect"]);
    kit.answer_last(crash(""));
    kit.lose(link);
    follows(&mut kit, &["t3 p2 join undo"]);
    assert_eq!(kit.bus.compensating(), 1);
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.answer_last(reply("undone"));
    kit.answer_last(Answer::Done);
    kit.drain();
    kit.answer_last(Answer::Done);
    kit.drain();
    assert_eq!((kit.bus.compensating(), kit.bus.load()), (0, Load::default()));
}

#[test]
fn a_leave_is_no_crash_and_compensates_nothing() {
    let (mut kit, link) = compensated();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.lose(link);
    kit.drain();
    kit.answer_last(crash("after its owner was lost"));
    kit.drain();
    assert_eq!(kit.bus.counters().compensations, 0);
    assert_eq!(kit.bus.load(), Load::default());
}

//! What becomes of conversations whose participant exits, one story each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

mod kit;

use std::time::Duration;

use bytes::Bytes;
use kit::{Kit, bus, crash, follows, part, reply, says, secs};
use liminal_core::{
    Answer, BusNext, Call, CrashPolicy, LinkId, Load, Offer, OfferId, RegisterError, Settings, Subject,
};
use liminal_proto::{Expects, Instant, ReasonCode, TimerReason, Wake};

/// A bus on which so many serve "work", and go on where one exits, with conversation 1, whose participant has joined, and the link of its owner.
fn routed(count: usize) -> (Kit, LinkId, Vec<OfferId>) {
    let (mut kit, offers) = bus(count, CrashPolicy::RouteToNext, Settings::default());
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    (kit, link, offers)
}

/// The offers that are asked to join next.
fn invited(kit: &mut Kit) -> Vec<OfferId> {
    let mut offers = Vec::new();
    while let Some(next) = kit.poll() {
        if let BusNext::Run(_, invocation) = next {
            assert!(matches!(invocation.what, Call::Join { .. }), "{invocation:?}");
            offers.push(invocation.offer);
        }
    }
    offers
}

// Several on one subject.

#[test]
fn a_conversation_gets_the_participant_with_the_fewest_and_equals_take_turns() {
    let (mut kit, offers) = bus(3, CrashPolicy::Fail, Settings::default());
    let link = kit.link();
    for id in 1..=6 {
        kit.open(link, id, "work");
    }
    let [a, b, c] = offers[..] else { panic!() };
    assert_eq!(invited(&mut kit), [a, b, c, a, b, c]);
    let tickets = kit.tickets.clone();
    tickets.iter().for_each(|ticket| kit.answer(*ticket, Answer::Joined));
    kit.drain();
    kit.close(link, 2);
    kit.drain();
    let leave = *kit.tickets.last().unwrap();
    kit.open(link, 7, "work");
    assert_eq!(invited(&mut kit), [a], "the second leaves, and is there until that has returned");
    kit.answer(leave, Answer::Done);
    kit.open(link, 8, "work");
    assert_eq!(invited(&mut kit), [b]);
}

#[test]
fn an_exit_makes_room_at_once() {
    let (mut kit, offers) = bus(2, CrashPolicy::Fail, Settings::default());
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.open(link, 2, "work");
    kit.open(link, 3, "work");
    assert_eq!(invited(&mut kit), [offers[0], offers[1], offers[0]]);
    let tickets = kit.tickets.clone();
    kit.answer(tickets[0], crash("a"));
    kit.answer(tickets[2], crash("b"));
    kit.open(link, 4, "work");
    kit.open(link, 5, "work");
    assert_eq!(invited(&mut kit), [offers[0], offers[1]]);
}

#[test]
fn one_that_is_busy_or_refuses_is_passed_over_and_the_opening_is_refused_when_all_do() {
    let (mut kit, offers) = bus(2, CrashPolicy::Fail, Settings::default());
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.ask(link, 1, 1, "a");
    assert_eq!(invited(&mut kit), [offers[0]]);
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &["t2 p2 join work"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 opened by p2", "t3 p2 m1 r1 \"a\"?"]);
    kit.open(link, 2, "work");
    follows(&mut kit, &["t4 p3 join work"]);
    kit.answer_last(Answer::Refused { reason: ReasonCode::LIMIT, text: None });
    follows(&mut kit, &["t5 p4 join work"]);
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &["l1 c2 refused: busy"]);
    kit.open(link, 2, "work");
    kit.drain();
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &["t7 p6 join work"]);
    kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None });
    follows(&mut kit, &["l1 c2 refused: not allowed"]);
    kit.open(link, 2, "work");
    kit.drain();
    kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None });
    follows(&mut kit, &["t9 p8 join work"]);
}

#[test]
fn one_that_only_records_shares_its_subject_with_nobody() {
    let (mut kit, _) = bus(2, CrashPolicy::Fail, Settings::default());
    for (subject, offer) in
        [("work", Offer::TraceOnly), ("log", Offer::TraceOnly), ("log", Offer::Participant)]
    {
        assert_eq!(kit.bus.register(subject.into(), offer), Err(RegisterError::Taken(subject.into())));
    }
    let why = "is registered already, and one that only records has its subject to itself";
    assert_eq!(RegisterError::Taken("work".into()).to_string(), format!("the subject \"work\" {why}"));
    assert_eq!(RegisterError::Taken(Subject::Any).to_string(), format!("every other subject {why}"));
}

#[test]
fn the_policy_of_a_name_wins_and_that_of_any_is_for_those_without_a_name() {
    let mut kit = Kit::new(Settings::default());
    kit.bus.register(Subject::Any, Offer::Participant).unwrap();
    kit.bus.on_crash(Subject::Any, CrashPolicy::RouteToNext).unwrap();
    kit.bus.on_crash("fails".into(), CrashPolicy::Fail).unwrap();
    let link = kit.link();
    let cases = [(1, "whatever", true), (2, "fails", false), (3, "echo", false)];
    for (id, subject, goes_on) in cases {
        kit.open(link, id, subject);
        kit.drain();
        kit.answer_last(crash(""));
        assert_eq!(kit.drain()[1].ends_with(", goes on"), goes_on, "{subject}");
    }
    let long = "x".repeat(257);
    let too_long = Err(RegisterError::TooLong { len: 257, limit: 256 });
    assert_eq!(kit.bus.on_crash(long.as_str().into(), CrashPolicy::Fail), too_long);
    assert_eq!(kit.bus.on_crash("a".into(), CrashPolicy::Compensate(long)), too_long);
}

#[test]
fn a_conversation_keeps_the_policy_that_it_was_opened_with() {
    let (mut kit, link, _) = routed(1);
    kit.bus.on_crash("work".into(), CrashPolicy::Fail).unwrap();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash("boom"));
    follows(&mut kit, &["l1 c1 p1 exited r3: crashed: boom, goes on", "t3 p2 join work"]);
}

// Route to the next.

#[test]
fn what_waits_moves_to_the_next_in_its_order_and_marked_before_anything_newer() {
    let (mut kit, link, offers) = routed(2);
    kit.ask(link, 1, 1, "in hand");
    kit.say(link, 1, 2, "waits");
    kit.ask(link, 1, 3, "waits too");
    kit.drain();
    kit.answer_last(crash("boom"));
    kit.ask(link, 1, 4, "newer");
    follows(&mut kit, &["l1 c1 p1 exited r5: crashed: boom, goes on", "t3 p2 join work"]);
    assert_eq!(kit.bus.load().requests, 3, "the same requests, and one more");
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p2", "t4 p2 m1 r2 \"in hand\"? again 1"]);
    kit.answer_last(reply("a"));
    kit.answer_last(Answer::Done);
    follows(&mut kit, &["l1 c1 m1 reply r8 \"a\"", "t5 p2 m2 r3 \"waits\" again 1"]);
    kit.answer_last(Answer::Done);
    follows(&mut kit, &["t6 p2 m3 r4 \"waits too\"? again 1"]);
    kit.answer_last(reply("b"));
    kit.answer_last(Answer::Done);
    follows(&mut kit, &["l1 c1 m3 reply r9 \"b\"", "t7 p2 m4 r6 \"newer\"?"]);
    assert_eq!(kit.bus.counters().moved, 3);
    kit.open(link, 2, "work");
    assert_eq!(invited(&mut kit), [offers[0]], "the first has none any more");
}

#[test]
fn the_deadline_moves_along() {
    let (mut kit, link, _) = routed(2);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.pass(secs(4));
    kit.answer_last(crash(""));
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    assert_eq!(kit.wake(), Wake::At(Instant::ORIGIN.after(secs(5)), TimerReason::Deadline));
    kit.pass(secs(1));
    follows(&mut kit, &["l1 c1 m1 deadline", "t4 cancel"]);
}

#[test]
fn q1_a_request_of_which_a_part_was_answered_ends_with_its_participant_alone() {
    let (mut kit, link, _) = routed(2);
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(part("x"));
    kit.answer_last(crash("boom"));
    let story = [
        "l1 c1 m1 part r4 \"x\"",
        "l1 c1 p1 exited r5: crashed: boom, goes on",
        "l1 c1 m1 exited",
        "t3 p2 join work",
    ];
    follows(&mut kit, &story);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p2", "t4 p2 m2 r3 \"b\"? again 1"]);
}

#[test]
fn what_was_delivered_or_has_ended_is_given_to_nobody_else() {
    let (mut kit, link, _) = routed(2);
    kit.say(link, 1, 1, "delivered");
    kit.drain();
    kit.answer_last(crash("a"));
    follows(&mut kit, &["l1 c1 p1 exited r3: crashed: a, goes on"]);
    kit.ask(link, 1, 2, "answered");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.answer_last(reply("x"));
    kit.answer_last(crash("b"));
    follows(&mut kit, &["l1 c1 m2 reply r6 \"x\"", "l1 c1 p2 exited r7: crashed: b, goes on"]);
    kit.ask(link, 1, 3, "too late");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.pass(secs(5));
    kit.answer_last(crash("c"));
    let story = ["l1 c1 m3 deadline", "t6 cancel", "l1 c1 p3 exited r11: crashed: c, goes on"];
    follows(&mut kit, &story);
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
}

#[test]
fn a_request_that_brings_down_four_in_a_row_ends_as_exited() {
    let (mut kit, link, _) = routed(2);
    kit.ask(link, 1, 1, "poison");
    kit.say(link, 1, 2, "behind it");
    kit.drain();
    for moves in 1..=3 {
        kit.answer_last(crash(""));
        kit.drain();
        kit.answer_last(Answer::Joined);
        assert!(kit.drain()[1].ends_with(&format!("\"poison\"? again {moves}")));
    }
    kit.ask(link, 1, 3, "newer");
    kit.answer_last(crash(""));
    let story = kit.drain();
    assert_eq!(story[1..], ["l1 c1 m1 exited", "t9 p5 join work"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p5", "t10 p5 m3 r10 \"newer\"? again 1"]);
    assert_eq!(kit.bus.counters().undelivered, 2);
}

#[test]
fn how_often_a_message_moves_is_a_setting() {
    let settings = Settings { moves_max: 0, ..Settings::default() };
    let (mut kit, _) = bus(1, CrashPolicy::RouteToNext, settings);
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    let story = ["l1 c1 opened by p1", "l1 c1 p1 exited r3: crashed, goes on", "l1 c1 m1 exited"];
    follows(&mut kit, &story);
}

#[test]
fn participants_that_crash_when_they_join_do_not_go_round_for_ever() {
    let (mut kit, link, _) = routed(1);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    let mut joins = 0;
    for _ in 0..100 {
        kit.answer_last(crash(""));
        joins += kit.drain().iter().filter(|line| line.ends_with("join work")).count();
    }
    assert_eq!(joins, 3, "each is paid for by what waits, and nobody joins for nothing");
    kit.say(link, 1, 2, "b");
    follows(&mut kit, &["t6 p5 join work"]);
}

#[test]
fn the_next_is_one_that_has_not_exited_here_and_else_a_fresh_one() {
    let (mut kit, link, offers) = routed(3);
    let (far, mut order) = (kit.link(), Vec::new());
    for id in 1..=2 {
        kit.open(far, id, "work");
    }
    assert_eq!(invited(&mut kit), [offers[1], offers[2]]);
    kit.open(far, 3, "work");
    kit.open(far, 4, "work");
    kit.drain();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    for _ in 0..3 {
        kit.answer_last(crash(""));
        order.extend(invited(&mut kit));
        kit.answer_last(Answer::Joined);
        kit.drain();
    }
    assert_eq!(order[..2], [offers[2], offers[1]], "not the first, although it has the fewest");
    assert_eq!(order[2], offers[2], "all have exited: the one with the fewest");
}

#[test]
fn one_that_would_not_join_is_passed_over_and_all_are_asked_again_after_a_while() {
    let (mut kit, link, _) = routed(2);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    assert_eq!(kit.drain()[1..], ["t3 p2 join work"]);
    kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None });
    follows(&mut kit, &["t4 p3 join work"]);
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &[]);
    assert_eq!(kit.wake(), Wake::At(Instant::ORIGIN.after(Duration::from_millis(20)), TimerReason::Deadline));
    kit.pass(Duration::from_millis(20));
    follows(&mut kit, &["t5 p4 join work"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p4", "t6 p4 m1 r2 \"a\"? again 1"]);
}

#[test]
fn one_that_would_not_join_is_asked_again_after_the_next_exit() {
    let (mut kit, link, offers) = routed(3);
    kit.say(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(crash(""));
    assert_eq!(invited(&mut kit), [offers[1]]);
    kit.answer_last(Answer::Busy);
    assert_eq!(invited(&mut kit), [offers[2]]);
    kit.say(link, 1, 3, "c");
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p3", "t5 p3 m2 r3 \"b\" again 1"]);
    kit.answer_last(crash(""));
    assert_eq!(invited(&mut kit), [offers[1]], "the only one that has not exited here");
}

#[test]
fn when_nobody_is_left_within_the_first_deadline_it_fails() {
    let (mut kit, link, offers) = routed(1);
    kit.ask(link, 1, 1, "a");
    kit.event(link, says(1, 2, Expects::Reply, Some(secs(2)), Bytes::new()));
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.answer_last(crash(""));
    follows(&mut kit, &["l1 c1 p1 exited r4: crashed, goes on"]);
    assert_eq!(kit.wake(), Wake::At(Instant::ORIGIN.after(secs(2)), TimerReason::Deadline));
    kit.pass(secs(2));
    follows(&mut kit, &["l1 c1 failed"]);
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
    kit.ask(link, 1, 3, "b");
    follows(&mut kit, &["l1 c1 m3 refused: the participant has exited (participant 1 has exited)"]);
    kit.close(link, 1);
    follows(&mut kit, &["l1 c1 ended"]);
}

#[test]
fn a_message_without_a_deadline_waits_for_the_reply_time() {
    let (mut kit, link, offers) = routed(1);
    kit.say(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.pass(secs(3));
    kit.answer_last(crash(""));
    kit.drain();
    kit.pass(Duration::from_millis(4999));
    follows(&mut kit, &[]);
    kit.pass(Duration::from_millis(1));
    follows(&mut kit, &["l1 c1 failed"]);
    assert_eq!(kit.bus.counters().undelivered, 1);
}

#[test]
fn when_those_who_would_not_join_are_gone_nothing_is_due_before_the_deadline() {
    let (mut kit, link, offers) = routed(1);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    kit.drain();
    kit.answer_last(Answer::Busy);
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.pass(Duration::from_millis(20));
    follows(&mut kit, &[]);
    assert_eq!(kit.wake(), Wake::At(Instant::ORIGIN.after(secs(5)), TimerReason::Deadline));
}

#[test]
fn each_search_has_a_time_of_its_own() {
    let (mut kit, link, offers) = routed(1);
    kit.say(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.answer_last(crash(""));
    kit.drain();
    kit.pass(secs(3));
    let next = kit.bus.register("work".into(), Offer::Participant).unwrap();
    follows(&mut kit, &["t3 p2 join work"]);
    kit.say(link, 1, 3, "c");
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.bus.unregister(next);
    kit.answer_last(crash(""));
    kit.drain();
    kit.pass(Duration::from_millis(4999));
    follows(&mut kit, &[]);
    kit.pass(Duration::from_millis(1));
    follows(&mut kit, &["l1 c1 failed"]);
}

#[test]
fn a_conversation_that_failed_names_who_exited_and_not_who_was_asked_last() {
    let settings = Settings { recording: true, ..Settings::default() };
    let (mut kit, offers) = bus(1, CrashPolicy::RouteToNext, settings);
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.answer_last(Answer::Busy);
    kit.drain();
    kit.pass(secs(5));
    follows(&mut kit, &["log1 r5 Failed", "l1 c1 failed"]);
    kit.ask(link, 1, 2, "b");
    follows(&mut kit, &["l1 c1 m2 refused: the participant has exited (participant 1 has exited)"]);
}

#[test]
fn those_who_never_join_are_not_asked_for_ever() {
    let (mut kit, link, _) = routed(1);
    kit.say(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(crash(""));
    assert!(kit.drain()[1].ends_with("join work"));
    let mut rounds = 0;
    let told = loop {
        kit.answer_last(Answer::Busy);
        assert_eq!(kit.drain(), [""; 0]);
        kit.pass(Duration::from_millis(20));
        let story = kit.drain();
        if !story[0].ends_with("join work") {
            break story;
        }
        rounds += 1;
    };
    assert_eq!((told, rounds), (vec!["l1 c1 failed".to_owned()], 249), "once in 20 ms for the reply time");
}

#[test]
fn who_is_registered_meanwhile_is_found_at_once() {
    let (mut kit, link, offers) = routed(1);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.answer_last(crash(""));
    kit.drain();
    kit.bus.register("work".into(), Offer::Participant).unwrap();
    follows(&mut kit, &["t3 p2 join work"]);
    kit.pass(secs(5));
    follows(&mut kit, &["l1 c1 m1 deadline"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p2"]);
}

#[test]
fn when_the_last_one_asked_would_not_join_and_the_time_has_passed_it_fails_at_once() {
    let (mut kit, link, offers) = routed(1);
    kit.say(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.answer_last(crash(""));
    kit.drain();
    kit.bus.register("work".into(), Offer::Participant).unwrap();
    follows(&mut kit, &["t3 p2 join work"]);
    kit.pass(secs(6));
    follows(&mut kit, &[]);
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &["l1 c1 failed"]);
}

#[test]
fn a_search_that_nothing_waits_for_any_more_takes_nothing_from_the_next_one() {
    let (mut kit, link, offers) = routed(1);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.answer_last(crash(""));
    kit.drain();
    kit.bus.register("work".into(), Offer::Participant).unwrap();
    follows(&mut kit, &["t3 p2 join work"]);
    kit.pass(secs(5));
    follows(&mut kit, &["l1 c1 m1 deadline"]);
    kit.answer_last(Answer::Busy);
    follows(&mut kit, &[]);
    kit.pass(secs(60));
    kit.say(link, 1, 2, "b");
    follows(&mut kit, &["t4 p3 join work"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p3", "t5 p3 m2 r6 \"b\""]);
}

#[test]
fn l1_a_life_that_ended_ends_once_whatever_comes_after_it() {
    let settings = Settings { recording: true, ..Settings::default() };
    for lost in [false, true] {
        let (mut kit, _) = bus(1, CrashPolicy::RouteToNext, settings.clone());
        let link = kit.link();
        kit.open(link, 1, "work");
        kit.drain();
        kit.answer_last(Answer::Joined);
        kit.say(link, 1, 1, "a");
        kit.drain();
        kit.answer_last(crash(""));
        follows(&mut kit, &["log1 r3 Exited(1, crashed, goes on)", "l1 c1 p1 exited r3: crashed, goes on"]);
        if lost {
            kit.lose(link);
            follows(&mut kit, &[]);
        } else {
            kit.close(link, 1);
            follows(&mut kit, &["l1 c1 ended"]);
        }
        assert_eq!(kit.bus.load().conversations, 0);
    }
}

#[test]
fn a_close_lets_what_was_moved_run_to_its_end() {
    let (mut kit, link, _) = routed(2);
    kit.ask(link, 1, 1, "a");
    kit.close(link, 1);
    kit.drain();
    kit.answer_last(crash(""));
    follows(&mut kit, &["l1 c1 p1 exited r3: crashed, goes on", "t3 p2 join work"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["l1 c1 joined by p2", "t4 p2 m1 r2 \"a\"? again 1"]);
    kit.answer_last(reply("x"));
    kit.answer_last(Answer::Done);
    follows(&mut kit, &["l1 c1 m1 reply r5 \"x\"", "l1 c1 ended", "t5 p2 leave Closed"]);
}

#[test]
fn an_owner_that_is_lost_while_the_next_joins_is_told_to_the_next() {
    let (mut kit, link, _) = routed(2);
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash(""));
    kit.drain();
    kit.lose(link);
    follows(&mut kit, &["t3 cancel"]);
    kit.answer_last(Answer::Joined);
    follows(&mut kit, &["t4 p2 leave OwnerLost"]);
    kit.answer_last(Answer::Done);
    assert_eq!(kit.bus.load(), Load::default());
}

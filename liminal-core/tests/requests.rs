//! What becomes of requests, of participants that ask for time, and of closes, one story each. The ids are those
//! of the promises.

#[macro_use]
mod kit;

use std::time::Duration;

use bytes::Bytes;
use kit::{Kit, crash, part, reply, says, secs};
use liminal_core::{Answer, LinkId, Load, Settings};
use liminal_proto::{Expects, Instant, ReasonCode, TimerReason, Wake};

// Requests.

#[test]
fn q1_a_request_that_is_not_answered_ends_at_its_deadline() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.event(link, says(1, 2, Expects::Reply, Some(secs(2)), Bytes::new()));
    kit.event(link, says(1, 3, Expects::Reply, Some(secs(60)), Bytes::new()));
    kit.drain();
    assert_eq!(kit.wake(), Wake::At(Instant::ORIGIN.after(secs(2)), TimerReason::Deadline));
    kit.pass(secs(2));
    follows!(kit, ["l1 c1 m2 deadline"]);
    kit.pass(secs(3));
    follows!(kit, ["l1 c1 m1 deadline", "t2 cancel", "l1 c1 m3 deadline"]);
    kit.answer_last(reply("late"));
    kit.answer_last(Answer::Done);
    follows!(kit, []);
    assert_eq!(kit.bus.counters().late_replies, 1);
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, participants: 1, ..Load::default() });
}

#[test]
fn q1_time_that_an_answer_brings_counts_before_the_answer() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.now = kit.now.after(secs(5));
    kit.answer_last(reply("too late by nothing"));
    follows!(kit, ["l1 c1 m1 deadline", "t2 cancel"]);
}

#[test]
fn q1_time_that_anything_brings_counts_before_it() {
    let tells: [fn(&mut Kit, LinkId); 4] = [
        |kit, _| _ = kit.link(),
        |kit, link| kit.say(link, 9, 9, "to nobody"),
        |kit, _| kit.exited(1, 1, "killed"),
        |kit, _| kit.bus.stop(kit.now),
    ];
    for tell in tells {
        let (mut kit, link) = Kit::active();
        kit.ask(link, 1, 1, "a");
        kit.drain();
        kit.now = kit.now.after(secs(5));
        tell(&mut kit, link);
        assert_eq!(kit.drain()[0], "l1 c1 m1 deadline");
    }
}

#[test]
fn q1_a_request_ends_when_its_call_returned_without_a_reply() {
    let (mut kit, link) = Kit::active();
    for (id, answer) in [
        (1, Answer::Done),
        (2, Answer::Refused { reason: ReasonCode::INVALID_PAYLOAD, text: Some("no json".into()) }),
        (3, Answer::Busy),
    ] {
        kit.ask(link, 1, id, "a");
        kit.drain();
        kit.answer_last(answer);
    }
    follows!(kit, ["l1 c1 m3 refused: busy"]);
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, participants: 1, ..Load::default() });
}

#[test]
fn q2_replies_that_answer_nothing_are_counted_and_never_surface() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(reply("nobody asked"));
    kit.answer_last(Answer::Done);
    kit.ask(link, 1, 2, "b");
    follows!(kit, ["t3 p1 m2 r3 \"b\"?"]);
    kit.answer_last(reply("one"));
    kit.answer_last(reply("two"));
    kit.answer_last(part("three"));
    kit.answer_last(Answer::Done);
    kit.answer_last(reply("four"));
    follows!(kit, ["l1 c1 m2 reply r4 \"one\""]);
    let counters = kit.bus.counters();
    assert_eq!((counters.unasked_replies, counters.late_replies, counters.ignored_answers), (1, 2, 1));
    assert_eq!(counters.replies, 1);
}

#[test]
fn q3_a_reply_before_the_exit_stands() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(reply("last words"));
    kit.answer_last(crash("boom"));
    follows!(kit, ["l1 c1 m1 reply r3 \"last words\"", "l1 c1 p1 exited r4: crashed: boom"]);
}

#[test]
fn q4_a_request_that_waited_past_its_deadline_never_reaches_the_participant() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "slow");
    kit.ask(link, 1, 2, "a");
    kit.say(link, 1, 3, "b");
    kit.drain();
    kit.pass(secs(5));
    kit.answer_last(Answer::Done);
    follows!(kit, ["l1 c1 m2 deadline", "t3 p1 m3 r4 \"b\""]);
}

// Asking for time.

#[test]
fn a_participant_may_ask_for_time_and_reply_when_it_is_woken() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(secs(1)));
    follows!(kit, []);
    kit.pass(secs(1));
    follows!(kit, ["t3 p1 wake"]);
    kit.answer_last(reply("x"));
    kit.answer_last(Answer::Done);
    follows!(kit, ["l1 c1 m1 reply r4 \"x\"", "t4 p1 m2 r3 \"b\""]);
}

#[test]
fn a_wait_ends_at_the_deadline_of_the_request() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(secs(100)));
    kit.pass(secs(5));
    follows!(kit, ["l1 c1 m1 deadline", "t3 p1 wake"]);
    kit.answer_last(Answer::Busy);
    follows!(kit, []);
    kit.pass(Duration::from_millis(20));
    follows!(kit, ["t4 p1 wake"]);
}

#[test]
fn a_participant_may_ask_for_time_when_it_joins() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(Duration::ZERO));
    follows!(kit, ["l1 c1 opened by p1"]);
    kit.pass(Duration::from_millis(1));
    follows!(kit, ["t2 p1 wake"]);
}

#[test]
fn an_accepted_message_that_found_no_seat_is_tried_again() {
    let (mut kit, link) = Kit::active();
    kit.message(link, 1, 1, Expects::Acceptance, "a");
    kit.say(link, 1, 2, "b");
    follows!(kit, ["l1 c1 m1 accepted r2", "t2 p1 m1 r2 \"a\""]);
    let before = kit.bus.load().held_bytes;
    kit.answer_last(Answer::Busy);
    follows!(kit, []);
    assert_eq!(kit.bus.load().held_bytes, before);
    kit.pass(Duration::from_millis(20));
    follows!(kit, ["t3 p1 m1 r2 \"a\""]);
}

// Closing.

#[test]
fn a_close_lets_what_was_accepted_run_to_its_end() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.say(link, 1, 2, "b");
    kit.close(link, 1);
    kit.close(link, 1);
    kit.drain();
    kit.answer_last(reply("x"));
    kit.answer_last(Answer::Done);
    follows!(kit, ["l1 c1 m1 reply r4 \"x\"", "t3 p1 m2 r3 \"b\""]);
    kit.answer_last(Answer::Done);
    follows!(kit, ["l1 c1 ended", "t4 p1 leave Closed"]);
}

#[test]
fn a_close_ends_after_its_time_and_the_seat_stays_taken_until_the_call_returned() {
    let mut kit = Kit::new(Settings { conversations_per_link_max: 1, ..Settings::default() });
    let link = kit.link();
    kit.join(link, 1);
    kit.pass(secs(2));
    kit.say(link, 1, 1, "slow");
    kit.drain();
    kit.close(link, 1);
    kit.ask(link, 1, 2, "refused");
    assert_eq!(kit.drain().len(), 1);
    assert_eq!(kit.wake(), Wake::At(kit.now.after(secs(5)), TimerReason::Close));
    kit.pass(secs(5));
    follows!(kit, ["t2 cancel", "l1 c1 ended"]);
    kit.open(link, 1, "echo");
    follows!(kit, ["l1 c1 refused: limit reached"]);
    kit.answer_last(Answer::Done);
    follows!(kit, ["t3 p1 leave Closed"]);
    kit.answer_last(Answer::Done);
    kit.open(link, 1, "echo");
    follows!(kit, ["t4 p2 join echo"]);
}

#[test]
fn q1_a_close_whose_time_has_passed_ends_the_requests_that_are_open() {
    let mut kit = Kit::new(Settings { completing_time: secs(1), ..Settings::default() });
    let link = kit.link();
    kit.join(link, 1);
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.close(link, 1);
    kit.drain();
    kit.pass(secs(1));
    follows!(kit, ["l1 c1 m1 deadline", "l1 c1 m2 deadline", "t2 cancel", "l1 c1 ended"]);
    assert_eq!((kit.bus.counters().deadlines, kit.bus.counters().undelivered), (2, 1));
}

#[test]
fn what_it_waited_with_is_released_with_its_conversation() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(secs(1)));
    kit.lose(link);
    follows!(kit, ["t3 p1 leave OwnerLost"]);
    assert_eq!(kit.bus.load().held_bytes, 0);
}

#[test]
fn a_close_before_the_join_still_delivers() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.say(link, 1, 1, "a");
    kit.close(link, 1);
    follows!(kit, ["t1 p1 join echo"]);
    kit.answer_last(Answer::Joined);
    follows!(kit, ["l1 c1 opened by p1", "t2 p1 m1 r1 \"a\""]);
    kit.answer_last(crash("boom"));
    follows!(kit, ["l1 c1 p1 exited r3: crashed: boom", "l1 c1 ended"]);
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
}

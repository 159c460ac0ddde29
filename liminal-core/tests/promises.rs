//! What the bus promises, one story each. The ids are those of the promises.

mod kit;

use std::time::Duration;

use bytes::Bytes;
use kit::{Kit, crash, part, reply, says, secs, tell};
use liminal_core::{
    Answer, Bus, BusNext, CANCELLED_PER_POLL, LinkId, Load, Offer, RegisterError, Settings, Subject,
};
use liminal_proto::{ConversationId, Expects, Instant, ReasonCode, TimerReason, Wake};

/// What follows `step`, without its tickets' numbers being of interest.
macro_rules! follows {
    ($kit:ident, [$($line:expr),* $(,)?]) => {
        assert_eq!($kit.drain(), [$($line),*] as [&str; follows!(@count $($line),*)])
    };
    (@count $($line:expr),*) => { 0 $(+ { let _ = $line; 1 })* };
}

// Subjects.

#[test]
fn an_exact_subject_wins_over_any() {
    let mut bus = Bus::new(Settings::default());
    let any = bus.register(Subject::Any, Offer::Participant).unwrap();
    let exact = bus.register("a".into(), Offer::Participant).unwrap();
    let taken = Err(RegisterError::Taken("a".into()));
    assert_eq!(bus.register("a".into(), Offer::TraceOnly), taken);
    assert_eq!(bus.register(Subject::Any, Offer::TraceOnly), Err(RegisterError::Taken(Subject::Any)));
    let mut kit = Kit { bus, now: Instant::ORIGIN, tickets: Vec::new(), keys: Vec::new() };
    let link = kit.link();
    for (id, subject, offer) in [(1, "a", exact), (2, "b", any)] {
        kit.open(link, id, subject);
        let Some(BusNext::Run(_, invocation)) = kit.poll() else { panic!("no call") };
        assert_eq!(invocation.offer, offer);
    }
    assert_eq!(kit.bus.unregister(exact), Some("a".into()));
    assert_eq!(kit.bus.unregister(exact), None);
    kit.open(link, 3, "a");
    let Some(BusNext::Run(_, invocation)) = kit.poll() else { panic!("no call") };
    assert_eq!(invocation.offer, any, "the exact one is gone");
}

#[test]
fn openings_are_refused_for_their_reasons() {
    let mut kit = Kit::new(Settings { conversations_per_link_max: 2, ..Settings::default() });
    let link = kit.link();
    kit.open(link, 1, "nobody");
    follows!(kit, ["l1 c1 refused: nobody serves the subject"]);
    kit.open(link, 1, &"x".repeat(257));
    follows!(kit, ["l1 c1 refused: invalid name"]);
    kit.open(link, 1, "log");
    kit.open(link, 1, "log");
    follows!(kit, ["l1 c1 opened", "l1 c1 refused: conversation is already open"]);
    kit.open(link, 2, "log");
    kit.open(link, 3, "log");
    follows!(kit, ["l1 c2 opened", "l1 c3 refused: limit reached"]);
    kit.close(link, 1);
    kit.bus.stop(kit.now);
    kit.open(link, 3, "log");
    follows!(kit, ["l1 c1 ended", "l1 disconnect", "l1 c3 refused: server is stopping"]);
    kit.link();
    follows!(kit, ["l2 disconnect"]);
}

#[test]
fn a_conversation_without_a_participant_records_and_refuses_requests() {
    let mut kit = Kit::recording();
    let link = kit.link();
    kit.open(link, 1, "log");
    kit.message(link, 1, 1, Expects::Acceptance, "a");
    kit.ask(link, 1, 2, "b");
    kit.say(link, 1, 3, "c");
    kit.close(link, 1);
    follows!(
        kit,
        [
            "l1 c1 opened",
            "log1 r1 Message(1, 1 bytes)",
            "l1 c1 m1 accepted r1",
            "l1 c1 m2 refused: nobody serves the subject",
            "log1 r2 Message(3, 1 bytes)",
            "l1 c1 ended",
        ]
    );
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
}

#[test]
fn what_is_decided_can_be_taken_out_without_beginning_anything() {
    let mut kit = Kit::recording();
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.say(link, 1, 1, "a");
    let told = |next: Option<BusNext>| next.map(|next| tell(&next));
    assert_eq!(told(kit.bus.poll_output()).as_deref(), Some("log1 r1 Message(1, 1 bytes)"));
    assert_eq!(told(kit.bus.poll_output()), None, "the call waits for a poll");
    assert!(matches!(kit.poll(), Some(BusNext::Run(..))));
}

// Order.

#[test]
fn o2_o5_records_have_no_holes_and_messages_keep_their_order() {
    let mut kit = Kit::recording();
    let link = kit.link();
    kit.open(link, 7, "echo");
    kit.say(link, 7, 1, "a");
    kit.ask(link, 7, 2, "b");
    follows!(
        kit,
        ["log1 r1 Message(1, 1 bytes)", "log1 r2 Request(2, until 5s, 1 bytes)", "t1 p1 join echo"]
    );
    kit.answer_last(Answer::Joined);
    follows!(kit, ["log1 r3 Joined(1)", "l1 c7 opened by p1", "t2 p1 m1 r1 \"a\""]);
    kit.answer_last(Answer::Done);
    follows!(kit, ["t3 p1 m2 r2 \"b\"?"]);
    kit.answer_last(part("x"));
    kit.answer_last(reply("y"));
    kit.answer_last(Answer::Done);
    follows!(
        kit,
        [
            "log1 r4 Reply(to record 2, a part, 1 bytes)",
            "l1 c7 m2 part r4 \"x\"",
            "log1 r5 Reply(to record 2, 1 bytes)",
            "l1 c7 m2 reply r5 \"y\"",
        ]
    );
    kit.close(link, 7);
    follows!(kit, ["log1 r6 Left(1, Closed)", "l1 c7 ended", "t4 p1 leave Closed"]);
    kit.answer_last(Answer::Done);
    follows!(kit, []);
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
}

#[test]
fn o6_a_message_is_accepted_or_refused_and_says_why() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 9, 1, "to nobody");
    kit.message(link, 1, 2, Expects::Acceptance, "a");
    kit.close(link, 1);
    kit.say(link, 1, 3, "late");
    follows!(
        kit,
        [
            "l1 c9 m1 refused: conversation is not open",
            "l1 c1 m2 accepted r2",
            "l1 c1 m3 refused: conversation is closing",
            "t2 p1 m2 r2 \"a\"",
        ]
    );
}

#[test]
fn calls_of_a_conversation_come_one_at_a_time_and_links_take_turns() {
    let mut kit = Kit::new(Settings::default());
    let (a, b) = (kit.link(), kit.link());
    for id in 1..=3 {
        kit.open(a, id, "echo");
    }
    kit.open(b, 1, "echo");
    kit.say(b, 1, 1, "x");
    follows!(kit, ["t1 p1 join echo", "t2 p4 join echo", "t3 p2 join echo", "t4 p3 join echo"]);
}

// Life and death.

#[test]
fn l1_l2_an_exit_is_one_event_and_nothing_comes_after_it() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(part("x"));
    kit.answer_last(crash("boom"));
    kit.answer_last(reply("from the grave"));
    kit.answer_last(crash("again"));
    follows!(kit, ["l1 c1 m1 part r4 \"x\"", "l1 c1 p1 exited r5: crashed: boom"]);
    assert_eq!(kit.bus.counters().ignored_answers, 2);
    kit.pass(secs(100));
    follows!(kit, []);
}

// An exit that no call told of.

#[test]
fn an_exit_between_two_calls_is_told_at_once() {
    let (mut kit, link) = Kit::active();
    kit.exited(1, 1, "killed");
    kit.exited(1, 1, "again");
    kit.ask(link, 1, 1, "a");
    follows!(
        kit,
        [
            "l1 c1 p1 exited r2: crashed: killed",
            "l1 c1 m1 refused: the participant has exited (participant 1 has exited)",
        ]
    );
    assert_eq!((kit.bus.counters().exits, kit.bus.counters().ignored_exits), (1, 1));
}

#[test]
fn l2_l3_q3_an_exit_while_a_call_is_out_ends_its_requests_at_once_and_silences_it() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(part("x"));
    kit.exited(1, 1, "killed");
    assert_eq!((kit.bus.load().requests, kit.bus.load().held_bytes), (0, 0), "L5");
    kit.answer_last(reply("from the grave"));
    follows!(kit, ["l1 c1 m1 part r4 \"x\"", "t2 cancel", "l1 c1 p1 exited r5: crashed: killed"]);
    kit.close(link, 1);
    follows!(kit, ["l1 c1 ended"]);
    assert_eq!((kit.bus.load().running, kit.bus.load().conversations), (1, 1), "its seat is taken");
    kit.answer_last(crash("it says so, too"));
    follows!(kit, []);
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
    let counters = kit.bus.counters();
    assert_eq!((counters.exits, counters.ignored_exits, counters.ignored_answers), (1, 0, 2));
}

#[test]
fn an_exit_while_joining_is_an_exit_of_an_open_conversation() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.ask(link, 1, 1, "a");
    follows!(kit, ["t1 p1 join echo"]);
    kit.exited(1, 1, "killed");
    kit.answer_last(Answer::Joined);
    follows!(kit, ["t1 cancel", "l1 c1 opened by p1", "l1 c1 p1 exited r3: crashed: killed"]);
}

#[test]
fn an_exit_while_it_waits_or_completes_ends_that() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(secs(1)));
    kit.exited(1, 1, "killed");
    follows!(kit, ["l1 c1 p1 exited r3: crashed: killed"]);
    kit.pass(secs(2));
    follows!(kit, []);

    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.close(link, 1);
    kit.drain();
    kit.exited(1, 1, "killed");
    follows!(kit, ["t2 cancel", "l1 c1 p1 exited r3: crashed: killed", "l1 c1 ended"]);
    kit.answer_last(Answer::Done);
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
}

#[test]
fn l1_an_exit_after_the_leave_is_no_second_end() {
    for joined in [false, true] {
        let mut kit = Kit::recording();
        let link = kit.link();
        kit.open(link, 1, "echo");
        kit.drain();
        if joined {
            kit.answer_last(Answer::Joined);
            kit.say(link, 1, 1, "a");
            kit.drain();
        }
        kit.lose(link);
        if joined {
            follows!(kit, ["t2 cancel", "log1 r3 Left(1, OwnerLost)"]);
        } else {
            follows!(kit, ["t1 cancel"]);
        }
        kit.exited(1, 1, "killed");
        follows!(kit, []);
        kit.answer_last(Answer::Joined);
        follows!(kit, []);
        assert_eq!(kit.bus.load(), Load::default(), "there is nobody to call to leave");
        assert_eq!((kit.bus.counters().exits, kit.bus.counters().ignored_exits), (0, 0));
    }
}

#[test]
fn an_exit_during_its_last_call_or_of_somebody_else_is_counted_and_ignored() {
    let (mut kit, link) = Kit::active();
    kit.join(link, 2);
    kit.exited(1, 2, "another participant");
    kit.exited(2, 1, "another conversation");
    kit.close(link, 1);
    follows!(kit, ["l1 c1 ended", "t3 p1 leave Closed"]);
    kit.exited(1, 1, "gone");
    kit.answer_last(Answer::Done);
    kit.exited(1, 1, "gone");
    follows!(kit, []);
    assert_eq!((kit.bus.counters().exits, kit.bus.counters().ignored_exits), (0, 4));
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
}

#[test]
fn a_message_that_its_host_gave_to_nobody_before_the_exit_was_not_delivered() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.exited(1, 1, "killed");
    assert_eq!(kit.bus.counters().undelivered, 0, "the host may have given it");
    kit.answer_last(Answer::Busy);
    assert_eq!((kit.bus.counters().undelivered, kit.bus.counters().ignored_answers), (1, 1));

    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(secs(1)));
    kit.pass(secs(1));
    follows!(kit, ["t3 p1 wake"]);
    kit.exited(1, 1, "killed");
    kit.answer_last(Answer::Busy);
    assert_eq!(kit.bus.counters().undelivered, 0, "it had the message before it was woken");
}

#[test]
fn a_message_that_its_host_gave_to_nobody_before_the_end_was_not_delivered() {
    for (answer, undelivered) in [(Answer::Busy, 1), (Answer::Done, 0)] {
        let (mut kit, link) = Kit::active();
        kit.say(link, 1, 1, "a");
        kit.drain();
        kit.lose(link);
        follows!(kit, ["t2 cancel"]);
        kit.answer_last(answer);
        assert_eq!(kit.bus.counters().undelivered, undelivered);
    }
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.drain();
    kit.lose(link);
    follows!(kit, ["t1 cancel"]);
    kit.answer_last(Answer::Busy);
    assert_eq!(kit.bus.counters().undelivered, 0, "there was no message");
}

#[test]
fn l5_what_it_held_is_released_with_the_exit() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.drain();
    kit.answer_last(crash(""));
    let failed = Load { links: 1, conversations: 1, ..Load::default() };
    assert_eq!(kit.bus.load(), failed, "before anybody can read of the exit");
    assert_eq!(kit.bus.counters().undelivered, 1);
}

#[test]
fn l6_who_talks_to_the_dead_is_told_at_once_and_its_id_can_be_opened_again() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash("boom"));
    kit.ask(link, 1, 2, "b");
    follows!(
        kit,
        [
            "l1 c1 p1 exited r3: crashed: boom",
            "l1 c1 m2 refused: the participant has exited (participant 1 has exited)",
        ]
    );
    kit.open(link, 1, "echo");
    follows!(kit, ["t3 p2 join echo"]);
}

#[test]
fn closing_a_failed_conversation_ends_it() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash("boom"));
    kit.close(link, 1);
    kit.close(link, 1);
    follows!(kit, ["l1 c1 p1 exited r3: crashed: boom", "l1 c1 ended", "l1 c1 ended"]);
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
}

#[test]
fn a_crash_while_joining_is_an_exit_of_an_open_conversation() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(crash("boom"));
    follows!(kit, ["l1 c1 opened by p1", "l1 c1 p1 exited r3: crashed: boom"]);
}

#[test]
fn a_join_that_is_refused_ends_what_was_said_already() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.ask(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: Some("no".into()) });
    follows!(kit, ["l1 c1 m1 refused: not allowed (no)", "l1 c1 refused: not allowed (no)"]);
    assert_eq!(kit.bus.load(), Load { links: 1, ..Load::default() });
    kit.open(link, 1, "echo");
    kit.drain();
    kit.answer_last(Answer::Busy);
    follows!(kit, ["l1 c1 refused: busy"]);
}

#[test]
fn a_join_that_is_refused_stands_in_the_log() {
    let mut kit = Kit::recording();
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.drain();
    kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: Some("no".into()) });
    follows!(kit, ["log1 r1 JoinRefused(1, Some(\"no\"))", "l1 c1 refused: not allowed (no)"]);
}

#[test]
fn l3_a_lost_link_is_dead_at_once_and_cleaned_up_in_batches_between_other_work() {
    let mut kit = Kit::new(Settings::default());
    let (lost, other) = (kit.link(), kit.link());
    let count = CANCELLED_PER_POLL as u64 * 4;
    kit.join(other, 1);
    for id in 1..=count {
        kit.join(lost, id);
    }
    for id in 1..=count {
        kit.ask(lost, id, 1, "x");
    }
    kit.drain();
    let running: Vec<_> = kit.tickets.iter().rev().take(count as usize).copied().collect();
    kit.ask(lost, 1, 2, "y");
    kit.ask(lost, 2, 2, "y");
    kit.answer(running[0], reply("a"));
    kit.lose(lost);
    kit.ask(other, 1, 1, "neighbour");
    let first: Vec<String> = (0..=CANCELLED_PER_POLL).map(|_| tell(&kit.poll().unwrap())).collect();
    assert!(first.iter().any(|line| line.contains("neighbour")), "{first:?}");
    let rest = kit.drain();
    let all: Vec<&String> = first.iter().chain(&rest).collect();
    assert!(all.iter().all(|line| !line.starts_with("l1 ")), "nothing is told to the dead");
    assert_eq!(all.iter().filter(|line| line.ends_with("cancel")).count(), count as usize);
    for ticket in running {
        kit.answer(ticket, reply("late"));
        kit.answer(ticket, Answer::Done);
    }
    let leaving = kit.drain();
    assert_eq!(leaving.iter().filter(|line| line.ends_with("leave OwnerLost")).count(), count as usize);
    let tickets = std::mem::take(&mut kit.tickets);
    for ticket in tickets {
        kit.answer(ticket, Answer::Done);
    }
    kit.drain();
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
}

#[test]
fn l4_a_lost_owner_is_a_leave_and_no_exit() {
    let mut kit = Kit::recording();
    let link = kit.link();
    kit.join(link, 1);
    kit.open(link, 2, "echo");
    kit.drain();
    kit.lose(link);
    follows!(kit, ["log1 r2 Left(1, OwnerLost)", "t2 cancel", "t3 p1 leave OwnerLost"]);
    kit.answer_last(crash("while leaving"));
    let join = kit.tickets[1];
    kit.answer(join, Answer::Joined);
    follows!(kit, ["t4 p2 leave OwnerLost"]);
    kit.answer_last(Answer::Done);
    assert_eq!(kit.bus.load(), Load::default());
    kit.open(link, 3, "echo");
    follows!(kit, []);
}

#[test]
fn an_answer_between_the_loss_of_a_link_and_its_cleaning_up_starts_nothing() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.drain();
    kit.lose(link);
    kit.answer_last(reply("x"));
    kit.answer_last(Answer::Done);
    follows!(kit, ["t2 cancel", "t3 p1 leave OwnerLost"]);
    assert_eq!(kit.bus.counters().late_replies, 1);
}

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
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
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
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
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

// Bounds.

#[test]
fn r2_what_is_held_is_bounded_in_bytes_for_a_conversation_and_a_link() {
    let mut kit = Kit::new(Settings {
        held_bytes_per_conversation_max: 600,
        held_bytes_per_link_max: 1000,
        ..Settings::default()
    });
    let link = kit.link();
    for id in 1..=3 {
        kit.join(link, id);
    }
    let big = |id, message| says(id, message, Expects::Nothing, None, Bytes::from(vec![0; 236]));
    kit.event(link, says(1, 1, Expects::Nothing, None, Bytes::from(vec![0; 537])));
    follows!(kit, ["l1 c1 m1 refused: too large"]);
    for (id, message) in [(1, 2), (1, 3), (1, 4), (2, 1), (2, 2)] {
        kit.event(link, big(id, message));
    }
    let story = kit.drain();
    let refused: Vec<_> = story.iter().filter(|line| line.starts_with("l1")).collect();
    assert_eq!(refused, ["l1 c1 m4 refused: busy", "l1 c2 m2 refused: busy"]);
    assert_eq!(kit.bus.load().held_bytes, 900, "300 each: what is in hand counts until it returned");
    assert_eq!(Settings::charge(0), 256);
    assert_eq!(Settings::charge(64), 128);
}

#[test]
fn r2_a_message_that_just_fits_is_taken() {
    let mut kit = Kit::new(Settings {
        held_bytes_per_conversation_max: 600,
        held_bytes_per_link_max: 1000,
        ..Settings::default()
    });
    let link = kit.link();
    for id in 1..=3 {
        kit.join(link, id);
    }
    for (id, held) in [(1, 600), (2, 400)] {
        let payload = Bytes::from(vec![0; held - 64]);
        kit.event(link, says(id, 1, Expects::Acceptance, None, payload));
    }
    kit.message(link, 3, 1, Expects::Acceptance, "");
    let story = kit.drain();
    let told: Vec<_> = story.iter().filter(|line| line.starts_with("l1")).collect();
    assert_eq!(told, ["l1 c1 m1 accepted r2", "l1 c2 m1 accepted r2", "l1 c3 m1 refused: busy"]);
    assert_eq!(kit.bus.load().held_bytes, 1000);
}

#[test]
fn r2_what_a_link_holds_is_told_when_it_has_changed_by_a_step() {
    let mut kit = Kit::new(Settings::default());
    let (large, small) = (kit.link(), kit.link());
    for link in [large, small] {
        kit.join(link, 1);
    }
    let step = Settings::HELD_STEP;
    let says = |message, len| says(1, message, Expects::Nothing, None, Bytes::from(vec![0; len]));
    kit.event(small, says(1, step - Settings::charge(0)));
    kit.event(large, says(1, step));
    kit.event(large, says(2, step));
    let held = 2 * Settings::charge(step);
    assert_eq!((kit.bus.poll_held(), kit.bus.poll_held()), (Some((large, held)), None));
    kit.event(large, says(3, step / 2));
    assert_eq!(kit.bus.poll_held(), None, "half a step");
    kit.event(large, says(4, step / 2));
    assert_eq!(kit.bus.poll_held(), Some((large, held + 2 * Settings::charge(step / 2))));
    kit.drain();
    for _ in 0..5 {
        kit.answer_last(Answer::Done);
        kit.answer(kit.tickets[2], Answer::Done);
        kit.drain();
    }
    let told = std::iter::from_fn(|| kit.bus.poll_held()).last();
    assert_eq!((told, kit.bus.load().held_bytes), (Some((large, 0)), 0));
    kit.event(large, says(5, 2 * step));
    kit.lose(large);
    kit.drain();
    kit.answer_last(Answer::Done);
    kit.drain();
    kit.answer_last(Answer::Done);
    kit.drain();
    assert_eq!((kit.bus.poll_held(), kit.bus.load().links), (None, 1), "nothing is told of who is gone");
}

#[test]
fn a_full_link_has_no_calls_started_and_goes_on_where_it_was() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "a");
    kit.ask(link, 1, 2, "b");
    kit.drain();
    let running = *kit.tickets.last().unwrap();
    assert!(kit.bus.has_room(running));
    kit.bus.link_full(link);
    assert!(!kit.bus.has_room(running));
    kit.answer_last(reply("x"));
    kit.answer_last(Answer::Done);
    follows!(kit, ["l1 c1 m1 reply r4 \"x\""]);
    kit.bus.link_full(link);
    follows!(kit, []);
    kit.bus.link_ready(link);
    kit.bus.link_ready(link);
    follows!(kit, ["t3 p1 m2 r3 \"b\"?"]);
}

#[test]
fn a_link_that_is_lost_while_it_is_full_has_its_participants_leave() {
    let (mut kit, link) = Kit::active();
    kit.bus.link_full(link);
    kit.say(link, 1, 1, "a");
    follows!(kit, []);
    kit.lose(link);
    follows!(kit, ["t2 p1 leave OwnerLost"]);
    kit.answer_last(Answer::Done);
    assert_eq!(kit.bus.load(), Load::default());
}

#[test]
fn everything_that_happens_is_counted_once() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    for id in [1, 2] {
        kit.open(link, 9, "nobody");
        kit.open(link, 9, "echo");
        kit.drain();
        kit.answer_last(reply("before anybody asked"));
        kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None });
        kit.say(link, 9, 1, "to nobody");
        kit.join(link, id);
        kit.ask(link, id, 1, "answered");
        kit.drain();
        let ticket = *kit.tickets.last().unwrap();
        kit.bus.answers(kit.now, ticket, [reply("x"), reply("late"), Answer::Done, reply("without a call")]);
        kit.say(link, id, 2, "a note");
        kit.drain();
        [part("unasked"), reply("unasked"), Answer::Done]
            .into_iter()
            .for_each(|answer| kit.answer_last(answer));
        kit.ask(link, id, 3, "in hand");
        kit.ask(link, id, 4, "behind it");
        kit.drain();
        kit.pass(secs(5));
        kit.answer_last(Answer::Done);
        kit.exited(2, 99, "is not there");
        kit.say(link, id, 5, "kills");
        kit.drain();
        kit.answer_last(crash(""));
        kit.say(link, id, 6, "to the dead");
        kit.drain();
    }
    let counters = kit.bus.counters();
    assert_eq!((counters.opens, counters.opens_refused), (6, 4));
    assert_eq!((counters.messages, counters.messages_refused), (10, 4));
    assert_eq!((counters.replies, counters.late_replies, counters.unasked_replies), (2, 2, 6));
    assert_eq!((counters.ignored_answers, counters.ignored_exits), (2, 2));
    assert_eq!((counters.deadlines, counters.exits, counters.undelivered), (4, 2, 2));
}

#[test]
fn a_wait_that_is_over_while_its_link_is_full_wakes_nobody() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "a");
    kit.drain();
    kit.answer_last(Answer::WakeAfter(secs(1)));
    kit.bus.link_full(link);
    kit.pass(secs(1));
    assert_eq!(kit.wake(), Wake::Never);
    kit.bus.link_ready(link);
    follows!(kit, ["t3 p1 wake"]);
}

#[test]
fn a_message_costs_the_same_at_the_four_thousandth_as_at_the_first() {
    let (mut kit, link) = Kit::active();
    let mut loads = Vec::new();
    for message in 1..=4000 {
        kit.ask(link, 1, message, "a");
        assert_eq!(kit.drain().len(), 1);
        loads.push(kit.bus.load());
        kit.answer_last(reply("b"));
        kit.answer_last(Answer::Done);
        assert_eq!(kit.drain().len(), 1);
    }
    assert!(loads.iter().all(|load| *load == loads[0]));
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, ..Load::default() });
}

#[test]
fn a_subject_above_name_max_is_refused_and_cannot_be_registered() {
    let mut kit = Kit::new(Settings { name_max: 4, ..Settings::default() });
    let link = kit.link();
    kit.open(link, 1, "echoo");
    follows!(kit, ["l1 c1 refused: invalid name"]);
    assert!(kit.bus.register("12345".into(), Offer::Participant).is_err());
    kit.join(link, 2);
}

#[test]
fn times_that_an_asker_names_are_kept_between_time_min_and_time_max() {
    let settings =
        Settings { time_min: secs(2), time_max: secs(4), reply_time: secs(60), ..Settings::default() };
    for (named, kept) in [(0, 2), (1, 2), (3, 3), (1000, 4)] {
        let mut kit = Kit::new(settings.clone());
        let link = kit.link();
        kit.join(link, 1);
        kit.event(link, says(1, 1, Expects::Reply, Some(secs(named)), Bytes::new()));
        kit.drain();
        let due = Instant::ORIGIN.after(secs(kept));
        assert_eq!(kit.wake(), Wake::At(due, TimerReason::Deadline), "{named} s were named");
    }
}

#[test]
fn texts_of_exits_are_cut_at_a_character() {
    let mut kit = Kit::new(Settings { text_max: 4, ..Settings::default() });
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.drain();
    kit.answer_last(crash("aéöü"));
    follows!(kit, ["l1 c1 opened by p1", "l1 c1 p1 exited r2: crashed: aé"]);
}

#[test]
fn an_earlier_now_counts_as_the_latest_one() {
    let (mut kit, link) = Kit::active();
    kit.pass(secs(10));
    kit.now = Instant::ORIGIN;
    kit.ask(link, 1, 1, "a");
    kit.now = Instant::ORIGIN.after(secs(10));
    kit.drain();
    assert_eq!(kit.wake(), Wake::At(Instant::ORIGIN.after(secs(15)), TimerReason::Deadline));
}

#[test]
fn the_owner_of_a_conversation_is_known_until_it_is_over() {
    let (mut kit, link) = Kit::active();
    let key = kit.keys[0];
    assert_eq!(kit.bus.owner(key), Some((link, ConversationId::new(1))));
    kit.close(link, 1);
    kit.drain();
    kit.answer_last(Answer::Done);
    assert_eq!(kit.bus.owner(key), None);
}

/// Who leaves is told so by a host that is full, too, as soon as that has a seat; its slot is taken until then.
#[test]
fn l1_one_whose_host_is_full_is_told_later_that_it_has_left() {
    for lost in [false, true] {
        let (mut kit, link) = Kit::active();
        let leave = if lost { "p1 leave OwnerLost" } else { "p1 leave Closed" };
        if lost {
            kit.lose(link);
            assert_eq!(kit.drain(), [format!("t2 {leave}")]);
        } else {
            kit.close(link, 1);
            assert_eq!(kit.drain(), ["l1 c1 ended".to_owned(), format!("t2 {leave}")]);
        }
        for ticket in [3, 4] {
            kit.answer_last(Answer::Busy);
            follows!(kit, []);
            assert_eq!(kit.bus.load().conversations, 1, "its slot is not free");
            kit.pass(Settings::default().busy_time);
            assert_eq!(kit.drain(), [format!("t{ticket} {leave}")]);
        }
        kit.answer_last(Answer::Done);
        follows!(kit, []);
        let links = usize::from(!lost);
        assert_eq!(kit.bus.load(), Load { links, ..Load::default() });
    }
}

/// Its death is another way to be told.
#[test]
fn l1_one_that_dies_while_its_host_is_full_is_not_told_that_it_has_left() {
    let (mut kit, link) = Kit::active();
    kit.lose(link);
    kit.drain();
    kit.answer_last(Answer::Busy);
    kit.exited(1, 1, "killed");
    follows!(kit, []);
    assert_eq!(kit.bus.load(), Load::default());
}

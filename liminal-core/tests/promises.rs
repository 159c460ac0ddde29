//! What the bus promises, one story each. The ids are those of the promises.

#[macro_use]
mod kit;

use kit::{Kit, crash, part, reply, secs, tell};
use liminal_core::{Answer, Bus, BusNext, CANCELLED_PER_POLL, Load, Offer, RegisterError, Settings, Subject};
use liminal_proto::{Expects, ReasonCode};

// Subjects.

#[test]
fn an_exact_subject_wins_over_any() {
    let mut bus = Bus::new(Settings::default());
    let any = bus.register(Subject::Any, Offer::Participant).unwrap();
    let exact = bus.register("a".into(), Offer::Participant).unwrap();
    let taken = Err(RegisterError::Taken("a".into()));
    assert_eq!(bus.register("a".into(), Offer::TraceOnly), taken);
    assert_eq!(bus.register(Subject::Any, Offer::TraceOnly), Err(RegisterError::Taken(Subject::Any)));
    let mut kit = Kit { bus, ..Kit::new(Settings::default()) };
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
            "log1 is c1 of l1",
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
    assert_eq!(told(kit.bus.poll_output()).as_deref(), Some("log1 is c1 of l1"));
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
        [
            "log1 is c7 of l1",
            "log1 r1 Message(1, 1 bytes)",
            "log1 r2 Request(2, until 5s, 1 bytes)",
            "t1 p1 join echo"
        ]
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
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, participants: 1, ..Load::default() });
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
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, participants: 1, ..Load::default() });
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

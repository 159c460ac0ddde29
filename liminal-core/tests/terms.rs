//! What an opener may say of its conversation: what becomes of it after an exit, and how long it may last.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

#[macro_use]
mod kit;

use std::time::Duration;

use kit::{Kit, bus, crash, reply, secs};
use liminal_core::{Answer, CrashPolicy, LinkId, Settings};
use liminal_proto::{ConversationId, Event, OnExit, Terms};

fn open_on(kit: &mut Kit, link: LinkId, id: u64, subject: &str, terms: Terms) {
    kit.event(link, Event::Open { conversation: ConversationId::new(id), subject: subject.into(), terms });
}

/// A bus with conversation 1 on "echo", whose participant has joined, on these terms.
fn joined(terms: Terms, settings: Settings) -> (Kit, LinkId) {
    let mut kit = Kit::new(settings);
    let link = kit.link();
    open_on(&mut kit, link, 1, "echo", terms);
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    (kit, link)
}

#[test]
fn the_opener_says_what_becomes_of_its_conversation_after_an_exit() {
    let cases = [
        (OnExit::AsServed, CrashPolicy::Fail, false),
        (OnExit::AsServed, CrashPolicy::RouteToNext, true),
        (OnExit::Fail, CrashPolicy::RouteToNext, false),
        (OnExit::Next, CrashPolicy::Fail, true),
    ];
    for (on_exit, set, goes_on) in cases {
        let (mut kit, _) = bus(2, set.clone(), Settings::default());
        let link = kit.link();
        open_on(&mut kit, link, 1, "work", Terms { on_exit, ..Terms::default() });
        kit.drain();
        kit.answer_last(Answer::Joined);
        kit.drain();
        kit.ask(link, 1, 1, "question");
        kit.drain();
        kit.answer_last(crash("boom"));
        let told = kit.drain();
        assert_eq!(told[0].ends_with("goes on"), goes_on, "{on_exit:?} where {set:?} is set: {told:?}");
    }
}

#[test]
fn a_conversation_lasts_no_longer_than_its_opener_said() {
    let total = Some(secs(10));
    let (mut kit, link) = joined(Terms { total, ..Terms::default() }, Settings::default());
    kit.pass(secs(9));
    kit.ask(link, 1, 1, "question");
    follows!(kit, ["t2 p1 m1 r2 \"question\"?"]);
    kit.pass(secs(1));
    follows!(kit, ["l1 c1 m1 deadline", "t2 cancel", "l1 c1 ended"]);
    kit.answer_last(Answer::Done);
    follows!(kit, ["t3 p1 leave Closed"]);
}

#[test]
fn a_conversation_in_which_nothing_is_said_for_so_long_ends() {
    let idle = Some(secs(10));
    let (mut kit, link) = joined(Terms { idle, ..Terms::default() }, Settings::default());
    kit.pass(secs(9));
    kit.ask(link, 1, 1, "question");
    kit.drain();
    kit.answer_last(reply("answer"));
    kit.answer_last(Answer::Done);
    kit.drain();
    kit.pass(secs(10) - Duration::from_nanos(1));
    follows!(kit, []);
    kit.pass(Duration::from_nanos(1));
    follows!(kit, ["l1 c1 ended", "t3 p1 leave Closed"]);
}

#[test]
fn what_is_under_way_is_not_idle() {
    let terms = Terms { idle: Some(secs(1)), ..Terms::default() };
    let (mut kit, link) = joined(terms, Settings::default());
    kit.ask(link, 1, 1, "question");
    kit.drain();
    kit.pass(secs(4));
    kit.answer_last(reply("late, but in time"));
    kit.answer_last(Answer::Done);
    follows!(kit, ["l1 c1 m1 reply r3 \"late, but in time\""]);
    kit.pass(secs(1));
    follows!(kit, ["l1 c1 ended", "t3 p1 leave Closed"]);
}

#[test]
fn one_that_only_records_and_one_that_has_failed_end_with_their_time_too() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    open_on(&mut kit, link, 1, "log", Terms { idle: Some(secs(1)), ..Terms::default() });
    open_on(&mut kit, link, 2, "echo", Terms { total: Some(secs(2)), ..Terms::default() });
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.answer_last(Answer::Done);
    kit.exited(2, 1, "boom");
    kit.drain();
    kit.pass(secs(1));
    follows!(kit, ["l1 c1 ended"]);
    kit.pass(secs(1));
    follows!(kit, ["l1 c2 ended"]);
    assert_eq!(kit.bus.load().conversations, 0);
}

#[test]
fn the_bus_has_limits_of_its_own_which_no_opener_exceeds() {
    let settings = Settings {
        conversation_time_max: Some(secs(10)),
        conversation_idle_time_max: Some(secs(5)),
        ..Settings::default()
    };
    let named = Terms { total: Some(secs(60)), idle: Some(secs(60)), ..Terms::default() };
    for terms in [Terms::default(), named] {
        let (mut kit, link) = joined(terms, settings.clone());
        kit.pass(secs(4));
        kit.say(link, 1, 1, "still here");
        kit.drain();
        kit.answer_last(Answer::Done);
        kit.drain();
        kit.pass(secs(5));
        follows!(kit, ["l1 c1 ended", "t3 p1 leave Closed"]);
    }
}

#[test]
fn a_time_of_nothing_is_a_mistake_and_raised() {
    let (mut kit, _) = joined(Terms { total: Some(Duration::ZERO), ..Terms::default() }, Settings::default());
    follows!(kit, []);
    kit.pass(Duration::from_millis(1));
    follows!(kit, ["l1 c1 ended", "t2 p1 leave Closed"]);
}

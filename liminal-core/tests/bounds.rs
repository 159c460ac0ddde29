//! The bounds of the bus, and what it counts, one story each. The ids are those of the promises.

#[macro_use]
mod kit;

use bytes::Bytes;
use kit::{Kit, crash, part, reply, says, secs};
use liminal_core::{Answer, Load, Offer, Settings};
use liminal_proto::{Expects, Instant, ReasonCode, TimerReason, Wake};

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
    assert_eq!(kit.bus.load(), Load { links: 1, conversations: 1, participants: 1, ..Load::default() });
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

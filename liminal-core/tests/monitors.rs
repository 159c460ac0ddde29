//! Monitors: who is told how the participants of a conversation live and die. One story each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

#[macro_use]
mod kit;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kit::{Kit, bus, crash, part, reply, secs};
use liminal_core::{Answer, BusNext, CANCELLED_PER_POLL, Command, CrashPolicy, LinkId, Rights, Settings};
use liminal_proto::{CloseReason, ConversationId, Event, LinkError, Notice, StreamId};

/// Link 1 with conversation 1, whose participant is 1, and link 2, which monitors it on stream 1.
fn monitored() -> (Kit, LinkId, LinkId) {
    monitored_with(Settings::default())
}

fn monitored_with(settings: Settings) -> (Kit, LinkId, LinkId) {
    let mut kit = Kit::new(settings);
    let (owner, link) = (kit.link(), kit.observer());
    kit.join(owner, 1);
    kit.monitor(link, 1, 1);
    follows!(kit, ["l2 s1 monitoring"]);
    (kit, owner, link)
}

#[test]
fn l3_an_exit_is_told_to_the_owner_and_to_who_monitors_and_so_is_the_end() {
    let (mut kit, owner, _) = monitored();
    kit.ask(owner, 1, 7, "question");
    follows!(kit, ["t2 p1 m7 r2 \"question\"?"]);
    kit.answer_last(crash("boom"));
    follows!(kit, ["l1 c1 p1 exited r3: crashed: boom", "l2 s1 p1 exited r3: crashed: boom, r2 open"]);
    kit.close(owner, 1);
    follows!(kit, ["l1 c1 ended", "l2 s1 ended"]);
    assert_eq!((kit.bus.load().monitors, kit.bus.load().conversations), (0, 0));
}

#[test]
fn a_pid_is_that_of_this_bus_whatever_another_bus_calls_whom_it_invites() {
    let (mut kit, _, link) = monitored();
    let other = kit.link();
    let (conversation, pid) = (ConversationId::new(2), liminal_proto::Pid::new(1));
    kit.event(other, Event::Invite { conversation, pid, subject: "echo".into() });
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.exited(2, 1, "boom");
    kit.drain();
    assert_eq!((kit.bus.load(), kit.bus.load().participants), (kit.bus.recount(), 1));
    kit.event(link, Event::Unmonitor { monitor: StreamId::new(1) });
    kit.drain();
    kit.monitor(link, 3, 1);
    follows!(kit, ["l2 s3 monitoring"]);
}

#[test]
fn a_conversation_that_is_closed_or_loses_its_owner_says_which() {
    let (mut kit, owner, _) = monitored();
    kit.close(owner, 1);
    follows!(kit, ["l1 c1 ended", "l2 s1 ended", "t2 p1 leave Closed"]);
    kit.answer_last(Answer::Done);
    let (mut kit, owner, _) = monitored();
    kit.lose(owner);
    follows!(kit, ["l2 s1 cancelled", "t2 p1 leave OwnerLost"]);
    let (mut kit, owner, _) = monitored();
    kit.event(owner, Event::Cancel { conversation: ConversationId::new(1) });
    follows!(kit, ["l1 c1 ended", "l2 s1 cancelled", "t2 p1 leave OwnerLost"]);
    // One that has failed is over when its owner is gone, or wants its id again.
    let (mut kit, owner, _) = monitored();
    kit.exited(1, 1, "killed");
    follows!(kit, ["l1 c1 p1 exited r2: crashed: killed", "l2 s1 p1 exited r2: crashed: killed"]);
    kit.lose(owner);
    follows!(kit, ["l2 s1 cancelled"]);
    let (mut kit, owner, _) = monitored();
    kit.exited(1, 1, "killed");
    kit.drain();
    kit.open(owner, 1, "echo");
    follows!(kit, ["l2 s1 ended", "t2 p2 join echo"]);
}

#[test]
fn what_is_said_is_not_told() {
    let (mut kit, owner, _) = monitored();
    kit.ask(owner, 1, 7, "question");
    kit.say(owner, 1, 8, "word");
    kit.drain();
    kit.answer_last(part("a"));
    kit.answer_last(reply("b"));
    kit.answer_last(Answer::Done);
    let story = kit.drain();
    assert!(story.iter().all(|line| !line.starts_with("l2")), "{story:?}");
}

#[test]
fn where_a_conversation_goes_on_every_life_is_told_in_the_order_of_the_log() {
    let (mut kit, _) = bus(2, CrashPolicy::RouteToNext, Settings::default());
    let (owner, link) = (kit.link(), kit.observer());
    kit.open(owner, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.ask(owner, 1, 7, "one");
    kit.ask(owner, 1, 8, "two");
    kit.monitor(link, 1, 1);
    kit.drain();
    kit.answer_last(crash("boom"));
    follows!(
        kit,
        [
            "l1 c1 p1 exited r4: crashed: boom, goes on",
            "l2 s1 p1 exited r4: crashed: boom, goes on, r2 open, r3 open",
            "t3 p2 join work",
        ]
    );
    kit.answer_last(Answer::Joined);
    follows!(kit, ["l1 c1 joined by p2", "l2 s1 joined by p2", "t4 p2 m7 r2 \"one\"? again 1"]);
    kit.answer_last(part("half an answer"));
    kit.answer_last(crash("again"));
    let story = kit.drain();
    assert!(
        story.contains(&"l2 s1 p2 exited r7: crashed: again, goes on, r2 open, r3 open".to_owned()),
        "{story:?}"
    );
}

#[test]
fn that_nobody_takes_the_place_is_told() {
    let (mut kit, offers) = bus(1, CrashPolicy::RouteToNext, Settings::default());
    let (owner, link) = (kit.link(), kit.observer());
    kit.open(owner, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.monitor(link, 1, 1);
    kit.drain();
    kit.bus.unregister(offers[0]);
    kit.ask(owner, 1, 7, "anybody?");
    kit.drain();
    kit.answer_last(crash("boom"));
    kit.drain();
    kit.pass(secs(5));
    follows!(kit, ["l1 c1 failed", "l2 s1 failed"]);
}

#[test]
fn l6_who_monitors_the_dead_is_told_so_at_once() {
    let (mut kit, owner, link) = monitored();
    kit.exited(1, 1, "killed");
    kit.monitor(link, 3, 1);
    let story = kit.drain();
    assert!(story.contains(&"l2 s3 not monitoring: the participant has exited".to_owned()), "{story:?}");
    kit.monitor(link, 5, 99);
    follows!(kit, ["l2 s5 not monitoring: the participant has exited"]);
    kit.join(owner, 2);
    kit.close(owner, 2);
    kit.monitor(link, 7, 2);
    let story = kit.drain();
    assert_eq!(story[0], "l1 c2 ended");
    assert!(story.contains(&"l2 s7 not monitoring: the participant has exited".to_owned()), "{story:?}");
    // It has been called to join and has not: nobody could know it.
    kit.open(owner, 3, "echo");
    kit.monitor(link, 9, 3);
    kit.drain();
    assert_eq!((kit.bus.load().monitors, kit.bus.counters().monitors_refused), (1, 4));
}

/// The bus learns of both in one step: whoever asks in the next finds it dead.
#[test]
fn l6_a_participant_on_a_lost_link_is_dead_before_anything_is_cleaned_up() {
    let mut kit = Kit::new(Settings::default());
    let (owner, serving, link) = (kit.link(), kit.link(), kit.observer());
    kit.event(serving, Event::Serve { offer: StreamId::new(1), subject: Some("work".into()), capacity: 8 });
    kit.open(owner, 1, "work");
    kit.drain();
    kit.event(serving, Event::Opened { conversation: ConversationId::new(2), pid: None });
    follows!(kit, ["l1 c1 opened by p1"]);
    kit.event(serving, Event::Closed(CloseReason::Link(LinkError::Reset)));
    kit.monitor(link, 1, 1);
    follows!(
        kit,
        ["l1 c1 p1 exited r2: lost its connection", "l3 s1 not monitoring: the participant has exited"]
    );
}

#[test]
fn l7_linked_twice_is_linked_once() {
    let (mut kit, _, link) = monitored();
    kit.monitor(link, 3, 1);
    follows!(kit, ["l2 s3 not monitoring: conversation is already open"]);
    let other = kit.observer();
    kit.monitor(other, 1, 1);
    follows!(kit, ["l3 s1 monitoring"]);
    kit.exited(1, 1, "killed");
    follows!(
        kit,
        [
            "l1 c1 p1 exited r2: crashed: killed",
            "l2 s1 p1 exited r2: crashed: killed",
            "l3 s1 p1 exited r2: crashed: killed"
        ]
    );
}

/// A link that monitors a conversation which goes on with others, and does not say that it was told anything.
fn undrained_with(settings: Settings) -> (Kit, LinkId, LinkId) {
    let (mut kit, _) = bus(2, CrashPolicy::RouteToNext, settings);
    kit.drains = false;
    let (owner, link) = (kit.link(), kit.observer());
    kit.open(owner, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.monitor(link, 1, 1);
    (kit, owner, link)
}

/// Whoever is told that a participant is monitored already has been told before that it joined.
#[test]
fn the_answer_that_a_conversation_is_monitored_stands_behind_what_is_told_of_it() {
    let (mut kit, owner, link) = undrained_with(Settings::default());
    kit.ask(owner, 1, 7, "one");
    kit.drain();
    kit.answer_last(crash("boom"));
    kit.bus.poll_output();
    kit.monitor(link, 3, 2);
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.monitor(link, 5, 2);
    follows!(
        kit,
        [
            "l1 c1 joined by p2",
            "l2 s1 joined by p2",
            "l2 s5 not monitoring: conversation is already open",
            "t4 p2 m7 r2 \"one\"? again 1"
        ]
    );
}

#[test]
fn an_answer_that_finds_no_room_behind_what_waits_does_not_say_what_was_not_told_yet() {
    let settings =
        Settings { notice_bytes_per_link_max: 256, delivered_bytes_per_link_max: 1, ..Settings::default() };
    let (mut kit, owner, link) = undrained_with(settings);
    kit.drain();
    kit.exited(1, 1, "");
    kit.ask(owner, 1, 7, "one");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.monitor(link, 3, 2);
    let story = kit.drain();
    let told: Vec<_> = story.iter().filter(|line| line.starts_with("l2")).collect();
    assert_eq!(told, ["l2 s3 not monitoring: busy"]);
}

#[test]
fn l7_after_unmonitored_nothing_is_told() {
    let (mut kit, _, link) = monitored();
    kit.exited(1, 1, "killed");
    kit.unmonitor(link, 1);
    follows!(kit, ["l1 c1 p1 exited r2: crashed: killed", "l2 s1 unmonitored"]);
    kit.unmonitor(link, 1);
    kit.unmonitor(link, 99);
    follows!(kit, []);
    assert_eq!((kit.bus.load().monitors, kit.bus.load().waiting_bytes), (0, 0));
    // Of the living as well, and then it may be monitored again.
    let (mut kit, _, link) = monitored();
    kit.unmonitor(link, 1);
    kit.monitor(link, 3, 1);
    follows!(kit, ["l2 s1 unmonitored", "l2 s3 monitoring"]);
    kit.exited(1, 1, "killed");
    let story = kit.drain();
    assert_eq!(story.iter().filter(|line| line.starts_with("l2 ")).count(), 1, "{story:?}");
}

#[test]
fn a_monitor_that_is_taken_back_with_its_last_notice_waiting_is_no_more() {
    let (mut kit, owner, link) =
        monitored_with(Settings { delivered_bytes_per_link_max: 1, ..Settings::default() });
    kit.drains = false;
    kit.exited(1, 1, "killed");
    kit.close(owner, 1);
    let story = kit.drain();
    assert_eq!(story.last().map(String::as_str), Some("l2 s1 p1 exited r2: crashed: killed"));
    assert_eq!((kit.bus.load().monitors, kit.bus.load().conversations), (1, 0));
    kit.unmonitor(link, 1);
    follows!(kit, ["l2 s1 unmonitored"]);
    kit.bus.link_drained(link);
    follows!(kit, []);
    assert_eq!((kit.bus.load().monitors, kit.bus.load().waiting_bytes), (0, 0));
}

#[test]
fn monitors_go_with_their_link() {
    let (mut kit, owner, link) = monitored();
    kit.join(owner, 2);
    kit.monitor(link, 3, 2);
    kit.watch(link, 5, None);
    kit.drain();
    assert_eq!(kit.bus.load().monitors, 3);
    kit.lose(link);
    kit.exited(1, 1, "killed");
    follows!(kit, ["l1 c1 p1 exited r2: crashed: killed"]);
    assert_eq!((kit.bus.load().monitors, kit.bus.load().links), (0, 1));
    let another = kit.observer();
    kit.monitor(another, 1, 2);
    follows!(kit, ["l3 s1 monitoring"]);
}

// Who may, and how many.

#[test]
fn without_the_right_nobody_monitors_or_watches() {
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.link());
    kit.join(owner, 1);
    kit.monitor(link, 1, 1);
    kit.watch(link, 3, None);
    kit.monitor(link, 5, 99);
    follows!(
        kit,
        [
            "l2 s1 not monitoring: not allowed",
            "l2 s3 not monitoring: not allowed",
            "l2 s5 not monitoring: not allowed"
        ]
    );
    kit.bus.grant(link, Rights::MONITOR);
    kit.monitor(link, 7, 1);
    follows!(kit, ["l2 s7 monitoring"]);
    kit.bus.grant(link, Rights::default());
    kit.monitor(link, 9, 1);
    follows!(kit, ["l2 s9 not monitoring: not allowed"]);
}

#[test]
fn a_bus_that_stops_takes_no_monitor() {
    let (mut kit, _, link) = monitored();
    kit.bus.stop(kit.now);
    kit.monitor(link, 3, 1);
    kit.watch(link, 5, None);
    follows!(
        kit,
        [
            "l1 disconnect",
            "l2 disconnect",
            "l2 s3 not monitoring: server is stopping",
            "l2 s5 not monitoring: server is stopping"
        ]
    );
}

#[test]
fn monitors_per_link_max() {
    let settings = Settings { monitors_per_link_max: 2, ..Settings::default() };
    let (mut kit, owner, link) = monitored_with(settings);
    for id in [2, 3] {
        kit.join(owner, id);
    }
    kit.monitor(link, 3, 2);
    kit.monitor(link, 5, 3);
    follows!(kit, ["l2 s3 monitoring", "l2 s5 not monitoring: limit reached"]);
    kit.unmonitor(link, 3);
    kit.monitor(link, 7, 3);
    follows!(kit, ["l2 s3 unmonitored", "l2 s7 monitoring"]);
}

#[test]
fn monitors_per_conversation_max() {
    let settings = Settings { monitors_per_conversation_max: 2, ..Settings::default() };
    let (mut kit, _, link) = monitored_with(settings);
    let [second, third] = [(); 2].map(|()| kit.observer());
    kit.monitor(second, 1, 1);
    kit.monitor(third, 1, 1);
    follows!(kit, ["l3 s1 monitoring", "l4 s1 not monitoring: limit reached"]);
    kit.lose(link);
    kit.drain();
    kit.monitor(third, 3, 1);
    follows!(kit, ["l4 s3 monitoring"]);
}

/// Exits cannot be left out, and so who does not keep up with them is told that it is monitoring no more.
#[test]
fn notice_bytes_per_link_max() {
    let settings = Settings {
        notice_bytes_per_link_max: 3 * 256,
        delivered_bytes_per_link_max: 1,
        ..Settings::default()
    };
    let mut kit = Kit::new(settings);
    kit.drains = false;
    let (owner, link) = (kit.link(), kit.observer());
    for id in 1..=5 {
        kit.join(owner, id);
        kit.monitor(link, 2 * u32::try_from(id).unwrap() - 1, id);
    }
    kit.drain();
    for pid in 1..=5 {
        kit.exited(pid, pid, "");
    }
    let story = kit.drain();
    let told: Vec<_> = story.iter().filter(|line| line.starts_with("l2")).collect();
    assert_eq!(
        told,
        ["l2 s7 not monitoring: too slow", "l2 s9 not monitoring: too slow", "l2 s1 p1 exited r2: crashed"]
    );
    assert_eq!((kit.bus.load().monitors, kit.bus.counters().monitors_given_up), (3, 2));
    assert_eq!(kit.bus.load().waiting_bytes, 2 * 256);
    kit.drains = true;
    kit.bus.link_drained(link);
    follows!(kit, ["l2 s3 p2 exited r2: crashed", "l2 s5 p3 exited r2: crashed"]);
    // Who was given up may monitor again, and is told of no conversation twice.
    kit.close(owner, 4);
    follows!(kit, ["l1 c4 ended"]);
}

#[test]
fn what_waits_for_a_link_counts_to_what_is_held_for_it() {
    let (mut kit, owner, link) =
        monitored_with(Settings { delivered_bytes_per_link_max: 1, ..Settings::default() });
    kit.drains = false;
    kit.watch(link, 3, None);
    kit.drain();
    let large = Bytes::from(vec![7; Settings::HELD_STEP]);
    for number in [1, 2] {
        let message = kit::says(1, number, liminal_proto::Expects::Nothing, None, large.clone());
        kit.event(owner, message);
    }
    kit.drain();
    let waits = kit.bus.load().waiting_bytes;
    assert!(waits > Settings::HELD_STEP, "{waits}");
    let told: BTreeMap<LinkId, usize> = std::iter::from_fn(|| kit.bus.poll_held()).collect();
    assert_eq!(told.get(&link), Some(&waits));
    assert_eq!(kit.bus.held_bytes(link), 0, "its own messages are counted apart");
}

// Many at a time.

/// Everything until it waits, without a look at the accounts for each of so many.
fn spin(kit: &mut Kit) {
    loop {
        match kit.bus.poll() {
            BusNext::Wait(_) => return,
            BusNext::Command(link, command) if command.is_looked_on() => kit.bus.link_drained(link),
            BusNext::Run(ticket, _) => kit.tickets.push(ticket),
            _ => {}
        }
    }
}

/// L3: ten thousand participants that are monitored die at once, with the link that they were on. Every link is told
/// of each once; between two batches of that the work of others goes on, and none of it costs more for there being so
/// many.
#[test]
fn l3_the_death_of_ten_thousand_is_told_in_batches_between_the_work_of_others() {
    const COUNT: u64 = 10_000;
    let mut kit = Kit::new(Settings::default());
    let (owner, serving, link) = (kit.link(), kit.link(), kit.observer());
    kit.event(
        serving,
        Event::Serve { offer: StreamId::new(1), subject: Some("work".into()), capacity: u32::MAX },
    );
    for id in 1..=COUNT {
        kit.open(owner, id, "work");
        spin(&mut kit);
        kit.event(serving, Event::Opened { conversation: ConversationId::new(2 * id), pid: None });
        kit.monitor(link, u32::try_from(2 * id - 1).unwrap(), id);
    }
    spin(&mut kit);
    let neighbour = kit.link();
    kit.join(neighbour, 1);
    kit.event(serving, Event::Closed(CloseReason::Link(LinkError::Reset)));
    let (mut told, mut owned, mut answered, mut run, mut longest) = (BTreeMap::new(), 0, 0, 0, 0);
    let mut asked = 0;
    loop {
        // The neighbour asks, and is answered, all the time.
        if asked == answered {
            asked += 1;
            kit.ask(neighbour, 1, asked, "still there?");
        }
        match kit.poll() {
            Some(BusNext::Command(of, Command::Notice { monitor, notice: Notice::Exited(exit) })) => {
                assert_eq!(
                    (of, exit.pid.get(), monitor.get()),
                    (link, exit.pid.get(), 2 * exit.pid.get() as u32 - 1)
                );
                *told.entry(exit.pid).or_insert(0) += 1;
                run += 1;
            }
            Some(BusNext::Command(of, Command::Exited { .. })) if of == owner => {
                owned += 1;
                run += 1;
            }
            Some(BusNext::Run(ticket, _)) => {
                longest = longest.max(run);
                run = 0;
                kit.answer(ticket, reply("yes"));
                kit.answer(ticket, Answer::Done);
            }
            Some(BusNext::Command(of, Command::Reply(_))) if of == neighbour => answered += 1,
            Some(other) => panic!("{other:?}"),
            None => break,
        }
        if told.len() as u64 == COUNT && owned == COUNT {
            break;
        }
    }
    assert_eq!((told.len() as u64, owned), (COUNT, COUNT));
    assert!(told.values().all(|times| *times == 1));
    assert!(longest <= 3 * CANCELLED_PER_POLL, "{longest} in a row");
    assert!(answered > COUNT / 200, "{answered} answers meanwhile");
}

/// The same when it is the link that monitors which is lost: nothing is left, in batches.
#[test]
fn ten_thousand_monitors_go_with_their_link_in_batches() {
    const COUNT: u64 = 10_000;
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.observer());
    for id in 1..=COUNT {
        kit.open(owner, id, "echo");
        spin(&mut kit);
        kit.answer_last(Answer::Joined);
        kit.monitor(link, u32::try_from(2 * id - 1).unwrap(), id);
    }
    spin(&mut kit);
    assert_eq!(kit.bus.load().monitors as u64, COUNT);
    kit.lose(link);
    kit.ask(owner, 1, 1, "still there?");
    assert!(matches!(kit.bus.poll(), BusNext::Run(..)), "nothing stands before a call");
    assert_eq!(kit.drain(), [""; 0]);
    assert_eq!((kit.bus.load().monitors, kit.bus.load().links), (0, 1));
}

/// What was written is said of what was told. A link that had to wait for that of what was not would wait for ever.
#[test]
fn what_is_left_out_because_its_monitor_was_taken_back_keeps_nothing_else_waiting() {
    let settings = Settings { delivered_bytes_per_link_max: 1, ..Settings::default() };
    let mut kit = Kit::new(settings);
    kit.drains = false;
    let (owner, link) = (kit.link(), kit.observer());
    for (id, monitor) in [(1, 1), (2, 3), (3, 5)] {
        kit.join(owner, id);
        kit.monitor(link, monitor, id);
    }
    kit.drain();
    kit.exited(1, 1, "");
    kit.exited(2, 2, "");
    kit.unmonitor(link, 3);
    let of_link = |kit: &mut Kit| {
        let story = kit.drain();
        story.into_iter().filter(|line| line.starts_with("l2")).collect::<Vec<_>>()
    };
    assert_eq!(of_link(&mut kit), ["l2 s3 unmonitored", "l2 s1 p1 exited r2: crashed"]);
    kit.bus.link_drained(link);
    assert_eq!(of_link(&mut kit), [""; 0]);
    kit.exited(3, 3, "");
    assert_eq!(of_link(&mut kit), ["l2 s5 p3 exited r2: crashed"]);
}

/// A link is told no more than a window before it has written that.
#[test]
fn notices_wait_until_the_link_is_drained() {
    let settings = Settings { delivered_bytes_per_link_max: 2 * 256, ..Settings::default() };
    let mut kit = Kit::new(settings);
    kit.drains = false;
    let (owner, link) = (kit.link(), kit.observer());
    for id in 1..=5 {
        kit.join(owner, id);
        kit.monitor(link, 2 * u32::try_from(id).unwrap() - 1, id);
    }
    kit.drain();
    for pid in 1..=5 {
        kit.exited(pid, pid, "");
    }
    let of_link = |kit: &mut Kit| kit.drain().iter().filter(|line| line.starts_with("l2")).count();
    assert_eq!(of_link(&mut kit), 2);
    kit.pass(Duration::from_secs(60));
    assert_eq!(of_link(&mut kit), 0);
    kit.bus.link_drained(link);
    assert_eq!(of_link(&mut kit), 2);
    kit.bus.link_drained(link);
    kit.bus.link_drained(link);
    assert_eq!(of_link(&mut kit), 1);
}

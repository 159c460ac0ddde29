//! Watches: who is told every record of conversations, and what is left out. One story each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

#[macro_use]
mod kit;

use std::collections::BTreeMap;

use bytes::Bytes;
use kit::{Kit, bus, crash, part, reply, secs};
use liminal_core::{
    Answer, Backlog, BusNext, Command, CrashPolicy, LinkId, Load, Node, NodeNext, Offer, Rights, Settings,
    Subject,
};
use liminal_proto::{
    Event, Expects, GapReason, Instant, LogId, LogRecord, Logged, Outcome, ReasonCode, RecordNumber, StreamId,
};

/// Link 1, and link 2, which watches "echo" on stream 1.
fn watched() -> (Kit, LinkId, LinkId) {
    watched_with(Settings::default())
}

fn watched_with(settings: Settings) -> (Kit, LinkId, LinkId) {
    let mut kit = Kit::new(settings);
    let (owner, link) = (kit.link(), kit.observer());
    kit.watch(link, 1, Some("echo"));
    follows!(kit, ["l2 s1 monitoring"]);
    (kit, owner, link)
}

/// What link 2 is told.
fn told(kit: &mut Kit) -> Vec<String> {
    let of_link = |line: &String| line.strip_prefix("l2 ").map(str::to_owned);
    kit.drain().iter().filter_map(of_link).collect()
}

#[test]
fn o2_every_record_of_a_conversation_is_told_in_its_order_from_the_first_on() {
    let (mut kit, owner, _) = watched();
    kit.open(owner, 1, "echo");
    kit.say(owner, 1, 1, "early");
    assert_eq!(told(&mut kit), ["s1 log1 echo r1 Message(1, 5 bytes)"]);
    kit.answer_last(Answer::Joined);
    kit.ask(owner, 1, 2, "question");
    assert_eq!(told(&mut kit), ["s1 log1 r2 Joined(1)", "s1 log1 r3 Request(2, within 5s, 8 bytes)"]);
    kit.answer_last(Answer::Done);
    kit.drain();
    kit.answer_last(part("one"));
    kit.answer_last(reply("two"));
    kit.answer_last(Answer::Done);
    assert_eq!(
        told(&mut kit),
        ["s1 log1 r4 Reply(to record 3, a part, 3 bytes)", "s1 log1 r5 Reply(to record 3, 3 bytes)"]
    );
    kit.ask(owner, 1, 3, "and now?");
    kit.drain();
    kit.answer_last(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: Some("no".into()) });
    kit.close(owner, 1);
    let how = Outcome::Refused { reason: ReasonCode::NOT_ALLOWED, text: Some("no".into()) };
    assert_eq!(
        told(&mut kit),
        [format!("s1 log1 r7 RequestEnded(record 6, {how:?})"), "s1 log1 r8 Left(1)".to_owned()]
    );
}

#[test]
fn deaths_moves_and_failures_are_told() {
    let (mut kit, offers) = bus(1, CrashPolicy::RouteToNext, Settings::default());
    let (owner, link) = (kit.link(), kit.observer());
    kit.watch(link, 1, Some("work"));
    kit.open(owner, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.ask(owner, 1, 7, "one");
    kit.drain();
    kit.answer_last(crash("boom"));
    assert_eq!(told(&mut kit), ["s1 log1 r3 Exited(1, crashed: boom, goes on)"]);
    kit.answer_last(Answer::Refused { reason: ReasonCode::BUSY, text: None });
    assert_eq!(told(&mut kit), ["s1 log1 r4 JoinRefused(2, None)"]);
    kit.bus.unregister(offers[0]);
    kit.pass(secs(5));
    assert_eq!(told(&mut kit), ["s1 log1 r5 Failed"]);
    kit.lose(owner);
    assert_eq!(told(&mut kit), [""; 0]);
    let (mut kit, owner, _) = watched();
    kit.join(owner, 1);
    kit.lose(owner);
    assert_eq!(told(&mut kit), ["s1 log1 r2 Left(1, cancelled)"]);
}

#[test]
fn a_watch_is_for_one_subject_or_for_all() {
    let mut kit = Kit::new(Settings::default());
    kit.bus.register(Subject::Any, Offer::Participant).unwrap();
    let (owner, link) = (kit.link(), kit.observer());
    kit.watch(link, 1, None);
    kit.watch(link, 3, Some("one of any"));
    kit.watch(link, 5, Some("log"));
    kit.drain();
    for (id, subject) in [(1, "log"), (2, "one of any"), (3, "another")] {
        kit.open(owner, id, subject);
        kit.say(owner, id, 1, "word");
    }
    let mut all = told(&mut kit);
    all.sort();
    assert_eq!(
        all,
        [
            "s1 log1 log r1 Message(1, 4 bytes)",
            "s1 log2 one of any r1 Message(1, 4 bytes)",
            "s1 log3 another r1 Message(1, 4 bytes)",
            "s3 log2 one of any r1 Message(1, 4 bytes)",
            "s5 log1 log r1 Message(1, 4 bytes)",
        ]
    );
}

#[test]
fn compensations_of_the_bus_are_told_as_any_other_conversation() {
    let (mut kit, _) = bus(1, CrashPolicy::Compensate("undo".into()), Settings::default());
    kit.bus.register("undo".into(), Offer::Participant).unwrap();
    let (owner, link) = (kit.link(), kit.observer());
    kit.watch(link, 1, Some("undo"));
    kit.open(owner, 1, "work");
    kit.drain();
    kit.answer_last(crash("boom"));
    let story = told(&mut kit);
    assert!(story[0].starts_with("s1 log2 undo r1 Request(1, within 30s, "), "{story:?}");
}

// What was there before.

#[test]
fn o2_of_a_conversation_that_is_open_already_the_records_before_are_a_gap() {
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.observer());
    kit.join(owner, 1);
    kit.say(owner, 1, 1, "before");
    kit.drain();
    kit.open(owner, 2, "log");
    kit.open(owner, 3, "log");
    kit.say(owner, 3, 1, "before");
    kit.join(owner, 4);
    kit.close(owner, 4);
    kit.drain();
    kit.watch(link, 1, None);
    assert_eq!(
        told(&mut kit),
        [
            "s1 monitoring",
            "s1 log1 echo r1 to r2: before the watch began",
            "s1 log3 log r1 to r1: before the watch began",
        ],
        "none of one without a record, none of one that is over"
    );
    kit.say(owner, 2, 1, "after");
    kit.say(owner, 3, 2, "after");
    assert_eq!(told(&mut kit), ["s1 log2 log r1 Message(1, 5 bytes)", "s1 log3 r2 Message(2, 5 bytes)"]);
    kit.watch(link, 3, Some("log"));
    assert_eq!(
        told(&mut kit),
        [
            "s3 monitoring",
            "s3 log2 log r1 to r1: before the watch began",
            "s3 log3 log r1 to r2: before the watch began",
        ]
    );
}

/// Also one that is over before the walk has come by it leaves its gap.
#[test]
fn o2_a_conversation_that_ends_in_front_of_the_walk_leaves_a_gap() {
    const MANY: u64 = 200;
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.observer());
    for id in 1..=MANY {
        kit.open(owner, id, "log");
        kit.say(owner, id, 1, "before");
    }
    kit.drain();
    kit.watch(link, 1, Some("log"));
    kit.close(owner, MANY);
    let story = told(&mut kit);
    let gap = format!("s1 log{MANY} log r1 to r1: before the watch began");
    assert_eq!(story.iter().filter(|line| **line == gap).count(), 1, "{story:?}");
    assert_eq!(story.len() as u64, 1 + MANY, "every one of them has a gap, once");
}

/// The walk through what is open is bounded for each turn; records of what it has not come by are in the gap.
#[test]
fn o2_a_watch_begins_for_each_conversation_when_it_comes_by() {
    const COUNT: u64 = 300;
    let mut kit = Kit::new(Settings::default());
    kit.bus.register("neighbour".into(), Offer::Participant).unwrap();
    let (owner, link, neighbour) = (kit.link(), kit.observer(), kit.link());
    for id in 1..=COUNT {
        kit.open(owner, id, "log");
        kit.say(owner, id, 1, "before");
    }
    kit.open(neighbour, 1, "neighbour");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.drain();
    kit.watch(link, 1, Some("log"));
    kit.ask(neighbour, 1, 1, "still there?");
    let (mut before_call, mut gaps, mut story) = (0, BTreeMap::new(), Vec::new());
    while let Some(next) = kit.poll() {
        match next {
            BusNext::Command(_, Command::Gap { gap, .. }) => {
                // Each conversation goes on, wherever the walk is.
                if gaps.is_empty() {
                    for id in 1..=COUNT {
                        kit.say(owner, id, 2, "after");
                    }
                }
                assert_eq!((gap.from, gap.why), (RecordNumber::new(1), GapReason::Before));
                assert_eq!(gaps.insert(gap.log, gap.to.get()), None);
            }
            BusNext::Command(_, Command::Record { record, .. }) => story.push(record),
            BusNext::Run(..) => before_call = gaps.len(),
            _ => {}
        }
    }
    assert!(before_call <= 64, "{before_call} gaps stand before a call");
    assert_eq!(gaps.len() as u64, COUNT);
    let records: Vec<_> = story.iter().map(|record| record.log).collect();
    let expected: Vec<_> = gaps.iter().filter(|(_, to)| **to == 1).map(|(log, _)| *log).collect();
    assert_eq!(records, expected, "a record is in the gap or comes after it");
    assert!(!expected.is_empty() && expected.len() < COUNT as usize);
}

#[test]
fn a_walk_waits_for_room_and_ends_with_its_watch() {
    let settings = Settings {
        watched_bytes_max: 4 * Backlog::GAP_CHARGE,
        delivered_bytes_per_link_max: 1,
        ..Settings::default()
    };
    let mut kit = Kit::new(settings);
    kit.drains = false;
    let (owner, link) = (kit.link(), kit.observer());
    for id in 1..=100 {
        kit.open(owner, id, "log");
        kit.say(owner, id, 1, "before");
    }
    kit.drain();
    kit.watch(link, 1, None);
    assert_eq!(told(&mut kit).len(), 2);
    assert!(kit.bus.load().waiting_bytes <= 4 * Backlog::GAP_CHARGE);
    for number in 2..=10 {
        kit.bus.link_drained(link);
        assert_eq!(told(&mut kit), [format!("s1 log{number} log r1 to r1: before the watch began")]);
    }
    kit.unmonitor(link, 1);
    kit.bus.link_drained(link);
    assert_eq!(told(&mut kit), ["s1 unmonitored"]);
    assert_eq!((kit.bus.load().waiting_bytes, kit.bus.load().monitors), (0, 0));
}

// Who does not keep up.

#[test]
fn o2_who_does_not_keep_up_finds_a_gap_in_the_place_of_what_is_left_out() {
    let settings =
        Settings { watched_bytes_max: 4 * 260, delivered_bytes_per_link_max: 1, ..Settings::default() };
    let (mut kit, owner, link) = watched_with(settings);
    kit.drains = false;
    kit.watch(link, 3, Some("log"));
    kit.open(owner, 1, "log");
    for number in 1..=10 {
        kit.say(owner, 1, number, "");
    }
    assert_eq!(told(&mut kit), ["s3 monitoring", "s3 log1 log r1 Message(1, 0 bytes)"]);
    let messages = kit.bus.counters().messages;
    assert_eq!(messages, 10, "the conversation has gone on");
    kit.drains = true;
    kit.bus.link_drained(link);
    assert_eq!(
        told(&mut kit),
        [
            "s3 log1 r2 Message(2, 0 bytes)",
            "s3 log1 r3 Message(3, 0 bytes)",
            "s3 log1 r4 Message(4, 0 bytes)",
            "s3 log1 r5 to r10: the watcher did not keep up",
        ]
    );
    kit.say(owner, 1, 11, "");
    assert_eq!(told(&mut kit), ["s3 log1 r11 Message(11, 0 bytes)"]);
}

#[test]
fn watched_bytes_max_bounds_what_waits_for_each_watch_and_their_gaps() {
    let settings = Settings {
        watched_bytes_max: 2048,
        delivered_bytes_per_link_max: 1,
        conversations_per_link_max: 100_000,
        ..Settings::default()
    };
    let (mut kit, owner, link) = watched_with(settings);
    kit.drains = false;
    kit.watch(link, 3, Some("log"));
    kit.drain();
    // As many logs as there is room for gaps, each with as many records as one likes.
    for id in 1..=15 {
        kit.open(owner, id, "log");
        for number in 1..=50 {
            kit.say(owner, id, number, "word");
        }
        assert!(kit.bus.load().waiting_bytes <= 2 * 2048);
        assert_eq!(kit.bus.load(), kit.bus.recount());
    }
    assert_eq!(kit.bus.load().monitors, 2);
    // Beyond that the watch is over, and the other one is not.
    kit.open(owner, 99, "log");
    for id in 100..200 {
        kit.open(owner, id, "log");
        kit.say(owner, id, 1, "word");
    }
    let story = told(&mut kit);
    assert_eq!(story.last().map(String::as_str), Some("s3 not monitoring: too slow"), "{story:?}");
    assert_eq!((kit.bus.load().monitors, kit.bus.load().waiting_bytes), (1, 0));
    assert_eq!(kit.bus.counters().monitors_given_up, 1);
}

/// Whoever looks on costs a conversation a constant, however far behind it is, and whoever keeps up is told all.
#[test]
fn r3_a_watcher_that_does_not_read_disturbs_neither_the_conversation_nor_another_watcher() {
    let settings =
        Settings { watched_bytes_max: 4096, delivered_bytes_per_link_max: 1024, ..Settings::default() };
    let mut kit = Kit::new(settings);
    kit.drains = false;
    let (owner, slow, keen) = (kit.link(), kit.observer(), kit.observer());
    kit.watch(slow, 1, None);
    kit.watch(keen, 1, None);
    kit.open(owner, 1, "log");
    let (mut of_slow, mut of_keen, mut accepted) = (0, Vec::new(), 0);
    for number in 1..=1000 {
        kit.event(owner, kit::says(1, number, Expects::Acceptance, None, Bytes::from_static(b"word")));
        while let Some(next) = kit.poll() {
            match next {
                BusNext::Command(link, Command::Record { record, .. }) if link == keen => {
                    of_keen.push(record.number.get());
                    kit.bus.link_drained(keen);
                }
                BusNext::Command(link, Command::Record { .. }) => {
                    assert_eq!(link, slow);
                    of_slow += 1;
                }
                BusNext::Command(_, Command::Outcome { outcome: Outcome::Accepted { .. }, .. }) => {
                    accepted += 1
                }
                _ => {}
            }
        }
    }
    assert_eq!((of_keen, accepted), ((1..=1000).collect(), 1000));
    assert!(of_slow <= 4);
}

#[test]
fn watches_per_link_max_and_watches_max() {
    let settings = Settings { watches_per_link_max: 2, watches_max: 3, ..Settings::default() };
    let (mut kit, owner, link) = watched_with(settings);
    let other = kit.observer();
    kit.watch(link, 3, None);
    kit.watch(link, 5, None);
    kit.watch(other, 1, None);
    kit.watch(other, 3, None);
    follows!(
        kit,
        [
            "l2 s3 monitoring",
            "l2 s5 not monitoring: limit reached",
            "l3 s1 monitoring",
            "l3 s3 not monitoring: limit reached"
        ]
    );
    // Monitors are counted apart.
    kit.join(owner, 1);
    kit.monitor(link, 7, 1);
    assert!(told(&mut kit).contains(&"s7 monitoring".to_owned()));
    kit.lose(link);
    kit.watch(other, 5, None);
    follows!(kit, ["l3 s5 monitoring", "l3 s5 log1 echo r1 to r1: before the watch began"]);
}

#[test]
fn the_subject_of_a_watch_is_a_name() {
    let (mut kit, _, link) = watched();
    kit.watch(link, 3, Some(&"x".repeat(257)));
    kit.watch(link, 5, Some(&"x".repeat(256)));
    follows!(kit, ["l2 s3 not monitoring: invalid name", "l2 s5 monitoring"]);
}

#[test]
fn l7_after_unmonitored_no_record_is_told() {
    let (mut kit, owner, link) = watched();
    kit.drains = false;
    kit.open(owner, 1, "echo");
    kit.say(owner, 1, 1, "word");
    kit.unmonitor(link, 1);
    kit.say(owner, 1, 2, "word");
    assert_eq!(told(&mut kit), ["s1 unmonitored"]);
    assert_eq!(kit.bus.load().waiting_bytes, 0);
    kit.watch(link, 3, Some("echo"));
    assert_eq!(told(&mut kit), ["s3 monitoring", "s3 log1 echo r1 to r2: before the watch began"]);
}

/// O1: what a watch is told is what the log has.
#[test]
fn o1_a_watch_is_told_what_is_recorded() {
    let mut kit = Kit::recording();
    let (owner, link) = (kit.link(), kit.observer());
    kit.watch(link, 1, None);
    kit.open(owner, 1, "echo");
    kit.ask(owner, 1, 1, "question");
    let (mut recorded, mut told) = (Vec::new(), Vec::new());
    for answer in [Answer::Joined, crash("boom")] {
        while let Some(next) = kit.poll() {
            match next {
                BusNext::Record(key, record) => recorded.push(record.shown(key, "echo")),
                BusNext::Command(_, Command::Record { record, .. }) => told.push(*record),
                _ => {}
            }
        }
        kit.answer_last(answer);
    }
    assert_eq!(told, recorded);
    let first = LogRecord {
        log: LogId::new(1),
        number: RecordNumber::new(1),
        subject: Some("echo".into()),
        what: told[0].what.clone(),
    };
    assert_eq!(told[0], first);
    assert!(matches!(first.what, Logged::Request { timeout, .. } if timeout == secs(5)));
}

// In a node.

#[test]
fn openers_in_the_same_program_monitor_and_watch_if_they_may() {
    let now = Instant::ORIGIN;
    let mut node = Node::new(Settings::default());
    node.register("echo".into(), Offer::Participant).unwrap();
    let (owner, link) = (node.local(now), node.local(now));
    node.grant(link, Rights::MONITOR);
    node.open(now, owner, "echo").unwrap();
    let watch = node.watch(now, link, Some("echo")).unwrap();
    let mut story = Vec::new();
    let mut poll = |node: &mut Node| {
        loop {
            match node.poll() {
                NodeNext::Local(of, command) => {
                    story.push(format!("l{} {}", of.get(), kit::tell_command(&command)))
                }
                NodeNext::Run(ticket, _) => node.answer(now, ticket, Answer::Joined),
                NodeNext::Wait(_) => return std::mem::take(&mut story),
                _ => {}
            }
        }
    };
    assert_eq!(poll(&mut node), ["l2 s1 monitoring", "l1 c1 opened by p1", "l2 s1 log1 echo r1 Joined(1)"]);
    let monitor = node.monitor(now, link, liminal_proto::Pid::new(1)).unwrap();
    assert_eq!((watch, monitor), (StreamId::new(1), StreamId::new(2)));
    node.remove(now, owner);
    assert_eq!(poll(&mut node), ["l2 s2 monitoring", "l2 s2 cancelled", "l2 s1 log1 r2 Left(1, cancelled)"]);
    node.unmonitor(now, link, watch).unwrap();
    assert_eq!(poll(&mut node), ["l2 s1 unmonitored"]);
    assert!(node.monitor(now, owner, liminal_proto::Pid::new(1)).is_err());
    node.remove(now, link);
    assert_eq!(poll(&mut node), [""; 0]);
    assert_eq!(node.bus().load(), Load::default());
}

#[test]
fn what_only_a_server_says_of_monitors_means_nothing_to_a_bus() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.observer();
    for event in [
        Event::Monitoring { monitor: StreamId::new(1) },
        Event::Unmonitored { monitor: StreamId::new(1) },
        Event::NotMonitoring { monitor: StreamId::new(1), reason: ReasonCode::EXITED, text: None },
    ] {
        kit.event(link, event);
    }
    follows!(kit, []);
}

//! Worlds with several buses, and with openers in the program of one.

#![allow(clippy::panic, reason = "only tests use it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use liminal_core::participant::from_fn;
use liminal_core::transcript::{BusId, Entry, Noted};
use liminal_proto::wire::Dialect;
use liminal_proto::{ConversationId, Event, ExitReason};
use liminal_sim::{Fault, Format, Hostile, Script, Sim, Speaks, Tape, View};

/// Counts what was recorded on each bus of a run.
fn records_by_bus(sim: &Sim<()>, tape: &Tape) -> BTreeMap<BusId, usize> {
    let mut records = BTreeMap::new();
    for entry in sim.run(tape).transcript.entries() {
        *records.entry(entry.bus).or_default() += usize::from(matches!(entry.what, Noted::Recorded { .. }));
    }
    records
}

#[test]
fn who_serves_and_who_dials_belongs_to_the_bus_that_was_begun_last() {
    let sim = Sim::new("two desks", |plan| {
        let echo = || from_fn(|context, message| context.reply(message.payload));
        let ask = |what: &str| Script::new().open("desk").ask(what.to_owned()).wait_for_replies().close();
        plan.serve("desk", echo).opener(ask("one")).opener(ask("two"));
        plan.another_bus().trace_only("desk").opener(Script::new().open("desk").say("three"));
    });
    let (first, second) = (BusId::new(1), BusId::new(2));
    // Joined, asked, replied, left: twice; and one message that is only recorded.
    assert_eq!(records_by_bus(&sim, &Tape::default()), BTreeMap::from([(first, 8), (second, 1)]));
}

#[test]
fn a_bus_crashes_alone() {
    let crashes = |view: &View<'_, ()>| {
        let lost = |entry: &&Entry| matches!(entry.what, Noted::BusLost);
        view.transcript.entries().iter().filter(lost).map(|entry| entry.bus).collect::<BTreeSet<_>>()
    };
    Sim::new("two buses", |plan| {
        plan.only_faults(&[Fault::BusCrash]);
        let echo = || from_fn(|context, message| context.reply(message.payload));
        let ask = || Script::new().open("echo").ask("1").wait(Duration::from_secs(3)).ask("2").close();
        plan.serve("echo", echo).opener(ask()).another_bus().serve("echo", echo).opener(ask());
    })
    .sometimes("the first crashes alone", move |view| crashes(view) == BTreeSet::from([BusId::new(1)]))
    .sometimes("the second crashes alone", move |view| crashes(view) == BTreeSet::from([BusId::new(2)]))
    .check();
}

#[test]
fn a_local_opener_is_told_what_an_opener_of_version_2_is_told() {
    let told = |is_local: bool| {
        let sim = Sim::new("told", move |plan| {
            plan.serve("moody", || {
                from_fn(|context, message| match &message.payload[..] {
                    b"go" => context.exit(ExitReason::Normal),
                    b"mute" => {}
                    _ => context.reply(message.payload),
                })
            });
            let script = Script::new().open("moody").ask("1").confirm("mute").ask("mute").ask("go").ask("2");
            let script = script.wait(Duration::from_secs(1)).ask("3").close().open("nobody").say("4").close();
            let script = script.open("moody").ask_within(Duration::from_secs(1), "mute").wait_for_replies();
            let script = script.ask("mute").disconnect();
            if is_local {
                plan.local_opener(script);
            } else {
                plan.opener_speaking(Speaks::Only(Dialect::V2), script);
            }
        });
        let ran = sim.run(&Tape::default());
        assert_eq!(ran.broken, None);
        let told = ran.transcript.entries().iter().filter_map(|entry| match &entry.what {
            Noted::Told { event, .. } => Some(event.clone()),
            _ => None,
        });
        // The ids are each side's own: those of a connection are odd, and those of messages are left out.
        let in_order = |id: ConversationId| if is_local { id.get() } else { id.get().div_ceil(2) };
        let plain = |event| match event {
            Event::Opened { conversation, pid } => format!("{} opened: {pid:?}", in_order(conversation)),
            Event::Refused { conversation, reason, .. } => {
                format!("{} refused: {reason}", in_order(conversation))
            }
            Event::Reply(reply) => format!("{} reply: {:?}", in_order(reply.conversation), reply.payload),
            Event::Outcome { conversation, outcome, .. } => {
                format!("{} ends: {outcome:?}", in_order(conversation))
            }
            Event::Exited { conversation, exit } => format!("{} exited: {exit:?}", in_order(conversation)),
            Event::Ended { conversation } => format!("{} ended", in_order(conversation)),
            event => format!("{event:?}"),
        };
        told.map(plain).collect::<Vec<_>>()
    };
    assert_eq!(told(true), told(false));
}

#[test]
fn a_local_opener_dies_with_its_bus_and_begins_anew() {
    Sim::new("local", |plan| {
        plan.only_faults(&[Fault::BusCrash]).faults_max(1);
        plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
        let wait = Duration::from_secs(1);
        plan.local_opener(Script::new().open("echo").wait(wait).open("echo").ask("1").wait_for_replies());
    })
    .sometimes("it is gone and comes back", |view| {
        let mut entries = view.transcript.entries().iter();
        let gone = entries.any(|entry| matches!(entry.what, Noted::Gone { .. }));
        gone && entries.any(|entry| matches!(entry.what, Noted::Told { event: Event::Reply(_), .. }))
    })
    .check();
}

#[test]
fn a_hostile_peer_belongs_to_the_bus_that_was_begun_last() {
    let noise = || Hostile::new().write(&b"\x01\0\0\0\0\0\0\0\x01\0 and no more"[..]);
    let sim = Sim::new("two ports", move |plan| {
        plan.trace_only("desk").another_bus().trace_only("desk").hostile(noise());
    });
    let ran = sim.run(&Tape::default());
    let over = |entry: &&Entry| matches!(entry.what, Noted::LinkClosed { .. });
    let at: Vec<BusId> = ran.transcript.entries().iter().filter(over).map(|entry| entry.bus).collect();
    assert_eq!((ran.broken, at), (None, vec![BusId::new(2)]));
    assert!(ran.encounters[0].lasted().is_some_and(|time| time <= Duration::from_secs(2)));
}

#[test]
fn a_drawing_has_a_place_for_each_bus_and_one_that_is_started_again_takes_the_old() {
    let ask = || Script::new().open("desk").say("1").wait(Duration::from_secs(9)).open("desk").say("2");
    let drawn = |buses: usize| {
        let sim = Sim::new("two desks", move |plan| {
            plan.only_faults(&[Fault::BusCrash]).faults_max(1).trace_only("desk").opener(ask());
            for _ in 1..buses {
                plan.another_bus().trace_only("desk").opener(ask());
            }
        });
        let crashes = |seed: &u64| {
            let ran = sim.run(&Tape::from_seed(*seed));
            ran.transcript.entries().iter().any(|entry| matches!(entry.what, Noted::BusLost))
        };
        let seed = (0..500).find(crashes).unwrap_or_else(|| panic!("no bus crashes"));
        let transcript = sim.run(&Tape::from_seed(seed)).transcript;
        assert!(Format::Text.write(&transcript, None).contains("is started again"));
        Format::Mermaid.write(&transcript, None)
    };
    let lanes = |drawing: &str| drawing.matches("participant bus").count();
    let (one, two) = (drawn(1), drawn(2));
    assert!(one.contains("participant bus as bus\n") && lanes(&one) == 1, "{one}");
    assert!(two.contains("participant bus2 as bus 2\n") && lanes(&two) == 2, "{two}");
}

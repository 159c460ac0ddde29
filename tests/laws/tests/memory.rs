//! What the corpus makes the codec and a connection allocate, and what a conversation keeps that goes on. One thread, because an allocator counts
//! for all of them; so it has a `main` of its own.

#![allow(clippy::expect_used, reason = "a failed test says so")]

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::{Answer, Bus, BusNext, Call, CrashPolicy, Node, Offer, Settings};
use liminal_laws::bus::says;
use liminal_laws::frames::{close, conversation, message_v1, message_v2, open};
use liminal_laws::sides::{START, client, events, feed, output, reply, serve, server};
use liminal_laws::{codec, connection};
use liminal_proto::wire::flag;
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, Event, ExitReason, Expects, Instant, LinkError, Message,
    MessageId, Metadata, Pid,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    replay("codec", |data| codec::allocate_little(data, &|| ALLOCATOR.stats().bytes_allocated));
    replay("connection", |data| connection::play_within_bounds(data, &live));
    exits_leave_nothing_behind();
    offers_leave_nothing_behind();
    links_leave_nothing_behind();
    refusals_leave_nothing_behind();
    an_idle_connection_holds_no_buffer();
    serving_leaves_nothing_behind();
    a_connection_that_is_over_holds_nothing();
    a_node_that_nobody_polls_does_not_grow();
}

/// A conversation that goes on after each exit costs the same after ten as after a thousand.
fn exits_leave_nothing_behind() {
    let mut bus = Bus::new(Settings::default());
    bus.on_crash("work".into(), CrashPolicy::RouteToNext).expect("a short name");
    for _ in 0..2 {
        bus.register("work".into(), Offer::Participant).expect("a short name");
    }
    let link = bus.connect(Instant::ORIGIN);
    let conversation = ConversationId::new(1);
    bus.event(
        Instant::ORIGIN,
        link,
        Event::Open { conversation, subject: "work".into(), terms: liminal_proto::Terms::default() },
    );
    let mut after = |times: u64| {
        for message in 0..times {
            let says = says(1, message, Expects::Nothing, None, Bytes::new());
            bus.event(Instant::ORIGIN, link, says);
            let mut exited = false;
            while !exited {
                exited = answer_next(&mut bus);
            }
        }
        live()
    };
    let kept = after(10);
    assert_eq!(after(1000), kept, "exits are remembered for ever");
}

/// Whoever serves a subject may come and go, also while conversations go on from one to the next.
fn offers_leave_nothing_behind() {
    let mut bus = Bus::new(Settings::default());
    bus.on_crash("work".into(), CrashPolicy::RouteToNext).expect("a short name");
    let mut offer = bus.register("work".into(), Offer::Participant).expect("a short name");
    let link = bus.connect(Instant::ORIGIN);
    let conversation = ConversationId::new(1);
    bus.event(
        Instant::ORIGIN,
        link,
        Event::Open { conversation, subject: "work".into(), terms: liminal_proto::Terms::default() },
    );
    let mut after = |times: u64| {
        for message in 0..times {
            bus.event(Instant::ORIGIN, link, says(1, message, Expects::Nothing, None, Bytes::new()));
            while !answer_next(&mut bus) {}
            while !matches!(bus.poll(), BusNext::Wait(_)) {}
            let next = bus.register("work".into(), Offer::Participant).expect("a short name");
            bus.unregister(std::mem::replace(&mut offer, next));
        }
        live()
    };
    let kept = after(10);
    assert_eq!(after(1000), kept, "who was registered once is remembered for ever");
}

/// Links come and go; nobody asks what they held.
fn links_leave_nothing_behind() {
    let mut bus = Bus::new(Settings::default());
    bus.register("work".into(), Offer::Participant).expect("a short name");
    let mut after = |times: u64| {
        for _ in 0..times {
            let link = bus.connect(Instant::ORIGIN);
            let conversation = ConversationId::new(1);
            bus.event(
                Instant::ORIGIN,
                link,
                Event::Open { conversation, subject: "work".into(), terms: liminal_proto::Terms::default() },
            );
            let large = Bytes::from_static(&[0; Settings::HELD_STEP]);
            bus.event(Instant::ORIGIN, link, says(1, 1, Expects::Reply, None, large));
            while !answer_next(&mut bus) {}
            bus.event(Instant::ORIGIN, link, Event::Closed(CloseReason::PeerEof));
            while !matches!(bus.poll(), BusNext::Wait(_)) {}
        }
        assert_eq!(bus.load(), bus.recount());
        live()
    };
    let kept = after(10);
    assert_eq!(after(1000), kept, "links are remembered for ever");
}

/// What a link says while it is full, and what is refused to it, costs nothing.
fn refusals_leave_nothing_behind() {
    let mut bus = Bus::new(Settings::default());
    bus.register("work".into(), Offer::Participant).expect("a short name");
    let link = bus.connect(Instant::ORIGIN);
    let conversation = ConversationId::new(1);
    bus.event(
        Instant::ORIGIN,
        link,
        Event::Open { conversation, subject: "work".into(), terms: liminal_proto::Terms::default() },
    );
    bus.link_full(link);
    let mut after = |times: u64| {
        for message in 0..times {
            let large = Bytes::from_static(&[0; 1 << 20]);
            bus.event(Instant::ORIGIN, link, says(1, message, Expects::Nothing, None, large));
            while !matches!(bus.poll(), BusNext::Wait(_)) {}
        }
        live()
    };
    let kept = after(10);
    assert_eq!(after(1000), kept, "refused messages are remembered for ever");
}

/// However much went through a connection, and however it was read and written.
fn an_idle_connection_holds_no_buffer() {
    for version in [1, 2] {
        let mut server = server(version);
        feed(&mut server, START, &open(1));
        server.opened(START, conversation(1), None).expect("it was asked for");
        output(&mut server);
        let mut exchange = |message: u64, len| {
            let payload = vec![7; len];
            let stream = 2 * u32::try_from(message).expect("a small number") + 1;
            let bytes = match version {
                1 => message_v1(flag::REPLY, stream, 1, &payload),
                _ => message_v2(flag::WANTS_REPLY, 1, message, &payload),
            };
            let asked = feed(&mut server, START, &bytes).pop();
            let Some(Event::Message(asked)) = asked else { unreachable!("a request is a message") };
            server.reply(START, reply(conversation(1), asked.id, &payload)).expect("there is room");
            drop((asked, payload, bytes));
            output(&mut server);
            assert_eq!(events(&mut server), []);
            live()
        };
        let kept = exchange(1, 10);
        for (message, len) in [(2, 5000), (3, 500_000), (4, 10)] {
            assert_eq!(exchange(message, len), kept, "after {len} bytes");
        }
    }
}

/// Offers and invitations come and go, on both sides of their connection.
fn serving_leaves_nothing_behind() {
    let (mut worker, mut inviter) = (client(2), server(2));
    let mut streams = (2..).step_by(2);
    let mut exchange = |times: u32| {
        for _ in 0..times {
            let offer = worker.serve(START, Some("work"), 1).expect("there is room");
            let key = conversation(streams.next().expect("there are many"));
            turn(&mut worker, &mut inviter);
            inviter.invite(START, key, Pid::new(7), "work").expect("it is even");
            let (id, payload) = (MessageId::new(1), Bytes::new());
            let (expects, timeout) = (Expects::Reply, Some(Duration::from_secs(1)));
            let asked = Message {
                conversation: key,
                id,
                expects,
                timeout,
                redelivered: 0,
                metadata: Metadata::default(),
                payload,
            };
            inviter.deliver(START, asked).expect("there is room");
            turn(&mut worker, &mut inviter);
            inviter.close(START, key, None).expect("it is open");
            worker.withdraw(START, offer, true).expect("it stands");
            turn(&mut worker, &mut inviter);
        }
        live()
    };
    let kept = exchange(10);
    assert_eq!(exchange(1000), kept, "who served once is remembered for ever");
}

/// All that is said arrives, and is answered at once.
fn turn(worker: &mut Connection, inviter: &mut Connection) {
    for _ in 0..2 {
        let bytes = output(worker);
        feed(inviter, START, &bytes).iter().for_each(|event| serve(inviter, START, event));
        let bytes = output(inviter);
        feed(worker, START, &bytes).iter().for_each(|event| serve(worker, START, event));
    }
}

/// What was asked, and what waits to be taken, ends with the connection, whoever still holds that.
fn a_connection_that_is_over_holds_nothing() {
    const LITTLE: usize = 4096;
    let before = live();
    let mut asker = client(2);
    let key = asker.open(START, "work").expect("there is room");
    for _ in 0..1000 {
        asker.ask(START, key, Some(Duration::from_secs(1)), Bytes::new()).expect("there is room");
    }
    assert!(live() > before + LITTLE);
    asker.link_lost(START, LinkError::Reset);
    assert_eq!(events(&mut asker).len(), 1001);
    assert!(live() < before + LITTLE, "{} bytes too many", live() - before);
    drop(asker);

    let mut asked = server(1);
    feed(&mut asked, START, &[open(1), close(1)].concat());
    // It waits for the end of the first, and what comes behind it waits with it.
    let again = [open(1), message_v1(0, 1, 1, &[0; 30_000])].concat();
    asked.receive(START, &again);
    drop(again);
    assert_eq!(events(&mut asked), []);
    assert!(live() > before + 30_000);
    asked.link_lost(START, LinkError::Reset);
    assert!(!events(&mut asked).is_empty());
    assert!(live() < before + LITTLE, "{} bytes too many", live() - before);
}

/// However often a link is told something.
fn a_node_that_nobody_polls_does_not_grow() {
    let mut node = Node::new(Settings::default());
    let link = node.accept(START, Config::default());
    let mut after = |times: u64| {
        (0..times).for_each(|_| _ = node.receive(START, link, b""));
        live()
    };
    let kept = after(10);
    assert_eq!(after(1000), kept, "what is to be polled is noted more than once");
}

/// Whoever is asked to join does, and exits with its first message. Says whether it has.
fn answer_next(bus: &mut Bus) -> bool {
    let BusNext::Run(ticket, invocation) = bus.poll() else { return false };
    let joins = matches!(invocation.what, Call::Join { .. });
    bus.answer(
        Instant::ORIGIN,
        ticket,
        if joins { Answer::Joined } else { Answer::Exited(ExitReason::Normal) },
    );
    !joins
}

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn replay(name: &str, measure: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    for entry in folder.read_dir().expect("a corpus of this name") {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path).expect("a readable file");
        let held = catch_unwind(AssertUnwindSafe(|| measure(&data)));
        assert!(held.is_ok(), "{} takes too much", path.display());
    }
}

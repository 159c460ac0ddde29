//! What the corpus makes the codec and a connection allocate, and what a conversation keeps that goes on. One thread, because an allocator counts
//! for all of them; so it has a `main` of its own.

#![allow(clippy::expect_used, reason = "a failed test says so")]

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use liminal_core::{Answer, Bus, BusNext, Call, CrashPolicy, Offer, Settings};
use liminal_laws::bus::says;
use liminal_laws::{codec, connection};
use liminal_proto::{ConversationId, Event, ExitReason, Expects, Instant};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    replay("codec", |data| codec::allocate_little(data, &|| ALLOCATOR.stats().bytes_allocated));
    replay("connection", |data| connection::play_within_bounds(data, &live));
    exits_leave_nothing_behind();
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
    bus.event(Instant::ORIGIN, link, Event::Open { conversation, subject: "work".into() });
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

//! Operations begun and given up, and peers that do not read.

use std::time::Duration;

use liminal_core::Node;
use liminal_proto::wire::{Body, Dialect};
use liminal_proto::{CloseReason, Config, Limits, LinkError, ReasonCode, TimerReason, Violation};
use liminal_sim::{Encounter, Hostile};

use crate::frames::*;
use crate::kit::{AFTER, Attack, kept, refusals, refused, replies};

#[test]
fn slots_are_bounded_however_they_come_and_go() {
    const MAX: usize = 8;
    for dialect in DIALECTS {
        // Each holds its participant for longer than anybody waits, and is closed at once.
        let cycle = |nth: u32| {
            let stream = 1 + 2 * nth;
            [open(stream, "late"), ask(dialect, stream, 1, b"?"), close(stream)].concat()
        };
        let cycles: Vec<u8> = (0..45).flat_map(cycle).collect();
        let hostile = Hostile::new().write(connect(dialect)).write(cycles).wait(Duration::from_secs(30));
        let attack = Attack::new(hostile).config(|config| config.limits.conversations_max = MAX);
        attack.check(|encounter| {
            let told = kept(encounter, dialect);
            let limited = refusals(&told).iter().filter(|code| **code == ReasonCode::LIMIT).count();
            assert!(limited >= 45 - MAX, "{limited} of 45 were refused for want of a slot");
        });
    }
}

#[test]
fn provoked_refusals_end_the_connection() {
    for dialect in DIALECTS {
        let nobody = |nth: u32| open(1 + 2 * nth, "nobody");
        let unopened = |nth: u32| ask(dialect, 1 + 2 * nth, 1, b"hello?");
        let unsubscribe = |_: u32| whole(0x08, 1, &[0; 8]);
        for flood in [&nobody as &dyn Fn(u32) -> Vec<u8>, &unopened, &unsubscribe] {
            let flood: Vec<u8> = (0..1000).flat_map(flood).collect();
            let hostile = Hostile::new().write([connect(dialect), flood].concat());
            Attack::new(hostile).check(|encounter| refused(encounter, ReasonCode::LIMIT));
        }
    }
}

#[test]
fn a_peer_that_is_gone_without_a_word_is_found_out() {
    // 2.0 has signs of life; in 1.0 the transport must notice, and what was asked still ends.
    let silent = Hostile::new().write(connect(Dialect::V2)).stop_reading().wait(Duration::from_secs(300));
    Attack::new(silent).check(|encounter| {
        let lasted = encounter.lasted().unwrap();
        assert!(lasted <= Duration::from_secs(60), "{lasted:?}");
    });
    for dialect in DIALECTS {
        let asks = [connect(dialect), open(1, "hold"), ask(dialect, 1, 1, b"?")].concat();
        let gone = Hostile::new().write(asks).close_half().wait(Duration::from_secs(300));
        Attack::new(gone).check(|encounter| {
            assert!(encounter.lasted().unwrap() <= Duration::from_secs(6), "{encounter:?}");
            assert_eq!(encounter.reason, Some(CloseReason::PeerEof));
        });
    }
}

#[test]
fn a_reader_that_stops_while_it_pings_owes_a_number_and_no_more() {
    for dialect in DIALECTS {
        let asks: Vec<u8> = [connect(dialect), open(1, "echo")].into_iter().flatten().collect();
        let bulk: Vec<u8> = (1..=60).flat_map(|number| ask(dialect, 1, number, &[7; 60_000])).collect();
        // One each 20 ms: never a flood.
        let mut hostile = Hostile::new().stop_reading().write(asks).write(bulk);
        for _ in 0..200 {
            hostile = hostile.write(ping()).wait(Duration::from_millis(20));
        }
        // It has credit for all that it says: it is what it does not read that it is given up for.
        let window = |config: &mut Config| {
            config.limits.conversation_window = Limits::CREDIT_MAX;
            config.limits.connection_window = Limits::CREDIT_MAX;
        };
        Attack::new(hostile.wait(Duration::from_secs(60)))
            .config(window)
            .holding(AFTER)
            .check(given_up_as_slow);
    }
}

/// It counts as one that does not read.
#[track_caller]
fn given_up_as_slow(encounter: &Encounter) {
    let is_slow = matches!(
        &encounter.reason,
        Some(
            CloseReason::Violation(
                Violation::Unread { .. } | Violation::TooSlow { what: TimerReason::WriteStall, .. }
            ) | CloseReason::Link(LinkError::TimedOut)
        )
    );
    assert!(is_slow, "{:?}", encounter.reason);
    assert!(encounter.lasted().unwrap() <= Duration::from_secs(20), "{:?}", encounter.lasted());
}

#[test]
fn a_flood_of_pings_is_refused() {
    for dialect in DIALECTS {
        let hostile = Hostile::new().write([connect(dialect), ping().repeat(10_000)].concat());
        Attack::new(hostile).check(|encounter| {
            refused(encounter, ReasonCode::LIMIT);
            let pongs = encounter.heard.len() / 10;
            assert!(pongs < Limits::default().control_frames.burst as usize + 20, "{pongs}");
        });
    }
}

#[test]
fn a_flood_of_subscriptions_that_are_none_is_refused() {
    for dialect in DIALECTS {
        let subscribe = [&[0, 0, 0, 1, b'c'][..], &0_u32.to_be_bytes(), &1_u32.to_be_bytes()].concat();
        let flood: Vec<u8> = (0..1000).flat_map(|nth| whole(0x05, 1 + 2 * nth, &subscribe)).collect();
        let hostile = Hostile::new().write([connect(dialect), flood].concat());
        Attack::new(hostile).check(|encounter| refused(encounter, ReasonCode::LIMIT));
    }
}

#[test]
fn ids_and_names_chosen_to_collide_cost_no_more_than_others() {
    // No more turns for each byte than any others, which the kit sees to.
    for dialect in DIALECTS {
        let stream = |nth: u32| 1 + nth * 4096;
        let opens = (0..300).flat_map(|nth| [open(stream(nth), "echo"), ask(dialect, stream(nth), 1, b"?")]);
        let talk: Vec<u8> = std::iter::once(connect(dialect)).chain(opens).flatten().collect();
        let hostile = Hostile::new().write(talk).wait(Duration::from_secs(1));
        Attack::new(hostile).check(|encounter| assert_eq!(replies(&kept(encounter, dialect)), 300));
    }
    for again in [1, 3] {
        let twice = [connect(Dialect::V2), open(3, "echo"), open(again, "echo")].concat();
        Attack::new(Hostile::new().write(twice)).check(|it| refused(it, ReasonCode::INVALID_STREAM));
    }
    let twice =
        [connect(Dialect::V1), open(1, "hold"), open(1, "echo"), ask(Dialect::V1, 1, 0, b"?")].concat();
    Attack::new(Hostile::new().write(twice).wait(Duration::from_secs(10))).check(|encounter| {
        let codes = refusals(&kept(encounter, Dialect::V1));
        assert_eq!(codes.first(), Some(&ReasonCode::ALREADY_OPEN), "{codes:?}");
    });
}

#[test]
fn replies_that_are_never_read_are_bounded_on_one_conversation_and_on_many() {
    for dialect in DIALECTS {
        for conversations in [1, 400] {
            let streams = (0..conversations).map(|nth| 1 + 2 * nth);
            let opens = streams.clone().flat_map(|stream| open(stream, "bulk"));
            let asks = (1..=400).zip(streams.cycle());
            let asks = asks.flat_map(|(number, stream)| ask(dialect, stream, number, b"much"));
            let talk: Vec<u8> = connect(dialect).into_iter().chain(opens).chain(asks).collect();
            let hostile = Hostile::new().stop_reading().write(talk).wait(Duration::from_secs(60));
            // Replies that were asked for at once wait with the hosts that made them.
            Attack::new(hostile).holding(AFTER + Node::HELD_REPLY_BYTES_MAX).check(given_up_as_slow);
        }
    }
}

#[test]
fn messages_that_wait_for_their_participants_are_bounded() {
    for dialect in DIALECTS {
        let streams = (0..8).map(|nth| 1 + 2 * nth);
        let opens = streams.clone().flat_map(|stream| open(stream, "late"));
        let asks = (1..=100).zip(streams.cycle());
        let asks = asks.flat_map(|(number, stream)| ask(dialect, stream, number, &[7; 4000]));
        let talk: Vec<u8> = connect(dialect).into_iter().chain(opens).chain(asks).collect();
        let hostile = Hostile::new().write(talk).wait(Duration::from_secs(20));
        let attack = Attack::new(hostile).settings(|settings| {
            settings.held_bytes_per_conversation_max = 16 << 10;
            settings.held_bytes_per_link_max = 64 << 10;
        });
        // As much again of input, and the refusals.
        attack.holding(160 << 10).check(|encounter| {
            let codes = refusals(&kept(encounter, dialect));
            let busy = codes.iter().filter(|code| **code == ReasonCode::BUSY).count();
            assert!((80..=92).contains(&busy) && codes.len() == 100, "{busy} of {}", codes.len());
        });
    }
}

#[test]
fn a_pong_comes_for_each_ping_that_is_no_flood() {
    for dialect in DIALECTS {
        let hostile = Hostile::new().write([connect(dialect), ping().repeat(150)].concat());
        Attack::new(hostile).check(|encounter| {
            let told = kept(encounter, dialect);
            assert_eq!(told.iter().filter(|frame| frame.body == Body::Pong).count(), 150);
        });
    }
}

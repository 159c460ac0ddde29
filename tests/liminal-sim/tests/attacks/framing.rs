//! Bytes that are no frames, or that never become one.

use std::time::Duration;

use liminal_core::transcript::Noted;
use liminal_core::{Call, Recorded};
use liminal_proto::ReasonCode;
use liminal_proto::wire::{Body, Dialect};
use liminal_sim::{Encounter, Hostile, Ran};

use crate::frames::*;
use crate::kit::{AFTER, Attack, BEFORE, kept, refused, replies};

/// Where a connection is in its life.
type At = Option<Dialect>;

const CONNECTING: &[At] = &[None];
const ACTIVE: &[At] = &[Some(Dialect::V1), Some(Dialect::V2)];
const ALWAYS: &[At] = &[None, Some(Dialect::V1), Some(Dialect::V2)];

/// A peer that has come so far.
fn peer(at: At) -> Hostile {
    at.map_or_else(Hostile::new, |dialect| Hostile::new().write(connect(dialect)))
}

/// What may be held for a peer that has come so far and sends frames of a few bytes.
fn little(at: At) -> usize {
    if at.is_none() { BEFORE } else { AFTER / 8 }
}

/// Each of these is told this code and closed at once, whatever its state.
#[track_caller]
fn refuse(states: &[At], bytes: &[u8], code: ReasonCode) {
    for &at in states {
        Attack::new(peer(at).write(bytes.to_vec())).holding(little(at)).check(|encounter| {
            refused(encounter, code);
            assert_eq!(encounter.lasted(), Some(Duration::ZERO), "it takes no time to see that");
        });
    }
}

#[test]
fn a_length_above_the_limit_is_refused_at_its_tenth_byte() {
    refuse(ALWAYS, &begun(CONNECT, 0, u32::MAX, &[]), ReasonCode::TOO_LARGE);
    refuse(ALWAYS, &begun(UNKNOWN, 7, u32::MAX, &[]), ReasonCode::TOO_LARGE);
    refuse(ACTIVE, &begun(MESSAGE, 1, (1 << 20) + 1, &[]), ReasonCode::TOO_LARGE);
    refuse(CONNECTING, &begun(CONNECT, 0, (8 << 10) + 1, &[]), ReasonCode::TOO_LARGE);
}

#[test]
fn a_body_that_never_comes_is_waited_for_so_long_and_no_longer() {
    for (at, len, seconds) in [(None, 8000, 1), (ACTIVE[0], 1 << 20, 1), (ACTIVE[1], 1 << 20, 1)] {
        for there in [&[][..], &[7; 100]] {
            let attack = Attack::new(peer(at).write(begun(MESSAGE, 1, len, there))).holding(little(at));
            attack.check(|encounter| {
                refused(encounter, ReasonCode::TOO_SLOW);
                let lasted = encounter.lasted().unwrap();
                // After its first second a frame must keep up a rate.
                assert!(lasted.as_secs() == seconds, "{lasted:?}");
            });
        }
    }
}

#[test]
fn a_byte_in_each_interval_is_too_little_in_the_long_run() {
    for &at in ALWAYS {
        let slow = begun(MESSAGE, 1, 5000, &[0; 600]);
        Attack::new(peer(at).trickle(&slow, Duration::from_millis(20))).holding(little(at)).check(
            |encounter| {
                refused(encounter, ReasonCode::TOO_SLOW);
                assert!(encounter.lasted().unwrap() < Duration::from_secs(2));
            },
        );
    }
}

#[test]
fn a_frame_on_the_wrong_stream_is_refused() {
    refuse(ALWAYS, &whole(PING, 3, &[]), ReasonCode::INVALID_STREAM);
    refuse(ALWAYS, &whole(OPEN, 0, &[]), ReasonCode::INVALID_STREAM);
}

#[test]
fn an_end_inside_a_frame_delivers_no_part_of_it() {
    for dialect in DIALECTS {
        let request = ask(dialect, 1, 1, b"cut off");
        for cut in [1, 9, 10, 11, request.len() - 1] {
            let before = [connect(dialect), open(1, "echo")].concat();
            let hostile = Hostile::new().write(before).write(request[..cut].to_vec()).close_half();
            Attack::new(hostile).check_run(|ran| {
                refused(&ran.encounters[0], ReasonCode::TRUNCATED_PAYLOAD);
                assert!(!says(ran, b"cut off"));
            });
        }
    }
}

/// Whether a participant was given this.
fn says(ran: &Ran, what: &[u8]) -> bool {
    ran.transcript.entries().iter().any(|entry| match &entry.what {
        Noted::Called { invocation, .. } => {
            matches!(&invocation.what, Call::Message { payload, .. } if payload == what)
        }
        Noted::Recorded { record, .. } => match &record.what {
            Recorded::Message { payload, .. } | Recorded::Request { payload, .. } => payload == what,
            _ => false,
        },
        _ => false,
    })
}

#[test]
fn a_field_that_goes_on_past_its_frame_is_refused() {
    let name = [&[0; 8][..], &256_u32.to_be_bytes(), b"x"].concat();
    refuse(ALWAYS, &whole(OPEN, 1, &name), ReasonCode::CODEC);
    let envelope = [&[0; 8][..], &1000_u32.to_be_bytes(), &[0; 60]].concat();
    refuse(CONNECTING, &whole(MESSAGE, 1, &envelope), ReasonCode::CODEC);
}

#[test]
fn a_count_of_more_elements_than_there_are_bytes_is_refused() {
    let schemas = [&[0, 0, 0, 1, b'c'][..], &u32::MAX.to_be_bytes()].concat();
    refuse(ALWAYS, &whole(0x05, 1, &schemas), ReasonCode::CODEC);
    refuse(ALWAYS, &whole(0x17, 0, &u32::MAX.to_be_bytes()), ReasonCode::CODEC);
}

#[test]
fn trailing_bytes_are_refused() {
    refuse(ALWAYS, &whole(PING, 0, &[0]), ReasonCode::CODEC);
}

#[test]
fn however_bytes_are_split_the_answers_are_the_same() {
    for dialect in DIALECTS {
        let talk =
            [connect(dialect), open(1, "echo"), ask(dialect, 1, 1, b"one"), ask(dialect, 1, 2, b"two")];
        let told = |encounter: &Encounter| kept(encounter, dialect).len();
        // Beside the replies: that hands were shaken, and in 2.0 the windows and that the conversation is open.
        let beside = if dialect == Dialect::V2 { 3 } else { 1 };
        let at_once = Hostile::new().write(talk.concat());
        let by_bytes = Hostile::new().trickle(&talk.concat(), Duration::ZERO);
        for hostile in [at_once, by_bytes] {
            Attack::new(hostile).check(|encounter| {
                assert_eq!(told(encounter), 2 + beside);
                assert_eq!(replies(&kept(encounter, dialect)), 2);
            });
        }
    }
}

#[test]
fn bytes_after_the_end_are_discarded() {
    for dialect in DIALECTS {
        let before = [connect(dialect), open(1, "echo")].concat();
        let behind = [ask(dialect, 1, 1, b"behind the end"), vec![0xA5; 100_000]].concat();
        for fault in [whole(PING, 0, &[0]), whole(0x04, 0, &[])] {
            let hostile = Hostile::new().write([&before[..], &fault, &behind].concat());
            Attack::new(hostile).check_run(|ran| {
                assert!(ran.encounters[0].ended.is_some());
                assert!(!says(ran, b"behind the end"));
            });
        }
    }
}

#[test]
fn a_flood_of_unknown_types_is_refused() {
    for &at in ALWAYS {
        let flood = whole(UNKNOWN, 9, &[7; 20]).repeat(1000);
        Attack::new(peer(at).write(flood)).check(|encounter| refused(encounter, ReasonCode::LIMIT));
        let few = whole(UNKNOWN, 9, &[7; 20]).repeat(3);
        Attack::new(peer(at).write(few).write(ping()).wait(Duration::from_millis(1)).close_half()).check(
            |encounter| {
                let told = kept(encounter, at.unwrap_or(Dialect::V1));
                assert!(told.iter().any(|frame| frame.body == Body::Pong), "{told:?}");
            },
        );
    }
}

#[test]
fn strangers_are_told_and_closed() {
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.extend((0..506_u32).map(|n| (n * 7) as u8));
    refuse(CONNECTING, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ReasonCode::TOO_LARGE);
    refuse(CONNECTING, &hello, ReasonCode::TOO_LARGE);
    refuse(CONNECTING, &vec![0xA5; 100_000], ReasonCode::TOO_LARGE);
}
